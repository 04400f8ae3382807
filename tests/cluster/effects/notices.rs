//! Notifications: webhooks that agents register and channels of admins, signed, sent again under
//! the same id, and not lost with the process that was to send them.

use client::Decision;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use tempfile::TempDir;

use crate::support::node::{LOOPBACK, Node, eventually, refusal};
use crate::support::target::{Called, Target};

const SECRET: &str = "whsec-4711";

/// The time of a request's signature, which must be that of its body.
fn signed_at(called: &Called, secret: &str) -> u64 {
    let signature = called.header("x-gate-signature");
    let parts = signature.strip_prefix("t=").and_then(|rest| rest.split_once(",v1="));
    let (time, hex) = parts.unwrap_or_else(|| panic!("no signature: {signature:?}"));
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("{time}.{}", called.body).as_bytes());
    let made: String =
        mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, made, "the signature is of another body or secret");
    time.parse().unwrap()
}

fn because(reason: &str) -> Decision {
    Decision { digest: None, reason: Some(reason.into()) }
}

async fn register(node: &Node, id: &str, url: &str, secret: Value) {
    let body = json!({ "intentId": id, "url": url, "secret": secret });
    node.agent.post(&["v1", "webhooks", "register"], &body).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_is_sent_again_under_its_id_also_by_the_next_process() {
    let home = TempDir::new().unwrap();
    let mut sink = Target::start().await;
    let mut node = Node::start(home.path(), LOOPBACK).await;
    let id = node.submit("crm.contacts", json!({ "id": 1 })).await;
    register(&node, &id, &sink.url("/hook"), SECRET.into()).await;
    node.reviewer.approve(&id, &because("checked")).await.unwrap();

    let first = sink.next().await;
    assert_eq!((first.method.as_str(), first.path.as_str()), ("POST", "/hook"));
    assert_eq!(first.header("content-type"), "application/json");
    let first_at = signed_at(&first, SECRET);
    let body = first.json();
    let keys: Vec<&str> = body.as_object().unwrap().keys().map(String::as_str).take(7).collect();
    let known = ["intentId", "event", "actor", "firedAt", "deliveryId", "attempt", "approver"];
    assert_eq!(keys, known);
    assert_eq!((&body["intentId"], &body["event"]), (&json!(id), &json!("approved")));
    assert_eq!((&body["actor"], &body["attempt"]), (&json!("the-reviewer"), &json!(1)));
    let delivery = body["deliveryId"].clone();
    assert_eq!(delivery, first.header("x-gate-delivery-id"));
    first.answer(500, "not now").await;
    let failed = node.trail(&id, "webhook_attempt_failed").await;
    assert_eq!(failed[0]["metadata"]["deliveryId"], delivery);
    assert_eq!(failed[0]["metadata"]["error"], "the receiver answered 500");
    node.kill_9();
    node.start_again().await;

    let second = sink.next().await;
    assert!(signed_at(&second, SECRET) >= first_at + 5_000, "it is signed anew, 5 s later");
    let mut expected = body;
    expected["attempt"] = 2.into();
    assert_eq!(second.json(), expected);
    assert_eq!(delivery, second.header("x-gate-delivery-id"));
    second.answer(204, "").await;
    let delivered = node.trail(&id, "webhook_delivered").await;
    assert_eq!(delivered[0]["metadata"]["attempts"], 2);
    let intent = node.agent.intent(&id).await.unwrap().body;
    assert_eq!(intent["phase"], "allowed", "what receivers do changes nothing about an intent");
    node.stop();
    sink.nothing_more().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejection_is_told_and_a_redirect_is_not_followed() {
    let home = TempDir::new().unwrap();
    let mut sink = Target::start().await;
    let mut node = Node::start(home.path(), LOOPBACK).await;
    let id = node.submit("crm.contacts", json!({ "id": 1 })).await;
    let stranger = node.register("agent").await;
    let hook = json!({ "intentId": id, "url": sink.url("/theirs") });
    let refused = refusal(stranger.post(&["v1", "webhooks", "register"], &hook).await);
    assert_eq!(refused.status, 403, "{refused}");
    register(&node, &id, &sink.url("/first"), Value::Null).await;
    register(&node, &id, &sink.url("/hook"), Value::Null).await;
    node.reviewer.reject(&id, &because("would blank good values")).await.unwrap();

    let called = sink.next().await;
    assert_eq!((called.path.as_str(), called.header("x-gate-signature")), ("/hook", ""));
    let body = called.json();
    assert_eq!((&body["event"], &body["status"]), (&json!("rejected"), &json!("blocked")));
    assert_eq!((&body["rejector"], &body["actor"]), (&json!("the-reviewer"), &body["rejector"]));
    assert_eq!(body["reason"], "would blank good values");
    let elsewhere = format!("Location: {}\r\n", sink.url("/elsewhere"));
    called.answer_with(302, &elsewhere, "").await;
    let failed = node.trail(&id, "webhook_attempt_failed").await;
    assert_eq!(failed[0]["metadata"]["error"], "the receiver answered 302");

    // Decided already: a later registration is taken and never told.
    let other = node.submit("crm.contacts", json!({ "id": 2 })).await;
    node.reviewer.reject(&other, &because("no")).await.unwrap();
    register(&node, &other, &sink.url("/late"), Value::Null).await;
    let again = sink.next().await;
    assert_eq!((again.path.as_str(), &again.json()["attempt"]), ("/hook", &json!(2)));
    again.answer(200, "").await;
    node.trail(&id, "webhook_delivered").await;
    node.stop();
    sink.nothing_more().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn channels_are_told_what_they_ask_for_and_their_deliveries_are_listed() {
    let home = TempDir::new().unwrap();
    let mut slack = Target::start().await;
    let mut hook = Target::start().await;
    std::fs::write(home.path().join("slack.url"), slack.url("/services/T0/B0/canary")).unwrap();
    std::fs::write(home.path().join("signing"), SECRET).unwrap();
    let more = format!(
        "{LOOPBACK}secrets:\n  slack_url: {{file: slack.url, hosts: [127.0.0.1]}}\n  \
         signing: {{file: signing, hosts: [127.0.0.1]}}\n"
    );
    let mut node = Node::start(home.path(), &more).await;
    let people = "kind: slack\nurl: ${secret:slack_url}\nevents: [held, in_doubt]\n";
    node.put("channels", "people", people).await;
    let programs = format!(
        "kind: webhook\nurl: {}\nsecret: ${{secret:signing}}\nevents: [approved, executed]\n\
         resources: [\"crm.*\"]\n",
        hook.url("/gate")
    );
    node.put("channels", "programs", &programs).await;

    let id = node.submit("crm.contacts", json!({ "id": 1 })).await;
    let told = slack.next().await;
    assert_eq!(told.path, "/services/T0/B0/canary");
    assert_eq!(told.json()["text"], "Held for approval: crm.contacts");
    let text = told.json()["blocks"].to_string();
    assert!(text.contains(&id) && text.contains("Policy requires human approval"), "{text}");
    told.answer(200, "ok").await;
    node.reviewer.approve(&id, &because("checked")).await.unwrap();
    let told = hook.next().await;
    signed_at(&told, SECRET);
    let (event, delivery) = (told.json()["event"].clone(), told.json()["deliveryId"].clone());
    assert_eq!(event, "approved");
    told.answer(200, "").await;
    // What no channel asks for is told to nobody.
    node.submit("phone.calls", json!({ "lead_id": "1" })).await;

    for (channel, event) in [("people", "held"), ("programs", "approved")] {
        let path = ["v1", "channels", channel, "deliveries"];
        let body = eventually("a delivery that is done", || async {
            let body = node.admin.get(&path).await.unwrap().body;
            (body["deliveries"][0]["status"] == "delivered").then_some(body)
        })
        .await;
        let row = &body["deliveries"][0];
        assert_eq!((&body["count"], &row["attempts"]), (&json!(1), &json!(1)), "{body}");
        assert_eq!((&row["event"], &row["intent_id"]), (&json!(event), &json!(id)), "{body}");
        assert_eq!((&row["error"], &row["next_attempt_at"]), (&Value::Null, &Value::Null));
        assert!(!body.to_string().contains("canary"), "{body}");
        assert_eq!(row["id"] == delivery, channel == "programs", "{body}");
        assert_eq!(refusal(node.agent.get(&path).await).status, 403);
    }
    node.stop();
    assert!(!node.log().contains("canary"), "a url that is a secret is not logged");
    slack.nothing_more().await;
    hook.nothing_more().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn why_nothing_was_delivered_shows_no_file_and_no_name_of_a_secret() {
    let home = TempDir::new().unwrap();
    let mut sink = Target::start().await;
    let declared = "secrets: {hook_signing: {file: crm.key, hosts: [127.0.0.1]}}\n";
    let mut node = Node::start(home.path(), &format!("{LOOPBACK}{declared}")).await;
    let channel = format!(
        "kind: webhook\nurl: {}\nsecret: ${{secret:hook_signing}}\nevents: [held]\n",
        sink.url("/gate")
    );
    node.put("channels", "ops", &channel).await;
    let id = node.submit("crm.contacts", json!({ "id": 1 })).await;
    let failed = node.trail(&id, "webhook_attempt_failed").await;
    assert_eq!(failed[0]["metadata"]["error"], "secret_unavailable");
    let trail = node.agent.get(&["v1", "intents", &id, "audit"]).await.unwrap().body.to_string();
    for private in ["crm.key", "hook_signing"] {
        assert!(!trail.contains(private), "{trail}");
        assert!(node.log().contains(private), "whoever runs the node must find it");
    }
    assert_eq!(node.metric("gate_secrets_unavailable_total{by=\"notifier\"}"), 1.0);
    let attempts = "gate_delivery_attempts_total{receiver=\"channel\",outcome=";
    assert_eq!(node.metric(&format!("{attempts}\"failed\"}}")), 1.0);
    // The next attempt looks again.
    std::fs::write(home.path().join("crm.key"), SECRET).unwrap();
    let told = sink.next().await;
    signed_at(&told, SECRET);
    told.answer(200, "").await;
    node.trail(&id, "webhook_delivered").await;
    assert_eq!(node.metric(&format!("{attempts}\"delivered\"}}")), 1.0);
    node.stop();
    sink.nothing_more().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_another_data_key_sealed_is_not_told_unsigned() {
    let home = TempDir::new().unwrap();
    let mut sink = Target::start().await;
    let mut node = Node::start(home.path(), LOOPBACK).await;
    let id = node.submit("crm.contacts", json!({ "id": 1 })).await;
    register(&node, &id, &sink.url("/hook"), SECRET.into()).await;
    node.stop();
    std::fs::write(home.path().join("data.key"), "7".repeat(64)).unwrap();
    node.start_again().await;
    node.reviewer.approve(&id, &because("checked")).await.unwrap();
    let failed = node.trail(&id, "webhook_attempt_failed").await;
    let why = failed[0]["metadata"]["error"].as_str().unwrap();
    assert!(why.contains("secret cannot be opened") && why.contains("register it again"), "{why}");
    register(&node, &id, &sink.url("/hook"), SECRET.into()).await;
    let told = sink.next().await;
    signed_at(&told, SECRET);
    told.answer(200, "").await;
    node.stop();
    sink.nothing_more().await;
}
