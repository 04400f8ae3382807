//! WAL files that are made before they are needed.

use std::path::Path;

use crate::disk;
use crate::engine::{self, DB, FlushOptions, WAL_SPARES, family};
use crate::error::{Context as _, StoreError};

use super::{LOG, META};

/// Key in `meta` of the bytes that fill a WAL file ahead; deleted again at once.
const META_FILLER: u8 = 0xf3;
/// Bytes of one write that fills a spare.
const FILLER_BYTES: usize = 64 * 1024;
/// Spares are filled only where so many times their bytes are free.
const SPACE_TO_FILL: u64 = 8;
/// A WAL file outgrows its memtable by less than one part in this many.
const WAL_SLACK: usize = 8;

/// Makes WAL files that are full already, so that what is appended later overwrites blocks which
/// the file has: a sync then writes the bytes alone, where a growing file needs the file system's
/// journal as well (docs/decisions/0009-log-files-are-written-again.md).
///
/// They buy speed alone: a disk that is nearly full is left what it has.
pub(super) fn fill(db: &DB, dir: &Path, memtable_bytes: usize) -> Result<(), StoreError> {
    let bytes = WAL_SPARES * (memtable_bytes + memtable_bytes / WAL_SLACK);
    if disk::space(dir)?.free_bytes / SPACE_TO_FILL < bytes as u64 {
        return Ok(());
    }
    let (log, meta) = (family(db, LOG), family(db, META));
    let filler = vec![0xff; FILLER_BYTES.min(memtable_bytes)];
    for _ in 0..WAL_SPARES {
        for _ in 0..(memtable_bytes + memtable_bytes / WAL_SLACK).div_ceil(filler.len()) {
            db.put_cf(meta, [META_FILLER], &filler).context("fill a log file ahead")?;
        }
        db.delete_cf(meta, [META_FILLER]).context("fill a log file ahead")?;
        engine::sync_wal(db)?;
        db.flush_cfs_opt(&[log, meta], &FlushOptions::default()).context("end a log file")?;
    }
    Ok(())
}
