//! RocksDB, and how each of the two databases is opened with it.

use std::path::Path;

use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamilyDescriptor, DBCompressionType, DBRecoveryMode, LogLevel,
    Options,
};
pub(crate) use rocksdb::{
    ColumnFamily, DB, DBRawIterator, Direction, Error, ErrorKind, FlushOptions, IteratorMode,
    ReadOptions, SnapshotWithThreadMode, WriteBatch, WriteOptions, checkpoint, properties,
};

use super::LOG_FAMILIES;
use crate::error::{Context as _, StoreError};

/// Bytes of the database's own diagnostic log file before it rolls.
const INFO_LOG_BYTES: usize = 4 * 1024 * 1024;
/// Diagnostic log files that are kept.
const INFO_LOG_FILES: usize = 4;
/// Written bytes of a table file after which the system starts to put them on the disk.
const WRITEBACK_BYTES: u64 = 512 * 1024;

/// WAL files that wait to be written again: one while the one before it is flushed, one for luck.
pub(crate) const WAL_SPARES: usize = 2;
/// Both families of the log are flushed together, so this holds only if a flush cannot keep up.
const WAL_BYTES_MAX: u64 = 256 * 1024 * 1024;
const WAL_WRITEBACK_BYTES: u64 = 1024 * 1024;

const MEMTABLE_BYTES: usize = 64 * 1024 * 1024;
/// A slow flush holds up writes only when this many are full.
const MEMTABLES_MAX: i32 = 4;
/// Share of a memtable for the filter that answers "not there" without a search: most look-ups of
/// a submit ask for what must not exist.
const MEMTABLE_BLOOM_RATIO: f64 = 0.02;
/// Flushed files that are compacted together: twice what RocksDB takes, for half the work. A
/// look-up of what is not there asks their filters only; a scan goes through all of them.
const FILES_TO_COMPACT: i32 = 8;
const BLOCK_CACHE_BYTES: usize = 256 * 1024 * 1024;
const BLOOM_BITS_PER_KEY: f64 = 10.0;

/// Opens the log's database, or makes it; its WAL files have room for so many bytes of entries.
pub(crate) fn open_log(dir: &Path, memtable_bytes: usize) -> Result<DB, StoreError> {
    let mut options = common();
    options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    options.set_track_and_verify_wals_in_manifest(true);
    options.set_recycle_log_file_num(WAL_SPARES);
    // A WAL file is given up by both families at once: recovery from files that were written
    // again takes a family that is ahead of the other for damage.
    options.set_atomic_flush(true);
    options.set_max_total_wal_size(WAL_BYTES_MAX);
    options.set_wal_bytes_per_sync(WAL_WRITEBACK_BYTES);
    options.set_max_background_jobs(2);
    let mut of_family = Options::default();
    of_family.set_compression_type(DBCompressionType::None);
    of_family.set_write_buffer_size(memtable_bytes);
    let families = LOG_FAMILIES.map(|name| ColumnFamilyDescriptor::new(name, of_family.clone()));
    open(&options, dir, families)
}

/// Opens the state's database, or makes it. The rows of `large` families are long.
pub(crate) fn open_state(
    dir: &Path,
    families: &[&'static str],
    large: &[&'static str],
) -> Result<DB, StoreError> {
    open(&state(), dir, state_families(families, large))
}

/// Opens a snapshot of the state to look at it. Diagnostic files go to `scratch`.
pub(crate) fn open_image(
    dir: &Path,
    families: &[&'static str],
    scratch: &Path,
) -> Result<DB, StoreError> {
    let mut options = state();
    options.create_if_missing(false);
    options.create_missing_column_families(false);
    options.set_db_log_dir(scratch);
    DB::open_cf_descriptors_read_only(&options, dir, state_families(families, &[]), false)
        .context("open the snapshot")
}

/// Families of a state's database that is there.
pub(crate) fn families_of(dir: &Path) -> Result<Vec<String>, StoreError> {
    DB::list_cf(&state(), dir).context("list the column families")
}

/// Opens a database with its column families; a second process is told so.
fn open(
    options: &Options,
    path: &Path,
    families: impl IntoIterator<Item = ColumnFamilyDescriptor>,
) -> Result<DB, StoreError> {
    DB::open_cf_descriptors(options, path, families).map_err(|source| {
        let text: &str = source.as_ref();
        if text.contains("LOCK") || text.contains("lock hold by current process") {
            StoreError::InUse(path.to_owned())
        } else {
            StoreError::Database { action: "open the database", source }
        }
    })
}

/// Options of both databases: make what is missing, check everything, log little.
fn common() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_paranoid_checks(true);
    options.set_max_log_file_size(INFO_LOG_BYTES);
    options.set_keep_log_file_num(INFO_LOG_FILES);
    options.set_log_level(LogLevel::Warn);
    // There is one writer, so its rows go in one after the other, each behind the last one.
    options.set_allow_concurrent_memtable_write(false);
    options.set_enable_write_thread_adaptive_yield(false);
    // Table files reach the disk as they are written: what is left for their end is what a sync of
    // the log would wait for.
    options.set_bytes_per_sync(WRITEBACK_BYTES);
    options.set_stats_dump_period_sec(0);
    options.set_stats_persist_period_sec(0);
    options
}

fn state() -> Options {
    let mut options = common();
    options.set_atomic_flush(true);
    options.set_max_background_jobs(2);
    options
}

fn state_families(
    families: &[&'static str],
    large: &[&'static str],
) -> Vec<ColumnFamilyDescriptor> {
    let cache = Cache::new_lru_cache(BLOCK_CACHE_BYTES);
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(&cache);
    table.set_bloom_filter(BLOOM_BITS_PER_KEY, false);
    let mut options = Options::default();
    options.set_block_based_table_factory(&table);
    // Young files are rewritten soon: to compress them costs more than it saves.
    let (young, old) = (DBCompressionType::None, DBCompressionType::Lz4);
    options.set_compression_per_level(&[young, young, old]);
    options.set_level_zero_file_num_compaction_trigger(FILES_TO_COMPACT);
    options.set_write_buffer_size(MEMTABLE_BYTES);
    options.set_max_write_buffer_number(MEMTABLES_MAX);
    options.set_memtable_whole_key_filtering(true);
    options.set_memtable_prefix_bloom_ratio(MEMTABLE_BLOOM_RATIO);
    // Files of large rows follow each other and are moved down as they are, if they are compressed
    // from the first: so it is done once, and snapshots have it too.
    let mut of_large = options.clone();
    of_large.set_compression_per_level(&[old, old, old]);
    let of = |name| if large.contains(&name) { of_large.clone() } else { options.clone() };
    families.iter().map(|name| ColumnFamilyDescriptor::new(*name, of(name))).collect()
}
