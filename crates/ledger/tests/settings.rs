//! Keys, principals, namespaces and policies from the outside, and the bounds of the tick.
#![cfg(test)]

mod support;

use ledger::*;
use serde_json::json;
use support::{ADMIN, NS, Node, accepted, word};
use types::*;

const GATES: &str = "gates:
  - name: crm
    resource: crm.contacts
    policies:
      - require_approval_over: 2
      - idempotency_key: { window_seconds: 60, key: batch }
";

fn request(batch: u64) -> serde_json::Value {
    json!({"resource": "crm.contacts", "payload": {"batch": batch}, "expires_in_ms": 10_000})
}

#[test]
fn a_rotated_key_ends_with_the_overlap_and_the_new_one_goes_on() {
    let mut node = Node::with_policies(&[("gates.yaml", GATES)]);
    let old = node.register("bot", Role::Agent, None);
    let rotate = RotateKey {
        agent: AgentId(old.0),
        key: KeyId(5_000),
        key_hash: Digest::of(b"new"),
        overlap_ms: 1_000,
    };
    assert!(matches!(
        node.send(Some(old), Command::RotateKey(rotate)),
        Reply::KeyAdded { key: KeyId(5_000), .. }
    ));
    node.wait_ms(999);
    assert_eq!(word(&node.submit(old, &request(1))), "allowed");
    node.wait_ms(1);
    assert_eq!(word(&node.submit(old, &request(2))), "refused: InvalidKey");
    assert_eq!(word(&node.submit(KeyId(5_000), &request(2))), "allowed");
}

#[test]
fn a_key_is_worth_nothing_in_another_namespace() {
    let mut node = Node::with_policies(&[("gates.yaml", GATES)]);
    let first = FirstKey {
        agent: AgentId(700),
        name: "admin".into(),
        key: KeyId(700),
        key_hash: Digest::of(b"blue"),
    };
    let create = |first: &FirstKey| {
        Command::CreateNamespace(Box::new(CreateNamespace {
            name: "blue".into(),
            admin: first.clone(),
        }))
    };
    let Reply::Namespace(blue) = node.send(Some(ADMIN), create(&first)) else {
        panic!("a namespace");
    };
    assert_eq!(word(&node.send(Some(ADMIN), create(&first))), "refused: NamespaceExists");
    let submit = Command::Submit(Box::new(node.submission(&request(1))));
    let mut across = node.envelope(Some(ADMIN), submit);
    across.namespace = blue;
    assert_eq!(word(&node.commit(&[across])[0]), "refused: InvalidKey");
    let mut other = create(&first);
    if let Command::CreateNamespace(command) = &mut other {
        command.name = "red".into();
    }
    let mut by_blue = node.envelope(Some(KeyId(700)), other);
    by_blue.namespace = blue;
    assert_eq!(word(&node.commit(&[by_blue])[0]), "refused: Role");
}

#[test]
fn revoked_is_for_ever() {
    let mut node = Node::new();
    let agent = AgentId(node.register("bot", Role::Agent, None).0);
    let set = |status| Command::SetAgentStatus(SetAgentStatus { agent, status });
    node.send(Some(ADMIN), set(AgentStatus::Suspended));
    assert!(matches!(node.send(Some(ADMIN), set(AgentStatus::Active)), Reply::Agent(_)));
    node.send(Some(ADMIN), set(AgentStatus::Revoked));
    for status in [AgentStatus::Active, AgentStatus::Suspended] {
        assert_eq!(word(&node.send(Some(ADMIN), set(status))), "refused: Revoked");
    }
    let role = Command::SetRole(SetRole { agent, role: Role::Admin });
    assert_eq!(word(&node.send(Some(ADMIN), role)), "refused: Revoked");
}

#[test]
fn the_same_policies_make_no_new_version_and_a_version_can_be_demanded() {
    let mut node = Node::with_policies(&[("gates.yaml", GATES)]);
    let again = node.apply_policies(&[("gates.yaml", GATES)]);
    assert!(matches!(again, Reply::Policies { version: 1, changed: false, .. }));
    let next = node.apply_policies(&[("gates.yaml", &GATES.replace("over: 2", "over: 3"))]);
    assert!(matches!(next, Reply::Policies { version: 2, changed: true, .. }));
    let source = query::policy_source(&node.state, NS, 1).unwrap().unwrap();
    let demand = Command::ApplyPolicies(Box::new(ApplyPolicies {
        if_version: Some(1),
        compiled: node.state.compiled(NS, 1).unwrap().as_ref().clone(),
        sources: source.files,
        origin: None,
    }));
    let refused = node.send(Some(ADMIN), demand);
    assert_eq!(refused, Reply::Refused(Refusal::VersionMismatch { current: 2 }));
}

