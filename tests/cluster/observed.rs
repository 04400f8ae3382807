//! What the metrics of a cluster say of its nodes: the leader knows how far each of the others is
//! behind, every node sees the others, a node that is frozen shows, and one that was removed is in
//! no scrape any more.
#![cfg(test)]

#[path = "../support/mod.rs"]
mod support;

use std::path::Path;

use client::Request;
use rustix::process::Signal;
use serde_json::json;
use support::cluster::Cluster;
use support::node::eventually;
use support::ports::base_port;
use support::{fixture, scrape};
use tempfile::TempDir;

/// Intents that a frozen node does not get.
const INTENTS: u64 = 20;

/// One scrape of a node.
struct Scrape(String);

impl Scrape {
    fn of(cluster: &Cluster, node: u64) -> Self {
        let nodes = cluster.file["nodes"].as_array().expect("nodes");
        let found = nodes.iter().find(|found| found["id"] == node).expect("a node");
        let address = found["metrics"].as_str().expect("an address");
        Self(scrape(address.trim_start_matches("http://")))
    }

    /// The value of a series, if there is one.
    fn value(&self, series: &str) -> Option<f64> {
        let start = format!("{series} ");
        let line = self.0.lines().find_map(|line| line.strip_prefix(&start))?;
        Some(line.parse().expect("a number"))
    }

    fn of_peer(&self, metric: &str, peer: u64) -> Option<f64> {
        self.value(&format!("{metric}{{peer=\"{peer}\"}}"))
    }

    fn names(&self, peer: u64) -> bool {
        self.0.contains(&format!("peer=\"{peer}\""))
    }
}

/// Waits for a scrape of a node of which something holds.
async fn scraped(
    cluster: &Cluster,
    node: u64,
    what: &str,
    holds: impl Fn(&Scrape) -> bool,
) -> Scrape {
    let look = || async { Some(Scrape::of(cluster, node)).filter(&holds) };
    eventually(&format!("{what}, says node {node}"), look).await
}

async fn change(cluster: &Cluster, verb: &str, body: serde_json::Value) {
    let request = Request::post(&["v1", "cluster", verb], &body);
    cluster.client("/admin_key", 0).send(request).await.expect("it is changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_are_seen_by_each_other_until_they_are_removed() {
    let home = TempDir::new().expect("a directory");
    let gate = Path::new(env!("CARGO_BIN_EXE_qgate"));
    let cluster = Cluster::start(gate, home.path(), &fixture(""), 3, base_port());
    let leader = cluster.leader().await;
    let others: Vec<u64> = cluster.ids().into_iter().filter(|node| *node != leader).collect();
    let [frozen, other] = others[..] else { panic!("three nodes: {others:?}") };

    let all_well = |scrape: &Scrape| {
        let is = |metric, peer, value| scrape.of_peer(metric, peer) == Some(value);
        others.iter().all(|peer| {
            is("gate_peer_replication_lag", *peer, 0.0)
                && is("gate_peer_is_voter", *peer, 1.0)
                && is("gate_peer_is_healthy", *peer, 1.0)
                && scrape.of_peer("gate_peer_round_trip_seconds", *peer).is_some()
        })
    };
    let found = scraped(&cluster, leader, "the others are up to date", all_well).await;
    for metric in meters::ALL {
        let kind = format!("# TYPE {} {}\n", metric.name, metric.kind.name());
        assert!(found.0.contains(&kind), "the leader has no {}:\n{}", metric.name, found.0);
    }
    for peer in &others {
        assert_eq!(found.of_peer("gate_peer_snapshot_sending", *peer), Some(0.0));
        assert!(found.of_peer("gate_peer_contact_age_seconds", *peer) >= Some(0.0));
        assert!(found.of_peer("gate_peer_clock_offset_seconds", *peer).is_some());
    }
    assert!(!found.names(leader), "a node is no peer of itself");
    assert_eq!(found.value("gate_is_voter"), Some(1.0));
    for certificate in ["node", "authority"] {
        let series = format!("gate_certificate_expiry_seconds{{certificate=\"{certificate}\"}}");
        assert!(found.value(&series) > Some(24.0 * 3_600.0), "{series}");
    }
    let seen = |scrape: &Scrape| {
        let is_healthy = |peer| scrape.of_peer("gate_peer_is_healthy", peer) == Some(1.0);
        is_healthy(leader) && is_healthy(frozen)
    };
    let found = scraped(&cluster, other, "the others are there", seen).await;
    assert!(!found.0.contains("gate_peer_replication_lag{"), "a follower knows no lag");

    // What a node does not get is what it lags behind.
    cluster.signal(frozen, Signal::STOP);
    let agent = cluster.client("/agent_key", 0);
    for number in 0..INTENTS {
        let intent = json!({ "resource": "notes", "payload": { "number": number } });
        agent.submit(&intent, None).await.expect("two of three go on");
    }
    let behind = |scrape: &Scrape| {
        scrape.of_peer("gate_peer_replication_lag", frozen) >= Some(meters::number(INTENTS))
            && scrape.of_peer("gate_peer_is_healthy", frozen) == Some(0.0)
            && scrape.of_peer("gate_peer_heartbeat_failures_total", frozen) > Some(0.0)
            && scrape.of_peer("gate_peer_round_trip_seconds", frozen).is_none()
    };
    let found = scraped(&cluster, leader, "the frozen node is behind", behind).await;
    assert!(found.of_peer("gate_peer_contact_age_seconds", frozen) >= Some(5.0));
    assert_eq!(found.of_peer("gate_peer_is_healthy", other), Some(1.0));
    cluster.signal(frozen, Signal::CONT);
    scraped(&cluster, leader, "the node has caught up", all_well).await;

    change(&cluster, "remove", json!({ "node": frozen })).await;
    for node in [leader, other] {
        let found = scraped(&cluster, node, "the node is gone", |scrape| {
            scrape.value("gate_voters") == Some(2.0)
        });
        assert!(!found.await.names(frozen), "node {node} still shows node {frozen}");
    }

    change(&cluster, "transfer-leader", json!({ "node": other })).await;
    let follows = |scrape: &Scrape| scrape.value("gate_is_leader") == Some(0.0);
    let found = scraped(&cluster, leader, "it leads no more", follows).await;
    assert_eq!(found.value("gate_leader_transfers_total{outcome=\"done\"}"), Some(1.0));
    assert_eq!(found.of_peer("gate_peer_is_voter", other), Some(1.0));
    let leads = |scrape: &Scrape| scrape.of_peer("gate_peer_replication_lag", leader) == Some(0.0);
    scraped(&cluster, other, "the old leader is up to date", leads).await;
}
