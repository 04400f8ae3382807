//! `qgate dev` as a person starts it: the real binary, real ports, real data on disk.
//!
//! Every wait ends by a deadline, and every process that is started here is stopped here, also
//! when a test fails.
#![cfg(test)]

#[path = "../support/mod.rs"]
mod support;

use std::fs;

use client::{Decision, Error, Verdict};
use rustix::process::{Signal, kill_process, test_kill_process};
use serde_json::{Value, json};
use support::{Dev, Process, base_port, fixture, incident, log_file, pid, qgate, ready, until};
use tempfile::TempDir;

/// Everything that must be the same after a restart.
async fn content(dev: &Dev) -> Value {
    let admin = dev.client("/admin_key");
    let body = async |segments: &[&str]| admin.get(segments).await.expect("it answers").body;
    let list = body(&["v1", "intents"]).await;
    let mut intents = Vec::new();
    for row in list["intents"].as_array().unwrap() {
        let id = row["intentId"].as_str().unwrap();
        intents.push(json!({
            "whole": body(&["v1", "intents", id]).await,
            "decision": body(&["v1", "intents", id, "decision"]).await,
            "audit": body(&["v1", "intents", id, "audit"]).await,
        }));
    }
    let tree = body(&["v1", "audit", "checkpoint"]).await;
    json!({
        "list": list,
        "intents": intents,
        "policies": body(&["v1", "policies"]).await,
        "agents": body(&["v1", "agents"]).await,
        "leaves": tree["size"],
        "root": tree["root"],
    })
}

/// Submits the three incidents and decides them; gives the id of the first call.
async fn incidents(dev: &Dev) -> String {
    let agent = dev.client("/agent_key");
    let held = [
        ("bulk-overwrite.json", "require_approval_over", "/reviewer_keys/0"),
        ("broken-template.json", "require_approval_if_template_error", "/reviewer_keys/1"),
    ];
    for (file, rule, reviewer) in held {
        let submitted = agent.submit(&incident(file), None).await.unwrap();
        assert_eq!(submitted.verdict, Verdict::Held, "{file}");
        let reasons = submitted.answer.body["reasons"].as_array().unwrap().clone();
        assert!(reasons.iter().any(|reason| reason["rule"] == rule), "{file}: {reasons:?}");
        let id = &submitted.id;
        let decision = |digest: Option<&str>| Decision {
            digest: digest.map(str::to_owned),
            reason: Some("looked at it".to_owned()),
        };
        let refused = agent.approve(id, &decision(None)).await.unwrap_err();
        assert!(matches!(&refused, Error::Refused(refusal) if refusal.status == 403), "{refused}");
        let reviewer = dev.client(reviewer);
        let wrong = "0".repeat(64);
        let stale = reviewer.approve(id, &decision(Some(&wrong))).await.unwrap_err();
        assert!(
            matches!(&stale, Error::Refused(refusal) if refusal.is("approval_digest_mismatch")),
            "{stale}"
        );
        let shown = reviewer.intent(id).await.unwrap();
        let digest = shown.text("approval_digest");
        let approved = reviewer.approve(id, &decision(digest)).await.unwrap();
        assert_eq!(approved.text("status"), Some("approved"), "{file}");
    }
    let call = incident("duplicate-call.json");
    let first = agent.submit(&call, Some("first")).await.unwrap();
    assert_eq!(first.verdict, Verdict::Allowed);
    let again = agent.submit(&call, Some("first")).await.unwrap();
    assert_eq!((again.verdict, again.answer.is_replayed()), (Verdict::Allowed, true));
    let second = agent.submit(&call, None).await.unwrap();
    assert_eq!((second.verdict, &second.id), (Verdict::Duplicate, &first.id));
    first.id
}

/// The metrics port shows every metric of the table, with the numbers of the incidents.
fn metrics(dev: &Dev) {
    let text = dev.metrics();
    let chunked = text.contains("transfer-encoding: chunked");
    assert!(!chunked, "the scrape comes in one piece");
    for metric in meters::ALL {
        let (name, kind) = (metric.name, metric.kind.name());
        assert!(text.contains(&format!("# TYPE {name} {kind}\n")), "{name}");
        assert!(text.contains(&format!("# HELP {name} {}\n", metric.meaning())), "{name}");
    }
    let value = |series: &str| -> f64 {
        let start = format!("{series} ");
        let found = text.lines().find_map(|line| line.strip_prefix(&start));
        found.unwrap_or_else(|| panic!("no {series} in\n{text}")).parse().unwrap()
    };
    let exact = [
        ("gate_decisions_total{outcome=\"hold\"}", 2.0),
        ("gate_decisions_total{outcome=\"allow\"}", 1.0),
        ("gate_decisions_total{outcome=\"duplicate\"}", 1.0),
        ("gate_commands_total{command=\"submit\",outcome=\"replayed\"}", 1.0),
        ("gate_commands_total{command=\"approve\",outcome=\"done\"}", 2.0),
        ("gate_commands_total{command=\"approve\",outcome=\"refused\"}", 2.0),
        ("gate_intents{phase=\"allowed\"}", 3.0),
        ("gate_is_leader", 1.0),
        ("gate_healthy", 1.0),
        ("gate_voters", 1.0),
        ("gate_leader_changes_total", 1.0),
        ("gate_apply_lag", 0.0),
        ("gate_poisoned", 0.0),
    ];
    for (series, expected) in exact {
        assert_eq!(value(series), expected, "{series}");
    }
    let positive = [
        "gate_wal_fsync_seconds_count",
        "gate_wal_bytes_total",
        "gate_apply_entries_sum",
        "gate_audit_tree_size",
        "gate_applied_index",
        "gate_rocksdb_memtable_bytes{database=\"raft\"}",
        "gate_rocksdb_memtable_bytes{database=\"state\"}",
        "gate_process_resident_memory_bytes",
        "gate_process_open_fds",
        "gate_process_threads",
        "gate_process_start_time_seconds",
    ];
    for series in positive {
        assert!(value(series) > 0.0, "{series}");
    }
}

