//! Files and directories as the kernel wants them described.

use std::ffi::OsStr;

use fuser::{FileAttr, FileType, INodeNo, Request};

use crate::files::{Described, Number, Trouble};
use crate::{State, operations};

pub(crate) const BLOCK_BYTES: u32 = 4096;

pub(crate) fn kind(is_directory: bool) -> FileType {
    if is_directory { FileType::Directory } else { FileType::RegularFile }
}

/// The bits of a mode that are rights.
pub(crate) fn rights(mode: u32) -> u16 {
    u16::try_from(mode & 0o7777).unwrap_or_default()
}

impl State {
    pub(crate) fn attributes(&self, number: Number) -> Result<FileAttr, Trouble> {
        let (described, size) = (self.files.described(number)?, self.files.length(number)?);
        let Described { is_directory, mode, owner, modified } = described;
        Ok(FileAttr {
            ino: INodeNo(number),
            size,
            blocks: size.div_ceil(512),
            atime: *modified,
            mtime: *modified,
            ctime: *modified,
            crtime: *modified,
            kind: kind(*is_directory),
            perm: *mode,
            nlink: self.files.names(number)?,
            uid: owner.0,
            gid: owner.1,
            rdev: 0,
            blksize: BLOCK_BYTES,
            flags: 0,
        })
    }

    /// Makes a file or a directory.
    pub(crate) fn make(
        &mut self,
        request: &Request,
        directory: Number,
        name: &OsStr,
        is_directory: bool,
        mode: u32,
    ) -> Result<FileAttr, Trouble> {
        let owner = (request.uid(), request.gid());
        let described = operations::new(is_directory, rights(mode), owner);
        let made = self.create(directory, name, described)?;
        self.attributes(made)
    }
}
