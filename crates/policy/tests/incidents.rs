//! The three incidents that the gate exists for, with the user's own two documents.

mod common;

use common::{Ask, MapWorld, NOW, compiled, fixture, fixture_engine, verdict};
use policy::{Finding, OpenWindow, SourceFile, compile};
use types::{IntentId, Outcome, RuleSource};

#[test]
fn the_users_documents_lint_clean_word_for_word() {
    for names in [vec!["gates.yaml"], vec!["gate.yaml"], vec!["gate.yaml", "gates.yaml"]] {
        let files: Vec<SourceFile> = names
            .iter()
            .map(|name| SourceFile { name: (*name).into(), bytes: fixture(name) })
            .collect();
        let compiled = compile(&files).unwrap();
        assert_eq!(compiled.warnings, [], "{names:?}");
        assert_eq!(compiled.set.documents.len(), names.len());
    }
}

#[test]
fn a_bulk_overwrite_waits_for_a_person() {
    let engine = fixture_engine();
    let ask = Ask::of_fixture("bulk-overwrite.json");
    let facts = ask.facts(&engine);
    assert_eq!(facts.record_count, Some(847));
    let judgement = ask.judged(&engine);
    let message = "Record count 847 exceeds auto-approve threshold (100)";
    assert_eq!(verdict(&judgement), (Outcome::Hold, message));
    let reason = &judgement.reasons[0];
    assert_eq!(reason.source, RuleSource::Gate("crm-enrichment-guard".into()));
    assert_eq!(reason.rule, "require_approval_over");
    assert_eq!((reason.place.file.as_str(), reason.place.line), ("gates.yaml", 7));
}

#[test]
fn cleared_values_are_counted_from_the_payload() {
    let gate = "gates:\n- name: g\n  resource: crm.contacts\n  policies: \
                [require_approval_if_clears]\n";
    let engine = common::engine(&[("g.yaml", gate)]);
    let facts = Ask::of_fixture("bulk-overwrite.json").facts(&engine);
    let Finding::Cleared(found) = &facts.findings[0].findings[0] else {
        panic!("{:?}", facts.findings);
    };
    assert_eq!((found.total, found.hits.len()), (CLEARED_CLAIMED, 100));
    assert_eq!(found.hits[0].path, "$.records[2].set.lead_score");
}

/// Null or "" fields of the fixture; 705 of them are clean values now.
const CLEARED_CLAIMED: u64 = 705;

#[test]
fn the_second_call_to_a_lead_is_refused() {
    let engine = fixture_engine();
    let ask = Ask::of_fixture("duplicate-call.json");
    let first = ask.judged(&engine);
    assert_eq!(first.outcome, Outcome::Allow);
    assert_eq!(first.reasons, []);
    let [window] = first.windows[..] else { panic!("{:?}", first.windows) };
    assert_eq!(window.window_ms, 300_000);

    let open = OpenWindow { first: IntentId(5), ends_at: Some(NOW.plus_ms(299_000)) };
    let mut world = MapWorld::default();
    world.windows.insert(window.fingerprint, open);
    let again = ask.judged_in(&engine, &world);
    assert_eq!(again.outcome, Outcome::Duplicate);
    assert_eq!(again.windows, []);
    let duplicate = again.duplicate.unwrap();
    assert_eq!(duplicate.first, IntentId(5));
    assert_eq!(duplicate.gate, "outbound-call-dedup");
    assert_eq!(duplicate.rule, "idempotency_key");
    assert_eq!(duplicate.window_ends_at, open.ends_at);
    assert_eq!(duplicate.fingerprint, window.fingerprint);
    assert_eq!(again.reasons[0].hits[0].excerpt, "lead-20931");
}

#[test]
fn a_broken_template_waits_for_a_person() {
    let both = [
        fixture_engine(),
        common::engine(&[("gate.yaml", std::str::from_utf8(&fixture("gate.yaml")).unwrap())]),
    ];
    for engine in both {
        let judgement = Ask::of_fixture("broken-template.json").judged(&engine);
        assert_eq!(judgement.outcome, Outcome::Hold);
        let reason = &judgement.reasons[0];
        assert_eq!(reason.rule, "require_approval_if_template_error");
        assert_eq!((reason.hits_total, reason.hits.len()), (104, 100));
        assert_eq!(reason.hits[0].path, "$.messages[0].body");
        assert_eq!(reason.hits[0].excerpt, "{{customer_name}}");
        assert_eq!(reason.hits[1].path, "$.messages[3].body");
    }
}

#[test]
fn the_configuration_form_judges_like_the_gates() {
    let text = String::from_utf8(fixture("gate.yaml")).unwrap();
    let set = compiled(&[("gate.yaml", &text)]).set;
    assert_eq!(set.resources.len(), 3);
    let engine = common::engine(&[("gate.yaml", &text)]);
    let rows = |count: usize| format!("[{}]", vec!["{}"; count].join(","));
    let cases = [
        ("crm.contacts", rows(100), Outcome::Allow),
        ("crm.contacts", rows(101), Outcome::Hold),
        ("anything.else", rows(50), Outcome::Allow),
        ("anything.else", rows(51), Outcome::Hold),
    ];
    for (resource, payload, expected) in cases {
        let judgement = Ask::to(resource).json(&payload).judged(&engine);
        assert_eq!(judgement.outcome, expected, "{resource} {}", payload.len());
    }
    let reason = &Ask::to("anything.else").json(&rows(51)).judged(&engine).reasons[0];
    assert_eq!((&reason.source, reason.place.line), (&RuleSource::Default, 6));
}
