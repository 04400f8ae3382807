//! How a replica is run, and what that means for Raft.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use gate::seal::DataKey;
use openraft::SnapshotPolicy;
use store::log::LogOptions;
use tls::Identity;
use types::NodeId;
use types::limits::{
    LEADER_WAIT_MS_MAX, LOG_KEPT_BYTES, LOG_KEPT_ENTRIES, PROPOSE_WAIT_MS_MAX, READ_WAIT_MS_MAX,
    SNAPSHOT_BYTES, SNAPSHOT_BYTES_PER_SECOND, SNAPSHOT_ENTRIES,
};

use crate::clock::{MachineTime, TimeSource};
use crate::disk::DiskLimits;
use crate::join::JoinPlan;
use crate::raft::NodeAddress;

/// Fewer entries than this are not worth a purge.
const PURGE_ENTRIES_MIN: u64 = 1_000;
/// How long a snapshot may take to send and install.
const INSTALL_SNAPSHOT_MS: u64 = 60_000;
/// A connection may take at least so long.
const CONNECT_MS_MIN: u64 = 500;
/// Entries in one message to a follower; their bytes are limited by the log's reader.
const PAYLOAD_ENTRIES_MAX: u64 = 1_024;

/// How far apart the nodes are. A longer way wants more patience before an election.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Profile {
    /// One site.
    #[default]
    Lan,
    /// Regions of one continent.
    Regional,
    /// Continents.
    Global,
}

impl Profile {
    /// All of them, the least patient first.
    pub(crate) const ALL: [Self; 3] = [Self::Lan, Self::Regional, Self::Global];

    /// The one of that name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|profile| profile.name() == name)
    }

    /// As the configuration says it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Lan => "lan",
            Self::Regional => "regional",
            Self::Global => "global",
        }
    }

    /// Heartbeat, and the shortest and longest election time-out, in milliseconds.
    pub(crate) fn times_ms(self) -> (u64, u64, u64) {
        match self {
            Self::Lan => (50, 150, 300),
            Self::Regional => (300, 2_000, 4_000),
            Self::Global => (750, 5_000, 10_000),
        }
    }
}

/// What a node does whose data directory is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begin {
    /// It makes a cluster of its own.
    Cluster,
    /// It waits to be taken in by this one.
    Join(JoinPlan),
    /// It does not start.
    Resume,
}

/// How a replica is run.
#[derive(Clone)]
pub struct Config {
    /// Where it keeps its data.
    pub data_dir: PathBuf,
    /// Which node it is; from 1, never reused.
    pub node: NodeId,
    /// Its addresses, as the membership carries them.
    pub address: NodeAddress,
    /// What it does if its data directory is empty.
    pub begin: Begin,
    /// Nodes that are asked before this one makes a cluster, by id, with their addresses for peers:
    /// it makes none if one of them answers.
    pub ask_first: BTreeMap<u64, String>,
    /// Signs and checks what lets nodes join; the same on every node.
    pub data_key: DataKey,
    /// Its certificate for other nodes; without one they speak in plain text.
    pub identity: Option<Arc<Identity>>,
    /// How far the other nodes are.
    pub profile: Profile,
    /// How long a command or a read waits for a leader.
    pub leader_wait: Duration,
    /// What snapshots on their way to other nodes take of the network, in bytes per second.
    pub snapshot_bytes_per_second: u64,
    /// Batches proposed and not yet answered, at most. One gives the largest batches.
    pub in_flight_max: usize,
    /// How long a batch waits for its reply before its outcome is unknown.
    pub propose_wait: Duration,
    /// How long a read waits to become fresh.
    pub read_wait: Duration,
    /// Entries since the last snapshot from which on a new one is made.
    pub snapshot_entries: u64,
    /// Bytes of log since the last snapshot from which on a new one is made.
    pub snapshot_bytes: u64,
    /// Entries kept in the log behind a snapshot.
    pub log_kept_entries: u64,
    /// Bytes of log beyond which fewer entries than that are kept.
    pub log_kept_bytes: u64,
    /// What it may take of its disk.
    pub disk: DiskLimits,
    /// How its log is run.
    pub log: LogOptions,
    /// Where time comes from.
    pub time: Arc<dyn TimeSource>,
}

