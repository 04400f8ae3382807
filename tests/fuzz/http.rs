//! Fuzzing the HTTP door: every route that reads a body gets bodies that nobody meant.
//!
//! Promises held to: nothing panics and no body is a 5xx; every answer is JSON with a request id; a
//! body that is refused is refused with its place; an answer is in proportion to its request.
#![cfg(test)]

#[path = "../../crates/http-api/tests/support/mod.rs"]
#[allow(dead_code, reason = "this test uses its part of it")]
mod door;
mod support;

use axum::body::Body;
use axum::http::Request;
use door::{Door, Got, bearer};
use serde_json::{Value, json};
use support::random::Random;
use support::{Target, fuzz_folder, shape};
use types::limits::{HIT_EXCERPT_CHARS_MAX, HITS_MAX, PATH_BYTES_MAX};

/// Hits of every rule in force, and all that does not come from the request.
const FIXED_BYTES_MAX: usize = 4 * HITS_MAX * (PATH_BYTES_MAX + 4 * HIT_EXCERPT_CHARS_MAX + 64);
/// An answer may repeat parts of its request, and escapes make one byte six.
const PER_BYTE_MAX: usize = 32;

const WORDS: [&[u8]; 36] = [
    b"\n",
    b"\"request_key\":\"k\",",
    b"null",
    b"true",
    b"-1",
    b"\"\"",
    b"{}",
    b"[]",
    b"{{a}}",
    b"\\u0000",
    b"\xff",
    b"\"int_0000000000000001\"",
    b"\"policy\":\"basic\",",
    b"\"destination\":\"crm.contacts\",",
    b"\"resource\":\"email.batch\",",
    b"\"trigger\":\"send\",",
    b"\"trigger\":\"rollback\",",
    b"\"payload\":",
    b"\"record_count\":",
    b"\"recordCount\":\"5\",",
    b"\"expires_in\":\"0s\",",
    b"\"expiresIn\":\"30d\",",
    b"\"metadata\":{\"environment\":\"prod\"},",
    b"\"profile\":\"email.send.v1\",",
    b"\"sensitivity_tags\":[\"pii\"],",
    b"\"idempotency_key\":\"k\",",
    b"\"estimated_value_usd\":1e3,",
    b"\"digest\":\"00\",",
    b"\"reason\":\"r\",",
    b"\"nonce\":\"non_00\",",
    b"\"decided_at\":\"2026-01-01T00:00:00Z\",",
    b"\"effect\":\"partial\",",
    b"\"overlap_seconds\":0,",
    b"\"url\":\"http://127.0.0.1:9/x\",",
    b"kind: http\n",
    b"gates:\n- {name: a, resource: '*', policies: [require_approval_if_template_error]}\n",
];

/// A route and a body that it takes.
struct Reader {
    method: &'static str,
    path: String,
    key: String,
    body: Vec<u8>,
}

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(fuzz_folder().join("../fixtures").join(name)).expect("a fixture")
}

