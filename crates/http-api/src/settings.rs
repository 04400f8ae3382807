//! Reading destinations and channels: what is in force, and one document as written.

use axum::http::header::ETAG;
use gate::log::ReadPoint;
use ledger::{AgentRow, Read, SetHead, query};
use serde_json::{Value, json};
use types::{Channel, Destination, NamespaceId, Role};

use crate::answer::Answer;
use crate::call::Authed;
use crate::policies::etag;
use crate::problem::Problem;
use crate::setting_view::{
    channel_compiled, channel_row, destination_compiled, destination_row, promise,
};
use crate::times::iso;

/// `GET /v1/destinations`.
pub(crate) async fn destinations(call: Authed) -> Result<Answer, Problem> {
    let namespace = call.namespace();
    let found = call
        .read(|state, reader, _| {
            may_read(reader)?;
            let Some(head) = query::settings_head(state, namespace)?.destinations else {
                return Ok((Vec::new(), None));
            };
            let set = state.destinations(namespace, head.version)?;
            let rows = set.iter().map(|one| destination_row(one, head.version)).collect();
            Ok((rows, Some(head)))
        })
        .await?;
    Ok(list("destinations", found))
}

/// `GET /v1/destinations/{name}`.
pub(crate) async fn destination(call: Authed) -> Result<Answer, Problem> {
    let namespace = call.namespace();
    let ((body, head), point) = call
        .read(|state, reader, _| {
            may_read(reader)?;
            let found = destination_in_force(state, namespace, call.path("name"))?;
            let (found, head) = found.ok_or_else(unknown_destination)?;
            let mut body = document(&head, &found.name, &found.source, &found.digest.to_string());
            body["kind"] = json!(found.connector.kind());
            body["promise"] = json!(promise(&found));
            body["compiled"] = destination_compiled(&found);
            Ok((body, head))
        })
        .await?;
    Ok(Answer::ok(&body).at(point).header(ETAG, etag(head.version)))
}

/// `GET /v1/channels`.
pub(crate) async fn channels(call: Authed) -> Result<Answer, Problem> {
    let namespace = call.namespace();
    let found = call
        .read(|state, reader, _| {
            may_read(reader)?;
            let Some(head) = query::settings_head(state, namespace)?.channels else {
                return Ok((Vec::new(), None));
            };
            let set = state.channels(namespace, head.version)?;
            let rows = set.iter().map(|one| channel_row(one, head.version)).collect();
            Ok((rows, Some(head)))
        })
        .await?;
    Ok(list("channels", found))
}

/// `GET /v1/channels/{name}`.
pub(crate) async fn channel(call: Authed) -> Result<Answer, Problem> {
    let namespace = call.namespace();
    let ((body, head), point) = call
        .read(|state, reader, _| {
            may_read(reader)?;
            let found = channel_in_force(state, namespace, call.path("name"))?;
            let (found, head) = found.ok_or_else(unknown_channel)?;
            let mut body = document(&head, &found.name, &found.source, &found.digest.to_string());
            body["kind"] = json!(found.kind.name());
            body["compiled"] = channel_compiled(&found);
            Ok((body, head))
        })
        .await?;
    Ok(Answer::ok(&body).at(point).header(ETAG, etag(head.version)))
}

fn destination_in_force(
    state: &dyn Read,
    namespace: NamespaceId,
    name: &str,
) -> Result<Option<(Destination, SetHead)>, Problem> {
    let Some(head) = query::settings_head(state, namespace)?.destinations else { return Ok(None) };
    let set = state.destinations(namespace, head.version)?;
    Ok(set.iter().find(|one| one.name == name).map(|one| (one.clone(), head)))
}

pub(crate) fn channel_in_force(
    state: &dyn Read,
    namespace: NamespaceId,
    name: &str,
) -> Result<Option<(Channel, SetHead)>, Problem> {
    let Some(head) = query::settings_head(state, namespace)?.channels else { return Ok(None) };
    let set = state.channels(namespace, head.version)?;
    Ok(set.iter().find(|one| one.name == name).map(|one| (one.clone(), head)))
}

/// What documents of both kinds have in common.
fn document(head: &SetHead, name: &str, source: &[u8], digest: &str) -> Value {
    json!({
        "name": name,
        "yaml": String::from_utf8_lossy(source),
        "version": head.version,
        "digest": digest,
        "applied_at": iso(head.applied_at),
        "applied_by": head.by.to_string(),
    })
}

fn list(what: &str, found: ((Vec<Value>, Option<SetHead>), ReadPoint)) -> Answer {
    let ((rows, head), point) = found;
    let version = head.map_or(0, |head| head.version);
    let body = json!({
        what: rows,
        "count": rows.len(),
        "version": version,
        "digest": head.map(|head| head.digest.to_string()),
        "applied_at": head.map(|head| iso(head.applied_at)),
        "applied_by": head.map(|head| head.by.to_string()),
    });
    Answer::ok(&body).at(point).header(ETAG, etag(version))
}

pub(crate) fn may_read(reader: &AgentRow) -> Result<(), Problem> {
    let allowed = reader.role.may_read_all() || reader.role == Role::Operator;
    let message =
        "reading these documents needs a key of role reviewer, auditor, operator or admin";
    if allowed { Ok(()) } else { Err(Problem::forbidden(message)) }
}

/// 404.
pub(crate) fn unknown_destination() -> Problem {
    let message = "no such destination; GET /v1/destinations lists them";
    Problem::not_found("Destination not found", message)
}

/// 404.
pub(crate) fn unknown_channel() -> Problem {
    Problem::not_found("Channel not found", "no such channel; GET /v1/channels lists them")
}
