//! Metrics of the other nodes, one series per node, and what is counted for them.
//!
//! Invariant: series are made for members alone, anew at each scrape, so one that was removed is
//! shown no more, and there are never more than the cluster has nodes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use meters::{Histogram, number};
use openraft::async_runtime::watch::WatchReceiver as _;
use parking_lot::Mutex;

use crate::node::Core;

/// What is counted for other nodes while this one knows them.
pub(crate) struct Tallies {
    of: Mutex<BTreeMap<u64, Arc<Tally>>>,
    snapshot_send: Histogram,
}

#[derive(Default)]
struct Tally {
    heartbeat_failures: AtomicU64,
    snapshots_sending: AtomicU64,
}

impl Default for Tallies {
    fn default() -> Self {
        let snapshot_send = meters::SNAPSHOT_SEND_SECONDS.histogram(&[]);
        Self { of: Mutex::default(), snapshot_send }
    }
}

impl Tallies {
    fn of(&self, node: u64) -> Arc<Tally> {
        self.of.lock().entry(node).or_default().clone()
    }

    /// A heartbeat was not answered in time.
    pub(crate) fn heartbeat_failed(&self, node: u64) {
        self.of(node).heartbeat_failures.fetch_add(1, Ordering::Relaxed);
    }

    /// A snapshot begins to go to a node; it goes until the answer is dropped.
    pub(crate) fn sending(&self, node: u64) -> Sending {
        let tally = self.of(node);
        tally.snapshots_sending.fetch_add(1, Ordering::Relaxed);
        Sending { tally, began: Instant::now(), seconds: self.snapshot_send.clone() }
    }

    /// A snapshot is on its way to some node.
    pub(crate) fn is_sending(&self) -> bool {
        let tallies = self.of.lock();
        tallies.values().any(|tally| tally.snapshots_sending.load(Ordering::Relaxed) > 0)
    }

    /// Forgets nodes that are no members.
    pub(crate) fn keep(&self, is_member: impl Fn(u64) -> bool) {
        self.of.lock().retain(|node, _| is_member(*node));
    }
}

/// A snapshot on its way.
pub(crate) struct Sending {
    tally: Arc<Tally>,
    began: Instant,
    seconds: Histogram,
}

impl Sending {
    /// It is installed there.
    pub(crate) fn installed(&self) {
        self.seconds.record(self.began.elapsed().as_secs_f64());
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.tally.snapshots_sending.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One node of the membership that is another than this.
struct Peer {
    node: u64,
    is_voter: bool,
    /// Known on the leader.
    lag: Option<u64>,
}

/// Makes the series of this moment on the recorder that is in force.
pub(crate) fn sample(core: &Core) {
    for Peer { node, is_voter, lag } in peers(core) {
        let label = [node.to_string()];
        let gauge = |metric: &meters::Metric, value: f64| metric.passing_gauge(&label).set(value);
        if let Some(lag) = lag {
            gauge(&meters::PEER_REPLICATION_LAG, number(lag));
        }
        gauge(&meters::PEER_IS_VOTER, f64::from(u8::from(is_voter)));
        let seen = core.look.of(node);
        let is_healthy = seen.as_ref().is_some_and(|seen| seen.healthy);
        gauge(&meters::PEER_IS_HEALTHY, f64::from(u8::from(is_healthy)));
        if let Some(age) = core.look.contact_age(node) {
            gauge(&meters::PEER_CONTACT_AGE_SECONDS, age.as_secs_f64());
        }
        if let Some(seen) = seen {
            gauge(&meters::PEER_ROUND_TRIP_SECONDS, seen.round_trip.as_secs_f64());
            gauge(&meters::PEER_CLOCK_OFFSET_SECONDS, seconds(seen.clock_offset_us));
        }
        let tally = core.peers.tallies.of(node);
        let failures = tally.heartbeat_failures.load(Ordering::Relaxed);
        meters::PEER_HEARTBEAT_FAILURES.passing_counter(&label).absolute(failures);
        let is_sending = tally.snapshots_sending.load(Ordering::Relaxed) > 0;
        gauge(&meters::PEER_SNAPSHOT_SENDING, f64::from(u8::from(is_sending)));
    }
    certificates(core);
}

fn peers(core: &Core) -> Vec<Peer> {
    let metrics = core.metrics.borrow_watched();
    let members = metrics.membership_config.membership();
    let voters: Vec<u64> = members.voter_ids().collect();
    let last = metrics.last_log_index.unwrap_or(0);
    let lag = |node: u64| {
        let matched = metrics.replication.as_ref()?.get(&node)?.as_ref();
        Some(last.saturating_sub(matched.map_or(0, |id| id.index)))
    };
    let others = members.nodes().map(|(node, _)| *node).filter(|node| *node != metrics.id);
    others.map(|node| Peer { node, is_voter: voters.contains(&node), lag: lag(node) }).collect()
}

/// A node without certificates has no series of them.
fn certificates(core: &Core) {
    let Some(identity) = &core.config.identity else { return };
    let now_us = core.config.time.read().wall_us.cast_signed();
    let ends = [("node", identity.expires_at()), ("authority", identity.authorities_expire_at())];
    for (certificate, at_s) in ends {
        let at_us = at_s.cast_signed().saturating_mul(1_000_000);
        let gauge = meters::CERTIFICATE_EXPIRY_SECONDS.passing_gauge(&[certificate.to_owned()]);
        gauge.set(seconds(at_us.saturating_sub(now_us)));
    }
}

/// Microseconds as seconds.
#[expect(clippy::cast_precision_loss, reason = "gauges are floating point")]
pub(crate) fn seconds(micros: i64) -> f64 {
    micros as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;

    #[test]
    fn a_snapshot_counts_while_it_is_on_its_way_and_a_node_while_it_is_one() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let tallies = metrics::with_local_recorder(&recorder, Tallies::default);
        let sending = || tallies.of(2).snapshots_sending.load(Ordering::Relaxed);
        let failures = || tallies.of(2).heartbeat_failures.load(Ordering::Relaxed);
        let (given_up, arrives) = (tallies.sending(2), tallies.sending(2));
        tallies.heartbeat_failed(2);
        assert_eq!((sending(), failures()), (2, 1));
        drop(given_up);
        arrives.installed();
        drop(arrives);
        assert_eq!(sending(), 0);
        let text = recorder.handle().render();
        assert!(text.contains("gate_snapshot_send_seconds_count 1\n"), "{text}");
        tallies.keep(|node| node == 2);
        assert_eq!(failures(), 1);
        tallies.keep(|node| node == 3);
        assert_eq!(failures(), 0);
    }
}
