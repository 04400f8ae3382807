//! Named policies: the steps of existing clients in their order, with their very words.

mod common;

use common::{Ask, MapWorld, NOW, engine, judged, named, says_of_counts, verdict};
use policy::{Context, Facts, PolicySet, judge};
use types::{Outcome, codec};

use Outcome::{Allow, Block, Hold};

const POLICY: &str = "
auto_approve_under: 100
require_approval_over: 100
require_approval_for: org_wide
block_if_terms: [refund guaranteed]
field_checks: [{path: amount, max: 100}]
rate_limits: {per_agent_per_hour: 3}
allowed_types: [csv, json]
destinations: [crm.contacts, 'data:x']
environments:
  strict: {auto_approve_under: 0, require_approval: always}
";

#[test]
#[rustfmt::skip]
fn the_first_step_that_speaks_decides() {
    let engine = engine(&[("p.yaml", POLICY)]);
    let ok = "{\"amount\":5}";
    let cases = [
        ("other", Some(5), "x.pdf", "{}", 0, Block,
         "Destination 'other' not in policy allowlist: [crm.contacts, data:x]"),
        ("crm.contacts", Some(5), "x.pdf", "{}", 3, Block,
         "Payload type 'pdf' not allowed. Allowed: [csv, json]"),
        ("crm.contacts", Some(5), "{\"amount\":500}", "{}", 3, Block,
         "Rate limit exceeded: 3/hour for agent agt_0000000000000007"),
        ("crm.contacts", Some(5), "{\"amount\":500,\"x\":\"refund guaranteed\"}", "{}", 2, Block,
         "Field 'amount' value 500 exceeds max 100"),
        ("crm.contacts", Some(500), "{\"x\":\"refund guaranteed\"}", "{}", 0, Block,
         "Payload contains blocked term: \"refund guaranteed\""),
        ("crm.contacts", Some(500), ok, "{\"scope\":\"org_wide\"}", 0, Hold,
         "Record count 500 exceeds auto-approve threshold (100)"),
        ("crm.contacts", Some(100), ok, "{\"scope\":\"org_wide\"}", 0, Allow,
         "Record count 100 is within auto-approve threshold (100)"),
        ("crm.contacts", None, ok, "{\"scope\":\"org_wide\"}", 0, Hold,
         "Org-wide publish requires approval"),
        ("crm.contacts", None, ok, "{}", 0, Hold, "Awaiting review"),
        ("crm.contacts", Some(100), ok, "{\"environment\":\"strict\"}", 0, Hold,
         "Policy requires human approval"),
        ("crm.contacts", Some(100), ok, "{\"environment\":\"lax\"}", 0, Allow,
         "Record count 100 is within auto-approve threshold (100)"),
        // A step that cannot be evaluated holds and ends nothing.
        ("crm.contacts", Some(100), "refund guaranteed", "{}", 0, Block,
         "Payload contains blocked term: \"refund guaranteed\""),
        ("crm.contacts", Some(100), "hello", "{}", 0, Hold,
         "the payload is not JSON, so its fields cannot be checked"),
        // The agent's count is not believed below ours.
        ("crm.contacts", Some(1), "[{},{}]", "{}", 0, Hold,
         "Record count 1 is below the 2 records of the payload"),
    ];
    for (destination, claim, payload, metadata, submits, outcome, message) in cases {
        let mut ask = Ask::to(destination).policy("p").text(payload).metadata(metadata);
        ask.proposal.record_count_claim = claim;
        let world = MapWorld { submits: vec![NOW; submits], ..MapWorld::default() };
        let judgement = ask.judged_in(&engine, &world);
        assert_eq!(verdict(&judgement), (outcome, message), "{destination} {payload} {metadata}");
    }
}

#[test]
fn a_policy_without_rules_waits_and_a_gate_joins_in() {
    says_of_counts(&named("notes: nothing"), &[("x", Some(1), Hold, "Awaiting review")]);
    let gate = "gates: [{name: g, resource: r, policies: [{require_approval: always}]}]";
    let both = engine(&[("p.yaml", "auto_approve_under: 1"), ("g.yaml", gate)]);
    assert_eq!(Ask::to("r").policy("p").claim(1).judged(&both).outcome, Hold, "a gate joins in");
}

/// Facts that were made for another set, or that somebody bent, hold.
#[test]
fn facts_that_do_not_fit_hold() {
    let engine = engine(&[("p.yaml", "auto_approve_under: 9\nblock_if_terms: [x]")]);
    let facts = Ask::to("r").policy("p").claim(1).text("fine").facts(&engine);
    let world = MapWorld::default();
    assert_eq!(judged(&facts, &engine, &world).outcome, Allow);
    let bend = |change: &dyn Fn(&mut Facts)| {
        let mut bent = facts.clone();
        change(&mut bent);
        let judgement = judged(&bent, &engine, &world);
        assert_ne!(judgement.outcome, Allow, "{bent:?}");
        judgement.reasons[0].rule.clone()
    };
    assert_eq!(bend(&|facts| facts.set_digest.0[0] ^= 1), "facts_mismatch");
    assert_eq!(bend(&|facts| facts.findings[0].findings.truncate(1)), "facts_mismatch");
    assert_eq!(bend(&|facts| facts.findings[0].environment = Some(7)), "facts_mismatch");
    let alien = policy::Finding::Keys(Vec::new(), None);
    assert_eq!(bend(&|facts| facts.findings[0].findings[0] = alien.clone()), "facts_mismatch");
    assert_eq!(bend(&|facts| facts.findings.clear()), "no_policy");
}

#[test]
fn facts_travel_and_an_empty_set_holds() {
    let engine = engine(&[("p.yaml", POLICY)]);
    let facts = Ask::to("x").policy("p").text("{\"a\":[{}]}").facts(&engine);
    let bytes = codec::encode(&facts);
    assert_eq!(codec::decode::<Facts>(&bytes, "facts").unwrap(), facts);
    let set = std::sync::Arc::new(PolicySet::empty());
    let engine = policy::Engine::new(set.clone(), 0);
    let facts = Ask::to("x").facts(&engine);
    let context = Context { now: NOW, agent: common::AGENT };
    let judgement = judge(&facts, &set, &context, &MapWorld::default()).unwrap();
    assert_eq!(judgement.outcome, Hold);
}
