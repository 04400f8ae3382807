//! Determinism checked on real data: the log replayed from the beginning must give the state that
//! is stored, byte for byte, and that state must hold all that the log says is committed.
//!
//! Invariant: the node's own files are only read. What opens a database writes to it, so a copy is
//! opened, in a directory that the caller gives; the node's lock is held meanwhile.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use ledger::{Read, query};
use rustix::fs::{FlockOperation, fcntl_lock};
use store::StoreError;
use store::log::{LogOptions, LogStore, MetaKind};
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
    /// The last entry that the log is known to have committed.
    pub committed_index: LogIndex,
    /// Hash of the stored state.
    pub state_hash: Digest,
    /// Hash of the state that the log makes up to the same entry.
    pub replay_hash: Digest,
    /// Leaves of the stored audit tree.
    pub tree_size: u64,
    /// Root of the stored audit tree.
    pub tree_root: Digest,
    /// What the comparison came to.
    pub verdict: ReplayVerdict,
}

/// What the comparison came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplayVerdict {
    /// The stored state is what the whole log makes.
    Equal,
    /// The stored state is not what its log makes.
    Differs,
    /// The stored state is right as far as it goes, and the log goes further: what a node that was
    /// killed leaves, and makes up for at its next start.
    Behind,
    /// There is a log and no state beside it.
    Missing,
}

/// Why there was no replay.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// Nothing here was ever a node's.
    #[error("{path} holds no data of a node: {path}/raft is no log", path = .0.display())]
    NoData(PathBuf),
    /// A node has the data open.
    #[error("{path} is in use by another process", path = .0.display())]
    InUse(PathBuf),
    /// The copy cannot be made.
    #[error("{path} cannot be copied: {source}", path = path.display())]
    Copy {
        /// Which file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
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

/// Replays the log of a node that is not running into a state of its own and compares. `scratch` is
/// an empty directory of the caller, who removes it; table files are linked into it where both lie
/// on one file system, and copied otherwise.
///
/// # Errors
/// [`ReplayError`] says why it cannot be done; a difference is no error but a report.
pub fn replay(data_dir: &Path, scratch: &Path) -> Result<ReplayReport, ReplayError> {
    if !data_dir.join("raft").join("CURRENT").is_file() {
        return Err(ReplayError::NoData(data_dir.to_owned()));
    }
    let _lock = lock(data_dir)?;
    let has_state = has_state(data_dir)?;
    let copy = scratch.join("copy");
    copy_data(data_dir, &copy)?;
    let log = LogStore::open(&copy, &LogOptions::default())?;
    if let Some(purged) = log.purged() {
        return Err(ReplayError::Purged(purged));
    }
    let stored = StateStore::open(&copy)?;
    let replayed = StateStore::open(&scratch.join("replayed"))?;
    let applied = stored.applied().map(|applied| applied.index);
    // The mark is written with a later entry, so the state may be ahead of it.
    let committed = committed(&log)?.max(applied);

    let mut replay = Replay { log: &log, state: &replayed, progress: Applied::default(), next: 0 };
    replay.next = log.first().unwrap_or(0);
    replay.run(applied)?;
    let (index, state_hash) = stored.state_hash()?;
    let (_, replay_hash) = replayed.state_hash()?;
    replay.run(committed)?;
    let tree = stored.with_view(|view: &dyn Read, _| query::tree(view))?;
    let (tree_size, tree_root) = tree.map_err(|fault| ReplayError::Stopped(fault.to_string()))?;
    let verdict = match (has_state, state_hash == replay_hash, committed > applied) {
        (false, _, true) => ReplayVerdict::Missing,
        (_, false, _) => ReplayVerdict::Differs,
        (_, true, true) => ReplayVerdict::Behind,
        (_, true, false) => ReplayVerdict::Equal,
    };
    Ok(ReplayReport {
        applied_index: LogIndex(index.unwrap_or(0)),
        committed_index: LogIndex(committed.unwrap_or(0)),
        state_hash,
        replay_hash,
        tree_size,
        tree_root,
        verdict,
    })
}

/// Takes the lock that a running node holds on its log, so that none starts meanwhile.
fn lock(data_dir: &Path) -> Result<File, ReplayError> {
    let path = data_dir.join("raft").join("LOCK");
    // A log that was ever open has this file; none is made.
    let file = OpenOptions::new().read(true).write(true).open(&path);
    let file = file.map_err(|source| ReplayError::Copy { path, source })?;
    match fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(_) => Err(ReplayError::InUse(data_dir.to_owned())),
    }
}

