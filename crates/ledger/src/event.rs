//! Events: facts in the past tense. The ledger is their fold, the audit trail their list.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use policy::{PolicySet, WindowToOpen};
use types::{
    AgentId, AgentStatus, Channel, Destination, Digest, Effect, ExecutionId, IntentId, KeyId,
    LogTime, NamespaceId, NodeId, Phase, Role, Salt,
};

use crate::cluster::{ClusterChange, NewNode};
use crate::command::SourceFile;
use crate::link_rows::LinkRow;
use crate::rows::{
    AgentRow, ApprovalState, Content, Decided, Decision, Head, KeyRow, NamespaceRow, OrderRow,
    PolicyHead, Vote,
};
use crate::rows_freeze::FreezeRow;
use crate::rows_outward::{DeliveryRow, ExecutorRow, SetHead, WebhookRow};

/// What refused a repeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RefusedBy {
    /// A dedup window.
    Window {
        /// Its gate.
        gate: String,
        /// Its fingerprint.
        fingerprint: Digest,
    },
    /// The body's `idempotency_key`.
    Key {
        /// Digest of agent and key.
        digest: Digest,
    },
}

/// A person's word that a freeze is to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FreezeEnd {
    /// Whose.
    pub vote: Vote,
    /// Votes with this one.
    pub votes: u32,
    /// Votes needed.
    pub needed: u32,
    /// In the person's words.
    pub reason: Option<String>,
    /// Of the commitment to the reason.
    pub salt: Salt,
}

