//! Dedup windows: which intents share one, and what a taken one says.

mod common;

use common::{Ask, MapWorld, engine, verdict};
use policy::{Engine, OpenWindow, WindowToOpen};
use types::{IntentId, NamespaceId, Outcome};

use Outcome::{Allow, Block, Duplicate, Hold};

fn gate(rule: &str) -> Engine {
    engine(&[("g.yaml", &format!("gates: [{{name: g, resource: '*', policies: [{rule}]}}]"))])
}

fn windows(ask: &Ask, engine: &Engine) -> Vec<WindowToOpen> {
    ask.judged(engine).windows
}

#[test]
#[rustfmt::skip]
fn a_key_is_the_same_however_it_is_spelled_and_whoever_asks() {
    let one = gate("idempotency_key: {window_seconds: 5, key: lead.id}");
    let base = windows(&Ask::to("r").json("{\"lead\":{\"id\":42}}"), &one);
    assert_eq!((base.len(), base[0].window_ms), (1, 5_000));
    let same = [
        Ask::to("r").json("{\"lead\":{\"id\":\"42\"},\"other\":1}"),
        Ask::to("r").json("{\"lead\":{\"id\":42.0}}"),
        Ask::to("r").text(" {\"lead\":{\"id\":4.2e1}} "),
        Ask::to("r").trigger("other").json("{\"lead\":{\"id\":42}}"),
        Ask::to("r").text("hello").metadata("{\"lead\":{\"id\":42}}"),
        Ask::to("r").json("{\"lead\":{\"id\":null}}").metadata("{\"lead\":{\"id\":42}}"),
    ];
    for (index, ask) in same.iter().enumerate() {
        assert_eq!(windows(ask, &one), base, "{index}");
    }
    let mut elsewhere = Ask::to("r").json("{\"lead\":{\"id\":42}}");
    elsewhere.namespace = NamespaceId(2);
    let other = [
        Ask::to("r2").json("{\"lead\":{\"id\":42}}"),
        Ask::to("r").json("{\"lead\":{\"id\":\"042\"}}"),
        Ask::to("r").json("{\"lead\":{\"id\":[42]}}"),
        Ask::to("r").json("{\"lead\":{\"id\":true}}"),
        elsewhere,
    ];
    for (index, ask) in other.iter().enumerate() {
        let found = windows(ask, &one);
        assert!(found.len() == 1 && found != base, "{index}");
    }
    let renamed = engine(&[(
        "g.yaml",
        "gates: [{name: h, resource: r, policies: [{idempotency_key: \
         {window_seconds: 5, key: lead.id}}]}]",
    )]);
    assert_ne!(windows(&Ask::to("r").json("{\"lead\":{\"id\":42}}"), &renamed), base);
}

#[test]
fn a_missing_key_holds() {
    let one = gate("idempotency_key: {window_seconds: 5, key: id}");
    let two = gate("idempotency_key: {window_seconds: 5, keys: [id, day]}");
    let cases = [
        (&one, "{}", "Key 'id' is missing, so no window can open"),
        (&one, "{\"id\":null}", "Key 'id' is missing, so no window can open"),
        (&one, "{\"id\":\"\"}", "Key 'id' is missing, so no window can open"),
        (&one, "text", "Key 'id' is missing, so no window can open"),
        (&two, "{\"id\":1}", "Key 'day' is missing, so no window can open"),
    ];
    for (engine, payload, message) in cases {
        let judgement = Ask::to("r").text(payload).judged(engine);
        assert_eq!(verdict(&judgement), (Hold, message), "{payload}");
    }
    let swapped = ["{\"id\":1,\"day\":2}", "{\"id\":2,\"day\":1}"]
        .map(|payload| windows(&Ask::to("r").text(payload), &two));
    assert_ne!(swapped[0], swapped[1]);
}

const TAKEN: OpenWindow = OpenWindow { first: IntentId(9), ends_at: None };

#[test]
fn one_taken_record_refuses_the_whole_intent_and_is_named() {
    let engine = gate("idempotency_key: {window_seconds: 5, key: id, per_record: true}");
    let ask = Ask::to("r").json("{\"calls\":[{\"id\":1},{\"id\":2},{\"id\":3}]}");
    let fingerprints = ask.facts(&engine);
    let policy::Finding::Keys(keys, None) = &fingerprints.findings[0].findings[0] else {
        panic!("{:?}", fingerprints.findings);
    };
    assert_eq!(windows(&ask, &engine).len(), 3);
    let mut world = MapWorld::default();
    world.windows.insert(keys[1].fingerprint, TAKEN);
    world.windows.insert(keys[2].fingerprint, TAKEN);
    let judgement = ask.judged_in(&engine, &world);
    assert_eq!((judgement.outcome, judgement.windows.len()), (Duplicate, 0));
    let named: Vec<_> = judgement.reasons[0]
        .hits
        .iter()
        .map(|hit| (hit.path.as_str(), hit.excerpt.as_str()))
        .collect();
    assert_eq!(named, [("$.calls[1]", "2"), ("$.calls[2]", "3")]);
    assert_eq!(judgement.duplicate.unwrap().fingerprint, keys[1].fingerprint);

    let message = "id 1 occurs more than once in the payload";
    let twice = Ask::to("r").json("[{\"id\":1},{\"id\":2},{\"id\":\"1\"}]").judged(&engine);
    assert_eq!(verdict(&twice), (Hold, message));
    assert_eq!((twice.reasons[0].hits[0].path.as_str(), twice.windows.len()), ("$[2]", 2));
    let gap = Ask::to("r").json("[{\"id\":1},{\"no\":2},5]").judged(&engine);
    assert_eq!(verdict(&gap), (Hold, "Key 'id' is missing at $[1]"));
    assert_eq!(gap.windows.len(), 1);
    let none = Ask::to("r").text("hello").judged(&engine);
    assert_eq!(none.outcome, Hold);
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
            policy::Finding::Keys(keys, _) => Some(keys[0].fingerprint),
            _ => None,
        });
        let mut world = MapWorld::default();
        world.windows.insert(keys.unwrap(), TAKEN);
        let judgement = ask.judged_in(&engine, &world);
        assert_eq!(judgement.outcome, expected);
        assert_eq!(judgement.duplicate.is_some(), expected == Duplicate);
        assert_eq!(judgement.windows, []);
    }
    let longest = gate(&format!("{rule}, {{idempotency_key: {{window_seconds: 9, key: id}}}}"));
    let found = windows(&Ask::to("r").json("{\"id\":1}"), &longest);
    assert_eq!(found.iter().map(|window| window.window_ms).collect::<Vec<_>>(), [9_000]);
    assert_eq!(Ask::to("r").json("{\"id\":1}").judged(&longest).outcome, Allow);
}
