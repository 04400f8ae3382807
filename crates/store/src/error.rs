//! What can go wrong on the disk. Every error says what was tried; none is swallowed.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ledger::Fault;

use crate::engine::{Error, ErrorKind};

/// A failed operation on the log store or the state store.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The database refused.
    #[error("cannot {action}: {source}")]
    Database {
        /// What was tried.
        action: &'static str,
        /// What the database said.
        source: Error,
    },
    /// A file or directory refused.
    #[error("cannot {action} {path}: {source}", path = path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// Another process has the data directory open.
    #[error(
        "{path} is in use by another process; stop it, or give this node its own data directory",
        path = .0.display()
    )]
    InUse(PathBuf),
    /// Stored bytes are damaged. They are never served.
    #[error("stored data is damaged: {0}; replace this node under a new id")]
    Damaged(String),
    /// Rows of another build. Nodes of one cluster write one format.
    #[error(
        "the state is not of format {known}, the one that this build reads: run the build that \
         wrote it on every node, or begin a new cluster in empty directories"
    )]
    Format {
        /// What this build reads and writes.
        known: u64,
    },
    /// Entries must follow one another without a hole.
    #[error("log entry {found} cannot follow: {expected} is next")]
    Hole {
        /// The index that must come next.
        expected: u64,
        /// The index that came.
        found: u64,
    },
    /// An earlier write or sync failed; what reached the disk is unknown, so nothing goes on.
    #[error("the log store stopped after a failed write: {0}")]
    Poisoned(Arc<str>),
    /// The disk gave back less than was synced. This node may have acknowledged what is gone.
    #[error(
        "synced records are lost: {what} reached {marked} before, now {found}; this node must not \
         vote again: remove it and let it join under a new id"
    )]
    LostSyncedRecords {
        /// Log entries or votes.
        what: &'static str,
        /// The durable mark.
        marked: u64,
        /// What recovery found.
        found: u64,
    },
    /// A snapshot does not fit.
    #[error("a snapshot needs {needed} bytes and the disk has {free}; make room or add a disk")]
    NoRoom {
        /// Bytes that are still to come.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// A snapshot never replaces newer state, nor a newer snapshot.
    #[error("snapshot at {offered} is not newer than {current}")]
    NotNewer {
        /// Index of the offered snapshot.
        offered: u64,
        /// Index that is there.
        current: u64,
    },
}

/// What the system calls a disk without room, in the words in which the database hands it on.
pub const NO_SPACE: &str = "No space left";

impl StoreError {
    pub(crate) fn file(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::File { action, path: path.to_owned(), source: Arc::new(source) }
    }

    pub(crate) fn damaged(what: impl Into<String>) -> Self {
        Self::Damaged(what.into())
    }

    /// The disk has no room. Reads still work; the node must stop taking work.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        match self {
            Self::Database { source, .. } => source.as_ref().contains(NO_SPACE),
            Self::File { source, .. } => source.kind() == io::ErrorKind::StorageFull,
            Self::Poisoned(reason) => reason.contains(NO_SPACE),
            _ => false,
        }
    }
}

/// Counts bytes that came back from the disk otherwise than they went there.
pub(crate) fn checksum_failed() {
    meters::CHECKSUM_FAILURES.counter(&[]).increment(1);
}

/// Names what was tried when the database refuses.
pub(crate) trait Context<T> {
    fn context(self, action: &'static str) -> Result<T, StoreError>;
}

impl<T> Context<T> for Result<T, Error> {
    fn context(self, action: &'static str) -> Result<T, StoreError> {
        self.map_err(|source| {
            if source.kind() == ErrorKind::Corruption {
                checksum_failed();
            }
            StoreError::Database { action, source }
        })
    }
}

impl From<StoreError> for io::Error {
    fn from(error: StoreError) -> Self {
        let kind =
            if error.is_disk_full() { io::ErrorKind::StorageFull } else { io::ErrorKind::Other };
        Self::new(kind, error)
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self(error.to_string())
    }
}
