//! One generation of the state: a RocksDB directory that a snapshot install replaces as a whole.
//!
//! Invariant: the file `CURRENT` of the data directory names the live generation; a generation
//! that was replaced lives on for its last reader and is deleted after it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use bugs::Bug;
use ledger::PolicySet;
use ledger::table::{self, Table};
use minicbor::{Decode, Encode};
use parking_lot::Mutex;
use types::codec::{CodecError, decode, encode};
use types::{Channel, Destination, NamespaceId};

use crate::engine::{self, DB, FlushOptions, ReadOptions, WriteBatch, family};
use crate::error::{Context as _, StoreError};
use crate::files;

use super::AppliedMeta;
use super::SnapshotFile;
use super::hot::Hot;
use super::versions::Versions;

/// Column families of rows, in the order of [`family_of`].
pub(super) const ROW_FAMILIES: [&str; 6] = [
    "rows", // All that is small.
    "intents", "contents", PAYLOADS, "leaves", "replies",
];
const PAYLOADS: &str = "payloads";
/// Column family of what is this node's own: the applied entry and the membership.
pub(super) const META: &str = "meta";
const META_APPLIED: &[u8] = b"applied";
const META_MEMBERSHIP: &[u8] = b"membership";
const META_FORMAT: &[u8] = b"format";
/// Which tables there are and what their rows say. One that was never named is 1.
pub(super) const FORMAT: u64 = 2;

/// Where a row lives. Kept replies are few, and every command asks for one that is not there: among
/// few it is told so at once. Tables that make up most of the bytes and grow at their end stay
/// apart, each for itself: while one namespace is busy their table files follow each other nearly
/// without an overlap, so that compaction moves them to the second level as they are, and a row
/// finds its place in memory next to the last one.
pub(super) fn family_of(key: &[u8]) -> usize {
    const INTENTS: u8 = Table::Intents as u8;
    const CONTENTS: u8 = Table::Contents as u8;
    const PAYLOADS: u8 = Table::Payloads as u8;
    const LEAVES: u8 = Table::Leaves as u8;
    const REPLIES: u8 = Table::Replies as u8;
    match key.get(4) {
        Some(&INTENTS) => 1,
        Some(&CONTENTS) => 2,
        Some(&PAYLOADS) => 3,
        Some(&LEAVES) => 4,
        Some(&REPLIES) => 5,
        _ => 0,
    }
}

/// The number of a generation; its directory is `state/gen-<n>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(transparent)]
pub(super) struct Number(#[n(0)] pub(super) u64);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "gen-{}", self.0)
    }
}

impl Number {
    pub(super) fn parse(name: &str) -> Option<Self> {
        Some(Self(name.trim_end().strip_prefix("gen-")?.parse().ok()?))
    }

    pub(super) fn dir(self, data_dir: &Path) -> PathBuf {
        data_dir.join("state").join(self.to_string())
    }
}

/// Which generation lives, by the file `CURRENT`.
pub(super) fn current(data_dir: &Path) -> Result<Option<Number>, StoreError> {
    let path = data_dir.join("CURRENT");
    let Some(bytes) = files::read_if_there(&path)? else { return Ok(None) };
    let number = std::str::from_utf8(&bytes).ok().and_then(Number::parse);
    number.map(Some).ok_or_else(|| StoreError::damaged(format!("{}", path.display())))
}

/// Makes a generation the live one: after a crash it is the old one or this.
pub(super) fn switch(data_dir: &Path, number: Number) -> Result<(), StoreError> {
    files::write_atomic(&data_dir.join("CURRENT"), format!("{number}\n").as_bytes())
}

/// The applied entry as it is stored.
#[derive(Encode, Decode)]
struct StoredApplied {
    #[n(0)]
    index: u64,
    #[cbor(n(1), with = "minicbor::bytes")]
    applied: Vec<u8>,
}

/// An open generation.
pub(super) struct Generation {
    db: Option<DB>,
    pub(super) number: Number,
    pub(super) hot: Hot,
    pub(super) policies: Versions<PolicySet>,
    pub(super) destinations: Versions<Vec<Destination>>,
    pub(super) channels: Versions<Vec<Channel>>,
    /// Digests of table files: a table never changes under its name.
    pub(super) digests: Mutex<BTreeMap<String, SnapshotFile>>,
    dir: PathBuf,
    replaced: AtomicBool,
}

impl Generation {
    pub(super) fn open(data_dir: &Path, number: Number) -> Result<Self, StoreError> {
        let dir = number.dir(data_dir);
        check_families(&dir)?;
        // Payloads are the large rows.
        let db = engine::open_state(&dir, &families(), &[PAYLOADS])?;
        files::sync(&dir)?;
        Ok(Self {
            db: Some(db),
            number,
            hot: Hot::default(),
            policies: Versions::default(),
            destinations: Versions::default(),
            channels: Versions::default(),
            digests: Mutex::default(),
            dir,
            replaced: AtomicBool::new(false),
        })
    }

    pub(super) fn db(&self) -> &DB {
        self.db.as_ref().expect("the database is closed only by drop")
    }