impl Config {
    /// The defaults for a node with its data in `data_dir`.
    #[must_use]
    pub fn new(data_dir: PathBuf, node: NodeId, address: NodeAddress, data_key: DataKey) -> Self {
        Self {
            data_dir,
            node,
            address,
            begin: Begin::Cluster,
            ask_first: BTreeMap::new(),
            data_key,
            identity: None,
            profile: Profile::default(),
            leader_wait: Duration::from_millis(LEADER_WAIT_MS_MAX),
            snapshot_bytes_per_second: SNAPSHOT_BYTES_PER_SECOND,
            in_flight_max: 1,
            propose_wait: Duration::from_millis(PROPOSE_WAIT_MS_MAX),
            read_wait: Duration::from_millis(READ_WAIT_MS_MAX),
            snapshot_entries: SNAPSHOT_ENTRIES,
            snapshot_bytes: SNAPSHOT_BYTES,
            log_kept_entries: LOG_KEPT_ENTRIES,
            log_kept_bytes: LOG_KEPT_BYTES,
            // Who runs a node decides whether it has a ballast.
            disk: DiskLimits { ballast_bytes: Some(0), ..DiskLimits::default() },
            log: LogOptions::default(),
            time: Arc::new(MachineTime),
        }
    }

    /// How long a leader may take for granted that a voter which answered it votes for nobody else.
    pub(crate) fn lease(&self) -> Duration {
        Duration::from_millis(self.profile.times_ms().2)
    }

    /// How long a connection may take.
    pub(crate) fn connect_wait(&self) -> Duration {
        Duration::from_millis(self.profile.times_ms().2.max(CONNECT_MS_MIN))
    }

    /// What Raft is told.
    pub(crate) fn raft(&self, cluster_id: &str) -> Result<openraft::Config, openraft::ConfigError> {
        let (heartbeat_ms, election_min_ms, election_max_ms) = self.profile.times_ms();
        openraft::Config {
            cluster_name: cluster_id.to_owned(),
            heartbeat_interval: heartbeat_ms,
            election_timeout_min: election_min_ms,
            election_timeout_max: election_max_ms,
            install_snapshot_timeout: INSTALL_SNAPSHOT_MS,
            max_payload_entries: PAYLOAD_ENTRIES_MAX,
            // Snapshots are made by bytes and entries, see `upkeep`.
            snapshot_policy: SnapshotPolicy::Never,
            max_in_snapshot_log_to_keep: self.log_kept_entries,
            purge_batch_size: PURGE_ENTRIES_MIN.min(self.log_kept_entries.max(1)),
            replication_lag_threshold: self.log_kept_entries,
            // A node cut off from the majority falls silent, so that a partly cut network can
            // find another leader; it must outlast the lease and an election.
            quorum_loss_probe_interval: Some(4 * election_max_ms),
            enable_pre_vote: Some(true),
            // A restarted process must not lead on under its old leader id: fences rely on it.
            enable_leader_restore: Some(false),
            allow_log_reversion: Some(false),
            ..openraft::Config::default()
        }
        .validate()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_is_valid_and_keeps_the_safe_choices() {
        for profile in Profile::ALL {
            let mut config =
                Config::new("d".into(), NodeId(1), NodeAddress::default(), DataKey::draw());
            config.profile = profile;
            let raft = config.raft("c").expect("valid");
            assert!(raft.heartbeat_interval <= raft.election_timeout_min / 3, "{profile:?}");
            assert_eq!(raft.enable_pre_vote, Some(true));
            assert_eq!(raft.enable_leader_restore, Some(false));
            assert_eq!(raft.allow_log_reversion, Some(false));
            assert_eq!(raft.snapshot_policy, SnapshotPolicy::Never);
        }
    }
}
