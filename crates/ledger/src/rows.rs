//! Durable rows. Fields are added with new numbers, never renumbered; golden tests hold the form.

use alloc::string::String;
use alloc::vec::Vec;

use minicbor::bytes::ByteSlice;
use minicbor::{Decode, Encode};
use policy::ApprovalRule;
use types::ids::ExecutionId;
use types::{
    AgentId, AgentStatus, Digest, Effect, IntentId, KeyId, LogIndex, LogTime, NamespaceId, Outcome,
    Phase, Proposal, Reason, Risk, Role, Salt,
};

use crate::link_rows::{Factor, LINK_NAME, LinkMark};
pub use crate::rows_order::{ExecutorClaim, OrderReport, OrderRow, OrderStatus};

/// The cluster's own row.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ClusterRow {
    /// 32 hex digits.
    #[n(0)]
    pub id: String,
    /// When it was made.
    #[n(1)]
    pub created_at: LogTime,
}

/// A namespace.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct NamespaceRow {
    /// Its number.
    #[n(0)]
    pub id: NamespaceId,
    /// Its name.
    #[n(1)]
    pub name: String,
    /// When it was made.
    #[n(2)]
    pub created_at: LogTime,
}

/// An API key. The key itself is never stored.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct KeyRow {
    /// Its id.
    #[n(0)]
    pub id: KeyId,
    /// Where it is valid.
    #[n(1)]
    pub namespace: NamespaceId,
    /// Whose it is.
    #[n(2)]
    pub agent: AgentId,
    /// SHA-256 of the key.
    #[n(3)]
    pub hash: Digest,
    /// When it was made.
    #[n(4)]
    pub created_at: LogTime,
    /// From then on it is refused.
    #[n(5)]
    pub expires_at: Option<LogTime>,
}

/// A principal.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct AgentRow {
    /// Its id.
    #[n(0)]
    pub id: AgentId,
    /// Its name; not unique.
    #[n(1)]
    pub name: String,
    /// Who answers for it.
    #[n(2)]
    pub owner: Option<String>,
    /// What it runs on.
    #[n(3)]
    pub framework: Option<String>,
    /// Any word.
    #[n(4)]
    pub risk_tier: String,
    /// What it may do.
    #[n(5)]
    pub role: Role,
    /// Whether it may do anything.
    #[n(6)]
    pub status: AgentStatus,
    /// Empty means all.
    #[n(7)]
    pub allowed_policies: Vec<String>,
    /// Empty means all.
    #[n(8)]
    pub allowed_destinations: Vec<String>,
    /// Canonical JSON text.
    #[n(9)]
    pub metadata: Option<String>,
    /// When it was registered.
    #[n(10)]
    pub created_at: LogTime,
    /// Its keys, oldest first; expired ones are dropped at rotation.
    #[n(11)]
    pub keys: Vec<KeyId>,
}

impl AgentRow {
    /// It administers its namespace now.
    pub(crate) fn is_active_admin(&self) -> bool {
        self.role.may_administer() && self.status == AgentStatus::Active
    }
}

