//! What the ledger refused, as status and body.
//!
//! One table for all routes; routes whose clients know exact sentences put their own before it.

use axum::http::StatusCode;
use ledger::{Refusal, Reply};
use policy::ProfileFault;

use crate::problem::{Problem, uncovered};
use crate::times::iso;

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
        Refusal::SubmitterInactive { status, .. } => {
            conflict("submitter_inactive").with("agent_status", status.name())
        }
        Refusal::KeysFull { .. } => conflict("too_many_keys"),
        Refusal::Frozen { freeze, until, .. } => {
            conflict("frozen").with("freeze_id", freeze.to_string()).with("until", until.map(iso))
        }
        Refusal::UnknownFreeze { .. } => Problem::not_found("Freeze not found", message),
        // The route names the field.
        Refusal::FreezeOver => Problem::field("$.until", message),
        Refusal::FreezesFull => conflict("freezes_full"),
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
        // Only the leader asks for what this refuses, for a node that wants to join.
        Refusal::NodeIdUsed { .. } => conflict("cluster_change_refused"),
        Refusal::NothingCovers => uncovered(message),
        Refusal::Replay { reason } => conflict("replay_rejected").with("reason", reason.name()),
        Refusal::NoDelegation { .. } => {
            Problem::new(StatusCode::FORBIDDEN, "delegation_not_found", message)
        }
        Refusal::UnknownLink => Problem::new(StatusCode::NOT_FOUND, "invalid_link", message),
        Refusal::LinkUsed => Problem::new(StatusCode::GONE, "link_already_used", message),
        Refusal::LinkExpired => Problem::new(StatusCode::GONE, "link_expired", message),
        Refusal::Profile(fault) => unfit_profile(fault, message),
        Refusal::FeatureLevel { .. } => {
            Problem::new(StatusCode::BAD_REQUEST, "invalid_feature_level", message)
        }
    }
}

/// 400: the typed profile, in the words of existing clients.
pub(crate) fn unfit_profile(fault: &ProfileFault, message: String) -> Problem {
    let problem = |code| Problem::new(StatusCode::BAD_REQUEST, code, message);
    match fault {
        ProfileFault::Required { required } => {
            problem("profile_required").with("required_profile", required.as_str())
        }
        ProfileFault::Mismatch { required, sent } => problem("profile_mismatch")
            .with("required_profile", required.as_str())
            .with("profile", sent.as_str()),
        ProfileFault::Invalid { profile, messages } => problem("invalid_profile_payload")
            .with("messages", messages.clone())
            .with("profile", profile.as_str()),
    }
}

/// The ledger answered something that this command never gives: our fault, not the caller's.
pub(crate) fn unexpected(reply: &Reply) -> Problem {
    // The variant alone: an answer may hold an agent's words.
    let variant = std::mem::discriminant(reply);
    Problem::internal().because(&format!("an answer that is not its command's: {variant:?}"))
}
