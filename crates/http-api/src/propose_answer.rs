//! What a submit answers: the shape of existing clients, and the precise words beside it.
//!
//! Invariant: built from what stood when the intent was accepted, so that a replay is the same.

use axum::http::StatusCode;
use ledger::{Content, Duplicate, Head};
use serde::Serialize;
use types::{Phase, Proposal, Reason};

use crate::answer::Answer;
use crate::approval_asks::PROVIDER;
use crate::times::iso;
use crate::view::{
    ReasonView, approval_interaction_id, explanation, message_id, profile_metadata, reason_code,
    score,
};

/// Where the answer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// It is the body.
    Body,
    /// It is a line of a batch's answer, where `status` is a number: its own stands apart.
    Line,
}

/// The word of existing clients, under the name that it has in its place.
#[derive(Serialize)]
struct Word {
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answer_status: Option<&'static str>,
}

impl Word {
    fn at(place: Place, word: &'static str) -> Self {
        let (status, answer_status) = match place {
            Place::Body => (Some(word), None),
            Place::Line => (None, Some(word)),
        };
        Self { status, answer_status }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Accepted<'a> {
    proposal_id: &'a str,
    intent_id: &'a str,
    message_id: &'a str,
    #[serde(flatten)]
    word: Word,
    phase: &'static str,
    approval_state: Option<&'static str>,
    approval_link_token: Option<&'a str>,
    approval_interaction_id: Option<String>,
    approval_provider: Option<&'static str>,
    required_approval_factors: [&'a str; 0],
    assurance_level: Option<&'a str>,
    profile: Option<&'a str>,
    profile_summary: Option<String>,
    standing_approval_id: Option<&'a str>,
    required_approvals: u32,
    block_reason: Option<&'a str>,
    expires_at: &'a str,
    risk_score: f64,
    risk_level: &'static str,
    risk_factors: &'a [String],
    #[serde(flatten)]
    ours: Ours<'a>,
}

/// The same in snake case, and what existing clients do not know.
#[derive(Serialize)]
struct Ours<'a> {
    intent_id: &'a str,
    message_id: &'a str,
    required_approvals: u32,
    risk_factors: &'a [String],
    revision: u32,
    resource: &'a str,
    trigger: Option<&'a str>,
    policy_version: u64,
    approval_digest: String,
    record_count: Option<u64>,
    reasons: Vec<ReasonView<'a>>,
    reason_code: &'a str,
    reason_detail: Option<&'a str>,
    block_reason: Option<&'a str>,
    risk_score: f64,
    risk_level: &'static str,
    created_at: String,
    expires_at: &'a str,
}

/// 200: the intent stands, whatever was decided.
pub(crate) fn accepted(head: &Head, content: &Content, place: Place) -> Answer {
    let (id, message_id) = (head.id.to_string(), message_id(head.id));
    let decision = &content.decision;
    let held = head.phase == Phase::Held;
    let explained = explanation(decision);
    let objection = explained.filter(|_| head.phase != Phase::Allowed);
    let expires_at = iso(head.expires_at);
    Answer::ok(&Accepted {
        proposal_id: &id,
        intent_id: &id,
        message_id: &message_id,
        word: Word::at(place, head.phase.status()),
        phase: head.phase.name(),
        approval_state: held.then_some("waiting_input"),
        approval_link_token: None,
        approval_interaction_id: held.then(|| approval_interaction_id(head.id)),
        approval_provider: held.then_some(PROVIDER),
        required_approval_factors: [],
        assurance_level: None,
        profile: content.proposal.profile.as_deref(),
        profile_summary: profile_summary(&content.proposal),
        standing_approval_id: None,
        required_approvals: head.approval.rule.count.max(1),
        block_reason: objection,
        expires_at: &expires_at,
        risk_score: score(&content.risk),
        risk_level: content.risk.level.name(),
        risk_factors: &content.risk.factors,
        ours: Ours {
            intent_id: &id,
            message_id: &message_id,
            required_approvals: head.approval.rule.count.max(1),
            risk_factors: &content.risk.factors,
            revision: head.revision,
            resource: &content.proposal.destination,
            trigger: content.proposal.trigger.as_deref(),
            policy_version: decision.policy_version,
            approval_digest: head.approval.digest.to_string(),
            record_count: content.record_count,
            reasons: decision.reasons.iter().map(ReasonView::of).collect(),
            reason_code: reason_code(decision),
            reason_detail: explained,
            block_reason: objection,
            risk_score: score(&content.risk),
            risk_level: content.risk.level.name(),
            created_at: iso(head.submitted_at),
            expires_at: &expires_at,
        },
    })
}

/// What people are shown of the action.
pub(crate) fn profile_summary(proposal: &Proposal) -> Option<String> {
    let profile = proposal.profile.as_deref()?;
    policy::profiles::summary(profile, profile_metadata(proposal).as_ref())
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Repeated<'a> {
    proposal_id: &'a str,
    intent_id: &'a str,
    #[serde(flatten)]
    word: Word,
    block_reason: &'a str,
    existing_status: &'static str,
    phase: &'static str,
    gate: Option<&'a str>,
    rule: &'a str,
    window_ends_at: Option<String>,
    #[serde(rename = "block_reason")]
    block_reason_snake: &'a str,
}

/// 409: the same thing was asked for before; the ids are those of the first intent.
pub(crate) fn duplicate(found: &Duplicate, place: Place) -> Answer {
    let id = found.first.to_string();
    Answer::new(
        StatusCode::CONFLICT,
        &Repeated {
            proposal_id: &id,
            intent_id: &id,
            word: Word::at(place, "duplicate_blocked"),
            block_reason: &found.message,
            existing_status: found.phase.status(),
            phase: found.phase.name(),
            gate: found.gate.as_deref(),
            rule: &found.rule,
            window_ends_at: found.window_ends_at.map(iso),
            block_reason_snake: &found.message,
        },
    )
}

/// A decision that was only tried: its reasons as [`accepted`] shows them.
pub(crate) fn reason_views(reasons: &[Reason]) -> Vec<ReasonView<'_>> {
    reasons.iter().map(ReasonView::of).collect()
}