/// A gate with an intent in every state that a body can be about.
async fn open() -> (Door, Vec<Reader>) {
    let gates = String::from_utf8(fixture("incident/gates.yaml")).expect("text");
    let door = Door::policed(&[("gates", &gates), ("basic", door::BASIC)]).await;
    let held = door.submit(door::basic(500)).await;
    let linked = door.submit(door::basic(500)).await;
    let allowed = door.submit(door::basic(5)).await;
    let order = format!("/v1/intents/{}/execute", door.submit(door::basic(5)).await);
    let order = door.post(&order, &door.agent, json!({})).await.is(201);
    let link = door.get(&format!("/v1/intents/{linked}/approval-link"), &door.reviewer).await;
    let link = link.is(200).text("path").to_owned();
    // Who is changed here is nobody that the others need.
    let (victim, _) = door.register("victim", "agent").await;
    let mut readers = Vec::new();
    let mut add = |method, path: &str, key: &str, body: Vec<u8>| {
        readers.push(Reader { method, path: path.into(), key: key.into(), body });
    };
    let text = |body: Value| body.to_string().into_bytes();
    let decision = || text(json!({ "digest": "0".repeat(64), "reason": "no", "nonce": null }));
    let all = json!({
        "destination": "crm.import", "policy": "basic", "recordCount": 5, "payload": { "a": [1] },
        "estimated_value_usd": 2.5, "sensitivity_tags": ["pii"], "idempotency_key": "k",
        "on_behalf_of": "p", "expiresIn": "1h", "metadata": { "scope": "team" }, "trigger": "write",
    });
    let (agent, reviewer, admin) = (&door.agent, &door.reviewer, &door.admin);
    for name in ["bulk-overwrite", "duplicate-call", "broken-template"] {
        add("POST", "/v1/intents", agent, fixture(&format!("incident/{name}.json")));
    }
    add("POST", "/v1/intents", agent, text(all.clone()));
    add("POST", "/v1/propose", agent, text(all.clone()));
    let lines = [text(all.clone()), text(door::basic(5)), b"{}".to_vec()].join(&b'\n');
    let mut tried = all;
    tried["policies"] = json!({ "gates": gates, "basic": door::BASIC });
    add("POST", "/v1/policies/simulate", reviewer, text(tried));
    for verb in ["cancel-approval", "approve", "reject"] {
        add("POST", &format!("/v1/intents/{held}/{verb}"), reviewer, decision());
    }
    let named = json!({ "proposalId": held, "reason": "ok", "decided_at": null });
    add("POST", "/v1/approve", reviewer, text(named.clone()));
    add("POST", "/v1/reject", reviewer, text(named));
    add("POST", &format!("{link}/approve"), "", decision());
    add("POST", &format!("{link}/reject"), "", decision());
    let mode = text(json!({ "mode": "runner_exec" }));
    add("POST", &format!("/v1/intents/{allowed}/execute"), agent, mode);
    let report = json!({ "status": "failed", "effect": "none", "result": { "a": 1 } });
    let path = format!("/v1/executions/{}/report", order.text("executionId"));
    add("POST", &path, order.text("execution_token"), text(report.clone()));
    add("POST", &path, agent, text(report));
    let resolve = json!({ "outcome": "failed", "effect": "unknown", "reason": "seen" });
    add("POST", &format!("/v1/intents/{allowed}/resolve"), reviewer, text(resolve));
    let hook = json!({ "intentId": held, "url": "http://127.0.0.1:9/hook", "secret": "s" });
    add("POST", "/v1/webhooks/register", agent, text(hook));
    let who = json!({
        "name": "n", "owner": "o", "framework": null, "riskTier": "standard", "role": "agent",
        "allowed_policies": [], "allowed_destinations": ["crm.import"], "metadata": {},
    });
    add("POST", "/v1/agents/register", admin, text(who));
    let victim = format!("/v1/agents/{victim}");
    add("POST", &format!("{victim}/role"), admin, text(json!({ "role": "reviewer" })));
    let overlap = text(json!({ "overlap_seconds": 60 }));
    add("POST", &format!("{victim}/rotate-key"), admin, overlap);
    for change in ["promote", "demote", "remove", "transfer-leader"] {
        add("POST", &format!("/v1/cluster/{change}"), admin, text(json!({ "node": 3 })));
    }
    add("POST", "/v1/cluster/join-token", admin, text(json!({ "valid_seconds": 60 })));
    add("POST", "/v1/namespaces", admin, text(json!({ "name": "sales" })));
    let destination = fixture("settings/phone.yaml");
    let destination = String::from_utf8(destination).expect("text").replace("phone_", "known_");
    let channel = "kind: webhook\nurl: https://a.example/x\nevents: [held]\n";
    let destinations = json!({ "destinations": { "phone": destination, "w": "kind: worker" } });
    add("PUT", "/v1/destinations", admin, text(destinations));
    add("PUT", "/v1/destinations/phone", admin, destination.into_bytes());
    add("PUT", "/v1/channels", admin, text(json!({ "channels": { "ops": channel } })));
    add("PUT", "/v1/channels/ops", admin, channel.as_bytes().to_vec());
    add("PUT", "/v1/policies/other", admin, b"require_approval_over: 5\n".to_vec());
    let set = json!({ "policies": { "gates": gates, "basic": door::BASIC }, "origin": "x" });
    add("PUT", "/v1/policies", admin, text(set));
    add("POST", "/v1/intents/batch", agent, lines);
    (door, readers)
}

