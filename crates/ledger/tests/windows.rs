//! Dedup windows from the outside: which repeats are refused, for how long, and by which phase.

#![cfg(test)]

mod support;

use proptest::prelude::*;
use serde_json::{Value, json};
use support::{Node, accepted, word};
use types::*;

const GATES: &str = "gates:
  - name: outbound-call-dedup
    trigger: webhook
    resource: leads.outbound_call
    policies:
      - idempotency_key: { window_seconds: 300, key: lead_id }
  - name: held-calls
    resource: leads.held_call
    policies:
      - require_approval: always
      - idempotency_key: { window_seconds: 300, key: lead_id }
";

fn call(lead: &str) -> Value {
    json!({"resource": "leads.outbound_call", "trigger": "webhook", "payload": {"lead_id": lead}})
}

fn held_call(lead: &str) -> Value {
    json!({
        "resource": "leads.held_call", "payload": {"lead_id": lead}, "expires_in_ms": 1_000_000,
    })
}

fn node() -> (Node, KeyId, KeyId, KeyId) {
    let mut node = Node::with_policies(&[("gates.yaml", GATES)]);
    let agent = node.register("caller", Role::Agent, None);
    let other = node.register("other", Role::Agent, None);
    let person = node.register("rev", Role::Reviewer, None);
    (node, agent, other, person)
}

#[test]
fn the_second_call_names_the_first_whoever_asks_and_whatever_the_word() {
    let (mut node, agent, other, _) = node();
    let first = accepted(&node.submit(agent, &call("lead-1")));
    node.wait_ms(299_999);
    let mut again = call("lead-1");
    again["trigger"] = Value::Null;
    for (key, request) in [(agent, call("lead-1")), (other, call("lead-1")), (other, again)] {
        let ledger::Reply::Duplicate(duplicate) = node.submit(key, &request) else {
            panic!("the window is open");
        };
        assert_eq!(duplicate.first, first);
        assert_eq!(duplicate.gate.as_deref(), Some("outbound-call-dedup"));
        assert_eq!(duplicate.window_ends_at, Some(LogTime(support::START.0 + 300_000)));
    }
    assert_eq!(word(&node.submit(other, &call("lead-2"))), "allowed");
    assert_eq!(
        node.kinds(first),
        ["intent_submitted", "duplicate_refused", "duplicate_refused", "duplicate_refused"]
    );
    node.wait_ms(1);
    assert_eq!(word(&node.submit(other, &call("lead-1"))), "allowed");
}

#[test]
fn a_held_intent_keeps_its_window_however_long_it_waits() {
    let (mut node, agent, other, person) = node();
    let first = accepted(&node.submit(agent, &held_call("lead-1")));
    node.wait_ms(900_000);
    node.tick();
    assert_eq!(word(&node.submit(other, &held_call("lead-1"))), "duplicate");
    assert_eq!(word(&node.approve(person, first, None)), "approved");
    node.wait_ms(299_999);
    node.tick();
    let second = node.submit(other, &held_call("lead-1"));
    assert_eq!(word(&second), "duplicate", "an approval starts the span anew");
    node.wait_ms(1);
    node.tick();
    assert_eq!(word(&node.submit(other, &held_call("lead-1"))), "held");
}

#[test]
#[rustfmt::skip]
fn what_releases_a_window_at_once() {
    let cases: [(&str, &str); 4] = [
        // how the first one ends, the repeat is
        ("rejected",                 "held"),
        ("cancelled",                "held"),
        ("expired while held",       "held"),
        ("expired after an approval", "duplicate"),
    ];
    for (end, expected) in cases {
        let (mut node, agent, other, person) = node();
        let first = accepted(&node.submit(agent, &held_call("lead-1")));
        match end {
            "rejected" => drop(node.reject(person, first)),
            "cancelled" => {
                let (reason, guard, withdraws) = (None, None, None);
                let cancel = ledger::Cancel { intent: first, reason, guard, withdraws };
                node.send(Some(person), ledger::Command::Cancel(cancel));
            }
            "expired while held" => {
                node.wait_ms(1_000_000);
                node.tick();
                assert_eq!(node.head(first).phase, Phase::Expired);
            }
            _ => {
                node.wait_ms(999_000);
                assert_eq!(word(&node.approve(person, first, None)), "approved");
                node.wait_ms(1_000);
                node.tick();
                assert_eq!(node.head(first).phase, Phase::Expired);
            }
        }
        assert_eq!(word(&node.submit(other, &held_call("lead-1"))), expected, "{end}");
    }
}

