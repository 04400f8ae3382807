//! Audit leaves in the words of existing clients: one leaf is one or more rows.
//!
//! New facts get new names; the leaf itself, with its hash, is the truth behind every row.

use ledger::{Content, Leaf, LeafBody, LeafDetail};
use serde::Serialize;
use serde_json::{Value, json};
use types::{IntentId, Phase};

use crate::times::iso;
use crate::view::explanation;

/// One row.
#[derive(Debug, Serialize)]
pub(crate) struct AuditRow {
    id: String,
    proposal_id: String,
    event_type: &'static str,
    actor: String,
    metadata: Value,
    created_at: String,
    sequence: u64,
    index: u64,
}

/// The rows of an intent's trail, oldest first.
pub(crate) fn audit_rows(
    intent: IntentId,
    content: &Content,
    trail: &[(Leaf, LeafDetail)],
) -> Vec<AuditRow> {
    let mut rows = Vec::with_capacity(trail.len() * 3);
    for (leaf, detail) in trail {
        for (number, line) in lines(leaf, detail, content).into_iter().enumerate() {
            rows.push(AuditRow {
                id: event_id(leaf.sequence, number),
                proposal_id: intent.to_string(),
                event_type: line.event,
                actor: line.actor,
                metadata: line.metadata,
                created_at: iso(leaf.time),
                sequence: leaf.sequence,
                index: leaf.index.0,
            });
        }
    }
    rows
}

/// A leaf has at most sixteen rows, so this never meets another leaf's.
fn event_id(sequence: u64, number: usize) -> String {
    debug_assert!(number < 16, "a leaf with more rows than its ids have room for");
    format!("evt_{:016x}", (sequence << 4) | (number as u64 & 15))
}

struct Line {
    event: &'static str,
    actor: String,
    metadata: Value,
}

fn line(event: &'static str, actor: &str, metadata: Value) -> Line {
    Line { event, actor: actor.to_owned(), metadata }
}

fn state_changed(actor: &str, previous: &str, next: &str, reason: Option<&str>) -> Line {
    let metadata = json!({ "previous": previous, "next": next, "reason": reason });
    line("approval_state_changed", actor, metadata)
}

const SYSTEM: &str = "system";
/// Who claims what the gate runs itself.
const EXECUTOR: &str = "executor";

fn lines(leaf: &Leaf, detail: &LeafDetail, content: &Content) -> Vec<Line> {
    let actor = detail.actor_name.as_deref().unwrap_or(SYSTEM);
    let reason = detail.reason.as_deref();
    match &leaf.body {
        LeafBody::Submitted { phase, .. } => submitted(*phase, actor, content),
        LeafBody::DuplicateRefused { gate, .. } => {
            let metadata = json!({ "gate": gate, "rule": "idempotency_key" });
            vec![line("duplicate_refused", actor, metadata)]
        }
        LeafBody::Approved { .. } => approved(&leaf.body, actor, detail),
        LeafBody::Allowed => {
            vec![line("approved", actor, json!({ "approver": actor }))]
        }
        LeafBody::LinkIssued { expires_at } => {
            vec![line(leaf.body.kind(), actor, json!({ "expires_at": iso(*expires_at) }))]
        }
        LeafBody::LinkUsed { .. } => {
            let issued_to = leaf.actor.map(|id| id.to_string());
            vec![line(leaf.body.kind(), actor, json!({ "issued_to": issued_to }))]
        }
        LeafBody::Ended { phase, .. } => ended(*phase, actor, reason),
        LeafBody::PolicyChanged { policy_version, outcome, approval_digest, .. } => {
            let metadata = json!({
                "policy_version": policy_version,
                "outcome": outcome.name(),
                "approval_digest": approval_digest.to_string(),
            });
            vec![line("policy_changed", SYSTEM, metadata)]
        }
        LeafBody::OrderIssued { execution, attempt, fence, mode, .. } => {
            let metadata = json!({
                "executionId": execution.to_string(), "mode": mode, "attempt": attempt,
                "fence": fence.0,
            });
            let kind = if actor == EXECUTOR { "execution_claimed" } else { "execution_requested" };
            vec![line(kind, actor, metadata)]
        }
        LeafBody::Reported { execution, effect, .. } => {
            let result: Option<Value> = reason.and_then(|text| serde_json::from_str(text).ok());
            let metadata = json!({
                "executionId": execution.to_string(), "result": result,
                "effect": effect.map(types::Effect::name),
            });
            let kind = leaf.body.kind();
            vec![line(kind, detail.actor_name.as_deref().unwrap_or("runner"), metadata)]
        }
        LeafBody::DoubtBegan { execution, .. } => {
            let metadata = json!({ "executionId": execution.to_string(), "reason": reason });
            vec![line("execution_in_doubt", SYSTEM, metadata)]
        }
        LeafBody::GivenBack { execution, .. } => {
            let metadata = json!({ "executionId": execution.to_string(), "reason": reason });
            vec![line(leaf.body.kind(), actor, metadata)]
        }
        LeafBody::Resolved { phase, effect, .. } => {
            let metadata = json!({
                "outcome": phase.name(), "effect": effect.map(types::Effect::name),
                "reason": reason,
            });
            vec![line("execution_resolved", actor, metadata)]
        }
        LeafBody::WebhookRegistered { webhook, .. } => {
            let metadata = json!({ "webhookId": webhook.to_string() });
            vec![line("webhook_registered", actor, metadata)]
        }
        LeafBody::DeliveryReported { delivery, channel, notice, attempts, .. } => {
            let metadata = json!({
                "deliveryId": delivery.to_string(), "channel": channel, "event": notice.name(),
                "attempts": attempts, "error": reason,
            });
            vec![line(leaf.body.kind(), SYSTEM, metadata)]
        }
        other => vec![line(other.kind(), actor, json!({}))],
    }
}

