//! Gates: what covers an intent, and what each rule says of it.

mod common;

use common::{AGENT, Ask, MapWorld, NOW, engine, judged, verdict};
use types::{LogTime, Outcome, RuleSource};

use Outcome::{Allow, Block, Hold};

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

fn gate(rules: &str) -> policy::Engine {
    engine(&[("g.yaml", &format!("gates: [{{name: g, resource: r, policies: [{rules}]}}]"))])
}

#[test]
#[rustfmt::skip]
fn counts_are_measured_and_claims_are_not_believed() {
    let rows = |n: usize| format!("{{\"a\":{{\"items\":[{}]}},\"b\":[1,2,3,4]}}",
        vec!["{}"; n].join(","));
    let over = gate("require_approval_over: 2");
    let zero = gate("require_approval_over: 0");
    let under = gate("auto_approve_under: 2");
    let path = gate("{require_approval_over: {over: 2, count: n}}");
    let csv = "data:text/csv,a%0Ab%0Ac".to_owned();
    let exceeds = |n: u64,
        limit: u64| format!("Record count {n} exceeds auto-approve threshold ({limit})");
    let unknown = "Record count is unknown: nothing to count and no count was sent".to_owned();
    let cases = [
        (&over, rows(2), None, Allow, String::new()),
        (&over, rows(3), None, Hold, exceeds(3, 2)),
        (&over, rows(2), Some(3), Hold, exceeds(3, 2)),
        (&over, rows(2), Some(2), Allow, String::new()),
        (&over, rows(2), Some(1), Hold,
         "Record count 1 is below the 2 records of the payload".into()),
        (&over, "plain".into(), None, Allow, String::new()),
        (&over, csv.clone(), None, Hold, exceeds(3, 2)),
        (&over, format!("\u{feff} {}", rows(3)), None, Hold, exceeds(3, 2)),
        (&over, "{\"a\":1}\n{\"a\":2}\n\n{\"a\":3}\n".into(), None, Hold, exceeds(3, 2)),
        (&over, "{\"x\":[{}],\"y\":{\"z\":[{},1,{}]},\"w\":[{},{}]}".into(), None, Hold,
         exceeds(3, 2)),
        (&over, "[1] first\n[2] second".into(), None, Allow, String::new()),
        (&over, "leads.csv".into(), None, Hold, unknown.clone()),
        (&over, "leads.csv".into(), Some(2), Allow, String::new()),
        (&over, "data:text/csv;base64,%%%".into(), None, Hold, unknown.clone()),
        (&zero, "plain".into(), None, Hold, exceeds(1, 0)),
        (&under, rows(2), None, Allow, String::new()),
        (&under, rows(3), None, Hold, exceeds(3, 2)),
        (&under, "leads.csv".into(), None, Hold, unknown),
        (&path, "{\"n\":2,\"x\":[{},{},{}]}".into(), None, Allow, String::new()),
        (&path, "{\"n\":\"3\"}".into(), None, Hold, exceeds(3, 2)),
        (&path, "{\"n\":[1,2,3]}".into(), None, Hold, exceeds(3, 2)),
        (&path, "{\"n\":2,\"x\":[{},{},{}]}".into(), Some(2), Allow, String::new()),
        (&path, "{\"n\":2}".into(), Some(1), Hold, "Record count 1 is below the 2 at 'n'".into()),
        (&path, "{\"n\":-2}".into(), None, Hold, "No record count at 'n'".into()),
        (&path, "{}".into(), Some(1), Hold, "No record count at 'n'".into()),
    ];
    for (engine, payload, claim, outcome, message) in cases {
        let mut ask = Ask::to("r").text(&payload);
        ask.proposal.record_count_claim = claim;
        assert_eq!(verdict(&ask.judged(engine)), (outcome, message.as_str()),
            "{payload} {claim:?}");
    }
    assert_eq!(Ask::to("r").judged(&over).outcome, Hold, "nothing to count");
    assert_eq!(Ask::to("r").claim(2).judged(&over).outcome, Allow, "only a claim");
}

