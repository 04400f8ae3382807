//! The cluster's nodes: who was taken in, who left, and what operators ask of the rest.
//!
//! The membership itself is Raft's; here stands who asked for what, and which ids have served.
//! Invariant: an id of a node belongs to one data directory for ever. A node that lost its data has
//! forgotten what it promised, so it never comes back as the one that it was.

use minicbor::{Decode, Encode};
use types::codec::decode;
use types::limits::JOIN_TOKEN_MS_MAX;
use types::{AgentId, LogTime, NamespaceId, NodeId, Role, Stamp};

use crate::command::Envelope;
use crate::credential::principal_who;
use crate::event::Event;
use crate::read::{Fault, Read};
use crate::reply::{Refusal, Reply};
use crate::table;
use crate::transition::{Stop, Transition};

/// See [`crate::Command::ChangeCluster`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum ChangeCluster {
    /// The leader takes in a node that showed a token; no key stands behind it.
    #[n(0)]
    Admit(#[n(0)] NewNode),
    /// A learner shall vote.
    #[n(1)]
    Promote(#[n(0)] NodeId),
    /// A voter shall only learn.
    #[n(2)]
    Demote(#[n(0)] NodeId),
    /// A member leaves for ever.
    #[n(3)]
    Remove(#[n(0)] NodeId),
    /// Another voter shall lead: this one, or the best there is.
    #[n(4)]
    TransferLeader(#[n(0)] Option<NodeId>),
    /// A token with which nodes join.
    #[n(5)]
    IssueJoinToken {
        /// How long it counts, in milliseconds; at most [`JOIN_TOKEN_MS_MAX`].
        #[n(0)]
        valid_ms: u64,
    },
}

/// A node when it comes, with the data that it will keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct NewNode {
    /// Its id.
    #[n(0)]
    pub id: NodeId,
    /// Drawn when its data directory was made.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub incarnation: [u8; 16],
}

/// What an operator asked for that the ledger only keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum ClusterChange {
    /// A learner shall vote.
    #[n(0)]
    Promote,
    /// A voter shall only learn.
    #[n(1)]
    Demote,
    /// Another voter shall lead.
    #[n(2)]
    TransferLeader,
}

impl ClusterChange {
    /// The word used on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Promote => "promote",
            Self::Demote => "demote",
            Self::TransferLeader => "transfer_leader",
        }
    }
}

/// A node that belongs to the cluster, or did. The rules for fields are those of [`crate::rows`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct NodeRow {
    /// Drawn when its data directory was made; `None` if nobody recorded how it came.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub incarnation: Option<[u8; 16]>,
    /// When it was taken in.
    #[n(1)]
    pub admitted_at: Option<LogTime>,
    /// When it left for ever.
    #[n(2)]
    pub removed_at: Option<LogTime>,
}

/// Records a change of the cluster, before it is made.
///
/// # Errors
/// Refused for others than operators and admins of `default`, and for a node whose id has served.
pub(crate) fn change(
    ledger: &impl Read,
    stamp: Stamp,
    envelope: &Envelope,
    command: &ChangeCluster,
) -> Result<Transition, Stop> {
    let by = || operator(ledger, stamp, envelope);
    let asked =
        |change, node| by().map(|by| done(Event::ClusterChangeRequested { change, node, by }));
    match *command {
        ChangeCluster::Admit(node) => admit(ledger, &node),
        ChangeCluster::Promote(node) => asked(ClusterChange::Promote, Some(node)),
        ChangeCluster::Demote(node) => asked(ClusterChange::Demote, Some(node)),
        ChangeCluster::TransferLeader(node) => asked(ClusterChange::TransferLeader, node),
        ChangeCluster::Remove(node) => {
            let by = by()?;
            if row(ledger, node)?.is_some_and(|row| row.removed_at.is_some()) {
                // It was recorded, and perhaps not made yet.
                return Ok(Transition::reply(Reply::Done));
            }
            Ok(done(Event::NodeRemoved { node, by }))
        }
        ChangeCluster::IssueJoinToken { valid_ms } => {
            let by = by()?;
            let expires_at = stamp.time.plus_ms(valid_ms.min(JOIN_TOKEN_MS_MAX));
            Ok(Transition {
                reply: Reply::JoinToken { expires_at },
                events: alloc::vec![Event::JoinTokenIssued { expires_at, by }],
                effects: alloc::vec![],
            })
        }
    }
}

fn admit(ledger: &impl Read, node: &NewNode) -> Result<Transition, Stop> {
    match row(ledger, node.id)? {
        None => Ok(done(Event::NodeAdmitted { node: *node })),
        Some(row) if row.removed_at.is_some() => {
            Err(Refusal::NodeIdUsed { node: node.id, removed: true }.into())
        }
        Some(row) if row.incarnation == Some(node.incarnation) => {
            Ok(Transition::reply(Reply::Done))
        }
        Some(_) => Err(Refusal::NodeIdUsed { node: node.id, removed: false }.into()),
    }
}

fn done(event: Event) -> Transition {
    Transition { reply: Reply::Done, events: alloc::vec![event], effects: alloc::vec![] }
}

/// Who runs the cluster: operators and admins of `default`.
fn operator(ledger: &impl Read, stamp: Stamp, envelope: &Envelope) -> Result<AgentId, Stop> {
    let needed = "operator or admin of namespace default";
    let (who, _) = principal_who(ledger, envelope, stamp.time, Role::may_operate, needed)?;
    if envelope.namespace == NamespaceId::DEFAULT {
        Ok(who.id)
    } else {
        Err(Refusal::Role { role: who.role, needed: needed.into() }.into())
    }
}

/// What is kept of a node.
pub(crate) fn row(ledger: &(impl Read + ?Sized), node: NodeId) -> Result<Option<NodeRow>, Fault> {
    match ledger.get(&table::node(node))? {
        Some(bytes) => Ok(Some(decode(&bytes, "node")?)),
        None => Ok(None),
    }
}
