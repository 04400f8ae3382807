//! The disk as the kernel asks for it.
//!
//! Invariant: nothing is cached by the kernel beyond one call, so that after a power cut a new
//! process sees what is there.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use fuser::{
    AccessFlags, BsdFileFlags, Errno, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, KernelConfig, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow,
    WriteFlags,
};
use parking_lot::Mutex;

use crate::attributes::{BLOCK_BYTES, kind, rights};
use crate::files::{Number, ROOT, Trouble};
use crate::{Disk, State};

/// What the kernel may keep for how long: nothing.
const KEPT: Duration = Duration::ZERO;
const WRITE_BYTES_MAX: u32 = 1024 * 1024;
/// A close asks nothing, since all is written by then. It would wait for an answer, for ever if
/// the process that closes has ended the threads that give it.
const OPENED: FopenFlags = FopenFlags::FOPEN_NOFLUSH;

/// What was in a directory when it was opened: names go while they are read.
struct Listing {
    /// As of a file.
    handle: u64,
    entries: Vec<(Number, FileType, OsString)>,
}

pub(crate) struct Door {
    disk: Disk,
    listings: Mutex<HashMap<u64, Listing>>,
    next: AtomicU64,
}

impl Door {
    pub(crate) fn new(disk: Disk) -> Self {
        Self { disk, listings: Mutex::default(), next: AtomicU64::new(1) }
    }

    /// As of a file: whether the power was on ever since a directory was opened.
    fn must_be_open(&self, state: &State, directory: FileHandle) -> Result<(), Trouble> {
        let handle = self.listings.lock().get(&directory.0).map(|listing| listing.handle);
        state.must_be_open(handle.ok_or(Trouble::Failed)?)
    }
}

pub(crate) fn errno(trouble: Trouble) -> Errno {
    match trouble {
        Trouble::NotThere => Errno::ENOENT,
        Trouble::Exists => Errno::EEXIST,
        Trouble::NotEmpty => Errno::ENOTEMPTY,
        Trouble::IsDirectory => Errno::EISDIR,
        Trouble::NotDirectory => Errno::ENOTDIR,
        Trouble::Unknown => Errno::EOPNOTSUPP,
        Trouble::NoRoom => Errno::ENOSPC,
        Trouble::Failed => Errno::EIO,
    }
}

/// Answers with what was done, or with why not.
macro_rules! answer {
    ($done:expr, $reply:ident, |$value:pat_param| $good:expr) => {
        match $done {
            Ok($value) => $good,
            Err(trouble) => $reply.error(errno(trouble)),
        }
    };
}

