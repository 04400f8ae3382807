//! How a RocksDB directory is opened: options that both databases share.

use std::path::Path;

use rocksdb::{ColumnFamily, ColumnFamilyDescriptor, DB, Options};

use crate::error::{Context as _, StoreError};

/// Bytes of the database's own diagnostic log file before it rolls.
const INFO_LOG_BYTES: usize = 4 * 1024 * 1024;
/// Written bytes of a table file after which the system starts to put them on the disk.
const WRITEBACK_BYTES: u64 = 512 * 1024;
/// Diagnostic log files that are kept.
const INFO_LOG_FILES: usize = 4;

/// Options of both databases: make what is missing, check everything, log little.
pub(crate) fn common_options() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_paranoid_checks(true);
    options.set_max_log_file_size(INFO_LOG_BYTES);
    options.set_keep_log_file_num(INFO_LOG_FILES);
    options.set_log_level(rocksdb::LogLevel::Warn);
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

/// Opens a database with its column families; a second process is told so.
pub(crate) fn open(
    options: &Options,
    path: &Path,
    families: Vec<ColumnFamilyDescriptor>,
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

/// A column family that was opened with the database.
pub(crate) fn family<'d>(db: &'d DB, name: &'static str) -> &'d ColumnFamily {
    db.cf_handle(name).expect("every column family is opened with the database")
}

/// Writes the WAL to the disk.
pub(crate) fn sync_wal(db: &DB) -> Result<(), StoreError> {
    db.flush_wal(true).context("sync the log")
}
