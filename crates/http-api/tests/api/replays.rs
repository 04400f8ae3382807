//! The `Idempotency-Key` header and the body's own key.

use serde_json::{Value, json};

use crate::support::{BASIC, Door, basic};

#[tokio::test]
async fn the_same_request_is_answered_the_same_and_changes_nothing() {
    let door = Door::policed(&[("basic", BASIC)]).await;
    for records in [5, 500] {
        let once = format!("key-{records}");
        let body = basic(records);
        let first = door.post_once("/v1/intents", &door.agent, &once, &body).await.is(200);
        assert_eq!(first.header("idempotency-replayed"), "");
        // Another order of members is the same request.
        let mut turned: Vec<(String, Value)> =
            body.as_object().unwrap().clone().into_iter().collect();
        turned.reverse();
        let turned = Value::Object(turned.into_iter().collect());
        let again = door.post_once("/v1/intents", &door.agent, &once, &turned).await.is(200);
        assert_eq!(again.header("idempotency-replayed"), "true");
        assert_eq!(again.body, first.body);
        let other = door.post_once("/v1/intents", &door.agent, &once, &basic(6)).await.is(422);
        assert_eq!(other.text("error"), "idempotency_key_reused");
    }
    let list = door.get("/v1/intents", &door.agent).await;
    assert_eq!(list.body["count"], 2);
}

#[tokio::test]
async fn a_replay_of_a_decided_intent_is_still_the_first_answer() {
    let door = Door::policed(&[("basic", BASIC)]).await;
    let first = door.post_once("/v1/intents", &door.agent, "k", &basic(500)).await.is(200);
    let approve = format!("/v1/intents/{}/approve", first.text("intentId"));
    let yes = door.post_once(&approve, &door.reviewer, "y", &json!({})).await.is(200);
    let again = door.post_once(&approve, &door.reviewer, "y", &json!({})).await.is(200);
    assert_eq!((again.header("idempotency-replayed"), &again.body), ("true", &yes.body));
    let replay = door.post_once("/v1/intents", &door.agent, "k", &basic(500)).await.is(200);
    assert_eq!(replay.body, first.body);
    // A stricter policy takes it back; the answer that was given stays given.
    let strict = json!({ "policies": { "basic": format!("{BASIC}require_approvals: 2\n") } });
    door.put("/v1/policies", &door.admin, strict).await.is(200);
    let execute = format!("/v1/intents/{}/execute", first.text("intentId"));
    let held = door.post(&execute, &door.agent, json!({})).await.is(409);
    assert_eq!(held.text("error"), "policy_changed");
    let again = door.post_once(&approve, &door.reviewer, "y", &json!({})).await.is(200);
    assert_eq!((again.header("idempotency-replayed"), &again.body), ("true", &yes.body));
}

#[tokio::test]
async fn keys_are_per_credential_and_route() {
    let door = Door::policed(&[("basic", BASIC)]).await;
    let mut ids = std::collections::BTreeSet::new();
    for (path, key) in
        [("/v1/intents", &door.agent), ("/v1/propose", &door.agent), ("/v1/intents", &door.admin)]
    {
        let got = door.post_once(path, key, "same", &basic(5)).await.is(200);
        ids.insert(got.text("intentId").to_owned());
    }
    assert_eq!(ids.len(), 3);
}

#[tokio::test]
async fn unusable_header_values_are_refused() {
    let door = Door::policed(&[("basic", BASIC)]).await;
    for once in ["", "with space", &"x".repeat(256)] {
        let got = door.post_once("/v1/intents", &door.agent, once, &basic(5)).await.is(400);
        assert_eq!(got.text("field"), "Idempotency-Key", "{once:?}");
    }
    let longest = "x".repeat(255);
    door.post_once("/v1/intents", &door.agent, &longest, &basic(5)).await.is(200);
}

