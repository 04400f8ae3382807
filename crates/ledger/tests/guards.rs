//! Guards against replay from the outside: a nonce serves once, and only an admitted decision.

#![cfg(test)]

mod support;

use ledger::{
    Approve, Cancel, ClaimedTime, Command, NonceClaim, Read, Reject, ReplayGuard, ReplayReason,
    Reply, table,
};
use serde_json::{Value, json};
use support::{NS, Node, accepted, word};
use types::limits::{DECISION_CLOCK_MS_MAX, NONCE_MS};
use types::*;

const GATES: &str = "gates: [{name: g, resource: crm, policies: [{require_approval: always}]}]";

fn ask(batch: u64) -> Value {
    json!({"resource": "crm", "payload": {"batch": batch}})
}

fn world() -> (Node, KeyId, KeyId) {
    let mut node = Node::with_policies(&[("gates.yaml", GATES)]);
    let agent = node.register("bot", Role::Agent, None);
    let person = node.register("rita", Role::Reviewer, None);
    (node, agent, person)
}

fn nonce(node: &Node, drawn: u8) -> NonceClaim {
    NonceClaim::Genuine { digest: Digest([drawn; 32]), expires_at: node.now.plus_ms(NONCE_MS) }
}

fn approve(intent: IntentId, guard: ReplayGuard) -> Command {
    Command::Approve(Box::new(Approve {
        intent,
        digest: None,
        facts: None,
        reason: None,
        guard: Some(guard),
        on_behalf_of: None,
    }))
}

fn with(nonce: NonceClaim) -> ReplayGuard {
    ReplayGuard { nonce: Some(nonce), decided_at: None }
}

fn reason(reply: &Reply) -> Option<&'static str> {
    match reply {
        Reply::Refused(ledger::Refusal::Replay { reason }) => Some(reason.name()),
        _ => None,
    }
}

#[test]
fn of_two_decisions_with_one_nonce_in_one_batch_the_first_counts() {
    let (mut node, agent, person) = world();
    let ids = [1, 2].map(|batch| accepted(&node.submit(agent, &ask(batch))));
    let shared = with(nonce(&node, 7));
    let race: Vec<_> =
        ids.iter().map(|id| node.envelope(Some(person), approve(*id, shared.clone()))).collect();
    let replies = node.commit(&race);
    assert_eq!(word(&replies[0]), "approved");
    assert_eq!(reason(&replies[1]), Some("nonce_already_used"));
    assert_eq!(node.head(ids[1]).phase, Phase::Held);
}

#[test]
fn every_reason_is_given_in_order_and_leaves_the_intent_as_it_was() {
    let (mut node, agent, person) = world();
    let id = accepted(&node.submit(agent, &ask(1)));
    let now = node.now.0;
    let old = NonceClaim::Genuine { digest: Digest([9; 32]), expires_at: node.now };
    let time = |at| ReplayGuard { nonce: None, decided_at: Some(at) };
    let far = now + DECISION_CLOCK_MS_MAX + 1;
    let both =
        ReplayGuard { nonce: Some(NonceClaim::Unknown), decided_at: Some(ClaimedTime::Invalid) };
    let cases = [
        (with(NonceClaim::Missing), "nonce_required"),
        (with(NonceClaim::Unknown), "nonce_unknown"),
        (with(old), "nonce_expired"),
        (time(ClaimedTime::Invalid), "timestamp_invalid"),
        (time(ClaimedTime::At(far)), "timestamp_out_of_tolerance"),
        (time(ClaimedTime::At(now - DECISION_CLOCK_MS_MAX - 1)), "timestamp_out_of_tolerance"),
        (time(ClaimedTime::At(0)), "timestamp_out_of_tolerance"),
        (both, "nonce_unknown"),
    ];
    for (guard, expected) in cases {
        let reject = Reject { intent: id, digest: None, reason: None, guard: Some(guard.clone()) };
        let cancel =
            Cancel { intent: id, reason: None, guard: Some(guard.clone()), withdraws: None };
        for command in [approve(id, guard), Command::Reject(reject), Command::Cancel(cancel)] {
            let before = node.state.0.len();
            let reply = node.send(Some(person), command);
            assert_eq!(reason(&reply), Some(expected));
            assert_eq!(node.state.0.len(), before + 2, "the kept reply and its end, no more");
        }
    }
    assert!(ReplayReason::ALL.iter().all(|reason| !reason.name().is_empty()));
    let edge = ReplayGuard {
        nonce: Some(nonce(&node, 1)),
        decided_at: Some(ClaimedTime::At(now + DECISION_CLOCK_MS_MAX)),
    };
    assert_eq!(word(&node.send(Some(person), approve(id, edge))), "approved");
}

