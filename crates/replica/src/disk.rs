//! Room on this node's disk: looked at again and again, and told when that changes.
//!
//! Below the reserve, or above the quota, nothing new is taken; what is kept back serves what must
//! go on: decisions, reports, ticks, flushes and snapshots. Below a smaller margin the node stops
//! while it still can. Invariant: a disk that cannot be asked closes nothing; a write that fails
//! for want of room stops the node in any case.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use meters::{Gauge, number};
use parking_lot::Mutex;
use store::StoreError;
use store::ballast;
use store::disk::{self, DiskSpace, space};

/// A share of a limit that must be free beyond it before new things are taken again, so that a disk
/// at the edge does not go to and fro.
const SLACK_SHARE: u64 = 16;
/// What the data takes is counted with every so manieth look: that looks at every file.
const LOOKS_PER_COUNT: u32 = 10;
/// A ballast is made only where so many times the reserve is free besides it.
const RESERVES_FOR_BALLAST: u64 = 2;

/// What a node may take of its disk, in bytes; `None` for what fits the file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DiskLimits {
    /// With less free than this nothing new is taken.
    pub reserve_bytes: Option<u64>,
    /// With more than this in the data directory nothing new is taken; `None` for no such limit.
    pub quota_bytes: Option<u64>,
    /// With less free than this the node stops.
    pub stop_bytes: Option<u64>,
    /// What a file takes that can be deleted when the disk is full; 0 for none.
    pub ballast_bytes: Option<u64>,
}

/// Two limits of a disk, and how near it is to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Margins {
    reserve: u64,
    stop: u64,
}

impl DiskLimits {
    fn margins(&self, space: &DiskSpace) -> Margins {
        let reserve = self.reserve_bytes.unwrap_or_else(|| space.default_reserve());
        let stop = self.stop_bytes.unwrap_or_else(|| disk::default_stop(reserve));
        Margins { reserve, stop: stop.min(reserve) }
    }

    fn ballast(&self, space: &DiskSpace) -> u64 {
        self.ballast_bytes.unwrap_or_else(|| disk::default_ballast(space))
    }
}

/// What is known of the disk.
pub(crate) struct DiskWatch {
    limits: DiskLimits,
    is_full: AtomicBool,
    is_at_end: AtomicBool,
    looks: AtomicU32,
    space: Mutex<Option<DiskSpace>>,
    used: Mutex<Option<u64>>,
    /// Why nothing new is taken; for each limit by itself, since each has its slack.
    full: Mutex<Full>,
    failure: Failure,
    uncounted: Failure,
    /// A ballast could not be made, and is not tried again.
    has_no_ballast: AtomicBool,
    meters: DiskMeters,
}

/// The last failure to look at something, so that each is told once.
#[derive(Debug, Default)]
struct Failure(Mutex<Option<String>>);

