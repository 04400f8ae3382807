//! Determinism: the same log gives the same bytes, however it is cut into sessions and whatever
//! base the reads come from.

#![cfg(test)]

mod support;

use ledger::{
    ApprovalWaits, AttemptEnd, ChangeCluster, Command, Direction, LeafBody, MapState, NewNode,
    Overlay, Read, Reply, Session, query,
};
use proptest::prelude::*;
use serde_json::json;
use support::crm::{GATES, request};
use support::{ADMIN, NS, Node, START, accepted, channel, http_destination, untrue_no_effect};
use types::*;

fn replay(entries: &[Vec<u8>], session_length: usize) -> MapState {
    let mut state = MapState::default();
    for (number, chunk) in entries.chunks(session_length).enumerate() {
        let mut session = Session::open(&state).unwrap();
        for (offset, entry) in chunk.iter().enumerate() {
            let index = LogIndex((number * session_length + offset) as u64 + 1);
            session.apply(index, entry).unwrap();
        }
        let writes = session.finish().unwrap();
        state.write(&writes);
    }
    state
}

#[derive(Debug, Clone)]
enum Step {
    Submit {
        agent: bool,
        records: usize,
        batch: u64,
        keyed: bool,
    },
    Approve {
        nth: usize,
        nonce: Option<u8>,
    },
    Link {
        nth: usize,
    },
    DecideByLink {
        nth: usize,
        approves: bool,
    },
    Reject {
        nth: usize,
    },
    Tick {
        wait: u64,
    },
    Rotate,
    /// Nothing serves the resource, or a connector does: at once, or when it is asked to.
    Destinations {
        connector: Option<ExecuteWhen>,
    },
    Channels {
        some: bool,
    },
    TakeOver,
    Run {
        ended: u8,
    },
    Ask {
        nth: usize,
    },
    Withdraw {
        nth: usize,
    },
    Deliver {
        failed: bool,
    },
    /// Any node in any order, with old and with new data.
    Cluster {
        kind: u8,
        node: u64,
        incarnation: u8,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (any::<bool>(), 1..5usize, 0..4u64, any::<bool>()).prop_map(
            |(agent, records, batch, keyed)| Step::Submit { agent, records, batch, keyed }
        ),
        2 => (0..20usize, proptest::option::of(0..3u8))
            .prop_map(|(nth, nonce)| Step::Approve { nth, nonce }),
        2 => (0..20usize).prop_map(|nth| Step::Link { nth }),
        2 => (0..20usize, any::<bool>())
            .prop_map(|(nth, approves)| Step::DecideByLink { nth, approves }),
        1 => (0..20usize).prop_map(|nth| Step::Reject { nth }),
        2 => (0..50_000u64).prop_map(|wait| Step::Tick { wait }),
        1 => Just(Step::Rotate),
        1 => connector().prop_map(|connector| Step::Destinations { connector }),
        1 => any::<bool>().prop_map(|some| Step::Channels { some }),
        1 => Just(Step::TakeOver),
        4 => (0..6u8).prop_map(|ended| Step::Run { ended }),
        2 => (0..20usize).prop_map(|nth| Step::Ask { nth }),
        1 => (0..20usize).prop_map(|nth| Step::Withdraw { nth }),
        2 => any::<bool>().prop_map(|failed| Step::Deliver { failed }),
        2 => (0..7u8, 1..4u64, 0..2u8)
            .prop_map(|(kind, node, incarnation)| Step::Cluster { kind, node, incarnation }),
    ]
}

fn connector() -> impl Strategy<Value = Option<ExecuteWhen>> {
    prop_oneof![Just(None), Just(Some(ExecuteWhen::OnApproval)), Just(Some(ExecuteWhen::OnRequest))]
}

/// Most interleavings of calls need somebody who calls, and something to be called for.
fn beginning() -> [Step; 3] {
    [
        Step::Destinations { connector: Some(ExecuteWhen::OnApproval) },
        Step::TakeOver,
        Step::Submit { agent: true, records: 1, batch: 9, keyed: false },
    ]
}

fn guard(drawn: u8) -> ledger::ReplayGuard {
    let digest = Digest([drawn; 32]);
    let expires_at = START.plus_ms(40_000);
    let nonce = Some(ledger::NonceClaim::Genuine { digest, expires_at });
    ledger::ReplayGuard { nonce, decided_at: None }
}

