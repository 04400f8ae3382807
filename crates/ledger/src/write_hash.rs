//! A running hash over the row writes of every entry, in the order of the log.
//!
//! Nodes that applied the same entries have the same; it tells them apart from the first write on
//! in which they differ. Invariant: it depends on the entries alone, however they are cut into
//! sessions.

use alloc::vec::Vec;
use core::fmt;

use minicbor::{Decode, Encode};
use twox_hash::XxHash3_128;
use types::LogIndex;

/// Stands where the length of a value would for a row that is deleted.
const DELETED: u64 = u64::MAX;

/// XXH3-128 over the hash before, and over each write as `length ‖ key ‖ length ‖ value`, lengths
/// as 8 bytes with the smallest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
pub struct WriteHash(#[cbor(n(0), with = "minicbor::bytes")] pub [u8; 16]);

impl fmt::Display for WriteHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&types::hex(&self.0))
    }
}

/// Takes the writes in as they are made.
pub(crate) struct Hashing {
    last: WriteHash,
    open: XxHash3_128,
    after: Vec<(LogIndex, WriteHash)>,
}

impl Hashing {
    pub(crate) fn after(last: WriteHash) -> Self {
        Self { last, open: begun(last), after: Vec::new() }
    }

    pub(crate) fn write(&mut self, key: &[u8], value: Option<&[u8]>) {
        self.open.write(&(key.len() as u64).to_le_bytes());
        self.open.write(key);
        self.open.write(&value.map_or(DELETED, |value| value.len() as u64).to_le_bytes());
        self.open.write(value.unwrap_or_default());
    }

    /// An entry has ended.
    pub(crate) fn end(&mut self, index: LogIndex) {
        self.last = WriteHash(self.open.finish_128().to_be_bytes());
        self.open = begun(self.last);
        self.after.push((index, self.last));
    }

    /// The hash after the last entry.
    pub(crate) fn last(&self) -> WriteHash {
        self.last
    }

    /// The hashes after each entry of this session.
    pub(crate) fn take(&mut self) -> Vec<(LogIndex, WriteHash)> {
        core::mem::take(&mut self.after)
    }
}

fn begun(last: WriteHash) -> XxHash3_128 {
    let mut open = XxHash3_128::new();
    open.write(&last.0);
    open
}

#[cfg(test)]
mod tests {
    use super::*;

    type Write = (&'static [u8], Option<&'static [u8]>);

    #[test]
    fn every_write_counts_in_its_place() {
        let run = |writes: &[Write]| {
            let mut hashing = Hashing::after(WriteHash::default());
            writes.iter().for_each(|(key, value)| hashing.write(key, *value));
            hashing.end(LogIndex(1));
            hashing.last()
        };
        let writes: [&[Write]; 8] = [
            &[],
            &[(b"a", Some(b"b"))],
            &[(b"a", Some(b""))],
            &[(b"a", None)],
            &[(b"ab", Some(b""))],
            &[(b"a", Some(b"b")), (b"c", Some(b"d"))],
            &[(b"c", Some(b"d")), (b"a", Some(b"b"))],
            &[(b"a", Some(b"bc")), (b"", Some(b"d"))],
        ];
        for (at, one) in writes.iter().enumerate() {
            for other in &writes[..at] {
                assert_ne!(run(one), run(other), "{one:?} {other:?}");
            }
        }
    }

    /// Stored and compared between nodes of different builds.
    #[test]
    fn it_stays_as_it_is() {
        let mut hashing = Hashing::after(WriteHash::default());
        hashing.write(b"key", Some(b"value"));
        hashing.end(LogIndex(1));
        hashing.write(b"key", None);
        hashing.end(LogIndex(2));
        let found: Vec<_> =
            hashing.take().iter().map(|(_, hash)| alloc::format!("{hash}")).collect();
        // As xxhash's own library says of the same bytes.
        let expected = ["8736efb3f8e7cb1075f0a9acb5eaa3a2", "6aa521beaad4eb42e56e0cdf3758652a"];
        assert_eq!(found, expected);
    }
}
