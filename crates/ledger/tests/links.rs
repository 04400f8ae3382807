//! Approval links from the outside: whose decision they carry, how often, and for how long.

#![cfg(test)]

mod support;

use ledger::{
    Command, DecideByLink, IssueLink, LinkRow, Refusal, ReplayGuard, Reply, RotateKey,
    SetAgentStatus, SetRole, query,
};
use serde_json::{Value, json};
use support::{ADMIN, NS, Node, accepted, word};
use types::*;

fn gates(approvals: u32) -> String {
    format!(
        "gates: [{{name: g, resource: crm, policies: [{{require_approval: always}}, \
         {{require_approvals: {approvals}}}]}}]"
    )
}

fn ask(batch: u64) -> Value {
    json!({"resource": "crm", "payload": {"batch": batch}})
}

struct World {
    node: Node,
    agent: KeyId,
    rita: KeyId,
    oda: KeyId,
}

fn world(approvals: u32) -> World {
    let mut node = Node::with_policies(&[("gates.yaml", &gates(approvals))]);
    let agent = node.register("bot", Role::Agent, None);
    let rita = node.register("rita", Role::Reviewer, None);
    let oda = node.register("oda", Role::Reviewer, None);
    World { node, agent, rita, oda }
}

impl World {
    fn held(&mut self) -> IntentId {
        let batch = self.node.draw();
        accepted(&self.node.submit(self.agent, &ask(batch)))
    }

    fn issue(&mut self, key: KeyId, intent: IntentId) -> Reply {
        let drawn = self.node.draw();
        let token_hash = Digest::of(&drawn.to_be_bytes());
        let command = IssueLink { intent, token_hash, token_sealed: vec![1, 2] };
        self.node.send(Some(key), Command::IssueLink(Box::new(command)))
    }

    fn link(&mut self, key: KeyId, intent: IntentId) -> LinkRow {
        match self.issue(key, intent) {
            Reply::Link(row) => *row,
            other => panic!("no link: {other:?}"),
        }
    }

    fn decide(&mut self, link: &LinkRow, approves: bool) -> Reply {
        self.decide_with(link, approves, None, None)
    }

    fn decide_with(
        &mut self,
        link: &LinkRow,
        approves: bool,
        digest: Option<Digest>,
        guard: Option<ReplayGuard>,
    ) -> Reply {
        let token = link.token_hash;
        let command = DecideByLink { token, approves, digest, facts: None, reason: None, guard };
        self.node.send(None, Command::DecideByLink(Box::new(command)))
    }

    fn used_at(&self, link: &LinkRow) -> Option<LogTime> {
        query::link(&self.node.state, &link.token_hash).unwrap().unwrap().used_at
    }
}

#[test]
fn a_link_carries_one_decision_of_its_reviewer() {
    let mut world = world(1);
    let id = world.held();
    let link = world.link(world.rita, id);
    assert_eq!(link.expires_at, world.node.head(id).expires_at);
    assert_eq!(world.link(world.rita, id), link, "asking again gives the same");
    assert_ne!(world.link(world.oda, id).token_hash, link.token_hash);
    assert_eq!(word(&world.decide(&link, true)), "approved");
    assert_eq!(word(&world.decide(&link, true)), "refused: LinkUsed");
    assert_eq!(word(&world.decide(&link, false)), "refused: LinkUsed");
    let head = world.node.head(id);
    let decided = head.decided.unwrap();
    assert_eq!((decided.by, &*decided.name), (Some(AgentId(world.rita.0)), "approval_link"));
    assert_eq!(head.link.unwrap().used_at, Some(world.node.now));
    assert_eq!(
        world.node.kinds(id),
        [
            "intent_submitted",
            "approval_link_issued",
            "approval_link_issued",
            "approval_link_used",
            "approval_vote_recorded",
            "approved"
        ]
    );
}

