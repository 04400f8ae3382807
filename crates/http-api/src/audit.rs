//! The audit view of an intent, and the head of the tree that holds all leaves.

use ledger::query;
use serde_json::json;
use types::IntentId;
use types::limits::PAGE_ROWS_MAX;

use crate::answer::Answer;
use crate::call::Authed;
use crate::evidence::{EvidenceKey, read_evidence};
use crate::finish::no_such_route;
use crate::intents::{intent_id, visible};
use crate::problem::Problem;
use crate::trail::audit_rows;

/// `GET /v1/intents/{id}/audit` and `GET /v1/audit/{id}`.
pub(crate) async fn trail(call: Authed) -> Result<Answer, Problem> {
    if !call.path("id").starts_with(IntentId::PREFIX) {
        return Err(no_such_route(&call.uri));
    }
    let id = intent_id(&call, "Proposal not found")?;
    let limit = call.limit(PAGE_ROWS_MAX)?;
    let namespace = call.namespace();
    let key = EvidenceKey::of(&call.app.gate);
    let (body, point) = call
        .read(|state, reader, _| {
            let head = visible(state, namespace, reader, id)?;
            let decided = query::content(state, namespace, id, head.revision)?;
            let evidence = read_evidence(state, &key, namespace, &head, &decided)?;
            // The first leaf tells of the first revision.
            let content = query::content(state, namespace, id, 1)?;
            let mut trail = query::trail(state, namespace, id, limit.saturating_add(1))?;
            let truncated = trail.len() > limit;
            trail.truncate(limit);
            let events = audit_rows(id, &content, &trail);
            Ok(json!({
                "proposalId": id.to_string(),
                "intentId": id.to_string(),
                "count": events.len(),
                "events": events,
                "truncated": truncated,
                "approval_evidence": evidence,
            }))
        })
        .await?;
    Ok(Answer::ok(&body).at(point))
}

/// `GET /v1/audit/checkpoint`.
pub(crate) async fn checkpoint(call: Authed) -> Result<Answer, Problem> {
    let (body, point) = call
        .read(|state, _, progress| {
            let (size, root) = query::tree(state)?;
            Ok(json!({ "size": size, "root": root.to_string(), "index": progress.index.0 }))
        })
        .await?;
    Ok(Answer::ok(&body).at(point))
}
