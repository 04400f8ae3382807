//! Several nodes on loopback, each with its own disk: any of them takes commands and reads, one
//! that stops loses nothing, one that comes catches up.

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use common::{bootstrap, change_cluster, create_namespace, namespace_of};
use futures::future::join_all;
use gate::join_token;
use gate::log::{
    Change, ChangeError, Committed, Consistency, Log as _, ProposeError, Reach, Status,
};
use gate::seal::DataKey;
use ledger::table::{self, Meta};
use ledger::{ChangeCluster, NewNode, Reply, WriteHash, Writes, query};
use replica::raft::NodeAddress;
use replica::{Begin, Config, JoinPlan, Replica};
use tempfile::TempDir;
use tokio::net::TcpListener;
use types::codec::encode;
use types::{LogIndex, LogTime, NodeId};

const LONG: Duration = Duration::from_secs(30);

/// A node's disk and door, while it runs and while it does not.
struct Place {
    node: u64,
    dir: TempDir,
    peer: String,
}

struct Cluster {
    key: DataKey,
    places: BTreeMap<u64, Place>,
    running: BTreeMap<u64, Arc<Replica>>,
}

impl Cluster {
    async fn of(nodes: u64) -> Self {
        let (places, running) = (BTreeMap::new(), BTreeMap::new());
        let mut cluster = Self { key: DataKey::draw(), places, running };
        for node in 1..=nodes {
            cluster.add(node).await;
        }
        cluster.propose(1, bootstrap()).await;
        // In the midst of a change the old majority counts too.
        let all = |status: &Status| !status.changing && (1..=nodes).all(|n| is_voter(status, n));
        for node in 1..=nodes {
            cluster.until(node, all).await;
        }
        cluster
    }

