//! Approvals from the outside: who counts, what is approved, what a change of policy does.

#![cfg(test)]

mod support;

use std::collections::BTreeSet;

use ledger::{Command, Refusal, Reply};
use proptest::prelude::*;
use serde_json::{Value, json};
use support::{ADMIN, Node, accepted, word};
use types::*;

fn gates(approvals: u32) -> String {
    format!(
        "gates:\n  - name: two\n    resource: crm.contacts\n    policies:\n      \
         - require_approval_over: 1\n      - require_approvals: {approvals}\n"
    )
}

fn records(count: usize) -> Value {
    let records: Vec<Value> = (0..count).map(|id| json!({"id": id, "set": {"x": 1}})).collect();
    json!({"resource": "crm.contacts", "trigger": "write", "payload": {"records": records}})
}

#[test]
fn nobody_approves_what_they_asked_for() {
    let mut node = Node::with_policies(&[("gates.yaml", &gates(1))]);
    let asking = node.register("asking-admin", Role::Admin, None);
    let owned = node.register("bot", Role::Agent, Some("rita"));
    let rita = node.register("rita", Role::Reviewer, None);
    let same_team = node.register("sam", Role::Reviewer, Some("rita"));
    let other = node.register("oda", Role::Reviewer, None);
    let own = accepted(&node.submit(asking, &records(5)));
    assert_eq!(word(&node.approve(asking, own, None)), "refused: SelfApproval");
    let bots = accepted(&node.submit(owned, &records(5)));
    for key in [rita, same_team] {
        assert_eq!(word(&node.approve(key, bots, None)), "refused: SelfApproval");
    }
    assert_eq!(word(&node.approve(owned, bots, None)), "refused: Role");
    assert_eq!(word(&node.approve(other, bots, None)), "approved");
}

#[test]
fn the_same_person_counts_once_and_a_repeat_leaves_no_leaf() {
    let mut node = Node::with_policies(&[("gates.yaml", &gates(2))]);
    let agent = node.register("bot", Role::Agent, None);
    let first = node.register("rita", Role::Reviewer, Some("finance"));
    let second = node.register("rita-too", Role::Reviewer, Some("finance"));
    let third = node.register("oda", Role::Reviewer, None);
    let id = accepted(&node.submit(agent, &records(5)));
    for key in [first, first, second] {
        assert_eq!(word(&node.approve(key, id, None)), "vote 1 of 2");
    }
    assert_eq!(word(&node.approve(third, id, None)), "approved");
    assert_eq!(word(&node.approve(third, id, None)), "already");
    assert_eq!(
        node.kinds(id),
        ["intent_submitted", "approval_vote_recorded", "approval_vote_recorded", "approved"]
    );
}

#[test]
fn whoever_answers_for_somebody_is_that_person_in_both_directions() {
    let mut node = Node::with_policies(&[("gates.yaml", &gates(2))]);
    let boss = node.register("boss", Role::Admin, None);
    let hand = node.register("hand", Role::Reviewer, Some("boss"));
    let by_id = node.register("by-id", Role::Reviewer, Some(&AgentId(boss.0).to_string()));
    let own = accepted(&node.submit(boss, &records(5)));
    for key in [hand, by_id] {
        assert_eq!(word(&node.approve(key, own, None)), "refused: SelfApproval");
    }
    let agent = node.register("bot", Role::Agent, None);
    for (first, second) in [(boss, hand), (hand, boss), (by_id, boss)] {
        let id = accepted(&node.submit(agent, &records(5)));
        assert_eq!(word(&node.approve(first, id, None)), "vote 1 of 2");
        assert_eq!(word(&node.approve(second, id, None)), "vote 1 of 2", "one person");
    }
}

#[test]
fn a_digest_that_nobody_saw_is_refused_also_once_it_is_allowed() {
    let mut node = Node::with_policies(&[("gates.yaml", &gates(1))]);
    let agent = node.register("bot", Role::Agent, None);
    let person = node.register("rita", Role::Reviewer, None);
    let id = accepted(&node.submit(agent, &records(5)));
    assert_eq!(word(&node.approve(person, id, None)), "approved");
    let wrong = node.approve(person, id, Some(Digest([9; 32])));
    assert_eq!(word(&wrong), "refused: DigestMismatch");
}

#[test]
fn a_decision_is_bound_to_the_digest_that_was_seen() {
    let mut node = Node::with_policies(&[("gates.yaml", &gates(1))]);
    let agent = node.register("bot", Role::Agent, None);
    let person = node.register("rita", Role::Reviewer, None);
    let id = accepted(&node.submit(agent, &records(5)));
    let current = node.head(id).approval.digest;
    let wrong = node.approve(person, id, Some(Digest([9; 32])));
    assert_eq!(wrong, Reply::Refused(Refusal::DigestMismatch { id, current }));
    assert_eq!(node.head(id).phase, Phase::Held);
    assert_eq!(word(&node.approve(person, id, Some(current))), "approved");
}