/// Exit codes and output of the command line against a gate that answers.
fn command_line(dev: &Dev, call: &str) {
    let call_file = fixture("duplicate-call.json");
    let submit = ["intent", "submit", call_file.to_str().unwrap(), "--exit-decision"];
    let wanted: [(&str, &[&str], i32, &str); 8] = [
        ("/agent_key", &submit, 12, call),
        ("/agent_key", &submit[..3], 0, "duplicate_blocked"),
        ("/reviewer_keys/2", &["intent", "show", call], 0, "approved"),
        ("/auditor_key", &["audit", "show", call], 0, "duplicate_refused"),
        ("/admin_key", &["policy", "list"], 0, "crm-enrichment-guard"),
        ("/admin_key", &["cluster", "status"], 0, "voter"),
        ("/agent_key", &["agent", "list"], 1, ""),
        ("/admin_key", &["--endpoint", "http://127.0.0.1:1", "policy", "list"], 3, ""),
    ];
    for (key, words, code, shown) in wanted {
        let output = dev.qgate(key, words);
        let stdout = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {output:?}");
        assert!(stdout.contains(shown), "{words:?}: {stdout}");
        let next = String::from_utf8_lossy(&output.stderr).contains("\n next: ");
        assert_eq!(next, matches!(code, 1..=4), "{words:?}: {output:?}");
    }
}

#[tokio::test]
async fn the_incidents_are_stopped_and_a_killed_node_comes_back_with_everything() {
    let data = TempDir::new().unwrap();
    let mut dev = Dev::start(data.path(), &fixture(""), base_port());
    let call = incidents(&dev).await;
    metrics(&dev);
    command_line(&dev, &call);
    let mut before = content(&dev).await;

    let node = u32::try_from(dev.file["nodes"][0]["pid"].as_u64().unwrap()).unwrap();
    kill_process(pid(node), Signal::KILL).unwrap();
    until("the node is gone", || test_kill_process(pid(node)).is_err().then_some(()));
    let config = dev.text("/nodes/0/config").to_owned();
    let mut serve = qgate();
    serve.arg("serve").arg("--config").arg(&config).stderr(log_file(data.path(), "by-hand.log"));
    let mut by_hand = Process::start(&mut serve);
    ready(&dev).await;

    let mut after = content(&dev).await;
    // The executor that begins again is one leaf more, once it has begun.
    let leaves = |content: &mut Value| {
        content["root"].take();
        content["leaves"].take().as_u64().unwrap()
    };
    let (now, then) = (leaves(&mut after), leaves(&mut before));
    assert!((then..=then + 1).contains(&now), "{then} leaves, {now} after the restart");
    assert_eq!(after, before);
    let agent = dev.client("/agent_key");
    let again = agent.submit(&incident("duplicate-call.json"), None).await.unwrap();
    assert_eq!((again.verdict, &again.id), (Verdict::Duplicate, &call));

    assert!(dev.process.stop(Signal::INT).success());
    assert!(!data.path().join("dev/dev.json").exists());
    assert!(by_hand.0.try_wait().unwrap().is_none(), "dev stops only what it started");
    assert!(by_hand.stop(Signal::TERM).success());
    let store = dev.text("/nodes/0/data_dir");
    let replay = qgate().args(["inspect", "--data", store, "replay"]).output().unwrap();
    assert!(replay.status.success(), "{replay:?}");
}

#[tokio::test]
async fn a_second_start_has_the_same_keys_and_applies_only_what_changed() {
    let (data, policies) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let gates = policies.path().join("gates.yaml");
    fs::copy(fixture("gates.yaml"), &gates).unwrap();
    let base_port = base_port();
    let text = fs::read_to_string(&gates).unwrap();
    let raised = text.replace("require_approval_over: 100", "require_approval_over: 101");
    assert_ne!(text, raised);
    let mut keys = None;
    for (content, version) in [(&text, 1), (&text, 1), (&raised, 2), (&raised, 2)] {
        fs::write(&gates, content).unwrap();
        let mut dev = Dev::start(data.path(), policies.path(), base_port);
        let found = ["admin_key", "reviewer_keys", "agent_key", "auditor_key"]
            .map(|name| dev.file[name].clone());
        assert_eq!(*keys.get_or_insert(found.clone()), found);
        let list = dev.client("/admin_key").get(&["v1", "policies"]).await.unwrap();
        assert_eq!(list.body["version"], version);
        assert!(dev.process.stop(Signal::TERM).success());
    }

    fs::write(&gates, text.replace("resource: email.batch", "resuorce: email.batch")).unwrap();
    let mut command = qgate();
    command.arg("dev").arg("--data").arg(data.path().join("dev"));
    let output = command.arg("--policies").arg(policies.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr);
    let line = 1 + text.lines().position(|line| line.contains("email.batch")).unwrap();
    assert!(stderr.contains(&format!("{}:{line}:5: ", gates.display())), "{stderr}");
}
