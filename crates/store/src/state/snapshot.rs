//! Snapshots: a RocksDB checkpoint with a manifest of every file, published by a rename.
//!
//! Promise: a published snapshot is whole and on the disk, and the live state is durable at least
//! as far, so that the log behind it may be purged.
//! Invariant: the applied entry is read from the image itself; an older snapshot is never
//! published over a newer one.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use minicbor::{Decode, Encode};
use sha2::{Digest as _, Sha256};
use types::Digest;
use types::codec::{decode, encode};

use crate::engine::checkpoint::Checkpoint;
use crate::error::{Context as _, StoreError};
use crate::failpoint;
use crate::files;
use crate::meters::Taking;

use super::generation::FORMAT;
use super::{AppliedMeta, StateStore, generation};

/// Published snapshots that are kept: a peer may still be reading the one before the newest.
const SNAPSHOTS_KEPT: usize = 2;
pub(super) const MANIFEST: &str = "manifest";
/// Files of the database that never change once they are written.
const TABLE_ENDING: &str = ".sst";

/// One file of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct SnapshotFile {
    /// Its name inside the snapshot's directory.
    #[n(0)]
    pub name: String,
    /// Its length in bytes.
    #[n(1)]
    pub bytes: u64,
    /// SHA-256 of its content.
    #[n(2)]
    pub digest: Digest,
}

/// What a snapshot holds.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Manifest {
    #[n(0)]
    format: u64,
    /// Index of the last entry it contains.
    #[n(1)]
    pub index: u64,
    /// Its whole id, as the replica encodes it.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub applied: Vec<u8>,
    /// The membership in force there, as the replica encodes it.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub membership: Vec<u8>,
    /// Every file, by name.
    #[n(4)]
    pub files: Vec<SnapshotFile>,
}

impl Manifest {
    fn meta(&self) -> AppliedMeta {
        AppliedMeta {
            index: self.index,
            applied: self.applied.clone(),
            membership: self.membership.clone(),
        }
    }

    /// The bytes that lie beside the files.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = encode(self);
        bytes.extend(crc32c::crc32c(&bytes).to_be_bytes());
        bytes
    }

    pub(super) fn of_bytes(bytes: &[u8]) -> Result<Self, StoreError> {
        let damaged = |what: String| StoreError::damaged(format!("snapshot manifest: {what}"));
        let body = bytes.len().checked_sub(4).ok_or_else(|| damaged("short".into()))?;
        let (body, checksum) = bytes.split_at(body);
        if crc32c::crc32c(body).to_be_bytes() != checksum {
            crate::error::checksum_failed();
            return Err(damaged("its checksum differs".into()));
        }
        let manifest: Self =
            decode(body, "manifest").map_err(|error| damaged(error.to_string()))?;
        if manifest.format != FORMAT {
            return Err(StoreError::Format { known: FORMAT });
        }
        Ok(manifest)
    }

    /// Reads the manifest of a snapshot directory.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if it is missing or does not make sense.
    pub fn read(dir: &Path) -> Result<Self, StoreError> {
        let bytes = files::read_if_there(&dir.join(MANIFEST))?
            .ok_or_else(|| StoreError::damaged(format!("{} has no manifest", dir.display())))?;
        Self::of_bytes(&bytes)
    }
}

/// A snapshot that stays while this is kept; what a crash leaves of it the next start removes.
#[derive(Debug)]
pub struct Held(Snapshot);

impl Deref for Held {
    type Target = Snapshot;

    fn deref(&self) -> &Snapshot {
        &self.0
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        _ = files::remove(&self.0.dir);
    }
}

/// A whole snapshot in its directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Where its files are.
    pub dir: PathBuf,
    /// What they are.
    pub manifest: Manifest,
}