/// Everything that can happen. Each is one audit leaf, but for the sweeping of old rows.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The cluster got its id and its first admin.
    Bootstrapped {
        /// 32 hex digits.
        cluster_id: String,
        /// The first admin.
        admin: Box<AgentRow>,
        /// Its key.
        key: KeyRow,
        /// The node that made the cluster.
        node: Option<NewNode>,
    },
    /// An intent was accepted and judged.
    Submitted {
        /// Its head; `first_leaf` and the change marks are filled in when it is recorded.
        head: Box<Head>,
        /// What was asked and decided.
        content: Box<Content>,
        /// Its payload.
        payload: Option<Vec<u8>>,
        /// Dedup windows that it opens.
        windows: Vec<WindowToOpen>,
        /// Digest under which its `idempotency_key` is bound.
        bound_key: Option<Digest>,
    },
    /// A repeat was refused. The leaf stands on the first intent's trail.
    DuplicateRefused {
        /// The first intent.
        first: IntentId,
        /// Who repeated it.
        agent: AgentId,
        /// Its name.
        name: String,
        /// Commitment to the repeat's payload digest.
        payload_commitment: Option<Digest>,
        /// The repeat's own salt, kept beside the leaf.
        salt: Salt,
        /// What refused it.
        by: RefusedBy,
    },
    /// A person said yes.
    Approved {
        /// To what.
        intent: IntentId,
        /// Who.
        vote: Vote,
        /// The digest that was approved.
        digest: Digest,
        /// Votes with this one.
        votes: u32,
        /// Votes needed.
        required: u32,
        /// In the person's words.
        reason: Option<String>,
    },
    /// An intent may run.
    Allowed {
        /// Which.
        intent: IntentId,
        /// By whose last vote.
        decided: Decided,
        /// The destination document whose connector runs it.
        runs_by: Option<Digest>,
    },
    /// An intent ended without running: rejected, cancelled or expired.
    Ended {
        /// Which.
        intent: IntentId,
        /// How.
        phase: Phase,
        /// By whom, or time.
        decided: Decided,
    },
    /// Another policy made a held intent stricter: votes are void.
    PolicyChanged {
        /// Which.
        intent: IntentId,
        /// What the policy in force says.
        decision: Box<Decision>,
        /// What is to be approved now.
        approval: ApprovalState,
    },
    /// An intent was handed out.
    OrderIssued {
        /// The order.
        order: Box<OrderRow>,
        /// The caller's name.
        name: String,
    },
    /// The executor begins an order that somebody asked for.
    OrderBegun {
        /// The order.
        order: Box<OrderRow>,
    },
    /// A worker said how it went.
    Reported {
        /// The order with its report.
        order: Box<OrderRow>,
        /// Where the intent goes.
        phase: Phase,
        /// What a failure is known to have done.
        effect: Option<Effect>,
        /// Whose key reported; `None` for the order's token.
        by: Option<AgentId>,
    },
    /// Nobody knows how an order ended: its time is over, or the executor could not tell.
    DoubtBegan {
        /// Which intent.
        intent: IntentId,
        /// Which order.
        execution: ExecutionId,
        /// Why the executor could not tell.
        why: Option<String>,
        /// The executor may make the same call again.
        repeats: bool,
    },
    /// The executor called nobody, and the intent is allowed as before.
    GivenBack {
        /// Which intent.
        intent: IntentId,
        /// Which order.
        execution: ExecutionId,
        /// Why.
        why: Option<String>,
    },
    /// An executor began.
    ExecutorTookOver {
        /// Its epoch and node.
        row: ExecutorRow,
    },
    /// The executor leaves an intent alone; people do with it what they can.
    LeftToPeople {
        /// Which.
        intent: IntentId,
    },
    /// A person said how an intent in doubt ended.
    Resolved {
        /// Which.
        intent: IntentId,
        /// How.
        phase: Phase,
        /// What a failure is known to have done.
        effect: Option<Effect>,
        /// By whom, and why.
        decided: Decided,
    },
    /// A principal was registered.
    AgentRegistered {
        /// It.
        agent: Box<AgentRow>,
        /// Its first key.
        key: KeyRow,
        /// By whom; `None` for open registration.
        by: Option<AgentId>,
    },
    /// A principal was suspended, resumed or revoked.
    AgentStatusChanged {
        /// Which.
        agent: AgentId,
        /// What it is now.
        status: AgentStatus,
        /// By whom.
        by: AgentId,
    },
    /// A principal got a new key.
    KeyRotated {
        /// The new key.
        key: KeyRow,
        /// Keys that end, and when.
        ending: Vec<KeyId>,
        /// When they end.
        ends_at: LogTime,
        /// By whom.
        by: AgentId,
    },
    /// A principal got another role.
    RoleChanged {
        /// Which.
        agent: AgentId,
        /// The new role.
        role: Role,
        /// By whom.
        by: AgentId,
    },
    /// A namespace was made.
    NamespaceCreated {
        /// It.
        row: NamespaceRow,
        /// Its first admin.
        admin: Box<AgentRow>,
        /// The admin's key.
        key: KeyRow,
        /// By whom.
        by: AgentId,
    },
    /// A set of policies is in force.
    PoliciesApplied {
        /// Version, digest, by whom.
        head: PolicyHead,
        /// As written.
        files: Vec<SourceFile>,
        /// As compiled.
        compiled: Box<PolicySet>,
    },
    /// A set of destinations is in force.
    DestinationsApplied {
        /// Version, digest, by whom.
        head: SetHead,
        /// The set.
        set: Vec<Destination>,
    },
    /// A set of channels is in force.
    ChannelsApplied {
        /// Version, digest, by whom.
        head: SetHead,
        /// The set.
        set: Vec<Channel>,
    },
    /// Somebody will be told how an intent is decided.
    WebhookRegistered {
        /// Which intent.
        intent: IntentId,
        /// The registration.
        row: WebhookRow,
        /// The name of who registered it.
        name: String,
    },
    /// An attempt to deliver a notification ended.
    DeliveryReported {
        /// Until when it had waited.
        was_due: LogTime,
        /// The notification with the attempt counted.
        row: Box<DeliveryRow>,
    },
    /// Newer commands are let in.
    FeatureLevelRaised {
        /// The level in force now.
        level: u32,
        /// By whom.
        by: AgentId,
    },
    /// A node was taken in.
    NodeAdmitted {
        /// Which, with which data.
        node: NewNode,
    },
    /// A node leaves the cluster, and its id with it.
    NodeRemoved {
        /// Which.
        node: NodeId,
        /// By whom.
        by: AgentId,
    },
    /// Somebody asked that another node vote, or lead, or not.
    ClusterChangeRequested {
        /// What was asked for.
        change: ClusterChange,
        /// Of which node; `None` lets the cluster choose.
        node: Option<NodeId>,
        /// By whom.
        by: AgentId,
    },
    /// Somebody got a token with which nodes join.
    JoinTokenIssued {
        /// From then on it is refused.
        expires_at: LogTime,
        /// By whom.
        by: AgentId,
    },
    /// An event in another namespace than the command's: a tick works for all of them.
    Elsewhere {
        /// Where.
        namespace: NamespaceId,
        /// What.
        event: Box<Event>,
    },
    /// A reviewer got an approval link.
    LinkIssued {
        /// The link.
        row: Box<LinkRow>,
        /// The reviewer's name.
        name: String,
    },
    /// A decision came through an approval link.
    LinkUsed {
        /// The link, used up.
        row: Box<LinkRow>,
        /// The decision was a rejection.
        rejected: bool,
    },
    /// From now on nothing that it covers is claimed.
    Frozen {
        /// The freeze.
        row: Box<FreezeRow>,
        /// Of the commitment to its reason.
        salt: Salt,
    },
    /// The executor starts nothing any more that it covers.
    FreezeSettled {
        /// The freeze, with what it came too late for.
        row: Box<FreezeRow>,
    },
    /// A person wants a freeze ended, and others must too.
    UnfreezeVoted {
        /// The freeze, with the vote.
        row: Box<FreezeRow>,
        /// Who, and why.
        by: Box<FreezeEnd>,
    },
    /// A freeze ended.
    Unfrozen {
        /// The freeze as it was.
        row: Box<FreezeRow>,
        /// By whose last vote; `None` for time.
        by: Option<Box<FreezeEnd>>,
    },
    /// A nonce has served; the decision that it came with has a leaf. No leaf of its own.
    NonceUsed {
        /// SHA-256 of its text.
        digest: Digest,
        /// Until when it is remembered.
        until: LogTime,
    },
    /// The schedule was worked off up to a time. No leaf.
    SweptTo {
        /// Nothing before it is due any more.
        time: LogTime,
    },
    /// A row of the schedule was worked off. No leaf.
    Swept {
        /// The row of the schedule.
        due: Vec<u8>,
        /// The rows that only served a time and have served it.
        rows: Vec<Vec<u8>>,
        /// What is left of it for the next tick.
        left: Vec<u8>,
    },
}

/// The namespace whose trail an event belongs to, where it is not the command's own.
pub(crate) fn namespace_of(event: &Event, command: NamespaceId) -> NamespaceId {
    match event {
        Event::Bootstrapped { .. } => NamespaceId::DEFAULT,
        Event::NamespaceCreated { row, .. } => row.id,
        Event::Elsewhere { namespace, .. } => *namespace,
        _ => command,
    }
}
