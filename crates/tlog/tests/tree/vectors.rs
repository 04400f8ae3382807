//! The eight-leaf tree that implementations of RFC 6962 have always been checked with.

use tlog::{
    EMPTY_ROOT, Edge, Hash, consistency_proof, inclusion_proof, leaf_hash, root_at,
    verify_consistency, verify_inclusion,
};

use crate::reference::Computed;

const LEAVES: [&str; 8] = [
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
];

const ROOTS: [&str; 9] = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

/// What stands beside leaf 0 on the way up, in the tree of eight.
const BESIDE_FIRST: [&str; 3] = [
    "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
    "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
    "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
];

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn hash(hex: &str) -> Hash {
    bytes(hex).try_into().unwrap()
}

fn leaf_hashes() -> Vec<Hash> {
    LEAVES.iter().map(|leaf| leaf_hash(&bytes(leaf))).collect()
}

#[test]
fn roots_of_all_sizes() {
    let leaves = leaf_hashes();
    let mut edge = Edge::new();
    for (size, expected) in (0..).zip(ROOTS) {
        assert_eq!(edge.size(), size);
        assert_eq!(edge.root(), hash(expected), "appended, size {size}");
        assert_eq!(root_at(size, &Computed(&leaves)), Ok(hash(expected)), "read, size {size}");
        if let Some(leaf) = leaves.get(usize::try_from(size).unwrap()) {
            edge.append(*leaf, &mut |_, _| {});
        }
    }
    assert_eq!(EMPTY_ROOT, hash(ROOTS[0]));
}

#[test]
fn proofs_of_the_first_leaf() {
    let leaves = leaf_hashes();
    let nodes = Computed(&leaves);
    let expected = BESIDE_FIRST.map(hash);

    let inclusion = inclusion_proof(0, 8, &nodes).unwrap();
    assert_eq!(inclusion, expected);
    assert!(verify_inclusion(&leaves[0], 0, 8, &inclusion, &hash(ROOTS[8])));

    // The tree of one leaf is that leaf, so the same hashes prove that eight extend one.
    let consistency = consistency_proof(1, 8, &nodes).unwrap();
    assert_eq!(consistency, expected);
    assert!(verify_consistency(1, &hash(ROOTS[1]), 8, &hash(ROOTS[8]), &consistency));
}
