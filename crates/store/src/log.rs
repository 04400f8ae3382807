//! The Raft log and its vote on RocksDB: bytes in, bytes out.
//!
//! Promise: an entry can be read as soon as [`LogStore::append`] returns, and is on the disk when
//! its callback says so; damaged entries are never served.
//! Invariant: the log is one run of consecutive indexes; one thread syncs, in the order of the
//! writes; after a failed write nothing succeeds any more.

mod entry;
mod mark;
mod queue;
mod recover;
#[cfg(not(feature = "simulated"))]
mod spares;
mod stats;
mod tail;
#[cfg(all(test, not(feature = "simulated")))]
mod tests;
mod worker;

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use bugs::Bug;
use bytes::Bytes;
use parking_lot::RwLock;

use crate::engine::{
    ColumnFamily, DB, Direction, IteratorMode, ReadOptions, WriteBatch, WriteOptions, family,
};
use crate::error::{Context as _, StoreError};
use crate::failpoint;
use crate::meters::{Caches, LogMeters};

pub use queue::BeforeSync;
#[cfg(feature = "simulated")]
pub use queue::SyncTakes;
use queue::{Durable, Operation, Queue};
pub use stats::LogStats;
use tail::Tail;
use worker::Worker;

/// Called once an operation is on the disk, or can never be.
pub type Done = Box<dyn FnOnce(io::Result<()>) + Send>;

/// Column family of the entries; key: index, 8 bytes big-endian.
const LOG: &str = "log";
/// Column family of single values; key: [`MetaKind`] or one of the bytes below.
const META: &str = "meta";
const META_VOTES: u8 = 0xf0;
const META_PURGED: u8 = 0xf1;

/// From this many entries on a truncate deletes a range instead of single keys.
const RANGE_DELETE_ENTRIES: u64 = 4_096;

/// Single values beside the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum MetaKind {
    /// The vote; durable before it is answered.
    Vote = 1,
    /// The last known committed entry; a hint for restarts.
    Committed = 2,
    /// The last purged entry, as the replica encodes it.
    LastPurged = 3,
    /// Which node this directory belongs to.
    Node = 4,
    /// Why the state of this node must not be answered from, ever.
    OutOfService = 5,
}

/// How the log store is run.
#[derive(Debug, Clone)]
pub struct LogOptions {
    /// Bytes of the newest entries kept in memory.
    pub tail_bytes: usize,
    /// Bytes of entries after which a new log file begins; two more wait, filled ahead.
    pub memtable_bytes: usize,
    /// What the disk of a test does before each sync: it takes its time, or hangs.
    pub before_sync: Option<BeforeSync>,
    /// How long each sync of a simulated disk takes.
    #[cfg(feature = "simulated")]
    pub sync_takes: Option<SyncTakes>,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            tail_bytes: 32 * 1024 * 1024,
            memtable_bytes: 16 * 1024 * 1024,
            before_sync: None,
            #[cfg(feature = "simulated")]
            sync_takes: None,
        }
    }
}

/// What of the log exists: `first..next`, and how far it was purged.
struct Window {
    first: u64,
    next: u64,
    purged: Option<u64>,
    votes: u64,
    tail: Tail,
    /// Values that a crash may lose; the next write takes them along.
    lazy: Vec<(MetaKind, Vec<u8>)>,
}

impl Window {
    /// Puts the lazy values into a batch that is written in any case.
    fn put_lazy(&mut self, batch: &mut WriteBatch, meta: &ColumnFamily) {
        for (kind, bytes) in self.lazy.drain(..) {
            batch.put_cf(meta, [kind as u8], bytes);
        }
    }
}

/// The log of one node, open in one process.
pub struct LogStore {
    db: Arc<DB>,
    window: RwLock<Window>,
    queue: Arc<Queue>,
    worker: Option<Worker>,
    meters: LogMeters,
}

