//! Proofs that must not pass: each is a valid one with one thing changed.
//!
//! Invariant: the leaves differ pairwise, so no changed claim is true by chance.

use tlog::{
    EMPTY_ROOT, Hash, consistency_proof, inclusion_proof, leaf_hash, root_at, verify_consistency,
    verify_inclusion,
};

use crate::reference::{Computed, leaf_hashes};

const SIZES: u64 = 20;
/// More sizes and positions than the trees have, to be claimed falsely.
const CLAIMS: u64 = 24;

fn flipped(hash: &Hash) -> impl Iterator<Item = Hash> + use<> {
    let hash = *hash;
    [0, 100, 255].into_iter().map(move |bit| {
        let mut changed = hash;
        changed[bit / 8] ^= 1 << (bit % 8);
        changed
    })
}

/// The proof with one hash changed, dropped, added or swapped, in every way and place.
fn mutations(proof: &[Hash]) -> Vec<Vec<Hash>> {
    let stranger = leaf_hash(b"stranger");
    let mut all = Vec::new();
    for at in 0..=proof.len() {
        let mut longer = proof.to_vec();
        longer.insert(at, stranger);
        all.push(longer);
    }
    for (at, hash) in proof.iter().enumerate() {
        for changed in flipped(hash) {
            let mut other = proof.to_vec();
            other[at] = changed;
            all.push(other);
        }
        let mut shorter = proof.to_vec();
        shorter.remove(at);
        all.push(shorter);
        let mut doubled = proof.to_vec();
        doubled.insert(at, *hash);
        all.push(doubled);
    }
    for at in 1..proof.len() {
        let mut swapped = proof.to_vec();
        swapped.swap(at - 1, at);
        all.push(swapped);
    }
    all
}

#[test]
fn no_changed_inclusion_proof_verifies() {
    let leaves = leaf_hashes(CLAIMS);
    let nodes = Computed(&leaves);
    for size in 1..=SIZES {
        let root = root_at(size, &nodes).unwrap();
        for index in 0..size {
            let leaf = leaves[usize::try_from(index).unwrap()];
            let proof = inclusion_proof(index, size, &nodes).unwrap();
            let verify = |leaf: &Hash, index, size, proof: &[Hash], root: &Hash| {
                verify_inclusion(leaf, index, size, proof, root)
            };
            assert!(verify(&leaf, index, size, &proof, &root));
            for other in mutations(&proof) {
                assert!(!verify(&leaf, index, size, &other, &root), "{index} of {size}");
            }
            for other in flipped(&leaf) {
                assert!(!verify(&other, index, size, &proof, &root), "{index} of {size}");
            }
            for other in flipped(&root).chain([EMPTY_ROOT]) {
                assert!(!verify(&leaf, index, size, &proof, &other), "{index} of {size}");
            }
            for claimed in (0..CLAIMS).chain([u64::MAX]).filter(|claimed| *claimed != index) {
                assert!(!verify(&leaf, claimed, size, &proof, &root), "{index} of {size}");
            }
        }
    }
}

/// The size is not part of a root, so a proof may fit several sizes; with the root that belongs
/// to the claimed size it never does.
#[test]
fn no_inclusion_proof_verifies_for_another_size() {
    let leaves = leaf_hashes(CLAIMS);
    let nodes = Computed(&leaves);
    for size in 1..=SIZES {
        for index in 0..size {
            let leaf = leaves[usize::try_from(index).unwrap()];
            let proof = inclusion_proof(index, size, &nodes).unwrap();
            for claimed in (0..=CLAIMS).filter(|claimed| *claimed != size) {
                let root = root_at(claimed, &nodes).unwrap();
                assert!(!verify_inclusion(&leaf, index, claimed, &proof, &root));
            }
        }
    }
}

#[test]
fn no_changed_consistency_proof_verifies() {
    let leaves = leaf_hashes(CLAIMS);
    let nodes = Computed(&leaves);
    let roots: Vec<Hash> = (0..=CLAIMS).map(|size| root_at(size, &nodes).unwrap()).collect();
    let root = |size: u64| &roots[usize::try_from(size).unwrap()];
    for new in 1..=SIZES {
        for old in 1..=new {
            let proof = consistency_proof(old, new, &nodes).unwrap();
            assert!(verify_consistency(old, root(old), new, root(new), &proof));
            for other in mutations(&proof) {
                assert!(!verify_consistency(old, root(old), new, root(new), &other));
            }
            for other in flipped(root(old)).chain([EMPTY_ROOT]) {
                assert!(!verify_consistency(old, &other, new, root(new), &proof));
            }
            for other in flipped(root(new)).chain([EMPTY_ROOT]) {
                assert!(!verify_consistency(old, root(old), new, &other, &proof));
            }
            for claimed in (0..=CLAIMS).filter(|claimed| *claimed != old && *claimed != new) {
                let found = verify_consistency(claimed, root(claimed), new, root(new), &proof);
                assert!(!found || is_trivial(claimed, &proof), "{claimed} for {old} to {new}");
                assert!(!verify_consistency(old, root(old), claimed, root(claimed), &proof));
            }
        }
    }
}

/// A log that lies about its size, and shows the true root of a tree of another height.
#[test]
fn no_consistency_proof_verifies_at_another_height() {
    let leaves = leaf_hashes(SIZES);
    let nodes = Computed(&leaves);
    for new in 2..=SIZES {
        let root = root_at(new, &nodes).unwrap();
        for old in 1..new {
            let old_root = root_at(old, &nodes).unwrap();
            let proof = consistency_proof(old, new, &nodes).unwrap();
            for claimed in old + 1..4 * SIZES {
                let found = verify_consistency(old, &old_root, claimed, &root, &proof);
                let height = |size: u64| (size - 1).checked_ilog2();
                assert!(!found || height(claimed) == height(new), "{old} to {new} as {claimed}");
            }
        }
    }
}

/// Nothing needs a proof to be extended.
fn is_trivial(old: u64, proof: &[Hash]) -> bool {
    old == 0 && proof.is_empty()
}

#[test]
fn sizes_at_the_rim() {
    let leaf = leaf_hash(b"leaf");
    let other = leaf_hash(b"other");
    #[rustfmt::skip]
    let cases: [(bool, bool, &str); 11] = [
        (verify_inclusion(&leaf, 0, 0, &[], &EMPTY_ROOT), false, "an empty tree has no leaf"),
        (verify_inclusion(&leaf, 0, 1, &[], &leaf), true, "the only leaf is the root"),
        (verify_inclusion(&leaf, u64::MAX, u64::MAX, &[], &leaf), false, "leaf after the last"),
        (verify_inclusion(&leaf, u64::MAX - 1, u64::MAX, &[], &leaf), false, "proof missing"),
        (verify_consistency(0, &EMPTY_ROOT, 0, &EMPTY_ROOT, &[]), true, "empty to empty"),
        (verify_consistency(0, &leaf, 0, &leaf, &[]), false, "an empty tree has one root"),
        (verify_consistency(0, &leaf, 1, &leaf, &[]), false, "no root of the empty tree"),
        (verify_consistency(0, &EMPTY_ROOT, 1, &leaf, &[other]), false, "proof too long"),
        (verify_consistency(1, &leaf, 1, &other, &[]), false, "one size, two roots: a fork"),
        (verify_consistency(2, &leaf, 1, &leaf, &[]), false, "shrinking"),
        (verify_consistency(u64::MAX - 1, &leaf, u64::MAX, &leaf, &[]), false, "proof missing"),
    ];
    for (found, expected, why) in cases {
        assert_eq!(found, expected, "{why}");
    }
}