    /// A node with an empty disk; the first makes the cluster, the others join it.
    async fn add(&mut self, node: u64) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let peer = listener.local_addr().expect("bound").to_string();
        let place = Place { node, dir: tempfile::tempdir().expect("dir"), peer };
        let config = self.config(&place);
        self.places.insert(node, place);
        let replica = Replica::start(config, Some(listener)).await.expect("start");
        replica.wait_for_leader(LONG).await.expect("a leader");
        self.running.insert(node, replica);
    }

    /// Starts a node with an empty disk under this id, and gives the reason why it cannot go on.
    async fn refused(&self, node: u64) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let peer = listener.local_addr().expect("bound").to_string();
        let place = Place { node, dir: tempfile::tempdir().expect("dir"), peer };
        let replica = Replica::start(self.config(&place), Some(listener)).await.expect("start");
        let why = tokio::time::timeout(LONG, replica.failed()).await.expect("it says so");
        assert!(!replica.status().healthy);
        replica.shutdown().await;
        why
    }

    fn config(&self, place: &Place) -> Config {
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

    async fn stop(&mut self, node: u64) {
        self.running.remove(&node).expect("runs").shutdown().await;
    }

    /// Starts a node again on the data that it has.
    async fn again(&mut self, node: u64) {
        let place = &self.places[&node];
        let listener = TcpListener::bind(&place.peer).await.expect("its port");
        let replica = Replica::start(self.config(place), Some(listener)).await.expect("start");
        replica.wait_for_leader(LONG).await.expect("a leader");
        self.running.insert(node, replica);
    }

    async fn propose(&self, node: u64, command: Vec<u8>) -> Committed {
        let receiver = self.running[&node].propose(command, Reach::Cluster).expect("queued");
        receiver.await.expect("answered").expect("committed")
    }

    /// Waits until what a node knows of the cluster is so.
    async fn until(&self, node: u64, is_so: impl Fn(&Status) -> bool) {
        let all = async {
            while !is_so(&self.running[&node].status()) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let status = || self.running[&node].status();
        assert!(tokio::time::timeout(LONG, all).await.is_ok(), "{:?}", status());
    }

    fn leader(&self) -> u64 {
        let mut known = self.running.values().filter_map(|replica| replica.status().leader);
        known.next().expect("a leader").0
    }

    fn others(&self, than: u64) -> Vec<u64> {
        self.running.keys().copied().filter(|node| *node != than).collect()
    }

    async fn fresh(&self, node: u64) -> LogIndex {
        let read = self.running[&node].read_point(Consistency::Linearizable, LogIndex(0));
        read.await.expect("fresh").index
    }

    fn names(&self, node: u64) -> Vec<String> {
        let mut names = Vec::new();
        let read = self.running[&node].with_state(&mut |view, _| {
            let rows = query::namespaces(view).expect("rows");
            names = rows.into_iter().map(|row| row.name).collect();
        });
        read.expect("view");
        names
    }

    /// All running nodes have the same state once they have applied the same.
    async fn assert_equal(&self) {
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

fn is_voter(status: &Status, node: u64) -> bool {
    status.members.iter().any(|member| member.node == NodeId(node) && member.voter)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_node_takes_commands_and_reads_what_was_answered() {
    let cluster = Cluster::of(3).await;
    let mut numbers = Vec::new();
    for number in 2..32 {
        let node = number % 3 + 1;
        let committed = cluster.propose(node, create_namespace(number)).await;
        numbers.push(u64::from(namespace_of(&committed)));
        // Applied where it was answered, and fresh everywhere.
        let name = format!("n{number}");
        assert!(cluster.names(node).contains(&name));
        for other in cluster.others(node) {
            assert!(cluster.fresh(other).await >= committed.index);
            assert!(cluster.names(other).contains(&name));
        }
    }
    assert_eq!(numbers, (2..32).collect::<Vec<_>>());
    let again = cluster.propose(3, create_namespace(7)).await;
    assert_eq!(namespace_of(&again), 7, "a request sent again gets its first answer");
    cluster.assert_equal().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_of_a_follower_keep_their_order() {
    let cluster = Cluster::of(3).await;
    let follower = cluster.others(cluster.leader())[0];
    let proposals = (2..302).map(|number| cluster.propose(follower, create_namespace(number)));
    let committed = join_all(proposals).await;
    let numbers: Vec<u64> = committed.iter().map(|one| u64::from(namespace_of(one))).collect();
    assert_eq!(numbers, (2..302).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_stops_loses_nothing_and_doubles_nothing() {
    let mut cluster = Cluster::of(3).await;
    let leader = cluster.leader();
    let follower = cluster.others(leader)[0];
    let replica = cluster.running[&follower].clone();
    // On their way while the leader goes.
    let sent: Vec<_> = (2..202)
        .map(|number| replica.propose(create_namespace(number), Reach::Cluster).expect("queued"))
        .collect();
    cluster.stop(leader).await;
    let mut numbers = Vec::new();
    for receiver in sent {
        let committed = receiver.await.expect("answered").expect("committed");
        numbers.push(u64::from(namespace_of(&committed)));
    }
    // What went to two leaders may have changed its place.
    numbers.sort_unstable();
    assert_eq!(numbers, (2..202).collect::<Vec<_>>(), "each once");
    let next = cluster.leader();
    assert_ne!(next, leader);
    cluster.again(leader).await;
    cluster.assert_equal().await;
    assert_eq!(cluster.names(leader).len(), 201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_is_handed_over_and_a_member_leaves_for_ever() {
    let mut cluster = Cluster::of(3).await;
    let leader = cluster.leader();
    let [second, third] = cluster.others(leader)[..] else { panic!("three nodes") };
    let change = |node: u64, change| {
        let replica = cluster.running[&node].clone();
        async move { replica.change(change).await }
    };
    let to = Change::TransferLeader(Some(NodeId(third)));
    change(second, to).await.expect("handed over");
    cluster.until(second, |status| status.leader == Some(NodeId(third))).await;
    cluster.propose(leader, create_namespace(2)).await;

    change(leader, Change::Demote(NodeId(third))).await.expect("a learner now");
    cluster.until(leader, |status| !is_voter(status, third)).await;
    assert_ne!(cluster.leader(), third);
    let refused = change(leader, Change::TransferLeader(Some(NodeId(third)))).await;
    assert!(matches!(refused, Err(ChangeError::Refused(_))), "{refused:?}");
    cluster.propose(third, create_namespace(3)).await;
    change(leader, Change::Promote(NodeId(third))).await.expect("a voter again");
    cluster.until(leader, |status| is_voter(status, third)).await;

    change(leader, Change::Remove(NodeId(third))).await.expect("left");
    cluster.until(leader, |status| status.members.len() == 2).await;
    cluster.stop(third).await;
    cluster.propose(second, create_namespace(4)).await;
    cluster.assert_equal().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_id_of_a_node_that_left_is_never_used_again() {
    let mut cluster = Cluster::of(3).await;
    let (leader, gone) = (cluster.leader(), cluster.others(cluster.leader())[0]);
    let removed = change_cluster(900, ChangeCluster::Remove(NodeId(gone)));
    assert_eq!(cluster.propose(leader, removed).await.reply, Reply::Done);
    let removed = cluster.running[&leader].change(Change::Remove(NodeId(gone))).await;
    removed.expect("left");
    cluster.until(leader, |status| status.members.len() == 2).await;
    cluster.stop(gone).await;
    let why = cluster.refused(gone).await;
    assert!(why.contains(&format!("node {gone} was removed")), "{why}");
    assert!(why.contains("new id"), "{why}");
    cluster.add(4).await;
    cluster.until(leader, |status| is_voter(status, 4)).await;
    cluster.propose(4, create_namespace(2)).await;
    cluster.assert_equal().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_lost_its_data_comes_back_under_a_new_id_only() {
    let mut cluster = Cluster::of(3).await;
    let (leader, lost) = (cluster.leader(), cluster.others(cluster.leader())[0]);
    cluster.stop(lost).await;
    let why = cluster.refused(lost).await;
    assert!(why.contains(&format!("node {lost} is a member with other data")), "{why}");
    assert!(why.contains("new id"), "{why}");
    // Taken in by the ledger, it lost its data before the membership had it.
    let five = NewNode { id: NodeId(5), incarnation: [5; 16] };
    let admitted = change_cluster(900, ChangeCluster::Admit(five));
    assert_eq!(cluster.propose(leader, admitted).await.reply, Reply::Done);
    let why = cluster.refused(5).await;
    assert!(why.contains("node 5 is known with other data"), "{why}");
    cluster.add(4).await;
    cluster.until(leader, |status| is_voter(status, 4)).await;
    let mut row = None;
    let read = cluster.running[&4].with_state(&mut |view, _| {
        row = query::node(view, NodeId(4)).expect("read");
    });
    read.expect("view");
    assert!(row.is_some_and(|row| row.incarnation.is_some() && row.removed_at.is_none()));
    cluster.propose(4, create_namespace(2)).await;
    cluster.assert_equal().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_comes_late_is_sent_a_snapshot() {
    let mut cluster =
        Cluster { key: DataKey::draw(), places: BTreeMap::new(), running: BTreeMap::new() };
    // One whose log is short.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let peer = listener.local_addr().expect("bound").to_string();
    let place = Place { node: 1, dir: tempfile::tempdir().expect("dir"), peer };
    let mut config = cluster.config(&place);
    config.snapshot_entries = 50;
    config.log_kept_entries = 10;
    cluster.places.insert(1, place);
    let first = Replica::start(config, Some(listener)).await.expect("start");
    first.wait_for_leader(LONG).await.expect("a leader");
    cluster.running.insert(1, first.clone());
    cluster.propose(1, bootstrap()).await;
    for number in 2..202 {
        cluster.propose(1, create_namespace(number)).await;
    }
    let purged = async {
        while first.purged().is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LONG, purged).await.expect("its log is purged");
    cluster.add(2).await;
    cluster.until(1, |status| is_voter(status, 2)).await;
    assert_eq!(cluster.names(2).len(), 201);
    cluster.propose(2, create_namespace(300)).await;
    cluster.assert_equal().await;
}

/// The others go on without a node whose state is not theirs, also when it leads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_with_another_state_takes_itself_out_of_service() {
    let mut cluster = Cluster::of(3).await;
    let bad = cluster.leader();
    cluster.propose(bad, create_namespace(2)).await;
    let state = cluster.running[&bad].state();
    let mut writes = Writes::new();
    writes.insert(&table::meta(Meta::WriteHash), Some(&encode(&WriteHash([7; 16]))));
    state.write(&writes, &state.applied().expect("applied")).expect("written");
    // From the next entry on its hash is another one.
    cluster.propose(bad, create_namespace(3)).await;
    cluster.until(bad, |status| !status.healthy).await;
    let others = cluster.others(bad);
    cluster.until(others[0], |status| status.leader != Some(NodeId(bad))).await;
    cluster.propose(others[0], create_namespace(4)).await;
    let refused = cluster.running[&bad].propose(create_namespace(5), Reach::Cluster);
    assert_eq!(refused.err(), Some(ProposeError::Stopping));
    let read = cluster.running[&bad].read_point(Consistency::Stale, LogIndex(0)).await;
    assert_eq!(read, Err(ProposeError::Stopping));
    // It stays so, whoever starts it again.
    cluster.stop(bad).await;
    cluster.again(bad).await;
    cluster.until(bad, |status| !status.healthy).await;
    for other in others {
        assert!(cluster.running[&other].status().healthy);
    }
}
