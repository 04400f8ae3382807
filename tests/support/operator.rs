//! What an operator does with a cluster of [`Cluster`]: certificates, joining, voting, leaving.

use std::fs;
use std::path::Path;
use std::process::Command;

use client::Request;
use serde_json::json;

use super::DEADLINE;
use super::cluster::Cluster;
use super::node::eventually;

/// Issues certificates of this cluster from the authority in a directory, made if it is not there.
pub fn issue(cluster: &Cluster, authority: &Path, nodes: &[u64], days: u32) {
    let id = fs::read_to_string(cluster.home.join("dev/ca/cluster-id")).expect("an id");
    let nodes: Vec<String> = nodes.iter().map(u64::to_string).collect();
    let mut command = Command::new(cluster.gate());
    command.args(["cluster", "certificates", "--nodes", &nodes.join(",")]);
    command.args(["--days", &days.to_string(), "--cluster-id", id.trim()]);
    let issued = command.arg("--dir").arg(authority).output().expect("it runs");
    assert!(issued.status.success(), "{issued:?}");
}

/// Issues a certificate for a new node and has it join with the token that the others came in with.
pub fn join(cluster: &mut Cluster, base_port: u16, new: u16) {
    let dev = cluster.home.join("dev");
    let home = dev.join(format!("node-{new}"));
    fs::create_dir(&home).expect("a directory");
    issue(cluster, &dev.join("ca"), &[u64::from(new)], 30);
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
    let doors = [format!("http://127.0.0.1:{}", port(0)), format!("127.0.0.1:{}", port(3))];
    cluster.add(u64::from(new), doors, file);
}

/// Waits until a node is a `voter`, or a `learner`, as the leader knows it.
pub async fn is_a(cluster: &Cluster, node: u64, expected: &str) {
    eventually(&format!("node {node} is a {expected}"), || async {
        let leader = cluster.leader().await;
        (role(cluster, leader, node).await? == expected).then_some(())
    })
    .await;
}

/// Promotes or demotes a node. Another change may be under way, and the leader may just change.
pub async fn change(cluster: &Cluster, change: &str, node: u64, then: &str) {
    let client = cluster.client("/admin_key", 0);
    eventually(&format!("node {node} is a {then}"), || async {
        let request = Request::post(&["v1", "cluster", change], &json!({ "node": node }));
        _ = client.send(request).await;
        let leader = cluster.leader().await;
        (role(cluster, leader, node).await? == then).then_some(())
    })
    .await;
}

/// Lets another voter lead.
pub async fn transfer(cluster: &Cluster, to: u64) {
    let client = cluster.client("/admin_key", 0);
    eventually("the named one leads", || async {
        let request = Request::post(&["v1", "cluster", "transfer-leader"], &json!({ "node": to }));
        _ = client.send(request).await;
        (cluster.leader().await == to).then_some(())
    })
    .await;
}

/// A node loses its data: it is nobody that the others know, and is not let in.
pub async fn wipe(cluster: &mut Cluster, node: u64) {
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
pub async fn remove(cluster: &mut Cluster, node: u64) {
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
pub async fn role(cluster: &Cluster, asked: u64, node: u64) -> Option<String> {
    let status = cluster.status(asked).await?;
    let members = status["nodes"].as_array()?;
    let member = members.iter().find(|member| member["id"] == node)?;
    member["role"].as_str().map(str::to_owned)
}

/// Waits until a node has what the leader has now.
pub async fn caught_up(cluster: &Cluster, node: u64) {
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
