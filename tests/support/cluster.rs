//! A cluster of real processes on loopback, as `qgate dev` makes it: its nodes are killed, frozen,
//! stopped, and started again by hand with the files that it wrote.
//!
//! Invariant: every process that was started here is stopped here, by its id.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use client::{Client, Endpoint, Request, Settings};
use rustix::process::{Signal, kill_process, test_kill_process};
use serde_json::Value;

use super::node::eventually;
use super::{DEADLINE, Process, log_file, pid, until};

/// The launcher, and its nodes.
pub struct Cluster {
    gate: PathBuf,
    pub home: PathBuf,
    pub file: Value,
    nodes: BTreeMap<u64, Place>,
    starts: u32,
    /// Last, so that it goes last: what it started ends with it.
    _launcher: Process,
}

/// One node.
struct Place {
    http: String,
    metrics: String,
    config: PathBuf,
    run: Run,
}

enum Run {
    /// The launcher's child.
    Launched(u32),
    ByHand(Process),
    Stopped,
}

impl Cluster {
    /// Starts `qgate dev` with so many nodes; everything of it lies below `home`.
    pub fn start(gate: &Path, home: &Path, policies: &Path, nodes: u16, base_port: u16) -> Self {
        let mut command = Command::new(gate);
        command.env_remove("QGATE_ENDPOINT").env_remove("QGATE_API_KEY");
        command.arg("dev").arg("--data").arg(home.join("dev")).arg("--policies").arg(policies);
        command.args(["--nodes", &nodes.to_string(), "--base-port", &base_port.to_string()]);
        command.stdout(Stdio::null()).stderr(log_file(home, "dev.log"));
        let mut launcher = Process::start(&mut command);
        let path = home.join("dev/dev.json");
        let file: Value = until("dev.json appears", || {
            if let Some(status) = launcher.0.try_wait().expect("it is ours") {
                let log = fs::read_to_string(home.join("dev.log")).expect("its log");
                panic!("qgate dev ended with {status}: {log}");
            }
            fs::read(&path).ok().map(|bytes| serde_json::from_slice(&bytes).expect("JSON"))
        });
        let mut places = BTreeMap::new();
        for node in file["nodes"].as_array().expect("nodes") {
            let number = |name: &str| node[name].as_u64().expect(name);
            let text = |name: &str| node[name].as_str().expect(name).to_owned();
            let process = u32::try_from(number("pid")).expect("a pid");
            let place = Place {
                http: text("http"),
                metrics: text("metrics").trim_start_matches("http://").to_owned(),
                config: text("config").into(),
                run: Run::Launched(process),
            };
            places.insert(number("id"), place);
        }
        let (gate, home) = (gate.to_owned(), home.to_owned());
        Self { gate, home, file, nodes: places, starts: 0, _launcher: launcher }
    }

    /// The binary.
    pub fn gate(&self) -> &Path {
        &self.gate
    }

    /// The ids of all nodes.
    pub fn ids(&self) -> Vec<u64> {
        self.nodes.keys().copied().collect()
    }

    pub fn text(&self, pointer: &str) -> &str {
        self.file.pointer(pointer).and_then(Value::as_str).expect(pointer)
    }

    /// A client with one of the keys that goes on to the next node where one does not answer; it
    /// begins with another node for each `first`.
    pub fn client(&self, key: &str, first: usize) -> Client {
        let all: Vec<&Place> = self.nodes.values().collect();
        let in_turn = (0..all.len()).map(|step| all[(first + step) % all.len()]);
        let endpoints = in_turn.map(|place| place.http.parse().expect("an address")).collect();
        self.client_of(key, endpoints, Duration::from_secs(30))
    }

    /// A client that asks one node only.
    pub fn client_at(&self, node: u64, key: &str) -> Client {
        let endpoint = self.nodes[&node].http.parse().expect("an address");
        self.client_of(key, vec![endpoint], Duration::from_millis(500))
    }

    fn client_of(&self, key: &str, endpoints: Vec<Endpoint>, deadline: Duration) -> Client {
        let mut settings = Settings::new(endpoints).with_key(self.text(key));
        settings.deadline = deadline;
        Client::new(settings).expect("a client")
    }

    /// Pairs of clients of the agent, each of which begins with two different nodes.
    pub fn pairs(&self, count: usize) -> Vec<[Client; 2]> {
        let pair = |first| [first, first + 1].map(|first| self.client("/agent_key", first));
        (0..count).map(pair).collect()
    }

    /// The cluster as a node knows it, if that answers.
    pub async fn status(&self, node: u64) -> Option<Value> {
        let client = self.client_at(node, "/admin_key");
        client.get(&["v1", "cluster"]).await.ok().map(|answer| answer.body)
    }

    /// The node that says it leads; of several the one of the latest term.
    pub async fn leader(&self) -> u64 {
        eventually("a node leads", || async {
            let mut leads = None;
            for (node, _) in self.running() {
                let Some(status) = self.status(node).await else { continue };
                if status["leader_id"] == node {
                    leads = leads.max(Some((status["term"].as_u64(), node)));
                }
            }
            leads.map(|(_, node)| node)
        })
        .await
    }

