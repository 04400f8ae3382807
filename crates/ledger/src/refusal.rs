//! Why the ledger refuses: values with what, why and what next; the ledger stayed as it was.

use alloc::string::String;

use minicbor::{Decode, Encode};
use policy::ProfileFault;
use types::ids::ExecutionId;
use types::{AgentId, AgentStatus, Digest, FreezeId, IntentId, LogTime, NodeId, Phase, Role};

use crate::guard::ReplayReason;
use crate::words::{profile_says, waits, what_next};

/// Why not. The text is for people; the HTTP layer chooses status and shape by variant.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, thiserror::Error)]
pub enum Refusal {
    /// The key is unknown, expired or of another namespace.
    #[n(0)]
    #[error("the API key is not valid any more; ask an admin for another")]
    InvalidKey,
    /// The principal was stopped.
    #[n(1)]
    #[error("this principal is {}{}", status.name(), what_next(status.name()))]
    Inactive {
        /// What it is.
        #[n(0)]
        status: AgentStatus,
    },
    /// The role does not allow it.
    #[n(2)]
    #[error("role {role} may not do this; it needs {needed}")]
    Role {
        /// The caller's.
        #[n(0)]
        role: Role,
        /// What it takes.
        #[n(1)]
        needed: String,
    },
    /// No such intent here.
    #[n(3)]
    #[error("{id} is not known here; list intents with `qgate intent list`")]
    UnknownIntent {
        /// Which.
        #[n(0)]
        id: IntentId,
    },
    /// No such principal here.
    #[n(4)]
    #[error("{id} is not known here; list agents with `qgate agent list`")]
    UnknownAgent {
        /// Which.
        #[n(0)]
        id: AgentId,
    },
    /// The intent is past deciding.
    #[n(5)]
    #[error("{id} is {}; read it with `qgate intent show {id}`", waits(*phase))]
    NotHeld {
        /// Which.
        #[n(0)]
        id: IntentId,
        /// What it is.
        #[n(1)]
        phase: Phase,
    },
    /// Its time was up.
    #[n(6)]
    #[error("{id} has expired; the agent can submit it again")]
    Expired {
        /// Which.
        #[n(0)]
        id: IntentId,
    },
    /// The digest is not that of what stands here now.
    #[n(7)]
    #[error(
        "this is not the digest of what is to be decided now: read {id} again, then decide on \
         digest {current}"
    )]
    DigestMismatch {
        /// Which.
        #[n(0)]
        id: IntentId,
        /// The present digest.
        #[n(1)]
        current: Digest,
    },
    /// A digest must be named.
    #[n(8)]
    #[error("{id} has changed since it was held, so the decision must name digest {current}")]
    DigestRequired {
        /// Which.
        #[n(0)]
        id: IntentId,
        /// The present digest.
        #[n(1)]
        current: Digest,
    },
    /// The submitter, its owner or its key.
    #[n(9)]
    #[error("nobody approves what they asked for; ask another reviewer to decide {id}")]
    SelfApproval {
        /// Which.
        #[n(0)]
        id: IntentId,
    },
    /// The policy in force forbids what was held under an older one.
    #[n(10)]
    #[error("the policy in force blocks {id}; reject it, or change the policy first")]
    PolicyBlocks {
        /// Which.
        #[n(0)]
        id: IntentId,
    },
    /// An `Idempotency-Key` header came with another body.
    #[n(11)]
    #[error("this Idempotency-Key was used with another body; use a new key")]
    RequestKeyReused,
    /// No more `Idempotency-Key` headers can be remembered.
    #[n(12)]
    #[error("too many Idempotency-Keys are remembered; send the request without one, or later")]
    RequestKeysFull,
    /// The cluster has its keys already.
    #[n(13)]
    #[error("the cluster is initialised already")]
    AlreadyInitialised,
    /// Another version is in force.
    #[n(14)]
    #[error("version {current} is in force, not the one named; read it and try again")]
    VersionMismatch {
        /// The version in force.
        #[n(0)]
        current: u64,
    },
    /// The name is taken.
    #[n(15)]
    #[error("a namespace of this name exists; choose another name")]
    NamespaceExists,
    /// No more namespaces.
    #[n(16)]
    #[error("the cluster has as many namespaces as it can have")]
    NamespacesFull,
    /// Revoked is for ever.
    #[n(17)]
    #[error("{id} is revoked for ever; register a new agent")]
    Revoked {
        /// Which.
        #[n(0)]
        id: AgentId,
    },
    /// The last admin must stay.
    #[n(18)]
    #[error("this would leave the namespace without an active admin; make another one first")]
    LastAdmin,
    /// Levels only rise, and only to what this build knows.
    #[n(19)]
    #[error("feature level {wanted} cannot be set; it is {current} and this build knows {known}")]
    FeatureLevel {
        /// Asked for.
        #[n(0)]
        wanted: u32,
        /// In force.
        #[n(1)]
        current: u32,
        /// The newest known.
        #[n(2)]
        known: u32,
    },
    /// Only its own agent and admins may do this.
    #[n(20)]
    #[error("{id} belongs to another agent; its own agent or an admin can do this")]
    NotYours {
        /// Which.
        #[n(0)]
        id: IntentId,
    },
    /// Nothing may run now.
    #[n(21)]
    #[error("{id} is {}; only an allowed intent is handed out, and only once", phase.name())]
    NotAllowed {
        /// Which.
        #[n(0)]
        id: IntentId,
        /// What it is.
        #[n(1)]
        phase: Phase,
    },
    /// There is nothing to resolve.
    #[n(22)]
    #[error("{id} is {}, not in doubt; read it with `qgate intent show {id}`", phase.name())]
    NotInDoubt {
        /// Which.
        #[n(0)]
        id: IntentId,
        /// What it is.
        #[n(1)]
        phase: Phase,
    },
    /// No such order here.
    #[n(23)]
    #[error("{id} is not known here")]
    UnknownExecution {
        /// Which.
        #[n(0)]
        id: ExecutionId,
    },
    /// Its dedup window was over, and belongs to a later intent by now.
    #[n(26)]
    #[error("{first} asked for the same since and holds the window; run {id} after it has ended")]
    WindowHeld {
        /// Which.
        #[n(0)]
        id: IntentId,
        /// The intent that holds the window.
        #[n(1)]
        first: IntentId,
    },
    /// A request in the spelling of existing clients that no policy covers.
    #[n(25)]
    #[error("name a `policy`, or ask an admin for a gate that covers this destination")]
    NothingCovers,
    /// More documents than a namespace may have.
    #[n(27)]
    #[error("a namespace has at most {} of these documents", types::limits::SETTINGS_MAX)]
    SettingsFull,
    /// Another executor began.
    #[n(28)]
    #[error("another executor has taken over; this one must stop")]
    EpochOver,
    /// A connector runs it, and no executor is there.
    #[n(29)]
    #[error("{id} is run by the gate, and no executor runs now; ask again after a moment")]
    NoExecutor {
        /// Which.
        #[n(0)]
        id: IntentId,
    },
    /// The gate runs it itself.
    #[n(30)]
    #[error("{id} is run by the gate itself, which also says how it went")]
    RunByGate {
        /// Which.
        #[n(0)]
        id: ExecutionId,
    },
    /// The order was reported with other words.
    #[n(24)]
    #[error("{id} was reported before and the first report stands; a reviewer can be told")]
    AlreadyReported {
        /// Which.
        #[n(0)]
        id: ExecutionId,
    },
    /// The typed profile is missing, another one, or not what its metadata says.
    #[n(34)]
    #[error("{}", profile_says(.0))]
    Profile(#[n(0)] ProfileFault),
    /// A decision that came before, or too late.
    #[n(35)]
    #[error("{}: get a nonce from /v1/nonce, or set the clock, and decide again", reason.name())]
    Replay {
        /// How that shows.
        #[n(0)]
        reason: ReplayReason,
    },
    /// Nobody delegated this decision.
    #[n(36)]
    #[error("no delegation lets this key decide for {principal}; leave the principal out")]
    NoDelegation {
        /// For whom.
        #[n(0)]
        principal: String,
    },
    /// No such approval link.
    #[n(37)]
    #[error("this approval link is not known; ask the reviewer who sent it for another")]
    UnknownLink,
    /// An approval link serves once.
    #[n(38)]
    #[error("this approval link has carried its decision; read the intent to see which")]
    LinkUsed,
    /// It ended with its intent.
    #[n(39)]
    #[error("this approval link ended with its intent; the agent may propose it again")]
    LinkExpired,
    /// A principal has only so many keys at a time.
    #[n(40)]
    #[error(
        "{id} has {} keys that are still good, as many as can be; rotate with a shorter overlap, \
         or with none to end them all",
        types::limits::KEYS_PER_AGENT_MAX
    )]
    KeysFull {
        /// Whose.
        #[n(0)]
        id: AgentId,
    },
    /// Who asked for it was stopped.
    #[n(41)]
    #[error(
        "the agent that asked for {id} is {}, so it does not run; resume the agent, or cancel {id}",
        status.name()
    )]
    SubmitterInactive {
        /// Which.
        #[n(0)]
        id: IntentId,
        /// What its agent is.
        #[n(1)]
        status: AgentStatus,
    },
    /// Ids of nodes serve once.
    #[n(42)]
    #[error(
        "node {node} {}; ids of nodes are never used again: give the node an empty data directory \
         and a new id, and let it join under that",
        if *removed { "was removed from the cluster" } else { "is known with other data" }
    )]
    NodeIdUsed {
        /// Which.
        #[n(0)]
        node: NodeId,
        /// It was removed; else it came with other data.
        #[n(1)]
        removed: bool,
    },
    /// A freeze covers it.
    #[n(43)]
    #[error(
        "{id} is not carried out while {freeze} stands: {reason}; it goes on by itself once that \
         has ended, and `qgate unfreeze {freeze}` ends it"
    )]
    Frozen {
        /// Which.
        #[n(0)]
        id: IntentId,
        /// The freeze.
        #[n(1)]
        freeze: FreezeId,
        /// Why it stands.
        #[n(2)]
        reason: String,
        /// When it ends by itself.
        #[n(3)]
        until: Option<LogTime>,
    },
    /// No such freeze here, or it has ended.
    #[n(44)]
    #[error("{id} does not stand here; list freezes with `qgate freeze --list`")]
    UnknownFreeze {
        /// Which.
        #[n(0)]
        id: FreezeId,
    },
    /// It would have ended before it began.
    #[n(45)]
    #[error("`until` is over already, so nothing is frozen; name a later time, or none")]
    FreezeOver,
    /// More freezes than may stand at a time.
    #[n(46)]
    #[error(
        "{} freezes stand, as many as can at a time; end one, or freeze more at once",
        types::limits::FREEZES_MAX
    )]
    FreezesFull,
}