impl Snapshot {
    /// Opens a snapshot directory without checking its files.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if the manifest is.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        Ok(Self { dir: dir.to_owned(), manifest: Manifest::read(dir)? })
    }

    /// Copies the snapshot to a new directory.
    ///
    /// # Errors
    /// If a file is missing, or the disk refuses.
    pub fn copy_to(&self, dir: PathBuf) -> Result<Self, StoreError> {
        unpack(self, &dir)?;
        files::write_atomic(&dir.join(MANIFEST), &self.manifest.to_bytes())?;
        Ok(Self { dir, manifest: self.manifest.clone() })
    }

    /// Keeps the files of this snapshot in a place of their own while they are read, however many
    /// newer snapshots are published meanwhile. Tables are linked there, not copied.
    ///
    /// # Errors
    /// If the snapshot is gone already, or the disk refuses.
    pub fn hold(&self) -> Result<Held, StoreError> {
        static HELD: AtomicU64 = AtomicU64::new(0);
        let number = HELD.fetch_add(1, Ordering::Relaxed);
        let snapshots = self.dir.parent().unwrap_or(&self.dir);
        let dir = snapshots.join(format!("{STAGING_PREFIX}held-{number}"));
        let held = Held(Self { dir, manifest: self.manifest.clone() });
        unpack(self, &held.0.dir)?;
        Ok(held)
    }

    /// Checks every file against the manifest, and the image's own applied entry.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] names the first difference.
    pub fn verify(&self) -> Result<(), StoreError> {
        let image = self.verify_image();
        self.verify_files()?;
        image
    }

    /// Checks the image's own applied entry. Its files are not compared.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if it is another one, or the image cannot be read.
    pub(super) fn verify_image(&self) -> Result<(), StoreError> {
        let scratch = scratch(&self.dir)?;
        let found = generation::applied_of_image(&self.dir, &scratch);
        files::remove(&scratch)?;
        tidy(&self.dir)?;
        if found? != Some(self.manifest.meta()) {
            return Err(StoreError::damaged("snapshot: its image ends at another entry"));
        }
        Ok(())
    }

    /// Checks every file against the manifest.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] names the first difference.
    pub fn verify_files(&self) -> Result<(), StoreError> {
        let listed = list(&self.dir, &mut BTreeMap::new())?;
        let damaged = |what: String| StoreError::damaged(format!("snapshot: {what}"));
        for pair in self.manifest.files.iter().zip(&listed) {
            if pair.0 != pair.1 {
                return Err(damaged(format!("{} is not as sent", pair.0.name)));
            }
        }
        if listed.len() != self.manifest.files.len() {
            return Err(damaged("it has other files than its manifest".into()));
        }
        Ok(())
    }
}

impl StateStore {
    /// Publishes a snapshot of the state and returns the newest one published, which contains at
    /// least what was applied at the call.
    ///
    /// # Errors
    /// If nothing is applied yet, or the disk refuses. Nothing is published then.
    pub fn checkpoint(&self) -> Result<Snapshot, StoreError> {
        let _one = self.publishing.lock();
        let building = Taking::begin(&self.meters.snapshot_seconds);
        self.flush()?;
        let staging = self.staging_dir("checkpoint")?;
        failpoint::hit("checkpoint.begin");
        let generation = self.generation();
        Checkpoint::new(generation.db())
            .and_then(|checkpoint| checkpoint.create_checkpoint(&staging))
            .context("make a checkpoint")?;
        failpoint::hit("checkpoint.image");
        let scratch = scratch(&staging)?;
        let applied = generation::applied_of_image(&staging, &scratch)?;
        files::remove(&scratch)?;
        let applied = applied.ok_or_else(|| StoreError::damaged("a snapshot of an empty state"))?;
        tidy(&staging)?;
        let manifest = Manifest {
            format: FORMAT,
            index: applied.index,
            applied: applied.applied,
            membership: applied.membership,
            files: list(&staging, &mut generation.digests.lock())?,
        };
        for file in &manifest.files {
            files::sync(&staging.join(&file.name))?;
        }
        files::write_atomic(&staging.join(MANIFEST), &manifest.to_bytes())?;
        failpoint::hit("checkpoint.manifest");
        let snapshot = self.publish(Snapshot { dir: staging, manifest })?;
        failpoint::hit("checkpoint.published");
        building.done();
        Ok(snapshot)
    }

    /// The newest published snapshot.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if its manifest is.
    pub fn latest_snapshot(&self) -> Result<Option<Snapshot>, StoreError> {
        let snapshots = self.data_dir.join("snap");
        published(&snapshots)?.last().map(|name| Snapshot::open(&snapshots.join(name))).transpose()
    }

    /// An empty place for a snapshot that is being made or received; the next start clears it.
    ///
    /// # Errors
    /// If what lies there cannot be removed.
    pub fn staging_dir(&self, purpose: &str) -> Result<PathBuf, StoreError> {
        let dir = self.data_dir.join("snap").join(format!("{STAGING_PREFIX}{purpose}"));
        files::remove(&dir)?;
        Ok(dir)
    }