fn run(steps: &[Step]) -> Node {
    let mut node = Node::with_policies(&[("gates.yaml", GATES)]);
    let agents = [false, true].map(|n| node.register(&format!("bot-{n}"), Role::Agent, None));
    let person = node.register("rita", Role::Reviewer, None);
    let mut intents: Vec<IntentId> = Vec::new();
    let mut links: Vec<Digest> = Vec::new();
    for step in steps {
        match step {
            Step::Submit { agent, records, batch, keyed } => {
                let mut request = request(*records, *batch);
                if *keyed {
                    request["idempotency_key"] = json!(format!("key-{batch}"));
                }
                let reply = node.submit(agents[usize::from(*agent)], &request);
                if let Reply::Submitted(head, _) = &reply {
                    intents.push(head.id);
                }
            }
            Step::Approve { nth, nonce } if !intents.is_empty() => {
                let guard = nonce.map(guard);
                node.approve_with(person, intents[nth % intents.len()], None, guard.as_ref());
            }
            Step::Link { nth } if !intents.is_empty() => {
                let token = node.draw().to_be_bytes();
                let issue = ledger::IssueLink {
                    intent: intents[nth % intents.len()],
                    token_hash: Digest::of(&token),
                    token_sealed: token.to_vec(),
                };
                let reply = node.send(Some(person), Command::IssueLink(Box::new(issue)));
                if let Reply::Link(row) = reply {
                    links.push(row.token_hash);
                }
            }
            Step::DecideByLink { nth, approves } if !links.is_empty() => {
                let decide = ledger::DecideByLink {
                    token: links[nth % links.len()],
                    approves: *approves,
                    digest: None,
                    facts: None,
                    reason: None,
                    guard: None,
                };
                node.send(None, Command::DecideByLink(Box::new(decide)));
            }
            Step::Reject { nth } if !intents.is_empty() => {
                node.reject(person, intents[nth % intents.len()]);
            }
            Step::Tick { wait } => {
                node.wait_ms(*wait);
                node.tick();
            }
            Step::Rotate => {
                let rotate = ledger::RotateKey {
                    agent: AgentId(person.0),
                    key: KeyId(node.draw()),
                    key_hash: Digest::of(b"rotated"),
                    overlap_ms: u64::MAX,
                };
                node.send(Some(ADMIN), Command::RotateKey(rotate));
            }
            Step::Destinations { connector } => {
                let destination = |execute| {
                    let digest = Digest::of(&[execute as u8]);
                    Destination { execute, digest, ..http_destination("crm.*", true) }
                };
                node.apply_destinations(connector.map(destination).into_iter().collect());
            }
            Step::Channels { some } => {
                let set = if *some { vec![channel("ops", &Notice::ALL, &[])] } else { vec![] };
                node.apply_channels(set);
            }
            Step::TakeOver => {
                node.take_over();
            }
            Step::Run { ended } => run_one(&mut node, *ended),
            Step::Ask { nth } if !intents.is_empty() => {
                let intent = intents[nth % intents.len()];
                let issue = ledger::IssueOrder {
                    intent,
                    execution: ExecutionId(node.draw()),
                    mode: "runner_exec".into(),
                    token_hash: Digest([1; 32]),
                    token_sealed: vec![],
                    facts: Some(node.facts_of(intent)),
                };
                node.send(Some(ADMIN), Command::IssueOrder(Box::new(issue)));
            }
            Step::Withdraw { nth } if !intents.is_empty() => {
                let intent = intents[nth % intents.len()];
                let withdraws = Some(true);
                let cancel = ledger::Cancel { intent, reason: None, guard: None, withdraws };
                node.send(Some(person), Command::Cancel(cancel));
            }
            Step::Deliver { failed } => {
                let due = query::pending_deliveries(&node.state, LogTime(0), 1).unwrap();
                for (_, namespace, delivery) in due {
                    let row = query::delivery(&node.state, namespace, delivery).unwrap().unwrap();
                    let error = failed.then(|| "refused".into());
                    let attempt = row.attempts + 1;
                    let report = ledger::ReportDelivery { delivery, attempt, error };
                    node.send(None, Command::ReportDelivery(report));
                }
            }
            Step::Cluster { kind, node: id, incarnation } => {
                change_cluster(&mut node, *kind, NodeId(*id), [*incarnation; 16]);
            }
            _ => {}
        }
    }
    node
}

