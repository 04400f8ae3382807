//! Determinism checked on real data: the log replayed from the beginning must give the state that
//! is stored, byte for byte.

use std::path::Path;

use ledger::{Read, query};
use store::StoreError;
use store::log::{LogOptions, LogStore};
use store::state::StateStore;
use types::limits::REPLICATION_BYTES_MAX;
use types::{Digest, LogIndex};

use crate::apply::{self, Applied, ApplyError, Chunk};
use crate::codec;

/// What a replay found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayReport {
    /// The last entry that the stored state contains.
    pub applied_index: LogIndex,
    /// Hash of the stored state.
    pub state_hash: Digest,
    /// Hash of the replayed state.
    pub replay_hash: Digest,
    /// Leaves of the stored audit tree.
    pub tree_size: u64,
    /// Root of the stored audit tree.
    pub tree_root: Digest,
    /// Both states are the same.
    pub equal: bool,
}

/// Why there was no replay.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The disk.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log's beginning is gone.
    #[error("the log was purged up to entry {0}; only a log from its first entry can be replayed")]
    Purged(u64),
    /// The log ends before the state.
    #[error("the state is applied up to entry {applied}, the log ends before it")]
    LogTooShort {
        /// Last applied entry.
        applied: u64,
    },
    /// An entry cannot be applied.
    #[error("the replay stopped: {0}")]
    Stopped(String),
}

impl From<ApplyError> for ReplayError {
    fn from(error: ApplyError) -> Self {
        Self::Stopped(error.to_string())
    }
}

/// Replays the log of a node that is not running into a state of its own and compares.
///
/// # Errors
/// [`ReplayError`] says why it cannot be done; a difference is no error but a report.
pub fn replay(data_dir: &Path) -> Result<ReplayReport, ReplayError> {
    let log = LogStore::open(data_dir, &LogOptions::default())?;
    if let Some(purged) = log.purged() {
        return Err(ReplayError::Purged(purged));
    }
    let stored = StateStore::open(data_dir)?;
    let scratch = stored.staging_dir("replay")?;
    let replayed = StateStore::open(&scratch)?;
    if let Some(applied) = stored.applied().map(|applied| applied.index) {
        run(&log, &replayed, applied)?;
    }
    let (index, state_hash) = stored.state_hash()?;
    let (_, replay_hash) = replayed.state_hash()?;
    drop(replayed);
    stored.staging_dir("replay")?;
    let tree = stored.with_view(|view: &dyn Read, _| query::tree(view))?;
    let (tree_size, tree_root) = tree.map_err(|fault| ReplayError::Stopped(fault.to_string()))?;
    Ok(ReplayReport {
        applied_index: LogIndex(index.unwrap_or(0)),
        state_hash,
        replay_hash,
        tree_size,
        tree_root,
        equal: state_hash == replay_hash,
    })
}

fn run(log: &LogStore, state: &StateStore, applied: u64) -> Result<(), ReplayError> {
    let mut progress = Applied::default();
    let mut next = log.first().unwrap_or(0);
    while next <= applied {
        let entries = log.read(next..applied + 1, REPLICATION_BYTES_MAX)?;
        if entries.is_empty() {
            return Err(ReplayError::LogTooShort { applied });
        }
        let mut chunk = Chunk::default();
        for (index, bytes) in entries {
            let entry = codec::decode_entry(index, &bytes)
                .map_err(|error| ReplayError::Stopped(error.to_string()))?;
            next = index + 1;
            if chunk.push(entry) {
                apply::apply(state, &mut progress, std::mem::take(&mut chunk))?;
            }
        }
        if !chunk.is_empty() {
            apply::apply(state, &mut progress, chunk)?;
        }
        if state.needs_flush() {
            state.flush()?;
        }
    }
    Ok(())
}
