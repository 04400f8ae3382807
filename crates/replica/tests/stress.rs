//! Nodes under stress, each with its own fault: a disk that is slow, hangs or is full, a way that
//! is held up, a profile that does not fit. The others go on.

mod common;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::{bootstrap, create_namespace, create_namespace_named};
use futures::future::join_all;
use gate::join_token;
use gate::log::{Consistency, Log, ProposeError, Reach, Status, Warning};
use gate::seal::DataKey;
use replica::raft::NodeAddress;
use replica::{Begin, Config, DiskLimits, JoinPlan, Profile, Replica, StartError};
use store::log::BeforeSync;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use types::limits::REPLICATION_HELD_BYTES_MAX;
use types::{LogIndex, LogTime, NodeId};

const LONG: Duration = Duration::from_secs(60);
/// A disk that is full, and would not stop the node.
const FULL: DiskLimits = DiskLimits {
    reserve_bytes: Some(u64::MAX),
    quota_bytes: None,
    stop_bytes: Some(0),
    ballast_bytes: Some(0),
};

/// A way to a node that can be held up: what comes meanwhile is not taken off the connection.
struct Way {
    address: String,
    held: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Way {
    async fn to(door: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound").to_string();
        let held = Arc::new(AtomicBool::new(false));
        let is_held = held.clone();
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                let (door, is_held) = (door.clone(), is_held.clone());
                connections.spawn(async move {
                    let Ok(far) = TcpStream::connect(door).await else { return };
                    let ((near_in, near_out), (far_in, far_out)) =
                        (near.into_split(), far.into_split());
                    tokio::join!(
                        carry(near_in, far_out, is_held),
                        carry(far_in, near_out, Arc::default())
                    );
                });
            }
        });
        Self { address, held, task }
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn carry(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    is_held: Arc<AtomicBool>,
) {
    let mut bytes = vec![0; 64 * 1024];
    loop {
        while is_held.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        match from.read(&mut bytes).await {
            Ok(read @ 1..) if to.write_all(&bytes[..read]).await.is_ok() => {}
            _ => return,
        }
    }
}

struct Nodes {
    running: BTreeMap<u64, Arc<Replica>>,
    ways: BTreeMap<u64, Way>,
    _dirs: Vec<TempDir>,
}

/// Node 1 began as the leader, and is it no more.
fn another_leads(status: &Status) -> bool {
    status.leader.is_some_and(|leader| leader != NodeId(1))
}

impl Nodes {
    /// Three voters, each with its own configuration.
    async fn with(change: impl Fn(u64, &mut Config)) -> Self {
        let key = DataKey::draw();
        let mut nodes = Self { running: BTreeMap::new(), ways: BTreeMap::new(), _dirs: Vec::new() };
        for node in 1..=3 {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let door = listener.local_addr().expect("bound").to_string();
            let way = Way::to(door).await;
            let dir = tempfile::tempdir().expect("dir");
            let address = NodeAddress {
                http: format!("h:{node}"),
                peer: way.address.clone(),
                ..NodeAddress::default()
            };
            let (path, id) = (dir.path().to_owned(), NodeId(node));
            let mut config = Config::new(path, id, address, key.clone());
            if let Some(first) = nodes.running.get(&1) {
                let cluster_id = first.status().cluster_id;
                let token = join_token::sign(&key, &cluster_id, LogTime(u64::MAX));
                let ask =
                    nodes.ways.iter().map(|(node, way)| (*node, way.address.clone())).collect();
                config.begin = Begin::Join(JoinPlan { cluster_id, ask, token });
            }
            change(node, &mut config);
            let replica = Replica::start(config, Some(listener)).await.expect("start");
            replica.wait_for_leader(LONG).await.expect("a leader");
            nodes.running.insert(node, replica);
            nodes.ways.insert(node, way);
            nodes._dirs.push(dir);
            if node == 1 {
                nodes.propose(1, bootstrap()).await;
            }
        }
        for node in 1..=3 {
            let votes = |status: &Status| status.members.iter().filter(|m| m.voter).count();
            nodes.until(node, |status| !status.changing && votes(status) == 3).await;
        }
        nodes
    }

    fn node(&self, node: u64) -> &Arc<Replica> {
        &self.running[&node]
    }

    async fn propose(&self, node: u64, command: Vec<u8>) -> LogIndex {
        let receiver = self.node(node).propose(command, Reach::Cluster).expect("queued");
        receiver.await.expect("answered").expect("committed").index
    }

