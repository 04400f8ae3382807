//! The ballast: a file that is there to be deleted. A disk that is full to its end has room again
//! at once, without a decision about anything that matters.
//!
//! Promise: its blocks are taken, not only promised; a file under its name is whole.
//! Invariant: what cannot be had is left: no ballast keeps a node from running.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate};

use crate::error::StoreError;
use crate::files;

/// Its name below the data directory.
pub const NAME: &str = "ballast";
/// While it is made.
const NAME_NEW: &str = "ballast.new";
/// What the system counts blocks of files in.
const BLOCK_BYTES: u64 = 512;

/// Where it lies.
#[must_use]
pub fn path(data_dir: &Path) -> PathBuf {
    data_dir.join(NAME)
}

/// Whether a name below the data directory is the ballast's.
pub(crate) fn is_name(name: &std::ffi::OsStr) -> bool {
    name == NAME || name == NAME_NEW
}

/// Bytes that it takes on the disk; 0 if it is not there.
#[must_use]
pub fn size(data_dir: &Path) -> u64 {
    fs::symlink_metadata(path(data_dir)).map_or(0, |found| {
        let taken = found.blocks().saturating_mul(BLOCK_BYTES);
        if found.is_file() { taken.min(found.len()) } else { 0 }
    })
}

/// Makes it of that size, in the place of one of another size. Called again it does nothing.
///
/// # Errors
/// If the file system has no room, or takes no blocks ahead. There is none then.
pub fn make(data_dir: &Path, bytes: u64) -> Result<(), StoreError> {
    if size(data_dir) == bytes {
        return Ok(());
    }
    remove(data_dir)?;
    let new = data_dir.join(NAME_NEW);
    let made = take_blocks(&new, bytes);
    if made.is_err() {
        // What was taken so far is of no use to anybody.
        _ = files::remove(&new);
    }
    made?;
    files::rename(&new, &path(data_dir))
}

/// Removes it, and what is left of one that was being made.
///
/// # Errors
/// If the file system refuses.
pub fn remove(data_dir: &Path) -> Result<(), StoreError> {
    files::remove(&data_dir.join(NAME_NEW))?;
    files::remove(&path(data_dir))
}

fn take_blocks(path: &Path, bytes: u64) -> Result<(), StoreError> {
    let failed = |action| move |error| StoreError::file(action, path, error);
    let file = File::create(path).map_err(failed("create"))?;
    fallocate(&file, FallocateFlags::empty(), 0, bytes)
        .map_err(|error| failed("take blocks for")(error.into()))?;
    file.sync_all().map_err(failed("sync"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    #[test]
    fn it_takes_its_bytes_is_replaced_and_goes() {
        let dir = tempfile::tempdir().expect("a directory");
        assert_eq!(size(dir.path()), 0);
        fs::write(dir.path().join(NAME_NEW), b"cut short").expect("written");
        for bytes in [3 * MIB, 3 * MIB, MIB] {
            make(dir.path(), bytes).expect("there is room");
            assert_eq!(size(dir.path()), bytes);
            let found = fs::metadata(path(dir.path())).expect("it is there");
            assert!(found.blocks() * BLOCK_BYTES >= bytes, "its blocks are taken");
            assert_eq!(fs::read_dir(dir.path()).expect("a list").count(), 1);
        }
        remove(dir.path()).expect("removed");
        remove(dir.path()).expect("nothing is fine");
        assert_eq!(fs::read_dir(dir.path()).expect("a list").count(), 0);
    }

    #[test]
    fn a_file_that_only_promises_its_bytes_is_made_anew() {
        let dir = tempfile::tempdir().expect("a directory");
        File::create(path(dir.path())).and_then(|file| file.set_len(MIB)).expect("a hole");
        assert_eq!(size(dir.path()), 0);
        make(dir.path(), MIB).expect("there is room");
        assert_eq!(size(dir.path()), MIB);
    }

    #[test]
    fn without_room_nothing_is_left() {
        let dir = tempfile::tempdir().expect("a directory");
        // More than a file can have. More than the disk has would do too, and take all room from
        // whatever runs beside this.
        assert!(make(dir.path(), 1 << 62).is_err());
        assert_eq!(fs::read_dir(dir.path()).expect("a list").count(), 0);
    }
}