#[test]
fn a_vote_through_a_link_and_one_under_the_key_are_one_persons() {
    for link_first in [true, false] {
        let mut world = world(2);
        let (rita, oda) = (world.rita, world.oda);
        let id = world.held();
        let link = world.link(rita, id);
        if !link_first {
            assert_eq!(word(&world.node.approve(rita, id, None)), "vote 1 of 2");
        }
        assert_eq!(word(&world.decide(&link, true)), "vote 1 of 2");
        assert!(world.used_at(&link).is_some(), "an admitted decision uses the link up");
        assert_eq!(word(&world.node.approve(rita, id, None)), "vote 1 of 2");
        let again = world.link(rita, id);
        assert_ne!(again.token_hash, link.token_hash, "one live link at a time");
        assert_eq!(word(&world.decide(&again, true)), "vote 1 of 2");
        let other = world.link(oda, id);
        assert_eq!(word(&world.decide(&other, true)), "approved");
        assert_eq!(word(&world.decide(&link, true)), "refused: LinkUsed", "for ever");
    }
}

#[test]
fn of_two_decisions_through_one_link_in_one_batch_the_first_counts() {
    let mut world = world(1);
    let id = world.held();
    let link = world.link(world.rita, id);
    let command = |approves| {
        let token = link.token_hash;
        let (digest, facts, reason, guard) = (None, None, None, None);
        Command::DecideByLink(Box::new(DecideByLink {
            token,
            approves,
            digest,
            facts,
            reason,
            guard,
        }))
    };
    let race = [false, true].map(|approves| world.node.envelope(None, command(approves)));
    let replies = world.node.commit(&race);
    assert_eq!(
        (word(&replies[0]), word(&replies[1])),
        ("rejected".into(), "refused: LinkUsed".into())
    );
    let head = world.node.head(id);
    assert_eq!(head.phase, Phase::Rejected);
    assert!(head.link.unwrap().rejected);
}

#[test]
fn who_asked_gets_no_link_and_decides_through_none() {
    let mut world = world(1);
    let own = world.node.submission(&ask(1));
    let own = accepted(&world.node.send(Some(ADMIN), Command::Submit(Box::new(own))));
    assert_eq!(word(&world.issue(ADMIN, own)), "refused: SelfApproval");
    assert_eq!(word(&world.issue(world.agent, own)), "refused: Role");
    let boss = world.node.register("boss", Role::Reviewer, None);
    let owned = world.node.register("hand", Role::Agent, Some("boss"));
    let id = accepted(&world.node.submit(owned, &ask(2)));
    assert_eq!(word(&world.issue(boss, id)), "refused: SelfApproval");
    assert_eq!(word(&world.issue(boss, IntentId(1))), "refused: UnknownIntent");
    let done = world.held();
    world.node.reject(world.rita, done);
    assert_eq!(word(&world.issue(boss, done)), "refused: NotHeld");
}

#[test]
fn a_reviewer_who_may_not_decide_any_more_does_not_through_a_link_either() {
    let mut world = world(1);
    let id = world.held();
    let (rita, oda) = (world.rita, world.oda);
    let links = [world.link(rita, id), world.link(oda, id)];
    let agent = AgentId(rita.0);
    let suspend = SetAgentStatus { agent, status: AgentStatus::Suspended };
    world.node.send(Some(ADMIN), Command::SetAgentStatus(suspend));
    let role = SetRole { agent: AgentId(oda.0), role: Role::Auditor };
    world.node.send(Some(ADMIN), Command::SetRole(role));
    assert_eq!(word(&world.decide(&links[0], true)), "refused: Inactive");
    assert_eq!(word(&world.decide(&links[1], false)), "refused: Role");
    assert_eq!(world.node.head(id).phase, Phase::Held);
    let resume = SetAgentStatus { agent, status: AgentStatus::Active };
    world.node.send(Some(ADMIN), Command::SetAgentStatus(resume));
    assert_eq!(word(&world.decide(&links[0], true)), "approved");
}

