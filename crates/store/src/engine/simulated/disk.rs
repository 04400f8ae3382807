//! What befalls the disks of nodes, as the simulation says, by data directory.
//!
//! Invariant: a disk takes back only what was not synced; a sync that failed once has lost what it
//! was for, whatever later syncs say.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use super::Error;
use crate::error::NO_SPACE;

static DISKS: Mutex<Disks> = Mutex::new(Disks {
    full: BTreeSet::new(),
    failing: BTreeSet::new(),
    wals: BTreeMap::new(),
    open: BTreeSet::new(),
});

struct Disks {
    /// Data directories that have no room.
    full: BTreeSet<PathBuf>,
    /// Data directories whose next sync fails.
    failing: BTreeSet<PathBuf>,
    wals: BTreeMap<PathBuf, Bytes>,
    open: BTreeSet<PathBuf>,
}

/// Of a WAL file.
#[derive(Clone, Copy)]
struct Bytes {
    /// So many are on the disk.
    synced: u64,
    /// Those from here on are lost: a sync of them failed.
    lost_from: Option<u64>,
}

/// From now on nothing more can be written under a data directory.
pub fn fill(data_dir: &Path) {
    DISKS.lock().full.insert(data_dir.to_owned());
}

/// The next sync under a data directory fails, and what it was for is lost.
pub fn fail_next_sync(data_dir: &Path) {
    DISKS.lock().failing.insert(data_dir.to_owned());
}

/// From now on the disk does what it should. What it has lost stays lost.
pub fn heal(data_dir: &Path) {
    let mut disks = DISKS.lock();
    disks.full.remove(data_dir);
    disks.failing.remove(data_dir);
}

/// Takes from the files under a data directory what was not synced, but for as many bytes as
/// `keep` says of so many. Nothing may have them open. Says how many bytes it took.
///
/// # Errors
/// If the machine's own disk says no.
pub fn cut_power(data_dir: &Path, mut keep: impl FnMut(u64) -> u64) -> io::Result<u64> {
    let mut disks = DISKS.lock();
    let mut taken = 0;
    for (path, bytes) in &mut disks.wals {
        if !path.starts_with(data_dir) || !path.exists() {
            continue;
        }
        let file = OpenOptions::new().write(true).open(path)?;
        let written = file.metadata()?.len();
        let end = bytes.lost_from.unwrap_or(written).min(written);
        let sure = bytes.synced.min(end);
        let kept = sure + keep(end - sure);
        if kept < written {
            file.set_len(kept)?;
            taken += written - kept;
        }
        *bytes = Bytes { synced: kept, lost_from: None };
    }
    Ok(taken)
}

/// The one open database of a directory.
pub(super) struct Open(PathBuf);

impl Open {
    /// `None` if the database is open already.
    pub(super) fn only(dir: &Path) -> Option<Self> {
        let is_first = DISKS.lock().open.insert(dir.to_owned());
        is_first.then(|| Self(dir.to_owned()))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        DISKS.lock().open.remove(&self.0);
    }
}

fn is_under(dirs: &BTreeSet<PathBuf>, path: &Path) -> bool {
    dirs.iter().any(|dir| path.starts_with(dir))
}

/// Whether something can be written here.
pub(super) fn must_have_room(path: &Path) -> Result<(), Error> {
    if is_under(&DISKS.lock().full, path) {
        return Err(Error::disk(format!("{NO_SPACE} on device: {}", path.display())));
    }
    Ok(())
}

/// A WAL file that is opened anew. What it has is on the disk: RocksDB writes out what it recovers.
pub(super) fn opened(wal: &Path, bytes: u64) {
    DISKS.lock().wals.insert(wal.to_owned(), Bytes { synced: bytes, lost_from: None });
}

/// From where on the bytes of a WAL file are lost.
pub(super) fn lost_from(wal: &Path) -> Option<u64> {
    DISKS.lock().wals.get(wal).and_then(|bytes| bytes.lost_from)
}

/// A WAL file is gone.
pub(super) fn removed(wal: &Path) {
    DISKS.lock().wals.remove(wal);
}

/// Syncs the first bytes of a WAL file.
pub(super) fn sync(wal: &Path, bytes: u64) -> Result<(), Error> {
    let mut disks = DISKS.lock();
    let dir = disks.failing.iter().find(|dir| wal.starts_with(dir)).cloned();
    let fails = dir.is_some_and(|dir| disks.failing.remove(&dir));
    let Some(known) = disks.wals.get_mut(wal) else {
        return Err(Error::disk(format!("no file {}", wal.display())));
    };
    if fails {
        known.lost_from.get_or_insert(known.synced);
        return Err(Error::disk(format!("sync {}: Input/output error", wal.display())));
    }
    known.synced = bytes;
    Ok(())
}
