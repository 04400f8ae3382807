//! How the core sees state: point look-ups and ordered scans over byte rows.
//!
//! `store` implements [`Read`] on RocksDB, tests on an ordered map; [`Overlay`] puts the writes of
//! the running batch over either, so that a command sees what the one before it did.
//! Invariant: a failed look-up is a [`Fault`] that stops the node, never "not there".

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::ops::{Bound, ControlFlow};

use minicbor::Decode;
use policy::PolicySet;
use types::codec::{CodecError, decode};
use types::{Channel, Destination, NamespaceId};

use crate::table;
use crate::write_hash::Hashing;
use crate::writes::Writes;

/// State could not be read, or does not make sense. The node stops: it must not guess.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault(pub String);

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "state is not usable: {}", self.0)
    }
}

impl core::error::Error for Fault {}

impl From<CodecError> for Fault {
    fn from(error: CodecError) -> Self {
        Self(error.to_string())
    }
}

/// Order of a scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Smallest key first.
    Ascending,
    /// Largest key first.
    Descending,
}

/// Called for each row of a scan; `Break` ends it.
pub type Visit<'v> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'v;

/// Point look-ups and ordered scans.
pub trait Read {
    /// The value under a key.
    ///
    /// # Errors
    /// [`Fault`] if the store fails.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Fault>;

    /// Visits the rows with `from <= key < to`.
    ///
    /// # Errors
    /// [`Fault`] if the store fails.
    fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        direction: Direction,
        visit: &mut Visit<'_>,
    ) -> Result<(), Fault>;

    /// The compiled policies of a version. A version never changes once it is written, so an
    /// implementation may keep the decoded form for as long as it likes.
    ///
    /// # Errors
    /// [`Fault`] if the version is missing or does not decode.
    fn compiled(&self, namespace: NamespaceId, version: u64) -> Result<Arc<PolicySet>, Fault> {
        let key = table::policy_compiled(namespace, version);
        let bytes = self.get(&key)?.ok_or_else(|| {
            let namespace = namespace.0;
            Fault(alloc::format!("policy version {version} of namespace {namespace} is missing"))
        })?;
        Ok(Arc::new(decode(&bytes, "policy set")?))
    }

    /// The destinations of a version, which never changes, as policies do not.
    ///
    /// # Errors
    /// [`Fault`] if the version is missing or does not decode.
    fn destinations(
        &self,
        namespace: NamespaceId,
        version: u64,
    ) -> Result<Arc<Vec<Destination>>, Fault> {
        set_of(self.get(&table::destinations(namespace, version))?, "destinations")
    }

    /// The channels of a version, which never changes, as policies do not.
    ///
    /// # Errors
    /// [`Fault`] if the version is missing or does not decode.
    fn channels(&self, namespace: NamespaceId, version: u64) -> Result<Arc<Vec<Channel>>, Fault> {
        set_of(self.get(&table::channels(namespace, version))?, "channels")
    }
}

/// Decodes a set that a head row names.
fn set_of<T: for<'b> Decode<'b, ()>>(
    bytes: Option<Vec<u8>>,
    what: &'static str,
) -> Result<Arc<Vec<T>>, Fault> {
    let bytes = bytes.ok_or_else(|| Fault(alloc::format!("a version of {what} is missing")))?;
    Ok(Arc::new(decode(&bytes, what)?))
}

impl<R: Read + ?Sized> Read for &R {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        (**self).get(key)
    }

    fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        direction: Direction,
        visit: &mut Visit<'_>,
    ) -> Result<(), Fault> {
        (**self).scan(from, to, direction, visit)
    }

    fn compiled(&self, namespace: NamespaceId, version: u64) -> Result<Arc<PolicySet>, Fault> {
        (**self).compiled(namespace, version)
    }

    fn destinations(
        &self,
        namespace: NamespaceId,
        version: u64,
    ) -> Result<Arc<Vec<Destination>>, Fault> {
        (**self).destinations(namespace, version)
    }

    fn channels(&self, namespace: NamespaceId, version: u64) -> Result<Arc<Vec<Channel>>, Fault> {
        (**self).channels(namespace, version)
    }
}

/// A base with the writes of the running batch over it.
pub struct Overlay<R> {
    base: R,
    writes: Writes,
    /// Of the writes as they are made, where somebody wants it.
    pub(crate) hashing: Option<Hashing>,
}

