//! Why the gate gave no answer of the ledger, and the codes that doors print.

use ledger::Fault;
use types::FreezeId;

use crate::beside::Panicked;
use crate::log::{ChangeError, ProposeError};

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GateError {
    /// The log gave none.
    #[error(transparent)]
    Log(#[from] ProposeError),
    /// The cluster's membership was not changed, or nobody knows.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// State on this node cannot be read.
    #[error("this node cannot read its state and takes itself out of service")]
    Fault(Fault),
    /// No header, or another scheme than `Bearer`.
    #[error("send the header `Authorization: Bearer <API key>`")]
    NoKey,
    /// No such key, or it has expired.
    #[error("the API key is not known here; ask an admin for one")]
    UnknownKey,
    /// The principal was suspended or revoked.
    #[error("this principal is {status}{next}", status = .0, next = ledger::what_next(.0))]
    Inactive(&'static str),
    /// The role does not allow it.
    #[error("{0}")]
    Forbidden(String),
    /// A payload with more records than one intent may have.
    #[error("a payload has at most {} records; send several intents", types::limits::RECORDS_MAX)]
    TooManyRecords,
    /// Policy documents do not compile.
    #[error("the policy documents are not valid")]
    InvalidPolicy(Vec<policy::Problem>),
    /// A destination's document cannot be used.
    #[error("the destination is not valid")]
    InvalidDestination(Vec<policy::Problem>),
    /// A channel's document cannot be used.
    #[error("the channel is not valid")]
    InvalidChannel(Vec<policy::Problem>),
    /// Destinations, or channels, kept changing while one of them was put or deleted.
    #[error("these documents changed again and again meanwhile; send it again")]
    SettingsMoving,
    /// Policies kept changing while the request was judged.
    #[error("policies changed again and again while this was judged; send it again")]
    PolicyMoving,
    /// Every id that was drawn belongs to somebody already.
    #[error("no free id was found; this node's clock stands where it stood before: set it right")]
    NoFreeId,
    /// A freeze stands, and nobody has said what it came too late for.
    #[error(
        "{0} stands, so nothing more is claimed; but no executor has said in time which calls it \
         came too late for, and one of them may still start: read it until it is settled"
    )]
    Unsettled(FreezeId),
    /// Not known here.
    #[error("{0}")]
    NotFound(&'static str),
}

impl From<Panicked> for GateError {
    fn from(_: Panicked) -> Self {
        Self::Fault(Fault("large work panicked".into()))
    }
}

impl From<Fault> for GateError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// Every code that an answer's `error` or `code` field may hold; each has a page in docs/errors.
pub const CODES: &[&str] = &[
    "agent_inactive",
    "already_answered",
    "already_initialised",
    "already_reported",
    "approval_cancelled",
    "approval_digest_mismatch",
    "approval_expired",
    "body_too_large",
    "cluster_change_refused",
    "delegation_not_found",
    "digest_required",
    "disk_quota",
    "forbidden",
    "freeze_unsettled",
    "freezes_full",
    "frozen",
    "idempotency_key_reused",
    "internal",
    "invalid_channel",
    "invalid_destination",
    "invalid_feature_level",
    "invalid_link",
    "invalid_policy",
    "invalid_principal",
    "invalid_profile_payload",
    "invalid_provider",
    "invalid_request",
    "last_admin",
    "link_already_used",
    "link_expired",
    "namespace_exists",
    "namespaces_full",
    "no_executor",
    "no_quorum",
    "not_allowed",
    "not_found",
    "not_in_doubt",
    "not_yet_applied",
    "outcome_unknown",
    "overloaded",
    "policy_blocks",
    "policy_changed",
    "policy_moving",
    "policy_version_mismatch",
    "profile_mismatch",
    "profile_required",
    "replay_rejected",
    "revoked",
    "run_by_gate",
    "self_approval",
    "settings_full",
    "settings_moving",
    "settings_version_mismatch",
    "submitter_inactive",
    "too_many_idempotency_keys",
    "too_many_keys",
    "too_many_requests",
    "unauthorized",
    "unsupported_factor",
    "window_held",
];
