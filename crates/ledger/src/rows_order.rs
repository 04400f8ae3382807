//! Durable rows of execution orders. The rules of [`crate::rows`] hold.

use alloc::string::String;
use alloc::vec::Vec;

use minicbor::{Decode, Encode};
use types::ids::ExecutionId;
use types::{AgentId, Digest, IntentId, LogIndex, LogTime};

/// An execution order.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct OrderRow {
    /// Its id.
    #[n(0)]
    pub id: ExecutionId,
    /// What is to be done.
    #[n(1)]
    pub intent: IntentId,
    /// Number of the attempt, from 1.
    #[n(2)]
    pub attempt: u32,
    /// Log index of the claim: a target that has seen one refuses smaller ones.
    #[n(3)]
    pub fence: LogIndex,
    /// In the caller's words.
    #[n(4)]
    pub mode: String,
    /// SHA-256 of the token.
    #[n(5)]
    pub token_hash: Digest,
    /// The token, sealed with the data key of the nodes.
    #[cbor(n(6), with = "minicbor::bytes")]
    pub token_sealed: Vec<u8>,
    /// Who asked for it.
    #[n(7)]
    pub issued_to: AgentId,
    /// When.
    #[n(8)]
    pub issued_at: LogTime,
    /// From then on silence is doubt.
    #[n(9)]
    pub expires_at: LogTime,
    /// How it stands.
    #[n(10)]
    pub status: OrderStatus,
    /// What was reported.
    #[n(11)]
    pub report: Option<OrderReport>,
    /// Set where the executor runs it: the executor's epoch, and the destination document.
    #[n(12)]
    pub executor: Option<ExecutorClaim>,
}

/// A claim of the executor's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct ExecutorClaim {
    /// Log index at which the executor that runs it began.
    #[n(0)]
    pub epoch: LogIndex,
    /// Digest of the destination document that is executed.
    #[n(1)]
    pub destination: Digest,
    /// When it was asked for, while the executor has not begun it: nobody was called.
    #[n(2)]
    pub waits_since: Option<LogTime>,
}

impl OrderRow {
    /// The executor is to run it and has not begun: nobody was called.
    #[must_use]
    pub fn waits(&self) -> bool {
        self.executor.is_some_and(|claim| claim.waits_since.is_some())
    }

    /// An earlier attempt of the intent is in doubt: the executor claims again only what was, and
    /// what called nobody counts as no attempt. What such an order did not do says nothing of the
    /// intent.
    pub(crate) fn follows_a_doubt(&self) -> bool {
        self.attempt > 1
    }
}

/// How an order stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum OrderStatus {
    /// Handed out.
    #[n(0)]
    Scheduled,
    /// Reported as done.
    #[n(1)]
    Succeeded,
    /// Reported as not done.
    #[n(2)]
    Failed,
    /// Its time ended in silence; its token may still report once.
    #[n(3)]
    Expired,
    /// The executor called, and nobody knows the outcome.
    #[n(4)]
    InDoubt,
    /// The executor gave it back before it called anybody.
    #[n(5)]
    GivenBack,
}

impl OrderStatus {
    /// The word used on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::InDoubt => "in_doubt",
            Self::GivenBack => "given_back",
        }
    }
}

/// What was reported of an order.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct OrderReport {
    /// When it came.
    #[n(0)]
    pub at: LogTime,
    /// When the worker did it, Unix milliseconds by its own clock.
    #[n(1)]
    pub executed_at: Option<u64>,
    /// Canonical JSON text.
    #[n(2)]
    pub result: Option<String>,
    /// Over what was said, so that a repeat is told from a contradiction.
    #[n(3)]
    pub digest: Digest,
}
