//! kill -9 under load: every answered write is there afterwards with the same content and its whole
//! trail, nothing is there twice, and a replay of the log from its first entry gives the same state
//! and the root of the audit tree that the node itself has shown.
//!
//! Real processes on real disks; a kill comes when a count of answers is reached, not after a time.
#![cfg(test)]

mod load;
#[path = "../../support/mod.rs"]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::time::Duration;

use client::{Client, Endpoint, Request, Settings};
use load::{Answered, Clients, Progress, Story};
use rustix::process::{Signal, kill_process, test_kill_process};
use serde_json::Value;
use support::node::eventually;
use support::ports::base_port;
use support::{Dev, Process, fixture, log_file, pid, qgate, ready, until};
use tempfile::TempDir;

/// How often the node is killed.
const KILLS: usize = 6;
/// Answers between two kills, at least.
const ANSWERS_BETWEEN: usize = 120;
/// Who works side by side.
const WORKERS: [Story; 13] = [
    Story::Call,
    Story::Call,
    Story::Call,
    Story::Call,
    Story::Approved,
    Story::Approved,
    Story::Rejected,
    Story::Cancelled,
    Story::Hooked,
    Story::Hooked,
    Story::Policy,
    Story::Agent,
    Story::Agent,
];

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

/// Every version of the policies in which a document changed.
async fn versions(admin: &Client, id: &str) -> BTreeSet<u64> {
    let mut found = BTreeSet::new();
    let mut before: Option<u64> = None;
    loop {
        let request = Request::get(&["v1", "policies", id, "versions"])
            .query_if("before", before.map(|version| version.to_string()));
        let page = admin.send(request).await.expect("a page").body;
        let rows = page["versions"].as_array().expect("versions");
        found.extend(rows.iter().filter_map(|row| row["version"].as_u64()));
        before = page["next"].as_u64();
        if before.is_none() {
            return found;
        }
    }
}

/// What stands in an intent's trail, in order.
fn kinds(intent: &Value) -> Vec<String> {
    let rows = intent["auditTrail"].as_array().expect("a trail");
    rows.iter().map(|row| row["event_type"].as_str().expect("a kind").to_owned()).collect()
}

/// The trail of each story of an intent, told once while nothing disturbs it.
async fn undisturbed(clients: &Clients) -> BTreeMap<&'static str, Vec<String>> {
    let mut trails = BTreeMap::new();
    for (story, name) in STORIES {
        let told = load::once(clients, story, &format!("quiet-{name}"), 1).await;
        let Answered::Intent { id, .. } = told else { unreachable!("a story of an intent") };
        let intent = clients.reviewer.intent(&id).await.expect("an intent").body;
        trails.insert(name, kinds(&intent));
    }
    trails
}

const STORIES: [(Story, &str); 5] = [
    (Story::Call, "call"),
    (Story::Approved, "approved"),
    (Story::Rejected, "rejected"),
    (Story::Cancelled, "cancelled"),
    (Story::Hooked, "hooked"),
];

