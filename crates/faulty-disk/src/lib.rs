//! A disk for tests, mounted as a file system, that does to a real process what disks do: it loses
//! what was not synced when the power goes, fails a sync, is full, and ends the process at a named
//! operation.
//!
//! What survives a power cut is what ext4 and XFS may leave. Of each file the changes
//! since its last sync are in order: a beginning of them survives, and the first that does not is
//! torn at any byte. Names are in one order, as in a journal, and a sync of any directory makes
//! all of them durable; a sync of a file does not make its name durable, so that a directory that
//! nobody syncs shows. A sync that fails leaves its changes seen and never durable, as Linux does.
//!
//! Both are fair. ext4 and XFS write pages back whenever they like, and of one write any part; a
//! process may count on what it synced alone. Their journals commit names in the order in which
//! they were changed, and a rename as one step; that they often commit the name of a synced file
//! too is a habit and no promise. They are harsher than this in one thing: of pages that were not
//! synced a later one may survive without an earlier one.
//! Promise: what a sync has made durable is there after any cut. Invariant: everything is kept in
//! the memory of the test; the process that uses the disk knows nothing of it.
#![forbid(unsafe_code)]

mod attributes;
mod content;
mod door;
mod faults;
mod files;
mod mount;
mod names;
mod operations;

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};

use self::faults::Faults;
pub use self::faults::{Operation, Point, When};
pub use self::files::Lost;
use self::files::{Files, Number, Trouble};
pub use self::mount::Mounted;

/// A disk. Cheap to clone: all clones are the same one.
#[derive(Debug, Clone)]
pub struct Disk(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// The power went: whoever waits for a sync to be over waits no more.
    went: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Syncs a file, which takes as long as it takes.
    fn sync(&self, handle: u64, number: Number) -> Result<(), Trouble> {
        let mut state = self.lock();
        if let Some(takes) = state.faults.sync_takes() {
            let ends = Instant::now() + takes;
            while state.must_be_open(handle).is_ok()
                && !self.went.wait_until(&mut state, ends).timed_out()
            {}
        }
        state.must_be_open(handle)?;
        state.sync(number)
    }
}

#[derive(Debug)]
struct State {
    files: Files,
    faults: Faults,
    /// How often the power went.
    cuts: u64,
}

impl Disk {
    /// An empty disk of so many bytes.
    #[must_use]
    pub fn new(room_bytes: u64) -> Self {
        let state = State { files: Files::new(), faults: Faults::new(room_bytes), cuts: 0 };
        Self(Arc::new(Shared { state: Mutex::new(state), went: Condvar::new() }))
    }

    /// Mounts it on a directory, which takes the rights of root and nothing else: no program and no
    /// library of FUSE.
    ///
    /// # Errors
    /// What the system says.
    pub fn mount(&self, at: &Path) -> io::Result<Mounted> {
        Mounted::new(self.clone(), at)
    }

    /// The power goes. Of what was not synced so much survives as `kept` says: it is given a
    /// count, of changes or of bytes, and answers how many of them. Until [`Disk::power_on`]
    /// nothing can be read or written, and what was open before fails for ever: the process that
    /// had it open is to be ended by the test. `kept` must not use the disk.
    pub fn cut_power(&self, kept: &mut dyn FnMut(usize) -> usize) -> Lost {
        let State { files, faults, cuts } = &mut *self.0.lock();
        faults.is_off = true;
        *cuts += 1;
        self.0.went.notify_all();
        files.cut(kept)
    }

    /// The power is back.
    pub fn power_on(&self) {
        self.0.lock().faults.is_off = false;
    }

    /// From now on a sync of a file takes so long, drawn anew each time, and what it is for is
    /// durable at its end. Other operations go on meanwhile.
    pub fn syncs_take(&self, times: Range<Duration>) {
        self.0.lock().faults.syncs_take = Some(times);
    }

    /// The next so many syncs of files at these paths, as seen from the mount, fail. What they were
    /// for is seen until the next power cut, and no later sync makes it durable.
    pub fn fail_syncs(&self, count: u32, path: fn(&str) -> bool) {
        self.0.lock().faults.fail_syncs(count, path);
    }

    /// How many syncs have failed.
    #[must_use]
    pub fn failed_syncs(&self) -> u64 {
        self.0.lock().faults.syncs_failed
    }

    /// From now on nothing that needs room is done, but for half of the first write that does: the
    /// one that filled the disk.
    pub fn fill(&self) {
        self.0.lock().faults.fill(true);
    }

    /// There is room again.
    pub fn make_room(&self) {
        self.0.lock().faults.fill(false);
    }

    /// How many operations were refused for want of room.
    #[must_use]
    pub fn refused_for_room(&self) -> u64 {
        self.0.lock().faults.refused_for_room
    }

    /// Ends a process with SIGKILL when the disk comes to a point, whoever asks for it; instead of
    /// at any point before. The operation is answered only after that, so that nothing of the
    /// thread that asked follows.
    pub fn kill_at(&self, process: u32, point: Point) {
        self.0.lock().faults.kill_at(process, point);
    }

    /// The process of [`Disk::kill_at`] came there.
    #[must_use]
    pub fn point_hit(&self) -> bool {
        self.0.lock().faults.is_hit
    }

    /// How many operations of a kind were asked for while the power was on.
    #[must_use]
    pub fn operations(&self, operation: Operation) -> u64 {
        self.0.lock().faults.counted(operation)
    }

    /// The disk rots: one bit of a file flips, counted from its beginning, durable or not. It is
    /// seen by whoever opens the file after that.
    ///
    /// # Errors
    /// If there is no such file, as seen from the mount, or it is too short.
    pub fn flip_bit(&self, path: &str, bit: u64) -> io::Result<()> {
        let files = &mut self.0.lock().files;
        let flipped = files.find(path).and_then(|number| files.flip(number, bit));
        let refused = |trouble| io::Error::from_raw_os_error(door::errno(trouble).code());
        if flipped.map_err(refused)? {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{path} has no bit {bit}")))
    }
}