#[test]
fn one_rejection_ends_it_whatever_the_quorum() {
    let mut node = Node::with_policies(&[("gates.yaml", &gates(3))]);
    let agent = node.register("bot", Role::Agent, None);
    let person = node.register("rita", Role::Reviewer, None);
    let id = accepted(&node.submit(agent, &records(5)));
    assert_eq!(word(&node.approve(person, id, None)), "vote 1 of 3");
    assert_eq!(word(&node.reject(person, id)), "rejected");
    assert_eq!(word(&node.approve(person, id, None)), "refused: NotHeld");
    assert_eq!(word(&node.reject(person, id)), "refused: NotHeld");
}

#[test]
fn time_never_approves() {
    let mut node = Node::with_policies(&[("gates.yaml", &gates(1))]);
    let agent = node.register("bot", Role::Agent, None);
    let person = node.register("rita", Role::Reviewer, None);
    let id = accepted(&node.submit(agent, &records(5)));
    node.wait_ms(3_600_000);
    assert_eq!(word(&node.approve(person, id, None)), "refused: Expired", "before any tick");
    assert_eq!(node.head(id).phase, Phase::Expired);
    assert_eq!(node.kinds(id), ["intent_submitted", "expired"]);
    node.tick();
    assert_eq!(node.kinds(id), ["intent_submitted", "expired"]);
}

#[test]
fn a_stricter_policy_voids_the_votes_and_a_moved_rule_does_not() {
    let mut node = Node::with_policies(&[("gates.yaml", &gates(2))]);
    let agent = node.register("bot", Role::Agent, None);
    let [one, two, three] = ["a", "b", "c"].map(|name| node.register(name, Role::Reviewer, None));
    let id = accepted(&node.submit(agent, &records(5)));
    assert_eq!(word(&node.approve(one, id, None)), "vote 1 of 2");
    node.apply_policies(&[("gates.yaml", &format!("# moved by a comment\n{}", gates(2)))]);
    let seen = node.head(id).approval.digest;
    node.apply_policies(&[("gates.yaml", &gates(3))]);
    assert_eq!(word(&node.approve(two, id, Some(seen))), "policy changed");
    let head = node.head(id);
    assert_eq!((head.phase, head.approval.votes.len()), (Phase::Held, 0));
    assert_eq!(word(&node.approve(two, id, None)), "refused: DigestRequired");
    assert_eq!(word(&node.approve(two, id, Some(seen))), "refused: DigestMismatch");
    let now = Some(head.approval.digest);
    assert_eq!(word(&node.approve(one, id, now)), "vote 1 of 3");
    assert_eq!(word(&node.approve(two, id, now)), "vote 2 of 3");
    assert_eq!(word(&node.approve(three, id, now)), "approved");
}

#[test]
fn a_looser_policy_never_releases_what_is_held() {
    let mut node = Node::with_policies(&[("gates.yaml", &gates(1))]);
    let agent = node.register("bot", Role::Agent, None);
    let person = node.register("rita", Role::Reviewer, None);
    let id = accepted(&node.submit(agent, &records(5)));
    node.apply_policies(&[(
        "gates.yaml",
        "gates:\n  - name: open\n    resource: crm.contacts\n    policies:\n      \
         - require_approval_over: 1000\n",
    )]);
    node.tick();
    assert_eq!(node.head(id).phase, Phase::Held);
    assert_eq!(word(&node.approve(person, id, None)), "approved");
}

#[test]
fn a_revoked_reviewer_does_not_count_even_if_an_edge_let_it_in() {
    let mut node = Node::with_policies(&[("gates.yaml", &gates(1))]);
    let agent = node.register("bot", Role::Agent, None);
    let person = node.register("rita", Role::Reviewer, None);
    let id = accepted(&node.submit(agent, &records(5)));
    let revoke = ledger::SetAgentStatus { agent: AgentId(person.0), status: AgentStatus::Revoked };
    let revoke = node.envelope(Some(ADMIN), Command::SetAgentStatus(revoke));
    let approve = ledger::Approve {
        intent: id,
        digest: None,
        facts: None,
        reason: None,
        guard: None,
        on_behalf_of: None,
    };
    let approve = node.envelope(Some(person), Command::Approve(Box::new(approve)));
    let replies = node.commit(&[revoke, approve]);
    assert_eq!(word(&replies[1]), "refused: Inactive");
    assert_eq!(node.head(id).phase, Phase::Held);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// No order of approvals allows an intent early, twice, or on one person's word.
    #[test]
    fn allows_once_after_enough_people(
        needed in 1..4u32,
        voters in proptest::collection::vec(0..5usize, 0..20),
    ) {
        let mut node = Node::with_policies(&[("gates.yaml", &gates(needed))]);
        let agent = node.register("bot", Role::Agent, None);
        let people: Vec<KeyId> =
            (0..5).map(|n| node.register(&format!("rev-{n}"), Role::Reviewer, None)).collect();
        let id = accepted(&node.submit(agent, &records(5)));
        let mut seen = BTreeSet::new();
        let mut approved = 0;
        for voter in voters {
            let reply = node.approve(people[voter], id, None);
            seen.insert(voter);
            approved += usize::from(word(&reply) == "approved");
            let enough = seen.len() >= needed as usize;
            prop_assert_eq!(approved, usize::from(enough));
            prop_assert_eq!(node.head(id).phase == Phase::Allowed, enough);
        }
    }
}