    /// A node that does not lead.
    pub async fn follower(&self) -> u64 {
        let leader = self.leader().await;
        let other = self.running().map(|(node, _)| node).find(|node| *node != leader);
        other.expect("a node beside the leader")
    }

    fn running(&self) -> impl Iterator<Item = (u64, &Place)> {
        let all = self.nodes.iter().map(|(node, place)| (*node, place));
        all.filter(|(_, place)| !matches!(place.run, Run::Stopped))
    }

    pub fn process_id(&self, node: u64) -> u32 {
        match &self.nodes[&node].run {
            Run::Launched(id) => *id,
            Run::ByHand(process) => process.0.id(),
            Run::Stopped => panic!("node {node} does not run"),
        }
    }

    /// The value of one series of a node's metrics.
    pub fn metric(&self, node: u64, series: &str) -> f64 {
        super::metric(&self.nodes[&node].metrics, series)
    }

    /// Sends a signal to a node.
    pub fn signal(&self, node: u64, signal: Signal) {
        kill_process(pid(self.process_id(node)), signal).expect("it runs");
    }

    /// Waits until a node that was told to end is gone.
    pub fn gone(&mut self, node: u64) {
        let place = self.nodes.get_mut(&node).expect("a node");
        match std::mem::replace(&mut place.run, Run::Stopped) {
            // Its parent reaps it.
            Run::Launched(id) => {
                until("the node is gone", || test_kill_process(pid(id)).err());
            }
            Run::ByHand(mut process) => {
                process.wait();
            }
            Run::Stopped => panic!("node {node} does not run"),
        }
    }

    /// Stops nodes in order, all at once, and waits for each.
    pub fn stop(&mut self, nodes: &[u64]) {
        nodes.iter().for_each(|node| self.signal(*node, Signal::TERM));
        nodes.iter().for_each(|node| self.gone(*node));
    }

    /// Starts a node on its own files; it may not answer yet.
    pub fn start_again(&mut self, node: u64) {
        self.starts += 1;
        let log = log_file(&self.home, &format!("serve-{}.log", self.starts));
        let place = self.nodes.get_mut(&node).expect("a node");
        let mut serve = Command::new(&self.gate);
        serve.arg("serve").arg("--config").arg(&place.config);
        place.run = Run::ByHand(Process::start(serve.stdout(Stdio::null()).stderr(log)));
    }

    /// Adds a node with a configuration of its own, and starts it.
    pub fn add(&mut self, node: u64, [http, metrics]: [String; 2], config: PathBuf) {
        self.nodes.insert(node, Place { http, metrics, config, run: Run::Stopped });
        self.start_again(node);
    }

    /// Forgets a node that does not run and will not again.
    pub fn forget(&mut self, node: u64) {
        let place = self.nodes.remove(&node).expect("a node");
        assert!(matches!(place.run, Run::Stopped), "node {node} runs");
    }

    /// How a node that was started last ended by itself, and what it said.
    pub fn ended(&mut self, node: u64) -> (Option<i32>, String) {
        let place = self.nodes.get_mut(&node).expect("a node");
        let Run::ByHand(mut process) = std::mem::replace(&mut place.run, Run::Stopped) else {
            panic!("node {node} was not started by hand");
        };
        let status = process.wait();
        let log = self.home.join(format!("serve-{}.log", self.starts));
        (status.code(), fs::read_to_string(log).expect("its log"))
    }

    /// Waits until a node says that it is ready.
    pub async fn ready(&self, node: u64) {
        let client = self.client_at(node, "/admin_key");
        eventually(&format!("node {node} is ready"), || async {
            client.send(Request::get(&["readyz"]).anonymous()).await.ok()
        })
        .await;
    }

    /// Waits until all running nodes show one state, at this index or later; gives its size.
    pub async fn equal(&self) -> u64 {
        let mut index = 0;
        for (node, _) in self.running() {
            let status = self.status(node).await.expect("it answers");
            index = index.max(status["applied_index"].as_u64().expect("an index"));
        }
        eventually("all nodes show one state", || async {
            let mut trees = BTreeMap::new();
            for (node, _) in self.running() {
                let request = Request::get(&["v1", "audit", "checkpoint"])
                    .query("consistency", "stale")
                    .query("min_index", index.to_string())
                    .patience(DEADLINE);
                let tree = self.client_at(node, "/admin_key").send(request).await.ok()?.body;
                let (size, root) = (tree["size"].as_u64()?, tree["root"].to_string());
                let known = trees.entry(size).or_insert_with(|| root.clone());
                assert_eq!(*known, root, "node {node} has another tree of {size} leaves");
            }
            // The last leaves may be on their way to some.
            (trees.len() == 1).then(|| trees.into_keys().next()).flatten()
        })
        .await
    }
}
