//! Intents as readers see them: the flat row of existing clients, and the precise words beside it.
//!
//! Invariant: no path of a server, no link token, no key; what is not known is null.

use ledger::{Content, Decision, Factor, Head};
use serde::Serialize;
use serde_json::Value;
use types::limits::HITS_MAX;
use types::{Digest, IntentId, Outcome, PayloadKind, Phase, Proposal, Reason, Risk, RuleSource};

use crate::money::dollars;
use crate::times::iso;

/// What one rule said.
#[derive(Serialize)]
pub(crate) struct ReasonView<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    gate: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<&'a str>,
    rule: &'a str,
    outcome: &'static str,
    message: &'a str,
    file: Option<&'a str>,
    line: Option<u32>,
    hits: Vec<HitView<'a>>,
    hits_total: u64,
}

#[derive(Serialize)]
struct HitView<'a> {
    path: &'a str,
    excerpt: &'a str,
}

impl<'a> ReasonView<'a> {
    pub(crate) fn of(reason: &'a Reason) -> Self {
        let (gate, policy) = match &reason.source {
            RuleSource::Gate(name) => (Some(name.as_str()), None),
            RuleSource::Policy(name) => (None, Some(name.as_str())),
            RuleSource::Default => (None, Some("default_policy")),
            RuleSource::System => (None, None),
        };
        let place = &reason.place;
        let placed = !place.file.is_empty();
        let hits = reason.hits.iter().take(HITS_MAX);
        Self {
            gate,
            policy,
            rule: &reason.rule,
            outcome: reason.outcome.name(),
            message: &reason.message,
            file: placed.then_some(place.file.as_str()),
            line: placed.then_some(place.line),
            hits: hits.map(|hit| HitView { path: &hit.path, excerpt: &hit.excerpt }).collect(),
            hits_total: reason.hits_total,
        }
    }
}

/// The message of the most severe rule.
pub(crate) fn explanation(decision: &Decision) -> Option<&str> {
    decision.reasons.first().map(|reason| reason.message.as_str())
}

/// The code that existing clients know, else the name of the most severe rule.
pub(crate) fn reason_code(decision: &Decision) -> &str {
    let rule = decision.reasons.first().map_or("", |reason| reason.rule.as_str());
    match (decision.outcome, rule) {
        (Outcome::Allow, _) => "approved_by_policy",
        (
            Outcome::Hold,
            ""
            | "require_approval"
            | "require_approval_over"
            | "auto_approve_under"
            | "require_approval_for"
            | "awaiting_review",
        ) => "manual_review_required",
        (Outcome::Block, "block_if_terms") => "blocked_term_detected",
        (Outcome::Block, "destinations") => "destination_not_allowed",
        (_, rule) => rule,
    }
}

/// 0 to 1, as existing clients read it.
pub(crate) fn score(risk: &Risk) -> f64 {
    f64::from(risk.score_hundredths) / 100.0
}

/// One message per intent: derived, so that every node prints the same.
pub(crate) fn message_id(id: IntentId) -> String {
    let digest = Digest::of_parts(&[b"message", &id.0.to_be_bytes()]);
    let mut text = format!("msg_{digest}");
    text.truncate("msg_".len() + 24);
    text
}

/// One approval interaction per intent.
pub(crate) fn approval_interaction_id(id: IntentId) -> String {
    format!("gai_{:016x}", id.0)
}

/// The agent's metadata, parsed again where a typed profile reads it.
pub(crate) fn profile_metadata(proposal: &Proposal) -> Option<Value> {
    proposal.profile.as_ref()?;
    proposal.metadata.as_deref().and_then(|text| serde_json::from_str(text).ok())
}

/// Hash of the fields that the intent's typed profile asks for.
pub(crate) fn profile_fields_hash(proposal: &Proposal) -> Option<String> {
    let profile = proposal.profile.as_deref()?;
    let hash = policy::profiles::fields_hash(profile, profile_metadata(proposal).as_ref())?;
    Some(hash.to_string())
}

/// One policy decision per intent.
pub(crate) fn decision_id(id: IntentId) -> String {
    format!("dec_{:016x}", id.0)
}

/// The state of the question to people, in the words of existing clients.
pub(crate) fn approval_state(phase: Phase) -> &'static str {
    match phase {
        Phase::Held => "waiting_input",
        Phase::Allowed
        | Phase::Claimed
        | Phase::InDoubt
        | Phase::Succeeded
        | Phase::Delivered
        | Phase::Failed
        | Phase::Rejected => "answered",
        Phase::Blocked => "failed",
        Phase::Cancelled | Phase::Superseded => "cancelled",
        Phase::Expired => "expired",
    }
}

