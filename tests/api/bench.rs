//! `qgate bench` against a real gate: what it says it did stands in the audit log, and what it must
//! not do is not there.
//!
//! No time is judged here: how fast a gate is says the bench itself.
#![cfg(test)]

#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Output, Stdio};

use client::{Method, Request};
use rustix::process::Signal;
use serde_json::{Value, json};
use support::node::eventually;
use support::ports::base_port;
use support::{Dev, Process, fixture, log_file, qgate};
use tempfile::TempDir;

/// The fields that docs/benchmarks.md lists, in order.
fn documented() -> Vec<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/benchmarks.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, section) = page.split_once("\n## A gate of your own").expect("its section");
    let (section, _) = section.split_once("\n## ").expect("the next one");
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    rows.map(|(field, _)| field.to_owned()).collect()
}

/// Entries of the audit log by kind.
async fn audit(dev: &Dev) -> BTreeMap<String, u64> {
    let auditor = dev.client("/auditor_key");
    let (mut counts, mut after) = (BTreeMap::new(), None::<u64>);
    loop {
        let request = Request::get(&["v1", "audit", "entries"])
            .query("limit", "1000")
            .query_if("after", after.map(|after| after.to_string()));
        let page = auditor.send(request).await.unwrap().body;
        for entry in page["entries"].as_array().unwrap() {
            *counts.entry(entry["event_type"].as_str().unwrap().to_owned()).or_default() += 1;
        }
        after = page["next"].as_u64();
        if after.is_none() {
            return counts;
        }
    }
}

/// Submitted intents and refused repeats since an earlier look.
async fn stored_since(dev: &Dev, before: &BTreeMap<String, u64>) -> (u64, u64) {
    let now = audit(dev).await;
    let grown = |kind| now.get(kind).unwrap_or(&0) - before.get(kind).unwrap_or(&0);
    (grown("intent_submitted"), grown("duplicate_refused"))
}

/// The bench with the agent's key: words that tell nothing of the file, and what it printed.
fn bench(dev: &Dev, file: &Path, words: &[&str]) -> (Output, Value, String) {
    let start = ["--output", "json", "bench", "--intent", file.to_str().unwrap()];
    let output = dev.qgate("/agent_key", &[&start, words].concat());
    let printed = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output, printed, said)
}

fn number(printed: &Value, pointer: &str) -> u64 {
    printed.pointer(pointer).and_then(Value::as_u64).unwrap_or_else(|| panic!("{printed:#}"))
}

/// Every intent that was sent is in one of the counts.
fn adds_up(printed: &Value) {
    let sum = |name: &str| -> u64 {
        printed[name].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum()
    };
    let counted = sum("answers") + sum("refused") + number(printed, "/unanswered");
    assert_eq!(number(printed, "/sent"), counted, "{printed:#}");
}

