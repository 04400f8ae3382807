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
use std::process::Command;
use std::time::Duration;

use client::Request;
use rustix::process::Signal;
use serde_json::json;
use support::cluster::Cluster;
use support::history::Faults;
use support::load::{Load, listed, send_again};
use support::node::eventually;
use support::ports::base_port;
use support::{DEADLINE, fixture, shown};
use tempfile::TempDir;

/// Keys that have their answer before the next change, at least.
const ANSWERS_BETWEEN: usize = 300;
const PAIRS: usize = 6;
const EVERY: Duration = Duration::from_millis(20);

/// Issues a certificate for a new node and has it join with the token that the others came in with.
fn join(cluster: &mut Cluster, gate: &Path, base_port: u16, new: u16) {
    let dev = cluster.home.join("dev");
    let home = dev.join(format!("node-{new}"));
    fs::create_dir(&home).expect("a directory");
    let id = fs::read_to_string(dev.join("ca/cluster-id")).expect("an id");
    let mut issue = Command::new(gate);
    issue.args(["cluster", "certificates", "--nodes", &new.to_string()]);
    issue.args(["--cluster-id", id.trim(), "--dir"]);
    let issued = issue.arg(dev.join("ca")).output().expect("it runs");
    assert!(issued.status.success(), "{issued:?}");
    let port = |offset: u16| base_port + 10 * (new - 1) + offset;
    let config = format!(
        "node: {{id: {new}}}\n\
         data_dir: data\n\
         http: {{listen: \"127.0.0.1:{}\"}}\n\
         peer:\n  listen: \"127.0.0.1:{}\"\n  tls: {{ca: ../ca/ca.pem, \
         certificate: ../ca/node-{new}.pem, key: ../ca/node-{new}.key}}\n\
         metrics: {{listen: \"127.0.0.1:{}\"}}\n\
         cluster:\n  join: {{ask: {{1: \"127.0.0.1:{}\", 2: \"127.0.0.1:{}\", \
         3: \"127.0.0.1:{}\"}}, token_file: ../node-2/join.token}}\n\
         data_key_file: ../data.key\n",
        port(0),
        port(2),
        port(3),
        base_port + 2,
        base_port + 12,
        base_port + 22,
    );
    let file = home.join("node.yaml");
    fs::write(&file, config).expect("a file");
    cluster.add(u64::from(new), format!("http://127.0.0.1:{}", port(0)), file);
}

/// Waits until a node votes, as the leader knows it.
async fn votes(cluster: &Cluster, node: u64) {
    eventually("the new node votes", || async {
        let leader = cluster.leader().await;
        (role(cluster, leader, node).await? == "voter").then_some(())
    })
    .await;
}

/// A node loses its data: it is nobody that the others know, and is not let in.
async fn wipe(cluster: &mut Cluster, node: u64) {
    let leader = cluster.leader().await;
    cluster.stop(&[node]);
    fs::remove_dir_all(cluster.home.join(format!("dev/node-{node}/data"))).expect("its data");
    cluster.start_again(node);
    let (code, log) = cluster.ended(node);
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("joins under a new id"), "{log}");
    assert_eq!(cluster.leader().await, leader, "the leader is not disturbed");
}

/// Removes a node for ever. Another change may be under way, and the leader may just change.
async fn remove(cluster: &mut Cluster, node: u64) {
    let client = cluster.client("/admin_key", 0);
    let body = json!({ "node": node });
    eventually("the node is removed", || async {
        let request = Request::post(&["v1", "cluster", "remove"], &body);
        _ = client.send(request).await;
        let leader = cluster.leader().await;
        let status = cluster.status(leader).await?;
        let is_gone = status["nodes"].as_array()?.iter().all(|member| member["id"] != node);
        is_gone.then_some(())
    })
    .await;
    cluster.forget(node);
}

/// What a node is, as another one knows it.
async fn role(cluster: &Cluster, asked: u64, node: u64) -> Option<String> {
    let status = cluster.status(asked).await?;
    let members = status["nodes"].as_array()?;
    let member = members.iter().find(|member| member["id"] == node)?;
    member["role"].as_str().map(str::to_owned)
}

/// Waits until a node has what the leader has now.
async fn caught_up(cluster: &Cluster, node: u64) {
    let leader = cluster.leader().await;
    let index = eventually("the leader answers", || async {
        cluster.status(leader).await.and_then(|status| status["committed_index"].as_u64())
    })
    .await;
    let request = Request::get(&["v1", "audit", "checkpoint"]).query("consistency", "stale");
    let request = request.query("min_index", index.to_string()).patience(DEADLINE);
    eventually("the node has caught up", || async {
        let answer = cluster.client_at(node, "/admin_key").send(request.clone()).await.ok()?;
        answer.body["index"].as_u64().filter(|found| *found >= index)
    })
    .await;
}

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
    join(&mut cluster, gate, base_port, 4);
    votes(&cluster, 4).await;
    load.answers(ANSWERS_BETWEEN).await;

    // One that lost its data is removed for ever, and comes back as another.
    let wiped = cluster.follower().await;
    wipe(&mut cluster, wiped).await;
    remove(&mut cluster, wiped).await;
    load.answers(ANSWERS_BETWEEN).await;
    join(&mut cluster, gate, base_port, 5);
    votes(&cluster, 5).await;
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