async fn send(door: &Door, reader: &Reader, body: &[u8]) -> Got {
    let request = Request::builder().method(reader.method).uri(reader.path.as_str());
    door.send(bearer(request, &reader.key).body(Body::from(body.to_vec()))).await
}

/// What an answer says, one by one: its lines if it has some, else it.
fn told(got: &Got) -> Vec<(u64, &Value)> {
    let Value::Array(lines) = &got.body else { return vec![(got.status.into(), &got.body)] };
    lines.iter().map(|line| (line["status"].as_u64().unwrap_or(0), line)).collect()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// Bodies that a mutation starts from are good ones, or little behind the door would be reached.
#[test]
fn what_is_mutated_is_taken_as_it_stands() {
    runtime().block_on(async {
        let (door, readers) = open().await;
        for reader in &readers {
            let got = send(&door, reader, &reader.body).await;
            // Where an earlier body has decided the intent, or it named no digest to decide by.
            let taken = got.status < 300 || got.status == 409 || got.status == 410;
            assert!(taken, "{} {}: {} {}", reader.method, reader.path, got.status, got.body);
        }
    });
}

/// The first byte picks the route, the rest is the body.
#[test]
fn every_body_is_taken_or_refused_with_its_place() {
    let runtime = runtime();
    let (door, readers) = runtime.block_on(open());
    let seeds = readers.iter().enumerate().map(|(at, reader)| {
        let at = u8::try_from(at).expect("a short table");
        [&[at], reader.body.as_slice()].concat()
    });
    let target = Target {
        name: "http",
        iterations: 20_000,
        words: &WORDS,
        seeds: seeds.collect(),
        structure: Some(enlarge),
    };
    target.run(|bytes| {
        let (at, body) = bytes.split_first().map_or((0, bytes), |(at, body)| (*at, body));
        let reader = &readers[usize::from(at) % readers.len()];
        let got = runtime.block_on(send(&door, reader, body));
        let (all, length) = (told(&got), got.body.to_string().len());
        let most = PER_BYTE_MAX * body.len() + all.len() * FIXED_BYTES_MAX;
        assert!(length <= most, "{length} bytes for {} bytes", body.len());
        for (status, answer) in &all {
            check(*status, answer);
        }
        let (status, last) = all.last().expect("an answer says something");
        let error = last["error"].as_str().unwrap_or_default();
        format!("{} {status} {}", reader.path, shape(error))
    });
}

fn check(status: u64, answer: &Value) {
    let text = |name: &str| answer[name].as_str().unwrap_or_default();
    let error = text("error");
    assert!((200..500).contains(&status), "{status} {answer}");
    // A duplicate is a decision, not a problem.
    let is_duplicate = [text("status"), text("answer_status")].contains(&"duplicate_blocked");
    if status >= 400 && !is_duplicate {
        assert!(!error.is_empty() && !text("request_id").is_empty(), "{answer}");
    }
    if status == 400 {
        let placed = ["field", "line", "messages"].iter().any(|name| !answer[name].is_null());
        // The words of existing clients name the fields themselves.
        let told = error.contains(" required") || error.ends_with("_required");
        assert!(placed || told, "{answer}");
    }
}

/// Makes a body long in the ways that multiply: long names, long lists, many hits.
fn enlarge(random: &mut Random, input: &mut Vec<u8>, _: &[u8]) {
    let places: Vec<usize> =
        (0..input.len()).filter(|at| matches!(input[*at], b'"' | b'{' | b'[' | b':')).collect();
    if places.is_empty() {
        return;
    }
    let at = *random.pick(&places) + 1;
    let count = 1 << random.below(13);
    let pieces: [&[u8]; 8] = [
        b"k",
        b"{{a}} ",
        b"\"{{a}}\",",
        b"{\"id\":1,\"set\":{\"a\":null}},",
        b"\xc3\xa9",
        b"\\u0001",
        b"[",
        b"{\"a\":",
    ];
    let piece = random.pick(&pieces).repeat(count);
    input.splice(at..at, piece);
}
