//! What the ledger answers, and what it wants done outside.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use minicbor::{Decode, Encode};
use types::{
    AgentId, Destination, Digest, IntentId, KeyId, LogIndex, LogTime, NamespaceId, Phase, WebhookId,
};

use crate::link_rows::LinkRow;
pub use crate::refusal::Refusal;
use crate::rows::{AgentRow, Content, Head, OrderRow, Vote};
use crate::rows_freeze::FreezeRow;

/// Every answer. Numbers are never reused: replies are kept ten minutes and travel between nodes.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Reply {
    /// Done, nothing to add.
    #[n(0)]
    Done,
    /// An intent was accepted (`held`, `allowed` or `blocked`), now or by an earlier request.
    #[n(1)]
    Submitted(#[n(0)] Box<Head>, #[n(1)] Box<Content>),
    /// The same thing was asked for before.
    #[n(2)]
    Duplicate(#[n(0)] Box<Duplicate>),
    /// A vote was counted; more are needed.
    #[n(3)]
    VoteRecorded {
        /// Which intent.
        #[n(0)]
        intent: IntentId,
        /// Votes so far.
        #[n(1)]
        votes: u32,
        /// Votes needed.
        #[n(2)]
        required: u32,
        /// Names of the voters.
        #[n(3)]
        voted_by: Vec<String>,
    },
    /// The intent may run.
    #[n(4)]
    Approved {
        /// Which intent.
        #[n(0)]
        intent: IntentId,
        /// When it was allowed.
        #[n(1)]
        at: LogTime,
        /// True if it already was.
        #[n(2)]
        already: bool,
        /// The votes that allowed it just now, so that this answer says the same when it is given
        /// again, whatever became of the intent.
        #[n(3)]
        votes: Option<Vec<Vote>>,
    },
    /// The intent ended as `rejected` or `cancelled`.
    #[n(5)]
    Ended {
        /// Which intent.
        #[n(0)]
        intent: IntentId,
        /// `rejected` or `cancelled`.
        #[n(1)]
        phase: Phase,
        /// The reason as sent.
        #[n(2)]
        reason: Option<String>,
    },
    /// A principal as it is now.
    #[n(6)]
    Agent(#[n(0)] Box<AgentRow>),
    /// A key was added.
    #[n(7)]
    KeyAdded {
        /// Whose.
        #[n(0)]
        agent: AgentId,
        /// Which.
        #[n(1)]
        key: KeyId,
    },
    /// A namespace was made.
    #[n(8)]
    Namespace(#[n(0)] NamespaceId),
    /// Policies are in force.
    #[n(9)]
    Policies {
        /// Their version.
        #[n(0)]
        version: u64,
        /// Their digest.
        #[n(1)]
        digest: Digest,
        /// False if the same bytes already were in force.
        #[n(2)]
        changed: bool,
    },
    /// What was due has been worked off.
    #[n(10)]
    Ticked {
        /// More is due than one tick does.
        #[n(0)]
        more: bool,
    },
    /// No: the ledger stayed as it was.
    #[n(11)]
    Refused(#[n(0)] Refusal),
    /// The node must make the facts for this version and ask again, unseen by the caller.
    #[n(12)]
    FactsNeeded {
        /// The version in force; 0 for none.
        #[n(0)]
        version: u64,
    },
    /// The id is taken by another request: draw another, unseen by the caller.
    #[n(13)]
    IdTaken,
    /// An `Idempotency-Key` header was seen before: the first answer again.
    #[n(14)]
    Replayed(#[n(0)] Box<Reply>),
    /// A change of policy made the intent stricter while people were voting; votes are void.
    #[n(15)]
    PolicyChanged {
        /// Which intent.
        #[n(0)]
        intent: IntentId,
        /// What is to be approved now.
        #[n(1)]
        digest: Digest,
    },
    /// An execution order as it is now.
    #[n(16)]
    Order(#[n(0)] Box<OrderRow>),
    /// The executor may run an intent, as this document says.
    #[n(20)]
    Claimed(#[n(0)] Box<OrderRow>, #[n(1)] Box<Destination>),
    /// An executor's epoch began, or goes on.
    #[n(21)]
    TookOver {
        /// Log index at which it began.
        #[n(0)]
        epoch: LogIndex,
        /// More was left open than one command works off.
        #[n(1)]
        more: bool,
    },
    /// A webhook is registered.
    #[n(22)]
    Webhook(#[n(0)] WebhookId),
    /// A reviewer's approval link; the node unseals its token.
    #[n(28)]
    Link(#[n(0)] Box<LinkRow>),
    /// The node may sign a join token that counts until then.
    #[n(29)]
    JoinToken {
        /// From then on it is refused.
        #[n(0)]
        expires_at: LogTime,
    },
    /// A freeze as it is now.
    #[n(30)]
    Freeze(#[n(0)] Box<FreezeRow>),
    /// Somebody wants a freeze ended.
    #[n(31)]
    Unfreeze {
        /// The freeze, with every vote.
        #[n(0)]
        row: Box<FreezeRow>,
        /// Votes needed.
        #[n(1)]
        needed: u32,
        /// It has ended.
        #[n(2)]
        ended: bool,
    },
}

/// Details of a duplicate.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Duplicate {
    /// The first intent.
    #[n(0)]
    pub first: IntentId,
    /// Its phase now.
    #[n(1)]
    pub phase: Phase,
    /// For people.
    #[n(2)]
    pub message: String,
    /// The gate whose window it is; `None` for an `idempotency_key`.
    #[n(3)]
    pub gate: Option<String>,
    /// The rule, `idempotency_key`.
    #[n(4)]
    pub rule: String,
    /// When the window ends; `None` while the first intent's phase holds it open.
    #[n(5)]
    pub window_ends_at: Option<LogTime>,
}

/// Hints for the node that applied the entry. The ledger is the truth; a lost hint loses nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Somebody may wait for this intent.
    PhaseChanged(IntentId),
    /// Keys, roles or status changed: caches of them are stale.
    PrincipalsChanged,
    /// Other policies or destinations are in force: caches of them are stale.
    SettingsChanged,
    /// There is something for the executor to claim or to run.
    Runnable,
    /// A notification is to be sent.
    DeliveryDue,
    /// A freeze began, was settled, or ended.
    FreezesChanged,
}
