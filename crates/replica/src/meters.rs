//! Metrics of consensus: batches, rounds, applied runs, and where the log stands.
//!
//! What happens often is recorded through handles made at the start; what merely stands somewhere
//! is read when somebody asks.

use std::sync::Arc;
use std::time::Duration;

use meters::{Counter, Gauge, Histogram, number};
use openraft::Instant as _;
use openraft::async_runtime::watch::WatchReceiver as _;

use crate::node::Core;
use crate::peer_meters;
use crate::strain::Why;

/// Metrics of the one writer of the state.
pub(crate) struct ApplyMeters {
    seconds: Histogram,
    entries: Histogram,
}

impl Default for ApplyMeters {
    fn default() -> Self {
        Self {
            seconds: meters::APPLY_SECONDS.histogram(&[]),
            entries: meters::APPLY_ENTRIES.histogram(&[]),
        }
    }
}

impl ApplyMeters {
    /// A run of entries is applied.
    pub(crate) fn applied(&self, entries: usize, took: Duration) {
        self.seconds.record(took.as_secs_f64());
        self.entries.record(number(entries as u64));
    }
}

/// Metrics of the node's other tasks, and gauges that are set when somebody asks.
pub(crate) struct ReplicaMeters {
    batch_commands: Histogram,
    batch_bytes: Histogram,
    read_seconds: Histogram,
    read_round: Histogram,
    leader_changes: Counter,
    queue_commands: Gauge,
    queue_bytes: Gauge,
    held_bytes: Gauge,
    last_log_index: Gauge,
    snapshot_index: Gauge,
    purged_index: Gauge,
    quorum_ack_age: Gauge,
    clock_offset: Gauge,
    clock_median_offset: Gauge,
    is_voter: Gauge,
    transfers_done: Counter,
    transfers_failed: Counter,
    hash_mismatches: Counter,
}

impl Default for ReplicaMeters {
    fn default() -> Self {
        Self {
            batch_commands: meters::BATCH_COMMANDS.histogram(&[]),
            batch_bytes: meters::BATCH_BYTES.histogram(&[]),
            read_seconds: meters::READ_INDEX_SECONDS.histogram(&[]),
            read_round: meters::READ_ROUND_READS.histogram(&[]),
            leader_changes: meters::LEADER_CHANGES.counter(&[]),
            queue_commands: meters::QUEUE_COMMANDS.gauge(&[]),
            queue_bytes: meters::QUEUE_BYTES.gauge(&[]),
            held_bytes: meters::REPLICATION_HELD_BYTES.gauge(&[]),
            last_log_index: meters::LAST_LOG_INDEX.gauge(&[]),
            snapshot_index: meters::SNAPSHOT_INDEX.gauge(&[]),
            purged_index: meters::PURGED_INDEX.gauge(&[]),
            quorum_ack_age: meters::QUORUM_ACK_AGE_SECONDS.gauge(&[]),
            clock_offset: meters::CLOCK_OFFSET_SECONDS.gauge(&[]),
            clock_median_offset: meters::CLOCK_MEDIAN_OFFSET_SECONDS.gauge(&[]),
            is_voter: meters::IS_VOTER.gauge(&[]),
            transfers_done: meters::LEADER_TRANSFERS.counter(&["done"]),
            transfers_failed: meters::LEADER_TRANSFERS.counter(&["failed"]),
            hash_mismatches: meters::STATE_HASH_MISMATCHES.counter(&[]),
        }
    }
}

impl ReplicaMeters {
    /// A batch goes into the log as one entry.
    pub(crate) fn proposed(&self, commands: usize, bytes: usize) {
        self.batch_commands.record(number(commands as u64));
        self.batch_bytes.record(number(bytes as u64));
    }

    /// This node's state is not that of the majority.
    pub(crate) fn state_differs(&self) {
        self.hash_mismatches.increment(1);
    }

    /// This node was to let another one lead, and it does now or it does not.
    pub(crate) fn transferred(&self, is_done: bool) {
        let counter = if is_done { &self.transfers_done } else { &self.transfers_failed };
        counter.increment(1);
    }

