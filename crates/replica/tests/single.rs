//! One node from outside: what was answered is there after a restart, in its order.

mod common;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::{bootstrap, config, create_namespace, namespace_of, propose, start, tick};
use futures::future::join_all;
use gate::log::{Consistency, Log as _, ProposeError, Reach};
use ledger::{Reply, query};
use replica::clock::{Reading, TimeSource};
use replica::{Config, ReplayError, ReplayReport, ReplayVerdict, Replica, StartError};
use types::{LogIndex, LogTime, NodeId};

fn names(replica: &Replica) -> Vec<String> {
    let mut names = Vec::new();
    replica
        .with_state(&mut |view, _| {
            let rows = query::namespaces(view).expect("rows");
            names = rows.into_iter().map(|row| row.name).collect();
        })
        .expect("view");
    names
}

fn name_of(replica: &Replica, id: u32) -> String {
    let mut name = String::new();
    replica
        .with_state(&mut |view, _| {
            let rows = query::namespaces(view).expect("rows");
            name = rows.into_iter().find(|row| row.id.0 == id).expect("there").name;
        })
        .expect("view");
    name
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_is_there_after_a_restart_in_its_order() {
    let dir = tempfile::tempdir().expect("dir");
    let replica = start(config(dir.path())).await;
    assert_eq!(propose(&replica, bootstrap()).await.reply, Reply::Done);
    let mut last = LogIndex(0);
    for number in 2..20 {
        let committed = propose(&replica, create_namespace(number)).await;
        assert_eq!(u64::from(namespace_of(&committed)), number);
        assert!(committed.index > last && committed.term > 0);
        last = committed.index;
    }
    let (before, hash) = (names(&replica), replica.state().state_hash().expect("hash").1);
    let cluster_id = replica.status().cluster_id;
    assert_eq!(cluster_id.len(), 32);
    replica.shutdown().await;
    assert!(!replica.status().healthy);
    assert_eq!(replica.propose(tick(1), Reach::Cluster).err(), Some(ProposeError::Stopping));
    drop(replica);

    let replica = start(config(dir.path())).await;
    let point = replica.read_point(Consistency::Linearizable, last).await.expect("fresh");
    assert!(point.index >= last);
    assert_eq!(names(&replica), before);
    assert_eq!(replica.state().state_hash().expect("hash").1, hash);
    assert_eq!(replica.status().cluster_id, cluster_id);
    let again = propose(&replica, create_namespace(19)).await;
    assert_eq!(namespace_of(&again), 19, "a request sent again gets its first answer");
    let next = propose(&replica, create_namespace(20)).await;
    assert!(next.term > 1 && namespace_of(&next) == 20, "a new term, the same count");
    replica.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_at_once_get_distinct_replies_in_the_order_of_the_log() {
    let dir = tempfile::tempdir().expect("dir");
    let replica = start(config(dir.path())).await;
    propose(&replica, bootstrap()).await;
    let proposals = (2..202).map(|number| propose(&replica, create_namespace(number)));
    let mut committed = join_all(proposals).await;
    for (number, committed) in (2..).zip(&committed) {
        let id = namespace_of(committed);
        assert_eq!(name_of(&replica, id), format!("n{number}"), "each gets its own reply");
    }
    committed.sort_by_key(namespace_of);
    let numbers: Vec<u32> = committed.iter().map(namespace_of).collect();
    assert_eq!(numbers, (2..202).collect::<Vec<_>>());
    assert!(committed.is_sorted_by_key(|committed| committed.index), "order of the log");
    let entries = committed.last().expect("some").index.0 - committed[0].index.0 + 1;
    assert!(entries < 200, "commands travel together: {entries} entries");
    assert!(replica.log_stats().syncs > 0);
    assert_eq!(replica.queue_depth(), 0);
    replica.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_of_the_log_gives_the_same_state() {
    let dir = tempfile::tempdir().expect("dir");
    let replica = start(config(dir.path())).await;
    propose(&replica, bootstrap()).await;
    join_all((2..100).map(|number| propose(&replica, create_namespace(number)))).await;
    replica.shutdown().await;
    drop(replica);
    let before = listing(dir.path());
    let report = replay(dir.path()).expect("replayed");
    assert_eq!(report.verdict, ReplayVerdict::Equal, "{report:?}");
    assert!(report.state_hash == report.replay_hash, "{report:?}");
    assert!(report.tree_size >= 99 && report.applied_index > LogIndex(0), "{report:?}");
    assert_eq!(replay(dir.path()).expect("again"), report);
    assert_eq!(listing(dir.path()), before, "the node's files are only read");

    let state = store::state::StateStore::open(dir.path()).expect("open");
    let applied = state.applied().expect("applied");
    let forged = ledger::Writes::from([(vec![0, 0, 0, 9, 30, 1], Some(vec![1]))]);
    state.write(&forged, &applied).expect("write");
    state.flush().expect("flush");
    drop(state);
    let report = replay(dir.path()).expect("replayed");
    assert_eq!(report.verdict, ReplayVerdict::Differs, "one forged row is found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_says_when_the_state_is_behind_its_log_or_not_there() {
    let dir = tempfile::tempdir().expect("dir");
    let replica = start(config(dir.path())).await;
    propose(&replica, bootstrap()).await;
    replica.shutdown().await;
    drop(replica);
    let kept = tempfile::tempdir().expect("dir");
    let copy_of_state = kept.path().join("state");
    copy(&dir.path().join("state"), &copy_of_state);
    let replica = start(config(dir.path())).await;
    join_all((2..30).map(|number| propose(&replica, create_namespace(number)))).await;
    replica.shutdown().await;
    drop(replica);

    // What a kill leaves: the state of an earlier flush beside a longer log.
    std::fs::remove_dir_all(dir.path().join("state")).expect("remove");
    copy(&copy_of_state, &dir.path().join("state"));
    let report = replay(dir.path()).expect("replayed");
    assert_eq!(report.verdict, ReplayVerdict::Behind, "{report:?}");
    assert!(report.applied_index < report.committed_index, "{report:?}");
    assert_eq!(report.state_hash, report.replay_hash);

    std::fs::remove_dir_all(dir.path().join("state")).expect("remove");
    let before = listing(dir.path());
    let report = replay(dir.path()).expect("replayed");
    assert_eq!(report.verdict, ReplayVerdict::Missing, "{report:?}");
    assert_eq!(listing(dir.path()), before);

    let empty = tempfile::tempdir().expect("dir");
    assert!(matches!(replay(empty.path()), Err(ReplayError::NoData(_))));
    assert_eq!(listing(empty.path()), Vec::<String>::new());
}

/// A replay with a scratch directory of its own.
fn replay(data_dir: &Path) -> Result<ReplayReport, ReplayError> {
    let scratch = tempfile::tempdir().expect("dir");
    replica::replay(data_dir, scratch.path())
}

/// Every file below a directory with its bytes.
fn listing(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).expect("listed") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.push(format!("{}/", path.display()));
            found.extend(listing(&path));
        } else {
            let digest = types::Digest::of(&std::fs::read(&path).expect("read"));
            found.push(format!("{} {digest}", path.display()));
        }
    }
    found.sort();
    found
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).expect("made");
    for entry in std::fs::read_dir(from).expect("listed") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("copied");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snapshots_bound_the_log_and_a_restart_goes_on_behind_them() {
    let dir = tempfile::tempdir().expect("dir");
    let small = || Config { snapshot_entries: 20, log_kept_entries: 5, ..config(dir.path()) };
    let replica = start(small()).await;
    propose(&replica, bootstrap()).await;
    let mut number = 2;
    while replica.purged().is_none() {
        propose(&replica, create_namespace(number)).await;
        number += 1;
    }
    let before = names(&replica);
    replica.shutdown().await;
    drop(replica);
    assert!(matches!(replay(dir.path()), Err(ReplayError::Purged(_))));
    let replica = start(small()).await;
    replica.read_point(Consistency::Linearizable, LogIndex(0)).await.expect("fresh");
    assert_eq!(names(&replica), before);
    let next = propose(&replica, create_namespace(number)).await;
    assert_eq!(u64::from(namespace_of(&next)), number);
    replica.shutdown().await;
    drop(replica);
    std::fs::remove_dir_all(dir.path().join("state")).expect("remove");
    std::fs::remove_file(dir.path().join("CURRENT")).expect("remove");
    std::fs::remove_dir_all(dir.path().join("snap")).expect("remove");
    let lost = Replica::start(small(), None).await;
    assert!(matches!(lost.err(), Some(StartError::StateLost { applied: 0, .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_wait_for_what_they_ask_for() {
    let dir = tempfile::tempdir().expect("dir");
    let mut short = config(dir.path());
    short.read_wait = Duration::from_millis(50);
    let replica = start(short).await;
    let committed = propose(&replica, bootstrap()).await;
    for consistency in [Consistency::Linearizable, Consistency::Lease, Consistency::Stale] {
        let point = replica.read_point(consistency, committed.index).await.expect("fresh");
        assert!(point.index >= committed.index && point.term == committed.term, "{consistency:?}");
    }
    let reads = (0..500).map(|_| replica.read_point(Consistency::Linearizable, LogIndex(0)));
    for point in join_all(reads).await {
        assert!(point.expect("fresh").index >= committed.index);
    }
    let future = replica.read_point(Consistency::Stale, LogIndex(committed.index.0 + 1)).await;
    assert_eq!(future, Err(ProposeError::Behind), "an entry that never comes");
    assert!(replica.progress().borrow().index >= committed.index);
    replica.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_shows_the_one_node() {
    let dir = tempfile::tempdir().expect("dir");
    let replica = start(config(dir.path())).await;
    let committed = propose(&replica, tick(1)).await;
    // Raft shows what it has committed a moment after it is answered.
    let shows = async {
        loop {
            let status = replica.status();
            let matched = status.members.first().and_then(|member| member.matched);
            if status.committed.min(matched.unwrap_or_default()) >= committed.index {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let status = tokio::time::timeout(Duration::from_secs(60), shows).await.expect("it shows it");
    assert_eq!(
        (status.node, status.leader, status.term),
        (NodeId(1), Some(NodeId(1)), committed.term)
    );
    assert!(status.healthy);
    let [member] = status.members.as_slice() else { panic!("{status:?}") };
    assert!(
        member.voter && member.http == "h:1" && member.peer == "p:2" && member.region == "here"
    );
    replica.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_of_another_node_or_of_a_running_one_is_refused() {
    let dir = tempfile::tempdir().expect("dir");
    let replica = start(config(dir.path())).await;
    let second = Replica::start(config(dir.path()), None).await;
    assert!(matches!(second.err(), Some(StartError::Store(store::StoreError::InUse(_)))));
    replica.shutdown().await;
    drop(replica);
    let other = Config { node: NodeId(2), ..config(dir.path()) };
    let refused = Replica::start(other, None).await;
    assert!(matches!(refused.err(), Some(StartError::OtherNode { found: NodeId(1), .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_that_nobody_knows_stops_the_node() {
    let dir = tempfile::tempdir().expect("dir");
    let replica = start(config(dir.path())).await;
    let receiver = replica.propose(b"no command".to_vec(), Reach::Cluster).expect("queued");
    assert_eq!(receiver.await.expect("answered").err(), Some(ProposeError::Unknown));
    let reason = replica.failed().await;
    assert!(reason.contains("does not decode"), "{reason}");
    assert!(!replica.status().healthy);
    assert_eq!(replica.propose(tick(1), Reach::Cluster).err(), Some(ProposeError::Stopping));
    replica.shutdown().await;
}

/// A machine whose clocks stand where the test puts them.
#[derive(Default)]
struct HeldTime {
    wall_us: AtomicU64,
    mono_us: AtomicU64,
}

impl TimeSource for HeldTime {
    fn read(&self) -> Reading {
        let read = |time: &AtomicU64| time.load(Ordering::SeqCst);
        Reading { wall_us: read(&self.wall_us), mono_us: read(&self.mono_us) }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_time_never_goes_back_over_a_restart() {
    let dir = tempfile::tempdir().expect("dir");
    let time = Arc::new(HeldTime::default());
    time.wall_us.store(9_000_000, Ordering::SeqCst);
    let held = || Config { time: time.clone(), ..config(dir.path()) };
    let replica = start(held()).await;
    propose(&replica, tick(1)).await;
    assert_eq!(replica.progress().borrow().time, LogTime(9_000));
    assert_eq!(replica.leader_time(), Some(LogTime(9_000)));
    replica.shutdown().await;
    drop(replica);
    time.wall_us.store(1_000_000, Ordering::SeqCst);
    let replica = start(held()).await;
    propose(&replica, tick(2)).await;
    assert_eq!(
        replica.progress().borrow().time,
        LogTime(9_000),
        "the wall went back, time did not"
    );
    time.mono_us.store(1_000_000, Ordering::SeqCst);
    assert_eq!(replica.leader_time(), Some(LogTime(9_950)), "slowed towards the wall");
    replica.shutdown().await;
}
