//! A database in memory over files of its own, which keeps what RocksDB keeps and loses what that
//! may lose.
//!
//! Promise: what was synced, or flushed, is there after whatever [`disk`] does; of the rest there
//! is a beginning, in the order of the writes, and never a part of a batch.
//! Invariant: files follow from the writes alone, so that equal runs make equal files.

mod batch;
pub mod disk;
mod file;
mod rows;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

pub(crate) use batch::WriteBatch;
pub(crate) use rows::{DBRawIterator, Direction, IteratorMode, ReadOptions, Rows};

use super::LOG_FAMILIES;
use crate::error::StoreError;
use disk::Open;
use file::{Current, Wal};

/// What the database says when it cannot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    text: String,
}

/// Of what kind that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorKind {
    /// Bytes are not as they were written.
    Corruption,
    /// The disk said no.
    IOError,
}

impl Error {
    fn disk(text: impl Into<String>) -> Self {
        Self { kind: ErrorKind::IOError, text: format!("IO error: {}", text.into()) }
    }

    fn damaged(text: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Corruption, text: format!("Corruption: {}", text.into()) }
    }

    pub(crate) fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl AsRef<str> for Error {
    fn as_ref(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Error {}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self::disk(error.to_string())
    }
}

/// A column family of an open database.
pub(crate) struct ColumnFamily {
    name: String,
    at: usize,
}

/// An open database.
pub(crate) struct DB {
    dir: PathBuf,
    families: Vec<ColumnFamily>,
    rows: Mutex<Rows>,
    /// None of one that is only looked at.
    writer: Option<Mutex<Writer>>,
}

struct Writer {
    current: Current,
    wal: Wal,
    _open: Open,
}

/// Opens the log's database, or makes it.
pub(crate) fn open_log(dir: &Path, _memtable_bytes: usize) -> Result<DB, StoreError> {
    DB::open(dir, &LOG_FAMILIES)
}

