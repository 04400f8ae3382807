//! `qgate dev` as a person starts it: the real binary, real ports, real data on disk.
//!
//! Every wait ends by a deadline, and every process that is started here is stopped here, also
//! when a test fails.
#![cfg(test)]

#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;

use client::{Decision, Error, Verdict};
use rustix::process::{Signal, kill_process, test_kill_process};
use serde_json::{Value, json};
use support::ports::base_port;
use support::{Dev, Process, fixture, incident, log_file, pid, qgate, ready, until};
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
    // A node alone has none of what is told of other nodes; `tests/cluster/observed.rs` sees them.
    for metric in meters::ALL.iter().filter(|metric| !metric.labels.contains(&"peer")) {
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
    let wanted: [(&str, &[&str], i32, &str); 11] = [
        ("/agent_key", &submit, 12, call),
        ("/agent_key", &submit[..3], 0, "duplicate_blocked"),
        ("/reviewer_keys/2", &["intent", "show", call], 0, "approved"),
        ("/auditor_key", &["audit", "show", call], 0, "duplicate_refused"),
        ("/admin_key", &["policy", "list"], 0, "crm-enrichment-guard"),
        ("/admin_key", &["cluster", "status"], 0, "voter"),
        ("/agent_key", &["agent", "list"], 1, ""),
        ("/admin_key", &["policy", "show", "nope"], 1, ""),
        ("/admin_key", &["channel", "show", "nope"], 1, ""),
        ("/admin_key", &["policy", "lint", "/nowhere"], 2, ""),
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

/// Nothing is approved that nobody has looked at, unless the caller says so.
fn approving(dev: &Dev) {
    let file = fixture("bulk-overwrite.json");
    let submitted =
        dev.qgate("/agent_key", &["--output", "json", "intent", "submit", file.to_str().unwrap()]);
    let submitted: Value = serde_json::from_slice(&submitted.stdout).unwrap();
    let id = submitted["intentId"].as_str().unwrap();
    let reviewer = |words: &[&str]| {
        let output = dev.qgate("/reviewer_keys/0", words);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    };
    // There is no terminal here.
    let (code, _, said) = reviewer(&["intent", "approve", id]);
    assert!(code == 2 && said.contains("--digest") && said.contains("--yes"), "{code}: {said}");
    let (code, _, said) = reviewer(&["--output", "json", "intent", "approve", id]);
    let said: Value = serde_json::from_str(&said).expect("an error in JSON");
    assert_eq!((code, &said["exit"]), (2, &json!(2)), "{said}");
    let (code, shown, _) = reviewer(&["intent", "show", id]);
    assert!(code == 0 && shown.contains("pending_approval") && shown.contains("0 of 1"), "{shown}");
    assert!(shown.contains(&format!("qgate intent show {id} --output json")), "{shown}");
    let (code, _, said) = reviewer(&["intent", "approve", id, "--digest", &"0".repeat(64)]);
    assert!(code == 1 && said.contains("approval_digest_mismatch"), "{code}: {said}");
    let (code, shown, said) = reviewer(&["intent", "approve", id, "--yes"]);
    assert!(code == 0 && shown.contains("approved"), "{code}: {shown} {said}");
    // Nothing has begun, so the agent can still take it back.
    let taken_back = dev.qgate("/agent_key", &["--output", "json", "intent", "cancel", id]);
    assert!(taken_back.status.success(), "{taken_back:?}");
    let taken_back: Value = serde_json::from_slice(&taken_back.stdout).unwrap();
    assert_eq!(taken_back["phase"], "cancelled", "{taken_back}");
}

/// Data in use is left alone, and so is what is no node's.
fn looking_into_data(dev: &Dev) {
    let inspect = |data: &str| {
        let output = qgate().args(["inspect", "--data", data, "replay"]).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let said = inspect(dev.text("/nodes/0/data_dir"));
    assert!(said.contains("in use") && said.contains("stop the node first"), "{said}");
    let empty = TempDir::new().unwrap();
    let said = inspect(empty.path().to_str().unwrap());
    assert!(said.contains("no data of a node") && !said.contains("stop the node"), "{said}");
    assert_eq!(fs::read_dir(empty.path()).unwrap().count(), 0);
}

#[test]
fn nodes_end_with_their_launcher_however_that_ends() {
    let data = TempDir::new().unwrap();
    // Under `nohup` a hang-up is ignored, and so it is by what is started here.
    let gently = if ignores_hangup() { Signal::TERM } else { Signal::HUP };
    for signal in [Signal::KILL, gently] {
        // What was killed leaves it behind, and the next start is waited for by it.
        let _ = fs::remove_file(data.path().join("dev/dev.json"));
        let mut dev = Dev::start(data.path(), &fixture(""), base_port());
        let status = dev.process.stop(signal);
        assert_eq!(status.success(), signal == gently, "{status}");
        let address = dev.text("/nodes/0/http").trim_start_matches("http://").to_owned();
        until("the node is gone", || TcpStream::connect(&address).is_err().then_some(()));
    }
    assert!(!data.path().join("dev/dev.json").exists());
}

fn ignores_hangup() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
    u64::from_str_radix(mask.trim(), 16).unwrap() & 1 == 1
}

#[test]
fn the_first_admins_key_is_on_the_disk_and_the_next_start_says_where() {
    let home = TempDir::new().unwrap();
    let port = base_port();
    let config = format!(
        "node: {{id: 1}}\ndata_dir: data\nhttp: {{listen: \"127.0.0.1:{port}\"}}\n\
         cluster: {{initialise: true}}\n"
    );
    fs::write(home.path().join("node.yaml"), config).unwrap();
    let key_file = home.path().join("data/admin.key");
    for start in 1..=2 {
        let mut serve = qgate();
        serve.arg("serve").arg("--config").arg(home.path().join("node.yaml"));
        serve.stdout(log_file(home.path(), "out")).stderr(log_file(home.path(), "log"));
        let mut process = Process::start(&mut serve);
        let opens = || {
            let key = fs::read_to_string(&key_file).ok()?;
            let mut command = qgate();
            command.args(["--endpoint", &format!("http://127.0.0.1:{port}"), "agent", "list"]);
            command
                .env("QGATE_API_KEY", key.trim())
                .output()
                .unwrap()
                .status
                .success()
                .then_some(())
        };
        until("the key that lies there opens", opens);
        let said = fs::read_to_string(home.path().join("out")).unwrap();
        assert!(said.contains("data/admin.key"), "start {start}: {said}");
        assert_eq!(said.contains("shown once"), start == 1, "start {start}: {said}");
        assert!(process.stop(Signal::TERM).success());
    }
}

/// What answers like this is no gate, whatever it is asked.
#[test]
fn no_verb_takes_any_200_for_success() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || listener.incoming().for_each(|stream| splendid(stream.unwrap())));
    let id = "int_2c2846cac3071a90";
    let (policies, call) = (fixture(""), fixture("duplicate-call.json"));
    let verbs: &[&[&str]] = &[
        &["intent", "show", id, "--exit-decision"],
        &["intent", "approve", id, "--digest", "ab"],
        &["intent", "approve", id, "--yes"],
        &["intent", "reject", id],
        &["intent", "cancel", id],
        &["intent", "execute", id],
        &["intent", "resolve", id, "--outcome", "succeeded", "--reason", "seen"],
        &["intent", "list"],
        &["intent", "submit", "--resource", "crm.contacts"],
        &["audit", "show", id],
        &["audit", "entries"],
        &["audit", "checkpoint"],
        &["policy", "apply", policies.to_str().unwrap()],
        &["policy", "list"],
        &["agent", "list"],
        &["agent", "register", "bot"],
        &["agent", "suspend", "agt_45c0f6b0910eccd2"],
        &["destination", "list"],
        &["channel", "deliveries", "ops"],
        &["namespace", "list"],
        &["cluster", "status"],
        &["bench", "--intent", call.to_str().unwrap(), "--vary", "/payload/rep", "--closed"],
    ];
    for words in verbs {
        let output = qgate().args(["--endpoint", &endpoint]).args(*words).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{words:?}: {output:?}");
        assert!(said.contains("none of a gate"), "{words:?}: {said}");
    }
}

/// Reads one request and answers it with a 200 that says nothing.
fn splendid(mut stream: TcpStream) {
    let mut request = Vec::new();
    let mut buffer = [0_u8; 4096];
    loop {
        let read = stream.read(&mut buffer).unwrap();
        request.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&request);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if read == 0 || body.len() >= length.map_or(0, |text| text.parse().unwrap()) {
            break;
        }
    }
    let body = r#"{"ok":true}"#;
    let head = format!("content-length: {}\r\nconnection: close", body.len());
    stream.write_all(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{body}").as_bytes()).unwrap();
}

#[tokio::test]
async fn the_incidents_are_stopped_and_a_killed_node_comes_back_with_everything() {
    let data = TempDir::new().unwrap();
    let mut dev = Dev::start(data.path(), &fixture(""), base_port());
    let call = incidents(&dev).await;
    metrics(&dev);
    command_line(&dev, &call);
    approving(&dev);
    looking_into_data(&dev);
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
