//! Row writes of a run of entries, in one piece of memory.
//!
//! A submit writes a dozen small rows; with memory for each key and each value, and an ordered map
//! over them, keeping them cost more than working them out. Invariant: what is visited, and in
//! which order, follows from the writes alone.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;
use core::hash::BuildHasher;
use core::ops::{Bound, Range};

use hashbrown::{DefaultHashBuilder, HashTable};

/// Bytes of a key that say which table it is of: namespace and table.
const PREFIX_BYTES: usize = 5;

/// Row writes; of a row that is written again the last write counts. `None` deletes.
#[derive(Clone, Default)]
pub struct Writes {
    bytes: Vec<u8>,
    /// In the order in which they were first written.
    rows: Vec<Row>,
    by_key: HashTable<usize>,
    hasher: DefaultHashBuilder,
    /// Rows of each table, for scans.
    by_table: BTreeMap<[u8; PREFIX_BYTES], Vec<usize>>,
}

#[derive(Clone)]
struct Row {
    key: Range<usize>,
    value: Option<Range<usize>>,
}

impl Writes {
    /// Nothing written yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes a row, or deletes it.
    pub fn insert(&mut self, key: &[u8], value: Option<&[u8]>) {
        let value = value.map(|value| self.keep(value));
        let hash = self.hasher.hash_one(key);
        if let Some(at) = self.find(hash, key) {
            if let Some(row) = self.rows.get_mut(at) {
                row.value = value;
            }
            return;
        }
        let (at, kept) = (self.rows.len(), self.keep(key));
        self.rows.push(Row { key: kept, value });
        let Self { bytes, rows, by_key, hasher, .. } = self;
        let rehash = |at: &usize| hasher.hash_one(key_of(bytes, rows, *at));
        by_key.insert_unique(hash, at, rehash);
        self.by_table.entry(prefix_of(key)).or_default().push(at);
    }

    /// What was written under a key: a value, or that it is gone.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<Option<&[u8]>> {
        let row = self.rows.get(self.find(self.hasher.hash_one(key), key)?)?;
        Some(row.value.clone().and_then(|value| self.bytes.get(value)))
    }

    /// All rows in key order, which is the one in which a database takes them fastest.
    #[must_use]
    pub fn sorted(&self) -> Vec<(&[u8], Option<&[u8]>)> {
        let mut found = Vec::with_capacity(self.rows.len());
        for rows in self.by_table.values() {
            let from = found.len();
            found.extend(rows.iter().filter_map(|at| self.rows.get(*at)).map(|row| self.show(row)));
            // Rows of a table that grows at its end stand in order already.
            if let Some(table) = found.get_mut(from..) {
                table.sort_unstable_by_key(|(key, _)| *key);
            }
        }
        found
    }

    /// The rows with `from <= key < to`, in key order.
    pub(crate) fn range(&self, from: &[u8], to: &[u8]) -> Vec<(&[u8], Option<&[u8]>)> {
        if from >= to {
            return Vec::new();
        }
        let (low, high) = (prefix_of(from), prefix_of(to));
        let tables = self.by_table.range((Bound::Included(low), Bound::Included(high)));
        let rows = tables.flat_map(|(_, rows)| rows).filter_map(|at| self.rows.get(*at));
        let shown = rows.map(|row| self.show(row));
        let mut found: Vec<_> = shown.filter(|(key, _)| from <= *key && *key < to).collect();
        found.sort_unstable_by_key(|(key, _)| *key);
        found
    }

    fn keep(&mut self, bytes: &[u8]) -> Range<usize> {
        let from = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        from..self.bytes.len()
    }

    fn find(&self, hash: u64, key: &[u8]) -> Option<usize> {
        self.by_key.find(hash, |at| key_of(&self.bytes, &self.rows, *at) == key).copied()
    }

    fn show(&self, row: &Row) -> (&[u8], Option<&[u8]>) {
        let key = self.bytes.get(row.key.clone()).unwrap_or_default();
        (key, row.value.clone().and_then(|value| self.bytes.get(value)))
    }
}

impl<const N: usize> From<[(Vec<u8>, Option<Vec<u8>>); N]> for Writes {
    fn from(rows: [(Vec<u8>, Option<Vec<u8>>); N]) -> Self {
        let mut writes = Self::new();
        for (key, value) in rows {
            writes.insert(&key, value.as_deref());
        }
        writes
    }
}

impl PartialEq for Writes {
    fn eq(&self, other: &Self) -> bool {
        self.sorted() == other.sorted()
    }
}

impl Eq for Writes {}

impl fmt::Debug for Writes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.sorted()).finish()
    }
}

fn key_of<'b>(bytes: &'b [u8], rows: &[Row], at: usize) -> &'b [u8] {
    rows.get(at).and_then(|row| bytes.get(row.key.clone())).unwrap_or_default()
}

/// The start of a key; of one that is shorter, and so none of a table, with zeros behind it. Keys
/// in order have their starts in order.
fn prefix_of(key: &[u8]) -> [u8; PREFIX_BYTES] {
    let mut prefix = [0; PREFIX_BYTES];
    for (to, from) in prefix.iter_mut().zip(key) {
        *to = *from;
    }
    prefix
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn key() -> impl Strategy<Value = Vec<u8>> {
        // Few different bytes, so that keys repeat and share their starts; short ones too.
        prop::collection::vec(0_u8..3, 0..8)
    }

    proptest! {
        /// The same writes in an ordered map: every look-up and every range must agree.
        #[test]
        fn it_is_an_ordered_map(
            writes in prop::collection::vec((key(), prop::option::of(key())), 0..200),
            bounds in prop::collection::vec((key(), key()), 20),
        ) {
            let (mut kept, mut map) = (Writes::new(), BTreeMap::new());
            for (key, value) in &writes {
                kept.insert(key, value.as_deref());
                map.insert(key.clone(), value.clone());
            }
            let all: Vec<_> = map.iter().map(|(k, v)| (k.as_slice(), v.as_deref())).collect();
            prop_assert_eq!(kept.sorted(), all);
            for (from, to) in bounds {
                prop_assert_eq!(kept.get(&from), map.get(&from).map(Option::as_deref));
                let found = kept.range(&from, &to);
                let wanted: Vec<_> = map
                    .iter()
                    .filter(|(key, _)| from <= **key && **key < to)
                    .map(|(key, value)| (key.as_slice(), value.as_deref()))
                    .collect();
                prop_assert_eq!(found, wanted);
            }
        }
    }
}
