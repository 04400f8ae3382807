//! kill -9 under load: every answered write is there afterwards with the same content, no key is
//! accepted twice, and a replay of the log from its first entry gives the same state and tree.
//!
//! Real processes on real disks; a kill comes when a count of answers is reached, not after a time.
#![cfg(test)]

#[path = "../support/mod.rs"]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use client::{Client, Endpoint, Request, Settings};
use rustix::process::{Signal, kill_process, test_kill_process};
use serde_json::{Value, json};
use support::{Dev, Process, base_port, fixture, log_file, pid, qgate, ready, until};
use tempfile::TempDir;

/// How often the node is killed.
const KILLS: usize = 6;
/// Answers between two kills, at least.
const ANSWERS_BETWEEN: usize = 120;
/// Clients that submit side by side.
const WORKERS: usize = 12;

/// One answered submit.
struct Answered {
    id: String,
    status: String,
    payload: Value,
}

/// A client that waits as long as a restart takes.
fn patient(dev: &Dev, key: &str) -> Client {
    let endpoints = Endpoint::list(dev.text("/nodes/0/http")).expect("an address");
    let mut settings = Settings::new(endpoints).with_key(dev.text(key));
    settings.deadline = Duration::from_secs(60);
    Client::new(settings).expect("a client")
}

/// The node's process: the launcher's child at first, then ours.
enum Node {
    Launched(u32),
    ByHand(Process),
}

impl Node {
    fn kill_9(self) {
        match self {
            Self::Launched(id) => {
                kill_process(pid(id), Signal::KILL).expect("it runs");
                until("the node is gone", || test_kill_process(pid(id)).is_err().then_some(()));
            }
            Self::ByHand(mut process) => drop(process.stop(Signal::KILL)),
        }
    }
}

/// Submits numbered calls until told to stop; each key is sent until it has its answer.
async fn work(
    client: Client,
    worker: usize,
    stop: Arc<AtomicBool>,
    answers: Arc<AtomicUsize>,
) -> BTreeMap<String, Answered> {
    let mut answered = BTreeMap::new();
    for number in 0.. {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let key = format!("call-{worker}-{number}");
        let payload = json!({"lead_id": key, "note": "x".repeat(number % 500)});
        let intent = json!({
            "resource": "leads.outbound_call", "trigger": "webhook",
            "idempotency_key": key, "payload": payload,
        });
        let submitted = loop {
            match client.submit(&intent, Some(&key)).await {
                Ok(submitted) => break submitted,
                // The node is being started again; the key makes another try safe.
                Err(client::Error::Refused(refusal)) => panic!("{key}: {refusal:?}"),
                Err(_) => {}
            }
        };
        let status = submitted.answer.text("status").unwrap_or_default().to_owned();
        assert_eq!(status, "approved", "{key} is a new call: {}", submitted.answer.body);
        answered.insert(key, Answered { id: submitted.id, status, payload });
        answers.fetch_add(1, Ordering::SeqCst);
    }
    answered
}

/// Every intent that the node has, page by page.
async fn all_intents(auditor: &Client) -> Vec<Value> {
    let mut all = Vec::new();
    let mut before: Option<String> = None;
    loop {
        let request = Request::get(&["v1", "intents"])
            .query("limit", "1000")
            .query_if("before", before.clone());
        let page = auditor.send(request).await.expect("a page");
        let rows = page.body["intents"].as_array().expect("intents").clone();
        before = page.body["next"].as_str().map(str::to_owned);
        let last = before.is_none() || rows.is_empty();
        all.extend(rows);
        if last {
            return all;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answered_writes_survive_kill_9_and_no_key_counts_twice() {
    let data = TempDir::new().expect("a directory");
    let mut dev = Dev::start(data.path(), &fixture(""), base_port());
    let (stop, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let workers: Vec<_> = (0..WORKERS)
        .map(|worker| {
            let agent = patient(&dev, "/agent_key");
            tokio::spawn(work(agent, worker, stop.clone(), answers.clone()))
        })
        .collect();
    let launched = dev.file["nodes"][0]["pid"].as_u64().expect("a pid");
    let mut node = Node::Launched(u32::try_from(launched).expect("a pid"));
    for kill in 1..=KILLS {
        // An uneven count, so that kills meet different points of a batch.
        let goal = answers.load(Ordering::SeqCst) + ANSWERS_BETWEEN + kill * 37;
        tokio::task::block_in_place(|| {
            until("answers between two kills", || {
                (answers.load(Ordering::SeqCst) >= goal).then_some(())
            });
            node.kill_9();
        });
        let log = log_file(data.path(), &format!("serve-{kill}.log"));
        let mut serve = qgate();
        serve.args(["serve", "--config", dev.text("/nodes/0/config")]).stderr(log);
        node = Node::ByHand(Process::start(&mut serve));
        ready(&dev).await;
    }
    stop.store(true, Ordering::SeqCst);
    let mut answered = BTreeMap::new();
    for worker in workers {
        answered.extend(worker.await.expect("a worker that found nothing wrong"));
    }
    let auditor = patient(&dev, "/auditor_key");
    let all = all_intents(&auditor).await;
    let keys: BTreeSet<&str> =
        all.iter().filter_map(|row| row["idempotency_key"].as_str()).collect();
    assert_eq!(keys.len(), all.len(), "a key was accepted twice");
    assert_eq!(all.len(), answered.len(), "an intent that nobody asked for, or one too few");
    for (key, was) in &answered {
        let is = auditor.intent(&was.id).await.expect("an answered intent").body;
        assert_eq!(is["payload"], was.payload, "{key}");
        assert_eq!(is["status"].as_str(), Some(was.status.as_str()), "{key}");
        let trail = is["auditTrail"].as_array().expect("a trail");
        assert!(!trail.is_empty(), "{key} has no audit entry");
    }
    println!("{} answered writes over {KILLS} kills, 0 lost, 0 doubled", answered.len());
    let Node::ByHand(mut by_hand) = node else { unreachable!("it was killed at least once") };
    assert!(by_hand.stop(Signal::TERM).success());
    assert!(dev.process.stop(Signal::TERM).success());
    let store = dev.text("/nodes/0/data_dir");
    let replay = qgate().args(["inspect", "--data", store, "replay"]).output().expect("it runs");
    assert!(replay.status.success(), "{replay:?}");
}
