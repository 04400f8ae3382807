//! What is made of an intent has a size in proportion to the intent: a small request with long
//! names and many hits does not become a large log entry or a large answer.

mod common;

use common::{Ask, MapWorld};
use policy::{Finding, Judgement};
use proptest::prelude::*;
use serde_json::{Value, json};
use types::codec::encode;
use types::limits::{
    HIT_EXCERPT_CHARS_MAX, HITS_MAX, JSON_DEPTH_MAX, JSON_KEY_BYTES_MAX, JSON_VALUES_MAX,
    PATH_BYTES_MAX, WINDOWS_PER_INTENT_MAX,
};

/// Every rule that shows hits or keys.
const GATES: &str = "
gates:
  - name: showing
    resource: r
    policies:
      - require_approval_if_template_error
      - require_approval_if_clears
      - block_if_terms: [bad]
      - idempotency_key: { window_seconds: 60, key: id, per_record: true }
      - field_checks: [{ path: a, max: 1 }]
      - allowed_types: [csv]
      - destinations: [r]
";
/// A hit, its frame in either encoding.
const HIT_BYTES_MAX: usize = PATH_BYTES_MAX + 4 * HIT_EXCERPT_CHARS_MAX + 64;
/// Rules above that show hits, and what does not depend on the payload.
const FIXED_BYTES_MAX: usize = 4 * HITS_MAX * HIT_BYTES_MAX + 4_096;
/// A key of a dedup window beside the smallest record that has one, `{"id":1},`.
const PER_BYTE_MAX: usize = 48;

fn reasons_bytes(judgement: &Judgement) -> usize {
    let hits = judgement.reasons.iter().flat_map(|reason| &reason.hits);
    let shown: usize = hits.map(|hit| hit.path.len() + hit.excerpt.len()).sum();
    shown + judgement.reasons.iter().map(|reason| reason.message.len()).sum::<usize>()
}

#[track_caller]
fn stays_in_proportion(payload: &Value) {
    let engine = common::engine(&[("g.yaml", GATES)]);
    let text = payload.to_string();
    for ask in [Ask::to("r").json(&text), Ask::to("r").text(&text)] {
        let facts = ask.facts(&engine);
        let most = PER_BYTE_MAX * text.len() + FIXED_BYTES_MAX;
        let made = encode(&facts).len();
        assert!(made <= most, "{made} bytes of facts from {} bytes", text.len());
        let said = reasons_bytes(&common::judged(&facts, &engine, &MapWorld::default()));
        assert!(said <= FIXED_BYTES_MAX, "{said} bytes of reasons from {} bytes", text.len());
    }
}

fn nested(depth: usize, key: &str, inside: Value) -> Value {
    (0..depth).fold(inside, |value, _| json!({ key: value }))
}

/// Long names above many hits: each hit names its place.
#[test]
fn long_names_above_many_hits_are_not_repeated_whole() {
    let key = "k".repeat(JSON_KEY_BYTES_MAX);
    stays_in_proportion(&nested(60, &key, json!(vec!["{{a}} bad"; 200])));
    stays_in_proportion(&nested(60, &key, json!(vec![json!({ "id": 1, "a": "" }); 2_000])));
    let wide = "é".repeat(JSON_KEY_BYTES_MAX / 2);
    stays_in_proportion(&nested(60, &wide, json!(vec![json!({ "id": "{{é}}" }); 2_000])));
    stays_in_proportion(&json!(vec![json!({ "id": 1 }); 20_000]));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_shape_stays_in_proportion(
        depth in 1..60usize,
        key in prop_oneof!["[a-z]{1,9}", "[\\x01-\\x1f\"é😀]{1,300}", "k{1000,4000}"],
        leaf in prop_oneof![Just(json!("{{x}}")), Just(json!("bad")), Just(json!({ "id": "" })),
            Just(json!({ "id": 7, "set": { "a": null } })), Just(json!("data:,{{x}}"))],
        count in 1..300usize,
    ) {
        stays_in_proportion(&nested(depth, &key, json!(vec![leaf; count])));
    }
}

/// Too many records are told from the count alone: no key is built for any of them.
#[test]
fn too_many_records_for_keys_are_counted_and_not_built() {
    let engine = common::engine(&[("g.yaml", GATES)]);
    let records = |count: usize| {
        let ask = Ask::to("r").json(&json!(vec![json!({ "id": 1 }); count]).to_string());
        let facts = ask.facts(&engine);
        facts.findings[0].findings[3].clone()
    };
    let most = records(WINDOWS_PER_INTENT_MAX);
    assert!(matches!(&most, Finding::Keys(keys, None) if keys.len() == WINDOWS_PER_INTENT_MAX));
    let message = format!("more than {WINDOWS_PER_INTENT_MAX} records need keys");
    assert_eq!(records(WINDOWS_PER_INTENT_MAX + 1), Finding::Failed(message));
}

#[test]
fn names_places_and_values_of_a_body_are_bounded() {
    let refusal = |text: &str| policy::json::parse_str(text).unwrap_err();
    let key = |length: usize| format!("{{\"{}\":1}}", "k".repeat(length));
    assert!(policy::json::parse_str(&key(JSON_KEY_BYTES_MAX)).is_ok());
    let error = refusal(&key(JSON_KEY_BYTES_MAX + 1));
    assert_eq!(
        (error.message.as_str(), error.strictness),
        ("a key is longer than 4096 bytes", true)
    );

    let list = |values: usize| format!("[{}0]", "0,".repeat(values - 2));
    assert!(policy::json::parse_str(&list(JSON_VALUES_MAX)).is_ok());
    let error = refusal(&list(JSON_VALUES_MAX + 1));
    assert_eq!((error.message.as_str(), error.strictness), ("more than 1000000 values", true));
    assert_eq!(error.path, "$[999999]");

    let deep = refusal(&"[".repeat(JSON_DEPTH_MAX + 1));
    assert_eq!(deep.message, "nested deeper than 64");
    assert!(deep.path.starts_with("$[0][0]") && deep.path.ends_with("[0][0]"), "{}", deep.path);
    assert!(deep.path.contains('…') && deep.path.len() <= 128, "{}", deep.path);
}
