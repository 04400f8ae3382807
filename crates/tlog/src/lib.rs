//! The audit tree: the Merkle tree of RFC 6962 and RFC 9162 over SHA-256.
//!
//! Pure and `no_std`: hashes go in, hashes come out, storage is asked through [`Nodes`].
//! Invariant: [`Edge::root`], [`root_at`] and the verifiers agree on one root per list of leaves.
//!
//! A writer keeps an [`Edge`] and stores the leaf hashes and the nodes that [`Edge::append`]
//! reports. Whoever stores only levels 0, 8, 16 and so on reads them back through [`Tiled`].
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod edge;
mod hash;
mod nodes;
mod proof;
mod verify;

pub use edge::{DecodeError, Edge};
pub use hash::{EMPTY_ROOT, Hash, leaf_hash, node_hash};
pub use nodes::{NodeId, Nodes, TILE_LEVELS, Tiled};
pub use proof::{ProofError, consistency_proof, inclusion_proof, root_at};
pub use verify::{verify_consistency, verify_inclusion};
