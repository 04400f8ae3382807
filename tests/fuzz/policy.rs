//! Fuzzing the edge's half of policy and its judgement with bytes that nobody meant.
//!
//! Promises held to: nothing panics; every problem names a place in the file; canonical JSON reads
//! back as itself; a fault, a misfit or a missing policy never allows.
#![cfg(test)]

mod support;

use std::convert::Infallible;
use std::sync::Arc;

use policy::{
    Context, Engine, Facts, Finding, Judgement, OpenWindow, Payload, PolicySet, Problem,
    SourceFile, Subject, World, compile, documents, json, judge,
};
use serde_json::Value;
use support::{Target, bytes_of_hex, corpus, fuzz_folder, shape};
use types::codec::{decode, encode};
use types::{
    AgentId, Channel, Destination, Digest, IntentId, LogTime, NamespaceId, Outcome, Proposal,
    destination,
};

const YAML_WORDS: [&[u8]; 40] = [
    b"gates:\n",
    b"gate:\n",
    b"- name: a\n",
    b"trigger: ",
    b"resource: \"*\"\n",
    b"policies:\n",
    b"resources:\n",
    b"default_policy:\n",
    b"environments: {prod: {}}\n",
    b"require_approval: always\n",
    b"require_approval_over: ",
    b"require_approval_for: org_wide\n",
    b"require_approvals: ",
    b"require_approval_if_template_error",
    b"require_approval_if_clears: {over: 1}\n",
    b"auto_approve_under: ",
    b"block_if_terms: []\n",
    b"destinations: [a]\n",
    b"allowed_types: [csv]\n",
    b"field_checks: [{path: a, pattern: '(a+)+$'}]\n",
    b"rate_limits: {per_agent_per_hour: 3}\n",
    b"idempotency_key: {window_seconds: 5, key: a}\n",
    b"keys: [a, b.0.c]\n",
    b"budgets: ",
    b"&a ",
    b"*a",
    b"<<: ",
    b"!!str ",
    b"!!binary ",
    b"%YAML 1.2\n",
    b"---\n",
    b"...\n",
    b"? ",
    b": ",
    b"|\n",
    b">-\n",
    b"# ",
    b".inf",
    b"~",
    b"\"\\x00\"",
];
const SETTING_WORDS: [&[u8]; 30] = [
    b"kind: http\n",
    b"kind: worker\n",
    b"kind: webhook\n",
    b"kind: slack\n",
    b"execute: on_request\n",
    b"environment: prod\n",
    b"request: {url: 'https://a.example/x'}\n",
    b"method: get\n",
    b"url: ",
    b"https://",
    b"http://[::1]:80/",
    b"headers: {A: b}\n",
    b"body: null\n",
    b"timeout: 10s\n",
    b"idempotency: header\n",
    b"success: [200-299, 304]\n",
    b"failed_without_effect: [409]\n",
    b"concurrency: 3\n",
    b"secret: '${secret:a}'\n",
    b"events: [held, in_doubt]\n",
    b"resources: ['crm.*']\n",
    b"${secret:",
    b"${secret:name}",
    b"{{ payload }}",
    b"{{",
    b"}",
    b"&a ",
    b"*a",
    b"<<: ",
    b"\"\\u0000\"",
];
const JSON_WORDS: [&[u8]; 22] = [
    b"null",
    b"true",
    b"NaN",
    b"\"\"",
    b"\"$serde_json::private::Number\":",
    b"\"$serde_json::private::RawValue\":",
    b"\\u0000",
    b"\\ud800",
    b"\\udc00",
    b"\xed\xa0\x80",
    b"\xef\xbb\xbf",
    b"{\"a\":1,\"a\":2}",
    b"\"records\":[{\"set\":{\"a\":null}}],",
    b"\"payload\":",
    b"\"payload\":\"data:application/json;base64,e30=\",",
    b"\"policy\":\"named\",",
    b"\"recordCount\":0,",
    b"\"metadata\":{\"environment\":\"prod\"},",
    b"\"resource\":\"crm.contacts\",",
    b"{{a}}",
    b"refund guaranteed",
    b"1e5",
];

