//! Principals from the outside: who may stop whom, that an admin stays, and how many keys one has.

#![cfg(test)]

mod support;

use ledger::{Command, Read, Reply, query};
use support::{ADMIN, NS, Node, word};
use types::*;

#[test]
fn the_last_admin_stays() {
    let mut node = Node::new();
    let suspend = |agent, status| Command::SetAgentStatus(ledger::SetAgentStatus { agent, status });
    let own = suspend(AgentId(1), AgentStatus::Suspended);
    assert_eq!(word(&node.send(Some(ADMIN), own.clone())), "refused: LastAdmin");
    let second = node.register("second", Role::Admin, None);
    assert!(matches!(node.send(Some(second), own), Reply::Agent(_)));
    let back = suspend(AgentId(1), AgentStatus::Active);
    assert_eq!(word(&node.send(Some(ADMIN), back)), "refused: Inactive");
}

#[test]
fn admins_are_counted_as_they_come_and_go() {
    let mut node = Node::new();
    let set = |agent: KeyId, status| {
        let agent = AgentId(agent.0);
        Command::SetAgentStatus(ledger::SetAgentStatus { agent, status })
    };
    let role =
        |agent: KeyId, role| Command::SetRole(ledger::SetRole { agent: AgentId(agent.0), role });
    let (second, third) =
        (node.register("second", Role::Admin, None), node.register("third", Role::Reviewer, None));
    let counted = |node: &Node| {
        let bytes = node.state.get(&ledger::table::admin_count(NS)).unwrap().unwrap();
        codec::decode::<u64>(&bytes, "count").unwrap()
    };
    assert_eq!(counted(&node), 2);
    #[rustfmt::skip]
    let steps = [
        (role(third, Role::Admin), 3),
        (set(second, AgentStatus::Suspended), 2),
        (set(second, AgentStatus::Suspended), 2),
        (role(second, Role::Agent), 2),
        (set(second, AgentStatus::Active), 2),
        (role(third, Role::Worker), 1),
    ];
    for (number, (command, count)) in steps.into_iter().enumerate() {
        assert!(matches!(node.send(Some(ADMIN), command), Reply::Agent(_)), "step {number}");
        assert_eq!(counted(&node), count, "step {number}");
    }
    assert_eq!(word(&node.send(Some(ADMIN), role(ADMIN, Role::Agent))), "refused: LastAdmin");
    // State from before they were counted.
    node.state.0.remove(&ledger::table::admin_count(NS));
    assert_eq!(word(&node.send(Some(ADMIN), role(ADMIN, Role::Agent))), "refused: LastAdmin");
    node.send(Some(ADMIN), role(third, Role::Admin));
    assert_eq!(counted(&node), 2);
}

#[test]
fn who_reviews_stops_agents_and_no_admin() {
    let mut node = Node::new();
    let [agent, person, admin] =
        [("bot", Role::Agent), ("rita", Role::Reviewer), ("al", Role::Admin)]
            .map(|(name, role)| node.register(name, role, None));
    for status in [AgentStatus::Suspended, AgentStatus::Active, AgentStatus::Revoked] {
        let set = |agent: KeyId| {
            let agent = AgentId(agent.0);
            Command::SetAgentStatus(ledger::SetAgentStatus { agent, status })
        };
        assert_eq!(word(&node.send(Some(person), set(admin))), "refused: Role");
        assert!(matches!(node.send(Some(person), set(agent)), Reply::Agent(_)));
        if status == AgentStatus::Suspended {
            assert!(matches!(node.send(Some(ADMIN), set(admin)), Reply::Agent(_)));
            assert_eq!(word(&node.send(Some(person), set(admin))), "refused: Role");
        }
    }
}

#[test]
fn a_principal_has_only_so_many_keys_at_a_time() {
    let mut node = Node::new();
    let agent = node.register("bot", Role::Agent, None);
    let id = AgentId(agent.0);
    let rotate = |node: &mut Node, overlap_ms| {
        let key = KeyId(node.draw());
        let key_hash = Digest::of(&key.0.to_be_bytes());
        let rotate = ledger::RotateKey { agent: id, key, key_hash, overlap_ms };
        node.send(Some(ADMIN), Command::RotateKey(rotate))
    };
    let keys = |node: &Node| query::agent(&node.state, NS, id).unwrap().unwrap().keys.len();
    for number in 2..=limits::KEYS_PER_AGENT_MAX {
        assert!(matches!(rotate(&mut node, 60_000), Reply::KeyAdded { .. }));
        assert_eq!(keys(&node), number);
    }
    assert_eq!(word(&rotate(&mut node, 60_000)), "refused: KeysFull");
    node.wait_ms(60_000);
    assert!(matches!(rotate(&mut node, 60_000), Reply::KeyAdded { .. }), "older ones have ended");
    assert_eq!(keys(&node), 2, "and are dropped");
    while matches!(rotate(&mut node, 60_000), Reply::KeyAdded { .. }) {}
    assert!(matches!(rotate(&mut node, 0), Reply::KeyAdded { .. }), "without overlap, always");
    assert_eq!(keys(&node), 1);
}
