//! Gates: what covers an intent, and what several rules say of it together.

mod common;

use common::{Ask, MapWorld, engine, gate, verdict};
use policy::{Finding, OpenWindow};
use types::{IntentId, Outcome, RuleSource};

use Outcome::{Allow, Block, Duplicate, Hold};

#[test]
fn globs_cross_dots_and_know_case() {
    let cases = [
        ("crm.contacts", "crm.contacts", true),
        ("crm.*", "crm.contacts.eu", true),
        ("crm.*", "crm", false),
        ("*", "", true),
        ("*.contacts", "crm.eu.contacts", true),
        ("c*m.*s", "crm.contacts", true),
        ("a*b*a", "aba", true),
        ("a*b*a", "ab", false),
        ("crm.*", "CRM.contacts", false),
        ("**", "x", true),
        ("aa*a", "aa", false),
    ];
    for (pattern, name, expected) in cases {
        assert_eq!(types::glob::matches(pattern, name), expected, "{pattern} {name}");
    }
}

const COVERAGE: &str = "
gates:
- {name: send, trigger: send, resource: 'mail.*', policies: [{require_approval_over: 1}]}
- {name: any, resource: crm.contacts, policies: [{require_approval_over: 2}]}
gate:
  resources: {'mail.batch': [{require_approval_over: 3}]}
";
const DEFAULT: &str = "gate: {default_policy: {require_approval_over: 4}}\n";

#[test]
fn the_agent_does_not_choose_what_judges_it() {
    let bare = engine(&[("g.yaml", COVERAGE)]);
    let full = engine(&[("g.yaml", COVERAGE), ("h.yaml", DEFAULT), ("p.yaml", "notes: x")]);
    let rows = |n: usize| format!("[{}]", vec!["{}"; n].join(","));
    #[rustfmt::skip]
    let cases = [
        // resource, trigger, policy, records, outcome without and with a default, scopes with it
        ("mail.batch", Some("send"), None, 1, Allow, Allow, 2),
        ("mail.batch", Some("send"), None, 2, Hold, Hold, 2),
        ("mail.batch", None, None, 2, Hold, Hold, 2),
        ("mail.batch", Some("sned"), None, 1, Hold, Hold, 1),
        ("mail.other", Some("sned"), None, 1, Hold, Hold, 1),
        ("mail.other", Some("rollback"), None, 1, Allow, Allow, 1),
        ("mail.other", Some("sned"), Some("p"), 1, Block, Hold, 1),
        ("crm.contacts", Some("whatever"), None, 2, Allow, Allow, 1),
        ("nowhere", None, None, 1, Hold, Allow, 1),
        ("nowhere", None, None, 5, Hold, Hold, 1),
        ("nowhere", None, Some("p"), 1, Block, Hold, 1),
        ("nowhere", None, Some("g"), 1, Block, Block, 0),
        ("nowhere", None, Some("../p"), 1, Block, Block, 0),
        ("crm.contacts", None, Some("x"), 1, Block, Block, 1),
    ];
    for (resource, trigger, policy, records, without, with, scopes) in cases {
        let mut ask = Ask::to(resource).json(&rows(records));
        ask.proposal.trigger = trigger.map(Into::into);
        ask.proposal.policy = policy.map(Into::into);
        let name = format!("{resource} {trigger:?} {policy:?} {records}");
        assert_eq!(ask.judged(&bare).outcome, without, "{name}");
        assert_eq!(ask.judged(&full).outcome, with, "{name}");
        assert_eq!(ask.facts(&full).findings.len(), scopes, "{name}");
    }
    let judgement = Ask::to("nowhere").json("{}").judged(&bare);
    assert_eq!(verdict(&judgement), (Hold, "no policy covers this resource"));
    assert_eq!(judgement.reasons[0].rule, "no_policy");
    let judgement = Ask::to("nowhere").policy("x").judged(&bare);
    assert_eq!(verdict(&judgement), (Block, "Policy 'x' not found"));
}

#[test]
fn only_an_uncovered_request_of_an_existing_client_is_sent_back() {
    let bare = engine(&[("g.yaml", COVERAGE)]);
    let full = engine(&[("g.yaml", COVERAGE), ("h.yaml", DEFAULT)]);
    let cases = [
        ("nowhere", true, None, true, false),
        ("nowhere", false, None, false, false),
        ("nowhere", true, Some("x"), false, false),
        ("crm.contacts", true, None, false, false),
    ];
    for (resource, peer, policy, expected, with_default) in cases {
        let mut ask = Ask::to(resource);
        ask.proposal.peer_spelling = peer;
        ask.proposal.policy = policy.map(Into::into);
        assert_eq!(ask.facts(&bare).peer_uncovered, expected, "{resource} {peer} {policy:?}");
        assert_eq!(ask.facts(&full).peer_uncovered, with_default, "{resource} {peer} {policy:?}");
    }
}