impl Filesystem for Door {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        // The kernel names its own limit where this is more.
        if let Err(most) = config.set_max_write(WRITE_BYTES_MAX) {
            _ = config.set_max_write(most);
        }
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let state = self.disk.0.lock();
        let found = state.faults.must_be_on().and_then(|()| state.files.look_up(parent.0, name));
        let found = found.and_then(|number| state.attributes(number));
        answer!(found, reply, |found| reply.entry(&KEPT, &found, Generation(0)));
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        let found = self.disk.0.lock().attributes(ino.0);
        answer!(found, reply, |found| reply.attr(&KEPT, &found));
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _: Option<SystemTime>,
        fh: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mut state = self.disk.0.lock();
        let mut set = || {
            state.must_be_open(fh.map_or(state.handle(), |handle| handle.0))?;
            if let Some(length) = size {
                state.set_length(ino.0, length)?;
            }
            let described = state.files.describe(ino.0)?;
            described.mode = mode.map_or(described.mode, rights);
            let (user, group) = described.owner;
            described.owner = (uid.unwrap_or(user), gid.unwrap_or(group));
            match mtime {
                Some(TimeOrNow::SpecificTime(time)) => described.modified = time,
                Some(TimeOrNow::Now) => described.modified = SystemTime::now(),
                None => {}
            }
            state.attributes(ino.0)
        };
        answer!(set(), reply, |found| reply.attr(&KEPT, &found));
    }

    fn mkdir(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _: u32,
        reply: ReplyEntry,
    ) {
        let made = self.disk.0.lock().make(request, parent.0, name, true, mode);
        answer!(made, reply, |made| reply.entry(&KEPT, &made, Generation(0)));
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _: u32,
        _: i32,
        reply: ReplyCreate,
    ) {
        let mut state = self.disk.0.lock();
        let made = state.make(request, parent.0, name, false, mode);
        let made = made.and_then(|made| state.files.open(made.ino.0).map(|()| made));
        answer!(made, reply, |made| reply.created(
            &KEPT,
            &made,
            Generation(0),
            FileHandle(state.handle()),
            OPENED
        ));
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let done = self.disk.0.lock().remove(parent.0, name, false);
        answer!(done, reply, |()| reply.ok());
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let done = self.disk.0.lock().remove(parent.0, name, true);
        answer!(done, reply, |()| reply.ok());
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let mut state = self.disk.0.lock();
        let (from, to) = ((parent.0, name), (newparent.0, newname));
        let done = match flags {
            _ if flags.is_empty() => state.rename(from, to, true),
            RenameFlags::RENAME_NOREPLACE => state.rename(from, to, false),
            _ => Err(Trouble::Unknown),
        };
        answer!(done, reply, |()| reply.ok());
    }

    fn link(
        &self,
        _: &Request,
        ino: INodeNo,
        newparent: INodeNo,
        newname: &OsStr,
        reply: ReplyEntry,
    ) {
        let mut state = self.disk.0.lock();
        let linked = state.link(ino.0, (newparent.0, newname));
        let found = linked.and_then(|()| state.attributes(ino.0));
        answer!(found, reply, |found| reply.entry(&KEPT, &found, Generation(0)));
    }

    fn open(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let mut state = self.disk.0.lock();
        let done = state.faults.must_be_on().and_then(|()| state.files.open(ino.0));
        answer!(done, reply, |()| reply.opened(FileHandle(state.handle()), OPENED));
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let state = self.disk.0.lock();
        let done = state.must_be_open(fh.0).and_then(|()| state.files.read(ino.0, offset, size));
        answer!(done, reply, |bytes| reply.data(bytes));
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let mut state = self.disk.0.lock();
        let done = state.must_be_open(fh.0).and_then(|()| state.write(ino.0, offset, data));
        answer!(done, reply, |count| {
            reply.written(u32::try_from(count).expect("no more than was asked for"));
        });
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        // The kernel asks no more.
        reply.error(Errno::ENOSYS);
    }

    fn release(
        &self,
        _: &Request,
        ino: INodeNo,
        fh: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        let mut state = self.disk.0.lock();
        // A power cut has closed those of before.
        if fh.0 == state.handle() {
            state.files.close(ino.0);
        }
        reply.ok();
    }

    fn fsync(&self, _: &Request, ino: INodeNo, fh: FileHandle, _: bool, reply: ReplyEmpty) {
        let disk = self.disk.0.clone();
        // It may take its time, and others do not wait for it.
        thread::spawn(move || {
            let done = disk.sync(fh.0, ino.0);
            answer!(done, reply, |()| reply.ok());
        });
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, fh: FileHandle, _: bool, reply: ReplyEmpty) {
        let mut state = self.disk.0.lock();
        let is_open = self.must_be_open(&state, fh);
        let done = is_open.and_then(|()| state.sync_directory(ino.0));
        answer!(done, reply, |()| reply.ok());
    }

    fn opendir(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let state = self.disk.0.lock();
        if let Err(trouble) = state.faults.must_be_on() {
            return reply.error(errno(trouble));
        }
        let own = [".", ".."].map(|name| (ino.0, FileType::Directory, OsString::from(name)));
        let listed = state
            .files
            .list(ino.0)
            .map(|(name, number)| (number, kind(state.files.is_directory(number)), name.clone()));
        let entries = own.into_iter().chain(listed).collect();
        let handle = self.next.fetch_add(1, Ordering::Relaxed);
        self.listings.lock().insert(handle, Listing { handle: state.handle(), entries });
        reply.opened(FileHandle(handle), FopenFlags::empty());
    }

    fn readdir(
        &self,
        _: &Request,
        _: INodeNo,
        fh: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        if let Err(trouble) = self.must_be_open(&self.disk.0.lock(), fh) {
            return reply.error(errno(trouble));
        }
        let listings = self.listings.lock();
        let entries = listings.get(&fh.0).map_or(&[][..], |listing| &listing.entries);
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        for ((number, kind, name), next) in entries.iter().zip(1..).skip(from) {
            if reply.add(INodeNo(*number), next, *kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn releasedir(&self, _: &Request, _: INodeNo, fh: FileHandle, _: OpenFlags, reply: ReplyEmpty) {
        self.listings.lock().remove(&fh.0);
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let state = self.disk.0.lock();
        let blocks = |bytes: u64| bytes / u64::from(BLOCK_BYTES);
        let free = blocks(state.faults.free(state.files.used()));
        let size = blocks(state.faults.room_bytes);
        reply.statfs(size, free, free, 1 << 20, 1 << 20, BLOCK_BYTES, 255, BLOCK_BYTES);
    }

    fn access(&self, _: &Request, _: INodeNo, _: AccessFlags, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fallocate(
        &self,
        _: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let end = offset.saturating_add(length);
        let mut state = self.disk.0.lock();
        let done = state.must_be_open(fh.0).and_then(|()| state.allocate(ino.0, end, mode));
        answer!(done, reply, |()| reply.ok());
    }
}

const _: () = assert!(ROOT == 1, "the kernel begins there");
