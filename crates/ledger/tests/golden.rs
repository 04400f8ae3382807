//! Golden bytes of every durable form: what an older build wrote, this one reads, and writes the
//! same way. A new field changes no line of `golden/formats.txt`; it adds lines under a new name.
//!
//! `UPDATE_GOLDEN=1 cargo test -p ledger --test golden` rewrites the file; read the difference.
#![cfg(test)]

mod support;

use std::fmt::{Debug, Write as _};

use ledger::*;
use minicbor::{Decode, Encode};
use serde_json::json;
use support::{ADMIN, NS, Node, accepted, channel, http_destination};
use types::codec::{decode, encode};
use types::*;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/formats.txt");

const GATES: &str = "gates:
  - name: crm
    trigger: write
    resource: crm.*
    policies:
      - require_approval_over: 1
      - require_approvals: 2
      - idempotency_key: { window_seconds: 60, key: batch }
";

/// Lines of `name hex`.
#[derive(Default)]
struct Golden(Vec<(String, Vec<u8>)>);

impl Golden {
    /// Adds a value, and checks that its bytes give it back.
    fn add<T>(&mut self, name: &str, value: &T)
    where
        T: Encode<()> + for<'b> Decode<'b, ()> + PartialEq + Debug,
    {
        let bytes = encode(value);
        assert_eq!(&decode::<T>(&bytes, "golden").unwrap(), value, "{name}");
        self.0.push((name.to_owned(), bytes));
    }
}

fn first_key() -> FirstKey {
    FirstKey { agent: AgentId(2), name: "bot".into(), key: KeyId(3), key_hash: Digest([4; 32]) }
}

fn commands(golden: &mut Golden, submit: &Submit) {
    let command = |command| Envelope {
        request: [1; 16],
        credential: Some(KeyId(9)),
        namespace: NS,
        request_key: Some(RequestKey { digest: Digest([2; 32]), body: Digest([3; 32]) }),
        command,
    };
    let (intent, reason) = (IntentId(77), Some(String::from("why")));
    let digest = Some(Digest([5; 32]));
    let facts = Some(submit.facts.clone());
    let cases = [
        (
            "bootstrap",
            Command::Bootstrap(Bootstrap {
                cluster_id: "c0".into(),
                admin: first_key(),
                node: None,
            }),
        ),
        (
            "bootstrap_node",
            Command::Bootstrap(Bootstrap {
                cluster_id: "c0".into(),
                admin: first_key(),
                node: Some(new_node(1)),
            }),
        ),
        ("tick", Command::Tick),
        ("submit", Command::Submit(Box::new(submit.clone()))),
        (
            "approve",
            Command::Approve(Box::new(Approve {
                intent,
                digest,
                facts,
                reason: reason.clone(),
                guard: None,
                on_behalf_of: None,
            })),
        ),
        ("reject", Command::Reject(Reject { intent, digest, reason: reason.clone(), guard: None })),
        ("cancel", Command::Cancel(Cancel { intent, reason, guard: None, withdraws: None })),
        (
            "register_agent",
            Command::RegisterAgent(Box::new(RegisterAgent {
                first: first_key(),
                owner: Some("team".into()),
                framework: Some("langgraph".into()),
                risk_tier: "standard".into(),
                role: Role::Worker,
                allowed_policies: vec!["p".into()],
                allowed_destinations: vec!["d".into()],
                metadata: Some("{}".into()),
                open: true,
            })),
        ),
        (
            "set_agent_status",
            Command::SetAgentStatus(SetAgentStatus {
                agent: AgentId(2),
                status: AgentStatus::Revoked,
            }),
        ),
        (
            "rotate_key",
            Command::RotateKey(RotateKey {
                agent: AgentId(2),
                key: KeyId(4),
                key_hash: Digest([6; 32]),
                overlap_ms: 1_000,
            }),
        ),
        ("set_role", Command::SetRole(SetRole { agent: AgentId(2), role: Role::Auditor })),
        (
            "create_namespace",
            Command::CreateNamespace(Box::new(CreateNamespace {
                name: "blue".into(),
                admin: first_key(),
            })),
        ),
        ("raise_feature_level", Command::RaiseFeatureLevel(1)),
        (
            "issue_order",
            Command::IssueOrder(Box::new(IssueOrder {
                intent,
                execution: ExecutionId(8),
                mode: "runner_exec".into(),
                token_hash: Digest([7; 32]),
                token_sealed: vec![1, 2],
                facts: None,
            })),
        ),
        (
            "report_order",
            Command::ReportOrder(Box::new(ReportOrder {
                execution: ExecutionId(8),
                token: digest,
                succeeded: false,
                effect: Some(types::Effect::Partial),
                result: Some("{}".into()),
                executed_at: Some(1),
            })),
        ),
        (
            "resolve",
            Command::Resolve(Resolve {
                intent,
                succeeded: false,
                effect: Some(types::Effect::None),
                reason: "looked".into(),
            }),
        ),
    ];
    for (name, case) in cases {
        golden.add(&format!("command.{name}"), &command(case));
    }
    for (name, case) in cluster_changes() {
        golden
            .add(&format!("command.change_cluster.{name}"), &command(Command::ChangeCluster(case)));
    }
}