    /// Waits until what a node says is so.
    async fn until(&self, node: u64, is_so: impl Fn(&Status) -> bool) {
        let all = async {
            while !is_so(&self.node(node).status()) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let ended = tokio::time::timeout(LONG, all).await;
        assert!(ended.is_ok(), "{node}: {:?}", self.node(node).status());
    }

    /// Waits until something holds of all nodes.
    async fn until_all(&self, is_so: impl Fn(&Replica) -> bool) {
        let all = async {
            while !self.running.values().all(|replica| is_so(replica)) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(LONG, all).await.expect("it holds of all nodes");
    }

    /// Commands one after the other, until what a node says is so.
    async fn propose_until(&self, node: u64, is_so: impl Fn(&Status) -> bool) {
        let ends = Instant::now() + LONG;
        for number in 100_000.. {
            if is_so(&self.node(node).status()) {
                return;
            }
            assert!(Instant::now() < ends, "{:?}", self.node(node).status());
            self.propose(node, create_namespace(number)).await;
        }
    }

    /// All nodes have the same state once they have applied the same.
    async fn assert_equal(&self, node: u64) {
        let newest = self.node(node).read_point(Consistency::Linearizable, LogIndex(0));
        let newest = newest.await.expect("fresh").index;
        let hashes = self.running.values().map(|replica| async move {
            let ends = Instant::now() + LONG;
            while replica.read_point(Consistency::Stale, newest).await.is_err() {
                assert!(Instant::now() < ends, "{:?}", replica.status());
            }
            replica.state().state_hash().expect("hash").1
        });
        let hashes = join_all(hashes).await;
        assert!(hashes.windows(2).all(|pair| pair[0] == pair[1]));
    }
}

fn has_warning(status: &Status, code: &str, node: Option<u64>) -> bool {
    let is_it = |warning: &Warning| warning.code == code && warning.node == node.map(NodeId);
    status.warnings.iter().any(is_it)
}

/// What a disk does before each sync: so many milliseconds of nothing, or nothing for ever.
#[derive(Clone, Default)]
struct Disk {
    slow_ms: Arc<AtomicU64>,
    hangs: Arc<AtomicBool>,
}

impl Disk {
    fn before_sync(&self) -> BeforeSync {
        let disk = self.clone();
        BeforeSync(Arc::new(move || {
            std::thread::sleep(Duration::from_millis(disk.slow_ms.load(Ordering::SeqCst)));
            while disk.hangs.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(5));
            }
        }))
    }
}

/// Nothing hangs any more when a test has ended, however it did.
struct Healed(Disk);

