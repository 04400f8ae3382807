//! Batches of intents, line by line: what each is answered, and what is refused as a whole.

use std::sync::atomic::Ordering;

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use axum::response::Response;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::support::{BASIC, Door, basic, bearer};

const PATH: &str = "/v1/intents/batch";
const NDJSON: &str = "application/x-ndjson";

/// The head of an answer, its body not read yet.
pub(crate) async fn begin(door: &Door, key: &str, body: impl Into<Body>) -> Response {
    let request = bearer(Request::post(PATH), key).header("Content-Type", NDJSON);
    let request = request.body(body.into()).expect("the request is well formed");
    door.router.clone().oneshot(request).await.expect("the router answers")
}

/// All lines of an answer.
pub(crate) async fn lines_of(response: Response) -> Vec<Value> {
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], NDJSON);
    let bytes = to_bytes(response.into_body(), usize::MAX).await.expect("the body arrives");
    parsed(&bytes)
}

pub(crate) fn parsed(bytes: &[u8]) -> Vec<Value> {
    assert!(bytes.ends_with(b"\n"), "the last line is whole");
    let text = std::str::from_utf8(bytes).expect("text");
    let line = |line| {
        let value: Value = policy::json::parse_str(line).expect("strict JSON");
        assert!(line.starts_with("{\"status\":") && value["status"].is_u64(), "{line}");
        value
    };
    text.lines().map(line).collect()
}

pub(crate) async fn send(door: &Door, body: impl Into<Body>) -> Vec<Value> {
    lines_of(begin(door, &door.agent, body).await).await
}

pub(crate) fn ndjson(items: &[Value]) -> String {
    items.iter().map(|item| format!("{item}\n")).collect()
}

fn with(name: &str, value: Value) -> Value {
    let mut item = basic(5);
    item[name] = value;
    item
}

fn statuses(lines: &[Value]) -> Vec<u64> {
    lines.iter().map(|line| line["status"].as_u64().expect("a status")).collect()
}

#[tokio::test]
async fn every_line_gets_the_answer_of_the_single_route_in_order() {
    let door = Door::policed(&[("basic", BASIC)]).await;
    let mut blocked = basic(5);
    blocked["payload"] = json!("we guarantee it");
    let kinds = [(basic(5), "allowed"), (basic(500), "held"), (blocked, "blocked")];
    // More than one piece, so that the order over pieces shows too.
    let items: Vec<Value> = (0..150).map(|at| kinds[at % 3].0.clone()).collect();
    let lines = send(&door, ndjson(&items)).await;
    assert_eq!(lines.len(), 150);
    for (at, line) in lines.iter().enumerate() {
        assert_eq!((&line["status"], &line["phase"]), (&json!(200), &json!(kinds[at % 3].1)));
        assert!(line.get("line").is_none() && line.get("idempotency_replayed").is_none());
    }
    let text = |line: &Value, name: &str| line[name].as_str().expect("text").to_owned();
    let order: Vec<_> =
        lines.iter().map(|line| (line["gate_index"].as_u64(), text(line, "intentId"))).collect();
    assert!(order.windows(2).all(|two| two[0] < two[1]), "judged in order");
    // The members of the line are those of the body, what the head says, and the status apart.
    for (at, (item, _)) in kinds.iter().enumerate() {
        let single = door.post("/v1/intents", &door.agent, item.clone()).await.is(200);
        let mut names: Vec<&str> =
            single.body.as_object().unwrap().keys().map(String::as_str).collect();
        names.extend(["answer_status", "gate_index", "gate_term"]);
        names.sort_unstable();
        let mut found: Vec<&str> =
            lines[at].as_object().unwrap().keys().map(String::as_str).collect();
        found.sort_unstable();
        assert_eq!(found, names);
        assert_eq!(lines[at]["answer_status"], single.body["status"]);
        for name in ["phase", "reason_code", "reasons", "blockReason", "requiredApprovals"] {
            assert_eq!(lines[at][name], single.body[name], "{name}");
        }
    }
}

