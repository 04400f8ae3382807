//! The disk as the kernel asks for it.
//!
//! Invariant: nothing is cached by the kernel beyond one call, so that after a power cut a new
//! process sees what is there.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use fuser::{
    AccessFlags, BackgroundSession, BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType,
    Filesystem, FopenFlags, Generation, INodeNo, KernelConfig, LockOwner, MountOption, OpenFlags,
    RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry,
    ReplyOpen, ReplyStatfs, ReplyWrite, Request, SessionACL, TimeOrNow, WriteFlags,
};
use parking_lot::Mutex;

use crate::faults::Operation;
use crate::files::{Described, Number, ROOT, Trouble};
use crate::{Disk, State};

/// What the kernel may keep for how long: nothing.
const KEPT: Duration = Duration::ZERO;
const BLOCK_BYTES: u32 = 4096;
const WRITE_BYTES_MAX: u32 = 1024 * 1024;
/// `FALLOC_FL_KEEP_SIZE`.
const KEEP_SIZE: i32 = 1;

/// A mounted disk. Dropped, it is mounted no more.
#[derive(Debug)]
pub struct Mounted(#[expect(dead_code, reason = "held until it is dropped")] BackgroundSession);

impl Mounted {
    pub(crate) fn new(disk: Disk, at: &Path) -> io::Result<Self> {
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("faulty-disk".to_owned())];
        config.acl = SessionACL::All;
        let door = Door { disk, listings: Mutex::default(), next: AtomicU64::new(1) };
        fuser::spawn_mount(door, at, &config).map(Self)
    }
}

type Listing = Vec<(Number, FileType, OsString)>;

struct Door {
    disk: Disk,
    /// What was in a directory when it was opened: names go while they are read.
    listings: Mutex<HashMap<u64, Listing>>,
    next: AtomicU64,
}