fn change_cluster(node: &mut Node, kind: u8, id: NodeId, incarnation: [u8; 16]) {
    let (key, change) = match kind {
        0 | 1 => (None, ChangeCluster::Admit(NewNode { id, incarnation })),
        2 => (Some(ADMIN), ChangeCluster::Promote(id)),
        3 => (Some(ADMIN), ChangeCluster::Demote(id)),
        4 => (Some(ADMIN), ChangeCluster::Remove(id)),
        5 => (Some(ADMIN), ChangeCluster::TransferLeader(Some(id))),
        _ => (Some(ADMIN), ChangeCluster::IssueJoinToken { valid_ms: id.0 }),
    };
    node.send(key, Command::ChangeCluster(change));
}

/// The executor claims the first thing it finds, and says how it went, or does not.
fn run_one(node: &mut Node, ended: u8) {
    let Some(executor) = query::executor(&node.state).unwrap() else { return };
    let waiting = query::waiting_orders(&node.state, None, 1).unwrap().first().copied();
    let runnable = query::runnable(&node.state, None, 1).unwrap().first().copied();
    let reply = match (waiting, runnable) {
        (Some((order, _, intent)), _) => node.claim_as(executor.epoch, intent, order),
        (None, Some((_, intent))) => node.claim(executor.epoch, intent),
        (None, None) => return,
    };
    let Reply::Claimed(order, _) = reply else { return };
    let ended = match ended {
        0 => AttemptEnd::Succeeded,
        1 => AttemptEnd::Failed(Effect::None),
        2 => AttemptEnd::Failed(Effect::Unknown),
        3 => AttemptEnd::InDoubt,
        4 => AttemptEnd::NotStarted,
        _ => return,
    };
    node.report_attempt(order.id, ended);
}

