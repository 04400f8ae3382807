//! Replacing the state by a snapshot: `CURRENT` switches from one whole generation to another.
//!
//! Promise: a crash at any step has one answer. Until `CURRENT` names the new generation the old
//! one lives and the new is removed; from then on the new one lives and the old is removed.
//! Invariant: a snapshot never replaces state that is as new.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bugs::Bug;
use ledger::table::Table;
use minicbor::{Decode, Encode};
use types::codec::{decode, encode};

use crate::error::StoreError;
use crate::failpoint;
use crate::files;
use crate::meters::Taking;

use super::generation::{self, Generation, Number};
use super::snapshot::{self, Snapshot};
use super::{AppliedMeta, StateStore, Written};

/// An install under way: which generation is to follow which.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
struct Marker {
    #[n(0)]
    from: Number,
    #[n(1)]
    to: Number,
}

impl Marker {
    fn path(data_dir: &Path) -> PathBuf {
        data_dir.join("state").join("install")
    }
}

impl StateStore {
    /// Replaces the state by a snapshot and publishes it. A directory from elsewhere is left as it
    /// is; one from [`StateStore::staging_dir`] becomes the published snapshot.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if the snapshot is not whole, [`StoreError::NotNewer`] if the state
    /// is as new; the state is untouched then. After any other error the node must restart, and
    /// the next start finishes or undoes the install.
    pub fn install(&self, dir: &Path) -> Result<Snapshot, StoreError> {
        let _one = self.publishing.lock();
        let installing = Taking::begin(&self.meters.install_seconds);
        let mut snapshot = Snapshot::open(dir)?;
        if dir.parent() != Some(&self.data_dir.join("snap")) {
            snapshot = snapshot.copy_to(self.staging_dir("import")?)?;
        }
        snapshot.verify()?;
        must_be_newer(&snapshot, &self.written.lock())?;
        failpoint::hit("install.verified");
        let old = self.generation();
        let marker = Marker { from: old.number, to: Number(old.number.0 + 1) };
        files::write_atomic(&Marker::path(&self.data_dir), &encode(&marker))?;
        failpoint::hit("install.marked");
        snapshot::unpack(&snapshot, &marker.to.dir(&self.data_dir))?;
        failpoint::hit("install.copied");
        let mut written = self.written.lock();
        must_be_newer(&snapshot, &written)?;
        generation::switch(&self.data_dir, marker.to)?;
        failpoint::hit("install.switched");
        let new = Generation::open(&self.data_dir, marker.to)?;
        for (bug, table) in [
            (Bug::SnapshotWithoutWindows, Table::Windows),
            (Bug::SnapshotWithoutRequestKeys, Table::RequestKeys),
        ] {
            if bug.is_planted() {
                new.lose(table)?;
            }
        }
        let applied: Option<AppliedMeta> = new.applied()?;
        if !Bug::SnapshotMarkAlone.is_planted() {
            *self.live.write() = Arc::new(new);
        }
        failpoint::hit("install.reopened");
        written.flushed = applied.as_ref().map(|applied| applied.index);
        written.unflushed_bytes = 0;
        written.applied = applied;
        drop(written);
        let snapshot = self.publish(snapshot)?;
        failpoint::hit("install.published");
        files::remove(&Marker::path(&self.data_dir))?;
        failpoint::hit("install.cleared");
        old.mark_replaced();
        installing.done();
        Ok(snapshot)
    }
}

fn must_be_newer(snapshot: &Snapshot, written: &Written) -> Result<(), StoreError> {
    let offered = snapshot.manifest.index;
    match written.applied.as_ref().map(|applied| applied.index) {
        Some(current) if current >= offered => Err(StoreError::NotNewer { offered, current }),
        _ => Ok(()),
    }
}

/// Says which generation lives, after the rest of an install that a crash cut short.
pub(super) fn recover(data_dir: &Path) -> Result<Number, StoreError> {
    let state = data_dir.join("state");
    let Some(current) = generation::current(data_dir)? else {
        if let Some(name) = files::names(&state)?.first() {
            let what = format!("CURRENT is missing beside state/{name}");
            return Err(StoreError::damaged(what));
        }
        generation::switch(data_dir, Number(1))?;
        return Ok(Number(1));
    };
    let path = Marker::path(data_dir);
    let mut arriving = None;
    if let Some(bytes) = files::read_if_there(&path)? {
        let marker: Marker = decode(&bytes, "install marker")
            .map_err(|error| StoreError::damaged(error.to_string()))?;
        if current != marker.from && current != marker.to {
            let what = format!("CURRENT names {current}, the install marker {marker:?}");
            return Err(StoreError::damaged(what));
        }
        arriving = Some(marker.to);
    }
    let names = files::names(&state)?;
    let there: Vec<Number> = names.iter().filter_map(|name| Number::parse(name)).collect();
    // Nothing is removed before it is sure that CURRENT names what it should: it has no checksum.
    if !there.contains(&current) && (current != Number(1) || !there.is_empty()) {
        return Err(StoreError::damaged(format!("CURRENT names {current}, which is missing")));
    }
    let is_newer = |number: &&Number| **number > current && Some(**number) != arriving;
    if let Some(newer) = there.iter().find(is_newer) {
        return Err(StoreError::damaged(format!("CURRENT names {current}, and {newer} is there")));
    }
    for name in names {
        let is_old = Number::parse(&name).is_some_and(|number| number != current);
        if is_old || name == "install.new" {
            files::remove(&state.join(name))?;
        }
    }
    files::remove(&path)?;
    snapshot::clear_staging(&data_dir.join("snap"))?;
    Ok(current)
}
