//! Counters of the log store, and the metrics of its syncs.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use meters::Histogram;
use parking_lot::Mutex;

/// Counters since the store was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogStats {
    /// Syncs of the log to the disk.
    pub syncs: u64,
    /// Time spent in them, in microseconds.
    pub sync_us_total: u64,
    /// The longest of them, in microseconds.
    pub sync_us_max: u64,
    /// Operations (appends, votes, truncates, purges) that were made durable.
    pub operations: u64,
    /// Most operations that shared one sync.
    pub operations_per_sync_max: u64,
    /// Entries appended.
    pub entries: u64,
    /// Bytes of entries appended, frames included.
    pub entry_bytes: u64,
    /// Writes of the high-water mark.
    pub marks: u64,
}

pub(crate) struct Counters {
    syncs: AtomicU64,
    sync_us_total: AtomicU64,
    sync_us_max: AtomicU64,
    operations: AtomicU64,
    operations_per_sync_max: AtomicU64,
    entries: AtomicU64,
    entry_bytes: AtomicU64,
    marks: AtomicU64,
    /// When the sync that runs now began.
    syncing: Mutex<Option<Instant>>,
    fsync_seconds: Histogram,
    fsync_entries: Histogram,
    fsync_bytes: Histogram,
}

impl Default for Counters {
    fn default() -> Self {
        let zero = AtomicU64::default;
        Self {
            syncs: zero(),
            sync_us_total: zero(),
            sync_us_max: zero(),
            operations: zero(),
            operations_per_sync_max: zero(),
            entries: zero(),
            entry_bytes: zero(),
            marks: zero(),
            syncing: Mutex::new(None),
            fsync_seconds: meters::WAL_FSYNC_SECONDS.histogram(&[]),
            fsync_entries: meters::WAL_BATCH_ENTRIES.histogram(&[]),
            fsync_bytes: meters::WAL_BATCH_BYTES.histogram(&[]),
        }
    }
}

impl Counters {
    pub(crate) fn appended(&self, entries: usize, bytes: usize) {
        self.entries.fetch_add(entries as u64, Ordering::Relaxed);
        self.entry_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn synced(&self, operations: usize, took: Duration) {
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.syncs.fetch_add(1, Ordering::Relaxed);
        self.sync_us_total.fetch_add(took_us, Ordering::Relaxed);
        self.sync_us_max.fetch_max(took_us, Ordering::Relaxed);
        self.operations.fetch_add(operations as u64, Ordering::Relaxed);
        self.operations_per_sync_max.fetch_max(operations as u64, Ordering::Relaxed);
    }

    /// A sync begins, or has ended.
    pub(crate) fn syncing(&self, since: Option<Instant>) {
        *self.syncing.lock() = since;
    }

    /// How long the sync that runs now has taken so far.
    pub(crate) fn stalled(&self) -> Duration {
        self.syncing.lock().map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// A sync that worked, and the entries and bytes that it made durable.
    pub(crate) fn made_durable(&self, entries: u64, bytes: u64, took: Duration) {
        self.fsync_seconds.record(took.as_secs_f64());
        self.fsync_entries.record(meters::number(entries));
        self.fsync_bytes.record(meters::number(bytes));
    }

    pub(crate) fn marked(&self) {
        self.marks.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> LogStats {
        LogStats {
            syncs: self.syncs.load(Ordering::Relaxed),
            sync_us_total: self.sync_us_total.load(Ordering::Relaxed),
            sync_us_max: self.sync_us_max.load(Ordering::Relaxed),
            operations: self.operations.load(Ordering::Relaxed),
            operations_per_sync_max: self.operations_per_sync_max.load(Ordering::Relaxed),
            entries: self.entries.load(Ordering::Relaxed),
            entry_bytes: self.entry_bytes.load(Ordering::Relaxed),
            marks: self.marks.load(Ordering::Relaxed),
        }
    }
}