/// Rows that disagree with each other.
fn inconsistencies(node: &Node) -> Vec<String> {
    let state = &node.state;
    let mut wrong = Vec::new();
    let filter = query::IntentFilter { limit: 3_000, ..Default::default() };
    let heads = query::intents(state, NS, filter).unwrap().heads;
    for (phase, count) in query::phase_counts(state, NS).unwrap() {
        let actual = heads.iter().filter(|head| head.phase == phase).count() as u64;
        if actual != count {
            wrong.push(format!("{} counted {count}, are {actual}", phase.name()));
        }
    }
    let (size, root) = query::tree(state).unwrap();
    let mut edge = tlog::Edge::new();
    let (mut duplicates, mut waits) = (0, ApprovalWaits::default());
    for sequence in 0..size {
        let bytes = state.get(&ledger::table::leaf(sequence)).unwrap().unwrap();
        let (leaf, _) = query::leaf(state, sequence).unwrap().unwrap();
        if leaf.sequence != sequence {
            wrong.push(format!("leaf {sequence} says {}", leaf.sequence));
        }
        duplicates += u64::from(leaf.body.kind() == "duplicate_refused" && leaf.namespace == NS);
        if leaf.body == LeafBody::Allowed && leaf.namespace == NS {
            let head = query::head(state, NS, leaf.intent.unwrap()).unwrap().unwrap();
            waits.count += 1;
            waits.sum_ms += leaf.time.since_ms(head.submitted_at);
        }
        edge.append(tlog::leaf_hash(&bytes), &mut |_, _| {});
    }
    if edge.root() != root.0 {
        wrong.push("the tree's root is not that of its leaves".into());
    }
    let counted = query::duplicate_count(state, NS).unwrap();
    wrong.extend((counted != duplicates).then(|| format!("{duplicates} counted {counted}")));
    let counted = query::approval_waits(state, NS).unwrap();
    wrong.extend((counted != waits).then(|| format!("{waits:?} counted {counted:?}")));
    let runnable = query::runnable(state, None, 10_000).unwrap();
    for head in &heads {
        let listed = runnable.contains(&(NS, head.id));
        let runs = head.phase == Phase::Allowed && head.runs_by.is_some();
        if (runs && !listed) || (listed && !runs && head.phase != Phase::InDoubt) {
            wrong.push(format!("{} is {} and listed: {listed}", head.id, head.phase.name()));
        }
    }
    let waiting = query::waiting_orders(state, None, 10_000).unwrap();
    let waiting: Vec<ExecutionId> = waiting.into_iter().map(|(id, ..)| id).collect();
    let begun = query::executor_claims(state, 10_000).unwrap();
    for id in waiting.iter().chain(&begun) {
        let order = query::order(state, NS, *id).unwrap().unwrap();
        let head = query::head(state, NS, order.intent).unwrap().unwrap();
        if head.phase != Phase::Claimed || head.execution != Some(*id) {
            wrong.push(format!("{id} is open, and its intent is {}", head.phase.name()));
        }
        if order.waits() != waiting.contains(id) {
            wrong.push(format!("{id} waits: {}, and is listed otherwise", order.waits()));
        }
    }
    wrong.extend(heads.iter().filter_map(|head| untrue_no_effect(node, head)));
    for head in heads {
        let (first, _) = query::leaf(state, head.first_leaf).unwrap().unwrap();
        if first.intent != Some(head.id) {
            wrong.push(format!("{} begins at another intent's leaf", head.id));
        }
    }
    wrong
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn replay_from_empty_equals_state_however_it_is_cut(
        mut steps in proptest::collection::vec(step(), 0..40),
        begins in any::<bool>(),
        cut in 1..9usize,
    ) {
        if begins {
            steps.splice(0..0, beginning());
        }
        let node = run(&steps);
        prop_assert_eq!(inconsistencies(&node), Vec::<String>::new());
        prop_assert!(replay(&node.entries, cut) == node.state, "cut {}", cut);
        prop_assert!(replay(&node.entries, usize::MAX) == node.state);
    }

    /// An overlay reads like the state it will become.
    #[test]
    fn an_overlay_scans_like_the_state_it_becomes(
        base in proptest::collection::btree_map(0..40u8, any::<u8>(), 0..20),
        over in proptest::collection::btree_map(0..40u8, proptest::option::of(any::<u8>()), 0..20),
        from in 0..40u8, to in 0..41u8, descending in any::<bool>(), limit in 1..50usize,
    ) {
        let mut state =
            MapState(base.iter().map(|(key, value)| (vec![*key], vec![*value])).collect());
        let mut overlay = Overlay::new(state.clone());
        for (key, value) in &over {
            match value {
                Some(value) => overlay.put(vec![*key], vec![*value]),
                None => overlay.delete(vec![*key]),
            }
        }
        let direction = if descending { Direction::Descending } else { Direction::Ascending };
        let list = |read: &dyn Read| {
            let mut rows = Vec::new();
            read.scan(&[from], &[to], direction, &mut |key, value| {
                rows.push((key.to_vec(), value.to_vec()));
                if rows.len() < limit {
                    std::ops::ControlFlow::Continue(())
                } else {
                    std::ops::ControlFlow::Break(())
                }
            }).unwrap();
            rows
        };
        let seen = list(&overlay);
        state.write(&overlay.into_writes());
        prop_assert_eq!(seen, list(&state));
    }
}

#[test]
fn an_unknown_format_level_or_command_is_a_fault() {
    let node = Node::new();
    let session = || Session::open(&node.state).unwrap();
    let good = node.entries[0].clone();
    assert!(session().apply(LogIndex(9), &good).is_ok());
    let mut format = good.clone();
    format[0] = 9;
    assert!(session().apply(LogIndex(9), &format).is_err());
    let header = ledger::BatchHeader { level: 2, time: node.now, proposer: NodeId(1) };
    let newer = ledger::encode_batch::<Vec<u8>>(&header, &[]);
    assert!(session().apply(LogIndex(9), &newer).is_err());
    let header = ledger::BatchHeader { level: 1, ..header };
    let unknown = ledger::encode_batch(&header, &[vec![0x85, 0x40, 0xf6, 0x01, 0xf6, 0x18, 0xee]]);
    assert!(session().apply(LogIndex(9), &unknown).is_err());
    for cut in 1..good.len() {
        assert!(session().apply(LogIndex(9), &good[..cut]).is_err(), "cut at {cut}");
    }
}

#[test]
fn time_never_goes_back() {
    let mut node = Node::with_policies(&[("gates.yaml", GATES)]);
    let agent = node.register("bot", Role::Agent, None);
    let first = accepted(&node.submit(agent, &request(1, 1)));
    let at = node.head(first).submitted_at;
    node.now = LogTime(0);
    let second = accepted(&node.submit(agent, &request(1, 2)));
    assert_eq!(node.head(second).submitted_at, at);
}