#[tokio::test]
async fn what_it_says_it_sent_stands_in_the_audit_log() {
    let data = TempDir::new().unwrap();
    let dev = Dev::start(data.path(), &fixture(""), base_port());
    let call = fixture("duplicate-call.json");
    let metrics = dev.text("/nodes/0/metrics");

    let before = audit(&dev).await;
    let words = ["--vary", "/payload/lead_id", "--rate", "100", "--warm-up", "1", "--seconds", "1"];
    let words = [&words[..], &["--connections", "4", "--metrics", metrics]].concat();
    let (output, printed, said) = bench(&dev, &call, &words);
    assert!(output.status.success() && said.is_empty(), "{output:?}");
    let names: Vec<String> = printed.as_object().unwrap().keys().cloned().collect();
    assert_eq!(names, documented());
    adds_up(&printed);
    // Two before the load, and those of two seconds.
    assert_eq!(number(&printed, "/sent"), 202);
    assert_eq!(number(&printed, "/answers/approved"), 202);
    assert_eq!(number(&printed, "/measured"), 100);
    assert_eq!(stored_since(&dev, &before).await, (202, 0));
    assert_eq!((&printed["mode"], &printed["ended"]), (&json!("open"), &json!("done")));
    assert_eq!((&printed["hides_waiting"], &printed["rate"]), (&json!(false), &json!(100)));
    let latencies = ["p50", "p90", "p99", "p99_9", "max"]
        .map(|name| number(&printed["latency_us"], &format!("/{name}")));
    assert!(latencies.is_sorted() && latencies[0] > 0, "{latencies:?}");
    assert_eq!(printed["log"]["leader"], metrics);
    assert_eq!(number(&printed, "/log/leader_changes"), 0);
    assert!(number(&printed, "/log/syncs") > 0 && number(&printed, "/log/bytes_per_intent") > 0);
    // The agent may not read the cluster; an admin may, and submit too.
    assert_eq!(printed["cluster"], json!(null));
    let words = ["bench", "--intent", call.to_str().unwrap(), "--vary", "/payload/lead_id"];
    let words = [&words[..], &["--rate", "20", "--warm-up", "0", "--seconds", "1"]].concat();
    let output = dev.qgate("/admin_key", &words);
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    for part in [
        "(node 1, version ",
        "voters 1, learners 0, node 1 leads",
        "open loop at 20/s; 16 connections, 1 s after 0 s of warm-up",
        "22, 20 of them measured",
        "approved 22, pending_approval 0, blocked 0, duplicate_blocked 0",
        "latency, us  p50 ",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }

    repeats(&dev, &call).await;
    too_fast(&dev, &call).await;
    stopped(&dev, &call, data.path()).await;
}

/// The same intent again and again: one is accepted, all others are refused as repeats.
async fn repeats(dev: &Dev, call: &Path) {
    let before = audit(dev).await;
    let words = ["--duplicates", "--closed", "--warm-up", "0", "--seconds", "1"];
    let (output, printed, _) = bench(dev, call, &words);
    assert!(output.status.success(), "{output:?}");
    adds_up(&printed);
    assert_eq!((&printed["mode"], &printed["hides_waiting"]), (&json!("closed"), &json!(true)));
    let repeats = number(&printed, "/answers/duplicate_blocked");
    assert_eq!((number(&printed, "/answers/approved"), repeats > 0), (1, true), "{printed:#}");
    assert_eq!(stored_since(dev, &before).await, (1, repeats));
}

/// What no gate can take ends early, with the reason and all figures.
async fn too_fast(dev: &Dev, call: &Path) {
    let before = audit(dev).await;
    let words = ["--vary", "/payload/lead_id", "--rate", "1000000", "--backlog", "1"];
    let (output, printed, said) = bench(dev, call, &[&words[..], &["--warm-up", "0"]].concat());
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said: Value = serde_json::from_str(&said).expect("an error in JSON");
    let error = said["error"].as_str().unwrap();
    assert!(error.starts_with("1000000/s is more than it takes"), "{error}");
    let sustained = number(&printed, "/sustained_per_second");
    assert!(error.ends_with(&format!("highest sustained {sustained}/s")), "{error}");
    assert!(said["next"].as_str().unwrap().contains("--rate"), "{said}");
    assert_eq!(printed["ended"], "behind");
    // The last to be sent had waited longer than it may, and its latency says so.
    assert!(number(&printed, "/latency_us/max") > 1_000_000, "{printed:#}");
    adds_up(&printed);
    let (stored, _) = stored_since(dev, &before).await;
    let approved = number(&printed, "/answers/approved");
    assert!((approved..=number(&printed, "/sent")).contains(&stored), "{stored}: {printed:#}");
}

