//! Freezes while calls are on their way, wait for a connection, or have not begun: what had started
//! is named, and nothing else starts before the freeze has ended.

use std::process::Output;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpSocket;

use crate::support::node::{LOOPBACK, Node, eventually};
use crate::support::target::Target;

/// What a command that ended well printed as JSON.
#[track_caller]
fn printed(output: &Output) -> Value {
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).expect("it is JSON")
}

fn freeze(node: &Node, words: &[&str]) -> Value {
    let words = [&["--output", "json", "freeze"], words, &["--reason", "vendor outage"]].concat();
    printed(&node.qgate(&node.keys[0], &words))
}

fn unfreeze(node: &Node, freeze: &Value) {
    let id = freeze["id"].as_str().expect("an id");
    let ended = printed(&node.qgate(&node.keys[0], &["--output", "json", "unfreeze", id]));
    assert_eq!(ended["ended"], json!(true));
}

fn running(freeze: &Value) -> Vec<&str> {
    let calls = freeze["running"].as_array().expect("a list").iter();
    calls.map(|call| call["intent_id"].as_str().expect("an id")).collect()
}

fn lead(number: usize) -> Value {
    json!({ "lead_id": format!("lead-{number}") })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_freeze_names_what_is_on_its_way_and_nothing_else_starts_before_it_ends() {
    let home = TempDir::new().unwrap();
    let mut target = Target::start().await;
    let mut node = Node::start(home.path(), LOOPBACK).await;
    let document = format!("kind: http\nrequest: {{url: \"{}\", timeout: 2m}}\n", target.url("/"));
    node.put("destinations", "phone.calls", &document).await;
    let started = node.submit("phone.calls", lead(1)).await;
    let called = target.next().await;
    let frozen = freeze(&node, &["resource", "phone.*"]);
    assert_eq!((&frozen["settled"], running(&frozen)), (&json!(true), vec![&*started]));
    let waits = node.submit("phone.calls", lead(2)).await;
    let intent = node.agent.intent(&waits).await.unwrap().body;
    assert_eq!((&intent["phase"], &intent["held_back"]), (&json!("allowed"), &json!("frozen")));
    assert_eq!(intent["frozen_by"], frozen["id"]);
    called.answer(200, "").await;
    node.in_phase(&started, "succeeded").await;

    // It holds over the end of the process, and over that of the leader with it.
    node.kill_9();
    node.start_again().await;
    let listed = printed(&node.qgate(&node.keys[0], &["--output", "json", "freeze", "--list"]));
    assert_eq!(listed["freezes"][0]["id"], frozen["id"]);
    let elsewhere = node.submit("phone.other", lead(3)).await;
    assert_eq!(node.agent.intent(&elsewhere).await.unwrap().body["held_back"], json!("frozen"));
    target.nothing_more().await;
    unfreeze(&node, &frozen);
    let called = target.next().await;
    assert_eq!(called.header("gate-intent"), waits);
    called.answer(200, "").await;
    let intent = node.in_phase(&waits, "succeeded").await;
    assert_eq!((&intent["held_back"], &intent["frozen_by"]), (&Value::Null, &Value::Null));
    node.stop();
    target.nothing_more().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claimed_call_that_waits_for_a_connection_is_taken_back_and_made_after_the_freeze() {
    let home = TempDir::new().unwrap();
    let mut node = Node::start(home.path(), LOOPBACK).await;
    // Bound and not listening: connections are refused, and nobody else takes the port.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("http://{}/calls", socket.local_addr().unwrap());
    node.put("destinations", "phone.calls", &format!("kind: http\nrequest: {{url: \"{url}\"}}\n"))
        .await;
    let id = node.submit("phone.calls", lead(1)).await;
    eventually("the claim", || async {
        let body = node.agent.intent(&id).await.unwrap().body;
        (body["phase"] == "claimed").then_some(())
    })
    .await;
    let frozen = freeze(&node, &["destination", "phone.calls"]);
    assert_eq!(running(&frozen), Vec::<&str>::new(), "it had not started");
    let mut target = Target::on(socket.listen(8).unwrap());
    assert_eq!(node.trail(&id, "execution_given_back").await.len(), 1);
    assert_eq!(node.agent.intent(&id).await.unwrap().body["phase"], json!("allowed"));
    target.nothing_more().await;
    unfreeze(&node, &frozen);
    let called = target.next().await;
    assert_eq!(called.header("gate-intent"), id);
    called.answer(200, "").await;
    node.in_phase(&id, "succeeded").await;
    node.stop();
    target.nothing_more().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_frozen_for_a_while_goes_on_by_itself() {
    let home = TempDir::new().unwrap();
    let mut target = Target::start().await;
    let mut node = Node::start(home.path(), LOOPBACK).await;
    let document = format!("kind: http\nrequest: {{url: \"{}\"}}\n", target.url("/"));
    node.put("destinations", "phone.calls", &document).await;
    freeze(&node, &["namespace", "--for", "2s"]);
    let id = node.submit("phone.calls", lead(1)).await;
    let called = target.next().await;
    assert_eq!(called.header("gate-intent"), id);
    called.answer(200, "").await;
    node.in_phase(&id, "succeeded").await;
    let listed = printed(&node.qgate(&node.keys[0], &["--output", "json", "freeze", "--list"]));
    assert_eq!(listed["count"], json!(0));
    node.stop();
    target.nothing_more().await;
}
