//! Changing destinations and channels: one document, or a whole set.
//!
//! Invariant: what cannot be read changes nothing and is answered with every problem found.

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::ETAG;
use gate::{GateError, NewSettings, SettingChange};
use ledger::{Refusal, Reply};
use serde_json::{Value, json};
use types::{Digest, Role};

use crate::answer::Answer;
use crate::body::{JsonBody, RawBody};
use crate::call::Authed;
use crate::fields::{Fields, path, wrong_type};
use crate::policies::etag;
use crate::policy_changes::if_match;
use crate::problem::Problem;
use crate::refusals::{refused, unexpected};
use crate::setting_view::promise;
use crate::settings::{unknown_channel, unknown_destination};
use crate::state::App;

const FORBIDDEN: &str = "changing destinations and channels needs a key of role admin";

/// `PUT /v1/destinations`.
pub(crate) async fn put_destinations(
    State(app): State<App>,
    mut call: Authed,
    body: JsonBody,
) -> Result<Answer, Problem> {
    call.need(Role::may_administer, FORBIDDEN).await?;
    let (if_version, set) = (if_match(&call)?, documents(body, "destinations")?);
    let applied = app.gate.apply_destinations(&call.caller, set, if_version).await?;
    whole("destinations", &applied)
}

/// `PUT /v1/channels`.
pub(crate) async fn put_channels(
    State(app): State<App>,
    mut call: Authed,
    body: JsonBody,
) -> Result<Answer, Problem> {
    call.need(Role::may_administer, FORBIDDEN).await?;
    let (if_version, set) = (if_match(&call)?, documents(body, "channels")?);
    let applied = app.gate.apply_channels(&call.caller, set, if_version).await?;
    whole("channels", &applied)
}

/// `PUT /v1/destinations/{name}`.
pub(crate) async fn put_destination(
    State(app): State<App>,
    mut call: Authed,
    body: RawBody,
) -> Result<Answer, Problem> {
    call.need(Role::may_administer, FORBIDDEN).await?;
    let change = change(&call, Some(body))?;
    let applied = app.gate.change_destination(&call.caller, change).await?;
    let mut more = json!({ "name": call.path("name") });
    if let Some(document) = &applied.document {
        more["kind"] = json!(document.connector.kind());
        more["promise"] = json!(promise(document));
    }
    one(&applied.answer, applied.created, applied.document.map(|found| found.digest), more)
}

/// `PUT /v1/channels/{name}`.
pub(crate) async fn put_channel(
    State(app): State<App>,
    mut call: Authed,
    body: RawBody,
) -> Result<Answer, Problem> {
    call.need(Role::may_administer, FORBIDDEN).await?;
    let change = change(&call, Some(body))?;
    let applied = app.gate.change_channel(&call.caller, change).await?;
    let mut more = json!({ "name": call.path("name") });
    if let Some(document) = &applied.document {
        more["kind"] = json!(document.kind.name());
    }
    one(&applied.answer, applied.created, applied.document.map(|found| found.digest), more)
}

/// `DELETE /v1/destinations/{name}`.
pub(crate) async fn delete_destination(
    State(app): State<App>,
    mut call: Authed,
) -> Result<Answer, Problem> {
    call.need(Role::may_administer, FORBIDDEN).await?;
    match app.gate.change_destination(&call.caller, change(&call, None)?).await {
        Err(GateError::NotFound(_)) => Err(unknown_destination()),
        applied => deleted(&call, &applied?.answer),
    }
}

/// `DELETE /v1/channels/{name}`.
pub(crate) async fn delete_channel(
    State(app): State<App>,
    mut call: Authed,
) -> Result<Answer, Problem> {
    call.need(Role::may_administer, FORBIDDEN).await?;
    match app.gate.change_channel(&call.caller, change(&call, None)?).await {
        Err(GateError::NotFound(_)) => Err(unknown_channel()),
        applied => deleted(&call, &applied?.answer),
    }
}

/// The named member of a body: documents by name.
fn documents(body: JsonBody, what: &'static str) -> Result<Vec<(String, Vec<u8>)>, Problem> {
    let mut fields = Fields::of(body.value);
    let members = fields.object(what)?;
    fields.nothing_else(&[])?;
    let members = members.ok_or_else(|| Problem::field(path(what), "send every document"))?;
    let document = |(name, yaml): (String, Value)| match yaml {
        Value::String(yaml) => Ok((name, yaml.into_bytes())),
        other => Err(wrong_type(&format!("{what}.{name}"), "a string of YAML", &other)),
    };
    members.into_iter().map(document).collect()
}

fn change(call: &Authed, body: Option<RawBody>) -> Result<SettingChange, Problem> {
    Ok(SettingChange {
        name: call.path("name").to_owned(),
        yaml: body.map(|body| body.0.to_vec()),
        if_version: if_match(call)?,
    })
}

fn one(
    committed: &gate::Answer,
    created: bool,
    digest: Option<Digest>,
    mut body: Value,
) -> Result<Answer, Problem> {
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    body["digest"] = json!(digest.map(|digest| digest.to_string()));
    answer(committed, status, body, "set_digest")
}

fn deleted(call: &Authed, committed: &gate::Answer) -> Result<Answer, Problem> {
    let body = json!({ "name": call.path("name"), "deleted": true });
    answer(committed, StatusCode::OK, body, "set_digest")
}

fn whole(what: &str, applied: &NewSettings) -> Result<Answer, Problem> {
    answer(&applied.answer, StatusCode::OK, json!({ what: applied.names }), "digest")
}

/// The set's version and digest, the latter under the name it has here, beside what a route adds.
fn answer(
    committed: &gate::Answer,
    status: StatusCode,
    mut body: Value,
    digest_name: &str,
) -> Result<Answer, Problem> {
    match &committed.reply {
        Reply::Policies { version, digest, changed } => {
            body["version"] = json!(version);
            body[digest_name] = json!(digest.to_string());
            body["changed"] = json!(changed);
            Ok(Answer::new(status, &body).committed(committed).header(ETAG, etag(*version)))
        }
        Reply::Refused(Refusal::Role { .. }) => {
            Err(Problem::forbidden(FORBIDDEN).committed(committed))
        }
        Reply::Refused(refusal @ Refusal::VersionMismatch { current }) => {
            let status = StatusCode::PRECONDITION_FAILED;
            let problem = Problem::new(status, "settings_version_mismatch", refusal.to_string());
            Err(problem.with("current", *current).committed(committed))
        }
        Reply::Refused(refusal) => Err(refused(refusal).committed(committed)),
        other => Err(unexpected(other)),
    }
}