#[test]
fn a_link_ends_with_the_key_that_asked_for_it() {
    for overlap_ms in [0, 60_000] {
        let mut world = world(1);
        let (rita, id) = (world.rita, world.held());
        let link = world.link(rita, id);
        let key = KeyId(world.node.draw());
        let key_hash = Digest::of(&key.0.to_be_bytes());
        let rotate = RotateKey { agent: AgentId(rita.0), key, key_hash, overlap_ms };
        world.node.send(Some(ADMIN), Command::RotateKey(rotate));
        if overlap_ms > 0 {
            let now = world.node.now;
            assert_eq!(query::link_objection(&world.node.state, &link, now).unwrap(), None);
            assert_eq!(world.link(rita, id), link, "the old key goes on for a while");
            world.node.wait_ms(overlap_ms);
        }
        let objection = query::link_objection(&world.node.state, &link, world.node.now);
        assert_eq!(objection.unwrap(), Some(Refusal::UnknownLink));
        for approves in [true, false] {
            assert_eq!(word(&world.decide(&link, approves)), "refused: UnknownLink");
        }
        assert_eq!(world.node.head(id).phase, Phase::Held);
        let again = world.link(key, id);
        assert_ne!(again.token_hash, link.token_hash, "the new key asks for its own");
        assert_eq!(word(&world.decide(&again, true)), "approved");
    }
}

#[test]
fn a_link_ends_with_its_intent_and_a_refused_decision_leaves_it_alone() {
    let mut world = world(1);
    let id = world.held();
    let link = world.link(world.rita, id);
    let wrong = world.decide_with(&link, true, Some(Digest([1; 32])), None);
    assert_eq!(word(&wrong), "refused: DigestMismatch");
    let late = ReplayGuard { nonce: None, decided_at: Some(ledger::ClaimedTime::Invalid) };
    let late = world.decide_with(&link, true, None, Some(late));
    assert_eq!(word(&late), "refused: Replay");
    assert_eq!(world.used_at(&link), None);
    let unknown = LinkRow { token_hash: Digest([3; 32]), ..link.clone() };
    assert_eq!(word(&world.decide(&unknown, true)), "refused: UnknownLink");
    world.node.wait_ms(3_600_000);
    assert_eq!(word(&world.decide(&link, true)), "refused: LinkExpired");
    world.node.tick();
    assert_eq!(word(&world.decide(&link, true)), "refused: LinkExpired");
    assert_eq!(world.node.head(id).phase, Phase::Expired);
}

#[test]
fn a_link_of_one_namespace_is_unknown_in_another() {
    let mut world = world(1);
    let id = world.held();
    let link = world.link(world.rita, id);
    assert_eq!(link.namespace, NS);
    let (token, approves) = (link.token_hash, true);
    let (digest, facts, reason, guard) = (None, None, None, None);
    let command = DecideByLink { token, approves, digest, facts, reason, guard };
    let mut envelope = world.node.envelope(None, Command::DecideByLink(Box::new(command)));
    envelope.namespace = NamespaceId(2);
    assert_eq!(word(&world.node.commit(&[envelope])[0]), "refused: UnknownLink");
}

#[test]
fn a_stricter_policy_uses_up_no_link() {
    let mut world = world(1);
    let id = world.held();
    let link = world.link(world.rita, id);
    world.node.apply_policies(&[("gates.yaml", &gates(2))]);
    let token = link.token_hash;
    let command = |facts, digest| {
        let (reason, guard) = (None, None);
        let approves = true;
        Command::DecideByLink(Box::new(DecideByLink {
            token,
            approves,
            digest,
            facts,
            reason,
            guard,
        }))
    };
    let asked = world.node.send(None, command(None, None));
    assert!(matches!(asked, Reply::FactsNeeded { .. }));
    let facts = world.node.facts_of(id);
    assert_eq!(word(&world.node.send(None, command(Some(facts), None))), "policy changed");
    assert_eq!(world.used_at(&link), None);
    let digest = Some(world.node.head(id).approval.digest);
    assert_eq!(word(&world.node.send(None, command(None, digest))), "vote 1 of 2");
}
