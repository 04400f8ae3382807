//! The audit log as nodes show it in the end: the same leaves on all of them, without a gap, and
//! the root that they tell.
//!
//! The tree is that of RFC 6962, section 2.1, worked out here anew from the leaves.

use types::Digest;

/// The audit log of one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) node: u64,
    pub(crate) root: String,
    /// Sequence and bytes of each leaf, in the order in which they were listed.
    pub(crate) leaves: Vec<(u64, Vec<u8>)>,
}

/// The first promise that was broken.
pub(crate) fn check(shown: &[Shown]) -> Result<(), String> {
    for Shown { node, root, leaves } in shown {
        for (place, (sequence, _)) in leaves.iter().enumerate() {
            if *sequence != place as u64 {
                return Err(format!("node {node} lists leaf {sequence} where {place} is next"));
            }
        }
        let bytes: Vec<&[u8]> = leaves.iter().map(|(_, bytes)| bytes.as_slice()).collect();
        let expected = root_of(&bytes).to_string();
        if *root != expected {
            let count = leaves.len();
            return Err(format!(
                "node {node} tells root {root}; its {count} leaves have {expected}"
            ));
        }
    }
    let Some((first, rest)) = shown.split_first() else { return Ok(()) };
    for other in rest {
        if other.leaves != first.leaves {
            return Err(format!("nodes {} and {} list other leaves", first.node, other.node));
        }
    }
    Ok(())
}

fn root_of(leaves: &[&[u8]]) -> Digest {
    match leaves {
        [] => Digest::of(&[]),
        [leaf] => Digest::of(&[&[0], *leaf].concat()),
        _ => {
            // The largest power of two that is less than their number.
            let half = 1 << (leaves.len() - 1).ilog2();
            let (left, right) = leaves.split_at(half);
            Digest::of(&[&[1], &root_of(left).0[..], &root_of(right).0[..]].concat())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound() -> Vec<Shown> {
        let leaves: Vec<(u64, Vec<u8>)> = (0..5).map(|at| (at, vec![at as u8; 3])).collect();
        let bytes: Vec<&[u8]> = leaves.iter().map(|(_, bytes)| bytes.as_slice()).collect();
        let root = root_of(&bytes).to_string();
        (1..=3).map(|node| Shown { node, root: root.clone(), leaves: leaves.clone() }).collect()
    }

    #[test]
    fn roots_are_those_of_the_certificate_transparency_tests() {
        let leaves: [&[u8]; 4] = [&[], &[0x00], &[0x10], &[0x20, 0x21]];
        for (size, expected) in [
            (0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            (1, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"),
            (2, "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"),
            (3, "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"),
            (4, "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"),
        ] {
            let root = root_of(&leaves[..size]).to_string();
            assert!(root.ends_with(expected), "{size}: {root}");
        }
    }

    #[test]
    fn each_broken_promise_is_seen() {
        type Harm = fn(&mut Vec<Shown>);
        let cases: [(&str, Harm); 5] = [
            ("", |_| {}),
            ("node 2 lists leaf 3 where 2 is next", |shown| drop(shown[1].leaves.remove(2))),
            ("node 3 tells root", |shown| shown[2].leaves[4].1[0] ^= 1),
            ("node 1 tells root", |shown| drop(shown[0].leaves.pop())),
            ("nodes 1 and 2 list other leaves", |shown| {
                shown[1].leaves[0].1[0] ^= 1;
                let bytes: Vec<&[u8]> = shown[1].leaves.iter().map(|(_, leaf)| &leaf[..]).collect();
                shown[1].root = root_of(&bytes).to_string();
            }),
        ];
        for (expected, harm) in cases {
            let mut shown = sound();
            harm(&mut shown);
            match check(&shown) {
                Ok(()) => assert_eq!(expected, "", "nothing is seen"),
                Err(what) => assert!(!expected.is_empty() && what.contains(expected), "{what}"),
            }
        }
    }
}
