//! The cluster: its machines, its keys, who leads, who is in it.
//!
//! Invariant: a node that ends by itself is looked for, and is a violation unless its disk failed
//! it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use checker::questions::{destinations, gates};
use client::{Client, Request, Settings};
use serde_json::{Value, json};

use crate::machine::{Machine, PEER_PORT};
use crate::support::node::eventually;

/// Ids that have a certificate.
const IDS_MAX: u64 = 99;
/// Snapshots are made all the time, and may take all of the network on their way; who was away for
/// long is sent one.
const SNAPSHOTS: &str = "snapshot_entries: 1000, log_kept_entries: 500, \
                         snapshot_bytes_per_second: 500000000";
/// How far a clock is off, in microseconds, that runs at another rate for as long as a run takes.
const DRIFTED_US: i64 = 1_000_000;
/// How long one question to one node may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// Longer than a run, and shorter than a jump of a clock.
const WINDOW_SECONDS: u64 = 1_800;

/// The keys of everybody.
#[derive(Clone, Default)]
pub(crate) struct Keys {
    pub(crate) admin: String,
    pub(crate) agent: String,
    /// Id and key of each.
    pub(crate) reviewers: Vec<(String, String)>,
}

pub(crate) struct World {
    gate: PathBuf,
    home: PathBuf,
    pub(crate) machines: BTreeMap<u64, Machine>,
    pub(crate) keys: Keys,
    next_id: u64,
    /// Where one node's clocks run at another rate.
    pub(crate) rates: BTreeMap<u64, u32>,
}

impl World {
    /// Makes a cluster of so many nodes, whose destinations are at a target.
    pub(crate) async fn make(
        gate: &Path,
        home: &Path,
        nodes: u64,
        rates: BTreeMap<u64, u32>,
        target: &str,
    ) -> Self {
        let digits = |count: usize| {
            let bytes: Vec<String> =
                (0..count).map(|_| format!("{:02x}", rand::random::<u8>())).collect();
            bytes.concat()
        };
        fs::write(home.join("data.key"), digits(32)).expect("a file");
        set_private(&home.join("data.key"));
        let ids: Vec<String> = (1..=IDS_MAX).map(|id| id.to_string()).collect();
        let mut command = Command::new(gate);
        command.args(["cluster", "certificates", "--cluster-id", &digits(16)]);
        command.args(["--nodes", &ids.join(",")]).arg("--dir").arg(home.join("ca"));
        let issued = command.output().expect("it runs");
        assert!(issued.status.success(), "{issued:?}");
        let mut world = Self {
            gate: gate.to_owned(),
            home: home.to_owned(),
            machines: BTreeMap::new(),
            keys: Keys::default(),
            next_id: 1,
            rates,
        };
        let first = world.add(&format!(
            "cluster: {{initialise: true, {SNAPSHOTS}}}\nadmin_key_file: admin.key\n"
        ));
        world.start(first);
        let key_file = home.join(format!("node-{first}/admin.key"));
        let key = eventually("the first key is there", || async {
            world.must_all_run();
            fs::read_to_string(&key_file).ok()
        });
        world.keys.admin = key.await.trim().to_owned();
        world.ready(first).await;
        for _ in 1..nodes {
            let id = world.join().await;
            world.becomes_voter(id).await;
        }
        world.settle(target).await;
        world
    }

    /// Makes principals, gates and destinations.
    async fn settle(&mut self, target: &str) {
        let admin = self.client(1, &self.keys.admin);
        let register = async |name: &str, role: &str| {
            let body = json!({ "name": name, "role": role });
            let made = admin.post(&["v1", "agents", "register"], &body).await.expect("a key");
            ["agentId", "apiKey"].map(|name| made.text(name).expect(name).to_owned())
        };
        let [_, agent] = register("agent", "agent").await;
        self.keys.agent = agent;
        for name in ["first", "second", "third"] {
            self.keys.reviewers.push(register(name, "reviewer").await.into());
        }
        let policies = json!({ "policies": { "gates": gates(WINDOW_SECONDS) } });
        admin.put(&["v1", "policies"], &policies).await.expect("policies");
        for (name, document) in destinations(target) {
            let request = Request::new(client::Method::Put, &["v1", "destinations", name]);
            admin.send(request.yaml(document.into_bytes())).await.expect("a destination");
        }
    }