#[tokio::test]
async fn a_duplicate_is_replayed_as_the_duplicate_it_was() {
    let door = Door::policed(&[("basic", BASIC)]).await;
    let mut body = basic(500);
    body["idempotency_key"] = json!("idem-1");
    let first = door.post("/v1/intents", &door.agent, body.clone()).await.is(200);
    let second = door.post_once("/v1/intents", &door.agent, "k", &body).await.is(409);
    assert_eq!(second.text("status"), "duplicate_blocked");
    assert_eq!(
        second.text("blockReason"),
        "Duplicate intent — idempotency_key already used: idem-1"
    );
    assert_eq!(second.text("existingStatus"), "pending_approval");
    assert_eq!(second.body["gate"], Value::Null);
    let reject = format!("/v1/intents/{}/reject", first.text("intentId"));
    door.post(&reject, &door.reviewer, json!({})).await.is(200);
    let replay = door.post_once("/v1/intents", &door.agent, "k", &body).await.is(409);
    assert_eq!(replay.body, second.body);
    let fresh = door.post("/v1/intents", &door.agent, body).await.is(409);
    assert_eq!(fresh.text("existingStatus"), "blocked");
}

#[tokio::test]
async fn a_replayed_registration_shows_no_key() {
    let door = Door::open().await;
    let body = json!({ "name": "bot" });
    let path = "/v1/agents/register";
    let first = door.post_once(path, &door.admin, "reg", &body).await.is(201);
    let again = door.post_once(path, &door.admin, "reg", &body).await.is(201);
    assert_eq!(again.body["agent_id"], first.body["agent_id"]);
    assert!(first.body["apiKey"].is_string());
    assert_eq!(again.body["apiKey"], Value::Null);
}

#[tokio::test]
async fn every_change_of_a_principal_is_answered_again_and_done_once() {
    let door = Door::open().await;
    let (id, _) = door.register("bot", "agent").await;
    let agent = format!("/v1/agents/{id}");
    let cases = [
        ("suspend", json!({})),
        ("resume", json!({})),
        ("role", json!({ "role": "worker" })),
        ("rotate-key", json!({ "overlap_seconds": 60 })),
        ("revoke", json!({})),
    ];
    for (verb, body) in cases {
        let path = format!("{agent}/{verb}");
        let first = door.post_once(&path, &door.admin, verb, &body).await;
        assert!(matches!(first.status, 200 | 201), "{verb}: {}", first.body);
        // What a later change made of it does not show in the first answer.
        let (keys, size) = state_of(&door, &agent).await;
        let again = door.post_once(&path, &door.admin, verb, &body).await.is(first.status);
        assert_eq!(again.header("idempotency-replayed"), "true", "{verb}");
        assert_eq!(again.body["agent_id"], first.body["agent_id"], "{verb}");
        assert_eq!(again.body["key_id"], first.body["key_id"], "{verb}");
        assert_eq!(again.body["apiKey"], Value::Null, "{verb}");
        assert_eq!(state_of(&door, &agent).await, (keys, size), "{verb} was done twice");
        if body != json!({}) {
            let other = match verb {
                "role" => json!({ "role": "auditor" }),
                _ => json!({ "overlap_seconds": 61 }),
            };
            let other = door.post_once(&path, &door.admin, verb, &other).await.is(422);
            assert_eq!(other.text("error"), "idempotency_key_reused", "{verb}");
        }
    }
}

/// The keys of a principal and the size of the audit tree.
async fn state_of(door: &Door, agent: &str) -> (Value, Value) {
    let row = door.get(agent, &door.admin).await.is(200);
    let head = door.get("/v1/audit/checkpoint", &door.admin).await.is(200);
    (row.body["keys"].clone(), head.body["size"].clone())
}

#[tokio::test]
async fn a_replayed_namespace_names_its_first_admin_and_shows_no_key() {
    let door = Door::open().await;
    let body = json!({ "name": "team-b" });
    let first = door.post_once("/v1/namespaces", &door.admin, "ns", &body).await.is(201);
    let again = door.post_once("/v1/namespaces", &door.admin, "ns", &body).await.is(201);
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!(again.body["id"], first.body["id"]);
    assert_eq!(again.body["admin"]["agent_id"], first.body["admin"]["agent_id"]);
    assert!(first.body["admin"]["apiKey"].is_string());
    assert_eq!(again.body["admin"]["apiKey"], Value::Null);
    door.post("/v1/namespaces", &door.admin, body).await.is(409);
}