#[test]
#[rustfmt::skip]
fn content_rules_see_through_disguises() {
    let terms = gate("block_if_terms: [refund guaranteed]");
    let fields = gate("field_checks: [{path: amount, required: true, max: 100, min: 0.5}, \
                       {path: to, pattern: '^[a-z]+$', max_length: 5}]");
    let template = gate("require_approval_if_template_error");
    let only_body = gate("require_approval_if_template_error: {fields: [body]}");
    let clears = gate("require_approval_if_clears: {over: 1, fields: [phone, mail]}");
    let types = gate("allowed_types: [.CSV, json]");
    let lists = gate("destinations: [other, third]");
    let not_json = "the payload is not JSON, so its fields cannot be checked";
    let unseen = "the payload's text is not here, so its terms cannot be checked";
    let cases = [
        (&terms, "Refund GUARANTEED!", Block,
         "Payload contains blocked term: \"refund guaranteed\""),
        (&terms, "refund guaranteed, see terms.txt", Block,
         "Payload contains blocked term: \"refund guaranteed\""),
        (&terms, "{\"a\":[\"\\u0072éfund gu4ranteed\"]}", Block,
         "Payload contains blocked term: \"refund guaranteed\""),
        (&terms, "data:text/plain;base64,cmVmdW5kIGd1YXJhbnRlZWQ=", Block,
         "Payload contains blocked term: \"refund guaranteed\""),
        (&terms, "{\"refund guaranteed\":\"no\"}", Allow, ""),
        (&terms, "refund-guaranteed.txt", Block,
         "Payload contains blocked term: \"refund guaranteed\""),
        (&terms, "notes.txt", Hold, unseen),
        (&terms, "hello", Allow, ""),
        (&fields, "{\"amount\":100,\"to\":\"ab\"}", Allow, ""),
        (&fields, "{\"amount\":\"\"}", Block, "Field 'amount' is required but missing/empty"),
        (&fields, "{\"amount\":100.01}", Block, "Field 'amount' value 100.01 exceeds max 100"),
        (&fields, "{\"amount\":\"1e9\"}", Block, "Field 'amount' value 1e9 exceeds max 100"),
        (&fields, "{\"amount\":0.4}", Block, "Field 'amount' value 0.4 is below min 0.5"),
        (&fields, "{\"amount\":[5]}", Block, "Field 'amount' is not a number"),
        (&fields, "{\"amount\":5,\"to\":\"abcdef\"}", Block, "Field 'to' length 6 exceeds max 5"),
        (&fields, "{\"amount\":5,\"to\":\"A\"}", Block, "Field 'to' format invalid"),
        (&fields, "{\"amount\":5,\"to\":7}", Block, "Field 'to' format invalid"),
        (&fields, "plain", Hold, not_json),
        (&fields, "", Hold, not_json),
        (&template, "Hello {{name}}", Hold, "Template error: {{name}} was not filled in"),
        (&template, "{\"a\":\"\\u007b\\u007bx}}\",\"b\":null}", Hold,
         "Template error: {{x}} was not filled in"),
        (&template, "{\"{{key}}\":\"fine\"}", Allow, ""),
        (&template, "letter.pdf", Hold,
         "the payload's text is not here, so its templates cannot be checked"),
        (&only_body, "{\"subject\":\"{{x}}\",\"body\":\"ok\"}", Allow, ""),
        (&only_body, "{\"m\":[{\"body\":{\"html\":\"{{x}}\"}}]}", Hold,
         "Template error: {{x}} was not filled in"),
        (&only_body, "{{x}}", Hold, "Template error: {{x}} was not filled in"),
        (&clears, "{\"records\":[{\"set\":{\"phone\":null,\"mail\":\"\"}}]}", Hold,
         "2 values would be cleared (claimed), more than 1"),
        (&clears, "{\"records\":[{\"set\":{\"phone\":null,\"fax\":\"\"}}]}", Allow, ""),
        (&clears,
         "{\"records\":[{\"set\":{\"phone\":null,\"mail\":\"\"},\"before\":{\"mail\":\"\"}}]}",
         Allow, ""),
        (&clears,
         "{\"x\":{\"set\":{\"phone\":null}},\"y\":[[{\"set\":{\"mail\":null}}]],\
          \"decoy\":[{},{},{}]}", Hold, "2 values would be cleared (claimed), more than 1"),
        (&clears, "[{\"phone\":\"\",\"mail\":null}]", Hold,
         "2 values would be cleared (claimed), more than 1"),
        (&clears, "phone=", Hold, "the payload is not JSON, so nobody can say what it clears"),
        (&types, "a.csv", Allow, ""),
        (&types, "data:application/json,%7B%7D", Allow, ""),
        (&types, "a.pdf", Block, "Payload type 'pdf' not allowed. Allowed: [csv, json]"),
        (&types, "text", Allow, ""),
        (&lists, "text", Block, "Destination 'r' not in policy allowlist: [other, third]"),
    ];
    for (engine, payload, outcome, message) in cases {
        let judgement = Ask::to("r").text(payload).judged(engine);
        assert_eq!(verdict(&judgement), (outcome, message), "{payload}");
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
fn rate_limits_slide_and_zero_is_real_in_a_gate() {
    let engine = gate("rate_limits: {per_agent_per_hour: 2, per_agent_per_day: 3}");
    let zero = gate("rate_limits: {per_agent_per_day: 0}");
    let (hour, day) = (3_600_000, 86_400_000);
    let cases: [(&[u64], Option<&str>); 6] = [
        (&[0], None),
        (&[0, 5], Some("2/hour")),
        (&[0, hour], Some("2/hour")),
        (&[0, hour + 1], None),
        (&[0, hour + 1, day], Some("3/day")),
        (&[0, hour + 1, day + 1], None),
    ];
    for (ago, expected) in cases {
        let submits = ago.iter().map(|ago_ms| LogTime(NOW.0 - ago_ms)).collect();
        let world = MapWorld { submits, ..MapWorld::default() };
        let judgement = Ask::to("r").judged_in(&engine, &world);
        let message =
            expected.map(|limit| format!("Rate limit exceeded: {limit} for agent {AGENT}"));
        let outcome = if expected.is_some() { Block } else { Allow };
        assert_eq!(verdict(&judgement), (outcome, message.as_deref().unwrap_or("")), "{ago:?}");
    }
    assert_eq!(Ask::to("r").judged(&zero).outcome, Block);
}

#[test]
fn environments_lie_over_the_base_and_never_in_silence() {
    let engine = gate(
        "require_approval_over: 1, {environments: {prod: {require_approval_over: 0}, \
         dev: [{require_approval_over: 9}, {block_if_terms: [secret]}]}}",
    );
    let two = "{\"a\":[{},{}]}";
    let cases = [
        (None, None, Hold),
        (Some("prod"), None, Hold),
        (Some("dev"), None, Allow),
        (Some("unknown"), None, Hold),
        (Some("dev"), Some("prod"), Hold),
        (None, Some("dev"), Allow),
    ];
    for (sent, declared, expected) in cases {
        let mut ask = Ask::to("r").text(two);
        if let Some(sent) = sent {
            ask = ask.metadata(&format!("{{\"environment\":\"{sent}\"}}"));
        }
        let facts = engine.facts_in(&ask.subject(), declared);
        let judgement = judged(&facts, &engine, &MapWorld::default());
        assert_eq!(judgement.outcome, expected, "{sent:?} {declared:?}");
        let overlay = declared.or(sent).filter(|name| *name != "unknown");
        let named = judgement.reasons.iter().any(|reason| reason.rule == "environments");
        assert_eq!(named, overlay.is_some(), "{sent:?} {declared:?}");
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
