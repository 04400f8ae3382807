//! Writes that happen together or not at all, and how they lie in a file.

use super::{ColumnFamily, Error, Rows};

const PUT: u8 = 1;
const DELETE: u8 = 2;
const DELETE_RANGE: u8 = 3;

/// Writes of one moment, as they lie in the WAL.
#[derive(Default)]
pub(crate) struct WriteBatch(Vec<u8>);

impl WriteBatch {
    pub(crate) fn put_cf(
        &mut self,
        family: &ColumnFamily,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
    ) {
        self.push(PUT, family, key.as_ref(), value.as_ref());
    }

    pub(crate) fn delete_cf(&mut self, family: &ColumnFamily, key: impl AsRef<[u8]>) {
        self.push(DELETE, family, key.as_ref(), &[]);
    }

    /// Deletes what has a key from `from` on, below `to`.
    pub(crate) fn delete_range_cf(
        &mut self,
        family: &ColumnFamily,
        from: impl AsRef<[u8]>,
        to: impl AsRef<[u8]>,
    ) {
        self.push(DELETE_RANGE, family, from.as_ref(), to.as_ref());
    }

    pub(crate) fn size_in_bytes(&self) -> usize {
        self.0.len()
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn push(&mut self, kind: u8, family: &ColumnFamily, key: &[u8], value: &[u8]) {
        self.0.extend([kind, u8::try_from(family.at).unwrap_or(u8::MAX)]);
        put(&mut self.0, key);
        put(&mut self.0, value);
    }

    pub(super) fn apply(&self, rows: &mut Rows) {
        apply(&self.0, rows).expect("a batch that this process made");
    }
}

/// Applies the bytes of a batch.
pub(super) fn apply(mut bytes: &[u8], rows: &mut Rows) -> Result<(), Error> {
    while let Some(([kind, family], rest)) = bytes.split_first_chunk() {
        bytes = rest;
        let (key, value) = (take(&mut bytes)?, take(&mut bytes)?);
        let family = usize::from(*family);
        match *kind {
            PUT => rows.put(family, key, value),
            DELETE => rows.delete(family, key),
            DELETE_RANGE => rows.delete_range(family, key, value),
            other => return Err(Error::damaged(format!("a write of kind {other}"))),
        }
    }
    Ok(())
}

/// Puts bytes behind their length.
pub(super) fn put(to: &mut Vec<u8>, bytes: &[u8]) {
    to.extend(u32::try_from(bytes.len()).expect("less than 4 GiB").to_be_bytes());
    to.extend(bytes);
}

/// Takes what [`put`] put.
pub(super) fn take<'b>(bytes: &mut &'b [u8]) -> Result<&'b [u8], Error> {
    let short = || Error::damaged("a length that is more than there is");
    let (length, rest) = bytes.split_first_chunk().ok_or_else(short)?;
    let length = u32::from_be_bytes(*length) as usize;
    let (taken, rest) = rest.split_at_checked(length).ok_or_else(short)?;
    *bytes = rest;
    Ok(taken)
}