    /// One round to the majority has answered so many reads.
    pub(crate) fn read_round(&self, reads: usize, took: Duration) {
        self.read_seconds.record(took.as_secs_f64());
        self.read_round.record(number(reads as u64));
    }

    /// Sets what is only read when somebody asks.
    pub(crate) fn sample(&self, core: &Core) {
        self.queue_commands.set(number(core.queue.len() as u64));
        self.queue_bytes.set(number(core.queue.bytes() as u64));
        self.held_bytes.set(number(core.held.now() as u64));
        let quorum_acked = {
            let metrics = core.metrics.borrow_watched();
            self.last_log_index.set(number(metrics.last_log_index.unwrap_or(0)));
            // A leader that votes alone asks nobody, so its last answer only looks old.
            let members = metrics.membership_config.membership();
            let votes_alone = members.voter_ids().count() == 1;
            self.is_voter.set(u8::from(members.voter_ids().any(|voter| voter == metrics.id)));
            metrics.last_quorum_acked.filter(|_| !votes_alone)
        };
        self.snapshot_index.set(number(core.applied_and_snapshot().1));
        self.purged_index.set(number(core.log.purged().unwrap_or(0)));
        let seconds = |ms: u64| Duration::from_millis(ms).as_secs_f64();
        let ack_age = quorum_acked.map(|at| at.elapsed().as_secs_f64());
        self.quorum_ack_age.set(ack_age.unwrap_or(f64::NAN));
        let wall_us = core.config.time.read().wall_us;
        let ahead = core.leader_time().map(|time| seconds(time.0) - seconds(wall_us / 1_000));
        self.clock_offset.set(ahead.unwrap_or(f64::NAN));
        self.clock_median_offset.set(peer_meters::seconds(core.look.offset_us()));
    }
}

/// Metrics of disks and ways that are not what they should be.
pub(crate) struct StrainMeters {
    usual: Gauge,
    slow: Gauge,
    stuck: Gauge,
    too_far: Gauge,
    given_away: [(Why, Counter); 4],
}

impl Default for StrainMeters {
    fn default() -> Self {
        let whys = [Why::SlowDisk, Why::StuckDisk, Why::FullDisk, Why::DiskEnd];
        Self {
            usual: meters::WAL_FSYNC_USUAL_SECONDS.gauge(&[]),
            slow: meters::DISK_SLOW.gauge(&[]),
            stuck: meters::DISK_STUCK.gauge(&[]),
            too_far: meters::VOTERS_TOO_FAR.gauge(&[]),
            given_away: whys.map(|why| (why, meters::LEAD_GIVEN_AWAY.counter(&[why.name()]))),
        }
    }
}

impl StrainMeters {
    /// How long syncs take, and what that says of the disk.
    pub(crate) fn syncs(&self, usual_us: Option<u64>, is_slow: bool, is_stuck: bool) {
        let seconds = |us| Duration::from_micros(us).as_secs_f64();
        self.usual.set(usual_us.map_or(f64::NAN, seconds));
        self.slow.set(u32::from(is_slow));
        self.stuck.set(u32::from(is_stuck));
    }

    /// So many voters are too far for the profile.
    pub(crate) fn too_far(&self, voters: usize) {
        self.too_far.set(number(voters as u64));
    }

    /// The lead is given away, or shall be.
    pub(crate) fn given_away(&self, why: Why) {
        for (counted, counter) in &self.given_away {
            counter.increment(u64::from(*counted == why));
        }
    }
}

/// Counts leaders as they begin to lead. The watch it waits on moves with votes and leaders, not
/// with every entry.
pub(crate) async fn count_leaders(core: Arc<Core>) {
    let mut metrics = core.raft.server_metrics();
    let mut last = None;
    loop {
        let now = {
            let seen = metrics.borrow_watched();
            seen.current_leader.map(|leader| (leader, seen.vote.leader_id.term))
        };
        if now.is_some() && now != last {
            core.meters.leader_changes.increment(1);
            last = now;
        }
        if metrics.changed().await.is_err() {
            return;
        }
    }
}