impl Failure {
    fn told<T>(&self, result: Result<T, StoreError>, what: &str) -> Option<T> {
        let mut last = self.0.lock();
        match result {
            Ok(found) => {
                *last = None;
                Some(found)
            }
            Err(error) => {
                let error = error.to_string();
                if last.as_ref() != Some(&error) {
                    tracing::warn!(error, "{what}");
                    *last = Some(error);
                }
                None
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Full {
    of_disk: bool,
    of_quota: bool,
}

struct DiskMeters {
    free: Gauge,
    reserve: Gauge,
    stop: Gauge,
    size: Gauge,
    used: Gauge,
    quota: Gauge,
    ballast: Gauge,
    full: Gauge,
}

impl Default for DiskMeters {
    fn default() -> Self {
        Self {
            free: meters::DISK_FREE_BYTES.gauge(&[]),
            reserve: meters::DISK_RESERVE_BYTES.gauge(&[]),
            stop: meters::DISK_STOP_BYTES.gauge(&[]),
            size: meters::DISK_SIZE_BYTES.gauge(&[]),
            used: meters::DISK_USED_BYTES.gauge(&[]),
            quota: meters::DISK_QUOTA_BYTES.gauge(&[]),
            ballast: meters::DISK_BALLAST_BYTES.gauge(&[]),
            full: meters::DISK_FULL.gauge(&[]),
        }
    }
}

impl DiskWatch {
    pub(crate) fn new(limits: DiskLimits) -> Self {
        Self {
            limits,
            is_full: AtomicBool::new(false),
            is_at_end: AtomicBool::new(false),
            looks: AtomicU32::new(0),
            space: Mutex::default(),
            used: Mutex::default(),
            full: Mutex::default(),
            failure: Failure::default(),
            uncounted: Failure::default(),
            has_no_ballast: AtomicBool::new(false),
            meters: DiskMeters::default(),
        }
    }

    /// There is room for new things.
    pub(crate) fn has_room(&self) -> bool {
        !self.is_full.load(Ordering::Relaxed)
    }

    /// There is no room to go on; the node has to stop.
    pub(crate) fn is_at_end(&self) -> bool {
        self.is_at_end.load(Ordering::Relaxed)
    }

    /// What the last look found.
    pub(crate) fn space(&self) -> Option<DiskSpace> {
        *self.space.lock()
    }

    /// Looks at the file system of a data directory, and now and then at what lies in it. Makes the
    /// ballast where there is room. Blocks as long as the system takes.
    pub(crate) fn look(&self, dir: &Path) {
        let is_counted = self.looks.fetch_add(1, Ordering::Relaxed).is_multiple_of(LOOKS_PER_COUNT);
        if is_counted {
            let used = self.uncounted.told(disk::used(dir), "the data cannot be counted");
            if used.is_some() {
                *self.used.lock() = used;
            }
        }
        match self.failure.told(space(dir), "the disk does not say how much room it has") {
            Some(space) => {
                self.take(space);
                self.keep_ballast(dir, &space);
            }
            None => self.meters.free.set(f64::NAN),
        }
    }

    /// Why this node cannot go on, and what to do then.
    pub(crate) fn end_of(&self, dir: &Path) -> String {
        let space = self.space().unwrap_or(DiskSpace { free_bytes: 0, size_bytes: 0 });
        let Margins { stop, .. } = self.limits.margins(&space);
        let way = match ballast::size(dir) {
            0 => "make room on it, or give it a larger one".to_owned(),
            bytes => {
                let ballast = ballast::path(dir);
                format!("delete {}, which frees {bytes} bytes, make room", ballast.display())
            }
        };
        let (dir, free) = (dir.display(), space.free_bytes);
        format!(
            "the disk of {dir} has {free} bytes left, and a node stops below {stop} while it still \
             can; {way}, and start it again"
        )
    }

    fn take(&self, space: DiskSpace) {
        *self.space.lock() = Some(space);
        let Margins { reserve, stop } = self.limits.margins(&space);
        let used = *self.used.lock();
        let (was, is) = {
            let mut full = self.full.lock();
            let was = *full;
            *full = self.judge(was, &space, used);
            (was, *full)
        };
        self.is_full.store(is != Full::default(), Ordering::Relaxed);
        self.is_at_end.store(space.free_bytes < stop, Ordering::Relaxed);
        let free = space.free_bytes;
        if is.of_disk && !was.of_disk {
            tracing::error!(free, reserve, "disk_quota: nothing new is taken until space is free");
        }
        let (used_bytes, quota) = (used.unwrap_or(0), self.limits.quota_bytes.unwrap_or(0));
        if is.of_quota && !was.of_quota {
            tracing::error!(
                used_bytes,
                quota,
                "disk_quota: nothing new is taken until the data takes less, or may take more"
            );
        }
        if is == Full::default() && was != is {
            tracing::info!(free, reserve, used_bytes, quota, "there is room on the disk again");
        }
        let known = |bytes: Option<u64>| bytes.map_or(f64::NAN, number);
        self.meters.free.set(number(free));
        self.meters.reserve.set(number(reserve));
        self.meters.stop.set(number(stop));
        self.meters.size.set(number(space.size_bytes));
        self.meters.used.set(known(used));
        self.meters.quota.set(known(self.limits.quota_bytes));
        self.meters.full.set(u32::from(is != Full::default()));
    }

    fn judge(&self, was: Full, space: &DiskSpace, used: Option<u64>) -> Full {
        let slack = |limit: u64, was_full: bool| if was_full { limit / SLACK_SHARE } else { 0 };
        let Margins { reserve, .. } = self.limits.margins(space);
        let wanted = reserve.saturating_add(slack(reserve, was.of_disk));
        let of_quota = match (self.limits.quota_bytes, used) {
            (Some(quota), Some(used)) => used > quota - slack(quota, was.of_quota),
            // Nothing was counted yet, or nothing is to be.
            _ => was.of_quota && self.limits.quota_bytes.is_some(),
        };
        Full { of_disk: space.free_bytes < wanted, of_quota }
    }

    /// Makes the ballast, or one of another size, where enough is free besides it.
    fn keep_ballast(&self, dir: &Path, space: &DiskSpace) {
        let (there, wanted) = (ballast::size(dir), self.limits.ballast(space));
        let Margins { reserve, .. } = self.limits.margins(space);
        let besides = reserve.saturating_mul(RESERVES_FOR_BALLAST);
        let free = space.free_bytes.saturating_add(there);
        let has_room = wanted == 0 || free.saturating_sub(wanted) >= besides;
        if there != wanted && has_room && !self.has_no_ballast.load(Ordering::Relaxed) {
            let kept = match wanted {
                0 => ballast::remove(dir),
                bytes => ballast::make(dir, bytes),
            };
            match kept {
                Ok(()) => tracing::info!(bytes = wanted, "the ballast has its size"),
                Err(error) => {
                    tracing::warn!(%error, "this node has no ballast until it is started again");
                    self.has_no_ballast.store(true, Ordering::Relaxed);
                }
            }
        }
        self.meters.ballast.set(number(ballast::size(dir)));
    }
}

/// Raft hands on what the disk said as text.
pub(crate) fn no_room(reason: &str) -> bool {
    reason.contains(store::NO_SPACE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn limits(reserve: u64) -> DiskLimits {
        DiskLimits { reserve_bytes: Some(reserve), ..DiskLimits::default() }
    }

    #[test]
    #[rustfmt::skip]
    fn the_disk_is_full_below_the_reserve_and_has_room_some_way_above_it() {
        let disk = DiskWatch::new(limits(1_600));
        let cases = [
            // free, has room, goes on
            (5_000, true,  true), (1_600, true,  true), (1_599, false, true),
            (1_600, false, true), (1_699, false, true), (1_700, true,  true),
            (1_600, true,  true), (200,   false, true), (199,   false, false),
            (0,     false, false), (u64::MAX, true, true),
        ];
        for (free_bytes, has_room, goes_on) in cases {
            disk.take(DiskSpace { free_bytes, size_bytes: 1_000_000 });
            assert_eq!((disk.has_room(), !disk.is_at_end()), (has_room, goes_on), "{free_bytes}");
        }
    }

    #[test]
    #[rustfmt::skip]
    fn the_data_may_take_its_quota_and_has_to_take_less_once_it_took_more() {
        let disk = DiskWatch::new(DiskLimits { quota_bytes: Some(1_600), ..limits(100) });
        let cases = [
            // free, used, has room
            (5_000, None,        true),  (5_000, Some(1_600), true),  (5_000, Some(1_601), false),
            (5_000, Some(1_600), false), (5_000, Some(1_501), false), (5_000, Some(1_500), true),
            (99,    Some(0),     false), (5_000, Some(1_700), false), (5_000, None,        false),
        ];
        for (free_bytes, used, has_room) in cases {
            *disk.used.lock() = used;
            disk.take(DiskSpace { free_bytes, size_bytes: 1_000_000 });
            assert_eq!(disk.has_room(), has_room, "{free_bytes} {used:?}");
            assert!(!disk.is_at_end(), "the quota stops nobody");
        }
    }

    #[test]
    fn without_a_configured_reserve_a_share_of_the_disk_is_kept_back() {
        let disk = DiskWatch::new(DiskLimits::default());
        let size_bytes = 64 << 30;
        disk.take(DiskSpace { free_bytes: (1 << 30) - 1, size_bytes });
        assert!(!disk.has_room() && !disk.is_at_end());
        disk.take(DiskSpace { free_bytes: 2 << 30, size_bytes });
        assert!(disk.has_room());
        disk.take(DiskSpace { free_bytes: (128 << 20) - 1, size_bytes });
        assert!(disk.is_at_end());
        // A reserve of nothing stops nobody.
        let disk = DiskWatch::new(limits(0));
        disk.take(DiskSpace { free_bytes: 0, size_bytes });
        assert!(disk.has_room() && !disk.is_at_end());
    }

    #[test]
    fn a_disk_that_cannot_be_asked_changes_nothing() {
        let dir = tempfile::tempdir().expect("a directory");
        let disk = DiskWatch::new(DiskLimits { stop_bytes: Some(0), ..limits(u64::MAX) });
        disk.look(&dir.path().join("absent"));
        assert!(disk.has_room());
        disk.look(dir.path());
        disk.look(&dir.path().join("absent"));
        assert!(!disk.has_room());
    }

    #[test]
    fn the_ballast_is_made_where_there_is_room_besides_it_and_only_there() {
        let dir = tempfile::tempdir().expect("a directory");
        let free = space(dir.path()).expect("it says").free_bytes;
        let with = |reserve, ballast| {
            let limits = DiskLimits { ballast_bytes: Some(ballast), ..limits(reserve) };
            let disk = DiskWatch::new(limits);
            disk.look(dir.path());
            let end = disk.end_of(dir.path());
            assert_eq!(end.contains("delete"), ballast::size(dir.path()) > 0, "{end}");
            ballast::size(dir.path())
        };
        assert_eq!(with(free, MIB), 0, "the reserve goes first");
        assert_eq!(with(MIB, MIB), MIB);
        assert_eq!(with(MIB, 2 * MIB), 2 * MIB, "another size was asked for");
        assert_eq!(with(free, MIB), 2 * MIB, "what is there stays");
        assert_eq!(with(MIB, 0), 0, "none was asked for");
    }
}
