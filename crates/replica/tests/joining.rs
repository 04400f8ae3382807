//! How a node comes to be part of a cluster, and who is believed to be one.

mod common;

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use common::bootstrap;
use common::cluster::{Cluster, LONG, Place};
use common::peer::{Known, caller, forgetful};
use gate::join_token;
use gate::log::{Log as _, Status};
use replica::{Begin, JoinPlan, Replica, StartError};
use tonic::Code;
use types::LogTime;
use wire::peer::join_reply::Reply;
use wire::peer::{JoinRequest, ProbeRequest};

/// A node of a cluster as the others know it.
fn known(status: &Status, node: u64) -> Known {
    let member = status.members.iter().find(|member| member.node.0 == node).expect("a member");
    Known(node, member.incarnation)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_heard_only_with_the_data_that_it_is_known_by() {
    let cluster = Cluster::of(2).await;
    let status = cluster.running[&1].status();
    let (one, two) = (known(&status, 1), known(&status, 2));
    let address = &cluster.places[&1].peer;
    let ask = async |from| {
        let mut client = caller(&status.cluster_id, from, one, address);
        client.probe(ProbeRequest::default()).await.map(|_| ())
    };
    assert_eq!(ask(two).await.map_err(|error| error.code()), Ok(()));
    let lost = ask(Known(2, [7; 16])).await.expect_err("refused");
    assert_eq!(lost.code(), Code::FailedPrecondition);
    assert!(lost.message().contains("node 2 calls with other data"), "{lost}");
    // Whom this node does not know yet may be its leader.
    assert_eq!(ask(Known(9, [7; 16])).await.map_err(|error| error.code()), Ok(()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_asks_until_it_is_a_member() {
    let (address, asked) = forgetful().await;
    let cluster = Cluster::empty();
    let (place, listener) = Place::new(2).await;
    let cluster_id = "c".repeat(32);
    let token = join_token::sign(&cluster.key, &cluster_id, LogTime(u64::MAX));
    let mut config = cluster.config(&place);
    let ask = BTreeMap::from([(1, address)]);
    config.begin = Begin::Join(JoinPlan { cluster_id, ask, token });
    let replica = Replica::start(config, Some(listener)).await.expect("start");
    let again = async {
        while asked.load(Ordering::SeqCst) < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LONG, again).await.expect("it asks again");
    replica.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_comes_before_the_cluster_is_made() {
    let mut cluster = Cluster::empty();
    cluster.add(1).await;
    let status = cluster.running[&1].status();
    let (own, one) = (Known(5, [5; 16]), known(&status, 1));
    let request = JoinRequest {
        incarnation: own.1.to_vec().into(),
        token: join_token::sign(&cluster.key, &status.cluster_id, LogTime(u64::MAX)),
        ..JoinRequest::default()
    };
    let mut client = caller(&status.cluster_id, own, one, &cluster.places[&1].peer);
    let early = client.join(request.clone()).await.expect_err("too early");
    assert_eq!(early.code(), Code::Unavailable);
    assert!(early.message().contains("not made yet"), "{early}");
    cluster.propose(1, bootstrap()).await;
    let joined = client.join(request).await.expect("taken in").into_inner();
    assert!(matches!(joined.reply, Some(Reply::Joined(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_second_cluster_is_made_while_the_first_answers() {
    let mut cluster = Cluster::of(2).await;
    let address = cluster.places[&2].peer.clone();
    let (place, _) = Place::new(1).await;
    let mut config = Cluster::empty().config(&place);
    assert_eq!(config.begin, Begin::Cluster);
    config.ask_first = BTreeMap::from([(1, place.peer.clone()), (2, address)]);
    let refused = Replica::start(config.clone(), None).await.err();
    assert!(matches!(refused, Some(StartError::ClusterThere { node: 2, .. })), "{refused:?}");
    let refused = Replica::start(config.clone(), None).await.err();
    assert!(matches!(refused, Some(StartError::ClusterThere { node: 2, .. })), "{refused:?}");
    cluster.stop(2).await;
    let replica = Replica::start(config, None).await.expect("nobody answers");
    replica.wait_for_leader(LONG).await.expect("a cluster of its own");
    replica.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_is_refused_lets_the_data_go() {
    let cluster = Cluster::empty();
    let (place, listener) = Place::new(2).await;
    let (cluster_id, ask) = ("c".repeat(32), BTreeMap::new());
    let token = join_token::sign(&cluster.key, &cluster_id, LogTime(u64::MAX));
    let mut config = cluster.config(&place);
    config.begin = Begin::Join(JoinPlan { cluster_id, ask, token });
    let replica = Replica::start(config.clone(), Some(listener)).await.expect("start");
    replica.shutdown().await;
    drop(replica);
    // Its data says whose it is, and nobody took it in.
    let joining = std::mem::replace(&mut config.begin, Begin::Resume);
    let refused = Replica::start(config.clone(), None).await.err();
    assert!(matches!(refused, Some(StartError::NoCluster)), "{refused:?}");
    config.begin = joining;
    let replica = Replica::start(config, None).await.expect("the data is free");
    replica.shutdown().await;
}