    /// Gives a whole snapshot its name, unless an equal or newer one is there. The caller holds
    /// the lock.
    pub(super) fn publish(&self, snapshot: Snapshot) -> Result<Snapshot, StoreError> {
        let snapshots = self.data_dir.join("snap");
        if let Some(newest) = self.latest_snapshot()?
            && newest.manifest.index >= snapshot.manifest.index
        {
            if newest.dir != snapshot.dir {
                files::remove(&snapshot.dir)?;
            }
            return Ok(newest);
        }
        let dir = snapshots.join(format!("{:020}", snapshot.manifest.index));
        files::rename(&snapshot.dir, &dir)?;
        failpoint::hit("checkpoint.renamed");
        let names = published(&snapshots)?;
        for old in names.iter().rev().skip(SNAPSHOTS_KEPT) {
            files::remove(&snapshots.join(old))?;
        }
        Ok(Snapshot { dir, manifest: snapshot.manifest })
    }
}

const STAGING_PREFIX: &str = "tmp-";

/// Removes what a crash left half made.
pub(super) fn clear_staging(snapshots: &Path) -> Result<(), StoreError> {
    for name in files::names(snapshots)? {
        if name.starts_with(STAGING_PREFIX) {
            files::remove(&snapshots.join(name))?;
        }
    }
    Ok(())
}

/// Names of published snapshots, oldest first.
fn published(snapshots: &Path) -> Result<Vec<String>, StoreError> {
    let mut names = files::names(snapshots)?;
    names.retain(|name| name.len() == 20 && name.bytes().all(|byte| byte.is_ascii_digit()));
    Ok(names)
}

/// A directory beside a snapshot for the database's diagnostic files.
fn scratch(dir: &Path) -> Result<PathBuf, StoreError> {
    let parent = dir.parent().unwrap_or(dir);
    // One for each: a snapshot is received while another is made.
    let of = dir.file_name().unwrap_or_default().to_string_lossy();
    let scratch = parent.join(format!("{STAGING_PREFIX}scratch-{of}"));
    files::remove(&scratch)?;
    files::create_dir(&scratch)?;
    Ok(scratch)
}

/// Removes what a read-only open leaves beside the image.
fn tidy(dir: &Path) -> Result<(), StoreError> {
    for name in files::names(dir)? {
        if name == "LOCK" || name == "LOG" || name.starts_with("LOG.old") {
            files::remove(&dir.join(name))?;
        }
    }
    Ok(())
}

/// Every file but the manifest, with its length and digest, by name. Tables that are known from
/// before are not read again; those that are gone are forgotten.
fn list(
    dir: &Path,
    known: &mut BTreeMap<String, SnapshotFile>,
) -> Result<Vec<SnapshotFile>, StoreError> {
    let mut listed = Vec::new();
    for name in files::names(dir)? {
        if name == MANIFEST {
            continue;
        }
        if let Some(file) = known.get(&name) {
            listed.push(file.clone());
            continue;
        }
        listed.push(described(dir, name)?);
    }
    let tables = listed.iter().filter(|file| file.name.ends_with(TABLE_ENDING));
    *known = tables.map(|file| (file.name.clone(), file.clone())).collect();
    Ok(listed)
}

/// A file as it is on the disk.
pub(super) fn described(dir: &Path, name: String) -> Result<SnapshotFile, StoreError> {
    let path = dir.join(&name);
    let failed = |error| StoreError::file("read", &path, error);
    let mut file = File::open(&path).map_err(failed)?;
    let mut hasher = Hashing(Sha256::new());
    let bytes = io::copy(&mut file, &mut hasher).map_err(failed)?;
    Ok(SnapshotFile { name, bytes, digest: Digest(hasher.0.finalize().into()) })
}

struct Hashing(Sha256);

impl io::Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Fills a new generation from a snapshot: files that never change are linked, the rest copied.
pub(super) fn unpack(snapshot: &Snapshot, to: &Path) -> Result<(), StoreError> {
    files::remove(to)?;
    files::create_dir(to)?;
    for file in &snapshot.manifest.files {
        let (source, target) = (snapshot.dir.join(&file.name), to.join(&file.name));
        let linked = file.name.ends_with(TABLE_ENDING) && fs::hard_link(&source, &target).is_ok();
        if !linked {
            fs::copy(&source, &target).map_err(|error| StoreError::file("copy", &source, error))?;
        }
        files::sync(&target)?;
    }
    files::sync(to)
}