#[tokio::test]
async fn a_bad_line_fails_alone_with_its_number_and_place() {
    let door = Door::policed(&[("basic", BASIC)]).await;
    let deep = format!("{{\"payload\":{}{}}}", "[".repeat(80), "]".repeat(80));
    let raw = |bytes: &[u8]| bytes.to_vec();
    let text = |name: &str, value: Value| with(name, value).to_string().into_bytes();
    let cases: [(Vec<u8>, &str, &str); 20] = [
        (raw(b"{\"destination\": \"crm.import\",,}"), "$", "line 2"),
        (raw(b"[1,2]"), "$", "expected an object"),
        (raw(b"null"), "$", "expected an object"),
        (raw(b""), "$", "an empty line"),
        (raw(b" \t\r"), "$", "an empty line"),
        (raw(b"{\"a\":1} {\"a\":2}"), "$", "line 2"),
        (raw(b"{\"a\":{\"b\":1,\"b\":2}}"), "$.a.b", "line 2"),
        (raw(b"{\"payload\":\"nul \\u0000\"}"), "$.payload", "line 2"),
        (raw(b"{\"payload\":\"\xff\"}"), "$", "line 2"),
        (deep.into_bytes(), "$.payload", "line 2"),
        (text("recordCount", json!(-1)), "$.recordCount", "a whole number"),
        (text("metadata", json!("text")), "$.metadata", "an object"),
        (text("destination", json!(7)), "$.destination", "a string"),
        (text("sensitivity_tags", json!(["a", 3])), "$.sensitivity_tags[1]", "a string"),
        (text("on_behalf_of", json!("x".repeat(4_097))), "$.on_behalf_of", "longer"),
        (text("request_key", json!(5)), "$.request_key", "a string"),
        (text("request_key", json!("a b")), "$.request_key", "visible characters"),
        (text("request_key", json!("x".repeat(256))), "$.request_key", "visible"),
        (text("request_kye", json!("k")), "$.request_kye", "did you mean `requestKey`?"),
        (text("reccord_count", json!(1)), "$.reccord_count", "did you mean"),
    ];
    for (bad, field, message) in cases {
        let good = basic(5).to_string().into_bytes();
        let body = [&good[..], &bad, &good].join(&b'\n');
        let response = begin(&door, &door.agent, body).await;
        let id = response.headers()["x-request-id"].clone();
        let lines = lines_of(response).await;
        let shown = String::from_utf8_lossy(&bad[..bad.len().min(40)]);
        assert_eq!(statuses(&lines), [200, 400, 200], "{shown}");
        let line = &lines[1];
        assert_eq!((&line["error"], &line["line"]), (&json!("invalid_request"), &json!(2)));
        let found = line["field"].as_str().expect("a field");
        assert!(found.starts_with(field), "{shown}: {line}");
        assert!(line["message"].as_str().expect("a message").contains(message), "{shown}: {line}");
        assert_eq!(line["request_id"].as_str(), id.to_str().ok());
    }
    // In the words of existing clients.
    let lines = send(&door, "{}\n{}").await;
    assert_eq!(statuses(&lines), [400, 400]);
    assert_eq!(lines[1]["error"], "destination and policy are required");
    assert_eq!((&lines[1]["code"], &lines[1]["line"]), (&json!("invalid_request"), &json!(2)));
}

#[tokio::test]
async fn lines_end_as_they_like_and_space_at_the_end_is_none() {
    let door = Door::policed(&[("basic", BASIC)]).await;
    let item = basic(5).to_string();
    for (body, expected) in [
        (item.clone(), vec![200]),
        (format!("{item}\n"), vec![200]),
        (format!("{item}\r\n{item}\r\n"), vec![200, 200]),
        (format!("{item}\n{item}\n\r\n \n\n"), vec![200, 200]),
        (format!("\n{item}"), vec![400, 200]),
        (format!("{item}\n\n{item}"), vec![200, 400, 200]),
        (format!("{item}\r\n\r\n{item}"), vec![200, 400, 200]),
        (format!("  {item}\t\n"), vec![200]),
    ] {
        assert_eq!(statuses(&send(&door, body.clone()).await), expected, "{body:?}");
    }
}