    /// Deletes the rows of a table, of the first namespace. For a bug of simulated nodes.
    pub(super) fn lose(&self, table: Table) -> Result<(), StoreError> {
        let from = table::prefix(NamespaceId::DEFAULT, table);
        let mut batch = WriteBatch::default();
        let rows = family(self.db(), ROW_FAMILIES[family_of(&from)]);
        batch.delete_range_cf(rows, from.as_slice(), table::end_of(&from).as_slice());
        self.db().write(batch).context("lose rows")
    }

    pub(super) fn applied(&self) -> Result<Option<AppliedMeta>, StoreError> {
        applied(self.db(), &ReadOptions::default())
    }

    /// The directory goes when the last reader has gone.
    pub(super) fn mark_replaced(&self) {
        self.replaced.store(true, Ordering::SeqCst);
    }
}

impl Drop for Generation {
    fn drop(&mut self) {
        drop(self.db.take());
        if self.replaced.load(Ordering::SeqCst) {
            // What stays is deleted by the next start.
            _ = files::remove(&self.dir);
        }
    }
}

/// Puts the applied entry, the membership if it is new, and first of all the format into a batch.
pub(super) fn put_applied(
    batch: &mut WriteBatch,
    db: &DB,
    new: &AppliedMeta,
    old: Option<&AppliedMeta>,
) {
    let meta = family(db, META);
    let stored = StoredApplied { index: new.index, applied: new.applied.clone() };
    batch.put_cf(meta, META_APPLIED, encode(&stored));
    if old.is_none() {
        batch.put_cf(meta, META_FORMAT, encode(&FORMAT));
    }
    let is_new = old.is_none_or(|old| old.membership != new.membership);
    if is_new && !Bug::SnapshotWithoutMembership.is_planted() {
        batch.put_cf(meta, META_MEMBERSHIP, &new.membership);
    }
}

pub(super) fn applied(db: &DB, options: &ReadOptions) -> Result<Option<AppliedMeta>, StoreError> {
    let meta = family(db, META);
    let read = |key| db.get_cf_opt(meta, key, options).context("read the applied entry");
    let Some(bytes) = read(META_APPLIED)? else { return Ok(None) };
    let damaged = |error: CodecError| StoreError::damaged(error.to_string());
    let format = read(META_FORMAT)?.map(|bytes| decode(&bytes, "format").map_err(damaged));
    if format.transpose()? != Some(FORMAT) {
        return Err(StoreError::Format { known: FORMAT });
    }
    let stored: StoredApplied = decode(&bytes, "applied entry").map_err(damaged)?;
    let membership = read(META_MEMBERSHIP)?.unwrap_or_default();
    Ok(Some(AppliedMeta { index: stored.index, applied: stored.applied, membership }))
}

/// Index of the applied entry alone, for views.
pub(super) fn applied_index(db: &DB, options: &ReadOptions) -> Result<Option<u64>, StoreError> {
    let bytes = db
        .get_pinned_cf_opt(family(db, META), META_APPLIED, options)
        .context("read the applied entry")?;
    let Some(bytes) = bytes else { return Ok(None) };
    let stored: StoredApplied =
        decode(&bytes, "applied entry").map_err(|error| StoreError::damaged(error.to_string()))?;
    Ok(Some(stored.index))
}

/// Reads the applied entry out of a snapshot's own files, so that it cannot disagree with them.
/// The database's diagnostic files go to `scratch`.
pub(super) fn applied_of_image(
    image: &Path,
    scratch: &Path,
) -> Result<Option<AppliedMeta>, StoreError> {
    let db = engine::open_image(image, &families(), scratch)?;
    applied(&db, &ReadOptions::default())
}

/// Every column family of a generation but the one that RocksDB always has.
pub(super) fn family_names() -> impl Iterator<Item = &'static str> {
    ROW_FAMILIES.into_iter().chain([META])
}

/// Another format may have other families. To open it would make what is missing, and leave a
/// database that no build reads.
fn check_families(dir: &Path) -> Result<(), StoreError> {
    if !dir.join("CURRENT").exists() {
        return Ok(());
    }
    let found = engine::families_of(dir)?;
    let known = family_names().chain(["default"]);
    let (found, known): (BTreeSet<&str>, BTreeSet<&str>) =
        (found.iter().map(String::as_str).collect(), known.collect());
    if found == known { Ok(()) } else { Err(StoreError::Format { known: FORMAT }) }
}

fn families() -> Vec<&'static str> {
    family_names().collect()
}

/// Makes everything written so far durable, in all families at once.
pub(super) fn flush(db: &DB) -> Result<(), StoreError> {
    let mut wait = FlushOptions::default();
    wait.set_wait(true);
    let families: Vec<_> = family_names().map(|name| family(db, name)).collect();
    db.flush_cfs_opt(&families, &wait).context("flush the state")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generations_have_one_name() {
        assert_eq!(Number::parse(&Number(12).to_string()), Some(Number(12)));
        assert_eq!(Number::parse("gen-3\n"), Some(Number(3)));
        for bad in ["", "gen-", "gen-x", "3", "gen-1.tmp"] {
            assert_eq!(Number::parse(bad), None, "{bad}");
        }
    }
}
