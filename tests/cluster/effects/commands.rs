//! The command line where calls and notifications are its subject.

use std::process::Output;

use client::Decision;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::node::{LOOPBACK, Node, eventually};
use crate::support::qgate;
use crate::support::target::Target;

/// What a command printed, which must have ended with this code.
#[track_caller]
fn ended(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_has_an_intent_carried_out_and_ends_the_doubt() {
    let home = TempDir::new().unwrap();
    let mut target = Target::start().await;
    let mut node = Node::start(home.path(), LOOPBACK).await;
    let document =
        format!("kind: http\nexecute: on_request\nrequest: {{url: \"{}\"}}\n", target.url("/"));
    node.put("destinations", "phone.calls", &document).await;
    let [reviewer, agent] = node.keys.clone();
    let lead = json!({ "lead_id": "1" });
    let id = node.submit("phone.calls", lead.clone()).await;
    let execute = ["intent", "execute", &id, "--mode", "external_pull"];
    let table = ended(&node.qgate(&agent, &execute), 0);
    for shown in ["exe_", &id, "gate_exec", "scheduled", "fence"] {
        assert!(table.contains(shown), "no {shown} in\n{table}");
    }
    assert!(!table.contains("token"), "there is none: {table}");
    ended(&node.qgate(&agent, &execute), 1);
    target.next().await.reset();
    node.in_phase(&id, "in_doubt").await;

    let resolve = |outcome: &'static str, more: &[&'static str]| -> Vec<String> {
        let words = [&["intent", "resolve", &id, "--outcome", outcome][..], more].concat();
        words.into_iter().map(str::to_owned).collect()
    };
    let reason = ["--reason", "no such call"];
    let without = ["--effect", "none", "--reason", "no such call"];
    let cases: [(&String, Vec<String>, i32); 6] = [
        (&reviewer, resolve("failed", &[]), 2),
        (&reviewer, resolve("perhaps", &reason), 2),
        (&reviewer, resolve("succeeded", &without), 2),
        (&agent, resolve("failed", &without), 1),
        (&reviewer, resolve("failed", &without), 0),
        (&reviewer, resolve("succeeded", &reason), 1),
    ];
    for (key, words, code) in cases {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let table = ended(&node.qgate(key, &words), code);
        let said = table.contains("failed") && table.contains("none") && table.contains("no such");
        assert_eq!(said, code == 0, "{words:?}: {table}");
    }
    let next = node.submit("phone.calls", lead).await;
    let json = ended(&node.qgate(&agent, &["--output", "json", "intent", "execute", &next]), 0);
    let body: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&body["intent_id"], &body["mode"]), (&json!(next), &json!("gate_exec")));
    target.next().await.answer(200, "").await;
    node.in_phase(&next, "succeeded").await;
    node.stop();
    target.nothing_more().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_sees_what_a_channel_was_told() {
    let home = TempDir::new().unwrap();
    let mut sink = Target::start().await;
    let mut node = Node::start(home.path(), LOOPBACK).await;
    let channel =
        format!("kind: webhook\nurl: \"{}\"\nevents: [held, rejected]\n", sink.url("/hook"));
    node.put("channels", "ops", &channel).await;
    let [reviewer, agent] = node.keys.clone();
    let list = ["channel", "deliveries", "ops"];
    assert_eq!(ended(&node.qgate(&reviewer, &list), 0), "none\n");
    let id = node.submit("crm.contacts", json!({ "id": 1 })).await;
    sink.next().await.answer(204, "").await;
    node.reviewer.reject(&id, &Decision::default()).await.unwrap();
    sink.next().await.answer(503, "").await;
    let table = eventually("both are reported", || async {
        let table = ended(&node.qgate(&reviewer, &list), 0);
        (table.contains("delivered") && table.contains("answered 503")).then_some(table)
    })
    .await;
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("DELIVERY") && lines.len() == 3, "{table}");
    assert!(lines[1].contains("pending") && lines[1].contains("rejected"), "newest first: {table}");
    assert!(lines[2].contains("delivered") && lines[2].contains("held"), "{table}");

    let page = ended(&node.qgate(&reviewer, &[&list[..], &["--limit", "1"]].concat()), 0);
    let more = page.lines().last().unwrap().strip_prefix("more: qgate ").unwrap();
    let more: Vec<&str> = more.split(' ').chain(["--output", "json"]).collect();
    let body: Value = serde_json::from_str(&ended(&node.qgate(&reviewer, &more), 0)).unwrap();
    assert_eq!(body["deliveries"][0]["event"], "held", "{body}");
    ended(&node.qgate(&agent, &list), 1);
    sink.next().await.answer(204, "").await;
    node.stop();
    sink.nothing_more().await;
}

#[test]
fn a_configuration_that_cannot_be_used_leaves_the_disk_as_it_is() {
    let home = TempDir::new().unwrap();
    let config = home.path().join("node.yaml");
    #[rustfmt::skip]
    let cases = [
        ("outbound: {allow: [nowhere]}",  "outbound.allow"),
        ("outbound: {ca_file: none.pem}", "none.pem"),
        ("secrets: {token: {hosts: []}}", "secrets.token"),
    ];
    for (line, named) in cases {
        let text = format!(
            "node: {{id: 1}}\ndata_dir: data\nhttp: {{listen: \"127.0.0.1:0\"}}\n\
             cluster: {{initialise: true}}\n{line}\n"
        );
        std::fs::write(&config, text).unwrap();
        let output = qgate().arg("serve").arg("--config").arg(&config).output().unwrap();
        ended(&output, 2);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains(named), "{stderr}");
        let left: Vec<_> = std::fs::read_dir(home.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "{line}: {left:?}");
    }
}
