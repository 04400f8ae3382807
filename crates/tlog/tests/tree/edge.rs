//! The right edge: what it reports, and its bytes.

use proptest::prelude::*;
use tlog::{DecodeError, EMPTY_ROOT, Edge, Hash, NodeId, leaf_hash};

use crate::reference::{self, leaf_hashes};

fn grown(leaves: &[Hash]) -> Edge {
    let mut edge = Edge::new();
    leaves.iter().for_each(|leaf| edge.append(*leaf, &mut |_, _| {}));
    edge
}

#[test]
fn each_node_is_reported_when_its_last_leaf_arrives() {
    let leaves = leaf_hashes(64);
    let mut edge = Edge::new();
    for (number, leaf) in (0..).zip(&leaves) {
        let mut expected = Vec::new();
        for level in 1..=6_u8 {
            let width = 1_u64 << level;
            if (number + 1) % width == 0 {
                let id = NodeId { level, index: number / width };
                let end = usize::try_from(number + 1).unwrap();
                let begin = end - usize::try_from(width).unwrap();
                expected.push((id, reference::root(&leaves[begin..end])));
            }
        }
        let mut reported = Vec::new();
        edge.append(*leaf, &mut |id, hash| reported.push((id, hash)));
        assert_eq!(reported, expected, "leaf {number}");
    }
}

/// These bytes lie on disks. If this test fails the format changed: give it a new version byte.
#[test]
fn golden_bytes() {
    let edge = grown(&[leaf_hash(b"a"), leaf_hash(b"b"), leaf_hash(b"c")]);
    let hex: String = edge.encode().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(
        hex,
        concat!(
            "01",
            "0000000000000003",
            "b137985ff484fb600db93107c77b0365c80d78f5b429ded0fd97361d077999eb",
            "597fcb31282d34654c200d3418fca5705c648ebf326ec73d8ddef11841f876d8",
        )
    );
    assert_eq!(Edge::new().encode(), [1, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(Edge::new().root(), EMPTY_ROOT);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// An edge read back is the same edge and goes on growing the same way.
    #[test]
    fn bytes_keep_everything(size in 0..300_u64, more in 0..40_usize) {
        let leaves = leaf_hashes(size);
        let mut edge = grown(&leaves);
        let mut read = Edge::decode(&edge.encode()).unwrap();
        prop_assert_eq!(&read, &edge);
        for leaf in leaves.iter().cycle().take(more) {
            edge.append(*leaf, &mut |_, _| {});
            read.append(*leaf, &mut |_, _| {});
        }
        prop_assert_eq!(read.root(), edge.root());
    }

    /// Any bytes decode to an edge that encodes to them, or are refused.
    #[test]
    fn one_form_per_edge(
        version in 0..3_u8,
        size in 0..8_u64,
        roots in 0..4_usize,
        odd in 0..3_usize,
    ) {
        let mut bytes = vec![version];
        bytes.extend(size.to_be_bytes());
        bytes.extend(vec![0xab; (roots * 32 + odd).saturating_sub(1)]);
        match Edge::decode(&bytes) {
            Ok(edge) => prop_assert_eq!(edge.encode(), bytes),
            Err(_) => prop_assert!(
                version != 1 || bytes.len() != grown(&leaf_hashes(size)).encode().len()
            ),
        }
    }
}

#[test]
fn malformed_bytes_are_refused() {
    let good = grown(&leaf_hashes(5)).encode();
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        bytes
    };
    let length = |expected, found| DecodeError::Length { expected, found };
    #[rustfmt::skip]
    let cases = [
        (Vec::new(), DecodeError::Version { found: None }),
        (with(&|bytes| bytes[0] = 2), DecodeError::Version { found: Some(2) }),
        (with(&|bytes| bytes.truncate(8)), length(9, 8)),
        (with(&|bytes| bytes.truncate(72)), length(73, 72)),
        (with(&|bytes| bytes.truncate(41)), length(73, 41)),
        (with(&|bytes| bytes.push(0)), length(73, 74)),
        (with(&|bytes| bytes.extend([0; 32])), length(73, 105)),
        // Seven leaves have three roots, not two.
        (with(&|bytes| bytes[8] = 7), length(105, 73)),
        (with(&|bytes| bytes[1] = 0x80), DecodeError::Size { size: (1 << 63) + 5 }),
    ];
    for (bytes, expected) in cases {
        assert_eq!(Edge::decode(&bytes), Err(expected));
    }
}

#[test]
fn the_largest_edge_is_read_and_takes_no_leaf() {
    let mut bytes = vec![1];
    bytes.extend(Edge::SIZE_MAX.to_be_bytes());
    bytes.extend([7; 63 * 32]);
    let mut edge = Edge::decode(&bytes).unwrap();
    assert_eq!(edge.size(), Edge::SIZE_MAX);
    let append = move || edge.append(leaf_hash(b"one more"), &mut |_, _| {});
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(append)).is_err());
}
