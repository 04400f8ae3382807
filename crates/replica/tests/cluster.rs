//! Several nodes on loopback, each with its own disk: any of them takes commands and reads, one
//! that stops loses nothing, one that comes catches up.

mod common;

use std::time::Duration;

use common::cluster::{Cluster, LONG, is_voter};
use common::{bootstrap, change_cluster, create_namespace, namespace_of};
use futures::future::join_all;
use gate::log::{Change, ChangeError, Consistency, Log as _, ProposeError, Reach};
use ledger::table::{self, Meta};
use ledger::{ChangeCluster, NewNode, Reply, WriteHash, Writes, query};
use replica::Config;
use types::codec::encode;
use types::{LogIndex, NodeId};

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
    let mut cluster = Cluster::empty();
    // One whose log is short.
    let short = |config: &mut Config| {
        config.snapshot_entries = 50;
        config.log_kept_entries = 10;
    };
    cluster.add_with(1, short).await;
    let first = cluster.running[&1].clone();
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
    // It stays so, whoever starts it again: nothing has to be compared anew.
    cluster.stop(bad).await;
    cluster.again(bad).await;
    assert!(!cluster.running[&bad].status().healthy);
    for other in others {
        assert!(cluster.running[&other].status().healthy);
    }
}
