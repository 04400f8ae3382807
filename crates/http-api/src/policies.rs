//! Reading policies: what is in force, one document, and how it came to be.
//!
//! Ids are for everybody with a key, as existing clients expect; the rules themselves are for those
//! who may read all.

use axum::http::HeaderValue;
use axum::http::header::ETAG;
use ledger::{AgentRow, PolicyHead, PolicySourceRow, Read, SourceFile, query};
use serde_json::{Value, json};
use types::limits::{PAGE_ROWS_DEFAULT, POLICY_VERSIONS_PAGE_MAX};
use types::{Digest, NamespaceId, Role};

use crate::answer::Answer;
use crate::call::Authed;
use crate::problem::Problem;
use crate::times::iso;

/// `GET /v1/policies`.
pub(crate) async fn list(call: Authed) -> Result<Answer, Problem> {
    let namespace = call.namespace();
    let (body, point) = call
        .read(|state, _, _| {
            let Some(head) = query::policy_head(state, namespace)? else {
                return Ok(json!({
                    "policies": [], "version": 0, "digest": null, "applied_at": null,
                }));
            };
            let set = state.compiled(namespace, head.version)?;
            let ids: Vec<&str> = set.documents.iter().map(|file| file.id.as_str()).collect();
            let gates: Vec<&str> = set.gates.iter().map(|gate| gate.name.as_str()).collect();
            Ok(json!({
                "policies": ids,
                "version": head.version,
                "digest": head.digest.to_string(),
                "applied_at": iso(head.applied_at),
                "applied_by": head.by.to_string(),
                "origin": head.origin,
                "gates": gates,
            }))
        })
        .await?;
    let version = body["version"].as_u64().unwrap_or(0);
    Ok(Answer::ok(&body).at(point).header(ETAG, etag(version)))
}

/// `GET /v1/policies/{id}`.
pub(crate) async fn one(call: Authed) -> Result<Answer, Problem> {
    let namespace = call.namespace();
    let ((body, version), point) = call
        .read(|state, reader, _| {
            may_read_rules(reader)?;
            let row = in_force(state, namespace)?.ok_or_else(unknown)?;
            let file = document(&row.files, call.path("id")).ok_or_else(unknown)?;
            let body = json!({
                "id": call.path("id"),
                "file": file.name,
                "yaml": String::from_utf8_lossy(&file.bytes),
                "version": row.head.version,
                "digest": Digest::of(&file.bytes).to_string(),
                "applied_at": iso(row.head.applied_at),
            });
            Ok((body, row.head.version))
        })
        .await?;
    Ok(Answer::ok(&body).at(point).header(ETAG, etag(version)))
}

/// `GET /v1/policies/{id}/versions`: versions of the set in which this document changed, newest
/// first. One page looks through a bounded number of versions; `next` goes on from there.
pub(crate) async fn versions(call: Authed) -> Result<Answer, Problem> {
    let limit = call.limit(PAGE_ROWS_DEFAULT)?.min(POLICY_VERSIONS_PAGE_MAX);
    let before = call.query_number("before")?;
    let namespace = call.namespace();
    let id = call.path("id").to_owned();
    let (body, point) = call
        .read(|state, reader, _| {
            may_read_rules(reader)?;
            let head = query::policy_head(state, namespace)?.ok_or_else(unknown)?;
            let newest =
                before.map_or(head.version, |before| head.version.min(before.saturating_sub(1)));
            history(state, namespace, &id, newest, limit)
        })
        .await?;
    Ok(Answer::ok(&body).at(point))
}

fn history(
    state: &dyn Read,
    namespace: NamespaceId,
    id: &str,
    newest: u64,
    limit: usize,
) -> Result<Value, Problem> {
    let oldest = newest.saturating_sub(limit as u64);
    let mut changes: Vec<Value> = Vec::new();
    let mut newer: Option<(PolicyHead, Option<Digest>)> = None;
    // One version more than the page shows, to see whether its last one changed the document.
    for version in (oldest..=newest).rev() {
        let row = match version {
            0 => None,
            version => query::policy_source(state, namespace, version)?,
        };
        let digest = row
            .as_ref()
            .and_then(|row| document(&row.files, id).map(|file| Digest::of(&file.bytes)));
        if let Some((head, shown)) = newer
            && shown != digest
        {
            changes.push(json!({
                "version": head.version,
                "digest": shown.map(|digest| digest.to_string()),
                "deleted": shown.is_none(),
                "set_digest": head.digest.to_string(),
                "applied_at": iso(head.applied_at),
                "applied_by": head.by.to_string(),
                "origin": head.origin,
            }));
        }
        newer = row.map(|row| (row.head, digest));
        if newer.is_none() {
            break;
        }
    }
    let next = (oldest > 0).then_some(oldest + 1);
    if changes.is_empty() && next.is_none() {
        return Err(unknown());
    }
    Ok(json!({ "id": id, "versions": changes, "count": changes.len(), "next": next }))
}

/// The documents in force.
fn in_force(state: &dyn Read, namespace: NamespaceId) -> Result<Option<PolicySourceRow>, Problem> {
    match query::policy_head(state, namespace)? {
        Some(head) => Ok(query::policy_source(state, namespace, head.version)?),
        None => Ok(None),
    }
}

/// A document by its id.
fn document<'f>(files: &'f [SourceFile], id: &str) -> Option<&'f SourceFile> {
    files.iter().find(|file| {
        let stem = file.name.strip_suffix(".yaml").or_else(|| file.name.strip_suffix(".yml"));
        stem == Some(id)
    })
}

/// The version as an entity tag: what `If-Match` takes.
pub(crate) fn etag(version: u64) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{version}\"")).unwrap_or(HeaderValue::from_static("\"0\""))
}

fn may_read_rules(reader: &AgentRow) -> Result<(), Problem> {
    let allowed = reader.role.may_read_all() || reader.role == Role::Operator;
    let message = "reading rules needs a key of role reviewer, auditor, operator or admin";
    if allowed { Ok(()) } else { Err(Problem::forbidden(message)) }
}

/// 404.
pub(crate) fn unknown() -> Problem {
    Problem::not_found("Policy not found", "no such policy; GET /v1/policies lists them")
}
