//! Execution orders over HTTP: issued once, seen by who may, reported under token or key.

use serde_json::{Value, json};

use crate::support::{BASIC, Door, Got, basic};

const FIFTEEN_MINUTES_MS: u64 = 15 * 60 * 1_000;

async fn door() -> Door {
    Door::policed(&[("basic", BASIC)]).await
}

/// An allowed intent and its order.
async fn ordered(door: &Door) -> (String, Got) {
    let id = door.submit(basic(1)).await;
    let path = format!("/v1/intents/{id}/execute");
    let order = door.post(&path, &door.agent, json!({})).await.is(201);
    (id, order)
}

#[tokio::test]
async fn an_order_has_the_shape_that_workers_know() {
    let door = door().await;
    let (id, order) = ordered(&door).await;
    assert_eq!(order.text("intent_id"), id);
    assert_eq!(order.body["executionId"], order.body["execution_id"]);
    assert!(order.text("executionId").starts_with("exe_"));
    let token = order.text("execution_token");
    assert!(token.starts_with("gex_") && token.len() == 44, "{token}");
    assert_eq!(order.text("mode"), "runner_exec");
    assert_eq!(order.text("status"), "scheduled");
    assert_eq!((&order.body["executed_at"], &order.body["result"]), (&Value::Null, &Value::Null));
    assert!(order.body["fence"].as_u64().is_some_and(|fence| fence > 0));
    let read = door.get(&format!("/v1/intents/{id}"), &door.agent).await.is(200);
    assert_eq!((read.text("status"), read.text("phase")), ("scheduled", "claimed"));
    assert_eq!(read.body["execution_id"], order.body["executionId"]);
    let again = door.post(&format!("/v1/intents/{id}/execute"), &door.agent, json!({})).await;
    let again = again.is(409);
    assert_eq!(again.text("error"), "Intent cannot be executed — current status: scheduled");
    assert_eq!(again.text("status"), "scheduled");
}

#[tokio::test]
async fn a_lost_order_is_found_again_with_its_token() {
    let door = door().await;
    let id = door.submit(basic(1)).await;
    let path = format!("/v1/intents/{id}/execute");
    let first = door.post_once(&path, &door.agent, "once", &json!({})).await.is(201);
    let second = door.post_once(&path, &door.agent, "once", &json!({})).await.is(201);
    assert_eq!(second.header("idempotency-replayed"), "true");
    assert_eq!(second.body, first.body);
    let path = format!("/v1/executions/{}", first.text("executionId"));
    let read = door.get(&path, &door.agent).await.is(200);
    assert_eq!(read.body, first.body);
}

#[tokio::test]
async fn only_the_intents_agent_and_admins_hold_the_token() {
    let door = door().await;
    let (id, order) = ordered(&door).await;
    let path = format!("/v1/executions/{}", order.text("executionId"));
    let (_, stranger) = door.register("stranger", "agent").await;
    door.get(&path, &stranger).await.is(403);
    for reader in [&door.reviewer, &door.auditor] {
        let read = door.get(&path, reader).await.is(200);
        assert_eq!(read.body["execution_token"], Value::Null);
    }
    assert!(!door.get(&path, &door.admin).await.is(200).text("execution_token").is_empty());
    door.get("/v1/executions/exe_0000000000000000", &door.agent).await.is(404);
    door.get("/v1/executions/nonsense", &door.agent).await.is(404);
    let other = door.submit(basic(1)).await;
    let execute = format!("/v1/intents/{other}/execute");
    door.post(&execute, &stranger, json!({})).await.is(403);
    door.post(&execute, &door.reviewer, json!({})).await.is(403);
    let trail = door.get(&format!("/v1/intents/{id}/audit"), &door.agent).await.is(200);
    let last = trail.body["events"].as_array().unwrap().last().unwrap();
    assert_eq!(last["event_type"], "execution_requested");
    assert_eq!(last["metadata"]["executionId"], order.body["executionId"]);
}

#[tokio::test]
async fn a_held_intent_is_not_handed_out_and_an_expired_one_is_gone() {
    let door = door().await;
    let held = door.submit(basic(500)).await;
    let path = format!("/v1/intents/{held}/execute");
    let no = door.post(&path, &door.agent, json!({})).await.is(409);
    assert_eq!(no.text("status"), "pending_approval");
    assert!(no.body.get("hint").is_some());
    let allowed = door.submit(basic(1)).await;
    door.log.advance_ms(3_600_000);
    let path = format!("/v1/intents/{allowed}/execute");
    let gone = door.post(&path, &door.agent, json!({})).await.is(410);
    assert_eq!((gone.text("error"), gone.text("status")), ("Intent expired", "expired"));
    let none = door.post("/v1/intents/int_00/execute", &door.agent, json!({})).await.is(404);
    assert_eq!(none.text("error"), "Intent not found");
}