fn new_node(id: u64) -> NewNode {
    NewNode { id: NodeId(id), incarnation: [9; 16] }
}

fn cluster_changes() -> [(&'static str, ChangeCluster); 7] {
    let node = NodeId(2);
    [
        ("admit", ChangeCluster::Admit(new_node(2))),
        ("promote", ChangeCluster::Promote(node)),
        ("demote", ChangeCluster::Demote(node)),
        ("remove", ChangeCluster::Remove(node)),
        ("transfer_leader", ChangeCluster::TransferLeader(Some(node))),
        ("transfer_leader_to_any", ChangeCluster::TransferLeader(None)),
        ("issue_join_token", ChangeCluster::IssueJoinToken { valid_ms: 60_000 }),
    ]
}

/// What changes of the cluster leave, each asked for twice.
fn nodes() -> Node {
    let mut node = Node::made_by(Some(new_node(1)));
    for (name, change) in cluster_changes().into_iter().chain(cluster_changes()) {
        let key = (name != "admit").then_some(ADMIN);
        node.send(key, Command::ChangeCluster(change));
    }
    node.send(Some(ADMIN), Command::ChangeCluster(ChangeCluster::Remove(NodeId(7))));
    node
}

/// An order that ends in doubt and is resolved, and one that is reported.
fn executed(node: &mut Node, agent: KeyId, person: KeyId, intent: IntentId) {
    let issue = |execution| {
        Command::IssueOrder(Box::new(IssueOrder {
            intent,
            execution,
            mode: "runner_exec".into(),
            token_hash: Digest([7; 32]),
            token_sealed: vec![1, 2],
            facts: None,
        }))
    };
    node.send(Some(agent), issue(ExecutionId(8_000)));
    node.wait_ms(15 * 60_000);
    node.tick();
    let reason = String::from("looked");
    let resolve = Resolve { intent, succeeded: true, effect: None, reason };
    node.send(Some(person), Command::Resolve(resolve));
    let report = ReportOrder {
        execution: ExecutionId(8_000),
        token: Some(Digest([7; 32])),
        succeeded: true,
        effect: None,
        result: Some("{}".into()),
        executed_at: Some(1),
    };
    node.send(None, Command::ReportOrder(Box::new(report)));
}

/// Everything that a short history leaves in the ledger.
fn history() -> (Node, Submit) {
    let mut node = Node::with_policies(&[("gates.yaml", GATES)]);
    let agent = node.register("bot", Role::Agent, Some("team"));
    let people = ["rita", "oda"].map(|name| node.register(name, Role::Reviewer, None));
    let request = |batch: u64| {
        json!({
            "resource": "crm.contacts", "trigger": "write", "idempotency_key": batch.to_string(),
            "payload": {"batch": batch, "records": [{"id": 1}, {"id": 2}]},
        })
    };
    let submit = node.submission(&request(0));
    let first = accepted(&node.submit(agent, &request(1)));
    node.submit(agent, &request(1));
    node.approve(people[0], first, None);
    node.approve(people[1], first, None);
    executed(&mut node, agent, people[0], first);
    let second = accepted(&node.submit(agent, &request(2)));
    node.reject(people[0], second);
    accepted(&node.submit(agent, &request(3)));
    node.apply_policies(&[("gates.yaml", &GATES.replace("approvals: 2", "approvals: 3"))]);
    node.wait_ms(1_000);
    let third = accepted(&node.submit(agent, &request(4)));
    node.apply_policies(&[("gates.yaml", &GATES.replace("approvals: 2", "approvals: 4"))]);
    node.approve(people[0], third, None);
    node.wait_ms(3_600_000);
    node.tick();
    let rotate = RotateKey {
        agent: AgentId(agent.0),
        key: KeyId(9_000),
        key_hash: Digest([8; 32]),
        overlap_ms: 60_000,
    };
    node.send(Some(ADMIN), Command::RotateKey(rotate));
    let role = SetRole { agent: AgentId(people[1].0), role: Role::Auditor };
    node.send(Some(ADMIN), Command::SetRole(role));
    let status = SetAgentStatus { agent: AgentId(people[0].0), status: AgentStatus::Suspended };
    node.send(Some(ADMIN), Command::SetAgentStatus(status));
    let blue = CreateNamespace { name: "blue".into(), admin: first_key() };
    node.send(Some(ADMIN), Command::CreateNamespace(Box::new(blue)));
    (node, submit)
}

/// What a short history of calls and notifications leaves in the ledger.
fn outward() -> Node {
    let mut node = Node::with_policies(&[("gates.yaml", GATES)]);
    let agent = node.register("bot", Role::Agent, Some("team"));
    let people = ["rita", "oda"].map(|name| node.register(name, Role::Reviewer, None));
    node.apply_destinations(vec![
        http_destination("crm.*", true),
        Destination { connector: Connector::Worker, ..http_destination("post", false) },
    ]);
    node.apply_channels(vec![channel("ops", &Notice::ALL, &["crm.*"])]);
    let first = node.take_over();
    let request = |batch: u64, records: usize| {
        let records: Vec<_> = (0..records).map(|id| json!({"id": id})).collect();
        json!({
            "resource": "crm.contacts", "trigger": "write",
            "payload": {"batch": batch, "records": records},
        })
    };
    let called = accepted(&node.submit(agent, &request(1, 1)));
    let Reply::Claimed(order, _) = node.claim(first, called) else { panic!("not claimed") };
    node.report_attempt(order.id, AttemptEnd::Succeeded);
    let lost = accepted(&node.submit(agent, &request(2, 1)));
    node.claim(first, lost);
    let waiting = accepted(&node.submit(agent, &request(3, 1)));
    let second = node.take_over();
    let Reply::Claimed(order, _) = node.claim(second, lost) else { panic!("not claimed again") };
    node.report_attempt(order.id, AttemptEnd::InDoubt);
    let held = accepted(&node.submit(agent, &request(4, 2)));
    let webhook = RegisterWebhook {
        intent: held,
        webhook: WebhookId(5_000),
        url: "http://127.0.0.1:1/hook".into(),
        secret_sealed: vec![1, 2],
    };
    node.send(Some(agent), Command::RegisterWebhook(webhook));
    for person in people {
        node.approve(person, held, None);
    }
    let due = query::pending_deliveries(&node.state, LogTime(0), 10).unwrap();
    for (number, (.., delivery)) in due.into_iter().enumerate().take(2) {
        let error = (number == 0).then(|| "refused".into());
        let report = ReportDelivery { delivery, attempt: 1, error };
        node.send(None, Command::ReportDelivery(report));
    }
    node.apply_destinations(vec![]);
    node.claim(second, waiting);
    node
}

/// What orders leave that wait for the executor, are begun, and are given back.
fn asked() -> Node {
    let mut node = Node::with_policies(&[("gates.yaml", GATES)]);
    let agent = node.register("bot", Role::Agent, Some("team"));
    let execute = ExecuteWhen::OnRequest;
    node.apply_destinations(vec![Destination { execute, ..http_destination("crm.*", true) }]);
    let epoch = node.take_over();
    let [begun, _, given_back] = [1, 2, 3].map(|batch: u64| {
        let request = json!({
            "resource": "crm.contacts", "trigger": "write", "payload": {"batch": batch},
        });
        let intent = accepted(&node.submit(agent, &request));
        let issue = IssueOrder {
            intent,
            execution: ExecutionId(7_000 - batch),
            mode: "runner_exec".into(),
            token_hash: Digest([1; 32]),
            token_sealed: vec![1, 2],
            facts: None,
        };
        node.send(Some(agent), Command::IssueOrder(Box::new(issue)));
        intent
    });
    node.claim_as(epoch, begun, ExecutionId(6_999));
    node.apply_destinations(vec![]);
    node.claim_as(epoch, given_back, ExecutionId(6_997));
    let withdraws = Some(true);
    let cancel = Cancel { intent: given_back, reason: None, guard: None, withdraws };
    node.send(Some(agent), Command::Cancel(cancel));
    node
}

/// What freezes leave: settled at once and by the executor, ended by people and by time, standing.
fn frozen() -> Node {
    let two = "gate: {freeze: {persons_to_unfreeze: 2}}\n";
    let mut node = Node::with_policies(&[("gates.yaml", GATES), ("freeze.yaml", two)]);
    let agent = node.register("bot", Role::Agent, Some("team"));
    let rita = node.register("rita", Role::Reviewer, None);
    node.apply_destinations(vec![http_destination("crm.*", true)]);
    let epoch = node.take_over();
    let request = json!({
        "resource": "crm.contacts", "trigger": "write", "payload": {"batch": 1},
    });
    let intent = accepted(&node.submit(agent, &request));
    let Reply::Claimed(order, _) = node.claim(epoch, intent) else { panic!("not claimed") };
    let scopes = [
        FreezeScope::All,
        FreezeScope::Namespace,
        FreezeScope::Agent(AgentId(agent.0)),
        FreezeScope::Resource("crm.*".into()),
        FreezeScope::Destination("phone".into()),
        FreezeScope::Environment("production".into()),
    ];
    let mut ids = Vec::new();
    for (number, scope) in (1..).zip(scopes) {
        let until = (number == 2).then(|| node.now.plus_ms(60_000));
        let salt = Salt([6; 32]);
        let command = Freeze { scope, reason: "outage".into(), until, salt };
        match node.send(Some(ADMIN), Command::Freeze(Box::new(command))) {
            Reply::Freeze(row) => ids.push(row.id),
            other => panic!("no freeze: {other:?}"),
        }
    }
    let call = Running { execution: order.id, intent };
    let settled = |home, number: usize, running| Settled { home, freeze: ids[number - 1], running };
    let settled = vec![settled(NamespaceId::CLUSTER, 1, vec![call]), settled(NS, 3, Vec::new())];
    node.send(None, Command::SettleFreezes(Box::new(SettleFreezes { epoch, settled })));
    for (key, freeze, reason) in [(ADMIN, 4, None), (rita, 4, Some("back")), (ADMIN, 5, None)] {
        let (freeze, reason) = (ids[freeze - 1], reason.map(Into::into));
        let command = Unfreeze { freeze, reason, salt: Salt([5; 32]) };
        node.send(Some(key), Command::Unfreeze(command));
    }
    node.wait_ms(60_000);
    node.tick();
    node
}

fn text(golden: &Golden) -> String {
    let mut text = String::new();
    for (name, bytes) in &golden.0 {
        writeln!(text, "{name} {}", hex(bytes)).unwrap();
    }
    text
}

#[test]
fn durable_forms_stay_as_they_are() {
    let mut golden = Golden::default();
    let (node, submit) = history();
    commands(&mut golden, &submit);
    let others =
        [("outward.", outward()), ("asked.", asked()), ("nodes.", nodes()), ("frozen.", frozen())];
    for (history, node) in [("", node)].into_iter().chain(others) {
        for (number, entry) in node.entries.iter().enumerate() {
            golden.0.push((format!("{history}entry.{number}"), entry.clone()));
        }
        for (key, value) in &node.state.0 {
            let key = hex(key);
            golden.0.push((format!("{history}row.{key}"), value.clone()));
        }
    }
    let written = text(&golden);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(FILE, &written).unwrap();
    }
    let kept = std::fs::read_to_string(FILE).unwrap();
    let (mut kept, mut written) = (kept.lines(), written.lines());
    loop {
        let (before, now) = (kept.next(), written.next());
        assert_eq!(now, before, "a durable form changed: older data would be read wrongly");
        if before.is_none() {
            break;
        }
    }
}

