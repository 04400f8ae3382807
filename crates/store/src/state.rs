//! The state that the log makes: rows, and with them, in the same write, how far it is applied.
//!
//! Promise: after a crash the state is exactly that of some applied entry, never a mixture.
//! Invariant: the state has no write-ahead log. The Raft log is its log: entries may be purged
//! only up to [`StateStore::flushed_index`].

mod generation;
mod hot;
mod incoming;
mod install;
mod reader;
mod snapshot;
mod versions;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bugs::Bug;
use ledger::table::Table;
use ledger::{Direction, Read, Writes};
use parking_lot::{Mutex, RwLock};
use sha2::{Digest as _, Sha256};
use types::Digest;

use crate::engine::{WriteBatch, WriteOptions, family};
use crate::error::{Context as _, StoreError};
use crate::failpoint;
use crate::files;
use crate::meters::{Caches, StateMeters, Taking};

use generation::{Generation, ROW_FAMILIES, family_of};
pub use incoming::{Incoming, Wanted};
use reader::Reader;
pub use snapshot::{Held, Manifest, Snapshot, SnapshotFile};

/// Bytes of unflushed writes from which on the state wants a flush.
pub const FLUSH_BYTES: u64 = 64 * 1024 * 1024;
/// Unflushed entries from which on the state wants a flush.
pub const FLUSH_ENTRIES: u64 = 50_000;

/// What is applied: this node's own words beside the rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppliedMeta {
    /// Index of the last applied entry.
    pub index: u64,
    /// Its whole id, as the replica encodes it.
    pub applied: Vec<u8>,
    /// The membership in force there, as the replica encodes it.
    pub membership: Vec<u8>,
}

/// What was written, and how much of it a crash would take back.
struct Written {
    applied: Option<AppliedMeta>,
    unflushed_bytes: u64,
    flushed: Option<u64>,
}

/// The state of one node, open in one process.
pub struct StateStore {
    data_dir: PathBuf,
    live: RwLock<Arc<Generation>>,
    written: Mutex<Written>,
    /// Held while a snapshot is published or installed: one at a time.
    publishing: Mutex<()>,
    meters: StateMeters,
}

impl StateStore {
    /// Opens the live generation under a data directory, or makes the first. An install that a
    /// crash cut short is finished or undone.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if the directory makes no sense, or what the disk says.
    pub fn open(data_dir: &Path) -> Result<Self, StoreError> {
        files::create_dir(&data_dir.join("state"))?;
        files::create_dir(&data_dir.join("snap"))?;
        let number = install::recover(data_dir)?;
        let generation = Generation::open(data_dir, number)?;
        let applied = generation.applied()?;
        let flushed = applied.as_ref().map(|applied| applied.index);
        let written = Written { applied, unflushed_bytes: 0, flushed };
        Ok(Self {
            data_dir: data_dir.to_owned(),
            live: RwLock::new(Arc::new(generation)),
            written: Mutex::new(written),
            publishing: Mutex::new(()),
            meters: StateMeters::default(),
        })
    }

    /// Writes rows together with how far they are applied: all of it or nothing.
    ///
    /// # Errors
    /// If the database refuses; the node must stop then.
    pub fn write(&self, writes: &Writes, applied: &AppliedMeta) -> Result<(), StoreError> {
        let mut written = self.written.lock();
        let generation = self.generation();
        let db = generation.db();
        let mut batch = WriteBatch::default();
        let mut hot_rows = Vec::new();
        let families = ROW_FAMILIES.map(|name| family(db, name));
        for (key, value) in writes.sorted() {
            if Bug::LeafDropped.is_planted() && is_dropped(key, &self.data_dir) {
                continue;
            }
            if hot::is_hot(key) {
                hot_rows.push((key.to_vec(), value.map(<[u8]>::to_vec)));
            }
            let rows = families[family_of(key)];
            match value {
                Some(value) => batch.put_cf(rows, key, value),
                None => batch.delete_cf(rows, key),
            }
        }
        generation::put_applied(&mut batch, db, applied, written.applied.as_ref());
        let bytes = batch.size_in_bytes() as u64;
        let mut options = WriteOptions::default();
        options.disable_wal(true);
        failpoint::hit("state.write.before");
        let writing = Taking::begin(&self.meters.write_seconds);
        db.write_opt(batch, &options).context("write the state")?;
        writing.done();
        if !Bug::HotRowsStale.is_planted() {
            generation.hot.written(hot_rows);
        }
        failpoint::hit("state.write.after");
        written.unflushed_bytes += bytes;
        written.applied = Some(applied.clone());
        Ok(())
    }