/// An intent: what changes.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Head {
    /// Its id.
    #[n(0)]
    pub id: IntentId,
    /// From 1; a revised payload is a new revision.
    #[n(1)]
    pub revision: u32,
    /// Who asks.
    #[n(2)]
    pub agent: AgentId,
    /// With which key.
    #[n(3)]
    pub credential: KeyId,
    /// Where it stands.
    #[n(4)]
    pub phase: Phase,
    /// When it was accepted.
    #[n(5)]
    pub submitted_at: LogTime,
    /// From then on nobody may decide or run it.
    #[n(6)]
    pub expires_at: LogTime,
    /// Digest of the request that made it.
    #[n(7)]
    pub request_digest: Digest,
    /// What people decide, and have decided.
    #[n(8)]
    pub approval: ApprovalState,
    /// How it left `held` or ended.
    #[n(9)]
    pub decided: Option<Decided>,
    /// What a failed intent has done.
    #[n(10)]
    pub effect: Option<Effect>,
    /// It was `allowed` at some time, so its agent may have acted.
    #[n(11)]
    pub was_allowed: bool,
    /// It holds dedup windows.
    #[n(12)]
    pub has_windows: bool,
    /// Audit sequence of its first leaf.
    #[n(13)]
    pub first_leaf: u64,
    /// Log index of its last change.
    #[n(14)]
    pub changed_index: LogIndex,
    /// Time of its last change.
    #[n(15)]
    pub changed_at: LogTime,
    /// How often it was handed out.
    #[n(16)]
    pub attempts: u32,
    /// The newest order.
    #[n(17)]
    pub execution: Option<ExecutionId>,
    /// The destination document whose connector runs it without being asked, once it is allowed.
    #[n(18)]
    pub runs_by: Option<Digest>,
    /// Approval links to it, if any was issued.
    #[n(21)]
    pub link: Option<LinkMark>,
    /// When it was allowed, by policy or the last vote; none again once it is held anew.
    #[n(22)]
    pub allowed_at: Option<LogTime>,
    /// Which of its agent's submits it was, from 0.
    #[n(23)]
    pub number: u64,
}

/// The approval of one intent.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ApprovalState {
    /// How many, and of whom.
    #[n(0)]
    pub rule: ApprovalRule,
    /// The distinct people who said yes to the present digest.
    #[n(1)]
    pub votes: Vec<Vote>,
    /// What they say yes to.
    #[n(2)]
    pub digest: Digest,
    /// How many digests there have been since it was held; above 1 a vote must name one.
    #[n(3)]
    pub digests: u32,
}

/// One person's yes.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Vote {
    /// Who.
    #[n(0)]
    pub agent: AgentId,
    /// Under which name.
    #[n(1)]
    pub name: String,
    /// With which key.
    #[n(2)]
    pub credential: KeyId,
    /// Who answers for the voter; two with one owner are one person.
    #[n(3)]
    pub owner: Option<String>,
    /// When.
    #[n(4)]
    pub at: LogTime,
    /// How it came, if not under the voter's key.
    #[n(5)]
    pub factor: Option<Factor>,
}

impl Vote {
    /// The name that the vote is shown under: the voter's, or that of what carried it.
    #[must_use]
    pub fn shown_name(&self) -> &str {
        match self.factor {
            None => &self.name,
            Some(Factor::Link) => LINK_NAME,
        }
    }
}

/// How an intent was decided.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Decided {
    /// When.
    #[n(0)]
    pub at: LogTime,
    /// By whom; `None` for policy and time.
    #[n(1)]
    pub by: Option<AgentId>,
    /// The name at that time, or `system`.
    #[n(2)]
    pub name: String,
    /// In their words.
    #[n(3)]
    pub reason: Option<String>,
}

/// What was asked and how policy judged it, one row per revision. Only a change of policy rewrites
/// the judgement, and then [`crate::table::Table::FirstAnswers`] keeps the first.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Content {
    /// What was asked.
    #[n(0)]
    pub proposal: Proposal,
    /// For the commitments in the audit tree.
    #[n(1)]
    pub salt: Salt,
    /// What policy said.
    #[n(2)]
    pub decision: Decision,
    /// What existing clients are told of its risk.
    #[n(3)]
    pub risk: Risk,
    /// Records counted in the payload, or claimed where it cannot be read.
    #[n(4)]
    pub record_count: Option<u64>,
    /// The environment that the agent said it was in.
    #[n(5)]
    pub environment: Option<String>,
}

/// What policy said.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Decision {
    /// The most severe word.
    #[n(0)]
    pub outcome: Outcome,
    /// Rule by rule, most severe first.
    #[n(1)]
    pub reasons: Vec<Reason>,
    /// The version in force; 0 if there was none.
    #[n(2)]
    pub policy_version: u64,
    /// Digest of that version's bytes.
    #[n(3)]
    pub policy_digest: Option<Digest>,
    /// Digest of the rules that matched.
    #[n(4)]
    pub rules_digest: Digest,
    /// When.
    #[n(5)]
    pub at: LogTime,
    /// Digest of the destination document that served the resource; `None` if there was none.
    #[n(6)]
    pub destination: Option<Digest>,
}

