//! One intent with all that belongs to it, as JSON.
//!
//! Payload and metadata are kept as canonical JSON and are put into the answer as they are.

use ledger::query::TrailPage;
use ledger::{Content, Head};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use types::{AgentStatus, FreezeId, Outcome, PayloadKind};

use crate::propose_answer::profile_summary;
use crate::times::iso;
use crate::trail::{AuditRow, audit_rows};
use crate::view::{ReasonView, Row, approval_interaction_id, approval_state, factor, message_id};

/// What the ledger holds of an intent.
pub(crate) struct Rows {
    pub(crate) head: Head,
    pub(crate) content: Content,
    pub(crate) payload: Option<Vec<u8>>,
    pub(crate) trail: TrailPage,
    pub(crate) evidence: Option<Value>,
    /// What the agent that asked for it is now.
    pub(crate) submitter: Option<AgentStatus>,
    /// What keeps it from being carried out now.
    pub(crate) frozen_by: Option<FreezeId>,
    /// What serves the resource now, for those who may read destinations.
    pub(crate) carried_out_by: Option<Value>,
}

/// One intent with all that belongs to it.
#[derive(Serialize)]
struct Whole<'a> {
    #[serde(flatten)]
    row: Row<'a>,
    #[serde(rename = "intentId")]
    intent_id: String,
    payload: Box<RawValue>,
    metadata: Box<RawValue>,
    profile: Option<&'a str>,
    #[serde(rename = "profileSummary")]
    profile_summary: Option<String>,
    reasons: Vec<ReasonView<'a>>,
    votes: Vec<Value>,
    decided: Option<Value>,
    /// Why nothing of it begins now, whatever people decide.
    held_back: Option<&'static str>,
    /// The freeze, where that is why.
    frozen_by: Option<String>,
    /// The newest order.
    execution_id: Option<String>,
    attempts: u32,
    carried_out_by: Option<&'a Value>,
    manifest: Option<Value>,
    approval_evidence: Option<&'a Value>,
    approval_interactions: Vec<Value>,
    #[serde(rename = "auditTrail")]
    audit_trail: Vec<AuditRow>,
    /// Where the trail goes on after these; `GET …/audit?after=` reads it.
    audit_next: Option<u64>,
}

impl Rows {
    /// The body of the answer.
    pub(crate) fn print(&self) -> Vec<u8> {
        let Self { head, content, payload, trail, evidence, carried_out_by, .. } = self;
        let waits = !head.phase.is_terminal();
        let frozen_by = self.frozen_by.filter(|_| waits);
        let proposal = &content.proposal;
        let reference = reference(content, payload.as_deref());
        let vote = |vote: &ledger::Vote| {
            let agent = vote.agent.to_string();
            json!({
                "agent_id": agent,
                "name": vote.shown_name(),
                "at": iso(vote.at),
                "factor": factor(vote.factor),
            })
        };
        let decided = |decided: &ledger::Decided| {
            json!({
                "at": iso(decided.at),
                "by": decided.by.map(|by| by.to_string()),
                "name": decided.name,
                "reason": decided.reason,
            })
        };
        let view = Whole {
            row: Row::of(head, content, reference.as_deref()),
            intent_id: head.id.to_string(),
            payload: payload_value(proposal.payload_kind, payload.as_deref()),
            metadata: raw(proposal.metadata.clone()),
            profile: proposal.profile.as_deref(),
            profile_summary: profile_summary(proposal),
            reasons: content.decision.reasons.iter().map(ReasonView::of).collect(),
            votes: head.approval.votes.iter().map(vote).collect(),
            decided: head.decided.as_ref().map(decided),
            held_back: held_back(self.submitter.filter(|_| waits), frozen_by),
            frozen_by: frozen_by.map(|id| id.to_string()),
            execution_id: head.execution.map(|id| id.to_string()),
            attempts: head.attempts,
            carried_out_by: carried_out_by.as_ref(),
            manifest: None,
            approval_evidence: evidence.as_ref(),
            approval_interactions: interactions(head, content, evidence.as_ref()),
            audit_trail: audit_rows(head.id, content, &trail.entries),
            audit_next: trail.next,
        };
        // Wire types have string keys only and cannot fail otherwise.
        serde_json::to_vec(&view).unwrap_or_default()
    }
}

/// Nothing begins of what a stopped agent asked for, and of what is frozen.
fn held_back(submitter: Option<AgentStatus>, frozen_by: Option<FreezeId>) -> Option<&'static str> {
    match submitter {
        Some(AgentStatus::Suspended) => Some("submitter_suspended"),
        Some(AgentStatus::Revoked) => Some("submitter_revoked"),
        Some(AgentStatus::Active) | None => frozen_by.map(|_| "frozen"),
    }
}

/// A payload as it was sent.
fn payload_value(kind: PayloadKind, bytes: Option<&[u8]>) -> Box<RawValue> {
    let text = bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    match kind {
        PayloadKind::Absent => raw(None),
        PayloadKind::Json => raw(text),
        PayloadKind::Text | PayloadKind::Reference => {
            raw(text.map(|text| Value::String(text).to_string()))
        }
    }
}

/// JSON text as it is; null for none, and for text that is no JSON after all.
fn raw(text: Option<String>) -> Box<RawValue> {
    text.and_then(|text| RawValue::from_string(text).ok())
        .unwrap_or_else(|| RawValue::NULL.to_owned())
}

/// The agent's own word for a file that the gate never opens.
pub(crate) fn reference(content: &Content, payload: Option<&[u8]>) -> Option<String> {
    let bytes = payload.filter(|_| content.proposal.payload_kind == PayloadKind::Reference)?;
    Some(String::from_utf8_lossy(bytes).into_owned())
}

/// The one question to people, if policy asked it.
fn interactions(head: &Head, content: &Content, evidence: Option<&Value>) -> Vec<Value> {
    if content.decision.outcome != Outcome::Hold {
        return Vec::new();
    }
    let said = head.decided.as_ref().filter(|decided| decided.by.is_some());
    let answered_at = match evidence {
        // What a person says later of an execution is no answer to this question.
        Some(evidence) => evidence["decided_at"].clone(),
        None => json!(said.map(|decided| iso(decided.at))),
    };
    vec![json!({
        "id": approval_interaction_id(head.id),
        "intentId": head.id.to_string(),
        "provider": "dashboard",
        "providerInteractionId": null,
        "messageId": message_id(head.id),
        "state": approval_state(head.phase),
        "principalId": null,
        "channelType": null,
        "channelAddressRedacted": null,
        "approvedIntentHash": evidence.map(|evidence| &evidence["approved_intent_hash"]),
        "requiredFactors": [],
        "assuranceLevel": null,
        "evidence": null,
        "createdAt": iso(head.submitted_at),
        "expiresAt": iso(head.expires_at),
        "answeredAt": answered_at,
    })]
}
