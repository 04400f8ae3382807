//! Faults around calls: a gate that is killed while a target works, and targets that break off,
//! fail or are not there. Each ends in what can be proved, and windows follow that.

use client::Verdict;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpSocket;

use crate::support::node::{LOOPBACK, Node, eventually, refusal};
use crate::support::target::{Called, Target};

fn lead(number: usize) -> Value {
    json!({ "lead_id": format!("lead-{number}") })
}

fn document(target: &Target, more: &str) -> String {
    format!("kind: http\nrequest: {{url: \"{}\", timeout: 2m}}\n{more}", target.url("/calls"))
}

/// What is decided when the same is asked for again, and of which intent that is said.
async fn again(node: &Node, payload: &Value) -> (Verdict, String) {
    let intent = json!({ "resource": "phone.calls", "payload": payload });
    let submitted = node.agent.submit(&intent, None).await.unwrap();
    (submitted.verdict, submitted.id)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gate_that_is_killed_while_it_calls_is_in_doubt_and_a_person_ends_it() {
    let home = TempDir::new().unwrap();
    let mut target = Target::start().await;
    let mut node = Node::start(home.path(), LOOPBACK).await;
    node.put("destinations", "phone.calls", &document(&target, "")).await;
    let mut ids = Vec::new();
    for number in 0..3 {
        ids.push(node.submit("phone.calls", lead(number)).await);
    }
    let held = [target.next().await, target.next().await, target.next().await];
    node.kill_9();
    node.start_again().await;
    for (number, id) in ids.iter().enumerate() {
        let intent = node.in_phase(id, "in_doubt").await;
        assert_eq!((&intent["status"], &intent["effect"]), (&json!("in_doubt"), &Value::Null));
        assert_eq!(node.order(id, 1).await["status"], "in_doubt");
        assert_eq!(again(&node, &lead(number)).await, (Verdict::Duplicate, id.clone()));
    }
    drop(held);

    let cases = [
        // A person says, the intent is, and the same may be asked for again only then.
        (json!({"outcome": "failed", "effect": "none"}), "failed", Verdict::Allowed),
        (json!({"outcome": "failed", "effect": "unknown"}), "failed", Verdict::Duplicate),
        (json!({"outcome": "succeeded"}), "succeeded", Verdict::Duplicate),
    ];
    for (number, (mut word, phase, verdict)) in cases.into_iter().enumerate() {
        let id = &ids[number];
        let path = ["v1", "intents", id, "resolve"];
        word["reason"] = "the provider's list of calls".into();
        assert_eq!(refusal(node.agent.post(&path, &word).await).status, 403, "{word}");
        let resolved = node.reviewer.post(&path, &word).await.unwrap();
        assert_eq!(resolved.text("phase"), Some(phase), "{word}");
        let twice = refusal(node.reviewer.post(&path, &word).await);
        assert!(twice.status == 409 && twice.is("not_in_doubt"), "{twice}");
        assert_eq!(again(&node, &lead(number)).await.0, verdict, "{word}");
    }
    let called = target.next().await;
    assert_eq!(called.json(), lead(0));
    assert!(!ids.iter().any(|id| id == called.header("gate-intent")), "it is another intent");
    called.answer(200, "").await;
    node.stop();
    target.nothing_more().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_honours_the_key_is_called_again_with_it_and_a_newer_fence() {
    let home = TempDir::new().unwrap();
    let mut target = Target::start().await;
    let mut node = Node::start(home.path(), LOOPBACK).await;
    let document = document(&target, "idempotency: header\n");
    node.put("destinations", "phone.calls", &document).await;
    let id = node.submit("phone.calls", lead(1)).await;
    let first = target.next().await;
    node.kill_9();
    node.start_again().await;
    let second = target.next().await;
    for called in [&first, &second] {
        assert_eq!(called.header("idempotency-key"), id);
        assert_eq!((called.header("gate-intent"), called.json()), (&*id, lead(1)));
    }
    assert!(second.fence() > first.fence(), "{} after {}", second.fence(), first.fence());
    let fences = [first.fence(), second.fence()];
    drop(first);
    second.answer(200, "\"done\"").await;
    let intent = node.in_phase(&id, "succeeded").await;

    let claims = node.trail(&id, "execution_claimed").await;
    let claimed =
        |row: &Value| (row["metadata"]["attempt"].clone(), row["metadata"]["fence"].clone());
    let claimed: Vec<_> = claims.iter().map(claimed).collect();
    assert_eq!(claimed, [(json!(1), json!(fences[0])), (json!(2), json!(fences[1]))]);
    let (before, now) = (node.order(&id, 1).await, node.order(&id, 2).await);
    assert_eq!((&before["status"], &before["result"]), (&json!("in_doubt"), &Value::Null));
    assert_eq!((&now["status"], &now["attempt"]), (&json!("succeeded"), &json!(2)));
    assert_eq!(now["result"]["body"], "done");
    let kinds: Vec<_> = intent["auditTrail"].as_array().unwrap().iter().skip(3).collect();
    let kinds: Vec<_> = kinds.iter().map(|row| row["event_type"].as_str().unwrap()).collect();
    let expected =
        ["execution_claimed", "execution_in_doubt", "execution_claimed", "execution_succeeded"];
    assert_eq!(kinds, expected);
    assert_eq!(again(&node, &lead(1)).await, (Verdict::Duplicate, id));
    node.stop();
    target.nothing_more().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_call_that_did_nothing_ends_no_doubt_about_an_earlier_one() {
    let home = TempDir::new().unwrap();
    let mut target = Target::start().await;
    let mut node = Node::start(home.path(), LOOPBACK).await;
    let document = document(&target, "idempotency: header\nfailed_without_effect: [409]\n");
    node.put("destinations", "phone.calls", &document).await;
    let id = node.submit("phone.calls", lead(1)).await;
    // The phone may have rung before the connection broke.
    target.next().await.reset();
    target.next().await.answer(409, "").await;
    eventually("the second doubt", || async {
        (node.trail(&id, "execution_in_doubt").await.len() == 2).then_some(())
    })
    .await;
    let intent = node.in_phase(&id, "in_doubt").await;
    assert_eq!(intent["effect"], Value::Null);
    assert_eq!(again(&node, &lead(1)).await, (Verdict::Duplicate, id.clone()));
    target.next().await.answer(200, "").await;
    node.in_phase(&id, "succeeded").await;
    node.stop();
    target.nothing_more().await;
}

/// What a target does with a call.
enum Does {
    Answer(u16),
    Redirect,
    Reset,
}

impl Does {
    async fn with(&self, called: Called, target: &Target) {
        match self {
            Self::Answer(status) => called.answer(*status, "").await,
            Self::Redirect => {
                let to = format!("Location: {}\r\n", target.url("/elsewhere"));
                called.answer_with(307, &to, "").await;
            }
            Self::Reset => called.reset(),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[rustfmt::skip]
async fn only_what_proves_that_nothing_happened_is_a_failure_without_effect() {
    let home = TempDir::new().unwrap();
    let mut target = Target::start().await;
    let mut node = Node::start(home.path(), LOOPBACK).await;
    let document = document(&target, "failed_without_effect: [409, 420-429]\n");
    node.put("destinations", "phone.calls", &document).await;
    let cases = [
        // The target does, the intent is, with effect, the same may be asked for again.
        (Does::Reset,       "in_doubt",  Value::Null,   Verdict::Duplicate),
        (Does::Answer(500), "in_doubt",  Value::Null,   Verdict::Duplicate),
        (Does::Answer(400), "in_doubt",  Value::Null,   Verdict::Duplicate),
        (Does::Redirect,    "in_doubt",  Value::Null,   Verdict::Duplicate),
        (Does::Answer(409), "failed",    json!("none"), Verdict::Allowed),
        (Does::Answer(422), "failed",    json!("none"), Verdict::Allowed),
        (Does::Answer(204), "succeeded", Value::Null,   Verdict::Duplicate),
    ];
    for (number, (does, phase, effect, verdict)) in cases.into_iter().enumerate() {
        let id = node.submit("phone.calls", lead(number)).await;
        let called = target.next().await;
        assert_eq!(called.path, "/calls");
        does.with(called, &target).await;
        let intent = node.in_phase(&id, phase).await;
        assert_eq!(intent["effect"], effect, "case {number}");
        let (next, other) = again(&node, &lead(number)).await;
        assert_eq!(next, verdict, "case {number}");
        if next == Verdict::Allowed {
            assert_ne!(other, id, "case {number}");
            target.next().await.answer(200, "").await;
            node.in_phase(&other, "succeeded").await;
        } else {
            assert_eq!(other, id, "case {number}");
        }
    }
    node.stop();
    target.nothing_more().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_is_not_there_is_tried_again_and_then_given_up_without_effect() {
    let home = TempDir::new().unwrap();
    let mut node = Node::start(home.path(), LOOPBACK).await;
    // Bound and not listening: connections are refused, and nobody else takes the port.
    let socket = |name: &'static str| {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let url = format!("http://{}/calls", socket.local_addr().unwrap());
        (name, socket, format!("kind: http\nrequest: {{url: \"{url}\"}}\n"))
    };
    let (never, closed, document) = socket("phone.never");
    node.put("destinations", never, &document).await;
    let given_up = node.submit(never, lead(1)).await;
    let (late, late_socket, document) = socket("phone.late");
    node.put("destinations", late, &document).await;
    let waits = node.submit(late, lead(1)).await;
    eventually("the claim", || async {
        let body = node.agent.intent(&waits).await.unwrap().body;
        (body["phase"] == "claimed").then_some(())
    })
    .await;
    let mut target = Target::on(late_socket.listen(8).unwrap());
    let called = target.next().await;
    assert_eq!(called.header("gate-intent"), waits);
    called.answer(200, "").await;
    node.in_phase(&waits, "succeeded").await;
    assert_eq!(node.order(&waits, 1).await["attempt"], 1, "nothing was written before");

    let intent = node.in_phase(&given_up, "failed").await;
    assert_eq!(intent["effect"], "none");
    let order = node.order(&given_up, 1).await;
    let why = order["result"]["error"].as_str().unwrap();
    assert!(why.contains("no connection"), "{why}");
    let mut found = Target::on(closed.listen(8).unwrap());
    let next = node.submit(never, lead(1)).await;
    let called = found.next().await;
    assert_eq!(called.header("gate-intent"), next);
    called.answer(200, "").await;
    node.in_phase(&next, "succeeded").await;
    node.stop();
    target.nothing_more().await;
    found.nothing_more().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_on_its_way_ends_before_its_node_does_and_no_other_begins() {
    let home = TempDir::new().unwrap();
    let mut target = Target::start().await;
    let mut node = Node::start(home.path(), LOOPBACK).await;
    let document = format!(
        "kind: http\nconcurrency: 1\nrequest: {{url: \"{}\", timeout: 2m}}\n",
        target.url("/")
    );
    node.put("destinations", "phone.calls", &document).await;
    let first = node.submit("phone.calls", lead(1)).await;
    let called = target.next().await;
    let second = node.submit("phone.calls", lead(2)).await;
    node.ask_to_stop();
    node.door_closed().await;
    called.answer(200, "").await;
    node.stopped();
    target.nothing_more().await;

    node.start_again().await;
    let next = target.next().await;
    assert_eq!(next.header("gate-intent"), second);
    next.answer(200, "").await;
    let intent = node.in_phase(&first, "succeeded").await;
    assert!(!intent["auditTrail"].to_string().contains("execution_in_doubt"), "{intent}");
    node.in_phase(&second, "succeeded").await;

    // A node that may not wait leaves the doubt that it was told to leave.
    let third = node.submit("phone.calls", lead(3)).await;
    target.next().await.answer(200, "").await;
    node.in_phase(&third, "succeeded").await;
    node.stop();
    node.configure(|text| text + "executor_drain_seconds: 0\n");
    node.start_again().await;
    let left = node.submit("phone.calls", lead(4)).await;
    let called = target.next().await;
    node.stop();
    node.start_again().await;
    node.in_phase(&left, "in_doubt").await;
    assert!(node.metric("gate_in_doubt_age_seconds") >= 0.0);
    drop(called);
    node.stop();
    target.nothing_more().await;
}
