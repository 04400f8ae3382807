//! A cluster of real nodes in one process.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use gate::join_token;
use gate::log::{Committed, Consistency, Log as _, Reach, Status};
use gate::seal::DataKey;
use ledger::query;
use replica::raft::NodeAddress;
use replica::{Begin, Config, JoinPlan, Replica};
use tempfile::TempDir;
use tokio::net::TcpListener;
use types::{LogIndex, LogTime, NodeId};

use super::bootstrap;

pub const LONG: Duration = Duration::from_secs(30);

/// A node's disk and door, while it runs and while it does not.
pub struct Place {
    pub node: u64,
    pub dir: TempDir,
    pub peer: String,
}

impl Place {
    /// An empty disk and a port.
    pub async fn new(node: u64) -> (Self, TcpListener) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let peer = listener.local_addr().expect("bound").to_string();
        (Self { node, dir: tempfile::tempdir().expect("dir"), peer }, listener)
    }
}

pub struct Cluster {
    pub key: DataKey,
    pub places: BTreeMap<u64, Place>,
    pub running: BTreeMap<u64, Arc<Replica>>,
}

impl Cluster {
    /// No node yet.
    pub fn empty() -> Self {
        let (places, running) = (BTreeMap::new(), BTreeMap::new());
        Self { key: DataKey::draw(), places, running }
    }

    /// So many voters, and a first admin.
    pub async fn of(nodes: u64) -> Self {
        let mut cluster = Self::empty();
        cluster.add(1).await;
        cluster.propose(1, bootstrap()).await;
        for node in 2..=nodes {
            cluster.add(node).await;
        }
        // In the midst of a change the old majority counts too.
        let all = |status: &Status| !status.changing && (1..=nodes).all(|n| is_voter(status, n));
        for node in 1..=nodes {
            cluster.until(node, all).await;
        }
        cluster
    }

    /// A node with an empty disk; the first makes the cluster, the others join it.
    pub async fn add(&mut self, node: u64) {
        self.add_with(node, |_| {}).await;
    }

    /// The same, configured otherwise.
    pub async fn add_with(&mut self, node: u64, change: impl FnOnce(&mut Config)) {
        let (place, listener) = Place::new(node).await;
        let mut config = self.config(&place);
        change(&mut config);
        self.places.insert(node, place);
        let replica = Replica::start(config, Some(listener)).await.expect("start");
        replica.wait_for_leader(LONG).await.expect("a leader");
        self.running.insert(node, replica);
    }

    /// Starts a node with an empty disk under this id, and gives the reason why it cannot go on.
    pub async fn refused(&self, node: u64) -> String {
        let (place, listener) = Place::new(node).await;
        let replica = Replica::start(self.config(&place), Some(listener)).await.expect("start");
        let why = tokio::time::timeout(LONG, replica.failed()).await.expect("it says so");
        assert!(!replica.status().healthy);
        replica.shutdown().await;
        why
    }

    pub fn config(&self, place: &Place) -> Config {
        let address = NodeAddress {
            http: format!("h:{}", place.node),
            peer: place.peer.clone(),
            ..NodeAddress::default()
        };
        let dir: &Path = place.dir.path();
        let key = self.key.clone();
        let mut config = Config::new(dir.to_owned(), NodeId(place.node), address, key);
        if let Some((_, first)) = self.running.first_key_value() {
            let cluster_id = first.status().cluster_id;
            let token = join_token::sign(&self.key, &cluster_id, LogTime(u64::MAX));
            let others = self.places.values().filter(|other| other.node != place.node);
            let ask = others.map(|other| (other.node, other.peer.clone())).collect();
            config.begin = Begin::Join(JoinPlan { cluster_id, ask, token });
        }
        config
    }

    pub async fn stop(&mut self, node: u64) {
        self.running.remove(&node).expect("runs").shutdown().await;
    }

    /// Starts a node again on the data that it has.
    pub async fn again(&mut self, node: u64) {
        self.again_alone(node).await;
        self.running[&node].wait_for_leader(LONG).await.expect("a leader");
    }

    /// The same without waiting for a leader.
    pub async fn again_alone(&mut self, node: u64) {
        let place = &self.places[&node];
        let listener = TcpListener::bind(&place.peer).await.expect("its port");
        let replica = Replica::start(self.config(place), Some(listener)).await.expect("start");
        self.running.insert(node, replica);
    }

    pub async fn propose(&self, node: u64, command: Vec<u8>) -> Committed {
        let receiver = self.running[&node].propose(command, Reach::Cluster).expect("queued");
        receiver.await.expect("answered").expect("committed")
    }

    /// Waits until what a node knows of the cluster is so.
    pub async fn until(&self, node: u64, is_so: impl Fn(&Status) -> bool) {
        let all = async {
            while !is_so(&self.running[&node].status()) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let status = || self.running[&node].status();
        assert!(tokio::time::timeout(LONG, all).await.is_ok(), "{:?}", status());
    }

    pub fn leader(&self) -> u64 {
        let mut known = self.running.values().filter_map(|replica| replica.status().leader);
        known.next().expect("a leader").0
    }

    pub fn others(&self, than: u64) -> Vec<u64> {
        self.running.keys().copied().filter(|node| *node != than).collect()
    }

    pub async fn fresh(&self, node: u64) -> LogIndex {
        let read = self.running[&node].read_point(Consistency::Linearizable, LogIndex(0));
        read.await.expect("fresh").index
    }

    pub fn names(&self, node: u64) -> Vec<String> {
        let mut names = Vec::new();
        let read = self.running[&node].with_state(&mut |view, _| {
            let rows = query::namespaces(view).expect("rows");
            names = rows.into_iter().map(|row| row.name).collect();
        });
        read.expect("view");
        names
    }

    /// All running nodes have the same state once they have applied the same.
    pub async fn assert_equal(&self) {
        let newest = self.fresh(self.leader()).await;
        let mut hashes = Vec::new();
        for replica in self.running.values() {
            let point = replica.read_point(Consistency::Stale, newest);
            point.await.expect("applied");
            hashes.push(replica.state().state_hash().expect("hash").1);
        }
        assert!(hashes.windows(2).all(|pair| pair[0] == pair[1]));
    }
}

pub fn is_voter(status: &Status, node: u64) -> bool {
    status.members.iter().any(|member| member.node == NodeId(node) && member.voter)
}