/// Whether the live generation of the state is there.
fn has_state(data_dir: &Path) -> Result<bool, ReplayError> {
    let path = data_dir.join("CURRENT");
    match fs::read_to_string(&path) {
        Ok(name) => Ok(data_dir.join("state").join(name.trim_end()).join("CURRENT").is_file()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(ReplayError::Copy { path, source }),
    }
}

/// The last entry that the log says is committed.
fn committed(log: &LogStore) -> Result<Option<u64>, ReplayError> {
    match log.meta(MetaKind::Committed)?.as_deref() {
        None | Some([]) => Ok(None),
        Some(bytes) => {
            let id = codec::decode_log_id(bytes);
            let id = id.map_err(|error| ReplayError::Stopped(error.to_string()))?;
            Ok(Some(id.index))
        }
    }
}

/// Copies what log and state are opened from. Snapshots are not looked at.
fn copy_data(from: &Path, to: &Path) -> Result<(), ReplayError> {
    make_dir(to)?;
    for name in ["hwm", "CURRENT"] {
        let source = from.join(name);
        if source.is_file() {
            copy_file(&source, &to.join(name))?;
        }
    }
    for name in ["raft", "state"] {
        let source = from.join(name);
        if source.is_dir() {
            copy_dir(&source, &to.join(name))?;
        }
    }
    Ok(())
}

fn copy_dir(from: &Path, to: &Path) -> Result<(), ReplayError> {
    let failed = |source| ReplayError::Copy { path: from.to_owned(), source };
    make_dir(to)?;
    for entry in fs::read_dir(from).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let (source, target) = (from.join(&name), to.join(&name));
        if source.is_dir() {
            copy_dir(&source, &target)?;
        } else if name != "LOCK" {
            copy_file(&source, &target)?;
        }
    }
    Ok(())
}

fn make_dir(path: &Path) -> Result<(), ReplayError> {
    fs::create_dir(path).map_err(|source| ReplayError::Copy { path: path.to_owned(), source })
}

/// A table file never changes once it is written: a second name for it is as good as a copy.
fn copy_file(from: &Path, to: &Path) -> Result<(), ReplayError> {
    let is_table = from.extension().is_some_and(|ending| ending == "sst");
    if is_table && fs::hard_link(from, to).is_ok() {
        return Ok(());
    }
    let copied = fs::copy(from, to).map(drop);
    copied.map_err(|source| ReplayError::Copy { path: from.to_owned(), source })
}

/// A replay, as far as it got.
struct Replay<'a> {
    log: &'a LogStore,
    state: &'a StateStore,
    progress: Applied,
    next: u64,
}

impl Replay<'_> {
    /// Goes on up to an entry and with it.
    fn run(&mut self, last: Option<u64>) -> Result<(), ReplayError> {
        let Some(last) = last else { return Ok(()) };
        while self.next <= last {
            let entries = self.log.read(self.next..last + 1, REPLICATION_BYTES_MAX)?;
            if entries.is_empty() {
                return Err(ReplayError::LogTooShort { applied: last });
            }
            let mut chunk = Chunk::default();
            for (index, bytes) in entries {
                let entry = codec::decode_entry(index, &bytes)
                    .map_err(|error| ReplayError::Stopped(error.to_string()))?;
                self.next = index + 1;
                if chunk.push(entry) {
                    apply::apply(self.state, &mut self.progress, std::mem::take(&mut chunk))?;
                }
            }
            if !chunk.is_empty() {
                apply::apply(self.state, &mut self.progress, chunk)?;
            }
            if self.state.needs_flush() {
                self.state.flush()?;
            }
        }
        Ok(())
    }
}