impl LogStore {
    /// Opens `raft/` and `hwm` under a data directory, or makes them.
    ///
    /// # Errors
    /// [`StoreError::InUse`] for a second process, [`StoreError::LostSyncedRecords`] if the disk
    /// gave back less than was synced, [`StoreError::Damaged`] for anything that makes no sense.
    pub fn open(data_dir: &Path, options: &LogOptions) -> Result<Self, StoreError> {
        let (db, window, marks) = recover::open(data_dir, options)?;
        let db = Arc::new(db);
        let queue = Arc::new(Queue::new(marks, options));
        let worker = Worker::start(&db, &queue)?;
        let (window, meters) = (RwLock::new(window), LogMeters::default());
        Ok(Self { db, window, queue, worker: Some(worker), meters })
    }

    /// Appends entries with consecutive indexes. They can be read at return; `done` is called
    /// when they are on the disk.
    ///
    /// # Errors
    /// [`StoreError::Hole`] if they do not follow the last entry; otherwise the store is poisoned.
    /// `done` is not called then.
    pub fn append(&self, entries: Vec<(u64, Vec<u8>)>, done: Done) -> Result<(), StoreError> {
        self.queue.healthy()?;
        let mut window = self.window.write();
        let mut next = match entries.first() {
            Some((first, _)) if window.first == window.next && *first >= window.next => *first,
            _ => window.next,
        };
        let mut batch = WriteBatch::default();
        let mut framed = Vec::with_capacity(entries.len());
        let log = family(&self.db, LOG);
        let first = next;
        for (index, payload) in entries {
            if index != next {
                return Err(StoreError::Hole { expected: next, found: index });
            }
            let value = entry::encode(index, &payload);
            batch.put_cf(log, index.to_be_bytes(), &value);
            framed.push(value);
            next += 1;
        }
        let Some(last) = next.checked_sub(1).filter(|_| !framed.is_empty()) else {
            self.queue.push(Operation { durable: Durable::Other, done });
            return Ok(());
        };
        window.put_lazy(&mut batch, family(&self.db, META));
        failpoint::hit("log.append.before");
        self.write(batch)?;
        failpoint::hit("log.append.after");
        let bytes = framed.iter().map(Bytes::len).sum();
        self.queue.counters.appended(framed.len(), bytes);
        if window.first == window.next {
            window.first = first;
        }
        window.next = next;
        for (index, value) in (first..).zip(framed) {
            window.tail.push(index, value);
        }
        let durable = Durable::Appended { last, bytes: bytes as u64 };
        self.queue.push(Operation { durable, done });
        Ok(())
    }

    /// Saves a value; `done` is called when it is on the disk.
    ///
    /// # Errors
    /// If the write fails; the store is poisoned then and `done` is not called.
    pub fn save_meta(&self, kind: MetaKind, bytes: &[u8], done: Done) -> Result<(), StoreError> {
        self.queue.healthy()?;
        let mut window = self.window.write();
        let meta = family(&self.db, META);
        window.lazy.retain(|(other, _)| *other != kind);
        let mut batch = WriteBatch::default();
        batch.put_cf(meta, [kind as u8], bytes);
        failpoint::hit("log.vote.before");
        let durable = if kind == MetaKind::Vote {
            batch.put_cf(meta, [META_VOTES], (window.votes + 1).to_be_bytes());
            Durable::Voted
        } else {
            Durable::Other
        };
        self.write(batch)?;
        failpoint::hit("log.vote.after");
        if kind == MetaKind::Vote {
            window.votes += 1;
        }
        self.queue.push(Operation { durable, done });
        Ok(())
    }

    /// Like [`Self::save_meta`], but returns only when the value is on the disk.
    ///
    /// # Errors
    /// If it cannot be.
    pub fn save_meta_wait(&self, kind: MetaKind, bytes: &[u8]) -> Result<(), StoreError> {
        let (sender, receiver) = mpsc::sync_channel(1);
        self.save_meta(kind, bytes, Box::new(move |result| _ = sender.send(result)))?;
        #[cfg(feature = "simulated")]
        self.queue.work_now(&self.db);
        match receiver.recv() {
            Ok(Ok(())) => Ok(()),
            _ => Err(self.queue.healthy().err().unwrap_or_else(|| {
                StoreError::Poisoned("the log thread ended before it answered".into())
            })),
        }
    }

