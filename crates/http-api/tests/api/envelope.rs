//! What all answers share: ids, methods, sizes, keys, failures of the node.

use std::sync::atomic::Ordering;

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

use crate::support::{BASIC, Door, basic, bearer};

#[tokio::test]
async fn unknown_routes_and_methods_are_json() {
    let door = Door::open().await;
    for path in ["/nope", "/v1/nope", "/v1/nonces", "/dashboard", "/"] {
        let got = door.get(path, &door.agent).await.is(404);
        assert_eq!((got.text("error"), got.text("path")), ("Not found", path));
    }
    let delete = Request::delete("/v1/intents").body(Body::empty());
    let got = door.send(delete).await.is(405);
    assert_eq!(got.text("error"), "Method not allowed");
    assert!(!got.header("allow").is_empty());
}

#[tokio::test]
async fn a_request_id_is_taken_over_if_it_is_usable() {
    let door = Door::open().await;
    let long = "x".repeat(65);
    let cases =
        [("abc-1", true), (&"x".repeat(64), true), ("a b", false), ("", false), (&long, false)];
    for (sent, kept) in cases {
        let request = Request::get("/nope").header("X-Request-Id", sent).body(Body::empty());
        let got = door.send(request).await.is(404);
        assert_eq!(got.header("x-request-id") == sent, kept, "{sent}");
        assert_eq!(got.text("request_id"), got.header("x-request-id"));
    }
}

#[tokio::test]
async fn keys_are_checked_before_anything_else() {
    let door = Door::open().await;
    let unknown = format!("gate_sk_{}", "0".repeat(48));
    let cases = [
        (None, 401, "Missing or invalid Authorization header"),
        (Some("Basic abc".to_owned()), 401, "Missing or invalid Authorization header"),
        (Some("bearer abc".to_owned()), 401, "Missing or invalid Authorization header"),
        (Some("Bearer ".to_owned()), 401, "Missing or invalid Authorization header"),
        (Some("Bearer abc".to_owned()), 401, "Invalid API key"),
        (Some(format!("Bearer {unknown}")), 401, "Invalid API key"),
    ];
    for (header, status, error) in cases {
        let mut request = Request::post("/v1/intents");
        if let Some(header) = &header {
            request = request.header("Authorization", header);
        }
        let got = door.send(request.body(Body::from("not json"))).await.is(status);
        assert_eq!(got.text("error"), error, "{header:?}");
        assert_eq!(got.text("code"), "unauthorized");
        assert_eq!(got.header("www-authenticate"), "Bearer");
    }
}

