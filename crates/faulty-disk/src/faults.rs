//! What is about to go wrong with a disk, and what went wrong so far.
//!
//! Invariant: a point is come to once, and then forgotten.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::files::Trouble;

/// What is done to a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// A file or a directory is made.
    Create,
    /// Bytes go into a file, or its length is set.
    Write,
    /// A file is synced.
    Sync,
    /// A directory is synced.
    SyncDirectory,
    /// Something gets another name; the path is the new one.
    Rename,
    /// A file gets one name more; the path is the new one.
    Link,
    /// A name is taken away.
    Remove,
}

const OPERATIONS: usize = Operation::Remove as usize + 1;

/// Before an operation or after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// It is not done.
    Before,
    /// It is done. One that could not be done does not count.
    After,
}

/// Where a process ends.
#[derive(Clone)]
pub struct Point {
    operation: Operation,
    path: Arc<dyn Fn(&str) -> bool + Send + Sync>,
    when: When,
    skip: u32,
}

impl Point {
    /// Before the first operation of a kind on a path, as seen from the mount, that matches. A
    /// file that has several names has several paths, of which one is enough. What tells the paths
    /// must not use the disk.
    #[must_use]
    pub fn new(operation: Operation, path: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self { operation, path: Arc::new(path), when: When::Before, skip: 0 }
    }

    /// Before it or after it.
    #[must_use]
    pub fn when(self, when: When) -> Self {
        Self { when, ..self }
    }

    /// Not at the first so many.
    #[must_use]
    pub fn skip(self, skip: u32) -> Self {
        Self { skip, ..self }
    }
}

impl fmt::Debug for Point {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { operation, when, skip, .. } = self;
        write!(to, "{when:?} {operation:?} number {skip} of some path")
    }
}

#[derive(Debug)]
pub(crate) struct Faults {
    pub(crate) room_bytes: u64,
    pub(crate) is_off: bool,
    is_full: bool,
    /// The disk was filled, and the first write that needs room will be the one that filled it.
    is_torn_next: bool,
    pub(crate) refused_for_room: u64,
    pub(crate) syncs_take: Option<Range<Duration>>,
    syncs_to_fail: (u32, fn(&str) -> bool),
    pub(crate) syncs_failed: u64,
    armed: Option<(u32, Point)>,
    pub(crate) is_hit: bool,
    counts: [u64; OPERATIONS],
}

impl Faults {
    pub(crate) fn new(room_bytes: u64) -> Self {
        Self {
            room_bytes,
            is_off: false,
            is_full: false,
            is_torn_next: false,
            refused_for_room: 0,
            syncs_take: None,
            syncs_to_fail: (0, |_| true),
            syncs_failed: 0,
            armed: None,
            is_hit: false,
            counts: [0; OPERATIONS],
        }
    }

    pub(crate) fn must_be_on(&self) -> Result<(), Trouble> {
        if self.is_off { Err(Trouble::Failed) } else { Ok(()) }
    }

    pub(crate) fn fill(&mut self, is_full: bool) {
        (self.is_full, self.is_torn_next) = (is_full, is_full);
    }

    pub(crate) fn kill_at(&mut self, process: u32, point: Point) {
        self.armed = Some((process, point));
        self.is_hit = false;
    }

    pub(crate) fn count(&mut self, operation: Operation) {
        self.counts[operation as usize] += 1;
    }

    pub(crate) fn counted(&self, operation: Operation) -> u64 {
        self.counts[operation as usize]
    }

    /// Whether a process may end at an operation on these paths.
    pub(crate) fn is_point(
        &self,
        operation: Operation,
        paths: impl FnOnce() -> Vec<String>,
    ) -> bool {
        self.armed.as_ref().is_some_and(|(_, point)| {
            point.operation == operation && paths().iter().any(|path| (point.path)(path))
        })
    }

    /// An operation at the point is about to be done, or was done. Says whether the process ended.
    pub(crate) fn comes(&mut self, when: When) -> bool {
        let Some((process, mut point)) = self.armed.take() else { return false };
        if point.when != when || point.skip > 0 {
            point.skip -= u32::from(point.when == when);
            self.armed = Some((process, point));
            return false;
        }
        let process = i32::try_from(process).ok().and_then(Pid::from_raw);
        // One that has ended already has not come here.
        self.is_hit = process.is_some_and(|process| kill_process(process, Signal::KILL).is_ok());
        self.is_hit
    }

    /// How long the next sync takes, if it takes any time.
    pub(crate) fn sync_takes(&self) -> Option<Duration> {
        let times = self.syncs_take.clone().filter(|times| !times.is_empty())?;
        Some(rand::random_range(times))
    }

    pub(crate) fn fail_syncs(&mut self, count: u32, path: fn(&str) -> bool) {
        self.syncs_to_fail = (count, path);
    }

    /// A file of these paths is to be synced.
    pub(crate) fn syncs(&mut self, paths: &[String]) -> Result<(), Trouble> {
        let (left, path) = self.syncs_to_fail;
        let Some(less) = left.checked_sub(1) else { return Ok(()) };
        if !paths.iter().any(|one| path(one)) {
            return Ok(());
        }
        self.syncs_to_fail = (less, path);
        self.syncs_failed += 1;
        Err(Trouble::Failed)
    }

    /// Bytes that can still be written, where so many are in use.
    pub(crate) fn free(&self, used: u64) -> u64 {
        if self.is_full { 0 } else { self.room_bytes.saturating_sub(used) }
    }

    /// Something needs so much room, and be it for a name alone, where so much is in use.
    pub(crate) fn needs(&mut self, more: u64, used: u64) -> Result<(), Trouble> {
        if self.is_full || more > self.free(used) {
            self.refused_for_room += 1;
            return Err(Trouble::NoRoom);
        }
        Ok(())
    }

    /// How many of these bytes are written, of which the last so many need room.
    pub(crate) fn fitting(&mut self, bytes: u64, more: u64, used: u64) -> Result<u64, Trouble> {
        let free = self.free(used);
        if more <= free {
            return Ok(bytes);
        }
        let fitting = if self.is_torn_next {
            self.is_torn_next = false;
            bytes / 2
        } else {
            bytes.saturating_sub(more - free)
        };
        if fitting > 0 {
            return Ok(fitting);
        }
        self.refused_for_room += 1;
        Err(Trouble::NoRoom)
    }
}
