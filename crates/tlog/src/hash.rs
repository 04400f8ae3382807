//! The two hash functions of the tree.
//!
//! Invariant: a leaf and an inner node never share an input, so neither passes for the other.

use sha2::{Digest, Sha256};

/// A SHA-256 digest: the hash of a leaf, of a subtree, or the root.
pub type Hash = [u8; 32];

/// The root of the tree without leaves: SHA-256 of nothing.
pub const EMPTY_ROOT: Hash = [
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24,
    0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
];

const LEAF_PREFIX: [u8; 1] = [0x00];
const NODE_PREFIX: [u8; 1] = [0x01];

/// The hash of one leaf's bytes.
#[must_use]
pub fn leaf_hash(leaf: &[u8]) -> Hash {
    Sha256::new().chain_update(LEAF_PREFIX).chain_update(leaf).finalize().into()
}

/// The hash of an inner node with the children `left` and `right`.
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update(NODE_PREFIX).chain_update(left).chain_update(right).finalize().into()
}

/// The root over perfect subtrees that stand side by side, largest first.
pub(crate) fn join(roots: &[Hash]) -> Hash {
    let Some((last, others)) = roots.split_last() else { return EMPTY_ROOT };
    others.iter().rev().fold(*last, |right, left| node_hash(left, &right))
}