#[tokio::test]
async fn what_is_refused_as_a_whole_submits_nothing() {
    let door = Door::policed(&[("basic", BASIC)]).await;
    let item = basic(5).to_string();
    let many = format!("{item}\n").repeat(1_001);
    let large = |bytes: usize| format!("{item}\n{}", " ".repeat(bytes - item.len() - 1));
    let limit = 8 * 1024 * 1024;
    let before = door.log.applied();
    let to = |body: String| bearer(Request::post(PATH), &door.agent).body(Body::from(body));
    for (body, status, word) in [
        (String::new(), 400, "empty"),
        ("\n\r\n".into(), 400, "empty"),
        (many.clone(), 400, "1000 lines"),
        (large(limit + 1), 413, "8388608 bytes"),
    ] {
        let got = door.send(to(body)).await.is(status);
        assert!(got.text("message").contains(word), "{}", got.body);
    }
    let headers = [
        ("Content-Type", "application/json", 415),
        ("Content-Type", "application/x-www-form-urlencoded", 415),
        ("Content-Type", "application/x-ndjson; charset=utf-16", 415),
        ("Content-Encoding", "gzip", 415),
        ("Idempotency-Key", "k", 400),
    ];
    for (name, value, status) in headers {
        let request = bearer(Request::post(PATH), &door.agent).header(name, value);
        let got = door.send(request.body(Body::from(item.clone()))).await.is(status);
        assert_eq!(got.text("field"), name, "{value}");
    }
    let waits = bearer(Request::post(format!("{PATH}?wait=5s")), &door.agent);
    door.send(waits.body(Body::from(item.clone()))).await.is(400);
    for (key, status, error) in [
        ("", 401, "Missing or invalid Authorization header"),
        (&format!("gate_sk_{}", "0".repeat(48)), 401, "Invalid API key"),
        (&door.reviewer, 403, "forbidden"),
        (&door.auditor, 403, "forbidden"),
    ] {
        let request = bearer(Request::post(PATH), key).body(Body::from(item.clone()));
        assert_eq!(door.send(request).await.is(status).text("error"), error);
    }
    assert_eq!(door.log.applied(), before, "something was submitted");

    assert_eq!(send(&door, large(limit)).await.len(), 1, "the largest body");
    let most = many[..many.len() - item.len() - 1].to_owned();
    assert_eq!(statuses(&send(&door, most).await), [200; 1_000]);
    assert_eq!(door.log.applied(), before + 1_001);
    for declared in [None, Some("APPLICATION/X-NDJSON; charset=utf-8")] {
        let request = bearer(Request::post(PATH), &door.admin);
        let request = declared.iter().fold(request, |r, value| r.header("Content-Type", *value));
        let request = request.body(Body::from(item.clone())).expect("well formed");
        let response = door.router.clone().oneshot(request).await.expect("an answer");
        assert_eq!(lines_of(response).await.len(), 1, "{declared:?}");
    }
}

#[tokio::test]
async fn a_repeat_of_an_earlier_line_is_told_so() {
    let door = Door::policed(&[("basic", BASIC)]).await;
    let keyed = with("idempotency_key", json!("once"));
    let lines = send(&door, ndjson(&[basic(5), keyed.clone(), keyed, basic(5)])).await;
    assert_eq!(statuses(&lines), [200, 200, 409, 200]);
    assert_eq!(lines[2]["answer_status"], "duplicate_blocked");
    assert_eq!(lines[2]["intentId"], lines[1]["intentId"]);
    assert!(lines[2].get("line").is_none(), "a duplicate is a decision, not a problem");

    let named = with("request_key", json!("r"));
    let mut other = named.clone();
    other["recordCount"] = json!(6);
    let lines = send(&door, ndjson(&[named.clone(), named, other, basic(5)])).await;
    assert_eq!(statuses(&lines), [200, 200, 422, 200]);
    assert_eq!(lines[0].get("idempotency_replayed"), None);
    assert_eq!(lines[1]["idempotency_replayed"], true);
    assert_eq!(lines[1]["intentId"], lines[0]["intentId"]);
    assert_eq!(
        (&lines[2]["error"], &lines[2]["line"]),
        (&json!("idempotency_key_reused"), &json!(3))
    );
}

