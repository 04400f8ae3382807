//! Rows in memory, views of them, and ways through them.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::ops::Bound;
use std::sync::Arc;

use super::{Error, SnapshotWithThreadMode};

type Family = BTreeMap<Box<[u8]>, Arc<[u8]>>;
type Row = (Box<[u8]>, Arc<[u8]>);

/// Rows of all families. A copy costs nothing until one of the two is written to.
#[derive(Clone, Default)]
pub(crate) struct Rows(Vec<Arc<Family>>);

impl Rows {
    pub(super) fn get(&self, family: usize, key: &[u8]) -> Option<&[u8]> {
        self.0.get(family)?.get(key).map(|value| &**value)
    }

    fn family(&mut self, at: usize) -> &mut Family {
        if self.0.len() <= at {
            self.0.resize_with(at + 1, Arc::default);
        }
        Arc::make_mut(&mut self.0[at])
    }

    pub(super) fn put(&mut self, family: usize, key: &[u8], value: &[u8]) {
        self.family(family).insert(key.into(), value.into());
    }

    pub(super) fn delete(&mut self, family: usize, key: &[u8]) {
        self.family(family).remove(key);
    }

    /// Deletes what has a key from `from` on, below `to`.
    pub(super) fn delete_range(&mut self, family: usize, from: &[u8], to: &[u8]) {
        if from >= to {
            return;
        }
        let range = (Bound::Included(from), Bound::Excluded(to));
        let family = self.family(family);
        let keys: Vec<_> = family.range::<[u8], _>(range).map(|(key, _)| key.clone()).collect();
        for key in keys {
            family.remove(&key);
        }
    }

    /// Every row, family after family, each in the order of its keys.
    pub(super) fn all(&self) -> impl Iterator<Item = (usize, &[u8], &[u8])> {
        self.0
            .iter()
            .enumerate()
            .flat_map(|(at, family)| family.iter().map(move |(key, value)| (at, &**key, &**value)))
    }

    /// The first or last row between two keys.
    fn next(&self, at: usize, range: Range<'_>, direction: Direction) -> Option<Row> {
        let is_empty = match range {
            (Bound::Included(from), Bound::Excluded(to))
            | (Bound::Excluded(from), Bound::Excluded(to))
            | (Bound::Excluded(from), Bound::Included(to)) => from >= to,
            (Bound::Included(from), Bound::Included(to)) => from > to,
            _ => false,
        };
        if is_empty {
            return None;
        }
        let mut found = self.0.get(at)?.range::<[u8], _>(range);
        let (key, value) = match direction {
            Direction::Forward => found.next(),
            Direction::Reverse => found.next_back(),
        }?;
        Some((key.clone(), value.clone()))
    }
}

type Range<'b> = (Bound<&'b [u8]>, Bound<&'b [u8]>);

/// Which rows are read.
#[derive(Default)]
pub(crate) struct ReadOptions {
    pub(super) snapshot: Option<Arc<Rows>>,
    lower: Option<Vec<u8>>,
    upper: Option<Vec<u8>>,
}

impl ReadOptions {
    pub(crate) fn set_snapshot<D>(&mut self, snapshot: &SnapshotWithThreadMode<'_, D>) {
        self.snapshot = Some(snapshot.rows.clone());
    }

    pub(crate) fn set_iterate_lower_bound(&mut self, key: impl Into<Vec<u8>>) {
        self.lower = Some(key.into());
    }

    pub(crate) fn set_iterate_upper_bound(&mut self, key: impl Into<Vec<u8>>) {
        self.upper = Some(key.into());
    }

    fn range(&self) -> Range<'_> {
        let lower = self.lower.as_deref().map_or(Bound::Unbounded, Bound::Included);
        (lower, self.upper.as_deref().map_or(Bound::Unbounded, Bound::Excluded))
    }

    /// What lies behind a row, on the way of the direction.
    fn behind<'b>(&'b self, key: &'b [u8], direction: Direction) -> Range<'b> {
        let (lower, upper) = self.range();
        match direction {
            Direction::Forward => (Bound::Excluded(key), upper),
            Direction::Reverse => (lower, Bound::Excluded(key)),
        }
    }
}

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Forward,
    Reverse,
}

/// Where to begin.
#[derive(Clone, Copy)]
pub(crate) enum IteratorMode<'k> {
    Start,
    End,
    From(&'k [u8], Direction),
}

/// A way through rows that ends with them.
pub(super) struct Walk {
    rows: Arc<Rows>,
    family: usize,
    options: ReadOptions,
    direction: Direction,
    next: Option<Row>,
}

impl Walk {
    pub(super) fn new(
        rows: Arc<Rows>,
        family: usize,
        options: ReadOptions,
        mode: IteratorMode<'_>,
    ) -> Self {
        let (lower, upper) = options.range();
        let (direction, range) = match mode {
            IteratorMode::Start => (Direction::Forward, (lower, upper)),
            IteratorMode::End => (Direction::Reverse, (lower, upper)),
            IteratorMode::From(key, Direction::Forward) => {
                let from = options.lower.as_deref().map_or(key, |lower| lower.max(key));
                (Direction::Forward, (Bound::Included(from), upper))
            }
            IteratorMode::From(key, Direction::Reverse) => {
                let to = match options.upper.as_deref() {
                    Some(upper) if upper <= key => Bound::Excluded(upper),
                    _ => Bound::Included(key),
                };
                (Direction::Reverse, (lower, to))
            }
        };
        let next = rows.next(family, range, direction);
        Self { rows, family, options, direction, next }
    }
}

impl Iterator for Walk {
    type Item = Result<(Box<[u8]>, Box<[u8]>), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let (key, value) = self.next.take()?;
        let range = self.options.behind(&key, self.direction);
        self.next = self.rows.next(self.family, range, self.direction);
        Some(Ok((key, (*value).into())))
    }
}

/// A place among rows, which can be moved.
pub(crate) struct DBRawIterator<'d> {
    rows: Arc<Rows>,
    family: usize,
    options: ReadOptions,
    at: Option<Row>,
    _of: PhantomData<&'d ()>,
}

impl DBRawIterator<'_> {
    pub(super) fn new(rows: Arc<Rows>, family: usize, options: ReadOptions) -> Self {
        Self { rows, family, options, at: None, _of: PhantomData }
    }

    pub(crate) fn seek_to_first(&mut self) {
        self.at = self.rows.next(self.family, self.options.range(), Direction::Forward);
    }

    pub(crate) fn seek_to_last(&mut self) {
        self.at = self.rows.next(self.family, self.options.range(), Direction::Reverse);
    }

    pub(crate) fn next(&mut self) {
        self.step(Direction::Forward);
    }

    pub(crate) fn prev(&mut self) {
        self.step(Direction::Reverse);
    }

    fn step(&mut self, direction: Direction) {
        let Some((key, _)) = self.at.take() else { return };
        self.at = self.rows.next(self.family, self.options.behind(&key, direction), direction);
    }

    pub(crate) fn key(&self) -> Option<&[u8]> {
        self.at.as_ref().map(|(key, _)| &**key)
    }

    pub(crate) fn item(&self) -> Option<(&[u8], &[u8])> {
        self.at.as_ref().map(|(key, value)| (&**key, &**value))
    }

    #[expect(clippy::unused_self, reason = "RocksDB's own can fail on its way")]
    pub(crate) fn status(&self) -> Result<(), Error> {
        Ok(())
    }
}
