//! The audit view of an intent, leaves in the order of the tree, and the tree's head.

use ledger::query;
use serde_json::json;
use types::limits::{PAGE_ROWS_DEFAULT, PAGE_ROWS_MAX};
use types::{IntentId, NamespaceId, Role};

use crate::answer::Answer;
use crate::call::Authed;
use crate::entries::entry_rows;
use crate::evidence::{EvidenceKey, read_evidence};
use crate::finish::no_such_route;
use crate::intents::{intent_id, visible};
use crate::problem::Problem;
use crate::trail::audit_rows;

const FORBIDDEN: &str = "reading the audit log needs a key of role reviewer, auditor or admin";

/// `GET /v1/intents/{id}/audit` and `GET /v1/audit/{id}`.
pub(crate) async fn trail(call: Authed) -> Result<Answer, Problem> {
    if !call.path("id").starts_with(IntentId::PREFIX) {
        return Err(no_such_route(&call.uri));
    }
    let id = intent_id(&call, "Proposal not found")?;
    let limit = call.limit(PAGE_ROWS_MAX)?;
    let after = call.query_number("after")?;
    let namespace = call.namespace();
    let key = EvidenceKey::of(&call.app.gate);
    let (body, point) = call
        .read(|state, reader, _| {
            let head = visible(state, namespace, reader, id)?;
            let decided = query::content(state, namespace, id, head.revision)?;
            let evidence = read_evidence(state, &key, namespace, &head, &decided)?;
            // The first leaf tells of the first revision.
            let content = query::content(state, namespace, id, 1)?;
            let page = query::trail(state, namespace, id, after, limit)?;
            let events = audit_rows(id, &content, &page.entries);
            Ok(json!({
                "proposalId": id.to_string(),
                "intentId": id.to_string(),
                "count": events.len(),
                "events": events,
                "truncated": page.next.is_some() || limit == 0,
                "next": page.next,
                "approval_evidence": evidence,
            }))
        })
        .await?;
    Ok(Answer::ok(&body).at(point))
}

/// `GET /v1/audit/entries`: what happened in the caller's namespace, also what belongs to no
/// intent.
/// Who reads in `default` runs the cluster and sees the cluster's own leaves too.
pub(crate) async fn entries(mut call: Authed) -> Result<Answer, Problem> {
    call.need(Role::may_read_all, FORBIDDEN).await?;
    let limit = call.limit(PAGE_ROWS_DEFAULT)?;
    let after = call.query_number("after")?;
    let own = call.namespace();
    let namespaces = [own, NamespaceId::CLUSTER];
    let shown = if own == NamespaceId::DEFAULT { &namespaces[..] } else { &namespaces[..1] };
    let (body, point) = call
        .read(|state, reader, progress| {
            if !reader.role.may_read_all() {
                return Err(Problem::forbidden(FORBIDDEN));
            }
            let page = query::leaves(state, shown, after, limit)?;
            Ok(json!({
                "entries": entry_rows(&page.entries),
                "count": page.entries.len(),
                "next": page.next,
                "index": progress.index.0,
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