/// A content as it is stored, and with it what is small: one row is cheaper than three.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ContentRow {
    /// What was asked, and how policy judged it.
    #[n(0)]
    pub content: Content,
    /// Payload bytes as sent, if they are few.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub payload: Option<Vec<u8>>,
    /// Windows that it opened, with their lengths in milliseconds, if they are few; the head says
    /// whether it holds them still.
    #[n(2)]
    pub windows: Vec<(Digest, u64)>,
}

/// The same while it is written.
#[derive(Encode)]
pub(crate) struct NewContentRow<'c> {
    #[n(0)]
    pub(crate) content: &'c Content,
    #[n(1)]
    pub(crate) payload: Option<&'c ByteSlice>,
    #[n(2)]
    pub(crate) windows: &'c [(Digest, u64)],
}

/// Payload bytes that go into the row of the content; it is read wherever that is.
pub(crate) const PAYLOAD_WITH_CONTENT_MAX: usize = 1_024;
/// Windows that do.
pub(crate) const WINDOWS_WITH_CONTENT_MAX: usize = 16;

/// Payload bytes as sent.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct PayloadRow {
    /// The bytes.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub bytes: Vec<u8>,
}

/// An open dedup window.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct WindowRow {
    /// The intent that opened it.
    #[n(0)]
    pub first: IntentId,
    /// Its length.
    #[n(1)]
    pub window_ms: u64,
    /// Latest of acceptance, release by approval and last claim.
    #[n(2)]
    pub since: LogTime,
    /// `None` while the intent's phase holds it open.
    #[n(3)]
    pub ends_at: Option<LogTime>,
}

/// The policy version in force.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct PolicyHead {
    /// From 1.
    #[n(0)]
    pub version: u64,
    /// Digest of its bytes.
    #[n(1)]
    pub digest: Digest,
    /// When it was applied.
    #[n(2)]
    pub applied_at: LogTime,
    /// By whom.
    #[n(3)]
    pub by: AgentId,
    /// Where it came from.
    #[n(4)]
    pub origin: Option<String>,
}

/// The documents of one version as written.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct PolicySourceRow {
    /// Who applied it, and when.
    #[n(0)]
    pub head: PolicyHead,
    /// The documents.
    #[n(1)]
    pub files: Vec<crate::command::SourceFile>,
}

/// One of an agent's submits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(crate) struct AgentSubmit {
    #[n(0)]
    pub(crate) intent: IntentId,
    #[n(1)]
    pub(crate) at: LogTime,
}

/// How long held intents waited until people allowed them, from the submit to the last approval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
pub struct ApprovalWaits {
    /// How many; an intent that was held again and allowed again counts again.
    #[n(0)]
    pub count: u64,
    /// In milliseconds of log time.
    #[n(1)]
    pub sum_ms: u64,
}

impl ApprovalWaits {
    /// In whole milliseconds; `None` before the first.
    #[must_use]
    pub fn average_ms(self) -> Option<u64> {
        self.sum_ms.checked_div(self.count)
    }
}

/// A remembered `Idempotency-Key` header.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct RequestKeyRow {
    #[n(0)]
    pub(crate) body: Digest,
    #[n(1)]
    pub(crate) kept_until: LogTime,
    #[n(2)]
    pub(crate) answer: StoredAnswer,
}

/// What a remembered header replays.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) enum StoredAnswer {
    /// The answer to the submit that made this intent.
    #[n(0)]
    Submitted(#[n(0)] IntentId),
    /// An encoded reply.
    #[n(1)]
    Reply(#[cbor(n(0), with = "minicbor::bytes")] Vec<u8>),
}

/// A bound body `idempotency_key`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(crate) struct IdempotencyKeyRow {
    #[n(0)]
    pub(crate) first: IntentId,
    #[n(1)]
    pub(crate) bound_until: LogTime,
}

/// A kept reply.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct ReplyRow {
    #[n(0)]
    pub(crate) kept_until: LogTime,
    #[cbor(n(1), with = "minicbor::bytes")]
    pub(crate) reply: Vec<u8>,
}