#[tokio::test]
async fn every_route_but_the_open_ones_needs_a_key() {
    let door = Door::open().await;
    let document = door.get("/openapi.json", "").await.is(200);
    let open = ["/health", "/livez", "/readyz", "/.well-known/gate", "/openapi.json"];
    for (path, methods) in document.body["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            let request = Request::builder().method(method.to_uppercase().as_str());
            let got = door.send(request.uri(path.replace("{id}", "x")).body(Body::empty())).await;
            // A link's token is its key, and one that opens nothing is not found.
            let expected = match path.as_str() {
                path if open.contains(&path) => 200,
                path if path.starts_with("/v1/approval-links/") => 404,
                _ => 401,
            };
            assert_eq!(got.status, expected, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn bodies_are_bounded_and_typed() {
    let door = Door::policed(&[("basic", BASIC)]).await;
    let large = vec![b' '; 16 * 1024 * 1024 + 1];
    let request = bearer(Request::post("/v1/intents"), &door.agent);
    let got = door.send(request.body(Body::from(large.clone()))).await.is(413);
    assert_eq!(got.text("error"), "body_too_large");
    let declared = bearer(Request::post("/v1/intents"), &door.agent)
        .header("Content-Length", large.len().to_string());
    door.send(declared.body(Body::empty())).await.is(413);
    let cases = [
        ("application/json", 200),
        ("application/json; charset=utf-8", 200),
        ("application/json; charset=\"UTF-8\"", 200),
        ("application/json; charset=utf-16", 415),
        ("application/json;Charset=latin1", 415),
        ("APPLICATION/JSON", 200),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
    ];
    for (kind, status) in cases {
        let request =
            bearer(Request::post("/v1/intents"), &door.agent).header("Content-Type", kind);
        door.send(request.body(Body::from(basic(5).to_string()))).await.is(status);
    }
    for (coding, status) in [("identity", 200), ("gzip", 415), ("br", 415)] {
        let request =
            bearer(Request::post("/v1/intents"), &door.agent).header("Content-Encoding", coding);
        let got = door.send(request.body(Body::from(basic(5).to_string()))).await.is(status);
        assert_eq!(got.text("field"), if status == 415 { "Content-Encoding" } else { "" });
        let yaml = bearer(Request::put("/v1/policies/other"), &door.admin)
            .header("Content-Encoding", coding)
            .body(Body::from("require_approval: always\n"));
        let got = door.send(yaml).await;
        assert_eq!(got.status == 415, status == 415, "{}", got.body);
    }
    let id = door.submit(basic(500)).await;
    let bare = bearer(Request::post(format!("/v1/intents/{id}/approve")), &door.reviewer);
    door.send(bare.body(Body::empty())).await.is(200);
}

#[tokio::test]
async fn a_node_that_cannot_commit_says_whether_anything_happened() {
    let door = Door::policed(&[("basic", BASIC)]).await;
    let cases = [
        (&door.log.full, "overloaded", "none"),
        (&door.log.alone, "no_quorum", "none"),
        (&door.log.deaf, "outcome_unknown", "unknown"),
    ];
    for (switch, error, outcome) in cases {
        switch.store(true, Ordering::SeqCst);
        let got = door.post("/v1/intents", &door.agent, basic(5)).await.is(503);
        assert_eq!((got.text("error"), got.text("outcome")), (error, outcome));
        assert!(!got.header("retry-after").is_empty());
        switch.store(false, Ordering::SeqCst);
    }
    // The request behind the lost reply was committed; sent again under its key it is resolved.
    door.log.deaf.store(true, Ordering::SeqCst);
    door.post_once("/v1/intents", &door.agent, "k", &basic(6)).await.is(503);
    door.log.deaf.store(false, Ordering::SeqCst);
    let again = door.post_once("/v1/intents", &door.agent, "k", &basic(6)).await.is(200);
    assert_eq!(again.header("idempotency-replayed"), "true");
}

#[tokio::test]
async fn a_full_disk_takes_nothing_new_and_lets_all_else_go_on() {
    let door = Door::policed(&[("basic", BASIC)]).await;
    let held = door.submit(basic(500)).await;
    let other = door.submit(basic(501)).await;
    let allowed = door.submit(basic(5)).await;
    door.log.no_room.store(true, Ordering::SeqCst);
    let hook = json!({ "intentId": held, "url": "https://a.example/hook" });
    let agent = json!({ "name": "another", "role": "agent" });
    let refused = [
        ("/v1/intents", &door.agent, basic(5)),
        ("/v1/propose", &door.agent, basic(5)),
        ("/v1/webhooks/register", &door.agent, hook),
        ("/v1/agents/register", &door.admin, agent),
    ];
    for (path, key, body) in refused {
        let got = door.post(path, key, body).await.is(507);
        assert_eq!((got.text("error"), got.text("outcome")), ("disk_quota", "none"), "{path}");
        assert!(
            got.text("message").contains("up to its reserve")
                && !got.header("retry-after").is_empty()
        );
    }
    // It serves, and says what it does not.
    let ready = door.get("/readyz", "").await.is(200);
    let degraded = ["takes_new", "disk_has_room"];
    assert_eq!(ready.body, json!({ "status": "ok", "degraded": degraded }));
    let ready = door.get("/readyz?verbose", "").await.is(200);
    assert_eq!(ready.body["checks"][3]["ok"], false);
    door.get(&format!("/v1/intents/{held}"), &door.agent).await.is(200);
    door.post(&format!("/v1/intents/{held}/approve"), &door.reviewer, json!({})).await.is(200);
    door.post(&format!("/v1/intents/{other}/reject"), &door.reviewer, json!({})).await.is(200);
    door.post(&format!("/v1/intents/{allowed}/execute"), &door.agent, json!({})).await.is(201);
    door.log.no_room.store(false, Ordering::SeqCst);
    door.submit(basic(5)).await;
}

#[tokio::test]
async fn a_panic_is_a_500_without_details() {
    let door = Door::policed(&[("basic", BASIC)]).await;
    door.log.broken.store(true, Ordering::SeqCst);
    let got = door.post("/v1/intents", &door.agent, basic(5)).await.is(500);
    assert_eq!(got.text("error"), "internal");
    assert!(!got.body.to_string().contains("on purpose"));
    assert!(got.text("request_id").starts_with("req_"));
}

#[tokio::test(start_paused = true)]
async fn a_key_has_a_bounded_number_of_requests_in_flight() {
    let door = Door::policed(&[("basic", BASIC)]).await;
    let id = door.submit(basic(500)).await;
    let path = format!("/v1/intents/{id}?wait=60s");
    let mut polls = Vec::new();
    for _ in 0..types::limits::IN_FLIGHT_PER_KEY_MAX {
        let mut poll = Box::pin(door.get(&path, &door.agent));
        assert!(futures::poll!(&mut poll).is_pending());
        polls.push(poll);
    }
    let got = door.get(&path, &door.agent).await.is(429);
    assert_eq!(got.text("error"), "too_many_requests");
    assert!(!got.header("retry-after").is_empty());
    door.get("/v1/intents", &door.reviewer).await.is(200);
    drop(polls);
    door.get("/v1/intents", &door.agent).await.is(200);
}

#[tokio::test]
async fn the_open_routes_answer_anybody() {
    let door = Door::policed(&[("basic", BASIC)]).await;
    let health = door.get("/health", "").await.is(200);
    let expected = json!({
        "status": "ok", "service": "quorum-gate", "version": "0.0.0-test",
        "proxy": { "enabled": false },
    });
    assert_eq!(health.body, expected);
    let known = door.get("/.well-known/gate", "").await.is(200);
    assert_eq!(known.body["policies_available"], 1);
    let names: Vec<&String> = known.body.as_object().unwrap().keys().collect();
    for name in [
        "gate_supported",
        "auth",
        "approval_channels",
        "approval_providers",
        "approval_provider_capabilities",
        "evidence_factors",
        "max_execution_ttl_sec",
        "replay_protection",
        "webhooks",
        "approval_callback_endpoint",
        "policy_features",
        "policies_available",
    ] {
        assert!(names.contains(&&name.to_owned()), "{name}");
    }
    assert_eq!(known.body["webhooks"]["retry_attempts"], 5);
    assert_eq!(known.body["webhooks"]["timeout_sec"], 8);
    assert_eq!(known.body["max_execution_ttl_sec"], 900);
    let replay = &known.body["replay_protection"];
    assert_eq!(replay["idempotency_window_sec"], 30 * 24 * 60 * 60);
    assert_eq!(
        (&replay["timestamp_tolerance_sec"], &replay["nonce_ttl_sec"]),
        (&json!(300), &json!(300))
    );
    assert_eq!(replay["nonce_endpoint"], "/v1/nonce");
    assert_eq!(replay["single_use_approval_links"], true);
    let features =
        ["destination_allowlist", "auto_approve_under", "require_approval_over", "block_if_terms"];
    assert_eq!(known.body["policy_features"], json!(features));
    let none = Door::open().await.get("/.well-known/gate", "").await.is(200);
    assert_eq!(none.body["policy_features"], json!([]));
    for got in [&health, &known] {
        assert_eq!(got.header("access-control-allow-origin"), "*");
    }
    let live = door.get("/livez", "").await.is(200);
    assert_eq!(live.header("access-control-allow-origin"), "");
    assert_eq!(door.get("/readyz", "").await.is(200).body, json!({ "status": "ok" }));
    let verbose = door.get("/readyz?verbose", "").await.is(200);
    let checks = verbose.body["checks"].as_array().unwrap();
    let required: Vec<_> = checks.iter().map(|check| check["required"] == true).collect();
    assert_eq!(required, [true, true, true, false, false]);
    assert!(checks.iter().all(|check| check["ok"] == true));
}

/// What a request does not read is not dropped in silence where the answer would look like a yes.
#[tokio::test]
async fn every_change_refuses_the_field_that_it_would_drop() {
    let door = Door::policed(&[("basic", BASIC)]).await;
    let held = door.submit(basic(500)).await;
    let allowed = door.submit(basic(5)).await;
    let (bot, key) = door.register("bot", "agent").await;
    let order = door.submit(basic(5)).await;
    let execute = format!("/v1/intents/{order}/execute");
    let order = door.post(&execute, &door.agent, json!({ "intentId": order })).await.is(201);
    let report = format!("/v1/executions/{}/report", order.text("executionId"));
    let hook = |more: (&str, Value)| {
        let mut body = json!({ "intentId": held, "url": "https://a.example/hook" });
        body[more.0] = more.1;
        body
    };
    let (admin, agent) = (&door.admin, &door.agent);
    let rotate = format!("/v1/agents/{bot}/rotate-key");
    let cases = [
        (
            rotate.as_str(),
            admin,
            json!({ "overlap_second": 3_600 }),
            "overlap_second",
            "did you mean `overlap_seconds`?",
        ),
        (&rotate, admin, json!({ "overlap": "1h" }), "overlap", "takes overlap_seconds"),
        (
            &format!("/v1/agents/{bot}/role"),
            admin,
            json!({ "role": "worker", "until": "1d" }),
            "until",
            "takes role",
        ),
        (
            "/v1/webhooks/register",
            agent,
            hook(("secrt", json!("s"))),
            "secrt",
            "did you mean `secret`?",
        ),
        (
            "/v1/webhooks/register",
            agent,
            hook(("signing_key", json!("s"))),
            "signing_key",
            "takes intentId, url, secret, proposalId",
        ),
        (
            "/v1/webhooks/register",
            agent,
            hook(("proposalId", json!(allowed))),
            "proposalId",
            "says something else than $.intentId",
        ),
        ("/v1/namespaces", admin, json!({ "name": "n", "quota": 5 }), "quota", "takes name"),
        (
            &format!("/v1/intents/{allowed}/execute"),
            agent,
            json!({ "digest": "x" }),
            "digest",
            "takes mode",
        ),
        (
            &report,
            agent,
            json!({ "status": "failed", "efect": "none" }),
            "efect",
            "did you mean `effect`?",
        ),
        (
            &format!("/v1/intents/{allowed}/resolve"),
            &door.reviewer,
            json!({ "outcome": "failed", "reason": "r", "effects": "none" }),
            "effects",
            "did you mean `effect`?",
        ),
        (
            &format!("/v1/intents/{held}/approve"),
            &door.reviewer,
            json!({ "digst": "x" }),
            "digst",
            "did you mean `digest`?",
        ),
        (
            "/v1/policies/simulate",
            &door.reviewer,
            json!({ "destination": "a", "polices": { "x": "y" } }),
            "polices",
            "did you mean `policies`?",
        ),
    ];
    for (path, key, body, field, message) in cases {
        let got = door.post(path, key, body).await.is(400);
        let field = format!("$.{field}");
        assert_eq!((got.text("error"), got.text("field")), ("invalid_request", &*field), "{path}");
        assert!(got.text("message").contains(message), "{}", got.body);
    }
    let set = json!({ "policies": {}, "if_version": 3 });
    let got = door.put("/v1/policies", admin, set).await.is(400);
    assert_eq!(got.text("field"), "$.if_version");
    // Nothing of it was done: the old key still opens, and the order still waits for its report.
    door.get("/v1/intents", &key).await.is(200);
    let done = json!({ "status": "succeeded", "executedAt": 1_795_349_928_634_u64,
        "report": { "rows": 1 } });
    let done = door.post(&report, agent, done).await.is(200);
    assert_eq!(done.text("executed_at"), "2026-11-22T12:18:48.634Z");
}

#[tokio::test]
async fn the_cluster_is_for_those_who_run_it() {
    let door = Door::open().await;
    let (_, operator) = door.register("olga", "operator").await;
    for (key, status) in [
        (&operator, 200),
        (&door.admin, 200),
        (&door.auditor, 200),
        (&door.agent, 403),
        (&door.reviewer, 403),
    ] {
        door.get("/v1/cluster", key).await.is(status);
    }
    let got = door.get("/v1/cluster", &operator).await;
    assert_eq!((&got.body["node_id"], &got.body["leader_id"]), (&json!(1), &json!(1)));
    assert_eq!(got.body["term"], 7);
    let nodes = got.body["nodes"].as_array().unwrap();
    let roles: Vec<&Value> = nodes.iter().map(|node| &node["role"]).collect();
    assert_eq!(roles, ["voter", "voter", "learner"]);
    assert_eq!(nodes[0]["healthy"], true);
    assert_eq!(nodes[1]["healthy"], Value::Null);
    assert_eq!(nodes[2]["matched_index"], Value::Null);
    assert_eq!((&nodes[0]["disk_full"], &nodes[0]["sync_us"]), (&json!(true), &json!(1_500)));
    assert_eq!((&nodes[0]["round_trip_us"], &nodes[1]["disk_full"]), (&Value::Null, &Value::Null));
    let over = json!({ "why": "slow_disk", "to": 2, "seconds_ago": 9 });
    assert_eq!((&got.body["profile"], &got.body["lead_given_away"]), (&json!("lan"), &over));
    let warning = json!({
        "code": "disk_full", "level": "warning", "node": 1, "message": "it is full",
    });
    assert_eq!(got.body["warnings"], json!([warning]));
}

#[tokio::test]
async fn metrics_count_intents_by_what_they_are_now() {
    let door = Door::policed(&[("basic", BASIC)]).await;
    door.submit(basic(5)).await;
    let id = door.submit(basic(500)).await;
    door.submit(json!({ "destination": "elsewhere", "policy": "basic" })).await;
    door.post(&format!("/v1/intents/{id}/reject"), &door.reviewer, json!({})).await.is(200);
    let mut keyed = basic(5);
    keyed["idempotency_key"] = json!("once");
    door.submit(keyed.clone()).await;
    for _ in 0..2 {
        door.post("/v1/intents", &door.agent, keyed.clone()).await.is(409);
    }
    let before = door.get("/v1/metrics", &door.agent).await.is(200);
    assert_eq!(before.body["avg_approval_latency_ms"], Value::Null, "nobody approved anything yet");
    for wait_ms in [1_001, 2_000] {
        let id = door.submit(basic(600 + wait_ms)).await;
        door.log.advance_ms(wait_ms);
        door.post(&format!("/v1/intents/{id}/approve"), &door.reviewer, json!({})).await.is(200);
    }
    let got = door.get("/v1/metrics", &door.agent).await.is(200);
    for (name, count) in [
        ("actions_attempted", json!(6)),
        ("actions_blocked", json!(2)),
        ("actions_pending", json!(0)),
        ("actions_approved", json!(4)),
        ("policy_violations", json!(1)),
        ("duplicate_actions", json!(2)),
        ("avg_approval_latency_ms", json!(1_500)),
        ("period", json!("all_time")),
    ] {
        assert_eq!(got.body[name], count, "{name}");
    }
}

/// Every rule that a document may use has its name among the features.
#[tokio::test]
async fn discovery_names_every_rule_in_use() {
    let rules = "\
destinations: [x]
allowed_types: [csv]
rate_limits: {per_agent_per_hour: 5}
field_checks: [{path: a, required: true}]
block_if_terms: [b]
require_approval: always
require_approval_over: 5
auto_approve_under: 5
require_approval_for: org_wide
require_approvals: 2
idempotency_key: {window_seconds: 5, key: a}
require_approval_if_template_error: {patterns: ['{{*}}']}
require_approval_if_clears: {over: 1}
require_profile: crm.import.v1
environments: {test: {require_approval_over: 9}}
";
    let keys = rules.lines().map(|line| line.split(':').next().unwrap());
    let door = Door::policed(&[("all", rules)]).await;
    let known = door.get("/.well-known/gate", "").await.is(200);
    let features = known.body["policy_features"].as_array().unwrap();
    assert_eq!(features.len(), keys.count(), "{features:?}");
}
