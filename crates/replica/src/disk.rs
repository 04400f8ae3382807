//! Room on this node's disk: looked at again and again, and told when that changes.
//!
//! Below the reserve nothing new is taken; what is kept back serves what must go on: decisions,
//! reports, ticks, flushes and snapshots. Invariant: a disk that cannot be asked closes nothing;
//! a write that fails for want of room stops the node in any case.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use meters::{Gauge, number};
use parking_lot::Mutex;
use store::disk::{DiskSpace, space};

/// A share of the reserve that must be free beyond it before new things are taken again, so that a
/// disk at the edge does not go to and fro.
const SLACK_SHARE: u64 = 16;

/// What is known of the disk.
pub(crate) struct DiskWatch {
    /// As configured; else a share of the file system.
    reserve: Option<u64>,
    is_full: AtomicBool,
    space: Mutex<Option<DiskSpace>>,
    /// The last failure to look, so that each is told once.
    failure: Mutex<Option<String>>,
    meters: DiskMeters,
}

struct DiskMeters {
    free: Gauge,
    reserve: Gauge,
    size: Gauge,
    full: Gauge,
}

impl DiskWatch {
    pub(crate) fn new(reserve: Option<u64>) -> Self {
        let meters = DiskMeters {
            free: meters::DISK_FREE_BYTES.gauge(&[]),
            reserve: meters::DISK_RESERVE_BYTES.gauge(&[]),
            size: meters::DISK_SIZE_BYTES.gauge(&[]),
            full: meters::DISK_FULL.gauge(&[]),
        };
        let is_full = AtomicBool::new(false);
        Self { reserve, is_full, space: Mutex::default(), failure: Mutex::default(), meters }
    }

    /// There is room for new things.
    pub(crate) fn has_room(&self) -> bool {
        !self.is_full.load(Ordering::Relaxed)
    }

    /// What the last look found.
    pub(crate) fn space(&self) -> Option<DiskSpace> {
        *self.space.lock()
    }

    /// Looks at the file system of a directory. Blocks as long as the system takes.
    pub(crate) fn look(&self, dir: &Path) {
        match space(dir) {
            Ok(found) => {
                *self.failure.lock() = None;
                self.take(found);
            }
            Err(error) => {
                let error = error.to_string();
                let mut failure = self.failure.lock();
                if failure.as_ref() != Some(&error) {
                    tracing::warn!(error, "the disk does not say how much room it has");
                    *failure = Some(error);
                }
                self.meters.free.set(f64::NAN);
            }
        }
    }

    fn take(&self, space: DiskSpace) {
        *self.space.lock() = Some(space);
        let reserve = self.reserve.unwrap_or_else(|| space.default_reserve());
        let was_full = self.is_full.load(Ordering::Relaxed);
        let slack = if was_full { reserve / SLACK_SHARE } else { 0 };
        let is_full = space.free_bytes < reserve.saturating_add(slack);
        if is_full != was_full {
            let free = space.free_bytes;
            if is_full {
                tracing::error!(
                    free,
                    reserve,
                    "disk_quota: nothing new is taken until space is free"
                );
            } else {
                tracing::info!(free, reserve, "there is room on the disk again");
            }
        }
        self.is_full.store(is_full, Ordering::Relaxed);
        self.meters.free.set(number(space.free_bytes));
        self.meters.reserve.set(number(reserve));
        self.meters.size.set(number(space.size_bytes));
        self.meters.full.set(u32::from(is_full));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[rustfmt::skip]
    fn the_disk_is_full_below_the_reserve_and_has_room_some_way_above_it() {
        let disk = DiskWatch::new(Some(1_600));
        let cases = [
            // free, has room
            (5_000, true), (1_600, true), (1_599, false), (1_600, false), (1_699, false),
            (1_700, true), (1_600, true), (0, false),     (u64::MAX, true),
        ];
        for (free_bytes, has_room) in cases {
            disk.take(DiskSpace { free_bytes, size_bytes: 1_000_000 });
            assert_eq!(disk.has_room(), has_room, "{free_bytes}");
        }
    }

    #[test]
    fn without_a_configured_reserve_a_share_of_the_disk_is_kept_back() {
        let disk = DiskWatch::new(None);
        let size_bytes = 64 << 30;
        disk.take(DiskSpace { free_bytes: (1 << 30) - 1, size_bytes });
        assert!(!disk.has_room());
        disk.take(DiskSpace { free_bytes: 2 << 30, size_bytes });
        assert!(disk.has_room());
    }

    #[test]
    fn a_disk_that_cannot_be_asked_changes_nothing() {
        let dir = tempfile::tempdir().expect("a directory");
        let disk = DiskWatch::new(Some(u64::MAX));
        disk.look(&dir.path().join("absent"));
        assert!(disk.has_room());
        disk.look(dir.path());
        disk.look(&dir.path().join("absent"));
        assert!(!disk.has_room());
    }
}
