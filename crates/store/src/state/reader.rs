//! [`Read`] on a generation: of one moment ([`Reader::frozen`]), or of now ([`Reader::live`]).
//!
//! Invariant: rows come in key order over all column families; where a row lives cannot be seen.

use std::ops::ControlFlow;
use std::sync::Arc;

use ledger::PolicySet;
use ledger::table;
use ledger::{Direction, Fault, Read, Visit};
use minicbor::Decode;
use types::codec::decode;
use types::{Channel, Destination, NamespaceId};

use crate::engine::{DB, DBRawIterator, ReadOptions, SnapshotWithThreadMode, family};
use crate::error::{Context as _, StoreError};

use super::generation::{self, Generation, ROW_FAMILIES, family_of};
use super::hot::{self, Known};

/// Reads rows of one generation.
pub(super) struct Reader<'g> {
    generation: &'g Generation,
    snapshot: Option<SnapshotWithThreadMode<'g, DB>>,
    point: ReadOptions,
}

impl<'g> Reader<'g> {
    /// Rows as they are now; for the one writer.
    pub(super) fn live(generation: &'g Generation) -> Self {
        Self { generation, snapshot: None, point: ReadOptions::default() }
    }

    /// Rows as they are at this moment, whatever is written later.
    pub(super) fn frozen(generation: &'g Generation) -> Self {
        let snapshot = generation.db().snapshot();
        let mut point = ReadOptions::default();
        point.set_snapshot(&snapshot);
        Self { generation, snapshot: Some(snapshot), point }
    }

    /// The entry up to which these rows are applied.
    pub(super) fn applied_index(&self) -> Result<Option<u64>, StoreError> {
        generation::applied_index(self.generation.db(), &self.point)
    }

    fn iterator(
        &self,
        at: usize,
        from: &[u8],
        to: &[u8],
        direction: Direction,
    ) -> DBRawIterator<'_> {
        let mut options = ReadOptions::default();
        if let Some(snapshot) = &self.snapshot {
            options.set_snapshot(snapshot);
        }
        options.set_iterate_lower_bound(from);
        options.set_iterate_upper_bound(to);
        let db = self.generation.db();
        let mut rows = db.raw_iterator_cf_opt(family(db, ROW_FAMILIES[at]), options);
        match direction {
            Direction::Ascending => rows.seek_to_first(),
            Direction::Descending => rows.seek_to_last(),
        }
        rows
    }
}

impl Read for Reader<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        if self.snapshot.is_some() || !hot::is_hot(key) {
            return Ok(self.stored(key)?);
        }
        let hot = &self.generation.hot;
        match hot.get(key) {
            Known::Row(row) => Ok(row),
            Known::Nothing { writes } => {
                let row = self.stored(key)?;
                hot.keep(writes, key, row.as_deref());
                Ok(row)
            }
        }
    }

    fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        direction: Direction,
        visit: &mut Visit<'_>,
    ) -> Result<(), Fault> {
        if from >= to {
            return Ok(());
        }
        let mut streams: Vec<_> =
            families_between(from, to).map(|at| self.iterator(at, from, to, direction)).collect();
        loop {
            for stream in &streams {
                stream.status().context("scan rows")?;
            }
            let keys = streams.iter().enumerate().filter_map(|(at, rows)| Some((rows.key()?, at)));
            let next = match direction {
                Direction::Ascending => keys.min(),
                Direction::Descending => keys.max(),
            };
            let Some((_, at)) = next else { return Ok(()) };
            let Some(stream) = streams.get_mut(at) else { return Ok(()) };
            if let Some((key, value)) = stream.item()
                && visit(key, value) == ControlFlow::Break(())
            {
                return Ok(());
            }
            match direction {
                Direction::Ascending => stream.next(),
                Direction::Descending => stream.prev(),
            }
        }
    }

    fn compiled(&self, namespace: NamespaceId, version: u64) -> Result<Arc<PolicySet>, Fault> {
        self.generation.policies.get_or(namespace, version, || {
            self.document(&table::policy_compiled(namespace, version), "policy set")
        })
    }

    fn destinations(
        &self,
        namespace: NamespaceId,
        version: u64,
    ) -> Result<Arc<Vec<Destination>>, Fault> {
        self.generation.destinations.get_or(namespace, version, || {
            self.document(&table::destinations(namespace, version), "destinations")
        })
    }

    fn channels(&self, namespace: NamespaceId, version: u64) -> Result<Arc<Vec<Channel>>, Fault> {
        self.generation.channels.get_or(namespace, version, || {
            self.document(&table::channels(namespace, version), "channels")
        })
    }
}

impl Reader<'_> {
    fn stored(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let db = self.generation.db();
        let rows = family(db, ROW_FAMILIES[family_of(key)]);
        db.get_cf_opt(rows, key, &self.point).context("read a row")
    }

    /// A version that a head row names.
    fn document<T: for<'b> Decode<'b, ()>>(
        &self,
        key: &[u8],
        what: &'static str,
    ) -> Result<T, Fault> {
        let bytes =
            self.get(key)?.ok_or_else(|| Fault(format!("a version of the {what} is missing")))?;
        Ok(decode(&bytes, what)?)
    }
}

/// The families that can hold a key of the range; nearly always one.
fn families_between(from: &[u8], to: &[u8]) -> impl Iterator<Item = usize> {
    let mut wanted = [true; ROW_FAMILIES.len()];
    if let (Some((namespace, [low, ..])), Some((same, [high, rest @ ..]))) =
        (from.split_at_checked(4), to.split_at_checked(4))
        && namespace == same
    {
        wanted = [false; ROW_FAMILIES.len()];
        // A bound that ends with the table byte excludes the table.
        let high = if rest.is_empty() { high.saturating_sub(1) } else { *high };
        for table in *low..=high {
            wanted[family_of(&[0, 0, 0, 0, table])] = true;
        }
    }
    wanted.into_iter().enumerate().filter_map(|(at, wanted)| wanted.then_some(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[rustfmt::skip]
    fn a_scan_opens_only_the_families_it_needs() {
        let cases: [(&[u8], &[u8], &[usize]); 9] = [
            (&[0, 0, 0, 1, 30], &[0, 0, 0, 1, 31], &[1]),
            (&[0, 0, 0, 1, 32], &[0, 0, 0, 1, 33], &[3]),
            (&[0, 0, 0, 0, 8, 5], &[0, 0, 0, 0, 8, 9], &[4]),
            (&[0, 0, 0, 0, 7, 5], &[0, 0, 0, 0, 7, 9], &[5]),
            (&[0, 0, 0, 1, 33], &[0, 0, 0, 1, 40, 1], &[0]),
            (&[0, 0, 0, 1, 31], &[0, 0, 0, 1, 32, 1], &[2, 3]),
            (&[0, 0, 0, 1], &[0, 0, 0, 2], &[0, 1, 2, 3, 4, 5]),
            (&[0, 0, 0, 1, 30], &[0, 0, 0, 2, 31], &[0, 1, 2, 3, 4, 5]),
            (&[], &[0xff; 16], &[0, 1, 2, 3, 4, 5]),
        ];
        for (from, to, expected) in cases {
            assert_eq!(families_between(from, to).collect::<Vec<_>>(), expected, "{from:?} {to:?}");
        }
    }
}