#[tokio::test]
async fn a_report_ends_the_intent_once() {
    let door = door().await;
    let (id, order) = ordered(&door).await;
    let token = order.text("execution_token").to_owned();
    let path = format!("/v1/executions/{}/report", order.text("executionId"));
    let done = json!({"status": "succeeded", "result": {"rows": 1}, "executed_at":
        "2026-11-22T12:18:48.634Z"});
    let wrong = door.post(&path, "gex_00", done.clone()).await.is(401);
    assert_eq!(wrong.text("error"), "Invalid execution token or API key");
    door.post(&path, "", done.clone()).await.is(401);
    let bad = door.post(&path, &token, json!({"status": "maybe"})).await.is(400);
    assert_eq!(bad.text("error"), "status must be succeeded or failed");
    let got = door.post(&path, &token, done.clone()).await.is(200);
    assert_eq!((got.text("status"), &got.body["result"]), ("succeeded", &json!({"rows": 1})));
    assert_eq!(got.text("executed_at"), "2026-11-22T12:18:48.634Z");
    assert_eq!(door.post(&path, &token, done).await.is(200).body, got.body);
    let other = door.post(&path, &door.admin, json!({"status": "failed"})).await.is(409);
    assert_eq!(other.text("error"), "already_reported");
    let read = door.get(&format!("/v1/intents/{id}"), &door.agent).await.is(200);
    assert_eq!(read.text("status"), "succeeded");
    let events = read.body["auditTrail"].as_array().unwrap();
    assert_eq!(events.last().unwrap()["event_type"], "execution_succeeded");
    assert_eq!(events.last().unwrap()["metadata"]["result"], json!({"rows": 1}));
}

#[tokio::test]
async fn null_counts_as_absent_and_a_time_may_be_a_number() {
    let door = door().await;
    let id = door.submit(basic(1)).await;
    let path = format!("/v1/intents/{id}/execute");
    let order = door.post(&path, &door.agent, json!({ "mode": null })).await.is(201);
    assert_eq!(order.text("mode"), "runner_exec");
    let path = format!("/v1/executions/{}/report", order.text("executionId"));
    let token = order.text("execution_token");
    for wrong in [json!("noon"), json!(true), json!(-5)] {
        let body = json!({ "status": "succeeded", "executed_at": wrong });
        assert_eq!(door.post(&path, token, body).await.is(400).text("field"), "$.executed_at");
    }
    let body = json!({
        "status": "succeeded", "result": null, "effect": null,
        "executed_at": 1_795_349_928_634_u64,
    });
    let got = door.post(&path, token, body).await.is(200);
    assert_eq!(got.text("executed_at"), "2026-11-22T12:18:48.634Z");

    let id = door.submit(basic(1)).await;
    let order = door.post(&format!("/v1/intents/{id}/execute"), &door.agent, json!({})).await;
    let path = format!("/v1/executions/{}/report", order.is(201).text("executionId"));
    let body =
        json!({ "status": "succeeded", "result": null, "effect": null, "executed_at": null });
    let got = door.post(&path, &door.agent, body).await.is(200);
    assert!(got.body["executed_at"].is_string());
}

#[tokio::test]
async fn silence_is_doubt_and_a_person_ends_it() {
    let door = door().await;
    let (id, order) = ordered(&door).await;
    door.log.advance_ms(FIFTEEN_MINUTES_MS);
    door.tick().await;
    let read = door.get(&format!("/v1/intents/{id}"), &door.agent).await.is(200);
    assert_eq!((read.text("status"), read.text("phase")), ("in_doubt", "in_doubt"));
    let shown = format!("/v1/executions/{}", order.text("executionId"));
    let shown = door.get(&shown, &door.agent).await.is(200);
    assert_eq!(shown.text("status"), "expired");
    let path = format!("/v1/intents/{id}/resolve");
    let word = json!({"outcome": "failed", "effect": "none", "reason": "the CRM shows nothing"});
    door.post(&path, &door.agent, word.clone()).await.is(403);
    for (field, value) in [("outcome", json!("perhaps")), ("effect", json!("much"))] {
        let mut bad = word.clone();
        bad[field] = value;
        let no = door.post(&path, &door.reviewer, bad).await.is(400);
        assert_eq!(no.text("field"), format!("$.{field}"));
    }
    let done = door.post(&path, &door.reviewer, word.clone()).await.is(200);
    assert_eq!((done.text("status"), done.text("effect")), ("failed", "none"));
    let again = door.post(&path, &door.reviewer, word).await.is(409);
    assert_eq!(again.text("error"), "not_in_doubt");
}
