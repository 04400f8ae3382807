//! Golden bytes of what came to decisions later: guards against replay, approval links, typed
//! profiles. The rules of `golden.rs` hold, with a history and a file of their own.
//!
//! `UPDATE_GOLDEN=1 cargo test -p ledger --test golden_decisions` rewrites the file; read the
//! difference.
#![cfg(test)]

mod support;

use std::collections::BTreeMap;

use ledger::*;
use policy::ProfileFault;
use serde_json::json;
use support::{NS, Node, accepted};
use types::codec::{decode, encode};
use types::*;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/decisions.txt");

const GATES: &str = "gates: [{name: g, resource: crm, policies: [{require_approval: always}, \
                     {require_approvals: 2}]}]";

fn guard() -> Option<ReplayGuard> {
    let nonce = NonceClaim::Genuine { digest: Digest([4; 32]), expires_at: LogTime(99) };
    Some(ReplayGuard { nonce: Some(nonce), decided_at: Some(ClaimedTime::At(5)) })
}

fn commands(facts: &policy::Facts) -> Vec<(&'static str, Command)> {
    let (intent, reason) = (IntentId(77), Some(String::from("why")));
    let (digest, guard) = (Some(Digest([5; 32])), guard());
    let odd =
        |nonce| Some(ReplayGuard { nonce: Some(nonce), decided_at: Some(ClaimedTime::Invalid) });
    let profiled = |fault| policy::Facts { profile_fault: Some(fault), ..facts.clone() };
    let required = String::from("crm.import.v1");
    let approve = |facts, guard| {
        let on_behalf_of = Some("cfo".into());
        let reason = reason.clone();
        Command::Approve(Box::new(Approve { intent, digest, facts, reason, guard, on_behalf_of }))
    };
    let token = Digest([6; 32]);
    vec![
        (
            "approve.profile_required",
            approve(Some(profiled(ProfileFault::Required { required: required.clone() })), None),
        ),
        (
            "approve.profile_mismatch",
            approve(
                Some(profiled(ProfileFault::Mismatch { required, sent: "email.send.v1".into() })),
                odd(NonceClaim::Missing),
            ),
        ),
        (
            "approve.profile_invalid",
            approve(
                Some(profiled(ProfileFault::Invalid {
                    profile: "p".into(),
                    messages: vec!["m".into()],
                })),
                odd(NonceClaim::Unknown),
            ),
        ),
        ("reject", Command::Reject(Reject { intent, digest, reason: None, guard: guard.clone() })),
        (
            "cancel",
            Command::Cancel(Cancel { intent, reason: None, guard: guard.clone(), withdraws: None }),
        ),
        (
            "issue_link",
            Command::IssueLink(Box::new(IssueLink {
                intent,
                token_hash: token,
                token_sealed: vec![1, 2],
            })),
        ),
        (
            "decide_by_link",
            Command::DecideByLink(Box::new(DecideByLink {
                token,
                approves: true,
                digest,
                facts: Some(facts.clone()),
                reason,
                guard,
            })),
        ),
    ]
}

fn history() -> (Node, policy::Facts) {
    let mut node = Node::with_policies(&[("gates.yaml", GATES)]);
    let agent = node.register("bot", Role::Agent, None);
    let people = ["rita", "oda"].map(|name| node.register(name, Role::Reviewer, None));
    let ask = |batch: u64| json!({"resource": "crm", "payload": {"batch": batch}});
    let facts = node.submission(&ask(0)).facts;
    for approves in [true, false] {
        let id = accepted(&node.submit(agent, &ask(node.entries.len() as u64)));
        let token = Digest::of(&node.draw().to_be_bytes());
        let issue = IssueLink { intent: id, token_hash: token, token_sealed: vec![3, 4] };
        node.send(Some(people[0]), Command::IssueLink(Box::new(issue)));
        let nonce =
            NonceClaim::Genuine { digest: token, expires_at: node.now.plus_ms(limits::NONCE_MS) };
        let guard =
            ReplayGuard { nonce: Some(nonce), decided_at: Some(ClaimedTime::At(node.now.0)) };
        let decide = DecideByLink {
            token,
            approves,
            digest: None,
            facts: None,
            reason: None,
            guard: Some(guard),
        };
        // The second time it is refused, as a used link and as a used nonce.
        for _ in 0..2 {
            node.send(None, Command::DecideByLink(Box::new(decide.clone())));
            node.approve_with(people[1], id, None, decide.guard.as_ref());
        }
        node.approve(people[1], id, None);
    }
    let mut unfit = node.submission(&ask(9));
    unfit.facts.profile_fault = Some(ProfileFault::Required { required: "crm.import.v1".into() });
    node.send(Some(agent), Command::Submit(Box::new(unfit)));
    (node, facts)
}

fn bytes(hex: &str) -> Vec<u8> {
    let pairs = (0..hex.len()).step_by(2);
    pairs.map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn durable_forms_stay_as_they_are() {
    let (node, facts) = history();
    let mut lines = Vec::new();
    for (name, command) in commands(&facts) {
        let (credential, request_key) = (Some(KeyId(9)), None);
        let envelope =
            Envelope { request: [1; 16], credential, namespace: NS, request_key, command };
        let encoded = encode(&envelope);
        assert_eq!(decode::<Envelope>(&encoded, "golden").unwrap(), envelope, "{name}");
        lines.push(format!("command.{name} {}", hex(&encoded)));
    }
    for (number, entry) in node.entries.iter().enumerate() {
        lines.push(format!("entry.{number} {}", hex(entry)));
    }
    for (key, value) in &node.state.0 {
        lines.push(format!("row.{} {}", hex(key), hex(value)));
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(FILE, lines.join("\n") + "\n").unwrap();
    }
    let kept = std::fs::read_to_string(FILE).unwrap();
    assert!(kept.lines().eq(lines), "a durable form changed: older data would be read wrongly");
}

/// The kept entries still apply, and still give the kept rows.
#[test]
fn an_older_log_gives_the_same_state() {
    let kept = std::fs::read_to_string(FILE).unwrap();
    let (mut state, mut rows, mut index) = (MapState::default(), BTreeMap::new(), 0);
    for (name, value) in kept.lines().map(|line| line.split_once(' ').unwrap()) {
        if name.starts_with("entry.") {
            index += 1;
            let mut session = Session::open(&state).unwrap();
            session.apply(LogIndex(index), &bytes(value)).unwrap();
            let writes = session.finish().unwrap();
            state.write(&writes);
        } else if let Some(key) = name.strip_prefix("row.") {
            rows.insert(bytes(key), bytes(value));
        }
    }
    assert!(index > 10 && state.0 == rows);
}
