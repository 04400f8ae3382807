//! Audit leaves: one per event, canonical CBOR, appended to the Merkle tree in the same batch as
//! the change. Agent data enters only as `SHA-256(salt ‖ value)`; its readable text is a row
//! beside the leaf that can be erased without breaking the tree.
//!
//! Invariant: the form of a leaf never changes under its version; golden tests hold it.

use alloc::string::String;
use alloc::vec::Vec;

use minicbor::{Decode, Encode};
use types::{
    AgentId, AgentStatus, DeliveryId, Digest, Effect, ExecutionId, FreezeId, FreezeScope, KeyId,
    LogIndex, LogTime, NodeId, Notice, Outcome, Phase, Role, WebhookId,
};

use crate::cluster::ClusterChange;
pub(crate) use crate::leaf::{LEAF_VERSION, LeafReason};
pub use crate::leaf::{Leaf, LeafDetail};
use crate::rows_freeze::Running;
use crate::rows_outward::DeliveryStatus;

/// What happened, by kind.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum LeafBody {
    /// See [`crate::Event::Bootstrapped`].
    #[n(0)]
    Bootstrapped {
        /// 32 hex digits.
        #[n(0)]
        cluster_id: String,
        /// The first admin.
        #[n(1)]
        admin: AgentId,
        /// Its key.
        #[n(2)]
        key: KeyId,
        /// The node that made the cluster.
        #[n(3)]
        node: Option<NodeId>,
    },
    /// See [`crate::Event::Submitted`].
    #[n(1)]
    Submitted {
        /// Where it went.
        #[n(0)]
        phase: Phase,
        /// The resource.
        #[n(1)]
        destination: String,
        /// The named policy.
        #[n(2)]
        policy: Option<String>,
        /// Commitment to the payload's digest.
        #[n(3)]
        payload: Option<Digest>,
        /// Commitment to the whole proposal.
        #[n(4)]
        proposal: Digest,
        /// The version in force.
        #[n(5)]
        policy_version: u64,
        /// Digest of its bytes.
        #[n(6)]
        policy_digest: Option<Digest>,
        /// Digest of the rules that matched.
        #[n(7)]
        rules_digest: Digest,
        /// Rule by rule.
        #[n(8)]
        reasons: Vec<LeafReason>,
        /// What people approve.
        #[n(9)]
        approval_digest: Digest,
        /// How many of them.
        #[n(10)]
        approvals_needed: u32,
        /// Commitments to the fingerprints of the windows that it opens.
        #[n(11)]
        windows: Vec<Digest>,
        /// Until when it may wait.
        #[n(12)]
        expires_at: LogTime,
        /// The key that was used.
        #[n(13)]
        credential: KeyId,
    },
    /// See [`crate::Event::DuplicateRefused`].
    #[n(2)]
    DuplicateRefused {
        /// The gate of the window; `None` for an `idempotency_key`.
        #[n(0)]
        gate: Option<String>,
        /// Commitment to fingerprint or key digest, under the first intent's salt.
        #[n(1)]
        fingerprint: Digest,
        /// Commitment to the repeat's payload digest, under the repeat's salt.
        #[n(2)]
        payload: Option<Digest>,
    },
    /// See [`crate::Event::Approved`].
    #[n(3)]
    Approved {
        /// What was approved.
        #[n(0)]
        digest: Digest,
        /// Votes with this one.
        #[n(1)]
        votes: u32,
        /// Votes needed.
        #[n(2)]
        required: u32,
        /// The key that was used.
        #[n(3)]
        credential: KeyId,
        /// Commitment to the reason.
        #[n(4)]
        reason: Option<Digest>,
    },
    /// See [`crate::Event::Allowed`].
    #[n(4)]
    Allowed,
    /// See [`crate::Event::Ended`].
    #[n(5)]
    Ended {
        /// How.
        #[n(0)]
        phase: Phase,
        /// Commitment to the reason.
        #[n(1)]
        reason: Option<Digest>,
    },
    /// See [`crate::Event::PolicyChanged`].
    #[n(6)]
    PolicyChanged {
        /// The version in force.
        #[n(0)]
        policy_version: u64,
        /// Digest of the rules that match now.
        #[n(1)]
        rules_digest: Digest,
        /// What they say.
        #[n(2)]
        outcome: Outcome,
        /// What is to be approved now.
        #[n(3)]
        approval_digest: Digest,
    },
    /// See [`crate::Event::AgentRegistered`].
    #[n(7)]
    AgentRegistered {
        /// Whom.
        #[n(0)]
        agent: AgentId,
        /// Its role.
        #[n(1)]
        role: Role,
        /// Its key.
        #[n(2)]
        key: KeyId,
    },
    /// See [`crate::Event::AgentStatusChanged`].
    #[n(8)]
    AgentStatusChanged {
        /// Whom.
        #[n(0)]
        agent: AgentId,
        /// To what.
        #[n(1)]
        status: AgentStatus,
    },
    /// See [`crate::Event::KeyRotated`].
    #[n(9)]
    KeyRotated {
        /// Whose.
        #[n(0)]
        agent: AgentId,
        /// The new key.
        #[n(1)]
        key: KeyId,
        /// When the older ones end.
        #[n(2)]
        ends_at: LogTime,
    },
    /// See [`crate::Event::RoleChanged`].
    #[n(10)]
    RoleChanged {
        /// Whose.
        #[n(0)]
        agent: AgentId,
        /// The new role.
        #[n(1)]
        role: Role,
    },
    /// See [`crate::Event::NamespaceCreated`].
    #[n(11)]
    NamespaceCreated {
        /// Its name.
        #[n(0)]
        name: String,
        /// Its first admin.
        #[n(1)]
        admin: AgentId,
    },
    /// See [`crate::Event::PoliciesApplied`].
    #[n(12)]
    PoliciesApplied {
        /// The version in force now.
        #[n(0)]
        version: u64,
        /// Digest of its bytes.
        #[n(1)]
        digest: Digest,
    },
    /// See [`crate::Event::FeatureLevelRaised`].
    #[n(13)]
    FeatureLevelRaised {
        /// The level in force now.
        #[n(0)]
        level: u32,
    },
    /// See [`crate::Event::OrderIssued`].
    #[n(14)]
    OrderIssued {
        /// Which.
        #[n(0)]
        execution: ExecutionId,
        /// Number of the attempt, from 1.
        #[n(1)]
        attempt: u32,
        /// The fencing token.
        #[n(2)]
        fence: LogIndex,
        /// In the caller's words.
        #[n(3)]
        mode: String,
        /// From then on silence is doubt.
        #[n(4)]
        expires_at: LogTime,
    },
    /// See [`crate::Event::Reported`].
    #[n(15)]
    Reported {
        /// Which.
        #[n(0)]
        execution: ExecutionId,
        /// Where the intent went.
        #[n(1)]
        phase: Phase,
        /// What a failure is known to have done.
        #[n(2)]
        effect: Option<Effect>,
        /// Commitment to the result.
        #[n(3)]
        result: Option<Digest>,
    },
    /// See [`crate::Event::DoubtBegan`].
    #[n(16)]
    DoubtBegan {
        /// Which.
        #[n(0)]
        execution: ExecutionId,
        /// Commitment to why the executor could not tell.
        #[n(1)]
        why: Option<Digest>,
    },
    /// See [`crate::Event::Resolved`].
    #[n(17)]
    Resolved {
        /// How.
        #[n(0)]
        phase: Phase,
        /// What a failure is known to have done.
        #[n(1)]
        effect: Option<Effect>,
        /// Commitment to the reason.
        #[n(2)]
        reason: Option<Digest>,
    },
    /// See [`crate::Event::DestinationsApplied`].
    #[n(18)]
    DestinationsApplied {
        /// The version in force now.
        #[n(0)]
        version: u64,
        /// Over its documents.
        #[n(1)]
        digest: Digest,
    },
    /// See [`crate::Event::ChannelsApplied`].
    #[n(19)]
    ChannelsApplied {
        /// The version in force now.
        #[n(0)]
        version: u64,
        /// Over its documents.
        #[n(1)]
        digest: Digest,
    },
    /// See [`crate::Event::ExecutorTookOver`].
    #[n(20)]
    ExecutorTookOver {
        /// Its epoch.
        #[n(0)]
        epoch: LogIndex,
        /// Where it runs.
        #[n(1)]
        node: NodeId,
    },
    /// See [`crate::Event::LeftToPeople`].
    #[n(21)]
    LeftToPeople,
    /// See [`crate::Event::GivenBack`].
    #[n(24)]
    GivenBack {
        /// Which.
        #[n(0)]
        execution: ExecutionId,
        /// Commitment to why.
        #[n(1)]
        why: Option<Digest>,
    },
    /// See [`crate::Event::OrderBegun`].
    #[n(29)]
    OrderBegun {
        /// Which.
        #[n(0)]
        execution: ExecutionId,
        /// Log index at which the executor that runs it began.
        #[n(1)]
        epoch: LogIndex,
        /// From then on silence is doubt.
        #[n(2)]
        expires_at: LogTime,
    },
    /// See [`crate::Event::WebhookRegistered`].
    #[n(22)]
    WebhookRegistered {
        /// Which.
        #[n(0)]
        webhook: WebhookId,
        /// Commitment to the url.
        #[n(1)]
        url: Digest,
    },
    /// See [`crate::Event::DeliveryReported`].
    #[n(23)]
    DeliveryReported {
        /// Which.
        #[n(0)]
        delivery: DeliveryId,
        /// The channel; `None` for the intent's webhook.
        #[n(1)]
        channel: Option<String>,
        /// What it told of.
        #[n(2)]
        notice: Notice,
        /// Attempts with this one.
        #[n(3)]
        attempts: u32,
        /// How it stands.
        #[n(4)]
        status: DeliveryStatus,
        /// Commitment to why the attempt failed.
        #[n(5)]
        error: Option<Digest>,
    },
    /// See [`crate::Event::LinkIssued`].
    #[n(27)]
    LinkIssued {
        /// From then on it is refused.
        #[n(0)]
        expires_at: LogTime,
    },
    /// See [`crate::Event::LinkUsed`]; the decision has a leaf of its own.
    #[n(28)]
    LinkUsed {
        /// The key that had asked for the link.
        #[n(0)]
        credential: KeyId,
    },
    /// See [`crate::Event::NodeAdmitted`].
    #[n(30)]
    NodeAdmitted {
        /// Which.
        #[n(0)]
        node: NodeId,
        /// Drawn when its data directory was made.
        #[cbor(n(1), with = "minicbor::bytes")]
        incarnation: [u8; 16],
    },
    /// See [`crate::Event::NodeRemoved`].
    #[n(31)]
    NodeRemoved {
        /// Which.
        #[n(0)]
        node: NodeId,
    },
    /// See [`crate::Event::ClusterChangeRequested`].
    #[n(32)]
    ClusterChangeRequested {
        /// What was asked for.
        #[n(0)]
        change: ClusterChange,
        /// Of which node.
        #[n(1)]
        node: Option<NodeId>,
    },
    /// See [`crate::Event::JoinTokenIssued`].
    #[n(33)]
    JoinTokenIssued {
        /// From then on it is refused.
        #[n(0)]
        expires_at: LogTime,
    },
    /// See [`crate::Event::Frozen`].
    #[n(34)]
    Frozen {
        /// Which.
        #[n(0)]
        freeze: FreezeId,
        /// What it covers.
        #[n(1)]
        scope: FreezeScope,
        /// When it ends by itself.
        #[n(2)]
        until: Option<LogTime>,
        /// How many people it takes to end it.
        #[n(3)]
        persons: u32,
        /// Commitment to why.
        #[n(4)]
        reason: Digest,
        /// No claim was open: it was settled at once.
        #[n(5)]
        settled: bool,
    },
    /// See [`crate::Event::FreezeSettled`].
    #[n(35)]
    FreezeSettled {
        /// Which.
        #[n(0)]
        freeze: FreezeId,
        /// Calls that it came too late for.
        #[n(1)]
        running: Vec<Running>,
    },
    /// See [`crate::Event::UnfreezeVoted`].
    #[n(36)]
    UnfreezeVoted {
        /// Which.
        #[n(0)]
        freeze: FreezeId,
        /// Votes with this one.
        #[n(1)]
        votes: u32,
        /// Votes needed.
        #[n(2)]
        needed: u32,
        /// Commitment to why.
        #[n(3)]
        reason: Option<Digest>,
    },
    /// See [`crate::Event::Unfrozen`].
    #[n(37)]
    Unfrozen {
        /// Which.
        #[n(0)]
        freeze: FreezeId,
        /// Votes for it; none if time ended it.
        #[n(1)]
        votes: u32,
        /// Votes needed; none if time ended it.
        #[n(2)]
        needed: u32,
        /// Commitment to why.
        #[n(3)]
        reason: Option<Digest>,
    },
}
