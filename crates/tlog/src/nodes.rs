//! Where proofs get their nodes from, and the adapter for storage that keeps every eighth level.
//!
//! Invariant: a node's hash depends on its 2^level leaves alone, so a complete node never changes.

use crate::hash::{Hash, node_hash};

/// Levels between two stored ones: the height of a tile.
pub const TILE_LEVELS: u8 = 8;

/// The place of a complete subtree: node `index` of `level` covers the 2^`level` leaves
/// from `index` · 2^`level` on. Leaf hashes are level 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId {
    /// Height above the leaves.
    pub level: u8,
    /// Position on its level, from the left, from 0.
    pub index: u64,
}

impl NodeId {
    /// Whether this node's level is one that [`Tiled`] reads from storage.
    #[must_use]
    pub fn is_stored(self) -> bool {
        self.level.is_multiple_of(TILE_LEVELS)
    }
}

/// Read access to complete subtrees. Only nodes whose leaves all exist are asked for.
pub trait Nodes {
    /// Why a node could not be read.
    type Error;

    /// The hash of one complete subtree; level 0 is the leaf hash of leaf `index`.
    ///
    /// # Errors
    /// Whatever keeps the storage from answering, a missing node included.
    fn node(&self, level: u8, index: u64) -> Result<Hash, Self::Error>;
}

impl<N: Nodes + ?Sized> Nodes for &N {
    type Error = N::Error;

    fn node(&self, level: u8, index: u64) -> Result<Hash, Self::Error> {
        (**self).node(level, index)
    }
}

/// Serves every level from storage that has levels 0, 8, 16 and so on.
///
/// A level in between is computed: at most 128 reads for one node.
#[derive(Clone, Debug)]
pub struct Tiled<S>(pub S);

impl<S: Nodes> Nodes for Tiled<S> {
    type Error = S::Error;

    fn node(&self, level: u8, index: u64) -> Result<Hash, Self::Error> {
        if (NodeId { level, index }).is_stored() {
            return self.0.node(level, index);
        }
        // At most seven deep, since every eighth level is stored.
        let left = self.node(level - 1, index << 1)?;
        let right = self.node(level - 1, (index << 1) | 1)?;
        Ok(node_hash(&left, &right))
    }
}