/// The kept entries still apply, and still give the kept rows.
#[test]
fn an_older_log_gives_the_same_state() {
    let kept = std::fs::read_to_string(FILE).unwrap();
    let others = ["outward.", "asked.", "nodes.", "frozen."];
    let of_none = |line: &&str| others.iter().all(|other| !line.starts_with(other));
    assert_same_state(kept.lines().filter(of_none));
    for other in others {
        assert_same_state(kept.lines().filter_map(|line| line.strip_prefix(other)));
    }
}

fn assert_same_state<'l>(kept: impl Iterator<Item = &'l str>) {
    let bytes = |hex: &str| -> Vec<u8> {
        (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
            .collect()
    };
    let mut state = MapState::default();
    let mut rows = std::collections::BTreeMap::new();
    let mut index = 0;
    for line in kept {
        let (name, hex) = line.split_once(' ').unwrap();
        if name.starts_with("entry.") {
            index += 1;
            let mut session = Session::open(&state).unwrap();
            session.apply(LogIndex(index), &bytes(hex)).unwrap();
            let writes = session.finish().unwrap();
            state.write(&writes);
        } else if let Some(key) = name.strip_prefix("row.") {
            rows.insert(bytes(key), bytes(hex));
        }
    }
    assert!(index > 10);
    assert!(state.0 == rows);
}