fn errno(trouble: Trouble) -> Errno {
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

fn kind(is_directory: bool) -> FileType {
    if is_directory { FileType::Directory } else { FileType::RegularFile }
}

fn attributes(number: Number, described: &Described, size: u64) -> FileAttr {
    let Described { is_directory, mode, owner, modified, names } = described;
    FileAttr {
        ino: INodeNo(number),
        size,
        blocks: size.div_ceil(512),
        atime: *modified,
        mtime: *modified,
        ctime: *modified,
        crtime: *modified,
        kind: kind(*is_directory),
        perm: *mode,
        nlink: *names,
        uid: owner.0,
        gid: owner.1,
        rdev: 0,
        blksize: BLOCK_BYTES,
        flags: 0,
    }
}

/// The bits of a mode that are rights.
fn rights(mode: u32) -> u16 {
    u16::try_from(mode & 0o7777).unwrap_or_default()
}

impl State {
    fn attributes(&self, number: Number) -> Result<FileAttr, Trouble> {
        let (described, size) = self.files.described(number)?;
        Ok(attributes(number, described, size))
    }

    fn make(
        &mut self,
        request: &Request,
        directory: Number,
        name: &OsStr,
        is_directory: bool,
        mode: u32,
    ) -> Result<FileAttr, Trouble> {
        let Self { files, faults } = self;
        faults.comes(Operation::Create, &files.path_of(directory, name))?;
        faults.needs(0, || files.used())?;
        let owner = (request.uid(), request.gid());
        let made = files.create(directory, name, is_directory, rights(mode), owner)?;
        self.attributes(made)
    }

    /// Writes as much as there is room for; says how much.
    fn write(&mut self, number: Number, offset: u64, bytes: &[u8]) -> Result<usize, Trouble> {
        let Self { files, faults } = self;
        faults.comes(Operation::Write, &files.path(number))?;
        let more = files.grows(number, offset, bytes.len())?;
        let mut fits = bytes.len();
        if more > 0 && faults.needs(more, || files.used()).is_err() {
            // As a disk that is full in the middle of it.
            fits = bytes.len() / 2;
            if fits == 0 || faults.refused_for_room.is_multiple_of(2) {
                return Err(Trouble::NoRoom);
            }
        }
        files.write(number, offset, &bytes[..fits])?;
        Ok(fits)
    }

    fn sync(&mut self, number: Number) -> Result<(), Trouble> {
        let Self { files, faults } = self;
        faults.comes(Operation::Sync, &files.path(number))?;
        if let Err(trouble) = faults.syncs() {
            files.sync_failed(number);
            return Err(trouble);
        }
        files.sync(number)
    }

    fn sync_directory(&mut self, number: Number) -> Result<(), Trouble> {
        let Self { files, faults } = self;
        faults.comes(Operation::SyncDirectory, &files.path(number))?;
        files.sync_names();
        Ok(())
    }

    fn remove(
        &mut self,
        directory: Number,
        name: &OsStr,
        is_directory: bool,
    ) -> Result<(), Trouble> {
        let Self { files, faults } = self;
        faults.comes(Operation::Remove, &files.path_of(directory, name))?;
        files.remove(directory, name, is_directory)
    }

    fn rename(
        &mut self,
        from: (Number, &OsStr),
        to: (Number, &OsStr),
        flags: RenameFlags,
    ) -> Result<(), Trouble> {
        let Self { files, faults } = self;
        faults.comes(Operation::Rename, &files.path_of(to.0, to.1))?;
        if !(flags - RenameFlags::RENAME_NOREPLACE).is_empty() {
            return Err(Trouble::Unknown);
        }
        files.rename(from, to, flags.is_empty())
    }

    fn link(&mut self, number: Number, to: (Number, &OsStr)) -> Result<FileAttr, Trouble> {
        let Self { files, faults } = self;
        faults.comes(Operation::Link, &files.path_of(to.0, to.1))?;
        faults.needs(0, || files.used())?;
        files.link(number, to.0, to.1)?;
        self.attributes(number)
    }

    fn set_length(&mut self, number: Number, length: u64) -> Result<(), Trouble> {
        let Self { files, faults } = self;
        faults.comes(Operation::Write, &files.path(number))?;
        let more = files.grows(number, length, 0)?;
        if more > 0 {
            faults.needs(more, || files.used())?;
        }
        files.set_length(number, length)
    }

    fn allocate(&mut self, number: Number, end: u64, mode: i32) -> Result<(), Trouble> {
        if mode & !KEEP_SIZE != 0 {
            return Err(Trouble::Unknown);
        }
        let more = self.files.grows(number, end, 0)?;
        self.faults.needs(more, || self.files.used())?;
        match mode {
            0 if more > 0 => self.files.set_length(number, end),
            _ => Ok(()),
        }
    }

    fn is_on(&self) -> Result<(), Trouble> {
        if self.faults.is_off { Err(Trouble::Failed) } else { Ok(()) }
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
        let found = state.is_on().and_then(|()| state.files.look_up(parent.0, name));
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
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mut state = self.disk.0.lock();
        let mut set = || {
            state.is_on()?;
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
            FileHandle(0),
            FopenFlags::empty()
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
        let done = state.rename((parent.0, name), (newparent.0, newname), flags);
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
        let done = self.disk.0.lock().link(ino.0, (newparent.0, newname));
        answer!(done, reply, |found| reply.entry(&KEPT, &found, Generation(0)));
    }

    fn open(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let mut state = self.disk.0.lock();
        let done = state.is_on().and_then(|()| state.files.open(ino.0));
        answer!(done, reply, |()| reply.opened(FileHandle(0), FopenFlags::empty()));
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let state = self.disk.0.lock();
        let done = state.is_on().and_then(|()| state.files.read(ino.0, offset, size));
        answer!(done, reply, |bytes| reply.data(bytes));
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let done = self.disk.0.lock().write(ino.0, offset, data);
        answer!(done, reply, |count| {
            reply.written(u32::try_from(count).expect("no more than was asked for"));
        });
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn release(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        self.disk.0.lock().files.close(ino.0);
        reply.ok();
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        let done = self.disk.0.lock().sync(ino.0);
        answer!(done, reply, |()| reply.ok());
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        let done = self.disk.0.lock().sync_directory(ino.0);
        answer!(done, reply, |()| reply.ok());
    }

    fn opendir(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let state = self.disk.0.lock();
        if let Err(trouble) = state.is_on() {
            return reply.error(errno(trouble));
        }
        let own = [".", ".."].map(|name| (ino.0, FileType::Directory, OsString::from(name)));
        let listed = state
            .files
            .list(ino.0)
            .into_iter()
            .map(|(number, name)| (number, kind(state.files.is_directory(number)), name));
        let listing = own.into_iter().chain(listed).collect();
        let handle = self.next.fetch_add(1, Ordering::Relaxed);
        self.listings.lock().insert(handle, listing);
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
        let listings = self.listings.lock();
        let listing = listings.get(&fh.0).map_or(&[][..], Vec::as_slice);
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        for ((number, kind, name), next) in listing.iter().zip(1..).skip(from) {
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
        let size = state.faults.room_bytes;
        let free = if state.faults.is_full { 0 } else { size.saturating_sub(state.files.used()) };
        let (size, free) = (blocks(size), blocks(free));
        reply.statfs(size, free, free, 1 << 20, 1 << 20, BLOCK_BYTES, 255, BLOCK_BYTES);
    }

    fn access(&self, _: &Request, _: INodeNo, _: AccessFlags, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fallocate(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let end = offset.saturating_add(length);
        let mut state = self.disk.0.lock();
        let done = state.is_on().and_then(|()| state.allocate(ino.0, end, mode));
        answer!(done, reply, |()| reply.ok());
    }
}

const _: () = assert!(ROOT == 1, "the kernel begins there");
