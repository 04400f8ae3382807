//! What the two databases tell about themselves when somebody scrapes metrics.
//!
//! Invariant: looking changes nothing, and a database that cannot be asked gives no number rather
//! than an old one.

use std::time::{Duration, Instant};

use meters::{Counter, Gauge, Histogram, number};

use crate::engine::{DB, family, properties};
use crate::log::LogStats;

/// Whether the families of a database share one block cache, which then counts once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caches {
    /// Each its own.
    Own,
    /// One for all.
    Shared,
}

/// Gauges over the properties of one database.
pub(crate) struct Database {
    keys: Gauge,
    sst_bytes: Gauge,
    memtable_bytes: Gauge,
    immutable_memtables: Gauge,
    block_cache_bytes: Gauge,
    pending_compaction_bytes: Gauge,
}

impl Database {
    pub(crate) fn new(name: &'static str) -> Self {
        Self {
            keys: meters::ROCKSDB_KEYS.gauge(&[name]),
            sst_bytes: meters::ROCKSDB_SST_BYTES.gauge(&[name]),
            memtable_bytes: meters::ROCKSDB_MEMTABLE_BYTES.gauge(&[name]),
            immutable_memtables: meters::ROCKSDB_IMMUTABLE_MEMTABLES.gauge(&[name]),
            block_cache_bytes: meters::ROCKSDB_BLOCK_CACHE_BYTES.gauge(&[name]),
            pending_compaction_bytes: meters::ROCKSDB_PENDING_COMPACTION_BYTES.gauge(&[name]),
        }
    }

    pub(crate) fn sample(&self, db: &DB, families: &[&'static str], caches: Caches) {
        let values = |property: &properties::PropName| -> Option<Vec<u64>> {
            let value =
                |name: &&'static str| db.property_int_value_cf(family(db, name), property).ok()?;
            families.iter().map(value).collect()
        };
        let set = |gauge: &Gauge, value: Option<u64>| gauge.set(value.map_or(f64::NAN, number));
        let sum = |property| values(property).map(|found| found.iter().sum());
        set(&self.keys, sum(properties::ESTIMATE_NUM_KEYS));
        set(&self.sst_bytes, sum(properties::TOTAL_SST_FILES_SIZE));
        set(&self.memtable_bytes, sum(properties::CUR_SIZE_ALL_MEM_TABLES));
        set(&self.immutable_memtables, sum(properties::NUM_IMMUTABLE_MEM_TABLE));
        set(&self.pending_compaction_bytes, sum(properties::ESTIMATE_PENDING_COMPACTION_BYTES));
        let cached = values(properties::BLOCK_CACHE_USAGE).and_then(|found| match caches {
            Caches::Own => Some(found.iter().sum()),
            Caches::Shared => found.into_iter().max(),
        });
        set(&self.block_cache_bytes, cached);
    }
}

/// Metrics of the log that are read when somebody asks.
pub(crate) struct LogMeters {
    pub(crate) database: Database,
    entries: Counter,
    bytes: Counter,
    marks: Counter,
    stall: Gauge,
    poisoned: Gauge,
}

impl Default for LogMeters {
    fn default() -> Self {
        // Damage is counted where it is found; until then this says that there was none.
        meters::CHECKSUM_FAILURES.counter(&[]).increment(0);
        Self {
            database: Database::new("raft"),
            entries: meters::WAL_ENTRIES.counter(&[]),
            bytes: meters::WAL_BYTES.counter(&[]),
            marks: meters::WAL_MARKS.counter(&[]),
            stall: meters::WAL_STALL_SECONDS.gauge(&[]),
            poisoned: meters::POISONED.gauge(&[]),
        }
    }
}

impl LogMeters {
    pub(crate) fn counted(&self, stats: &LogStats, stalled: Duration, is_poisoned: bool) {
        self.entries.absolute(stats.entries);
        self.bytes.absolute(stats.entry_bytes);
        self.marks.absolute(stats.marks);
        self.stall.set(stalled.as_secs_f64());
        self.poisoned.set(u32::from(is_poisoned));
    }
}

/// Metrics of the state.
pub(crate) struct StateMeters {
    pub(crate) database: Database,
    pub(crate) write_seconds: Histogram,
    pub(crate) flush_seconds: Histogram,
    pub(crate) snapshot_seconds: Histogram,
    pub(crate) install_seconds: Histogram,
    pub(crate) snapshot_bytes: Gauge,
}

impl Default for StateMeters {
    fn default() -> Self {
        Self {
            database: Database::new("state"),
            write_seconds: meters::STATE_WRITE_SECONDS.histogram(&[]),
            flush_seconds: meters::STATE_FLUSH_SECONDS.histogram(&[]),
            snapshot_seconds: meters::SNAPSHOT_BUILD_SECONDS.histogram(&[]),
            install_seconds: meters::SNAPSHOT_INSTALL_SECONDS.histogram(&[]),
            snapshot_bytes: meters::SNAPSHOT_BYTES.gauge(&[]),
        }
    }
}

/// Records how long something took, from here to [`Taking::done`]; what fails is not recorded.
pub(crate) struct Taking<'h>(&'h Histogram, Instant);

impl<'h> Taking<'h> {
    pub(crate) fn begin(histogram: &'h Histogram) -> Self {
        Self(histogram, Instant::now())
    }

    pub(crate) fn done(self) {
        self.0.record(self.1.elapsed().as_secs_f64());
    }
}
