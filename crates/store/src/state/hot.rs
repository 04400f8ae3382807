//! Rows that nearly every command asks for, kept in memory beside the database: what is in force,
//! keys, principals, counters.
//!
//! Promise: a kept row is the stored one; a write that changes it changes both.
//! Invariant: a row that was read is kept only if nothing was written meanwhile.

use std::collections::HashMap;

use ledger::table::Table;
use parking_lot::Mutex;

/// Tables whose rows are few and asked for again and again.
const TABLES: [Table; 9] = [
    Table::Meta,
    Table::Keys,
    Table::Agents,
    Table::SubmitCounters,
    Table::PolicyHead,
    Table::SettingsHead,
    Table::PhaseCounts,
    Table::DuplicateCount,
    Table::ApprovalWaits,
];
/// Rows kept at a time.
const ROWS_MAX: usize = 4_096;

/// Belongs to one generation.
#[derive(Default)]
pub(super) struct Hot(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    rows: HashMap<Vec<u8>, Option<Vec<u8>>>,
    writes: u64,
}

/// What is known of a row.
pub(super) enum Known {
    /// This, absence included.
    Row(Option<Vec<u8>>),
    /// Nothing; so many writes had passed.
    Nothing { writes: u64 },
}

/// Whether a row is kept at all.
pub(super) fn is_hot(key: &[u8]) -> bool {
    key.get(4).is_some_and(|table| TABLES.iter().any(|hot| *hot as u8 == *table))
}

impl Hot {
    /// Looks a hot row up.
    pub(super) fn get(&self, key: &[u8]) -> Known {
        let kept = self.0.lock();
        match kept.rows.get(key) {
            Some(row) => Known::Row(row.clone()),
            None => Known::Nothing { writes: kept.writes },
        }
    }

    /// Keeps a row that was read after so many writes.
    pub(super) fn keep(&self, writes: u64, key: &[u8], row: Option<&[u8]>) {
        let mut kept = self.0.lock();
        if kept.writes != writes {
            return;
        }
        if kept.rows.len() >= ROWS_MAX {
            kept.rows.clear();
        }
        kept.rows.insert(key.to_vec(), row.map(<[u8]>::to_vec));
    }

    /// Takes over hot rows that were written.
    pub(super) fn written(&self, rows: Vec<(Vec<u8>, Option<Vec<u8>>)>) {
        let mut kept = self.0.lock();
        kept.writes += 1;
        for (key, row) in rows {
            if let Some(known) = kept.rows.get_mut(&key) {
                *known = row;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(hot: &Hot, key: &[u8]) -> Option<Option<Vec<u8>>> {
        match hot.get(key) {
            Known::Row(row) => Some(row),
            Known::Nothing { .. } => None,
        }
    }

    #[test]
    fn a_kept_row_follows_its_writes() {
        let key = [0, 0, 0, 0, Table::Meta as u8, 3];
        let hot = Hot::default();
        assert!(is_hot(&key) && !is_hot(&[0, 0, 0, 0, Table::Leaves as u8]) && !is_hot(&[]));
        let Known::Nothing { writes } = hot.get(&key) else { panic!("nothing is kept yet") };
        hot.keep(writes, &key, None);
        assert_eq!(row(&hot, &key), Some(None), "known to be absent");
        hot.written(vec![(key.to_vec(), Some(vec![1]))]);
        assert_eq!(row(&hot, &key), Some(Some(vec![1])));
        hot.written(vec![(key.to_vec(), None)]);
        assert_eq!(row(&hot, &key), Some(None));
    }

    #[test]
    fn a_row_read_before_a_write_is_not_kept_after_it() {
        let key = [0, 0, 0, 0, Table::Meta as u8, 4];
        let hot = Hot::default();
        let Known::Nothing { writes } = hot.get(&key) else { panic!("nothing is kept yet") };
        hot.written(Vec::new());
        hot.keep(writes, &key, Some(b"old"));
        assert_eq!(row(&hot, &key), None);
    }
}