/// Opens the state's database, or makes it.
pub(crate) fn open_state(
    dir: &Path,
    families: &[&'static str],
    _large: &[&'static str],
) -> Result<DB, StoreError> {
    DB::open(dir, families)
}

/// Opens a snapshot of the state to look at it.
pub(crate) fn open_image(
    dir: &Path,
    families: &[&'static str],
    _scratch: &Path,
) -> Result<DB, StoreError> {
    let failed = |source| StoreError::Database { action: "open the snapshot", source };
    let current = Current::read(dir).map_err(failed)?;
    let current = current.ok_or_else(|| failed(Error::damaged("there is no database")))?;
    let rows = Mutex::new(current.image(dir).map_err(failed)?);
    Ok(DB { dir: dir.to_owned(), families: handles(families), rows, writer: None })
}

/// Families of a state's database that is there.
pub(crate) fn families_of(dir: &Path) -> Result<Vec<String>, StoreError> {
    let failed = |source| StoreError::Database { action: "list the column families", source };
    let current = Current::read(dir).map_err(failed)?.unwrap_or_default();
    // RocksDB always has this one.
    Ok(current.families.into_iter().chain(["default".to_owned()]).collect())
}

fn handles(names: &[&'static str]) -> Vec<ColumnFamily> {
    let handle = |(at, name): (usize, &&str)| ColumnFamily { name: (*name).to_owned(), at };
    names.iter().enumerate().map(handle).collect()
}

impl DB {
    fn open(dir: &Path, families: &[&'static str]) -> Result<Self, StoreError> {
        let Some(open) = Open::only(dir) else { return Err(StoreError::InUse(dir.to_owned())) };
        let failed = |source| StoreError::Database { action: "open the database", source };
        let opened = || {
            std::fs::create_dir_all(dir)?;
            let current = match Current::read(dir)? {
                Some(current) => current,
                None => {
                    let current = Current::new(families);
                    current.write(dir)?;
                    current
                }
            };
            let mut rows = current.image(dir)?;
            let wal = Wal::recover(dir, current.wal, &mut rows)?;
            file::forget_deleted(dir, &mut rows)?;
            Ok((current, rows, wal))
        };
        let (current, rows, wal) = opened().map_err(failed)?;
        let writer = Some(Mutex::new(Writer { current, wal, _open: open }));
        let (dir, families) = (dir.to_owned(), handles(families));
        Ok(Self { dir, families, rows: Mutex::new(rows), writer })
    }

    fn writer(&self) -> Result<&Mutex<Writer>, Error> {
        self.writer.as_ref().ok_or_else(|| Error::disk("opened to be read"))
    }

    pub(crate) fn cf_handle(&self, name: &str) -> Option<&ColumnFamily> {
        self.families.iter().find(|family| family.name == name)
    }

    pub(crate) fn write(&self, batch: WriteBatch) -> Result<(), Error> {
        self.write_opt(batch, &WriteOptions::default())
    }

    #[expect(clippy::needless_pass_by_value, reason = "RocksDB's own takes it")]
    pub(crate) fn write_opt(&self, batch: WriteBatch, options: &WriteOptions) -> Result<(), Error> {
        let mut writer = self.writer()?.lock();
        if options.has_wal {
            writer.wal.append(&batch)?;
        }
        batch.apply(&mut self.rows.lock());
        if options.is_synced { writer.wal.sync() } else { Ok(()) }
    }

    pub(crate) fn put_cf(
        &self,
        family: &ColumnFamily,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
    ) -> Result<(), Error> {
        let mut batch = WriteBatch::default();
        batch.put_cf(family, key, value);
        self.write(batch)
    }

    /// With `true`, all that was written with a WAL is on the disk at return.
    pub(crate) fn flush_wal(&self, sync: bool) -> Result<(), Error> {
        if sync { self.writer()?.lock().wal.sync() } else { Ok(()) }
    }

    /// Puts all rows into a file. All families go at once, whichever are named.
    pub(crate) fn flush_cfs_opt(
        &self,
        _families: &[&ColumnFamily],
        _options: &FlushOptions,
    ) -> Result<(), Error> {
        let mut writer = self.writer()?.lock();
        disk::must_have_room(&self.dir)?;
        let next = writer.current.next();
        next.write_image(&self.dir, &self.rows.lock())?;
        let wal = Wal::new(&self.dir, next.wal)?;
        next.write(&self.dir)?;
        writer.wal.remove()?;
        writer.current.remove_image(&self.dir)?;
        writer.current = next;
        writer.wal = wal;
        Ok(())
    }

    /// Deletes files whose rows all lie between two keys, for good: no crash brings them back,
    /// whatever else of that time it takes.
    pub(crate) fn delete_file_in_range_cf(
        &self,
        family: &ColumnFamily,
        from: impl AsRef<[u8]>,
        to: impl AsRef<[u8]>,
    ) -> Result<(), Error> {
        let _writing = self.writer()?.lock();
        file::note_deleted(&self.dir, family.at, from.as_ref(), to.as_ref())?;
        file::forget_deleted(&self.dir, &mut self.rows.lock())
    }

    pub(crate) fn property_int_value_cf(
        &self,
        _family: &ColumnFamily,
        _property: &properties::PropName,
    ) -> Result<Option<u64>, Error> {
        Ok(None)
    }

    fn view(&self) -> Rows {
        self.rows.lock().clone()
    }

    pub(crate) fn snapshot(&self) -> SnapshotWithThreadMode<'_, Self> {
        SnapshotWithThreadMode { rows: Arc::new(self.view()), _of: std::marker::PhantomData }
    }

    pub(crate) fn get_cf(
        &self,
        family: &ColumnFamily,
        key: impl AsRef<[u8]>,
    ) -> Result<Option<Vec<u8>>, Error> {
        self.get_cf_opt(family, key, &ReadOptions::default())
    }

    pub(crate) fn get_cf_opt(
        &self,
        family: &ColumnFamily,
        key: impl AsRef<[u8]>,
        options: &ReadOptions,
    ) -> Result<Option<Vec<u8>>, Error> {
        let get = |rows: &Rows| rows.get(family.at, key.as_ref()).map(<[u8]>::to_vec);
        Ok(match &options.snapshot {
            Some(rows) => get(rows),
            None => get(&self.rows.lock()),
        })
    }

    pub(crate) fn get_pinned_cf_opt(
        &self,
        family: &ColumnFamily,
        key: impl AsRef<[u8]>,
        options: &ReadOptions,
    ) -> Result<Option<Vec<u8>>, Error> {
        self.get_cf_opt(family, key, options)
    }

    pub(crate) fn raw_iterator_cf_opt(
        &self,
        family: &ColumnFamily,
        options: ReadOptions,
    ) -> DBRawIterator<'_> {
        let rows = options.snapshot.clone().unwrap_or_else(|| Arc::new(self.view()));
        DBRawIterator::new(rows, family.at, options)
    }

    #[expect(clippy::type_complexity, reason = "the type of RocksDB's own iterator")]
    pub(crate) fn iterator_cf_opt(
        &self,
        family: &ColumnFamily,
        options: ReadOptions,
        mode: IteratorMode<'_>,
    ) -> impl Iterator<Item = Result<(Box<[u8]>, Box<[u8]>), Error>> + use<> {
        let rows = options.snapshot.clone().unwrap_or_else(|| Arc::new(self.view()));
        rows::Walk::new(rows, family.at, options, mode)
    }
}

/// Rows as they were at one moment.
pub(crate) struct SnapshotWithThreadMode<'d, D> {
    rows: Arc<Rows>,
    _of: std::marker::PhantomData<&'d D>,
}

/// How a batch is written.
pub(crate) struct WriteOptions {
    has_wal: bool,
    is_synced: bool,
}

impl Default for WriteOptions {
    fn default() -> Self {
        Self { has_wal: true, is_synced: false }
    }
}

impl WriteOptions {
    pub(crate) fn set_sync(&mut self, is_synced: bool) {
        self.is_synced = is_synced;
    }

    pub(crate) fn disable_wal(&mut self, is_disabled: bool) {
        self.has_wal = !is_disabled;
    }
}

/// How rows are put into a file.
#[derive(Default)]
pub(crate) struct FlushOptions {
    waits: bool,
}

impl FlushOptions {
    /// Nothing runs beside anything, so it waits in any case.
    pub(crate) fn set_wait(&mut self, waits: bool) {
        self.waits = waits;
    }
}

/// Numbers about the database. A simulation has none.
pub(crate) mod properties {
    pub(crate) struct PropName;
    pub(crate) const ESTIMATE_NUM_KEYS: &PropName = &PropName;
    pub(crate) const TOTAL_SST_FILES_SIZE: &PropName = &PropName;
    pub(crate) const CUR_SIZE_ALL_MEM_TABLES: &PropName = &PropName;
    pub(crate) const NUM_IMMUTABLE_MEM_TABLE: &PropName = &PropName;
    pub(crate) const ESTIMATE_PENDING_COMPACTION_BYTES: &PropName = &PropName;
    pub(crate) const BLOCK_CACHE_USAGE: &PropName = &PropName;
}

pub(crate) mod checkpoint {
    use std::path::Path;

    use super::{DB, Error, FlushOptions};

    /// Copies of a database.
    pub(crate) struct Checkpoint<'d>(&'d DB);

    impl<'d> Checkpoint<'d> {
        pub(crate) fn new(db: &'d DB) -> Result<Self, Error> {
            Ok(Self(db))
        }

        /// Puts the rows as they are now into a directory that is not there yet.
        pub(crate) fn create_checkpoint(&self, to: &Path) -> Result<(), Error> {
            self.0.flush_cfs_opt(&[], &FlushOptions::default())?;
            let writer = self.0.writer()?.lock();
            std::fs::create_dir(to)?;
            writer.current.link_image(&self.0.dir, to)?;
            writer.current.write(to)
        }
    }
}
