//! Nodes come and go under load, and a client that sends again by key sees no failed request: a
//! follower is cut off and heals, a new node joins and votes, one that lost its data is not let in,
//! is removed and comes back as another, and the leader stops in order. All nodes started again on
//! their data have everything.
//!
//! A node that is cut off is one that is frozen: it sends nothing and takes nothing.
#![cfg(test)]

#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use support::cluster::Cluster;
use support::history::Faults;
use support::load::{Load, listed, send_again};
use support::node::eventually;
use support::operator::{caught_up, is_a, join, remove, wipe};
use support::ports::base_port;
use support::{fixture, shown};
use tempfile::TempDir;

/// Keys that have their answer before the next change, at least.
const ANSWERS_BETWEEN: usize = 300;
const PAIRS: usize = 6;
const EVERY: Duration = Duration::from_millis(20);

#[tokio::test(flavor = "multi_thread")]
async fn nodes_come_and_go_without_a_failed_request() {
    let home = TempDir::new().expect("a directory");
    let gate = Path::new(env!("CARGO_BIN_EXE_qgate"));
    let base_port = base_port();
    let mut cluster = Cluster::start(gate, home.path(), &fixture(""), 3, base_port);
    let load = Load::start(cluster.pairs(PAIRS), EVERY);
    load.answers(ANSWERS_BETWEEN).await;

    // Cut off, and healed.
    let follower = cluster.follower().await;
    cluster.signal(follower, Signal::STOP);
    load.answers(ANSWERS_BETWEEN).await;
    cluster.signal(follower, Signal::CONT);
    caught_up(&cluster, follower).await;

    // A new node learns, and votes once it has caught up.
    join(&mut cluster, base_port, 4);
    is_a(&cluster, 4, "voter").await;
    load.answers(ANSWERS_BETWEEN).await;

    // One that lost its data is removed for ever, and comes back as another.
    let wiped = cluster.follower().await;
    wipe(&mut cluster, wiped).await;
    remove(&mut cluster, wiped).await;
    load.answers(ANSWERS_BETWEEN).await;
    join(&mut cluster, base_port, 5);
    is_a(&cluster, 5, "voter").await;
    load.answers(ANSWERS_BETWEEN).await;

    // The leader stops in order, and comes back.
    let leader = cluster.leader().await;
    cluster.stop(&[leader]);
    load.answers(ANSWERS_BETWEEN).await;
    cluster.start_again(leader);
    caught_up(&cluster, leader).await;

    let mut asked = load.stop().await;
    let clients: Vec<_> = (0..4).map(|first| cluster.client("/agent_key", first)).collect();
    send_again(&clients, &mut asked).await;
    let before = cluster.equal().await;
    let faults = Faults::of(&asked, &listed(&cluster.client("/auditor_key", 0)).await);
    shown(&format!("{} keys come and gone under: {faults}", asked.len()));
    assert!(faults.is_empty(), "{faults}");

    // All at once, on the same data.
    cluster.stop(&cluster.ids());
    // What a configuration says anew the others hear when the node is started again.
    let file = home.path().join("dev/node-5/node.yaml");
    let text = fs::read_to_string(&file).expect("its configuration");
    fs::write(&file, text.replace("{id: 5}", "{id: 5, region: moon}")).expect("written");
    cluster.ids().into_iter().for_each(|node| cluster.start_again(node));
    for node in cluster.ids() {
        cluster.ready(node).await;
    }
    eventually("the others know the new region", || async {
        let status = cluster.status(cluster.follower().await).await?;
        let own = status["nodes"].as_array()?.iter().find(|member| member["id"] == 5)?;
        (own["region"] == "moon").then_some(())
    })
    .await;
    let faults = Faults::of(&asked, &listed(&cluster.client("/auditor_key", 3)).await);
    assert!(faults.is_empty(), "after all were started again: {faults}");
    assert!(cluster.equal().await >= before, "leaves are gone");

    send_again(&clients, &mut asked[..100]).await;
    assert!(cluster.equal().await >= before);
    cluster.stop(&cluster.ids());
}
