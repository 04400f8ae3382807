//! Secrets by name: where they are not to be had nothing is claimed, and where they are used their
//! value reaches the target and nothing else.

use std::fs;
use std::path::Path;

use serde_json::json;
use tempfile::TempDir;

use crate::support::node::{LOOPBACK, Node, eventually};
use crate::support::target::Target;

/// The value, which must be found nowhere but at the target.
const CANARY: &str = "canary-c5a1e0d2-4711";
/// A word of the payload, which must be found where the value is looked for.
const MARKER: &str = "marker-93b0f7aa-4711";

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_waited_for_and_reaches_its_target_only() {
    let home = TempDir::new().unwrap();
    let mut target = Target::start().await;
    // Beside the node's directory: all that lies in that is searched for the value.
    let vault = TempDir::new().unwrap();
    let source = vault.path().join("phone.token");
    let declared = json!({
        "phone_token": { "file": source, "hosts": ["127.0.0.1"] },
        "of_another": { "file": source, "hosts": ["phone.example"] },
    });
    let more = format!("{LOOPBACK}secrets: {declared}\nlog: {{filter: \"debug,openraft=warn\"}}\n");
    let mut node = Node::start(home.path(), &more).await;

    let document = |name: &str| {
        format!(
            "kind: http\nfailed_without_effect: [409]\nrequest:\n  url: \"{}\"\n  headers: \
             {{Authorization: \"Bearer ${{secret:{name}}}\"}}\n",
            target.url("/calls?token=${secret:phone_token}")
        )
    };
    let refused = node.refused("destinations", "phone.calls", &document("nobody_knows")).await;
    assert!(refused.status == 400 && refused.is("invalid_destination"), "{refused}");
    assert!(refused.message.contains("`nobody_knows` is not declared"), "{refused}");
    assert_eq!(refused.body["line"], 5, "{refused}");

    // Here it would wait for ever.
    let refused = node.refused("destinations", "phone.calls", &document("of_another")).await;
    let why = "`of_another` may not be sent to `127.0.0.1`";
    assert!(refused.is("invalid_destination") && refused.message.contains(why), "{refused}");

    node.put("destinations", "phone.calls", &document("phone_token")).await;
    let payload =
        json!({ "lead_id": MARKER, "note": "${secret:phone_token} {{ secret.phone_token }}" });
    let id = node.submit("phone.calls", payload.clone()).await;
    eventually("it was looked for more than once", || async {
        let times = node.metric("gate_secrets_unavailable_total{by=\"executor\"}");
        (times >= 2.0).then_some(())
    })
    .await;
    assert_eq!(node.metric("gate_executions_without_secret"), 1.0);
    assert_eq!(node.log().matches("secret_unavailable").count(), 1, "{}", node.log());
    let intent = node.agent.intent(&id).await.unwrap().body;
    assert_eq!((&intent["phase"], &intent["status"]), (&json!("allowed"), &json!("approved")));

    fs::write(&source, format!("{CANARY}\n")).unwrap();
    let called = target.next().await;
    assert_eq!(called.header("authorization"), format!("Bearer {CANARY}"));
    assert_eq!(called.path, format!("/calls?token={CANARY}"));
    assert_eq!(called.json(), payload, "a payload refers to nothing");
    // A careless target gives back what it was sent.
    let echo = json!({ "sent": [called.path, called.header("authorization")], "at": 7 });
    called.answer(200, &echo.to_string()).await;
    node.in_phase(&id, "succeeded").await;
    let order = node.order(&id, 1).await;
    assert_eq!(order["result"]["body"]["at"], 7, "the rest of the answer is kept: {order}");
    assert_eq!(order["attempt"], 1, "it was never claimed before: {order}");

    let failed = node.submit("phone.calls", json!({ "lead_id": "another" })).await;
    let called = target.next().await;
    called.answer(409, &format!("no such token: {CANARY}")).await;
    node.in_phase(&failed, "failed").await;
    let lost = node.submit("phone.calls", json!({ "lead_id": "a third" })).await;
    target.next().await.reset();
    node.in_phase(&lost, "in_doubt").await;

    let ended = |outcome| {
        node.metric(&format!("gate_executions_total{{kind=\"http\",outcome=\"{outcome}\"}}"))
    };
    assert_eq!([ended("succeeded"), ended("failed"), ended("in_doubt")], [1.0; 3]);
    assert_eq!(node.metric("gate_execution_seconds_count{kind=\"http\"}"), 3.0);
    assert!(node.metric("gate_executor_epoch") > 0.0);
    assert_eq!(node.metric("gate_intents{phase=\"in_doubt\"}"), 1.0);
    eventually("nothing waits any more", || async {
        (node.metric("gate_executions_without_secret") == 0.0).then_some(())
    })
    .await;
    no_answer_shows_it(&node, &[&id, &failed, &lost]).await;
    node.stop();
    target.nothing_more().await;
    assert!(node.log().contains("in_doubt") || node.log().contains("not succeeded"));
    let files = files_with(home.path(), CANARY);
    assert!(files.is_empty(), "the value lies in {files:?}");
    let files = files_with(home.path(), MARKER);
    assert!(!files.is_empty(), "what was approved lies somewhere, or nothing is found at all");
}

async fn no_answer_shows_it(node: &Node, ids: &[&str]) {
    let mut paths: Vec<Vec<String>> = Vec::new();
    let path = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    for id in ids {
        paths.push(path(&["v1", "intents", id]));
        paths.push(path(&["v1", "intents", id, "audit"]));
        paths.push(path(&["v1", "intents", id, "decision"]));
        let order = node.order(id, 1).await;
        paths.push(path(&["v1", "executions", order["executionId"].as_str().unwrap()]));
    }
    paths.push(path(&["v1", "intents"]));
    paths.push(path(&["v1", "destinations"]));
    paths.push(path(&["v1", "destinations", "phone.calls"]));
    for path in paths {
        let words: Vec<&str> = path.iter().map(String::as_str).collect();
        let body = node.admin.get(&words).await.unwrap().body.to_string();
        assert!(!body.contains(CANARY), "{path:?}: {body}");
    }
}

/// The files below a folder that hold a text.
fn files_with(folder: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_with(&path, text));
        } else {
            let bytes = fs::read(&path).unwrap();
            if bytes.windows(text.len()).any(|window| window == text.as_bytes()) {
                found.push(path.display().to_string());
            }
        }
    }
    found
}