/// Facts are in proportion to the payload: hits have a number and a length, keys are of records.
const FACTS_PER_BYTE_MAX: usize = 128;
const FACTS_FIXED_BYTES_MAX: usize = 256 * 1024;

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(fuzz_folder().join("../fixtures/incident").join(name)).expect("a fixture")
}

fn fixture_destination() -> Vec<u8> {
    std::fs::read(fuzz_folder().join("../fixtures/settings/phone.yaml")).expect("a fixture")
}

fn fixture_policies() -> Vec<Vec<u8>> {
    ["gates.yaml", "gate.yaml"].map(fixture).into()
}

/// The incident's policies, and one of each rule there is.
fn engine() -> Engine {
    let every_rule = std::fs::read(fuzz_folder().join("corpus/compile/every-rule.yaml"));
    let named = std::fs::read(fuzz_folder().join("corpus/compile/named.yaml"));
    let files = [
        ("gates.yaml", fixture("gates.yaml")),
        ("gate.yaml", fixture("gate.yaml")),
        ("every-rule.yaml", every_rule.expect("a policy with every rule")),
        ("named.yaml", named.expect("a policy to be named")),
    ];
    let files = files.map(|(name, bytes)| SourceFile { name: name.into(), bytes });
    Engine::new(Arc::new(compile(&files).expect("good policies").set), 1)
}

/// Some windows are open, and the agent was here before.
struct SomeWorld;

impl World for SomeWorld {
    type Error = Infallible;

    fn nth_last_submit(&self, n: u64) -> Result<Option<LogTime>, Infallible> {
        Ok((n < 4).then_some(LogTime(1_799_999_999_000)))
    }

    fn window(&self, fingerprint: &Digest) -> Result<Option<OpenWindow>, Infallible> {
        let open = OpenWindow { first: IntentId(7), ends_at: None };
        Ok(fingerprint.0[0].is_multiple_of(4).then_some(open))
    }
}

fn judged(facts: &Facts, set: &PolicySet) -> Judgement {
    let context = Context { now: LogTime(1_800_000_000_000), agent: AgentId(7) };
    let Ok(judgement) = judge(facts, set, &context, &SomeWorld);
    let worst = judgement.reasons.iter().map(|reason| reason.outcome).max();
    assert_eq!(judgement.outcome, worst.unwrap_or(Outcome::Allow));
    assert_eq!(judgement.duplicate.is_some(), judgement.outcome == Outcome::Duplicate);
    if judgement.outcome == Outcome::Allow {
        assert_eq!(trouble_of(facts, set), None, "allowed: {facts:?}");
    }
    judgement
}

/// Why these facts must not allow, whatever the rules say.
fn trouble_of(facts: &Facts, set: &PolicySet) -> Option<&'static str> {
    if facts.set_digest != set.digest {
        return Some("made for another set");
    }
    if facts.payload_fault.is_some() {
        return Some("the payload has a fault");
    }
    if !facts.covered || facts.trigger_unmatched || facts.policy_missing.is_some() {
        return Some("not covered");
    }
    for scope in &facts.findings {
        let rules = set.list(scope.scope).and_then(|list| list.in_force(scope.environment));
        if rules.is_none_or(|rules| rules.len() != scope.findings.len()) {
            return Some("a scope that does not fit");
        }
        if scope.findings.iter().any(|finding| matches!(finding, Finding::Failed(_))) {
            return Some("a rule failed");
        }
    }
    facts.findings.is_empty().then_some("nothing judges it")
}

/// What a judgement came to, in few words.
fn ending(judgement: &Judgement) -> String {
    let rules: Vec<&str> = judgement.reasons.iter().map(|reason| reason.rule.as_str()).collect();
    format!("{:?} {}", judgement.outcome, rules.join(" "))
}

