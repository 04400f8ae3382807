//! The definitions of RFC 6962, section 2.1, as they stand there: recursive and slow.
//!
//! Invariant: shares no code with the crate but the two hash functions, which the published
//! vectors check by themselves.

use std::convert::Infallible;

use tlog::{EMPTY_ROOT, Hash, Nodes, leaf_hash, node_hash};

/// Some leaves that differ, by number.
pub(crate) fn leaf_hashes(size: u64) -> Vec<Hash> {
    (0..size).map(|number| leaf_hash(&number.to_le_bytes())).collect()
}

/// MTH(D[n]).
pub(crate) fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => EMPTY_ROOT,
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(split(leaves.len()));
            node_hash(&root(left), &root(right))
        }
    }
}

/// PATH(m, D[n]).
pub(crate) fn path(index: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let (left, right) = leaves.split_at(split(leaves.len()));
    let (mut below, sibling) = if index < left.len() {
        (path(index, left), root(right))
    } else {
        (path(index - left.len(), right), root(left))
    };
    below.push(sibling);
    below
}

/// PROOF(m, D[n]).
pub(crate) fn proof(old: usize, leaves: &[Hash]) -> Vec<Hash> {
    subproof(old, leaves, true)
}

fn subproof(old: usize, leaves: &[Hash], whole: bool) -> Vec<Hash> {
    if old == leaves.len() {
        return if whole { Vec::new() } else { vec![root(leaves)] };
    }
    let (left, right) = leaves.split_at(split(leaves.len()));
    let (mut below, sibling) = if old <= left.len() {
        (subproof(old, left, whole), root(right))
    } else {
        (subproof(old - left.len(), right, false), root(left))
    };
    below.push(sibling);
    below
}

/// The largest power of two below `size`.
fn split(size: usize) -> usize {
    let mut power = 1;
    while power * 2 < size {
        power *= 2;
    }
    power
}

/// Nodes computed from all leaves, again at each call.
pub(crate) struct Computed<'a>(pub(crate) &'a [Hash]);

impl Nodes for Computed<'_> {
    type Error = Infallible;

    fn node(&self, level: u8, index: u64) -> Result<Hash, Infallible> {
        let width = 1_usize << level;
        let begin = usize::try_from(index).expect("test trees are small") * width;
        Ok(root(&self.0[begin..begin + width]))
    }
}

/// The error of storage that has no such node.
#[derive(Debug, PartialEq)]
pub(crate) struct Missing(pub(crate) u8, pub(crate) u64);

/// A tree of any size whose leaves are all equal, so each level has one hash.
pub(crate) struct Uniform(Vec<Hash>);

impl Uniform {
    pub(crate) fn new() -> Self {
        let leaf = leaf_hash(b"same");
        Self(
            std::iter::successors(Some(leaf), |hash| Some(node_hash(hash, hash)))
                .take(64)
                .collect(),
        )
    }
}

impl Nodes for Uniform {
    type Error = Missing;

    fn node(&self, level: u8, index: u64) -> Result<Hash, Missing> {
        self.0.get(usize::from(level)).copied().ok_or(Missing(level, index))
    }
}
