//! Opening the log: what recovery left, and whether it is all that was once durable.

use std::path::Path;

use bytes::Bytes;

use crate::engine::{self, DB, IteratorMode, ReadOptions, WriteBatch, family};
use crate::error::{Context as _, StoreError};
use crate::files;

use super::mark::{Mark, MarkFile};
use super::queue::Marks;
use super::tail::Tail;
use super::{LOG, LogOptions, META, META_PURGED, META_VOTES, Window, entry};

const META_FORMAT: u8 = 0xf2;
/// The layout of this database.
const FORMAT: u8 = 1;

/// Opens the database and the mark, and compares them.
pub(super) fn open(
    data_dir: &Path,
    options: &LogOptions,
) -> Result<(DB, Window, Marks), StoreError> {
    let dir = data_dir.join("raft");
    files::create_dir(&dir)?;
    let db = engine::open_log(&dir, options.memtable_bytes)?;
    check_format(&db)?;
    let mut window = recover(&db, options.tail_bytes)?;
    let marks = open_marks(&data_dir.join("hwm"), &mut window, &db)?;
    #[cfg(not(feature = "simulated"))]
    super::spares::fill(&db, &dir, options.memtable_bytes)?;
    files::sync(&dir)?;
    Ok((db, window, marks))
}

fn check_format(db: &DB) -> Result<(), StoreError> {
    match read_meta(db, META_FORMAT)?.as_deref() {
        Some([FORMAT]) => Ok(()),
        None => db
            .put_cf(family(db, META), [META_FORMAT], [FORMAT])
            .context("write the format of the log"),
        Some(other) => {
            Err(StoreError::damaged(format!("the log has format {other:?}, this build knows 1")))
        }
    }
}

pub(super) fn read_meta(db: &DB, key: u8) -> Result<Option<Vec<u8>>, StoreError> {
    db.get_cf(family(db, META), [key]).context("read a value beside the log")
}

fn read_number(db: &DB, key: u8) -> Result<Option<u64>, StoreError> {
    let Some(bytes) = read_meta(db, key)? else { return Ok(None) };
    let bytes = bytes
        .try_into()
        .map_err(|_| StoreError::damaged(format!("the value {key:#x} beside the log")))?;
    Ok(Some(u64::from_be_bytes(bytes)))
}

/// Finds what recovery left of the log.
fn recover(db: &DB, tail_bytes: usize) -> Result<Window, StoreError> {
    let purged = read_number(db, META_PURGED)?;
    let votes = read_number(db, META_VOTES)?.unwrap_or(0);
    let start = purged.map_or(0, |purged| purged + 1);
    let mut window = Window {
        first: start,
        next: start,
        purged,
        votes,
        tail: Tail::new(tail_bytes),
        lazy: Vec::new(),
    };
    if let Some((first, _)) = end_of_log(db, start, IteratorMode::Start)? {
        if purged.is_some() && first != start {
            return Err(StoreError::damaged(format!("log entry {start} is missing")));
        }
        window.first = first;
    }
    if let Some((last, value)) = end_of_log(db, start, IteratorMode::End)? {
        entry::decode(last, &value)?;
        window.next = last + 1;
    }
    Ok(window)
}

/// The first or last entry from `start` on. What lies before was purged and is never looked at.
fn end_of_log(
    db: &DB,
    start: u64,
    mode: IteratorMode<'_>,
) -> Result<Option<(u64, Bytes)>, StoreError> {
    let mut options = ReadOptions::default();
    options.set_iterate_lower_bound(start.to_be_bytes());
    let Some(row) = db.iterator_cf_opt(family(db, LOG), options, mode).next() else {
        return Ok(None);
    };
    let (key, value) = row.context("read the log")?;
    let key = <[u8; 8]>::try_from(&*key)
        .map_err(|_| StoreError::damaged(format!("the log holds the key {key:?}")))?;
    Ok(Some((u64::from_be_bytes(key), value.into_vec().into())))
}

/// Compares what recovery found with the mark.
fn open_marks(path: &Path, window: &mut Window, db: &DB) -> Result<Marks, StoreError> {
    let found = Mark { next: window.next, votes: window.votes };
    let is_there = files::read_if_there(path)?.is_some();
    if !is_there && found != Mark::default() {
        return Err(StoreError::damaged(format!("{} is missing", path.display())));
    }
    let file = MarkFile::open(path)?;
    let marked = file.stored();
    let lost = |what, marked, found| StoreError::LostSyncedRecords { what, marked, found };
    if found.votes < marked.votes {
        return Err(lost("the number of votes", marked.votes, found.votes));
    }
    if found.next < marked.next {
        return Err(lost("the log", marked.next - 1, found.next.saturating_sub(1)));
    }
    cut_at_hole(db, window, marked.next)?;
    Ok(Marks::new(file, Mark { next: window.next, ..found }))
}

/// Gives up what lies behind a hole in the entries from `durable` on. Pages of a write that the
/// power cut short reach the disk in any order; recovery takes zeros for the end of a block and
/// may find a later record of the same write.
fn cut_at_hole(db: &DB, window: &mut Window, durable: u64) -> Result<(), StoreError> {
    let log = family(db, LOG);
    let mut next = durable.max(window.first);
    let mut options = ReadOptions::default();
    options.set_iterate_lower_bound(next.to_be_bytes());
    for row in db.iterator_cf_opt(log, options, IteratorMode::Start) {
        let (key, _) = row.context("read the log")?;
        if *key != next.to_be_bytes() {
            break;
        }
        next += 1;
    }
    if next < window.next {
        let mut batch = WriteBatch::default();
        super::delete(&mut batch, db, next..window.next);
        db.write(batch).context("cut the log at a hole")?;
        engine::sync_wal(db)?;
        window.next = next;
    }
    Ok(())
}