/// A vote, and what it completes.
fn approved(body: &LeafBody, actor: &str, detail: &LeafDetail) -> Vec<Line> {
    let LeafBody::Approved { digest, votes, required, .. } = body else { return Vec::new() };
    let (digest, reason) = (digest.to_string(), detail.reason.as_deref());
    let counts = json!({
        "votes": votes, "required": required, "reason": reason, "approval_digest": digest,
        "votedBy": detail.voters,
    });
    let mut lines = Vec::new();
    if *required > 1 {
        lines.push(line("approval_vote_recorded", actor, counts));
    }
    if votes >= required {
        if *required > 1 {
            let counts = json!({ "votes": votes, "required": required });
            lines.push(line("approval_quorum_reached", actor, counts));
        }
        lines.push(state_changed(actor, "waiting_input", "answered", reason));
    }
    lines
}

/// Existing clients see the states of the question before the proposal itself.
fn submitted(phase: Phase, agent: &str, content: &Content) -> Vec<Line> {
    let proposal = &content.proposal;
    let explained = explanation(&content.decision);
    let mut lines = Vec::with_capacity(4);
    if phase == Phase::Held {
        lines.push(state_changed(SYSTEM, "pending", "sent", None));
        lines.push(state_changed(SYSTEM, "sent", "waiting_input", None));
    }
    lines.push(line(
        "proposed",
        agent,
        json!({
            "destination": proposal.destination,
            "policy": proposal.policy,
            "on_behalf_of": proposal.on_behalf_of,
            "trigger": proposal.trigger,
        }),
    ));
    lines.push(line(
        "policy_checked",
        SYSTEM,
        json!({
            "result": phase.status(),
            "reason": explained,
            "policy_version": content.decision.policy_version,
        }),
    ));
    match phase {
        Phase::Allowed => {
            let metadata = json!({ "policy": proposal.policy, "auto": true });
            lines.push(line("approved", SYSTEM, metadata));
        }
        Phase::Blocked => lines.push(line("blocked", SYSTEM, json!({ "reason": explained }))),
        _ => {}
    }
    lines
}

fn ended(phase: Phase, actor: &str, reason: Option<&str>) -> Vec<Line> {
    match phase {
        Phase::Rejected => vec![
            state_changed(actor, "waiting_input", "answered", reason),
            line("rejected", actor, json!({ "reason": reason, "rejector": actor })),
        ],
        Phase::Cancelled => vec![
            state_changed(actor, "waiting_input", "cancelled", reason),
            line("approval_cancelled", actor, json!({ "reason": reason })),
        ],
        Phase::Expired => vec![line("expired", SYSTEM, json!({ "on_no_response": "reject" }))],
        other => vec![line(other.name(), actor, json!({ "reason": reason }))],
    }
}