#[test]
fn a_refused_decision_uses_no_nonce_up() {
    let (mut node, agent, person) = world();
    let id = accepted(&node.submit(agent, &ask(1)));
    let mut guard = with(nonce(&node, 3));
    guard.decided_at = Some(ClaimedTime::Invalid);
    assert_eq!(
        reason(&node.send(Some(person), approve(id, guard.clone()))),
        Some("timestamp_invalid")
    );
    guard.decided_at = None;
    let wrong = Command::Reject(Reject {
        intent: id,
        digest: Some(Digest([1; 32])),
        reason: None,
        guard: Some(guard.clone()),
    });
    assert_eq!(word(&node.send(Some(person), wrong)), "refused: DigestMismatch");
    assert_eq!(word(&node.send(Some(agent), approve(id, guard.clone()))), "refused: Role");
    let gone = approve(IntentId(1), guard.clone());
    assert_eq!(word(&node.send(Some(person), gone)), "refused: UnknownIntent");
    assert_eq!(word(&node.send(Some(person), approve(id, guard.clone()))), "approved");
    let again = accepted(&node.submit(agent, &ask(2)));
    assert_eq!(reason(&node.send(Some(person), approve(again, guard))), Some("nonce_already_used"));
}

#[test]
fn what_is_too_late_is_refused_before_what_expired() {
    let (mut node, agent, person) = world();
    let mut short = ask(1);
    short["expires_in_ms"] = json!(1_000);
    let id = accepted(&node.submit(agent, &short));
    node.wait_ms(1_000);
    let unknown = approve(id, with(NonceClaim::Unknown));
    assert_eq!(reason(&node.send(Some(person), unknown)), Some("nonce_unknown"));
    let good = with(nonce(&node, 5));
    assert_eq!(word(&node.send(Some(person), approve(id, good.clone()))), "refused: Expired");
    let other = accepted(&node.submit(agent, &ask(2)));
    assert_eq!(word(&node.send(Some(person), approve(other, good))), "approved");
}

#[test]
fn a_used_nonce_is_forgotten_once_it_would_be_refused_anyway() {
    let (mut node, agent, person) = world();
    let ids = [1, 2].map(|batch| accepted(&node.submit(agent, &ask(batch))));
    let guard = with(nonce(&node, 4));
    node.send(Some(person), approve(ids[0], guard.clone()));
    let key = table::used_nonce(&Digest([4; 32]));
    assert!(node.state.get(&key).unwrap().is_some());
    node.wait_ms(NONCE_MS - 1);
    node.tick();
    assert!(node.state.get(&key).unwrap().is_some());
    node.wait_ms(1);
    node.tick();
    assert!(node.state.get(&key).unwrap().is_none());
    assert_eq!(reason(&node.send(Some(person), approve(ids[1], guard))), Some("nonce_expired"));
    assert_eq!(ledger::query::head(&node.state, NS, ids[1]).unwrap().unwrap().phase, Phase::Held);
}

#[test]
fn nobody_decides_for_a_principal_without_a_delegation() {
    let (mut node, agent, person) = world();
    let id = accepted(&node.submit(agent, &ask(1)));
    let command = Command::Approve(Box::new(Approve {
        intent: id,
        digest: None,
        facts: None,
        reason: None,
        guard: Some(with(nonce(&node, 8))),
        on_behalf_of: Some("cfo".into()),
    }));
    assert_eq!(word(&node.send(Some(person), command)), "refused: NoDelegation");
    let mut plain = with(nonce(&node, 8));
    plain.decided_at = Some(ClaimedTime::At(node.now.0));
    assert_eq!(word(&node.send(Some(person), approve(id, plain))), "approved");
}