/// Whoever falls back from one route to the other, with the key in the header or in the body,
/// submits once.
#[tokio::test]
async fn a_key_means_the_same_in_a_batch_and_alone() {
    let door = Door::policed(&[("basic", BASIC)]).await;
    let single = "/v1/intents";
    // First in a batch, in the other spelling and order of members.
    let line = format!("{{\"requestKey\":\"a\",{}\n", &basic(500).to_string()[1..]);
    let first = send(&door, line).await.remove(0);
    for _ in 0..2 {
        let again = door.post_once(single, &door.agent, "a", &basic(500)).await.is(200);
        assert_eq!(again.header("idempotency-replayed"), "true");
        assert_eq!(
            (&again.body["intentId"], &again.body["phase"]),
            (&first["intentId"], &json!("held"))
        );
        let mut body = basic(500);
        body["request_key"] = json!("a");
        let again = door.post(single, &door.agent, body.clone()).await.is(200);
        assert_eq!(
            (again.header("idempotency-replayed"), &again.body["intentId"]),
            ("true", &first["intentId"])
        );
        let again = door.post_once(single, &door.agent, "a", &body).await.is(200);
        assert_eq!(
            (again.header("idempotency-replayed"), &again.body["intentId"]),
            ("true", &first["intentId"])
        );
        let got = door.post_once(single, &door.agent, "b", &body).await.is(400);
        assert_eq!(got.text("field"), "$.request_key");
    }
    // First alone.
    let alone = door.post_once(single, &door.agent, "c", &basic(5)).await.is(200);
    let again = send(&door, ndjson(&[with("request_key", json!("c"))])).await.remove(0);
    assert_eq!((&again["status"], &again["idempotency_replayed"]), (&json!(200), &json!(true)));
    assert_eq!(again["intentId"], alone.body["intentId"]);
    let mut other = basic(6);
    other["request_key"] = json!("c");
    assert_eq!(statuses(&send(&door, ndjson(&[other.clone()])).await), [422]);
    door.post(single, &door.agent, other).await.is(422);
    // Another credential, and the older spelling of the route, are other requests.
    let named = ndjson(&[with("request_key", json!("c"))]);
    let admins = lines_of(begin(&door, &door.admin, named).await).await.remove(0);
    assert_eq!(admins.get("idempotency_replayed"), None);
    let older = door.post_once("/v1/propose", &door.agent, "c", &basic(5)).await.is(200);
    assert_eq!(older.header("idempotency-replayed"), "");
    assert_ne!(older.body["intentId"], alone.body["intentId"]);
}

#[tokio::test]
async fn trouble_of_the_cluster_is_told_line_by_line() {
    let door = Door::policed(&[("basic", BASIC)]).await;
    let five = ndjson(&vec![basic(5); 5]);
    door.log.places.store(3, Ordering::SeqCst);
    let lines = send(&door, five.clone()).await;
    assert_eq!(statuses(&lines), [200, 200, 200, 503, 503]);
    let told = |line: &Value| {
        (line["error"].clone(), line["outcome"].clone(), line["retry_after"].clone())
    };
    assert_eq!(told(&lines[3]), (json!("overloaded"), json!("none"), json!(1)));
    assert_eq!((&lines[4]["line"], lines[4]["request_id"].is_string()), (&json!(5), true));
    door.log.places.store(usize::MAX, Ordering::SeqCst);
    for (fault, status, error, outcome, retry_after) in [
        (&door.log.alone, 503, "no_quorum", "none", 1),
        (&door.log.deaf, 503, "outcome_unknown", "unknown", 1),
        (&door.log.no_room, 507, "disk_quota", "none", 60),
    ] {
        fault.store(true, Ordering::SeqCst);
        let lines = send(&door, five.clone()).await;
        fault.store(false, Ordering::SeqCst);
        assert_eq!(statuses(&lines), [status; 5]);
        for line in &lines {
            assert_eq!(told(line), (json!(error), json!(outcome), json!(retry_after)));
        }
    }
}

/// What the ledger refuses of a caller who may no longer submit.
#[tokio::test]
async fn a_suspended_agent_is_refused_line_by_line_when_it_is_too_late_for_the_edge() {
    let door = Door::policed(&[("basic", BASIC)]).await;
    let (id, key) = door.register("late-bot", "agent").await;
    door.log.keep_waiting();
    let suspending = format!("/v1/agents/{id}/suspend");
    let mut suspending = std::pin::pin!(door.post(&suspending, &door.admin, json!({})));
    assert!(futures::poll!(&mut suspending).is_pending());
    let response = begin(&door, &key, ndjson(&[basic(5), basic(5)])).await;
    while door.log.waiting() < 3 {
        tokio::task::yield_now().await;
    }
    door.log.keep_no_longer();
    suspending.await.is(200);
    let lines = lines_of(response).await;
    assert_eq!(statuses(&lines), [403, 403]);
    assert_eq!(
        (&lines[1]["error"], &lines[1]["answer_status"]),
        (&json!("agent_inactive"), &json!("suspended"))
    );
    assert!(lines[1]["gate_index"].is_u64(), "it stands in the log");
}
