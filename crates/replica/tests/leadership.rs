//! Who leads: what a node knows before it does, and what a transfer leaves behind.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::cluster::{Cluster, LONG, is_voter};
use common::create_namespace;
use common::peer::{Known, caller};
use gate::log::{Change, ChangeError, Log as _};
use replica::Replica;
use replica::clock::{MachineTime, Reading, TimeSource};
use tonic::Code;
use types::NodeId;
use wire::peer::change_request::Change as Wire;
use wire::peer::{ChangeRequest, TransferRequest, Vote};

/// A clock that is an hour ahead.
#[derive(Default)]
struct Ahead(MachineTime);

impl TimeSource for Ahead {
    fn read(&self) -> Reading {
        let Reading { wall_us, mono_us } = self.0.read();
        Reading { wall_us: wall_us + 3_600_000_000, mono_us }
    }
}

fn member_of(replica: &Replica, node: u64) -> Known {
    let members = replica.status().members;
    let member = members.into_iter().find(|member| member.node.0 == node).expect("a member");
    Known(node, member.incarnation)
}

/// Raft stops writing when a transfer begins; the third node, whose clock is off, leads for nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_to_a_node_that_dies_ends_in_an_election() {
    let mut cluster = Cluster::of(2).await;
    cluster.add_with(3, |config| config.time = Arc::new(Ahead::default())).await;
    cluster.until(1, |status| is_voter(status, 3) && !status.changing).await;
    let leader = cluster.leader();
    assert_ne!(leader, 3);
    let other = 3 - leader;
    cluster
        .until(leader, |status| {
            let seen = |node| status.members.iter().find(|m| m.node.0 == node)?.seen.clone();
            seen(3).is_some_and(|seen| !seen.may_lead) && seen(other).is_some_and(|s| s.may_lead)
        })
        .await;
    let refused = cluster.running[&leader].change(Change::TransferLeader(Some(NodeId(3)))).await;
    let Err(ChangeError::Refused(why)) = refused else { panic!("{refused:?}") };
    assert!(why.contains("must not lead now"), "{why}");
    cluster.propose(leader, create_namespace(2)).await;

    // It was there a moment ago, and takes nothing over.
    let dying = cluster.running.remove(&other).expect("it runs");
    let change = cluster.running[&leader].change(Change::TransferLeader(Some(NodeId(other))));
    let ((), unknown) = tokio::join!(dying.shutdown(), change);
    let Err(ChangeError::Unknown(why)) = unknown else { panic!("{unknown:?}") };
    assert!(why.contains("did not take over"), "{why}");
    cluster.propose(leader, create_namespace(3)).await;
    assert_eq!(cluster.leader(), leader);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_meets_a_transfer_is_made_by_the_next_leader() {
    let cluster = Cluster::of(3).await;
    let leader = cluster.leader();
    let [second, third] = cluster.others(leader)[..] else { panic!("three nodes") };
    cluster
        .until(leader, |status| {
            let others = status.members.iter().filter(|member| member.node.0 != leader);
            others.clone().all(|member| member.seen.as_ref().is_some_and(|seen| seen.may_lead))
        })
        .await;
    let change = |node: u64, change| {
        let replica = cluster.running[&node].clone();
        async move { replica.change(change).await }
    };
    let transfer = change(leader, Change::TransferLeader(Some(NodeId(second))));
    let demote = change(third, Change::Demote(NodeId(third)));
    let (transferred, demoted) = tokio::join!(transfer, demote);
    transferred.expect("handed over");
    demoted.expect("demoted");
    cluster.until(second, |status| !is_voter(status, third)).await;

    // Who does not lead says that it did nothing.
    let replica = &cluster.running[&leader];
    let (from, to) = (member_of(replica, third), member_of(replica, leader));
    let status = replica.status();
    let mut client = caller(&status.cluster_id, from, to, &cluster.places[&leader].peer);
    let asked = ChangeRequest { change: Some(Wire::Promote(third)) };
    let refused = client.change(asked).await.expect_err("it does not lead");
    assert_eq!(refused.code(), Code::Aborted, "{refused}");
}

/// A node that is alone cannot compare its clock, and stands for election all the same in the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_compares_its_clock_before_it_leads() {
    let mut cluster = Cluster::of(3).await;
    let status = cluster.running[&1].status();
    let (one, two) = (member_of(&cluster.running[&1], 1), member_of(&cluster.running[&1], 2));
    for node in 1..=3 {
        cluster.stop(node).await;
    }
    cluster.again_alone(1).await;
    let mut client = caller(&status.cluster_id, two, one, &cluster.places[&1].peer);
    let old = Vote { term: 0, node: 2, committed: true };
    let mut reasons = Vec::new();
    let answered = async {
        loop {
            let asked = TransferRequest { from: Some(old), to: 1, last: None };
            match client.transfer_leader(asked).await {
                Ok(_) => return,
                Err(refused) => reasons.push(refused.message().to_owned()),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LONG, answered).await.expect("it would lead in the end");
    reasons.dedup();
    assert!(reasons.iter().any(|why| why.contains("its clock was not compared")), "{reasons:?}");
}
