//! Where a disk is mounted, and until when.
//!
//! Promise: neither a drop nor the end of the process waits for anybody who still has something
//! open.

use std::io;
use std::path::{Path, PathBuf};

use fuser::{BackgroundSession, Config, MountOption, SessionACL};
use rustix::mount::{UnmountFlags, unmount};

use crate::Disk;
use crate::door::Door;

/// A mounted disk. Dropped, it is mounted no more; who has a file open keeps that alone.
#[derive(Debug)]
pub struct Mounted {
    at: PathBuf,
    _session: BackgroundSession,
}

impl Mounted {
    pub(crate) fn new(disk: Disk, at: &Path) -> io::Result<Self> {
        let at = at.canonicalize()?;
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("faulty-disk".to_owned())];
        config.acl = SessionACL::All;
        let session = fuser::spawn_mount(Door::new(disk), &at, &config)?;
        Ok(Self { at, _session: session })
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // The session's own would fail while something is open. Somebody may have unmounted it
        // already: then there is nothing to do.
        _ = unmount(&self.at, UnmountFlags::DETACH);
    }
}
