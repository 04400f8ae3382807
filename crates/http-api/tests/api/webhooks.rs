//! Webhooks over HTTP: who may register one, for what, and what is answered.

use serde_json::{Value, json};

use crate::support::{BASIC, Door, basic};

const URL: &str = "http://127.0.0.1:9/hook";

#[tokio::test]
async fn a_webhook_is_registered_and_keeps_its_id() {
    let door = Door::policed(&[("basic", BASIC)]).await;
    let id = door.submit(basic(500)).await;
    let body = json!({"intentId": id, "url": URL, "secret": "canary-secret"});
    let first = door.post("/v1/webhooks/register", &door.agent, body).await.is(200);
    assert_eq!(first.body["registered"], true);
    assert_eq!((first.text("intentId"), first.text("url")), (id.as_str(), URL));
    assert!(first.text("webhookId").starts_with("whk_"));
    // The older spelling, null for what is not said, by a reviewer.
    let again = json!({"proposalId": id, "url": "https://b.example/x", "secret": null});
    let again = door.post("/v1/webhooks/register", &door.reviewer, again).await.is(200);
    assert_eq!(again.text("webhookId"), first.text("webhookId"));
    let trail = door.get(&format!("/v1/intents/{id}/audit"), &door.agent).await.is(200);
    let text = trail.body.to_string();
    assert!(text.contains("webhook_registered") && !text.contains("canary-secret"));
}

#[tokio::test]
#[rustfmt::skip]
async fn what_is_missing_or_wrong_is_named() {
    let door = Door::policed(&[("basic", BASIC)]).await;
    let id = door.submit(basic(500)).await;
    let unknown = "int_0000000000000001";
    let private = json!({"intentId": id, "url": "http://10.0.0.7/hook"});
    let refused = door.post("/v1/webhooks/register", &door.agent, private).await.is(400);
    assert_eq!(refused.text("message"), "$.url: 10.0.0.7 is a private address");
    assert_eq!(refused.text("field"), "$.url");
    let cases: [(Value, u16, &str); 8] = [
        (json!({}),                                   400, "intentId and url are required"),
        (json!({"intentId": id}),                     400, "intentId and url are required"),
        (json!({"url": URL}),                         400, "intentId and url are required"),
        (json!({"intentId": id, "url": "ftp://a/"}),  400, "invalid_request"),
        (json!({"intentId": id, "url": 7}),           400, "invalid_request"),
        (json!({"intentId": id, "url": URL, "secret": ["a"]}), 400, "invalid_request"),
        (json!({"intentId": unknown, "url": URL}),    404, "Intent not found"),
        (json!({"intentId": "x", "url": URL}),        404, "Intent not found"),
    ];
    for (body, status, error) in cases {
        let got = door.post("/v1/webhooks/register", &door.agent, body.clone()).await.is(status);
        assert_eq!(got.text("error"), error, "{body}");
    }
}

#[tokio::test]
async fn another_agents_intent_is_not_ones_own() {
    let door = Door::policed(&[("basic", BASIC)]).await;
    let id = door.submit(basic(500)).await;
    let (_, other) = door.register("other", "agent").await;
    let body = json!({"intentId": id, "url": URL});
    door.post("/v1/webhooks/register", &other, body.clone()).await.is(403);
    door.post("/v1/webhooks/register", "", body).await.is(401);
}