/// The row of an intent.
#[derive(Serialize)]
pub(crate) struct Row<'a> {
    id: String,
    sender_agent_id: String,
    payload_path: Option<&'a str>,
    payload_hash: Option<String>,
    payload_type: Option<&'a str>,
    destination: &'a str,
    policy_id: Option<&'a str>,
    status: &'static str,
    block_reason: Option<&'a str>,
    created_at: String,
    expires_at: String,
    on_behalf_of: Option<&'a str>,
    idempotency_key: Option<&'a str>,
    risk_score: f64,
    risk_level: &'static str,
    sensitivity_tags: String,
    estimated_records: Option<u64>,
    estimated_value_usd: Option<serde_json::Number>,
    action: &'a str,
    approved_at: Option<String>,
    message_id: String,
    approval_state: &'static str,
    approval_link_expires_at: Option<Value>,
    approval_link_used_at: Option<Value>,
    profile_id: Option<&'a str>,
    profile_fields_hash: Option<String>,
    required_approvals: u32,
    standing_approval_id: Option<&'a str>,
    has_approval_link: bool,
    phase: &'static str,
    revision: u32,
    resource: &'a str,
    trigger: Option<&'a str>,
    record_count: Option<u64>,
    approval_digest: String,
    policy_version: u64,
    reason_code: &'a str,
    reason_detail: Option<&'a str>,
    #[serde(rename = "blockReason")]
    block_reason_camel: Option<&'a str>,
    #[serde(rename = "riskScore")]
    risk_score_camel: f64,
    #[serde(rename = "riskLevel")]
    risk_level_camel: &'static str,
    #[serde(rename = "expiresAt")]
    expires_at_camel: String,
    effect: Option<&'static str>,
    changed_at: String,
}

impl<'a> Row<'a> {
    /// The row, with the reference's own words if the payload is one.
    pub(crate) fn of(head: &'a Head, content: &'a Content, reference: Option<&'a str>) -> Self {
        let proposal = &content.proposal;
        let reason = block_reason(head, content);
        let expires_at = iso(head.expires_at);
        let hash = proposal.payload_digest;
        let used_at = head.link.and_then(|mark| mark.used_at);
        let hash = hash.filter(|_| proposal.payload_kind != PayloadKind::Reference);
        Self {
            id: head.id.to_string(),
            sender_agent_id: head.agent.to_string(),
            payload_path: reference,
            payload_hash: hash.map(|digest| digest.to_string()),
            payload_type: proposal.payload_type.as_deref(),
            destination: &proposal.destination,
            policy_id: proposal.policy.as_deref(),
            status: head.phase.status(),
            block_reason: reason,
            created_at: iso(head.submitted_at),
            expires_at: expires_at.clone(),
            on_behalf_of: proposal.on_behalf_of.as_deref(),
            idempotency_key: proposal.idempotency_key.as_deref(),
            risk_score: score(&content.risk),
            risk_level: content.risk.level.name(),
            sensitivity_tags: tags(proposal),
            estimated_records: proposal.record_count_claim.max(content.record_count),
            estimated_value_usd: proposal.value_usd_micros.map(dollars),
            action: &proposal.action,
            approved_at: head.allowed_at.map(iso),
            message_id: message_id(head.id),
            approval_state: approval_state(head.phase),
            approval_link_expires_at: head.link.map(|_| iso(head.expires_at).into()),
            approval_link_used_at: used_at.map(|at| iso(at).into()),
            profile_id: proposal.profile.as_deref(),
            profile_fields_hash: profile_fields_hash(proposal),
            required_approvals: head.approval.rule.count.max(1),
            standing_approval_id: None,
            has_approval_link: head.link.is_some(),
            phase: head.phase.name(),
            revision: head.revision,
            resource: &proposal.destination,
            trigger: proposal.trigger.as_deref(),
            record_count: content.record_count,
            approval_digest: head.approval.digest.to_string(),
            policy_version: content.decision.policy_version,
            reason_code: reason_code(&content.decision),
            reason_detail: explanation(&content.decision),
            block_reason_camel: reason,
            risk_score_camel: score(&content.risk),
            risk_level_camel: content.risk.level.name(),
            expires_at_camel: expires_at,
            effect: head.effect.map(types::Effect::name),
            changed_at: iso(head.changed_at),
        }
    }
}

impl Row<'_> {
    /// The row as lists of existing clients have it: link times in milliseconds.
    pub(crate) fn in_list(mut self, head: &Head) -> Self {
        self.approval_link_expires_at = head.link.map(|_| head.expires_at.0.into());
        let used_at = head.link.and_then(|mark| mark.used_at);
        self.approval_link_used_at = used_at.map(|at| at.0.into());
        self
    }
}

/// Why it does not run: the person's words where a person said no, else policy's.
fn block_reason<'a>(head: &'a Head, content: &'a Content) -> Option<&'a str> {
    match head.phase {
        Phase::Held | Phase::Blocked => explanation(&content.decision),
        Phase::Rejected | Phase::Cancelled | Phase::Superseded | Phase::Expired => {
            head.decided.as_ref().and_then(|decided| decided.reason.as_deref())
        }
        _ => None,
    }
}

/// A JSON string, as existing clients expect it.
fn tags(proposal: &Proposal) -> String {
    serde_json::to_string(&proposal.sensitivity_tags).unwrap_or_else(|_| "[]".into())
}

/// How a decision came, in the words of existing clients.
pub(crate) fn factor(factor: Option<Factor>) -> &'static str {
    match factor {
        None => "manual.dashboard.v1",
        Some(Factor::Link) => "link.single_use.v1",
    }
}