#[test]
fn documents_compile_or_say_where_not() {
    let seeds = fixture_policies();
    let target =
        Target { name: "compile", iterations: 40_000, words: &YAML_WORDS, seeds, structure: None };
    target.run(|bytes| {
        let files = [SourceFile { name: "p.yaml".into(), bytes: bytes.to_vec() }];
        let outcome = compile(&files);
        let lines = 1 + bytes.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count();
        match outcome {
            Ok(compiled) => {
                assert_eq!(compile(&files).as_ref(), Ok(&compiled), "not the same twice");
                has_places(&compiled.warnings, lines);
                let bytes = encode(&compiled.set);
                let read: PolicySet = decode(&bytes, "policy set").expect("it was just written");
                assert!(read == compiled.set, "the durable form reads back as another set");
                let engine = Engine::new(Arc::new(compiled.set), 1);
                ending(&judged(&facts_of(&engine, b"{\"resource\":\"r\"}"), engine.set()))
            }
            Err(problems) => {
                assert!(!problems.is_empty(), "refused without a reason");
                has_places(&problems, lines);
                shape(&problems[0].message)
            }
        }
    });
}

/// Both kinds of document are tried: their grammars share most words.
#[test]
fn settings_are_read_or_say_where_not() {
    let target = Target {
        name: "settings",
        iterations: 40_000,
        words: &SETTING_WORDS,
        seeds: vec![fixture_destination()],
        structure: None,
    };
    target.run(|bytes| {
        let lines = 1 + bytes.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count();
        let destination = documents::destination("p", bytes);
        assert_eq!(documents::destination("p", bytes), destination, "not the same twice");
        let as_destination = match destination {
            Ok(destination) => {
                destination.texts().for_each(names_can_be_declared);
                let read = decode::<Destination>(&encode(&destination), "destination");
                assert_eq!(read.as_ref(), Ok(&destination));
                destination.connector.kind().to_owned()
            }
            Err(problems) => refused(&problems, lines),
        };
        let as_channel = match documents::channel("p", bytes) {
            Ok(channel) => {
                [Some(channel.url.as_str()), channel.secret.as_deref()]
                    .into_iter()
                    .flatten()
                    .for_each(names_can_be_declared);
                let read = decode::<Channel>(&encode(&channel), "channel");
                assert_eq!(read.as_ref(), Ok(&channel));
                channel.kind.name().to_owned()
            }
            Err(problems) => refused(&problems, lines),
        };
        format!("{as_destination}; {as_channel}")
    });
}

fn names_can_be_declared(text: &str) {
    for name in destination::secret_names(text) {
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        assert!((1..=64).contains(&name.len()) && name.bytes().all(letter), "{name:?}");
    }
}

fn refused(problems: &[Problem], lines: usize) -> String {
    assert!(!problems.is_empty(), "refused without a reason");
    has_places(problems, lines);
    shape(&problems[0].message)
}

fn has_places(problems: &[Problem], lines: usize) {
    for problem in problems {
        let Problem { file, line, column, message, .. } = problem;
        assert_eq!(file, "p.yaml", "{problem}");
        assert!(*line >= 1 && *column >= 1 && !message.is_empty(), "{problem:?}");
        let line = usize::try_from(*line).expect("a line number");
        assert!(line <= lines, "line {line} of {lines}: {message}");
    }
}

#[test]
fn json_reads_back_as_itself() {
    let seeds = vec![fixture("duplicate-call.json")];
    let target =
        Target { name: "json", iterations: 150_000, words: &JSON_WORDS, seeds, structure: None };
    target.run(|bytes| match json::parse(bytes) {
        Ok(value) => {
            let lenient = serde_json::from_slice::<Value>(bytes);
            assert!(lenient.is_ok(), "accepted what is no JSON: {lenient:?}");
            let text = json::canonical(&value);
            let again = json::parse_str(&text).expect("canonical text is JSON");
            assert_eq!(again, value, "{text}");
            assert_eq!(json::canonical(&again), text);
            // Few ends, or every number would be one.
            text.chars().filter(|character| "[{:e+".contains(*character)).take(8).collect()
        }
        Err(error) => {
            assert!(error.line >= 1 && error.column >= 1, "{error:?}");
            assert!(error.path.starts_with('$') && !error.message.is_empty(), "{error:?}");
            shape(&error.message)
        }
    });
}

