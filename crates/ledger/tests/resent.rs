//! Requests that are sent again: they get their first answer, and leave the ledger as it was.

#![cfg(test)]

mod support;

use ledger::{Command, Reply, RequestKey, query};
use support::crm::{GATES, request};
use support::{Node, accepted, word};
use types::*;

#[test]
fn a_resent_submit_gets_its_first_answer_and_another_request_another_id() {
    let mut node = Node::with_policies(&[("gates.yaml", GATES)]);
    let agent = node.register("bot", Role::Agent, None);
    let submit = node.submission(&request(1, 1));
    let first = node.send(Some(agent), Command::Submit(Box::new(submit.clone())));
    let size = query::tree(&node.state).unwrap().0;
    let again = node.send(Some(agent), Command::Submit(Box::new(submit.clone())));
    assert_eq!(again, first);
    assert_eq!(query::tree(&node.state).unwrap().0, size, "a re-send leaves no leaf");
    let mut other = submit;
    other.request_digest = Digest::of(b"other");
    let taken = node.send(Some(agent), Command::Submit(Box::new(other)));
    assert_eq!(taken, Reply::IdTaken);
}

#[test]
fn a_resent_vote_gets_its_first_answer() {
    let mut node = Node::with_policies(&[("gates.yaml", GATES)]);
    let agent = node.register("bot", Role::Agent, None);
    let person = node.register("rita", Role::Reviewer, None);
    let id = accepted(&node.submit(agent, &request(4, 1)));
    let reject = ledger::Reject { intent: id, digest: None, reason: None, guard: None };
    let envelope = node.envelope(Some(person), Command::Reject(reject));
    let replies = node.commit(&[envelope.clone(), envelope.clone()]);
    assert_eq!(word(&replies[0]), "rejected");
    assert_eq!(replies[0], replies[1]);
    node.wait_ms(600_000);
    node.tick();
    assert_eq!(word(&node.commit(&[envelope])[0]), "refused: NotHeld", "kept ten minutes");
}

#[test]
fn a_resent_repeat_is_refused_once_more_and_leaves_one_leaf() {
    let mut node = Node::with_policies(&[("gates.yaml", GATES)]);
    let agent = node.register("bot", Role::Agent, None);
    let first = accepted(&node.submit(agent, &request(1, 1)));
    let submit = node.submission(&request(1, 1));
    let envelope = node.envelope(Some(agent), Command::Submit(Box::new(submit)));
    let replies = node.commit(&[envelope.clone(), envelope]);
    assert_eq!(word(&replies[0]), "duplicate");
    assert_eq!(replies[0], replies[1]);
    assert_eq!(node.kinds(first), ["intent_submitted", "duplicate_refused"]);
}

#[test]
fn a_header_key_replays_the_first_answer_and_counts_nothing() {
    let mut node = Node::with_policies(&[("gates.yaml", GATES)]);
    let agent = node.register("bot", Role::Agent, None);
    let key = |body: &[u8]| Some(RequestKey { digest: Digest::of(b"k"), body: Digest::of(body) });
    let send = |node: &mut Node, body: &[u8]| {
        let submit = node.submission(&request(1, 1));
        let mut envelope = node.envelope(Some(agent), Command::Submit(Box::new(submit)));
        envelope.request_key = key(body);
        node.commit(&[envelope]).remove(0)
    };
    let first = send(&mut node, b"a");
    let size = query::tree(&node.state).unwrap().0;
    let second = send(&mut node, b"a");
    assert_eq!(second, Reply::Replayed(Box::new(first)), "before the dedup window is asked");
    assert_eq!(word(&send(&mut node, b"b")), "refused: RequestKeyReused");
    assert_eq!(query::tree(&node.state).unwrap().0, size);
    node.wait_ms(24 * 3_600_000);
    node.tick();
    assert_eq!(word(&send(&mut node, b"b")), "allowed");
}
