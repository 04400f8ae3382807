//! Room on the disk: how much there is, and how much of it is kept back.
//!
//! What is kept back is for what must go on when the rest is full: decisions, reports, flushes and
//! snapshots. Invariant: looking writes nothing.

use std::path::Path;

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
    fn a_directory_says_its_file_systems_room() {
        let dir = tempfile::tempdir().expect("a directory");
        let found = space(dir.path()).expect("it says");
        assert!(found.free_bytes > 0 && found.free_bytes <= found.size_bytes, "{found:?}");
        assert!(space(&dir.path().join("absent")).is_err());
    }
}
