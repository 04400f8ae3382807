//! What is about to go wrong with a disk, and what went wrong so far.

use rustix::process::{Pid, Signal, kill_process};

use crate::files::Trouble;

/// What is done to a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// A file or a directory is made.
    Create,
    /// Bytes go into a file.
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

/// Before an operation or after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// It is not done.
    Before,
    /// It is done.
    After,
}

/// Where a process ends.
#[derive(Debug, Clone, Copy)]
pub struct Point {
    operation: Operation,
    path: fn(&str) -> bool,
    when: When,
    skip: u32,
}

impl Point {
    /// Before the first operation of a kind on a path, as seen from the mount, that matches.
    #[must_use]
    pub fn new(operation: Operation, path: fn(&str) -> bool) -> Self {
        Self { operation, path, when: When::Before, skip: 0 }
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

#[derive(Debug)]
pub(crate) struct Faults {
    pub(crate) room_bytes: u64,
    pub(crate) is_off: bool,
    pub(crate) is_full: bool,
    pub(crate) refused_for_room: u64,
    pub(crate) syncs_to_fail: u32,
    pub(crate) syncs_failed: u64,
    armed: Option<(u32, Point)>,
    pub(crate) is_hit: bool,
}

impl Faults {
    pub(crate) fn new(room_bytes: u64) -> Self {
        Self {
            room_bytes,
            is_off: false,
            is_full: false,
            refused_for_room: 0,
            syncs_to_fail: 0,
            syncs_failed: 0,
            armed: None,
            is_hit: false,
        }
    }

    pub(crate) fn kill_at(&mut self, process: u32, point: Point) {
        self.armed = Some((process, point));
        self.is_hit = false;
    }

    /// An operation is asked for. An error says that it is not to be done.
    pub(crate) fn comes(&mut self, operation: Operation, path: &str) -> Result<(), Trouble> {
        if self.is_off {
            return Err(Trouble::Failed);
        }
        let Some((process, point)) = &mut self.armed else { return Ok(()) };
        if point.operation != operation || !(point.path)(path) {
            return Ok(());
        }
        if let Some(less) = point.skip.checked_sub(1) {
            point.skip = less;
            return Ok(());
        }
        let process = i32::try_from(*process).ok().and_then(Pid::from_raw);
        // One that has ended already has not come here.
        let is_killed = process.is_some_and(|process| kill_process(process, Signal::KILL).is_ok());
        self.is_hit = is_killed;
        let when = point.when;
        self.armed = None;
        if is_killed && when == When::Before { Err(Trouble::Failed) } else { Ok(()) }
    }

    /// A file is to be synced.
    pub(crate) fn syncs(&mut self) -> Result<(), Trouble> {
        match self.syncs_to_fail.checked_sub(1) {
            None => Ok(()),
            Some(less) => {
                self.syncs_to_fail = less;
                self.syncs_failed += 1;
                Err(Trouble::Failed)
            }
        }
    }

    /// Something needs so much room, where so much is in use.
    pub(crate) fn needs(&mut self, more: u64, used: impl Fn() -> u64) -> Result<(), Trouble> {
        if self.is_full || used().saturating_add(more) > self.room_bytes {
            self.refused_for_room += 1;
            return Err(Trouble::NoRoom);
        }
        Ok(())
    }
}