/// One answered write is there as it was answered.
async fn check(
    dev: &Dev,
    answered: &Answered,
    trails: &BTreeMap<&str, Vec<String>>,
    policies: &mut BTreeMap<String, (BTreeSet<u64>, u64)>,
) {
    let admin = patient(dev, "/admin_key");
    match answered {
        Answered::Intent { story, id, key, payload, webhook } => {
            let is = admin.intent(id).await.expect("an answered intent").body;
            assert_eq!(&is["payload"], payload, "{key}");
            assert_eq!(is["status"], story.status(), "{key}: {is}");
            let name = STORIES.iter().find(|(other, _)| other == story).expect("a story").1;
            assert_eq!(kinds(&is), trails[name], "the trail of {key}: {}", is["auditTrail"]);
            let trail = is["auditTrail"].to_string();
            if let Some(webhook) = webhook {
                assert!(trail.contains(webhook.as_str()), "{key}: {trail}");
            }
            if matches!(story, Story::Rejected | Story::Cancelled) {
                assert!(trail.contains(&format!("because of {key}\"")), "{key}: {trail}");
            }
        }
        Answered::Policy { id, version, yaml } => {
            if !policies.contains_key(id) {
                let all = versions(&admin, id).await;
                policies.insert(id.clone(), (all, 0));
            }
            let (all, newest) = policies.get_mut(id).expect("it was put");
            assert!(all.contains(version), "version {version} of {id} is gone: {all:?}");
            assert!(version > newest, "versions of one worker grow");
            *newest = *version;
            if all.iter().next_back() == Some(version) {
                let path = ["v1", "policies", id.as_str()];
                let is = admin.get(&path).await.expect("a policy").body;
                assert!(is.to_string().contains(&Value::from(yaml.as_str()).to_string()), "{is}");
            }
        }
        Answered::Agent { id, name } => {
            let is = admin.get(&["v1", "agents", id]).await.expect("an agent").body;
            assert_eq!(is["name"].as_str(), Some(name.as_str()), "{is}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answered_writes_survive_kill_9_and_no_key_counts_twice() {
    let data = TempDir::new().expect("a directory");
    let mut dev = Dev::start(data.path(), &fixture(""), base_port());
    let clients = Clients {
        agent: patient(&dev, "/agent_key"),
        reviewer: patient(&dev, "/reviewer_keys/0"),
        admin: patient(&dev, "/admin_key"),
    };
    let trails = undisturbed(&clients).await;
    let progress = Progress::default();
    let workers: Vec<_> = (0..)
        .zip(WORKERS)
        .map(|(worker, story)| {
            tokio::spawn(load::work(clients.clone(), worker, story, progress.clone()))
        })
        .collect();
    let launched = dev.file["nodes"][0]["pid"].as_u64().expect("a pid");
    let mut node = Node::Launched(u32::try_from(launched).expect("a pid"));
    for kill in 1..=KILLS {
        // An uneven count, so that kills meet different points of a batch.
        let goal = progress.answers.load(Ordering::SeqCst) + ANSWERS_BETWEEN + kill * 37;
        tokio::task::block_in_place(|| {
            until("answers between two kills", || {
                (progress.answers.load(Ordering::SeqCst) >= goal).then_some(())
            });
            node.kill_9();
        });
        let log = log_file(data.path(), &format!("serve-{kill}.log"));
        let mut serve = qgate();
        serve.args(["serve", "--config", dev.text("/nodes/0/config")]).stderr(log);
        node = Node::ByHand(Process::start(&mut serve));
        ready(&dev).await;
    }
    progress.stop.store(true, Ordering::SeqCst);
    let mut answered = Vec::new();
    for worker in workers {
        answered.extend(worker.await.expect("a worker that found nothing wrong"));
    }
    let all = all_intents(&patient(&dev, "/auditor_key")).await;
    let keys: BTreeSet<&str> =
        all.iter().filter_map(|row| row["idempotency_key"].as_str()).collect();
    assert_eq!(keys.len(), all.len(), "a key was accepted twice");
    let intents = answered.iter().filter(|one| matches!(one, Answered::Intent { .. })).count();
    let expected = intents + STORIES.len();
    assert_eq!(all.len(), expected, "an intent that nobody asked for, or one too few");
    let mut policies = BTreeMap::new();
    for one in &answered {
        check(&dev, one, &trails, &mut policies).await;
    }
    println!("{} answered writes over {KILLS} kills, 0 lost, 0 doubled", answered.len());

    // The beginning of an executor is the last leaf that comes by itself.
    eventually("the executor has begun", || async {
        (!dev.metrics().contains("gate_executor_epoch 0\n")).then_some(())
    })
    .await;
    let tree = clients.admin.get(&["v1", "audit", "checkpoint"]).await.expect("a tree").body;
    let Node::ByHand(mut by_hand) = node else { unreachable!("it was killed at least once") };
    assert!(by_hand.stop(Signal::TERM).success());
    assert!(dev.process.stop(Signal::TERM).success());
    let store = dev.text("/nodes/0/data_dir");
    let mut replay = qgate();
    let replay = replay.args(["--output", "json", "inspect", "--data", store, "replay"]).output();
    let replay = replay.expect("it runs");
    assert!(replay.status.success(), "{replay:?}");
    let replayed: Value = serde_json::from_slice(&replay.stdout).expect("JSON");
    assert_eq!(replayed["tree_size"], tree["size"], "{replayed} {tree}");
    assert_eq!(replayed["tree_root"], tree["root"], "{replayed} {tree}");
}