    /// Saves a value that a crash may lose: the next append takes it along.
    ///
    /// # Errors
    /// [`StoreError::Poisoned`] after a failed write.
    pub fn save_meta_lazy(&self, kind: MetaKind, bytes: &[u8]) -> Result<(), StoreError> {
        assert!(kind != MetaKind::Vote, "a vote is never saved lazily");
        self.queue.healthy()?;
        let mut window = self.window.write();
        window.lazy.retain(|(other, _)| *other != kind);
        window.lazy.push((kind, bytes.to_vec()));
        Ok(())
    }

    /// A saved value.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn meta(&self, kind: MetaKind) -> Result<Option<Vec<u8>>, StoreError> {
        self.queue.healthy()?;
        let window = self.window.read();
        match window.lazy.iter().find(|(other, _)| *other == kind) {
            Some((_, bytes)) => Ok(Some(bytes.clone())),
            None => recover::read_meta(&self.db, kind as u8),
        }
    }

    /// Deletes the entries after `index`, all of them for `None`.
    ///
    /// # Errors
    /// If the write fails; the store is poisoned then.
    pub fn truncate_after(&self, index: Option<u64>) -> Result<(), StoreError> {
        self.queue.healthy()?;
        let mut window = self.window.write();
        let next = index.map_or(0, |index| index + 1).max(window.first);
        if next >= window.next {
            return Ok(());
        }
        failpoint::hit("log.truncate.before");
        let lowered = self.queue.marks.lock().lower(next);
        lowered.inspect_err(|error| self.queue.poison(error))?;
        failpoint::hit("log.truncate.marked");
        let mut batch = WriteBatch::default();
        delete(&mut batch, &self.db, next..window.next);
        self.write(batch)?;
        failpoint::hit("log.truncate.after");
        window.next = next;
        window.tail.truncate_after(next.checked_sub(1));
        self.queue.push(Operation { durable: Durable::Truncated { next }, done: Box::new(|_| {}) });
        Ok(())
    }

    /// Gives up the entries up to and including `index`, which may lie behind the last one, and
    /// saves `last_purged`. Files below level 0 that hold nothing else go once that is durable, the
    /// last few with a later purge; what is left is never looked at. A deletion by key would cost
    /// more than the space is worth: files that overlap are compacted, where files that follow
    /// each other are only moved.
    ///
    /// # Errors
    /// If the write fails; the store is poisoned then.
    pub fn purge_through(&self, index: u64, last_purged: &[u8]) -> Result<(), StoreError> {
        self.queue.healthy()?;
        let mut window = self.window.write();
        if window.purged.is_some_and(|purged| purged >= index) {
            return Ok(());
        }
        let meta = family(&self.db, META);
        let mut batch = WriteBatch::default();
        batch.put_cf(meta, [MetaKind::LastPurged as u8], last_purged);
        batch.put_cf(meta, [META_PURGED], index.to_be_bytes());
        failpoint::hit("log.purge.before");
        self.write(batch)?;
        if Bug::FilesBeforePurge.is_planted() {
            drop_files(&self.db, index)?;
        }
        failpoint::hit("log.purge.after");
        window.purged = Some(index);
        window.first = window.first.max(index + 1);
        window.next = window.next.max(index + 1);
        window.tail.purge_through(index);
        let durable = Durable::Purged { through: index };
        self.queue.push(Operation { durable, done: Box::new(|_| {}) });
        Ok(())
    }

    /// Payloads of the entries in `range` that exist, in order: at least one if there is one,
    /// then as many as fit `bytes_max`.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if an entry is damaged or missing; nothing is served then.
    pub fn read(
        &self,
        range: Range<u64>,
        bytes_max: usize,
    ) -> Result<Vec<(u64, Bytes)>, StoreError> {
        self.queue.healthy()?;
        let window = self.window.read();
        let range = range.start.max(window.first)..range.end.min(window.next);
        let mut found = Found { entries: Vec::new(), bytes: 0, bytes_max };
        let mut at = range.start;
        while at < range.end
            && let Some(value) = window.tail.get(at)
        {
            if !found.take(at, value)? {
                return Ok(found.entries);
            }
            at += 1;
        }
        if at >= range.end {
            return Ok(found.entries);
        }
        let mut options = ReadOptions::default();
        options.set_iterate_lower_bound(at.to_be_bytes());
        options.set_iterate_upper_bound(range.end.to_be_bytes());
        let start = at.to_be_bytes();
        let from = IteratorMode::From(&start, Direction::Forward);
        let rows = self.db.iterator_cf_opt(family(&self.db, LOG), options, from);
        drop(window);
        for row in rows {
            let (key, value) = row.context("read the log")?;
            if *key != at.to_be_bytes() {
                break;
            }
            if !found.take(at, &value.into_vec().into())? {
                return Ok(found.entries);
            }
            at += 1;
        }
        if at < range.end {
            return Err(StoreError::damaged(format!("log entry {at} is missing")));
        }
        Ok(found.entries)
    }

    /// Index of the first entry.
    #[must_use]
    pub fn first(&self) -> Option<u64> {
        let window = self.window.read();
        (window.first < window.next).then_some(window.first)
    }

    /// Index of the last entry.
    #[must_use]
    pub fn last(&self) -> Option<u64> {
        let window = self.window.read();
        (window.first < window.next).then(|| window.next - 1)
    }

    /// Up to where the log was purged.
    #[must_use]
    pub fn purged(&self) -> Option<u64> {
        self.window.read().purged
    }

    /// Why the store has stopped, if it has.
    #[must_use]
    pub fn poisoned(&self) -> Option<Arc<str>> {
        self.queue.poisoned()
    }

    /// Counters since the store was opened.
    #[must_use]
    pub fn stats(&self) -> LogStats {
        self.queue.counters.read()
    }

    /// How long the sync that runs now has taken so far; 0 while none runs.
    #[must_use]
    pub fn stalled(&self) -> Duration {
        self.queue.counters.stalled()
    }

    /// Brings the metrics up to date that are read only when somebody asks.
    pub fn sample(&self) {
        self.meters.counted(&self.stats(), self.stalled(), self.poisoned().is_some());
        self.meters.database.sample(&self.db, &[LOG, META], Caches::Own);
    }

    fn write(&self, batch: WriteBatch) -> Result<(), StoreError> {
        let mut options = WriteOptions::default();
        options.set_sync(false);
        let result = self.db.write_opt(batch, &options).context("write the log");
        result.inspect_err(|error| self.queue.poison(error))
    }
}