impl<R: Read> Overlay<R> {
    /// Nothing written yet.
    pub fn new(base: R) -> Self {
        Self { base, writes: Writes::new(), hashing: None }
    }

    /// Writes a row.
    pub fn put(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        let (key, value) = (key.as_ref(), value.as_ref());
        if let Some(hashing) = &mut self.hashing {
            hashing.write(key, Some(value));
        }
        self.writes.insert(key, Some(value));
    }

    /// Deletes a row.
    pub fn delete(&mut self, key: impl AsRef<[u8]>) {
        let key = key.as_ref();
        if let Some(hashing) = &mut self.hashing {
            hashing.write(key, None);
        }
        self.writes.insert(key, None);
    }

    /// All writes so far.
    pub fn into_writes(self) -> Writes {
        self.writes
    }
}

impl<R: Read> Read for Overlay<R> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        match self.writes.get(key) {
            Some(written) => Ok(written.map(<[u8]>::to_vec)),
            None => self.base.get(key),
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
        let over = self.writes.range(from, to).into_iter();
        match direction {
            Direction::Ascending => self.merge(over, from, to, direction, visit),
            Direction::Descending => self.merge(over.rev(), from, to, direction, visit),
        }
    }

    fn compiled(&self, namespace: NamespaceId, version: u64) -> Result<Arc<PolicySet>, Fault> {
        let key = table::policy_compiled(namespace, version);
        match self.writes.get(&key) {
            Some(Some(bytes)) => Ok(Arc::new(decode(bytes, "policy set")?)),
            _ => self.base.compiled(namespace, version),
        }
    }

    fn destinations(
        &self,
        namespace: NamespaceId,
        version: u64,
    ) -> Result<Arc<Vec<Destination>>, Fault> {
        match self.writes.get(&table::destinations(namespace, version)) {
            Some(Some(bytes)) => Ok(Arc::new(decode(bytes, "destinations")?)),
            _ => self.base.destinations(namespace, version),
        }
    }

    fn channels(&self, namespace: NamespaceId, version: u64) -> Result<Arc<Vec<Channel>>, Fault> {
        match self.writes.get(&table::channels(namespace, version)) {
            Some(Some(bytes)) => Ok(Arc::new(decode(bytes, "channels")?)),
            _ => self.base.channels(namespace, version),
        }
    }
}

impl<R: Read> Overlay<R> {
    fn merge<'w>(
        &self,
        over: impl Iterator<Item = (&'w [u8], Option<&'w [u8]>)>,
        from: &[u8],
        to: &[u8],
        direction: Direction,
        visit: &mut Visit<'_>,
    ) -> Result<(), Fault> {
        let mut over = over.peekable();
        let mut ended = false;
        let before = |written: &[u8], stored: &[u8]| match direction {
            Direction::Ascending => written < stored,
            Direction::Descending => written > stored,
        };
        self.base.scan(from, to, direction, &mut |key, value| {
            while let Some((written, row)) = over.next_if(|(written, _)| before(written, key)) {
                if let Some(row) = row
                    && visit(written, row).is_break()
                {
                    ended = true;
                    return ControlFlow::Break(());
                }
            }
            let flow = match over.next_if(|(written, _)| *written == key) {
                Some((_, None)) => ControlFlow::Continue(()),
                Some((written, Some(row))) => visit(written, row),
                None => visit(key, value),
            };
            ended = flow.is_break();
            flow
        })?;
        if ended {
            return Ok(());
        }
        for (written, row) in over {
            if let Some(row) = row
                && visit(written, row).is_break()
            {
                break;
            }
        }
        Ok(())
    }
}

/// State in memory, for tests and tools.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct MapState(pub BTreeMap<Vec<u8>, Vec<u8>>);

impl MapState {
    /// Applies row writes.
    pub fn write(&mut self, writes: &Writes) {
        for (key, value) in writes.sorted() {
            match value {
                Some(value) => self.0.insert(key.to_vec(), value.to_vec()),
                None => self.0.remove(key),
            };
        }
    }
}

impl Read for MapState {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        Ok(self.0.get(key).cloned())
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
        let mut rows = self.0.range::<[u8], _>((Bound::Included(from), Bound::Excluded(to)));
        loop {
            let row = match direction {
                Direction::Ascending => rows.next(),
                Direction::Descending => rows.next_back(),
            };
            match row {
                Some((key, value)) if visit(key, value).is_continue() => {}
                _ => return Ok(()),
            }
        }
    }
}
