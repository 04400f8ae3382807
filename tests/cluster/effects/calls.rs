//! Calls of a gate that nothing disturbs: when they are made, once, with what in them.

use client::Verdict;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::node::{LOOPBACK, Node, refusal};
use crate::support::target::Target;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_allowed_is_called_once_and_its_answer_is_kept() {
    let home = TempDir::new().unwrap();
    let mut target = Target::start().await;
    let mut node = Node::start(home.path(), LOOPBACK).await;
    let url = target.url("/calls/{{ intent.id }}");
    let document = format!(
        "kind: http\nrequest:\n  url: \"{url}\"\n  \
         headers: {{X-Agent: \"{{{{ intent.agent }}}}\"}}\n  \
         body: '{{\"lead\": {{{{ payload.lead_id | tojson }}}}, \
         \"price\": {{{{ payload.price }}}}}}'\n"
    );
    node.put("destinations", "phone.calls", &document).await;
    let payload = json!({ "lead_id": "lead \"7\"", "price": 0.1 });
    let id = node.submit("phone.calls", payload.clone()).await;

    let called = target.next().await;
    assert_eq!((called.method.as_str(), called.path.as_str()), ("POST", &*format!("/calls/{id}")));
    assert_eq!(called.body, r#"{"lead": "lead \"7\"", "price": 0.1}"#);
    assert_eq!(called.header("gate-intent"), id);
    assert_eq!(called.header("x-agent"), "the-agent");
    assert_eq!(called.header("content-type"), "application/json");
    assert_eq!(called.header("idempotency-key"), "", "the target does not honour it");
    let fence = called.fence();
    let intent = node.agent.intent(&id).await.unwrap().body;
    assert_eq!((&intent["phase"], &intent["status"]), (&json!("claimed"), &json!("scheduled")));
    called.answer(201, r#"{"call": 4711}"#).await;

    let intent = node.in_phase(&id, "succeeded").await;
    assert_eq!(intent["status"], "succeeded");
    let order = node.order(&id, 1).await;
    let kept = json!({ "http_status": 201, "body": { "call": 4711 }, "truncated": false });
    assert_eq!((&order["status"], &order["result"]), (&json!("succeeded"), &kept));
    assert_eq!((&order["fence"], &order["attempt"]), (&json!(fence), &json!(1)));
    assert_eq!(order["execution_token"], Value::Null, "the gate itself has no token");
    let kinds: Vec<_> = rows(&intent).map(|row| row["event_type"].as_str().unwrap()).collect();
    let expected =
        ["proposed", "policy_checked", "approved", "execution_claimed", "execution_succeeded"];
    assert_eq!(kinds, expected);
    let actors: Vec<_> = rows(&intent).skip(3).map(|row| row["actor"].as_str().unwrap()).collect();
    assert_eq!(actors, ["executor", "executor"]);

    let again = json!({ "resource": "phone.calls", "payload": payload });
    let again = node.agent.submit(&again, None).await.unwrap();
    assert_eq!((again.verdict, again.id), (Verdict::Duplicate, id));
    node.stop();
    target.nothing_more().await;
}

fn rows(intent: &Value) -> impl Iterator<Item = &Value> {
    intent["auditTrail"].as_array().unwrap().iter()
}

#[tokio::test(flavor = "multi_thread")]
async fn on_request_is_called_when_its_agent_says_so() {
    let home = TempDir::new().unwrap();
    let mut target = Target::start().await;
    let mut node = Node::start(home.path(), LOOPBACK).await;
    let document = |path: &str, execute: &str| {
        format!("kind: http\nexecute: {execute}\nrequest: {{url: \"{}\"}}\n", target.url(path))
    };
    node.put("destinations", "phone.later", &document("/later", "on_request")).await;
    node.put("destinations", "phone.calls", &document("/at-once", "on_approval")).await;
    let later = node.submit("phone.later", json!({ "lead_id": "1" })).await;
    let at_once = node.submit("phone.calls", json!({ "lead_id": "1" })).await;
    // What was asked for first would have been called first.
    let called = target.next().await;
    assert_eq!((called.path.as_str(), called.header("gate-intent")), ("/at-once", &*at_once));
    called.answer(200, "").await;
    node.in_phase(&at_once, "succeeded").await;
    let intent = node.agent.intent(&later).await.unwrap().body;
    assert_eq!((&intent["phase"], &intent["status"]), (&json!("allowed"), &json!("approved")));

    let execute = ["v1", "intents", &later, "execute"];
    let stranger = node.register("agent").await;
    assert_eq!(refusal(stranger.post(&execute, &json!({})).await).status, 403);
    let order = node.agent.post(&execute, &json!({})).await.unwrap();
    assert_eq!((order.status, order.text("mode")), (201, Some("gate_exec")));
    assert_eq!(order.body["execution_token"], Value::Null);
    let called = target.next().await;
    assert_eq!((called.path.as_str(), called.header("gate-intent")), ("/later", &*later));
    assert_eq!(order.body["fence"], called.fence());
    let second = refusal(node.agent.post(&execute, &json!({})).await);
    assert_eq!((second.status, &second.body["status"]), (409, &json!("scheduled")));
    let report = ["v1", "executions", order.text("executionId").unwrap(), "report"];
    let report = refusal(node.agent.post(&report, &json!({ "status": "succeeded" })).await);
    assert_eq!(report.status, 409, "the gate runs it: {report}");
    called.answer(200, "").await;
    node.in_phase(&later, "succeeded").await;
    let after = refusal(node.agent.post(&execute, &json!({})).await);
    assert_eq!((after.status, &after.body["status"]), (409, &json!("succeeded")));
    node.stop();
    target.nothing_more().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_that_takes_its_time_holds_up_no_other() {
    // More than one round of the executor looks at.
    const WAITING: usize = 4_200;
    let home = TempDir::new().unwrap();
    let mut target = Target::start().await;
    let mut node = Node::start(home.path(), LOOPBACK).await;
    let document = |path: &str| {
        let url = target.url(path);
        format!("kind: http\nconcurrency: 2\nrequest: {{url: \"{url}\", timeout: 2m}}\n")
    };
    node.put("destinations", "phone.slow", &document("/slow")).await;
    node.put("destinations", "phone.calls", &document("/calls")).await;
    let mut submitting = Vec::new();
    for part in 0..40 {
        let agent = node.agent.clone();
        submitting.push(tokio::spawn(async move {
            for lead in (part..WAITING).step_by(40) {
                let payload = json!({ "lead_id": lead });
                let intent = json!({ "resource": "phone.slow", "payload": payload });
                agent.submit(&intent, None).await.unwrap();
            }
        }));
    }
    for part in submitting {
        part.await.unwrap();
    }
    let slow = [target.next().await, target.next().await];
    let id = node.submit("phone.calls", json!({ "lead_id": "last of all" })).await;
    let called = target.next().await;
    assert_eq!((called.path.as_str(), called.header("gate-intent")), ("/calls", &*id));
    called.answer(200, "").await;
    node.in_phase(&id, "succeeded").await;
    // Two at a time, and the next only when one has ended.
    let [first, second] = slow;
    assert!(first.path == "/slow" && second.path == "/slow");
    first.answer(200, "").await;
    let third = target.next().await;
    assert_eq!(third.path, "/slow");
    node.kill_9();
    target.nothing_more().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_calls_its_own_machine_only_where_its_configuration_says_so() {
    let home = TempDir::new().unwrap();
    let mut target = Target::start().await;
    let mut node = Node::start(home.path(), "").await;
    let document = format!("kind: http\nrequest: {{url: \"{}\"}}\n", target.url("/"));
    node.put("destinations", "phone.calls", &document).await;
    let id = node.submit("phone.calls", json!({ "lead_id": "1" })).await;
    let intent = node.in_phase(&id, "failed").await;
    assert_eq!(intent["effect"], "none");
    let order = node.order(&id, 1).await;
    let why = order["result"]["error"].as_str().unwrap();
    assert!(why.contains("nothing was sent") && why.contains("configuration"), "{why}");
    assert!(!order.to_string().contains("127.0.0.1"), "addresses are for the log: {order}");
    assert!(node.log().contains("127.0.0.1 is a loopback address"), "{}", node.log());
    node.submit("phone.calls", json!({ "lead_id": "1" })).await;
    node.stop();
    target.nothing_more().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_admins_may_reach_is_closed_to_the_webhooks_of_agents() {
    let home = TempDir::new().unwrap();
    let mut target = Target::start().await;
    let mut node = Node::start(home.path(), "outbound: {allow: [\"127.0.0.0/8\"]}\n").await;
    let document = format!("kind: http\nrequest: {{url: \"{}\"}}\n", target.url("/calls"));
    node.put("destinations", "phone.calls", &document).await;
    let channel = format!("kind: webhook\nurl: \"{}\"\nevents: [held]\n", target.url("/ops"));
    node.put("channels", "ops", &channel).await;
    let id = node.submit("phone.calls", json!({ "lead_id": "1" })).await;
    target.next().await.answer(200, "").await;
    node.in_phase(&id, "succeeded").await;
    let held = node.submit("crm.contacts", json!({ "id": 1 })).await;
    let told = target.next().await;
    assert_eq!(told.path, "/ops");
    told.answer(200, "").await;
    let local = target.url("/hook").replace("127.0.0.1", "localhost");
    for url in [target.url("/hook"), local, "http://[::ffff:127.0.0.1]:1/".into()] {
        let hook = json!({ "intentId": held, "url": url });
        let refused = refusal(node.agent.post(&["v1", "webhooks", "register"], &hook).await);
        assert!(refused.status == 400 && refused.is("invalid_request"), "{url}: {refused}");
        assert!(refused.message.contains("is a loopback address"), "{refused}");
    }
    node.reviewer.approve(&held, &client::Decision::default()).await.unwrap();
    node.in_phase(&held, "allowed").await;
    let trail = node.admin.get(&["v1", "intents", &held, "audit"]).await.unwrap();
    assert!(!trail.body.to_string().contains("webhook_registered"), "{}", trail.body);
    node.stop();
    target.nothing_more().await;
}
