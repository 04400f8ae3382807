//! The verifiers: what an outsider runs, with nothing but hashes in hand.
//!
//! Pure, and total: any input gives an answer, no size overflows.
//! Invariant: a proof that carries one hash too few or too many is refused.

use crate::hash::{EMPTY_ROOT, Hash, node_hash};

/// Whether `proof` shows that the leaf with this hash is leaf `index` of the tree with `size`
/// leaves and this `root`.
#[must_use]
pub fn verify_inclusion(
    leaf_hash: &Hash,
    index: u64,
    size: u64,
    proof: &[Hash],
    root: &Hash,
) -> bool {
    if index >= size {
        return false;
    }
    let mut climb = Climb { node: index, last: size - 1 };
    let mut hash = *leaf_hash;
    for sibling in proof {
        match climb.step() {
            Some(Side::Left) => hash = node_hash(sibling, &hash),
            Some(Side::Right) => hash = node_hash(&hash, sibling),
            None => return false,
        }
    }
    climb.is_at_root() && hash == *root
}

/// Whether `proof` shows that the tree with `new_size` leaves and `new_root` begins with the tree
/// with `old_size` leaves and `old_root`.
#[must_use]
pub fn verify_consistency(
    old_size: u64,
    old_root: &Hash,
    new_size: u64,
    new_root: &Hash,
    proof: &[Hash],
) -> bool {
    if old_size > new_size {
        return false;
    }
    if old_size == new_size {
        return proof.is_empty() && old_root == new_root && (old_size > 0 || is_empty(old_root));
    }
    if old_size == 0 {
        return proof.is_empty() && is_empty(old_root);
    }
    // Start at the last subtree that was complete in the old tree. If that is the old tree as a
    // whole, its root is the start; else the proof begins with it.
    let complete_levels = old_size.trailing_zeros();
    let mut climb =
        Climb { node: (old_size - 1) >> complete_levels, last: (new_size - 1) >> complete_levels };
    let (start, siblings) = if old_size.is_power_of_two() {
        (old_root, proof)
    } else if let Some((first, rest)) = proof.split_first() {
        (first, rest)
    } else {
        return false;
    };
    let (mut old_hash, mut new_hash) = (*start, *start);
    for sibling in siblings {
        match climb.step() {
            Some(Side::Left) => {
                old_hash = node_hash(sibling, &old_hash);
                new_hash = node_hash(sibling, &new_hash);
            }
            // What stands to the right came after the old tree.
            Some(Side::Right) => new_hash = node_hash(&new_hash, sibling),
            None => return false,
        }
    }
    climb.is_at_root() && old_hash == *old_root && new_hash == *new_root
}

fn is_empty(root: &Hash) -> bool {
    *root == EMPTY_ROOT
}

/// On which side of the node the sibling stands.
enum Side {
    Left,
    Right,
}

/// The way from a node up to the root: its index and that of the last node on the same level.
struct Climb {
    node: u64,
    last: u64,
}

impl Climb {
    /// Goes up to the next level on which the node has a sibling, past it to the parent,
    /// and says where the sibling stood; nothing when the node is the root.
    fn step(&mut self) -> Option<Side> {
        if self.is_at_root() {
            return None;
        }
        // The last node of a level has no right sibling. An even one rises as it is.
        while self.node == self.last && self.node.is_multiple_of(2) {
            self.rise();
        }
        let side = if self.node.is_multiple_of(2) { Side::Right } else { Side::Left };
        self.rise();
        Some(side)
    }

    fn rise(&mut self) {
        self.node /= 2;
        self.last /= 2;
    }

    fn is_at_root(&self) -> bool {
        self.last == 0
    }
}
