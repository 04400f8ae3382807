//! What the ledger refused, as status and body.
//!
//! One table for all routes; routes whose clients know exact sentences put their own before it.

use axum::http::StatusCode;
use ledger::{Refusal, Reply};

use crate::problem::{Problem, uncovered};

/// The problem that a refusal is, where no route knows it better.
pub(crate) fn refused(refusal: &Refusal) -> Problem {
    let message = refusal.to_string();
    let conflict = |code: &'static str| Problem::new(StatusCode::CONFLICT, code, message.clone());
    match refusal {
        Refusal::InvalidKey => Problem::unknown_key(),
        Refusal::Inactive { status } => Problem::inactive(status.name()),
        Refusal::Role { .. } => Problem::forbidden(message),
        Refusal::UnknownIntent { .. } => Problem::not_found("Proposal not found", message),
        Refusal::UnknownAgent { .. } => Problem::not_found("Agent not found", message),
        Refusal::NotHeld { phase, .. } => conflict("already_answered").with("phase", phase.name()),
        Refusal::Expired { .. } => {
            Problem::new(StatusCode::GONE, "approval_expired", message).says("Proposal has expired")
        }
        Refusal::DigestMismatch { current, .. } => {
            conflict("approval_digest_mismatch").with("approval_digest", current.to_string())
        }
        Refusal::DigestRequired { current, .. } => {
            conflict("digest_required").with("approval_digest", current.to_string())
        }
        Refusal::SelfApproval { .. } => {
            Problem::new(StatusCode::FORBIDDEN, "self_approval", message)
        }
        Refusal::PolicyBlocks { .. } => conflict("policy_blocks"),
        Refusal::RequestKeyReused => {
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused", message)
        }
        Refusal::RequestKeysFull => Problem::too_many_keys(message),
        Refusal::AlreadyInitialised => conflict("already_initialised"),
        Refusal::VersionMismatch { current } => {
            Problem::new(StatusCode::PRECONDITION_FAILED, "policy_version_mismatch", message)
                .with("current", *current)
        }
        Refusal::NamespaceExists => conflict("namespace_exists"),
        Refusal::NamespacesFull => conflict("namespaces_full"),
        Refusal::Revoked { .. } => conflict("revoked").with("status", "revoked"),
        Refusal::LastAdmin => conflict("last_admin"),
        Refusal::NotYours { .. } => Problem::forbidden(message),
        Refusal::NotAllowed { phase, .. } => {
            conflict("not_allowed").with("status", phase.status()).with("phase", phase.name())
        }
        Refusal::WindowHeld { first, .. } => {
            conflict("window_held").with("held_by", first.to_string())
        }
        Refusal::NotInDoubt { phase, .. } => {
            conflict("not_in_doubt").with("status", phase.status()).with("phase", phase.name())
        }
        Refusal::UnknownExecution { .. } => Problem::not_found("Execution not found", message),
        Refusal::AlreadyReported { .. } => conflict("already_reported"),
        Refusal::SettingsFull => conflict("settings_full"),
        // Only the executor asks for what this refuses, and it is no client.
        Refusal::EpochOver => Problem::internal().because(&message),
        Refusal::NoExecutor { .. } => {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "no_executor", message).retry_after(1)
        }
        Refusal::RunByGate { .. } => conflict("run_by_gate"),
        Refusal::NothingCovers => uncovered(message),
        Refusal::FeatureLevel { .. } => {
            Problem::new(StatusCode::BAD_REQUEST, "invalid_feature_level", message)
        }
    }
}

/// The ledger answered something that this command never gives: our fault, not the caller's.
pub(crate) fn unexpected(reply: &Reply) -> Problem {
    // The variant alone: an answer may hold an agent's words.
    let variant = std::mem::discriminant(reply);
    Problem::internal().because(&format!("an answer that is not its command's: {variant:?}"))
}
