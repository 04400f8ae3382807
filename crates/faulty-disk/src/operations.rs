//! Each operation on the disk, and where its faults come in.
//!
//! Promise: while the power is off nothing is done. Invariant: an operation is done as a whole or
//! not at all, but for a write that finds too little room.

use std::ffi::OsStr;
use std::time::SystemTime;

use crate::State;
use crate::faults::{Operation, When};
use crate::files::{Described, Files, Number, Trouble};

/// `FALLOC_FL_KEEP_SIZE`.
const KEEP_SIZE: i32 = 1;

impl State {
    /// What the kernel knows a file as that was opened now: by nothing of it after a power cut.
    pub(crate) fn handle(&self) -> u64 {
        self.cuts
    }

    /// Whether the power was on ever since a file was opened.
    pub(crate) fn must_be_open(&self, handle: u64) -> Result<(), Trouble> {
        self.faults.must_be_on()?;
        if handle == self.cuts { Ok(()) } else { Err(Trouble::Failed) }
    }

    /// Does an operation, unless a process ends before it.
    fn operate<T>(
        &mut self,
        operation: Operation,
        paths: impl FnOnce(&Files) -> Vec<String>,
        operated: impl FnOnce(&mut Self) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        self.faults.must_be_on()?;
        self.faults.count(operation);
        let is_point = self.faults.is_point(operation, || paths(&self.files));
        if is_point && self.faults.comes(When::Before) {
            return Err(Trouble::Failed);
        }
        let operated = operated(self)?;
        if is_point {
            _ = self.faults.comes(When::After);
        }
        Ok(operated)
    }

    fn must_have_room_for_a_name(&mut self) -> Result<(), Trouble> {
        self.faults.needs(0, self.files.used())
    }

    pub(crate) fn create(
        &mut self,
        directory: Number,
        name: &OsStr,
        described: Described,
    ) -> Result<Number, Trouble> {
        let paths = |files: &Files| vec![files.path_of(directory, name)];
        self.operate(Operation::Create, paths, |state| {
            state.must_have_room_for_a_name()?;
            state.files.create(directory, name, described)
        })
    }

    /// Writes as much as there is room for; says how much.
    pub(crate) fn write(
        &mut self,
        number: Number,
        offset: u64,
        bytes: &[u8],
    ) -> Result<usize, Trouble> {
        self.operate(
            Operation::Write,
            |files| files.paths(number),
            |state| {
                let State { files, faults, .. } = state;
                let count = bytes.len() as u64;
                let more = more(files, number, offset.saturating_add(count))?;
                let fitting =
                    if more > 0 { faults.fitting(count, more, files.used())? } else { count };
                let fitting = usize::try_from(fitting).unwrap_or(bytes.len());
                files.write(number, offset, &bytes[..fitting])?;
                Ok(fitting)
            },
        )
    }

    pub(crate) fn set_length(&mut self, number: Number, length: u64) -> Result<(), Trouble> {
        self.operate(
            Operation::Write,
            |files| files.paths(number),
            |state| {
                state.must_have_room(number, length)?;
                state.files.set_length(number, length)
            },
        )
    }

    /// What is allocated and not written is not kept for the file: a write may still be refused.
    pub(crate) fn allocate(&mut self, number: Number, end: u64, mode: i32) -> Result<(), Trouble> {
        self.faults.must_be_on()?;
        if mode & !KEEP_SIZE != 0 {
            return Err(Trouble::Unknown);
        }
        let is_longer = self.must_have_room(number, end)?;
        if mode == 0 && is_longer { self.files.set_length(number, end) } else { Ok(()) }
    }

    /// Says whether a file gets longer by an end.
    fn must_have_room(&mut self, number: Number, end: u64) -> Result<bool, Trouble> {
        let more = more(&self.files, number, end)?;
        if more > 0 {
            self.faults.needs(more, self.files.used())?;
        }
        Ok(more > 0)
    }

    pub(crate) fn sync(&mut self, number: Number) -> Result<(), Trouble> {
        self.operate(
            Operation::Sync,
            |files| files.paths(number),
            |state| {
                if let Err(trouble) = state.faults.syncs(&state.files.paths(number)) {
                    state.files.sync_failed(number);
                    return Err(trouble);
                }
                state.files.sync(number)
            },
        )
    }

    pub(crate) fn sync_directory(&mut self, number: Number) -> Result<(), Trouble> {
        self.operate(
            Operation::SyncDirectory,
            |files| files.paths(number),
            |state| {
                state.files.sync_names();
                Ok(())
            },
        )
    }

    pub(crate) fn rename(
        &mut self,
        from: (Number, &OsStr),
        to: (Number, &OsStr),
        replaces: bool,
    ) -> Result<(), Trouble> {
        let paths = |files: &Files| vec![files.path_of(to.0, to.1)];
        let rename = |state: &mut Self| state.files.rename(from, to, replaces);
        self.operate(Operation::Rename, paths, rename)
    }

    pub(crate) fn link(&mut self, number: Number, to: (Number, &OsStr)) -> Result<(), Trouble> {
        let paths = |files: &Files| vec![files.path_of(to.0, to.1)];
        self.operate(Operation::Link, paths, |state| {
            state.must_have_room_for_a_name()?;
            state.files.link(number, to.0, to.1)
        })
    }

    pub(crate) fn remove(
        &mut self,
        directory: Number,
        name: &OsStr,
        is_directory: bool,
    ) -> Result<(), Trouble> {
        let paths = |files: &Files| vec![files.path_of(directory, name)];
        let remove = |state: &mut Self| state.files.remove(directory, name, is_directory);
        self.operate(Operation::Remove, paths, remove)
    }
}

/// How much longer a file gets by an end.
fn more(files: &Files, number: Number, end: u64) -> Result<u64, Trouble> {
    Ok(end.saturating_sub(files.length(number)?))
}

/// A file or a directory that is made now.
pub(crate) fn new(is_directory: bool, mode: u16, owner: (u32, u32)) -> Described {
    Described { is_directory, mode, owner, modified: SystemTime::now() }
}
