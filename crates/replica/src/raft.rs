//! The types that Raft is built with here.
//!
//! Invariant: nobody outside this crate sees them; what is stored or sent has its own encoding
//! ([`crate::codec`]).

use std::fmt;

use bytes::Bytes;
use ledger::Reply;
use openraft::alias::{EntryOf, LogIdOf, StoredMembershipOf, VoteOf};
use openraft::{EntryPayload, TokioRuntime};

/// A batch of commands as [`ledger::encode_batch`] made it.
#[derive(Clone, PartialEq, Eq)]
pub struct BatchBytes(pub Bytes);

impl fmt::Debug for BatchBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "batch of {} bytes", self.0.len())
    }
}

impl fmt::Display for BatchBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// One reply per command of an entry; none for an entry without commands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Replies(pub Vec<Reply>);

/// A node of the cluster as the membership carries it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeAddress {
    /// Address of its HTTP front door.
    pub http: String,
    /// Address for other nodes.
    pub peer: String,
    /// Where it runs, if configured.
    pub region: String,
}

openraft::declare_raft_types!(
    /// Everything that Raft is generic over.
    pub TypeConfig:
        D = BatchBytes,
        R = Replies,
        NodeId = u64,
        Node = NodeAddress,
        AsyncRuntime = TokioRuntime,
);

pub(crate) type Entry = EntryOf<TypeConfig>;
pub(crate) type LogId = LogIdOf<TypeConfig>;
pub(crate) type Membership = StoredMembershipOf<TypeConfig>;
pub(crate) type Payload = EntryPayload<BatchBytes, u64, NodeAddress>;
pub(crate) type Vote = VoteOf<TypeConfig>;
