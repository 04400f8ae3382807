//! The metrics door: the text parses, the numbers are those of the requests, no label is an id.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use gate::Gate;
use http_api::{Sampler, Samplers};
use serde_json::json;
use tower::ServiceExt;

use crate::exposition::Scrape;
use crate::support::{BASIC, Door, basic};

/// What a scrape of this door's metrics gives.
pub(crate) async fn scrape(door: &Door) -> Scrape {
    let gate: Arc<Gate> = door.gate.clone();
    let samplers: Vec<Sampler> = vec![Box::new(move || gate.sample())];
    read(door.exporter.router(Samplers { kept: samplers, ..Samplers::default() })).await
}

async fn read(router: Router) -> Scrape {
    let response = router.oneshot(Request::get("/metrics").body(Body::empty()).unwrap()).await;
    let response = response.unwrap();
    assert_eq!(response.status(), 200);
    let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
    assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8");
    let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    Scrape::parse(std::str::from_utf8(&bytes).unwrap())
}

#[tokio::test]
#[rustfmt::skip]
async fn every_number_is_that_of_the_requests() {
    let door = Door::policed(&[("basic", BASIC)]).await;
    let allowed = door.submit(basic(5)).await;
    let held = door.submit(basic(500)).await;
    let other = door.submit(basic(501)).await;
    let mut blocked = basic(5);
    blocked["payload"] = json!("a guarantee");
    door.submit(blocked).await;
    let mut once = basic(6);
    once["idempotency_key"] = json!("call-1");
    door.submit(once.clone()).await;
    door.post("/v1/intents", &door.agent, once).await.is(409);
    for _ in 0..2 {
        door.post_once("/v1/intents", &door.agent, "key-1", &basic(7)).await.is(200);
    }
    let approve = format!("/v1/intents/{held}/approve");
    door.post(&approve, &door.agent, json!({})).await.is(403);
    let digest = door.get(&format!("/v1/intents/{held}"), &door.reviewer).await.is(200);
    let digest = digest.text("approval_digest").to_owned();
    door.post(&approve, &door.reviewer, json!({ "digest": "0".repeat(64) })).await.is(409);
    door.post(&approve, &door.reviewer, json!({ "digest": digest })).await.is(200);
    door.post(&format!("/v1/intents/{other}/reject"), &door.reviewer, json!({})).await.is(200);
    let order = door.post(&format!("/v1/intents/{allowed}/execute"), &door.agent, json!({})).await;
    let order = order.is(201);
    door.get("/nowhere", "").await.is(404);
    door.put("/v1/intents", &door.agent, json!({})).await.is(405);
    door.log.full.store(true, std::sync::atomic::Ordering::SeqCst);
    door.post("/v1/intents", &door.agent, basic(8)).await.is(503);
    door.log.full.store(false, std::sync::atomic::Ordering::SeqCst);

    let found = scrape(&door).await;
    let intents = r#"gate_http_requests_total{route="/v1/intents",method="POST",status="#;
    let other_route = r#"gate_http_requests_total{route="other",method="other",status="#;
    let approvals = r#"{route="/v1/intents/{id}/approve",method="POST""#;
    let expected = [
        (format!(r#"{intents}"2xx"}}"#), 7),
        (format!(r#"{intents}"4xx"}}"#), 1),
        (format!(r#"{intents}"5xx"}}"#), 1),
        (format!(r#"{intents}"gone"}}"#), 0),
        (r#"gate_http_request_seconds_count{route="/v1/intents",method="POST"}"#.into(), 9),
        (format!(r#"gate_http_requests_total{approvals},status="2xx"}}"#), 1),
        (format!(r#"gate_http_requests_total{approvals},status="4xx"}}"#), 2),
        (format!(r#"{other_route}"4xx"}}"#), 2),
        (r#"gate_http_refused_total{status="503"}"#.into(), 1),
        (r#"gate_http_refused_total{status="429"}"#.into(), 0),
        ("gate_http_requests_in_flight".into(), 0),
        (r#"gate_commands_total{command="submit",outcome="done"}"#.into(), 7),
        (r#"gate_commands_total{command="submit",outcome="replayed"}"#.into(), 1),
        (r#"gate_commands_total{command="submit",outcome="failed"}"#.into(), 1),
        (r#"gate_command_seconds_count{command="submit"}"#.into(), 9),
        (r#"gate_commands_failed_total{reason="queue_full"}"#.into(), 1),
        (r#"gate_commands_failed_total{reason="unknown"}"#.into(), 0),
        (r#"gate_decisions_total{outcome="allow"}"#.into(), 3),
        (r#"gate_decisions_total{outcome="hold"}"#.into(), 2),
        (r#"gate_decisions_total{outcome="block"}"#.into(), 1),
        (r#"gate_decisions_total{outcome="duplicate"}"#.into(), 1),
        (r#"gate_dedup_hits_total{kind="idempotency_key"}"#.into(), 1),
        (r#"gate_dedup_hits_total{kind="window"}"#.into(), 0),
        (r#"gate_dedup_hits_total{kind="request_key"}"#.into(), 1),
        (r#"gate_approval_wait_seconds_count{outcome="approved"}"#.into(), 1),
        (r#"gate_approval_wait_seconds_count{outcome="rejected"}"#.into(), 1),
        ("gate_in_doubt_age_seconds".into(), 0),
        (r#"gate_commands_total{command="approve",outcome="done"}"#.into(), 1),
        (r#"gate_commands_total{command="approve",outcome="refused"}"#.into(), 1),
        (r#"gate_commands_total{command="reject",outcome="done"}"#.into(), 1),
        (r#"gate_commands_total{command="issue_order",outcome="done"}"#.into(), 1),
        (r#"gate_commands_total{command="register_agent",outcome="done"}"#.into(), 3),
        (r#"gate_commands_total{command="bootstrap",outcome="done"}"#.into(), 1),
        (r#"gate_commands_total{command="apply_policies",outcome="done"}"#.into(), 1),
        (r#"gate_intents{phase="held"}"#.into(), 0),
        (r#"gate_intents{phase="allowed"}"#.into(), 3),
        (r#"gate_intents{phase="claimed"}"#.into(), 1),
        (r#"gate_intents{phase="blocked"}"#.into(), 1),
        (r#"gate_intents{phase="rejected"}"#.into(), 1),
        ("gate_namespaces".into(), 1),
        ("gate_healthy".into(), 1),
        ("gate_has_leader".into(), 1),
        ("gate_is_leader".into(), 1),
        ("gate_term".into(), 7),
        ("gate_voters".into(), 2),
        ("gate_learners".into(), 1),
        ("gate_apply_lag".into(), 0),
        (r#"gate_build_info{version="0.0.0-test"}"#.into(), 1),
    ];
    for (series, value) in expected {
        assert_eq!(found.value(&series), f64::from(value), "{series}");
    }
    let applied = door.log.applied();
    assert_eq!(found.value("gate_applied_index"), meters::number(applied));
    let leaves = door.get("/v1/audit/checkpoint", &door.auditor).await.is(200);
    assert_eq!(found.value("gate_audit_tree_size"), leaves.body["size"].as_f64().unwrap());
    for id in [&allowed, &held, &other, order.text("execution_id"), &door.agent, "crm", "default"] {
        assert!(!id.is_empty() && !found.text.contains(id), "{id}");
    }
}

#[tokio::test]
async fn what_is_due_and_what_expired_can_be_seen() {
    let door = Door::policed(&[("basic", BASIC)]).await;
    let mut body = basic(500);
    body["expiresIn"] = json!("60s");
    door.submit(body).await;
    assert_eq!(scrape(&door).await.value("gate_due_age_seconds"), 0.0);
    door.log.advance_ms(62_500);
    let found = scrape(&door).await;
    assert!((2.5..3.5).contains(&found.value("gate_due_age_seconds")));
    assert_eq!(found.value(r#"gate_intents{phase="held"}"#), 1.0);
    door.tick().await;
    let found = scrape(&door).await;
    assert_eq!(found.value("gate_due_age_seconds"), 0.0);
    assert_eq!(found.value(r#"gate_intents{phase="expired"}"#), 1.0);
}

#[tokio::test]
async fn a_request_whose_caller_left_is_in_flight_no_more() {
    let door = Door::policed(&[("basic", BASIC)]).await;
    let id = door.submit(basic(500)).await;
    let poll = Request::get(format!("/v1/intents/{id}?wait=60s"))
        .header("Authorization", format!("Bearer {}", door.agent))
        .body(Body::empty())
        .unwrap();
    let mut polling = Box::pin(door.router.clone().oneshot(poll));
    assert!(futures::poll!(polling.as_mut()).is_pending());
    assert_eq!(scrape(&door).await.value("gate_http_requests_in_flight"), 1.0);
    drop(polling);
    let found = scrape(&door).await;
    assert_eq!(found.value("gate_http_requests_in_flight"), 0.0);
    let gone = r#"gate_http_requests_total{route="/v1/intents/{id}",method="GET",status="gone"}"#;
    assert_eq!(found.value(gone), 1.0);
}

#[tokio::test]
async fn every_family_is_one_of_the_table_and_means_what_it_says() {
    let door = Door::open().await;
    let found = scrape(&door).await;
    for (name, family) in &found.families {
        let metric = meters::ALL.iter().find(|metric| metric.name == name).expect(name);
        assert_eq!(
            (family.kind.as_str(), family.help.as_str()),
            (metric.kind.name(), metric.meaning())
        );
    }
    assert!(found.families.len() > 20, "{}", found.families.len());
}

#[tokio::test]
async fn everything_else_on_the_port_is_a_json_problem() {
    let door = Door::open().await;
    let router = door.exporter.router(Samplers::default());
    let cases = [("GET", "/", 404), ("GET", "/v1/intents", 404), ("POST", "/metrics", 405)];
    for (method, path, status) in cases {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), status, "{method} {path}");
        assert_eq!(response.headers()["content-type"], "application/json");
        assert!(response.headers().contains_key("x-request-id"));
    }
}

#[tokio::test]
async fn a_sampler_that_fails_is_a_problem_without_details() {
    let door = Door::open().await;
    let broken = || -> Vec<Sampler> { vec![Box::new(|| panic!("broken on purpose"))] };
    let cases = [
        Samplers { kept: broken(), ..Samplers::default() },
        Samplers { passing: broken(), ..Samplers::default() },
    ];
    for samplers in cases {
        let router = door.exporter.router(samplers);
        let request = Request::get("/metrics").body(Body::empty()).unwrap();
        let response = router.oneshot(request).await.unwrap();
        assert_eq!(response.status(), 500);
        let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        assert!(!String::from_utf8_lossy(&bytes).contains("purpose"));
    }
}

/// A series of a node that left is in no scrape after that.
#[tokio::test]
async fn what_went_is_shown_no_more() {
    let door = Door::open().await;
    let nodes = Arc::new(Mutex::new(vec![2, 3]));
    let known = nodes.clone();
    let passing: Vec<Sampler> = vec![Box::new(move || {
        for node in known.lock().unwrap().iter() {
            let peer = [node.to_string()];
            meters::PEER_REPLICATION_LAG.passing_gauge(&peer).set(f64::from(*node) * 10.0);
            meters::PEER_HEARTBEAT_FAILURES.passing_counter(&peer).absolute(7);
        }
    })];
    let router = door.exporter.router(Samplers { passing, ..Samplers::default() });
    let found = read(router.clone()).await;
    for (series, value) in [
        (r#"gate_peer_replication_lag{peer="2"}"#, 20.0),
        (r#"gate_peer_replication_lag{peer="3"}"#, 30.0),
        (r#"gate_peer_heartbeat_failures_total{peer="3"}"#, 7.0),
    ] {
        assert_eq!(found.value(series), value, "{series}");
    }
    assert_eq!(found.families["gate_peer_replication_lag"].kind, "gauge");
    nodes.lock().unwrap().pop();
    let found = read(router.clone()).await;
    assert!(!found.text.contains(r#"peer="3""#), "{}", found.text);
    assert_eq!(found.value(r#"gate_peer_replication_lag{peer="2"}"#), 20.0);
    nodes.lock().unwrap().clear();
    assert!(!read(router).await.text.contains("peer"));
}
