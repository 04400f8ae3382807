//! A snapshot as it arrives from another node, file by file.
//!
//! Promise: what arrived before a connection was lost need not be sent again; a snapshot is handed
//! over only with every file as it was sent and on the disk.
//! Invariant: nothing is written outside the staging directory, and no more than was announced.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::disk;
use crate::error::StoreError;
use crate::files;

use super::StateStore;
use super::snapshot::{MANIFEST, Manifest, Snapshot, described};

/// Bytes of a manifest.
const MANIFEST_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A file that is not whole yet, and from where on it is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// As the manifest names it.
    pub name: String,
    /// So many bytes are here.
    pub offset: u64,
}

/// A snapshot that is being received.
#[derive(Debug)]
pub struct Incoming {
    dir: PathBuf,
    manifest: Manifest,
    open: Option<(File, u64)>,
}

impl StateStore {
    /// Begins to receive the snapshot of a manifest, or goes on where that stopped.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if the manifest makes no sense, [`StoreError::NotNewer`] if the
    /// state is as new, [`StoreError::NoRoom`] if the disk has no room for it.
    pub fn receive(&self, manifest: &[u8]) -> Result<Incoming, StoreError> {
        let known = Manifest::of_bytes(manifest.get(..MANIFEST_BYTES_MAX).unwrap_or(manifest))?;
        let (offered, current) = (known.index, self.applied().map_or(0, |applied| applied.index));
        if current >= offered {
            return Err(StoreError::NotNewer { offered, current });
        }
        for file in &known.files {
            if !is_plain(&file.name) {
                let what = format!("a snapshot with a file that is called {:?}", file.name);
                return Err(StoreError::damaged(what));
            }
        }
        let dir = self.data_dir.join("snap").join("tmp-incoming");
        let is_same = files::read_if_there(&dir.join(MANIFEST))?.as_deref() == Some(manifest);
        if !is_same {
            keep_only(&dir, &known)?;
        }
        let incoming = Incoming { dir, manifest: known, open: None };
        let missing = incoming.missing_bytes()?;
        let free = disk::space(&self.data_dir)?.free_bytes;
        if missing > free {
            return Err(StoreError::NoRoom { needed: missing, free });
        }
        if !is_same {
            files::create_dir(&incoming.dir)?;
            files::write_atomic(&incoming.dir.join(MANIFEST), manifest)?;
        }
        Ok(incoming)
    }
}

/// Of what arrived of another snapshot, keeps the files that this one has too: tables do not
/// change, and most of them are in the next snapshot again.
fn keep_only(dir: &Path, wanted: &Manifest) -> Result<(), StoreError> {
    let before = files::read_if_there(&dir.join(MANIFEST))?;
    let Some(before) = before.and_then(|bytes| Manifest::of_bytes(&bytes).ok()) else {
        return files::remove(dir);
    };
    for name in files::names(dir)? {
        let known = before.files.iter().find(|file| file.name == name);
        if known.is_none_or(|file| !wanted.files.contains(file)) && name != MANIFEST {
            files::remove(&dir.join(name))?;
        }
    }
    Ok(())
}

impl Incoming {
    /// What is to be sent.
    ///
    /// # Errors
    /// If the disk does not say what is here.
    pub fn wanted(&self) -> Result<Vec<Wanted>, StoreError> {
        let mut wanted = Vec::new();
        for file in &self.manifest.files {
            let offset = length(&self.dir.join(&file.name))?;
            // An empty file is made when it is named.
            if offset != Some(file.bytes) {
                let offset = offset.filter(|offset| *offset < file.bytes).unwrap_or(0);
                wanted.push(Wanted { name: file.name.clone(), offset });
            }
        }
        Ok(wanted)
    }

    /// Compares what arrived with what was announced, and throws away what is not as it was sent.
    /// Says what is to be sent, again or at all; nothing of a whole snapshot.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn check(&mut self) -> Result<Vec<Wanted>, StoreError> {
        self.close()?;
        for file in &self.manifest.files {
            let path = self.dir.join(&file.name);
            let is_whole = length(&path)? == Some(file.bytes);
            if is_whole && described(&self.dir, file.name.clone())? != *file {
                files::remove(&path)?;
            }
        }
        self.wanted()
    }

    fn missing_bytes(&self) -> Result<u64, StoreError> {
        let all: u64 = self.manifest.files.iter().map(|file| file.bytes).sum();
        let mut here = 0;
        for file in &self.manifest.files {
            here += length(&self.dir.join(&file.name))?.unwrap_or(0);
        }
        Ok(all.saturating_sub(here))
    }

    /// The chunks that follow belong to this file, from here on.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if there is no such file or place.
    pub fn file(&mut self, name: &str, offset: u64) -> Result<(), StoreError> {
        let found = self.manifest.files.iter().find(|file| file.name == name);
        let Some(rest) = found.and_then(|file| file.bytes.checked_sub(offset)) else {
            return Err(StoreError::damaged(format!("snapshot: no file {name:?} at {offset}")));
        };
        self.close()?;
        let path = self.dir.join(name);
        let failed = |error| StoreError::file("write", &path, error);
        let opened = OpenOptions::new().create(true).append(true).open(&path).map_err(failed)?;
        opened.set_len(offset).map_err(failed)?;
        self.open = Some((opened, rest));
        Ok(())
    }

    /// Takes bytes of the file that was named last.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if there are more than were announced, or the disk refuses.
    pub fn chunk(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let more = || StoreError::damaged("snapshot: more bytes than it has");
        let (file, rest) = self.open.as_mut().ok_or_else(more)?;
        *rest = rest.checked_sub(bytes.len() as u64).ok_or_else(more)?;
        file.write_all(bytes).map_err(|error| StoreError::file("write", &self.dir, error))
    }

    fn close(&mut self) -> Result<(), StoreError> {
        let Some((file, _)) = self.open.take() else { return Ok(()) };
        file.sync_all().map_err(|error| StoreError::file("sync", &self.dir, error))
    }

    /// Ends it once [`Incoming::check`] wants nothing more.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if a file is missing, or if the image is not what the manifest says:
    /// all of it is thrown away then.
    pub fn finish(mut self) -> Result<Snapshot, StoreError> {
        self.close()?;
        if let Some(Wanted { name, offset }) = self.wanted()?.first() {
            return Err(StoreError::damaged(format!("snapshot: {name} ends at {offset}")));
        }
        files::sync(&self.dir)?;
        let snapshot = Snapshot { dir: self.dir, manifest: self.manifest };
        if let Err(error) = snapshot.verify_image() {
            files::remove(&snapshot.dir)?;
            return Err(error);
        }
        Ok(snapshot)
    }
}

/// One name, and none that means something else.
fn is_plain(name: &str) -> bool {
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !name.is_empty() && name != MANIFEST && !name.starts_with('.') && name.bytes().all(is_good)
}

fn length(path: &Path) -> Result<Option<u64>, StoreError> {
    match fs::metadata(path) {
        Ok(found) => Ok(Some(found.len())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StoreError::file("look at", path, error)),
    }
}
