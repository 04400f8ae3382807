//! The high-water mark: how far this node's log was once durable, kept outside the database.
//!
//! The database cannot know how far it had synced, and after a crash it quietly gives up
//! everything behind the first bad record. The mark notices: recovery that ends before it has
//! lost records that were acknowledged.
//! Promise: the mark is never above what is durable; it is lowered before a truncate.
//! Invariant: of the two slots one is always whole, so a torn write costs the newest mark only.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use crate::error::StoreError;
use crate::failpoint;
use crate::files;

const MAGIC: &[u8; 8] = b"qgate-hw";
/// Distance of the two slots: one disk page each.
const SLOT_BYTES: usize = 4096;
/// Magic, turn, last index plus one, votes, checksum.
const RECORD_BYTES: usize = 8 + 8 + 8 + 8 + 4;

/// What was durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Mark {
    /// Index after the last durable entry, purged ones included; 0 for none.
    pub(crate) next: u64,
    /// How many votes were saved.
    pub(crate) votes: u64,
}

/// The file with the two slots.
pub(crate) struct MarkFile {
    file: File,
    path: PathBuf,
    turn: u64,
    stored: Mark,
}

impl MarkFile {
    /// Opens the file, or makes it with two whole slots.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        if files::read_if_there(path)?.is_none() {
            let mut content = vec![0; SLOT_BYTES + RECORD_BYTES];
            let (first, second) = content.split_at_mut(SLOT_BYTES);
            first[..RECORD_BYTES].copy_from_slice(&encode(0, Mark::default()));
            second.copy_from_slice(&encode(1, Mark::default()));
            files::write_atomic(path, &content)?;
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .map_err(|error| StoreError::file("open", path, error))?;
        let newest = [0, 1]
            .into_iter()
            .filter_map(|turn| read_slot(&file, turn))
            .max_by_key(|(turn, _)| *turn)
            .ok_or_else(|| StoreError::damaged(format!("{}: no whole slot", path.display())))?;
        Ok(Self { file, path: path.to_owned(), turn: newest.0, stored: newest.1 })
    }

    /// The newest whole mark.
    pub(crate) fn stored(&self) -> Mark {
        self.stored
    }

    /// Writes and syncs a mark over the older slot.
    pub(crate) fn store(&mut self, mark: Mark) -> Result<(), StoreError> {
        failpoint::hit("mark.before");
        let turn = self.turn + 1;
        let at = slot_at(turn);
        let failed = |error| StoreError::file("write", &self.path, error);
        self.file.write_all_at(&encode(turn, mark), at).map_err(failed)?;
        self.file.sync_data().map_err(failed)?;
        failpoint::hit("mark.after");
        self.turn = turn;
        self.stored = mark;
        Ok(())
    }
}

fn encode(turn: u64, mark: Mark) -> [u8; RECORD_BYTES] {
    let mut record = [0; RECORD_BYTES];
    record[..8].copy_from_slice(MAGIC);
    record[8..16].copy_from_slice(&turn.to_be_bytes());
    record[16..24].copy_from_slice(&mark.next.to_be_bytes());
    record[24..32].copy_from_slice(&mark.votes.to_be_bytes());
    let checksum = crc32c::crc32c(&record[..32]);
    record[32..].copy_from_slice(&checksum.to_be_bytes());
    record
}

/// Turns alternate between the slots.
fn slot_at(turn: u64) -> u64 {
    (turn % 2) * SLOT_BYTES as u64
}

fn read_slot(file: &File, turn: u64) -> Option<(u64, Mark)> {
    let mut record = [0; RECORD_BYTES];
    file.read_exact_at(&mut record, slot_at(turn)).ok()?;
    let number = |at: usize| Some(u64::from_be_bytes(record.get(at..at + 8)?.try_into().ok()?));
    let (turn, mark) = (number(8)?, Mark { next: number(16)?, votes: number(24)? });
    (record == encode(turn, mark)).then_some((turn, mark))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_write_falls_back_to_the_slot_before() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("hwm");
        let marks = [1, 2, 3].map(|next| Mark { next, votes: next * 10 });
        let mut file = MarkFile::open(&path).expect("new");
        assert_eq!(file.stored(), Mark::default());
        for mark in marks {
            file.store(mark).expect("store");
        }
        assert_eq!(MarkFile::open(&path).expect("again").stored(), marks[2]);
        let mut content = std::fs::read(&path).expect("read");
        content[usize::try_from(slot_at(file.turn)).expect("small") + 20] ^= 1;
        std::fs::write(&path, &content).expect("write");
        assert_eq!(MarkFile::open(&path).expect("torn").stored(), marks[1]);
        std::fs::write(&path, b"").expect("write");
        assert!(matches!(MarkFile::open(&path), Err(StoreError::Damaged(_))), "both gone");
    }
}