/// Facts of a request as the fixtures have it; of anything else as the text of a payload.
fn facts_of(engine: &Engine, bytes: &[u8]) -> Facts {
    let body = json::parse(bytes).unwrap_or(Value::Null);
    let text = |field: &str| body.get(field).and_then(Value::as_str).map(str::to_owned);
    let payload = match body.get("payload") {
        Some(Value::String(text)) => Payload::of_text(text.clone()),
        Some(Value::Null) => Payload::Absent,
        Some(value) => Payload::Json(value.clone()),
        None => Payload::of_text(String::from_utf8_lossy(bytes).into_owned()),
    };
    let destination = text("resource").unwrap_or_else(|| "crm.contacts".into());
    let proposal = Proposal {
        action: destination.clone(),
        destination,
        trigger: text("trigger"),
        policy: text("policy"),
        payload_kind: payload.kind(),
        payload_digest: payload.digest(),
        payload_type: payload.payload_type(),
        record_count_claim: body.get("recordCount").and_then(Value::as_u64),
        value_usd_micros: None,
        sensitivity_tags: Vec::new(),
        idempotency_key: None,
        on_behalf_of: None,
        expires_in_ms: 0,
        metadata: None,
        profile: None,
        peer_spelling: false,
    };
    engine.facts(&Subject {
        namespace: NamespaceId::DEFAULT,
        proposal: &proposal,
        payload: &payload,
        metadata: body.get("metadata"),
    })
}

#[test]
fn payloads_are_judged_and_faults_never_allow() {
    let (engine, empty) = (engine(), PolicySet::empty());
    let seeds =
        ["duplicate-call.json", "bulk-overwrite.json", "broken-template.json"].map(fixture).into();
    let target =
        Target { name: "judge", iterations: 20_000, words: &JSON_WORDS, seeds, structure: None };
    target.run(|bytes| {
        let facts = facts_of(&engine, bytes);
        assert_eq!(facts, facts_of(&engine, bytes), "not the same twice");
        let encoded = encode(&facts);
        assert_eq!(decode::<Facts>(&encoded, "facts").as_ref(), Ok(&facts));
        let most = FACTS_PER_BYTE_MAX * bytes.len() + FACTS_FIXED_BYTES_MAX;
        assert!(encoded.len() <= most, "{} bytes of {}", encoded.len(), bytes.len());
        judged(&facts, &empty);
        ending(&judged(&facts, engine.set()))
    });
}

/// Facts travel in commands, so judgement must stand any that decode.
#[test]
fn facts_that_decode_are_judged() {
    let engine = engine();
    let seeds = corpus("judge").iter().map(|body| encode(&facts_of(&engine, body))).collect();
    let target = Target {
        name: "facts",
        iterations: 50_000,
        words: &[],
        seeds,
        structure: Some(support::cbor::mutate),
    };
    target.run(|bytes| match decode::<Facts>(bytes, "facts") {
        Ok(facts) => ending(&judged(&facts, engine.set())),
        Err(error) => error.what.to_owned(),
    });
}

/// Compiled sets travel in commands too.
#[test]
fn sets_that_decode_take_facts_and_judge() {
    let golden = include_str!("../../crates/policy/tests/golden/incident.cbor.hex");
    let seeds = vec![bytes_of_hex(&golden.replace('\n', "")), encode(&**engine().set())];
    let bodies = corpus("judge");
    let target = Target {
        name: "set",
        iterations: 25_000,
        words: &[],
        seeds,
        structure: Some(support::cbor::mutate),
    };
    target.run(|bytes| match decode::<PolicySet>(bytes, "policy set") {
        Ok(set) => {
            let engine = Engine::new(Arc::new(set), 1);
            let ends = bodies.iter().map(|body| facts_of(&engine, body));
            ends.map(|facts| ending(&judged(&facts, engine.set())) + "; ").collect()
        }
        Err(error) => error.what.to_owned(),
    });
}
