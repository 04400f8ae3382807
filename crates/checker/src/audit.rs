//! The audit log as nodes show it in the end: the same leaves on all of them, without a gap, under
//! the root that they tell, and every root that was ever told is that of their beginning.
//!
//! The tree is that of RFC 6962, section 2.1, worked out here anew from the leaves.

use types::Digest;

use crate::history::Seen;

/// The audit log of one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Whose it is.
    pub node: u64,
    /// The root that it tells.
    pub root: String,
    /// Sequence and bytes of each leaf, in the order in which they were listed.
    pub leaves: Vec<(u64, Vec<u8>)>,
}

/// The first promise that was broken, in the end or to somebody who read on the way.
pub fn check(shown: &[Shown], seen: &[Seen]) -> Result<(), String> {
    let Some((first, rest)) = shown.split_first() else { return Ok(()) };
    for Shown { node, leaves, .. } in shown {
        for (place, (sequence, _)) in leaves.iter().enumerate() {
            if *sequence != place as u64 {
                return Err(format!("node {node} lists leaf {sequence} where {place} is next"));
            }
        }
    }
    for other in rest {
        if other.leaves != first.leaves {
            return Err(format!("nodes {} and {} list other leaves", first.node, other.node));
        }
    }
    let roots = roots_of(first.leaves.iter().map(|(_, bytes)| bytes.as_slice()));
    let is_root =
        |leaves: usize, told: &str| roots.get(leaves).is_some_and(|root| root.to_string() == told);
    for Shown { node, root, leaves } in shown {
        if !is_root(leaves.len(), root) {
            return Err(format!("node {node} tells root {root}, not that of its leaves"));
        }
    }
    for Seen { began, leaves, root, .. } in seen {
        if !is_root(usize::try_from(*leaves).unwrap_or(usize::MAX), root) {
            return Err(format!("a read at {began:?} was told {root}, no root of {leaves} leaves"));
        }
    }
    Ok(())
}

/// The roots of the trees of no leaf, of the first, of the first two, and so on.
fn roots_of<'l>(leaves: impl Iterator<Item = &'l [u8]>) -> Vec<Digest> {
    let inner =
        |left: &Digest, right: &Digest| Digest::of(&[&[1], &left.0[..], &right.0[..]].concat());
    let mut roots = vec![Digest::of(&[])];
    // Whole trees of 2^n leaves each, the largest first.
    let mut whole: Vec<(u32, Digest)> = Vec::new();
    for leaf in leaves {
        let mut new = (0, Digest::of(&[&[0], leaf].concat()));
        while let Some((height, left)) = whole.pop_if(|(height, _)| *height == new.0) {
            new = (height + 1, inner(&left, &new.1));
        }
        whole.push(new);
        let mut from_right = whole.iter().rev().map(|(_, tree)| *tree);
        let last = from_right.next().unwrap_or(Digest::of(&[]));
        roots.push(from_right.fold(last, |right, left| inner(&left, &right)));
    }
    roots
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn sound() -> (Vec<Shown>, Vec<Seen>) {
        let leaves: Vec<(u64, Vec<u8>)> =
            (0..5_u8).map(|at| (u64::from(at), vec![at; 3])).collect();
        let roots = roots_of(leaves.iter().map(|(_, bytes)| bytes.as_slice()));
        let shown = |node| Shown { node, root: roots[5].to_string(), leaves: leaves.clone() };
        let seen = |leaves: u64| Seen {
            began: Duration::ZERO,
            ended: Duration::ZERO,
            leaves,
            root: roots[usize::try_from(leaves).expect("few")].to_string(),
        };
        ((1..=3).map(shown).collect(), (0..=5).map(seen).collect())
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
            let root = roots_of(leaves.into_iter())[size].to_string();
            assert!(root.ends_with(expected), "{size}: {root}");
        }
    }

    #[test]
    fn each_broken_promise_is_seen() {
        type Harm = fn(&mut Vec<Shown>, &mut Vec<Seen>);
        let cases: [(&str, Harm); 6] = [
            ("", |_, _| {}),
            ("node 2 lists leaf 3 where 2 is next", |shown, _| drop(shown[1].leaves.remove(2))),
            ("nodes 1 and 3 list other leaves", |shown, _| shown[2].leaves[4].1[0] ^= 1),
            ("node 1 tells root", |shown, _| shown[0].root = "0".repeat(64)),
            ("no root of 3 leaves", |_, seen| seen[3].root = seen[2].root.clone()),
            ("no root of 9 leaves", |_, seen| seen[5].leaves = 9),
        ];
        for (expected, harm) in cases {
            let (mut shown, mut seen) = sound();
            harm(&mut shown, &mut seen);
            match check(&shown, &seen) {
                Ok(()) => assert_eq!(expected, "", "nothing is seen"),
                Err(what) => assert!(!expected.is_empty() && what.contains(expected), "{what}"),
            }
        }
    }
}