    /// What is applied, written or not yet flushed.
    #[must_use]
    pub fn applied(&self) -> Option<AppliedMeta> {
        self.written.lock().applied.clone()
    }

    /// Up to where a crash cannot take the state back.
    #[must_use]
    pub fn flushed_index(&self) -> Option<u64> {
        self.written.lock().flushed
    }

    /// So much is unflushed that a restart would replay too long.
    #[must_use]
    pub fn needs_flush(&self) -> bool {
        let written = self.written.lock();
        let applied = written.applied.as_ref().map_or(0, |applied| applied.index + 1);
        let flushed = written.flushed.map_or(0, |flushed| flushed + 1);
        written.unflushed_bytes >= FLUSH_BYTES || applied.saturating_sub(flushed) >= FLUSH_ENTRIES
    }

    /// Makes all that was written before the call durable.
    ///
    /// # Errors
    /// If the database refuses; nothing counts as flushed then.
    pub fn flush(&self) -> Result<(), StoreError> {
        let (applied, bytes) = {
            let written = self.written.lock();
            (written.applied.as_ref().map(|applied| applied.index), written.unflushed_bytes)
        };
        failpoint::hit("state.flush.before");
        let flushing = Taking::begin(&self.meters.flush_seconds);
        generation::flush(self.generation().db())?;
        flushing.done();
        failpoint::hit("state.flush.after");
        let mut written = self.written.lock();
        written.flushed = written.flushed.max(applied);
        written.unflushed_bytes = written.unflushed_bytes.saturating_sub(bytes);
        Ok(())
    }

    /// Runs `read` on the state as it is at this moment, with the entry it is applied up to.
    ///
    /// # Errors
    /// If the view cannot be made; `read` was not called then.
    pub fn with_view<T>(
        &self,
        read: impl FnOnce(&dyn Read, Option<u64>) -> T,
    ) -> Result<T, StoreError> {
        let generation = self.generation();
        let reader = Reader::frozen(&generation);
        let applied = reader.applied_index()?;
        Ok(read(&reader, applied))
    }

    /// Runs `read` on the state as it is written. For the one who writes: others want
    /// [`Self::with_view`].
    pub fn with_live<T>(&self, read: impl FnOnce(&dyn Read) -> T) -> T {
        let generation = self.generation();
        read(&Reader::live(&generation))
    }

    /// SHA-256 over all rows in key order, each with its lengths, and the entry they are applied
    /// up to. Equal logs give equal hashes; what is a node's own is not in it.
    ///
    /// # Errors
    /// If a row cannot be read.
    pub fn state_hash(&self) -> Result<(Option<u64>, Digest), StoreError> {
        let mut hasher = Sha256::new();
        let (index, scanned) = self.with_view(|view, index| {
            let mut row = |key: &[u8], value: &[u8]| {
                hasher.update((key.len() as u64).to_be_bytes());
                hasher.update(key);
                hasher.update((value.len() as u64).to_be_bytes());
                hasher.update(value);
                ControlFlow::Continue(())
            };
            (index, view.scan(&[], &[0xff; 64], Direction::Ascending, &mut row))
        })?;
        scanned.map_err(|fault| StoreError::damaged(fault.0))?;
        Ok((index, Digest(hasher.finalize().into())))
    }

    /// Brings the metrics up to date that are read only when somebody asks.
    pub fn sample(&self) {
        let families = generation::family_names().collect::<Vec<_>>();
        self.meters.database.sample(self.generation().db(), &families, Caches::Shared);
        let bytes = match self.latest_snapshot() {
            Ok(Some(snapshot)) => {
                meters::number(snapshot.manifest.files.iter().map(|file| file.bytes).sum())
            }
            Ok(None) => 0.0,
            Err(_) => f64::NAN,
        };
        self.meters.snapshot_bytes.set(bytes);
    }

    fn generation(&self) -> Arc<Generation> {
        self.live.read().clone()
    }
}

/// One leaf of twenty, on each node another one. For a bug.
fn is_dropped(key: &[u8], data_dir: &Path) -> bool {
    let is_leaf = key.get(4) == Some(&(Table::Leaves as u8));
    let name = data_dir.as_os_str().as_encoded_bytes();
    let own = name.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    is_leaf && key.last().is_some_and(|last| last % 20 == own % 20)
}
