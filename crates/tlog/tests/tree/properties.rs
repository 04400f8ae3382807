//! What holds for every tree: agreement with the recursion, with storage by tiles, at any size.

use std::{cell::Cell, collections::BTreeMap};

use proptest::prelude::*;
use tlog::{
    Edge, Hash, NodeId, Nodes, ProofError, Tiled, consistency_proof, inclusion_proof, root_at,
    verify_consistency, verify_inclusion,
};

use crate::reference::{self, Computed, Missing, Uniform, leaf_hashes};

/// Sizes that exercise every shape of the right edge; all pairs of them are tried.
const ALL_PAIRS_BELOW: u64 = 40;

fn index(number: u64) -> usize {
    usize::try_from(number).unwrap()
}

#[test]
fn small_trees_agree_with_the_recursion_and_verify() {
    let leaves = leaf_hashes(ALL_PAIRS_BELOW);
    let nodes = Computed(&leaves);
    for size in 0..=ALL_PAIRS_BELOW {
        let tree = &leaves[..index(size)];
        let root = reference::root(tree);
        for leaf in 0..size {
            let proof = inclusion_proof(leaf, size, &nodes).unwrap();
            assert_eq!(proof, reference::path(index(leaf), tree), "leaf {leaf} of {size}");
            assert!(verify_inclusion(&tree[index(leaf)], leaf, size, &proof, &root));
        }
        for old in 1..=size {
            let proof = consistency_proof(old, size, &nodes).unwrap();
            assert_eq!(proof, reference::proof(index(old), tree), "{old} to {size}");
            let old_root = reference::root(&tree[..index(old)]);
            assert!(verify_consistency(old, &old_root, size, &root, &proof), "{old} to {size}");
        }
        assert_eq!(consistency_proof(0, size, &nodes), Ok(Vec::new()));
        assert!(verify_consistency(0, &tlog::EMPTY_ROOT, size, &root, &[]));
    }
}

/// Storage as a writer fills it: leaves, and of the reported nodes every eighth level.
#[derive(Default)]
struct Stored {
    rows: BTreeMap<NodeId, Hash>,
    reads: Cell<u32>,
}

impl Stored {
    fn grown(leaves: &[Hash]) -> (Self, Edge) {
        let (mut stored, mut edge) = (Self::default(), Edge::new());
        for leaf in leaves {
            stored.rows.insert(NodeId { level: 0, index: edge.size() }, *leaf);
            edge.append(*leaf, &mut |id, hash| {
                if id.is_stored() {
                    assert_eq!(stored.rows.insert(id, hash), None, "{id:?} is reported once");
                }
            });
        }
        (stored, edge)
    }
}

impl Nodes for Stored {
    type Error = Missing;

    fn node(&self, level: u8, index: u64) -> Result<Hash, Missing> {
        self.reads.set(self.reads.get() + 1);
        self.rows.get(&NodeId { level, index }).copied().ok_or(Missing(level, index))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Storage of every eighth level gives the same roots and proofs as all leaves do.
    #[test]
    fn tiles_are_enough(size in 1..900_u64, old in 0..900_u64, leaf in 0..900_u64) {
        let (old, leaf) = (old % size + 1, leaf % size);
        let leaves = leaf_hashes(size);
        let (stored, edge) = Stored::grown(&leaves);
        let tiled = Tiled(&stored);

        let root = reference::root(&leaves);
        prop_assert_eq!(edge.root(), root);
        prop_assert_eq!(root_at(size, &tiled), Ok(root));
        prop_assert_eq!(root_at(old, &tiled), Ok(reference::root(&leaves[..index(old)])));

        let inclusion = inclusion_proof(leaf, size, &tiled).unwrap();
        prop_assert_eq!(&inclusion, &reference::path(index(leaf), &leaves));
        prop_assert!(verify_inclusion(&leaves[index(leaf)], leaf, size, &inclusion, &root));

        let consistency = consistency_proof(old, size, &tiled).unwrap();
        prop_assert_eq!(&consistency, &reference::proof(index(old), &leaves));
        let old_root = reference::root(&leaves[..index(old)]);
        prop_assert!(verify_consistency(old, &old_root, size, &root, &consistency));
    }

    /// The largest trees that numbers allow neither overflow nor take more than 64 hashes a side.
    #[test]
    fn huge_trees_verify(old in 1..=u64::MAX, new in 1..=u64::MAX, leaf in any::<u64>()) {
        let (old, new) = (old.min(new), old.max(new));
        prop_huge(old, new, leaf % new);
    }
}

#[test]
fn the_largest_sizes_verify() {
    let edges = [1, 2, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 63) + 1, u64::MAX - 1, u64::MAX];
    for (at, old) in edges.into_iter().enumerate() {
        for new in edges.into_iter().skip(at) {
            prop_huge(old, new, new - 1);
            prop_huge(old, new, 0);
        }
    }
}

fn prop_huge(old: u64, new: u64, leaf: u64) {
    let nodes = Uniform::new();
    let root = root_at(new, &nodes).unwrap();
    let inclusion = inclusion_proof(leaf, new, &nodes).unwrap();
    assert!(inclusion.len() <= 64);
    assert!(verify_inclusion(&nodes.node(0, leaf).unwrap(), leaf, new, &inclusion, &root));
    let consistency = consistency_proof(old, new, &nodes).unwrap();
    assert!(consistency.len() <= 65);
    assert!(verify_consistency(old, &root_at(old, &nodes).unwrap(), new, &root, &consistency));
}

#[test]
fn a_node_between_tiles_costs_at_most_half_a_tile_of_reads() {
    let (stored, _) = Stored::grown(&leaf_hashes(512));
    let tiled = Tiled(&stored);
    for level in 0..=9 {
        stored.reads.set(0);
        let node = tiled.node(level, 0).unwrap();
        assert_eq!(node, reference::root(&leaf_hashes(1 << level)), "level {level}");
        assert_eq!(stored.reads.get(), 1 << (level % 8), "level {level}");
    }
}

#[test]
fn what_cannot_be_proved_says_why() {
    let leaves = leaf_hashes(4);
    let (stored, _) = Stored::grown(&leaves);
    let cases = [
        (inclusion_proof(4, 4, &stored), ProofError::NoSuchLeaf { index: 4, size: 4 }),
        (inclusion_proof(0, 0, &stored), ProofError::NoSuchLeaf { index: 0, size: 0 }),
        (consistency_proof(5, 4, &stored), ProofError::Shrinking { old: 5, new: 4 }),
        // Level 1 is not stored: a caller who forgets `Tiled` hears of it.
        (inclusion_proof(0, 4, &stored), ProofError::Nodes(Missing(1, 1))),
        // Beyond the end of the stored tree.
        (consistency_proof(4, 5, &Tiled(&stored)), ProofError::Nodes(Missing(0, 4))),
    ];
    for (result, expected) in cases {
        assert_eq!(result, Err(expected));
    }
}