/// Whoever stops it gets the figures so far.
async fn stopped(dev: &Dev, call: &Path, home: &Path) {
    let before = audit(dev).await;
    let mut command = qgate();
    command.env("QGATE_ENDPOINT", dev.text("/nodes/0/http"));
    command.env("QGATE_API_KEY", dev.text("/agent_key"));
    command.args(["--output", "json", "bench", "--intent", call.to_str().unwrap()]);
    command.args(["--vary", "/payload/lead_id", "--rate", "50", "--seconds", "3600"]);
    command.stdout(log_file(home, "bench.out")).stderr(Stdio::null());
    let mut process = Process::start(&mut command);
    eventually("intents of the load are stored", || async {
        (stored_since(dev, &before).await.0 > 2).then_some(())
    })
    .await;
    assert_eq!(process.stop(Signal::INT).code(), Some(1));
    let printed = std::fs::read(home.join("bench.out")).unwrap();
    let printed: Value = serde_json::from_slice(&printed).unwrap();
    assert_eq!(printed["ended"], "stopped");
    adds_up(&printed);
    assert_eq!(number(&printed, "/unanswered"), 0);
    assert_eq!(stored_since(dev, &before).await, (number(&printed, "/sent"), 0));
}

#[tokio::test]
async fn what_would_do_harm_is_refused_before_it_begins() {
    let data = TempDir::new().unwrap();
    let dev = Dev::start(data.path(), &fixture(""), base_port());
    let (call, bulk) = (fixture("duplicate-call.json"), fixture("bulk-overwrite.json"));
    let lead = ["--vary", "/payload/lead_id", "--rate", "10"];
    let record = ["--vary", "/payload/records/0/id", "--rate", "10"];
    let door = dev.text("/nodes/0/http");
    let away = ["--endpoint", "http://192.0.2.1:4000"];
    let cases: [(&Path, &[&[&str]], i32, &str); 7] = [
        (&call, &[&["--rate", "10"]], 2, "every intent would be the same"),
        (&call, &[&["--vary", "/payload/lead", "--rate", "10"]], 2, "nothing stands there"),
        (&call, &[&lead, &away], 2, "http://192.0.2.1:4000 is another machine"),
        (&call, &[&lead, &["--metrics", door]], 1, "status 404"),
        (&call, &[&lead, &["--metrics", "http://127.0.0.1:1"]], 3, "no endpoint answered"),
        (&call, &[&lead, &["--key", "gate_sk_x"]], 1, "401"),
        (&bulk, &[&record], 1, "each would wait for people; nothing was sent"),
    ];
    let refused = async |file: &Path, words: &[&[&str]], code: i32, why: &str| {
        let (output, printed, said) = bench(&dev, file, &words.concat());
        assert_eq!(output.status.code(), Some(code), "{words:?}: {output:?}");
        assert!(said.contains(why) && printed.is_null(), "{words:?}: {said} {printed}");
    };
    let before = audit(&dev).await;
    for (file, words, code, why) in cases {
        refused(file, words, code, why).await;
    }
    assert_eq!(stored_since(&dev, &before).await, (0, 0));

    // They differ where no policy looks; it takes two to see that.
    let phone = ["--vary", "/payload/phone", "--rate", "10"];
    refused(&call, &[&phone], 1, "do not differ where the policies look").await;
    assert_eq!(stored_since(&dev, &before).await, (1, 1));

    let phone = "kind: http\nrequest: {url: 'http://127.0.0.1:1/calls'}\n";
    let request = Request::new(Method::Put, &["v1", "destinations", "leads.outbound_call"]);
    dev.client("/admin_key").send(request.yaml(phone.as_bytes().to_vec())).await.unwrap();
    refused(&call, &[&lead], 1, "each is a call; nothing was sent").await;
    assert_eq!(stored_since(&dev, &before).await, (1, 1));

    // Whoever says yes gets it: people would have this much to decide.
    let few = ["--rate", "5", "--warm-up", "0", "--seconds", "1", "--yes"];
    let (output, printed, said) = bench(&dev, &bulk, &[&record[..2], &few].concat());
    assert!(output.status.success(), "{output:?}");
    assert!(said.contains("warning: ") && said.contains("wait for people"), "{said}");
    // The first one showed it, so there was no second before the load.
    assert_eq!(number(&printed, "/answers/pending_approval"), 6, "{printed:#}");
    assert_eq!(stored_since(&dev, &before).await, (7, 1));
}
