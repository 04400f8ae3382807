//! Pages of lists: each looks at a bounded number of rows, and cursors leave nothing out.

#![cfg(test)]

mod support;

use std::cell::Cell;

use ledger::{Command, Direction, Fault, MapState, Read, Reply, Visit, query};
use serde_json::json;
use support::{NS, Node, accepted};
use types::limits::PAGE_LOOKS_MAX;
use types::*;

const GATES: &str = "gates:
  - name: large
    resource: crm
    policies: [{require_approval_over: 10}]
  - name: calls
    resource: phone
    policies: [{idempotency_key: {window_seconds: 300, key: lead_id}}]
";

/// Counts how often a row is looked up or visited.
struct Counting<'a> {
    state: &'a MapState,
    looks: Cell<usize>,
}

impl Read for Counting<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        self.looks.set(self.looks.get() + 1);
        self.state.get(key)
    }

    fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        direction: Direction,
        visit: &mut Visit<'_>,
    ) -> Result<(), Fault> {
        self.state.scan(from, to, direction, visit)
    }
}

fn submit(node: &mut Node, key: KeyId, count: usize) -> Vec<IntentId> {
    let request = json!({"resource": "crm", "recordCount": 1, "payload": {"a": 1}});
    let mut ids = Vec::with_capacity(count);
    let mut left = count;
    while left > 0 {
        let envelopes: Vec<_> = (0..left.min(1_000))
            .map(|_| {
                let submit = Command::Submit(Box::new(node.submission(&request)));
                node.envelope(Some(key), submit)
            })
            .collect();
        left -= envelopes.len();
        ids.extend(node.commit(&envelopes).iter().map(accepted));
    }
    ids
}

#[test]
fn a_filter_that_leaves_few_rows_looks_at_a_bounded_number_and_finds_all_by_its_cursor() {
    let mut node = Node::with_policies(&[("gates.yaml", GATES)]);
    let agent = node.register("bulk", Role::Agent, None);
    let held = json!({"resource": "crm", "recordCount": 99, "payload": {"a": 1}});
    let mut expected = vec![accepted(&node.submit(agent, &held))];
    submit(&mut node, agent, PAGE_LOOKS_MAX + 500);
    expected.push(accepted(&node.submit(agent, &held)));
    expected.reverse();

    let (mut found, mut before, mut pages) = (Vec::new(), None, 0);
    loop {
        let counting = Counting { state: &node.state, looks: Cell::new(0) };
        let filter = query::IntentFilter {
            agent: Some(AgentId(agent.0)),
            phases: &[Phase::Held],
            before,
            limit: 50,
        };
        let page = query::intents(&counting, NS, filter).unwrap();
        assert!(counting.looks.get() <= PAGE_LOOKS_MAX, "{} looks", counting.looks.get());
        found.extend(page.heads.iter().map(|head| head.id));
        pages += 1;
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    assert_eq!((found, pages), (expected, 2));
}

#[test]
fn a_list_of_one_agents_begins_where_it_is_told_also_by_anothers_intent() {
    let mut node = Node::with_policies(&[("gates.yaml", GATES)]);
    let (one, other) =
        (node.register("one", Role::Agent, None), node.register("other", Role::Agent, None));
    let (older, theirs) = (submit(&mut node, one, 3), submit(&mut node, other, 1));
    let newer = submit(&mut node, one, 3);
    let list = |before: IntentId| {
        let agent = Some(AgentId(one.0));
        let filter = query::IntentFilter { agent, phases: &[], before: Some(before), limit: 50 };
        let page = query::intents(&node.state, NS, filter).unwrap();
        assert_eq!(page.next, None);
        page.heads.iter().map(|head| head.id).collect::<Vec<_>>()
    };
    let newest_first = |ids: &[IntentId]| ids.iter().rev().copied().collect::<Vec<_>>();
    assert_eq!(list(newer[0]), newest_first(&older));
    assert_eq!(list(theirs[0]), newest_first(&older));
    assert_eq!(list(older[1]), [older[0]]);
    assert_eq!(list(IntentId(u64::MAX)), newest_first(&[older, newer].concat()));
}

#[test]
fn a_payload_is_found_whichever_row_it_is_in() {
    let mut node = Node::with_policies(&[("gates.yaml", GATES)]);
    let agent = node.register("bot", Role::Agent, None);
    let mut with = |length: usize| {
        let payload = json!({"a": "x".repeat(length)});
        let request = json!({"resource": "crm", "recordCount": 1, "payload": payload});
        let id = accepted(&node.submit(agent, &request));
        let found = query::payload(&node.state, NS, id, 1).unwrap();
        let row = node.state.0.contains_key(&ledger::table::payload(NS, id, 1));
        (found.map(|bytes| bytes.len()), row)
    };
    // `{"a":""}` is eight bytes.
    assert_eq!(with(1_016), (Some(1_024), false));
    assert_eq!(with(1_017), (Some(1_025), true));
}

#[test]
fn no_number_of_duplicates_puts_a_leaf_of_a_trail_out_of_reach() {
    let mut node = Node::with_policies(&[("gates.yaml", GATES)]);
    let agent = node.register("caller", Role::Agent, None);
    let call = json!({"resource": "phone", "payload": {"lead_id": "lead-1"}});
    let first = accepted(&node.submit(agent, &call));
    for _ in 0..12 {
        assert!(matches!(node.submit(agent, &call), Reply::Duplicate(_)));
    }
    let (mut kinds, mut after) = (Vec::new(), None);
    loop {
        let page = query::trail(&node.state, NS, first, after, 5).unwrap();
        assert!(page.entries.len() <= 5);
        kinds.extend(page.entries.iter().map(|(leaf, _)| leaf.body.kind()));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(kinds, node.kinds(first));
    assert_eq!(kinds.len(), 13);
}

#[test]
fn leaves_page_through_the_whole_tree_by_namespace() {
    let mut node = Node::with_policies(&[("gates.yaml", GATES)]);
    let agent = node.register("bulk", Role::Agent, None);
    submit(&mut node, agent, PAGE_LOOKS_MAX + 10);
    let (size, root) = query::tree(&node.state).unwrap();
    let mut edge = tlog::Edge::new();
    let mut after = None;
    loop {
        let page = query::leaves(&node.state, &[NS], after, 1_000).unwrap();
        for entry in &page.entries {
            assert_eq!(entry.leaf.sequence, edge.size());
            edge.append(tlog::leaf_hash(&entry.bytes), &mut |_, _| {});
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!((edge.size(), edge.root()), (size, root.0));

    // Another namespace's reader looks at as many and sees none of them.
    let page = query::leaves(&node.state, &[NamespaceId(7)], None, 10).unwrap();
    assert!(page.entries.is_empty());
    assert_eq!(page.next, Some(PAGE_LOOKS_MAX as u64 - 1));
    let rest = query::leaves(&node.state, &[NamespaceId(7)], page.next, 10).unwrap();
    assert_eq!((rest.entries.len(), rest.next), (0, None));
}
