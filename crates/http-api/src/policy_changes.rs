//! Changing policies: a whole set, or one document of it.
//!
//! Invariant: what does not compile changes nothing and is answered with every problem found.

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::ETAG;
use gate::{NewPolicies, PolicyChange};
use ledger::{Refusal, Reply, SourceFile};
use serde_json::{Value, json};
use types::Role;

use crate::answer::Answer;
use crate::body::{JsonBody, RawBody};
use crate::call::Authed;
use crate::fields::{Fields, path, wrong_type};
use crate::policies::{etag, unknown};
use crate::problem::{Problem, places};
use crate::refusals::{refused, unexpected};
use crate::state::App;

const FORBIDDEN: &str = "changing policies needs a key of role admin";

/// `PUT /v1/policies`.
pub(crate) async fn put_all(
    State(app): State<App>,
    mut call: Authed,
    body: JsonBody,
) -> Result<Answer, Problem> {
    call.need(Role::may_administer, FORBIDDEN).await?;
    let if_version = if_match(&call)?;
    let mut fields = Fields::of(body.value);
    let files = documents(&mut fields)?;
    let files = files.ok_or_else(|| Problem::field(path("policies"), "send every document"))?;
    let origin = fields.words("origin")?;
    fields.nothing_else(&[])?;
    let files: Vec<SourceFile> =
        files.into_iter().map(|file| SourceFile { name: file.name, bytes: file.bytes }).collect();
    let ids: Vec<String> = files.iter().map(|file| stem(&file.name).to_owned()).collect();
    let applied = app.gate.apply_policies(&call.caller, files, if_version, origin).await?;
    let more = json!({ "policies": ids });
    answer(&applied, StatusCode::OK, more)
}

/// The `policies` of a body: documents by id.
///
/// # Errors
/// 400 for another type.
pub(crate) fn documents(fields: &mut Fields) -> Result<Option<Vec<policy::SourceFile>>, Problem> {
    let Some(members) = fields.object("policies")? else { return Ok(None) };
    let file = |(id, yaml): (String, Value)| match yaml {
        Value::String(yaml) => {
            Ok(policy::SourceFile { name: format!("{id}.yaml"), bytes: yaml.into_bytes() })
        }
        other => Err(wrong_type(&format!("policies.{id}"), "a string of YAML", &other)),
    };
    members.into_iter().map(file).collect::<Result<_, _>>().map(Some)
}

/// `PUT /v1/policies/{id}`.
pub(crate) async fn put_one(
    State(app): State<App>,
    mut call: Authed,
    body: RawBody,
) -> Result<Answer, Problem> {
    call.need(Role::may_administer, FORBIDDEN).await?;
    let id = call.path("id").to_owned();
    let change =
        PolicyChange { id: id.clone(), yaml: Some(body.0.to_vec()), if_version: if_match(&call)? };
    let applied = app.gate.change_policy(&call.caller, change).await?;
    let status = if applied.created { StatusCode::CREATED } else { StatusCode::OK };
    answer(&applied, status, json!({ "id": id }))
}

/// `DELETE /v1/policies/{id}`.
pub(crate) async fn delete_one(
    State(app): State<App>,
    mut call: Authed,
) -> Result<Answer, Problem> {
    call.need(Role::may_administer, FORBIDDEN).await?;
    let id = call.path("id").to_owned();
    let change = PolicyChange { id: id.clone(), yaml: None, if_version: if_match(&call)? };
    let applied = match app.gate.change_policy(&call.caller, change).await {
        Err(gate::GateError::NotFound(_)) => return Err(unknown()),
        applied => applied?,
    };
    answer(&applied, StatusCode::OK, json!({ "id": id, "deleted": true }))
}

fn answer(applied: &NewPolicies, status: StatusCode, mut body: Value) -> Result<Answer, Problem> {
    let committed = &applied.answer;
    match &committed.reply {
        Reply::Policies { version, digest, changed } => {
            body["version"] = json!(version);
            body["digest"] = json!(digest.to_string());
            body["changed"] = json!(changed);
            body["gates"] = json!(applied.gates);
            body["warnings"] = places(&applied.warnings).into();
            Ok(Answer::new(status, &body).committed(committed).header(ETAG, etag(*version)))
        }
        Reply::Refused(Refusal::Role { .. }) => {
            Err(Problem::forbidden(FORBIDDEN).committed(committed))
        }
        Reply::Refused(refusal) => Err(refused(refusal).committed(committed)),
        other => Err(unexpected(other)),
    }
}

/// The version that `If-Match` names; `*` is any.
pub(crate) fn if_match(call: &Authed) -> Result<Option<u64>, Problem> {
    let Some(sent) = &call.if_match else { return Ok(None) };
    let text = sent.to_str().unwrap_or_default().trim();
    if text == "*" {
        return Ok(None);
    }
    let digits = text.trim_matches('"');
    let version = digits.parse().ok().filter(|_| digits.bytes().all(|b| b.is_ascii_digit()));
    let problem = || Problem::field("If-Match", "expected a version, such as 3");
    version.map(Some).ok_or_else(problem)
}

fn stem(name: &str) -> &str {
    name.strip_suffix(".yaml").unwrap_or(name)
}
