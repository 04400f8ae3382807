//! The right edge: all that appending needs, and the root, in O(log n) space.
//!
//! Invariant: there is one root per set bit of the size, the largest subtree first.

use alloc::vec::Vec;

use crate::{
    hash::{Hash, join, node_hash},
    nodes::NodeId,
};

/// The first byte of the encoded form. Another layout gets another number.
const VERSION: u8 = 1;
const SIZE_BYTES: usize = size_of::<u64>();
const HASH_BYTES: usize = size_of::<Hash>();

/// A tree reduced to its size and the roots of its perfect subtrees.
///
/// ```
/// let mut edge = tlog::Edge::new();
/// edge.append(tlog::leaf_hash(b"first"), &mut |_, _| {});
/// assert_eq!((edge.size(), edge.root()), (1, tlog::leaf_hash(b"first")));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edge {
    size: u64,
    roots: Vec<Hash>,
}

/// Why bytes are no [`Edge`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The version byte is missing or unknown.
    #[error("tree edge has version {found:?}, this program reads version {VERSION}")]
    Version {
        /// The first byte, if there is one.
        found: Option<u8>,
    },
    /// The number of bytes does not fit the size that the bytes claim.
    #[error("tree edge is {found} bytes long where its size needs {expected}")]
    Length {
        /// Bytes that an edge of the claimed size has.
        expected: usize,
        /// Bytes at hand.
        found: usize,
    },
    /// The size is beyond [`Edge::SIZE_MAX`].
    #[error("tree edge claims {size} leaves, more than any tree of ours can have")]
    Size {
        /// The size that the bytes claim.
        size: u64,
    },
}

impl Edge {
    /// Leaves of the largest tree: at a million a second it lasts 292 thousand years.
    pub const SIZE_MAX: u64 = i64::MAX.unsigned_abs();

    /// The tree without leaves.
    #[must_use]
    pub const fn new() -> Self {
        Self { size: 0, roots: Vec::new() }
    }

    /// The number of leaves.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The root over all leaves.
    #[must_use]
    pub fn root(&self) -> Hash {
        join(&self.roots)
    }

    /// Adds one leaf by its hash. `completed` hears of every node above the leaf that this leaf
    /// completes, lowest level first; the leaf itself is node `size` of level 0 and not reported.
    ///
    /// # Panics
    /// When the tree already has [`Edge::SIZE_MAX`] leaves, which no running system reaches.
    pub fn append(&mut self, leaf_hash: Hash, completed: &mut impl FnMut(NodeId, Hash)) {
        assert!(self.size < Self::SIZE_MAX, "the audit tree has a leaf for every number");
        let mut hash = leaf_hash;
        let mut id = NodeId { level: 0, index: self.size };
        // An odd index is a right child: its left sibling is the last root, and both make a parent.
        while id.index % 2 == 1 {
            let left = self.roots.pop().expect("there is a root for every set bit of the size");
            hash = node_hash(&left, &hash);
            id = NodeId { level: id.level + 1, index: id.index / 2 };
            completed(id, hash);
        }
        self.roots.push(hash);
        self.size += 1;
    }

    /// The stable byte form: version, size (big-endian), then the roots, largest subtree first.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(encoded_len(self.size));
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.size.to_be_bytes());
        bytes.extend(self.roots.iter().flatten());
        bytes
    }

    /// Reads what [`Edge::encode`] wrote.
    ///
    /// # Errors
    /// [`DecodeError`] says what is wrong; nothing but the exact form is taken.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let Some((&VERSION, rest)) = bytes.split_first() else {
            return Err(DecodeError::Version { found: bytes.first().copied() });
        };
        let Some((size, roots)) = rest.split_first_chunk::<SIZE_BYTES>() else {
            return Err(DecodeError::Length { expected: encoded_len(0), found: bytes.len() });
        };
        let size = u64::from_be_bytes(*size);
        if size > Self::SIZE_MAX {
            return Err(DecodeError::Size { size });
        }
        if bytes.len() != encoded_len(size) {
            return Err(DecodeError::Length { expected: encoded_len(size), found: bytes.len() });
        }
        Ok(Self { size, roots: roots.as_chunks::<HASH_BYTES>().0.to_vec() })
    }
}

/// Bytes of the encoded edge of a tree with `size` leaves: at most 2,025.
const fn encoded_len(size: u64) -> usize {
    1 + SIZE_BYTES + size.count_ones() as usize * HASH_BYTES
}