#[test]
fn a_late_end_of_an_old_intent_leaves_a_newer_window_alone() {
    let (mut node, agent, other, person) = node();
    let first = accepted(&node.submit(agent, &held_call("lead-1")));
    assert_eq!(word(&node.approve(person, first, None)), "approved");
    node.wait_ms(300_000);
    let second = accepted(&node.submit(other, &held_call("lead-1")));
    node.wait_ms(700_000);
    node.tick();
    assert_eq!(node.head(first).phase, Phase::Expired);
    let ledger::Reply::Duplicate(duplicate) = node.submit(agent, &held_call("lead-1")) else {
        panic!("the second intent is held and keeps its window");
    };
    assert_eq!(duplicate.first, second);
}

#[test]
fn a_missing_key_value_holds() {
    let (mut node, agent, ..) = node();
    let mut request = call("x");
    request["payload"] = json!({"phone": "+1"});
    assert_eq!(word(&node.submit(agent, &request)), "held");
}

/// What the window rule promises, written as a list of accepted calls and nothing else.
#[derive(Default)]
struct Model(Vec<(u8, u64)>);

impl Model {
    fn call(&mut self, lead: u8, now: u64) -> &'static str {
        let open = self.0.iter().any(|(other, at)| *other == lead && now < at + 300_000);
        if open {
            return "duplicate";
        }
        self.0.push((lead, now));
        "allowed"
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// One accepted call per lead and window, in whatever order and however batched ticks come.
    #[test]
    fn one_call_per_lead_and_window(
        steps in proptest::collection::vec((0..3u8, 0..200_000u64, any::<bool>()), 1..40),
    ) {
        let (mut node, agent, other, _) = node();
        let mut model = Model::default();
        for (lead, wait, tick) in steps {
            node.wait_ms(wait);
            if tick {
                node.tick();
            }
            let key = if wait % 2 == 0 { agent } else { other };
            let expected = model.call(lead, node.now.0);
            let reply = node.submit(key, &call(&format!("lead-{lead}")));
            prop_assert_eq!(word(&reply), expected);
        }
    }
}

#[test]
fn a_tick_touches_so_many_windows_and_leaves_the_rest_due() {
    let gates = "gates: [{name: g, resource: crm, policies: [{require_approval: always}, \
                 {idempotency_key: {window_seconds: 60, key: id, per_record: true}}]}]";
    let mut node = Node::with_policies(&[("gates.yaml", gates)]);
    let agent = node.register("bot", Role::Agent, None);
    let each = limits::TICK_WORK_MAX * 3 / 5;
    let intents = [0, 1, 2].map(|nth| {
        let records: Vec<Value> =
            (0..each).map(|id| json!({"id": format!("{nth}-{id}")})).collect();
        let request = json!({
            "resource": "crm", "payload": {"records": records}, "expires_in_ms": 5_000,
        });
        accepted(&node.submit(agent, &request))
    });
    node.wait_ms(5_000);
    let phases = |node: &Node| intents.map(|id| node.head(id).phase.name());
    assert_eq!(node.tick(), ledger::Reply::Ticked { more: true });
    assert_eq!(phases(&node), ["expired", "expired", "held"]);
    assert_eq!(node.tick(), ledger::Reply::Ticked { more: false });
    assert_eq!(phases(&node), ["expired"; 3]);
    let request = json!({"resource": "crm", "payload": {"records": [{"id": "2-0"}]}});
    assert_eq!(word(&node.submit(agent, &request)), "held", "its windows went along");
}