/// JSON that two parsers read differently is not judged as mere text.
#[test]
fn ambiguous_json_text_holds() {
    let engine = gate("require_approval_over: 5");
    let deep = format!("{}{}", "[".repeat(65), "]".repeat(65));
    for text in ["{\"a\":1,\"a\":2}", "[\"\\u0000\"]", deep.as_str()] {
        let judgement = Ask::to("r").text(text).judged(&engine);
        let (outcome, message) = verdict(&judgement);
        assert!(outcome == Hold && message.contains("cannot be judged safely"), "{message}");
    }
    for text in ["[Draft] hello", "{{name}} hi", "{not json}"] {
        assert_eq!(Ask::to("r").text(text).judged(&engine).outcome, Allow, "{text}");
    }
}

#[test]
fn reasons_come_most_severe_first_then_in_order_of_documents() {
    let engine = engine(&[
        (
            "b.yaml",
            "gates:\n- name: b\n  resource: r\n  policies:\n  - require_approval: always\n  \
             - block_if_terms: [bad]\n",
        ),
        ("a.yaml", "gates:\n- {name: a, resource: r, policies: [{require_approval_over: 0}]}\n"),
        ("p.yaml", "auto_approve_under: 9\nrequire_approvals: 3\n"),
    ]);
    let judgement = Ask::to("r").policy("p").claim(1).text("bad").judged(&engine);
    let found: Vec<_> = judgement
        .reasons
        .iter()
        .map(|reason| {
            (reason.outcome, reason.rule.as_str(), reason.place.file.as_str(), reason.place.line)
        })
        .collect();
    assert_eq!(
        found,
        [
            (Block, "block_if_terms", "b.yaml", 6),
            (Hold, "require_approval_over", "a.yaml", 2),
            (Hold, "require_approval", "b.yaml", 5),
            (Allow, "auto_approve_under", "p.yaml", 1),
        ]
    );
    assert_eq!(judgement.reasons[3].source, RuleSource::Policy("p".into()));
    assert_eq!(judgement.approvals.count, 3);
}

#[test]
fn block_is_more_severe_than_duplicate_and_hold_less() {
    let rule = "idempotency_key: {window_seconds: 5, key: id}";
    let cases = [
        (gate(rule), Duplicate),
        (gate(&format!("{rule}, require_approval: always")), Duplicate),
        (gate(&format!("{rule}, block_if_terms: [bad]")), Block),
    ];
    for (engine, expected) in cases {
        let ask = Ask::to("r").json("{\"id\":1,\"x\":\"bad\"}");
        let facts = ask.facts(&engine);
        let keys = facts.findings[0].findings.iter().find_map(|finding| match finding {
            Finding::Keys(keys, _) => Some(keys[0].fingerprint),
            _ => None,
        });
        let mut world = MapWorld::default();
        let taken = OpenWindow { first: IntentId(9), ends_at: None };
        world.windows.insert(keys.unwrap(), taken);
        let judgement = ask.judged_in(&engine, &world);
        assert_eq!(judgement.outcome, expected);
        assert_eq!(judgement.duplicate.is_some(), expected == Duplicate);
        assert_eq!(judgement.windows, []);
    }
}

/// A rule that moved is the same rule; a rule that changed is not.
#[test]
fn the_rules_digest_follows_meaning_not_place() {
    let digest = |files: &[(&str, &str)]| Ask::to("r").facts(&engine(files)).rules_digest;
    let (over, always) = ("{require_approval_over: 1}", "{require_approval: always}");
    let a = format!("{{name: a, resource: r, policies: [{over}, {always}]}}");
    let a_turned = format!("{{name: a, resource: r, policies: [{always}, {over}]}}");
    let b = "{name: b, resource: r, policies: [{require_approval_over: 2}]}";
    let base = digest(&[("g.yaml", &format!("gates: [{a}, {b}]"))]);
    assert_eq!(base, digest(&[("h.yaml", &format!("gates:\n\n- {b}\n- {a_turned}"))]));
    assert_eq!(
        base,
        digest(&[("x.yaml", &format!("gates: [{b}]")), ("y.yaml", &format!("gates: [{a}]"))])
    );
    assert_ne!(base, digest(&[("g.yaml", &format!("gates: [{a}]"))]));
    let stricter = a.replace("over: 1", "over: 0");
    assert_ne!(base, digest(&[("g.yaml", &format!("gates: [{stricter}, {b}]"))]));
}