#[test]
fn what_an_agent_may_not_name_is_a_recorded_block_and_opens_no_window() {
    let mut node = Node::with_policies(&[("gates.yaml", GATES)]);
    let command = RegisterAgent {
        first: FirstKey {
            agent: AgentId(800),
            name: "narrow".into(),
            key: KeyId(800),
            key_hash: Digest::of(b"narrow"),
        },
        owner: None,
        framework: None,
        risk_tier: "standard".into(),
        role: Role::Agent,
        allowed_policies: vec![],
        allowed_destinations: vec!["crm.leads".into()],
        metadata: None,
        open: false,
    };
    node.send(Some(ADMIN), Command::RegisterAgent(Box::new(command)));
    let Reply::Submitted(head, content) = node.submit(KeyId(800), &request(1)) else {
        panic!("recorded");
    };
    assert_eq!(head.phase, Phase::Blocked);
    assert_eq!(content.decision.reasons[0].rule, "destination_not_allowed");
    let free = node.register("free", Role::Agent, None);
    assert_eq!(word(&node.submit(free, &request(1))), "allowed");
}

#[test]
fn a_tick_does_a_bounded_amount_and_says_that_more_is_due() {
    let mut node = Node::with_policies(&[("gates.yaml", GATES)]);
    let agent = node.register("bot", Role::Agent, None);
    let ids: Vec<IntentId> =
        (0..700).map(|batch| accepted(&node.submit(agent, &request(batch)))).collect();
    node.wait_ms(600_000);
    // 700 expiries come first, then 700 windows, then replies: 1,000 rows a tick.
    assert_eq!(node.tick(), Reply::Ticked { more: true });
    let expired = ids.iter().filter(|id| node.head(**id).phase == Phase::Expired).count();
    assert_eq!(expired, 700);
    let windows = |node: &Node| {
        let prefix = table::prefix(NS, table::Table::Windows);
        node.state.0.keys().filter(|key| key.starts_with(&prefix)).count()
    };
    assert_eq!(windows(&node), 400);
    assert_eq!(node.tick(), Reply::Ticked { more: false });
    assert_eq!(windows(&node), 0);
}

#[test]
fn a_header_key_is_over_after_a_day_before_any_tick() {
    let mut node = Node::with_policies(&[("gates.yaml", GATES)]);
    let agent = node.register("bot", Role::Agent, None);
    let send = |node: &mut Node, batch| {
        let submit = node.submission(&request(batch));
        let mut envelope = node.envelope(Some(agent), Command::Submit(Box::new(submit)));
        envelope.request_key =
            Some(RequestKey { digest: Digest::of(b"k"), body: Digest::of(b"b") });
        word(&node.commit(&[envelope])[0])
    };
    assert_eq!(send(&mut node, 1), "allowed");
    node.wait_ms(24 * 3_600_000 - 1);
    assert_eq!(send(&mut node, 2), "replayed allowed");
    node.wait_ms(1);
    assert_eq!(send(&mut node, 3), "allowed");
}

#[test]
fn a_rate_limit_counts_the_last_hour_and_what_it_blocked() {
    let limited = "rate_limits: { per_agent_per_hour: 2 }\nauto_approve_under: 10\n";
    let mut node = Node::with_policies(&[("limited.yaml", limited)]);
    let agent = node.register("bot", Role::Agent, None);
    let other = node.register("other", Role::Agent, None);
    let ask = json!({
        "resource": "any.thing", "policy": "limited", "recordCount": 1, "payload": {"x": 1},
    });
    assert_eq!(word(&node.submit(agent, &ask)), "allowed");
    node.wait_ms(1_000);
    assert_eq!(word(&node.submit(agent, &ask)), "allowed");
    assert_eq!(word(&node.submit(agent, &ask)), "blocked");
    assert_eq!(word(&node.submit(other, &ask)), "allowed", "per agent");
    node.wait_ms(3_599_999);
    assert_eq!(word(&node.submit(agent, &ask)), "blocked", "two stored inside the hour");
    node.wait_ms(3_600_001);
    assert_eq!(word(&node.submit(agent, &ask)), "allowed");
}
