//! Room on the disk: how much there is, how much of it is kept back, and what the data takes.
//!
//! What is kept back is for what must go on when the rest is full: decisions, reports, flushes and
//! snapshots. Invariant: looking writes nothing.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::ballast;
use crate::error::StoreError;

const MIB: u64 = 1024 * 1024;
/// A share of the file system …
const RESERVE_SHARE: u64 = 20;
/// … but room for what waits in memory to be written and for what a compaction needs …
const RESERVE_LEAST: u64 = 256 * MIB;
/// … and no more than any of that could need …
const RESERVE_MOST: u64 = 1024 * MIB;
/// … and of a small file system not the most of it.
const RESERVE_SHARE_MOST: u64 = 4;
/// The share of the reserve at which a node stops, and the most that it then writes …
const STOP_SHARE: u64 = 8;
const STOP_MOST: u64 = 128 * MIB;
/// … and the share that the ballast gives back, which is enough to start again.
const BALLAST_SHARE: u64 = 2;
/// What the system counts blocks of files in.
const BLOCK_BYTES: u64 = 512;

/// A file system's room, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskSpace {
    /// What this process may still write.
    pub free_bytes: u64,
    /// All of it.
    pub size_bytes: u64,
}

/// Looks at the file system that a directory is on.
///
/// # Errors
/// If the system does not say.
pub fn space(dir: &Path) -> Result<DiskSpace, StoreError> {
    let found = rustix::fs::statvfs(dir)
        .map_err(|error| StoreError::file("see the free space of", dir, error.into()))?;
    let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
    Ok(DiskSpace { free_bytes: bytes(found.f_bavail), size_bytes: bytes(found.f_blocks) })
}

impl DiskSpace {
    /// What is kept back unless the configuration says otherwise: 5 % of the file system, at least
    /// 256 MiB and at most 1 GiB, and never more than a quarter of it.
    #[must_use]
    pub fn default_reserve(&self) -> u64 {
        let share = (self.size_bytes / RESERVE_SHARE).clamp(RESERVE_LEAST, RESERVE_MOST);
        share.min(self.size_bytes / RESERVE_SHARE_MOST)
    }
}

/// Room below which a node with this reserve stops, unless the configuration says otherwise.
#[must_use]
pub fn default_stop(reserve: u64) -> u64 {
    (reserve / STOP_SHARE).min(STOP_MOST)
}

/// Size of the ballast of a disk, unless the configuration says otherwise: half of the reserve
/// that it would have, so at most an eighth of it and 512 MiB.
#[must_use]
pub fn default_ballast(space: &DiskSpace) -> u64 {
    space.default_reserve() / BALLAST_SHARE
}

/// Bytes that a data directory takes on the disk, without its ballast. A file of several names
/// counts once; one that goes meanwhile does not count, nor what is the file system's own and
/// closed to this process.
///
/// # Errors
/// If a directory cannot be read.
pub fn used(data_dir: &Path) -> Result<u64, StoreError> {
    let mut seen = BTreeSet::new();
    let mut bytes: u64 = 0;
    let mut dirs: Vec<PathBuf> = vec![data_dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        let failed = |error| StoreError::file("list", &dir, error);
        let Some(listing) = if_there(fs::read_dir(&dir)).map_err(failed)? else { continue };
        for entry in listing {
            let entry = entry.map_err(failed)?;
            if dir == data_dir && ballast::is_name(&entry.file_name()) {
                continue;
            }
            let Some(found) = if_there(entry.metadata()).map_err(failed)? else { continue };
            if found.is_dir() {
                dirs.push(entry.path());
            }
            if found.nlink() == 1 || found.is_dir() || seen.insert((found.dev(), found.ino())) {
                bytes = bytes.saturating_add(found.blocks().saturating_mul(BLOCK_BYTES));
            }
        }
    }
    Ok(bytes)
}

fn if_there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => {
            Ok(None)
        }
        other => other.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[rustfmt::skip]
    fn the_reserve_fits_the_file_system() {
        const GIB: u64 = 1024 * MIB;
        let cases = [
            // size, reserve
            (0,          0),
            (64 * MIB,   16 * MIB),
            (GIB,        256 * MIB),
            (4 * GIB,    256 * MIB),
            (10 * GIB,   512 * MIB),
            (20 * GIB,   GIB),
            (4096 * GIB, GIB),
        ];
        for (size_bytes, reserve) in cases {
            let space = DiskSpace { free_bytes: 0, size_bytes };
            assert_eq!(space.default_reserve(), reserve, "{size_bytes}");
        }
    }

    #[test]
    fn what_the_data_takes_counts_once_and_without_its_ballast() {
        let dir = tempfile::tempdir().expect("a directory");
        let below = dir.path().join("a").join("b");
        fs::create_dir_all(&below).expect("directories");
        let before = used(dir.path()).expect("it says");
        fs::write(below.join("one"), vec![7; 1 << 20]).expect("written");
        fs::hard_link(below.join("one"), dir.path().join("two")).expect("linked");
        ballast::make(dir.path(), 4 << 20).expect("there is room");
        let taken = used(dir.path()).expect("it says") - before;
        assert!((1 << 20..2 << 20).contains(&taken), "{taken}");
        assert_eq!(used(&dir.path().join("absent")).ok(), Some(0));
    }

    #[test]
    fn a_node_stops_with_a_part_of_its_reserve_and_never_for_want_of_much() {
        let cases = [(0, 0), (64 * MIB, 8 * MIB), (1024 * MIB, 128 * MIB), (1 << 60, 128 * MIB)];
        for (reserve, stop) in cases {
            assert_eq!(default_stop(reserve), stop, "{reserve}");
        }
    }

    #[test]
    #[rustfmt::skip]
    fn the_ballast_is_enough_to_start_with_and_leaves_the_disk_most_of_itself() {
        for size_bytes in [0, MIB, 64 * MIB, 1024 * MIB, 10_240 * MIB, 1 << 44] {
            let space = DiskSpace { free_bytes: 0, size_bytes };
            let (ballast, reserve) = (default_ballast(&space), space.default_reserve());
            assert!(ballast >= default_stop(reserve) && ballast <= size_bytes / 8);
            assert!(ballast <= 512 * MIB);
        }
    }

    #[test]
    fn a_directory_says_its_file_systems_room() {
        let dir = tempfile::tempdir().expect("a directory");
        let found = space(dir.path()).expect("it says");
        assert!(found.free_bytes > 0 && found.free_bytes <= found.size_bytes, "{found:?}");
        assert!(space(&dir.path().join("absent")).is_err());
    }
}