    fn add(&mut self, last_lines: &str) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        let rate = self.rates.get(&id).copied();
        self.machines.insert(id, Machine::new(id, &self.home, rate, last_lines));
        id
    }

    /// Adds a machine for a node that will join; gives its id.
    pub(crate) async fn prepare_join(&mut self) -> u64 {
        let body = json!({ "valid_seconds": 3600 });
        let token = eventually("a token", || async {
            let client = self.client_any(&self.keys.admin);
            let answer = client.post(&["v1", "cluster", "join-token"], &body).await.ok()?;
            answer.text("token").map(str::to_owned)
        });
        fs::write(self.home.join("join.token"), token.await).expect("a file");
        set_private(&self.home.join("join.token"));
        let peer =
            |machine: &Machine| format!("{}: \"{}:{PEER_PORT}\"", machine.id, machine.host.address);
        let ask: Vec<String> = self.machines.values().map(peer).collect();
        let lines = format!(
            "cluster:\n  {}\n  \
             join: {{ask: {{{}}}, token_file: ../join.token}}\n",
            SNAPSHOTS.replace(", ", "\n  "),
            ask.join(", ")
        );
        self.add(&lines)
    }

    /// A new node joins, as a learner at first; gives its id.
    pub(crate) async fn join(&mut self) -> u64 {
        let id = self.prepare_join().await;
        self.start(id);
        id
    }

    pub(crate) fn start(&mut self, id: u64) {
        let gate = self.gate.clone();
        self.machine_mut(id).start(&gate);
    }

    pub(crate) fn machine(&self, id: u64) -> &Machine {
        &self.machines[&id]
    }

    pub(crate) fn machine_mut(&mut self, id: u64) -> &mut Machine {
        self.machines.get_mut(&id).expect("a machine")
    }

    pub(crate) fn ids(&self) -> Vec<u64> {
        self.machines.keys().copied().collect()
    }

    /// The front doors of all nodes.
    pub(crate) fn doors(&self) -> Vec<String> {
        self.machines.values().map(Machine::http).collect()
    }

    /// A client that asks one node only.
    pub(crate) fn client(&self, id: u64, key: &str) -> Client {
        client_of(&[self.machine(id).http()], key, PATIENCE)
    }

    /// A client that goes from node to node.
    pub(crate) fn client_any(&self, key: &str) -> Client {
        client_of(&self.doors(), key, PATIENCE)
    }

    pub(crate) async fn is_ready(&self, id: u64) -> bool {
        let client = self.client(id, &self.keys.admin);
        client.send(Request::get(&["readyz"]).anonymous()).await.is_ok()
    }

    pub(crate) async fn ready(&self, id: u64) {
        eventually(&format!("node {id} is ready"), || async {
            self.is_ready(id).await.then_some(())
        })
        .await;
    }

    pub(crate) async fn all_ready(&self, ids: &[u64]) {
        for id in ids {
            self.ready(*id).await;
        }
    }

    /// The cluster as a node knows it, if that answers.
    pub(crate) async fn status(&self, id: u64) -> Option<Value> {
        let client = self.client(id, &self.keys.admin);
        client.get(&["v1", "cluster"]).await.ok().map(|answer| answer.body)
    }

    /// Who leads and in which term, of the nodes in a list that answer.
    pub(crate) async fn leader_among(&self, ids: &[u64]) -> (u64, u64) {
        eventually("a node leads", || async {
            let mut leads = None;
            for id in ids.iter().filter(|id| self.machine(**id).runs()) {
                let Some(status) = self.status(*id).await else { continue };
                if status["leader_id"] == *id {
                    leads = leads.max(status["term"].as_u64().map(|term| (term, *id)));
                }
            }
            leads.map(|(term, id)| (id, term))
        })
        .await
    }

    pub(crate) async fn leader(&self) -> u64 {
        self.leader_among(&self.ids()).await.0
    }

    pub(crate) async fn follower(&self) -> u64 {
        let leader = self.leader().await;
        let mut others = self.ids();
        others.retain(|id| *id != leader && self.machine(*id).runs());
        others[rand::random_range(0..others.len())]
    }

    /// Asks for a change of the membership until it is so.
    pub(crate) async fn change(&self, change: &str, id: u64, holds: impl Fn(&Value) -> bool) {
        let body = json!({ "node": id });
        eventually(&format!("{change} of node {id}"), || async {
            let client = self.client_any(&self.keys.admin);
            _ = client.post(&["v1", "cluster", change], &body).await;
            let status = self.status(self.leader().await).await?;
            let is_done = status["changing"] == false && holds(&status);
            is_done.then_some(())
        })
        .await;
    }

    /// Waits until a node votes, and no change is under way.
    pub(crate) async fn becomes_voter(&self, id: u64) {
        eventually(&format!("node {id} votes"), || async {
            let status = self.status(self.leader().await).await?;
            let voter = role(&status, id) == Some("voter");
            (voter && status["changing"] == false).then_some(())
        })
        .await;
    }

    /// Removes a node for ever. Its process may still be there.
    pub(crate) async fn remove(&self, id: u64) {
        self.change("remove", id, |status| role(status, id).is_none()).await;
    }

    /// Takes the machine of a node away.
    pub(crate) fn take_away(&mut self, id: u64) {
        let mut machine = self.machines.remove(&id).expect("a machine");
        if machine.runs() && machine.has_ended().is_none() {
            machine.kill();
        }
    }

    /// Leaves and root of the audit tree as a node has them.
    pub(crate) async fn checkpoint(&self, id: u64) -> (u64, String) {
        let request = Request::get(&["v1", "audit", "checkpoint"]).query("consistency", "stale");
        let answer = eventually("the node shows its tree", || async {
            self.client(id, &self.keys.admin).send(request.clone()).await.ok()
        });
        let answer = answer.await;
        let root = answer.text("root").expect("a root").to_owned();
        (answer.body["size"].as_u64().expect("a size"), root)
    }

    /// Waits until a node has what the leader has now.
    pub(crate) async fn caught_up(&self, id: u64) {
        let index = eventually("the leader answers", || async {
            let status = self.status(self.leader().await).await?;
            status["committed_index"].as_u64()
        })
        .await;
        eventually(&format!("node {id} has caught up"), || async {
            let status = self.status(id).await?;
            (status["applied_index"].as_u64()? >= index).then_some(())
        })
        .await;
    }

    /// Waits until another node sees this one's clock so far off, in microseconds.
    pub(crate) async fn sees_clock(&self, id: u64, is_so: impl Fn(i64) -> bool) {
        let other = self.ids().into_iter().find(|other| *other != id).expect("another node");
        eventually(&format!("node {other} sees the clock of node {id}"), || async {
            let status = self.status(other).await?;
            is_so(member(&status, id)?["clock_offset_us"].as_i64()?).then_some(())
        })
        .await;
    }

    /// How many nodes have clocks at another rate, each of which another node must have seen.
    pub(crate) async fn drifts(&self) -> u64 {
        for id in self.rates.keys() {
            self.sees_clock(*id, |offset_us| offset_us.abs() > DRIFTED_US).await;
        }
        self.rates.len() as u64
    }

    /// Fails if a node has ended by itself.
    pub(crate) fn must_all_run(&self) {
        for machine in self.machines.values().filter(|machine| machine.runs()) {
            assert!(
                machine.is_there(),
                "violation: node {} ended by itself: {}",
                machine.id,
                machine.last_words()
            );
        }
    }

    /// Starts every node that does not run, and waits until all are ready and hear each other.
    pub(crate) async fn heal(&mut self) {
        self.must_all_run();
        for id in self.ids() {
            let machine = self.machine_mut(id);
            machine.host.heal();
            machine.disk.make_room();
            machine.set_clock_right();
            if !machine.runs() {
                self.start(id);
            }
        }
        for id in self.ids() {
            self.ready(id).await;
            self.caught_up(id).await;
        }
        self.must_all_run();
    }

    /// No node has said that a part of it ended in a panic; one that is removed neither.
    pub(crate) fn must_be_calm(&self) {
        let homes = fs::read_dir(&self.home).expect("a directory");
        let files =
            homes.flatten().flat_map(|home| fs::read_dir(home.path()).into_iter().flatten());
        for file in
            files.flatten().filter(|file| file.path().extension().is_some_and(|end| end == "log"))
        {
            let text = fs::read_to_string(file.path()).unwrap_or_default();
            let panic = text.lines().find(|line| line.contains("panicked"));
            assert!(panic.is_none(), "violation: {}: {panic:?}", file.path().display());
        }
    }

    /// Ends all nodes in order.
    pub(crate) fn stop(&mut self) {
        let running = || self.machines.values().filter(|machine| machine.runs());
        running().for_each(|machine| machine.signal(rustix::process::Signal::TERM));
        for machine in self.machines.values_mut().filter(|machine| machine.runs()) {
            let status = machine.gone();
            assert!(status.success(), "node {}: {status}: {}", machine.id, machine.last_words());
        }
    }
}

/// What a status says of a node.
fn member(status: &Value, id: u64) -> Option<&Value> {
    status["nodes"].as_array()?.iter().find(|member| member["id"] == id)
}

/// What a node is in a status.
fn role(status: &Value, id: u64) -> Option<&str> {
    member(status, id)?["role"].as_str()
}

pub(crate) fn client_of(doors: &[String], key: &str, patience: Duration) -> Client {
    let endpoints = doors.iter().map(|door| door.parse().expect("an address")).collect();
    let mut settings = Settings::new(endpoints).with_key(key);
    settings.deadline = patience;
    Client::new(settings).expect("a client")
}

/// Keys that others may read are refused.
fn set_private(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("its owner's");
}