impl Drop for LogStore {
    fn drop(&mut self) {
        let window = self.window.get_mut();
        if !window.lazy.is_empty() && self.queue.healthy().is_ok() {
            let mut batch = WriteBatch::default();
            window.put_lazy(&mut batch, family(&self.db, META));
            // A crash may lose them, and so may this.
            _ = self.write(batch);
        }
        self.queue.close();
        if let Some(worker) = self.worker.take() {
            worker.end();
        }
    }
}

/// Entries found so far, up to a number of bytes.
struct Found {
    entries: Vec<(u64, Bytes)>,
    bytes: usize,
    bytes_max: usize,
}

impl Found {
    /// Says whether there is room for more.
    fn take(&mut self, index: u64, value: &Bytes) -> Result<bool, StoreError> {
        let payload = entry::decode(index, value)?;
        if !self.entries.is_empty() && self.bytes + payload.len() > self.bytes_max {
            return Ok(false);
        }
        self.bytes += payload.len();
        self.entries.push((index, payload));
        Ok(true)
    }
}

fn delete(batch: &mut WriteBatch, db: &DB, range: Range<u64>) {
    let log = family(db, LOG);
    if range.end.saturating_sub(range.start) >= RANGE_DELETE_ENTRIES {
        batch.delete_range_cf(log, range.start.to_be_bytes(), range.end.to_be_bytes());
    } else {
        range.for_each(|index| batch.delete_cf(log, index.to_be_bytes()));
    }
}

/// Gives back the files that hold only purged entries and are not at level 0, where they may
/// overlap. Only after the purge is durable: deleting files cannot be undone by a crash, and the
/// log would begin with a hole.
fn drop_files(db: &DB, through: u64) -> Result<(), StoreError> {
    failpoint::hit("log.purge.files");
    db.delete_file_in_range_cf(family(db, LOG), 0u64.to_be_bytes(), through.to_be_bytes())
        .context("delete purged log files")
}
