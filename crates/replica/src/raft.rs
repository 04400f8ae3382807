//! The types that Raft is built with here.
//!
//! Invariant: nobody outside this crate sees them; what is stored or sent has its own encoding
//! ([`crate::codec`]).

use std::fmt;

use bytes::Bytes;
use ledger::Reply;
use openraft::alias::{EntryOf, LogIdOf, StoredMembershipOf, VoteOf};
use openraft::impls::leader_id_adv::LeaderId;
use openraft::impls::{BoxedErrorSource, InlineBatch};
use openraft::vote::RaftLeaderId;
use openraft::{EntryPayload, OptionalSend, RaftTypeConfig, TokioRuntime};

use crate::responder::Call;

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
    /// Of the voters that are up to date the one with the highest should lead.
    pub priority: u32,
    /// Drawn with its data directory: a node that lost its data is another one.
    pub incarnation: [u8; 16],
    /// It shall vote as soon as it has caught up.
    pub shall_vote: bool,
}

/// Everything that Raft is generic over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct TypeConfig;

impl RaftTypeConfig for TypeConfig {
    type D = BatchBytes;
    type R = Replies;
    type NodeId = u64;
    type Node = NodeAddress;
    type Term = u64;
    type LeaderId = LeaderId<u64, u64>;
    type Vote = openraft::impls::Vote<Self::LeaderId>;
    type Payload = EntryPayload<BatchBytes, u64, NodeAddress>;
    type Entry = openraft::Entry<<Self::LeaderId as RaftLeaderId>::Committed, Self::Payload>;
    type AsyncRuntime = TokioRuntime;
    type Responder<T: OptionalSend + 'static> = Call<T>;
    type Batch<T: OptionalSend + 'static> = InlineBatch<T>;
    type ErrorSource = BoxedErrorSource;
}

pub(crate) type Entry = EntryOf<TypeConfig>;
pub(crate) type LogId = LogIdOf<TypeConfig>;
pub(crate) type Membership = StoredMembershipOf<TypeConfig>;
pub(crate) type Payload = openraft::alias::PayloadOf<TypeConfig>;
pub(crate) type Vote = VoteOf<TypeConfig>;