impl Drop for Healed {
    fn drop(&mut self) {
        self.0.slow_ms.store(0, Ordering::SeqCst);
        self.0.hangs.store(false, Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_with_a_slow_disk_lets_one_lead_whose_disk_is_not() {
    let disk = Disk::default();
    let nodes = Nodes::with(|node, config| {
        if node == 1 {
            config.log.before_sync = Some(disk.before_sync());
            // It should lead, if its disk were good.
            config.address.priority = 9;
        }
    })
    .await;
    let _healed = Healed(disk.clone());
    assert_eq!(nodes.node(2).status().leader, Some(NodeId(1)));
    assert!(nodes.node(1).status().given_away.is_none());
    disk.slow_ms.store(1_000, Ordering::SeqCst);
    nodes.propose_until(2, another_leads).await;
    let status = nodes.node(1).status();
    assert!(has_warning(&status, "disk_slow", Some(1)), "{status:?}");
    assert!(status.given_away.is_some_and(|over| over.why == "slow_disk" && over.to.is_some()));
    nodes.until(2, |status| has_warning(status, "disk_slow", Some(1))).await;
    // It comes to an end, and is seen to.
    disk.slow_ms.store(0, Ordering::SeqCst);
    nodes.propose_until(2, |status| !has_warning(status, "disk_slow", Some(1))).await;
    nodes.assert_equal(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_disk_hangs_is_followed_no_more_and_comes_back_when_it_does_not() {
    // With others that are fit to be handed the lead, and with others that are not.
    for others in [DiskLimits::default(), FULL] {
        let disk = Disk::default();
        let nodes = Nodes::with(|node, config| {
            if node == 1 {
                config.log.before_sync = Some(disk.before_sync());
            } else {
                config.disk = DiskLimits { ballast_bytes: Some(0), ..others };
            }
        })
        .await;
        let _healed = Healed(disk.clone());
        nodes.propose(2, create_namespace(2)).await;
        disk.hangs.store(true, Ordering::SeqCst);
        // A sync that hangs is one that was begun.
        let sent = nodes.node(1).propose(create_namespace(3), Reach::Cluster).expect("queued");
        nodes.until(2, another_leads).await;
        nodes.propose(2, create_namespace(4)).await;
        let status = nodes.node(1).status();
        assert!(!status.healthy && has_warning(&status, "disk_stuck", Some(1)), "{status:?}");
        let over = status.given_away.as_ref().expect("it had to be given away");
        assert_eq!((over.why, over.to.is_some()), ("stuck_disk", others != FULL));
        disk.hangs.store(false, Ordering::SeqCst);
        nodes.until(1, |status| status.healthy && status.leader != Some(NodeId(1))).await;
        assert!(sent.await.expect("answered").is_ok(), "a majority had it");
        nodes.propose(1, create_namespace(5)).await;
        nodes.assert_equal(2).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_stops_new_things_only_where_it_leads_or_is_one_of_a_majority() {
    let nodes = Nodes::with(|node, config| {
        if node == 1 {
            config.disk = FULL;
        }
    })
    .await;
    // The leader's disk is full, and others' are not: one of those leads.
    nodes.until(2, another_leads).await;
    assert_eq!(nodes.node(1).status().given_away.map(|over| over.why), Some("full_disk"));
    nodes.until_all(Log::has_room).await;
    nodes.until(2, |status| has_warning(status, "disk_full", Some(1))).await;
    assert!(has_warning(&nodes.node(1).status(), "disk_full", Some(1)));
    nodes.propose(1, create_namespace(2)).await;

    let nodes = Nodes::with(|node, config| {
        if node != 1 {
            config.disk = FULL;
        }
    })
    .await;
    // What fills two of three disks to their ends would leave no majority.
    nodes.until_all(|replica| !replica.has_room()).await;
    assert_eq!(nodes.node(1).status().leader, Some(NodeId(1)));
    nodes.until(1, |status| has_warning(status, "majority_full", None)).await;
    // What must go on is not kept back here.
    nodes.propose(3, create_namespace(2)).await;
}

#[tokio::test]
async fn a_disk_that_is_full_to_its_end_is_left_as_it_is() {
    let dir = tempfile::tempdir().expect("dir");
    let mut config = common::config(dir.path());
    config.disk = DiskLimits { stop_bytes: Some(u64::MAX), ..FULL };
    let refused = Replica::start(config, None).await.err().expect("there is no room");
    assert!(matches!(refused, StartError::DiskFull(_)) && refused.is_disk_full());
    assert!(refused.to_string().contains("make room on it"), "{refused}");
    assert_eq!(std::fs::read_dir(dir.path()).expect("a list").count(), 0);
}

/// A small file system of its own.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None` where this process may not mount one.
    fn mounted(at: &Path) -> Option<Self> {
        let mut mount = Command::new("mount");
        let mounted = mount.args(["-t", "tmpfs", "-o", "size=128m", "tmpfs"]).arg(at).output();
        mounted.is_ok_and(|output| output.status.success()).then(|| Self(at.to_owned()))
    }

    /// Fills it until no more than so many bytes are left.
    fn fill(&self, bytes_left: u64) {
        let mut filler = File::create(self.0.join("filler")).expect("a file");
        while store::disk::space(&self.0).expect("it says").free_bytes > bytes_left {
            filler.write_all(&[0; 64 * 1024]).expect("there is room");
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: its files are still open.
        _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_disk_is_full_to_its_end_hands_over_and_stops() {
    let dir = tempfile::tempdir().expect("dir");
    let Some(disk) = SmallDisk::mounted(dir.path()) else {
        println!("skipped: this process may not mount a file system");
        return;
    };
    let nodes = Nodes::with(|node, config| {
        if node == 1 {
            config.data_dir = dir.path().to_owned();
            config.disk.reserve_bytes = Some(8 << 20);
            config.disk.stop_bytes = Some(4 << 20);
        }
    })
    .await;
    nodes.propose(1, create_namespace(2)).await;
    disk.fill(2 << 20);
    let ended = tokio::time::timeout(LONG, nodes.node(1).failed()).await;
    let reason = ended.expect("it stops");
    assert!(reason.contains("a node stops below") && nodes.node(1).is_disk_full(), "{reason}");
    let refused = nodes.node(1).propose(create_namespace(3), Reach::Cluster);
    assert_eq!(refused.err(), Some(ProposeError::Stopping));
    let over = nodes.node(1).status().given_away;
    assert!(over.is_some_and(|over| over.why == "disk_end" && over.to.is_some()));
    // Node 1 hears that another leads before node 2 does.
    nodes.until(2, another_leads).await;
    nodes.node(1).shutdown().await;
    nodes.propose(2, create_namespace(4)).await;
    drop(disk);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_finds_no_room_ends_the_node_and_takes_nothing_back() {
    let dir = tempfile::tempdir().expect("dir");
    let Some(disk) = SmallDisk::mounted(dir.path()) else {
        println!("skipped: this process may not mount a file system");
        return;
    };
    let mut config = common::config(dir.path());
    // Nothing is kept back, so that the end comes by a write.
    config.disk = DiskLimits { reserve_bytes: Some(0), ..FULL };
    let replica = common::start(config.clone()).await;
    common::propose(&replica, bootstrap()).await;
    disk.fill(4 << 20);
    let name = "x".repeat(256 * 1024);
    let mut last = LogIndex(0);
    let work = async {
        for number in 2.. {
            let sent = replica.propose(create_namespace_named(number, &name), Reach::Cluster);
            match sent {
                Ok(sent) => match sent.await.expect("answered") {
                    Ok(committed) => last = committed.index,
                    Err(error) => assert_ne!(error, ProposeError::NoLeader, "it was sent"),
                },
                Err(error) => {
                    assert_eq!(error, ProposeError::Stopping);
                    return;
                }
            }
        }
    };
    tokio::time::timeout(LONG, work).await.expect("it ends");
    let reason = tokio::time::timeout(LONG, replica.failed()).await.expect("it says why");
    assert!(replica.is_disk_full() && last > LogIndex(1), "{reason}");
    replica.shutdown().await;
    drop(replica);
    std::fs::remove_file(dir.path().join("filler")).expect("it was there");
    let again = common::start(config).await;
    again.read_point(Consistency::Linearizable, last).await.expect("nothing is lost");
    again.shutdown().await;
    drop(disk);
}

/// How a follower is slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slow {
    /// Nothing comes to it.
    Way,
    /// It takes everything and confirms nothing.
    Disk,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_follower_holds_so_many_bytes_and_nobody_up() {
    const COMMANDS: u64 = 64;
    const COMMAND_BYTES: usize = 1024 * 1024;
    for slow in [Slow::Way, Slow::Disk] {
        let disk = Disk::default();
        let nodes = Nodes::with(|node, config| {
            if node == 3 {
                config.log.before_sync = Some(disk.before_sync());
            }
        })
        .await;
        let healed = Healed(disk.clone());
        let leader = nodes.node(1);
        nodes.ways[&3].held.store(slow == Slow::Way, Ordering::SeqCst);
        disk.hangs.store(slow == Slow::Disk, Ordering::SeqCst);
        let name = "x".repeat(COMMAND_BYTES);
        let (mut most, mut last) = (0, LogIndex(0));
        for number in 0..COMMANDS {
            last = nodes.propose(1, create_namespace_named(1_000 + number, &name)).await;
            most = most.max(leader.held_bytes());
        }
        // The other one goes along, and holds what it has not confirmed at that moment.
        let bound = 2 * REPLICATION_HELD_BYTES_MAX;
        assert!(most <= bound && most >= COMMAND_BYTES, "{slow:?}: {most} of {bound} are held");
        assert!(usize::try_from(COMMANDS).expect("few") * COMMAND_BYTES > bound);
        nodes.node(2).read_point(Consistency::Stale, last).await.expect("it has everything");
        let behind = |status: &Status| {
            let member = status.members.iter().find(|member| member.node == NodeId(3));
            member.and_then(|member| member.matched) < Some(last)
        };
        assert!(behind(&leader.status()), "it was slow");
        nodes.ways[&3].held.store(false, Ordering::SeqCst);
        drop(healed);
        nodes.until(1, |status| !behind(status)).await;
        nodes.assert_equal(1).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_profile_that_does_not_fit_is_said() {
    let nodes = Nodes::with(|node, config| {
        config.profile = if node == 3 { Profile::Regional } else { Profile::Global };
    })
    .await;
    nodes
        .until(1, |status| {
            has_warning(status, "profile_too_patient", None)
                && has_warning(status, "profile_differs", Some(3))
                && !has_warning(status, "profile_differs", Some(2))
                && !has_warning(status, "round_trip_too_long", Some(2))
                && status.warnings.iter().filter(|warning| warning.is_only_advice).count() == 1
        })
        .await;
}
