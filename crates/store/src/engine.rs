//! The database under both stores: RocksDB, or in a simulation what behaves as RocksDB may.
//!
//! Invariant: nothing else of this crate names a database, so whatever the stores do is done to
//! either.

#[cfg(not(feature = "simulated"))]
mod rocks;
#[cfg(feature = "simulated")]
pub(crate) mod simulated;

#[cfg(not(feature = "simulated"))]
pub(crate) use rocks::*;
#[cfg(feature = "simulated")]
pub(crate) use simulated::*;

use crate::error::{Context as _, StoreError};

/// The log's own values lie beside its entries.
pub(crate) const LOG_FAMILIES: [&str; 2] = ["log", "meta"];

/// A column family that was opened with the database.
pub(crate) fn family<'d>(db: &'d DB, name: &'static str) -> &'d ColumnFamily {
    db.cf_handle(name).expect("every column family is opened with the database")
}

/// Writes the WAL to the disk.
pub(crate) fn sync_wal(db: &DB) -> Result<(), StoreError> {
    db.flush_wal(true).context("sync the log")
}
