//! Roots of earlier sizes, inclusion proofs and consistency proofs, from stored nodes.
//!
//! Pure but for the reads through [`Nodes`]; a proof costs O(log n) nodes.
//! Invariant: only subtrees are read that were complete at the size asked for, so a tree that
//! grows meanwhile gives the same answer.

use alloc::vec::Vec;

use crate::{
    hash::{Hash, join},
    nodes::Nodes,
};

/// Why there is no proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError<E> {
    /// The leaf is not in the tree of that size.
    #[error("leaf {index} is not in a tree of {size} leaves; leaves count from 0")]
    NoSuchLeaf {
        /// The leaf asked for.
        index: u64,
        /// The tree asked for.
        size: u64,
    },
    /// A tree can only be compared with a later one.
    #[error("a tree of {new} leaves cannot extend one of {old}; swap the sizes")]
    Shrinking {
        /// The earlier size.
        old: u64,
        /// The later size.
        new: u64,
    },
    /// A node could not be read.
    #[error(transparent)]
    Nodes(#[from] E),
}

/// The root that the tree had when it had `size` leaves.
///
/// # Errors
/// Those of `nodes`.
pub fn root_at<N: Nodes>(size: u64, nodes: &N) -> Result<Hash, N::Error> {
    subtree_root(0, size, nodes)
}

/// The proof that leaf `index` is in the tree of `size` leaves: siblings from the leaf upwards.
///
/// # Errors
/// [`ProofError::NoSuchLeaf`] when `index` is not below `size`, and those of `nodes`.
pub fn inclusion_proof<N: Nodes>(
    index: u64,
    size: u64,
    nodes: &N,
) -> Result<Vec<Hash>, ProofError<N::Error>> {
    if index >= size {
        return Err(ProofError::NoSuchLeaf { index, size });
    }
    let (mut begin, mut end) = (0, size);
    let mut proof = Vec::new();
    while end - begin > 1 {
        let middle = begin + left_size(end - begin);
        if index < middle {
            proof.push(subtree_root(middle, end, nodes)?);
            end = middle;
        } else {
            proof.push(subtree_root(begin, middle, nodes)?);
            begin = middle;
        }
    }
    proof.reverse();
    Ok(proof)
}

/// The proof that the tree of `new` leaves begins with the tree of `old` leaves.
/// It is empty when the sizes are equal, and when `old` is 0: everything extends nothing.
///
/// # Errors
/// [`ProofError::Shrinking`] when `old` is above `new`, and those of `nodes`.
pub fn consistency_proof<N: Nodes>(
    old: u64,
    new: u64,
    nodes: &N,
) -> Result<Vec<Hash>, ProofError<N::Error>> {
    if old > new {
        return Err(ProofError::Shrinking { old, new });
    }
    if old == 0 {
        return Ok(Vec::new());
    }
    let (mut begin, mut end) = (0, new);
    let mut proof = Vec::new();
    while end != old {
        let middle = begin + left_size(end - begin);
        if old <= middle {
            proof.push(subtree_root(middle, end, nodes)?);
            end = middle;
        } else {
            proof.push(subtree_root(begin, middle, nodes)?);
            begin = middle;
        }
    }
    // A subtree that is the whole old tree is left out: the verifier has its root already.
    if begin != 0 {
        proof.push(subtree_root(begin, end, nodes)?);
    }
    proof.reverse();
    Ok(proof)
}

/// The root over leaves `begin..end`, where `begin` is 0 or the start of a right subtree.
fn subtree_root<N: Nodes>(mut begin: u64, end: u64, nodes: &N) -> Result<Hash, N::Error> {
    let mut roots = Vec::new();
    while begin < end {
        let level = (end - begin).ilog2();
        let level_byte = u8::try_from(level).expect("a logarithm of 64 bits is below 64");
        roots.push(nodes.node(level_byte, begin >> level)?);
        begin += 1 << level;
    }
    Ok(join(&roots))
}

/// Leaves left of the split of `size` leaves: the largest power of two below `size` (at least 2).
fn left_size(size: u64) -> u64 {
    1 << (size - 1).ilog2()
}
