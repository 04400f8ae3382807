//! What every audit leaf has beside what happened, and its readable side.

use alloc::string::String;
use alloc::vec::Vec;

use minicbor::{Decode, Encode};
use types::{AgentId, IntentId, LogIndex, LogTime, NamespaceId, Outcome, Place, RuleSource, Salt};

use crate::audit::LeafBody;

/// The leaf version written by this build.
pub(crate) const LEAF_VERSION: u8 = 1;

/// One audit entry.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Leaf {
    /// Form of the rest.
    #[n(0)]
    pub version: u8,
    /// Position in the tree, from 0, without gaps.
    #[n(1)]
    pub sequence: u64,
    /// Raft log index of the entry.
    #[n(2)]
    pub index: LogIndex,
    /// Position of the command in its batch.
    #[n(3)]
    pub position: u32,
    /// Log time.
    #[n(4)]
    pub time: LogTime,
    /// Whose it is.
    #[n(5)]
    pub namespace: NamespaceId,
    /// Who did it; `None` for policy, time and the cluster.
    #[n(6)]
    pub actor: Option<AgentId>,
    /// The intent it is about.
    #[n(7)]
    pub intent: Option<IntentId>,
    /// What happened.
    #[n(8)]
    pub body: LeafBody,
}

/// What a rule said, without the agent's words.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct LeafReason {
    /// Whose rule.
    #[n(0)]
    pub source: RuleSource,
    /// Its key.
    #[n(1)]
    pub rule: String,
    /// What it said.
    #[n(2)]
    pub outcome: Outcome,
    /// Where it stands.
    #[n(3)]
    pub place: Place,
}

/// The readable side of a leaf: names and words, erasable.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct LeafDetail {
    /// The actor's name at that time.
    #[n(0)]
    pub actor_name: Option<String>,
    /// The words whose commitment the leaf holds.
    #[n(1)]
    pub reason: Option<String>,
    /// The salt of a commitment that no intent carries (a refused repeat's).
    #[n(2)]
    pub salt: Option<Salt>,
    /// Names of the voters so far.
    #[n(3)]
    pub voters: Vec<String>,
}
