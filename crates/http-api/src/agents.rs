//! Principals: registered, listed, stopped, resumed, given roles and keys.
//!
//! Invariant: a key is shown in the one answer that made it and nowhere else.

use std::time::Duration;

use axum::extract::{FromRequest, Request, State};
use axum::http::StatusCode;
use gate::NewPrincipal;
use ledger::{AgentRow, Refusal, Reply, query};
use serde_json::{Value, json};
use types::limits::{KEY_OVERLAP_MS_MAX, METADATA_BYTES_MAX, PAGE_ROWS_MAX};
use types::{AgentId, AgentStatus, Role};

use crate::answer::Answer;
use crate::body::JsonBody;
use crate::call::{Authed, Call};
use crate::fields::{Fields, path};
use crate::problem::Problem;
use crate::refusals::{refused, unexpected};
use crate::request_key::request_key;
use crate::state::App;
use crate::times::iso;

const UNKNOWN: &str = "Agent not found";

/// Fields of a registration as they are read, and their other spelling.
const BOTH: [(&str, &str); 3] = [
    ("riskTier", "risk_tier"),
    ("allowed_policies", "allowedPolicies"),
    ("allowed_destinations", "allowedDestinations"),
];

/// `POST /v1/agents/register`.
pub(crate) async fn register(
    State(app): State<App>,
    call: Call,
    body: Request,
) -> Result<Answer, Problem> {
    let mut authed = None;
    if call.has_authorization() || !app.gate.settings().open_registration {
        authed = Some(call.authenticate().await?);
    }
    if let Some(authed) = &mut authed {
        authed.need(Role::may_administer, "registering agents needs a key of role admin").await?;
    }
    let body = JsonBody::from_request(body, &app).await?;
    let request_key = match &authed {
        Some(authed) => request_key(authed, &body)?,
        None => None,
    };
    let mut principal = read(Fields::of(body.value), authed.is_some())?;
    principal.request_key = request_key;
    let caller = authed.as_ref().map(|authed| &authed.caller);
    let made = app.gate.register(caller, &principal).await?;
    let (reply, replayed) = made.answer.unwrapped();
    match reply {
        Reply::Agent(row) => {
            // The first answer showed the key; it is kept nowhere and cannot be shown again.
            let key = (!replayed).then(|| made.key.reveal());
            let body = registered(row, key);
            Ok(Answer::new(StatusCode::CREATED, &body).committed(&made.answer).replayed(replayed))
        }
        Reply::Refused(refusal) => Err(refused(refusal).committed(&made.answer)),
        other => Err(unexpected(other)),
    }
}

fn read(mut fields: Fields, by_admin: bool) -> Result<NewPrincipal, Problem> {
    for (known, other) in BOTH {
        fields.respell(known, other)?;
    }
    let named = fields.words("name")?;
    let name = named.ok_or_else(|| {
        Problem::field(path("name"), "give the agent a name").says("name is required")
    })?;
    let role = match fields.words("role")? {
        // As existing clients know it: an open registration makes agents, whatever it asks for.
        Some(_) if !by_admin => Role::Agent,
        Some(word) => parse_role(&word)?,
        None => Role::Agent,
    };
    let metadata = fields.object("metadata")?.map(Value::Object);
    let metadata = metadata.as_ref().map(policy::json::canonical);
    if metadata.as_ref().is_some_and(|text| text.len() > METADATA_BYTES_MAX) {
        let message = format!("longer than {METADATA_BYTES_MAX} bytes");
        return Err(Problem::field(path("metadata"), message));
    }
    let principal = NewPrincipal {
        name,
        owner: fields.words("owner")?,
        framework: fields.words("framework")?,
        risk_tier: fields.words("riskTier")?.unwrap_or_else(|| "standard".into()),
        role,
        allowed_policies: fields.strings("allowed_policies")?,
        allowed_destinations: fields.strings("allowed_destinations")?,
        metadata,
        request_key: None,
    };
    // Without what it says, the key that is made here might open more than it should.
    fields.nothing_else(&[])?;
    Ok(principal)
}

fn parse_role(word: &str) -> Result<Role, Problem> {
    word.parse().map_err(|()| {
        let names: Vec<&str> = Role::ALL.iter().map(|role| role.name()).collect();
        Problem::field(path("role"), format!("expected one of {}", names.join(", ")))
    })
}

fn registered(row: &AgentRow, key: Option<&str>) -> Value {
    json!({
        "agent_id": row.id.to_string(),
        "agentId": row.id.to_string(),
        "name": row.name,
        "owner": row.owner,
        "framework": row.framework,
        "allowed_policies": row.allowed_policies,
        "allowed_destinations": row.allowed_destinations,
        "status": row.status.name(),
        "created_at": iso(row.created_at),
        "apiKey": key,
        "key_id": row.keys.last().map(|key| key.to_string()),
        "role": row.role.name(),
        "risk_tier": row.risk_tier,
    })
}

/// `GET /v1/agents`.
pub(crate) async fn list(call: Authed) -> Result<Answer, Problem> {
    let limit = call.limit(PAGE_ROWS_MAX)?;
    let after = call.query_id("after")?;
    let namespace = call.namespace();
    let (body, point) = call
        .read(|state, reader, _| {
            if !reader.role.may_read_all() {
                return Err(Problem::forbidden("Reviewer API key required to list agents"));
            }
            let mut rows = match limit {
                0 => Vec::new(),
                _ => query::agents(state, namespace, after, limit.saturating_add(1))?,
            };
            let more = rows.len() > limit;
            rows.truncate(limit);
            let next = rows.last().filter(|_| more).map(|row| row.id.to_string());
            let agents: Vec<Value> = rows.iter().map(agent_view).collect();
            Ok(json!({ "agents": agents, "count": agents.len(), "next": next }))
        })
        .await?;
    Ok(Answer::ok(&body).at(point))
}

/// `GET /v1/agents/{id}`.
pub(crate) async fn one(call: Authed) -> Result<Answer, Problem> {
    let named: Option<AgentId> = call.path("id").parse().ok();
    let namespace = call.namespace();
    let (body, point) = call
        .read(|state, reader, _| {
            if named != Some(reader.id) && !reader.role.may_read_all() {
                return Err(Problem::forbidden("Cannot access other agents"));
            }
            let row = match named {
                Some(id) => query::agent(state, namespace, id)?,
                None => None,
            };
            let row = row.ok_or_else(unknown)?;
            let mut view = agent_view(&row);
            let metadata = row.metadata.as_deref().unwrap_or("{}");
            view["metadata"] = policy::json::parse_str(metadata).unwrap_or_default();
            view["keys"] = row.keys.iter().map(ToString::to_string).collect();
            Ok(view)
        })
        .await?;
    Ok(Answer::ok(&body).at(point))
}

fn agent_view(row: &AgentRow) -> Value {
    json!({
        "id": row.id.to_string(),
        "name": row.name,
        "owner": row.owner,
        "risk_tier": row.risk_tier,
        "role": row.role.name(),
        "status": row.status.name(),
        "framework": row.framework,
        "allowed_policies": row.allowed_policies,
        "allowed_destinations": row.allowed_destinations,
        "created_at": iso(row.created_at),
    })
}

/// `POST /v1/agents/{id}/suspend`.
pub(crate) async fn suspend(State(app): State<App>, call: Authed) -> Result<Answer, Problem> {
    set_status(app, call, AgentStatus::Suspended).await
}

/// `POST /v1/agents/{id}/resume`.
pub(crate) async fn resume(State(app): State<App>, call: Authed) -> Result<Answer, Problem> {
    set_status(app, call, AgentStatus::Active).await
}

/// `POST /v1/agents/{id}/revoke`.
pub(crate) async fn revoke(State(app): State<App>, call: Authed) -> Result<Answer, Problem> {
    set_status(app, call, AgentStatus::Revoked).await
}

async fn set_status(app: App, mut call: Authed, status: AgentStatus) -> Result<Answer, Problem> {
    call.need(Role::may_decide, "this needs a key of role reviewer or admin").await?;
    let id = named(&call)?;
    // The path says it all: whatever a body holds is another spelling of the same request.
    let request_key = request_key(&call, &JsonBody::of(json!({}), 0))?;
    let answer = app.gate.set_status(&call.caller, id, status, request_key).await?;
    changed(&answer)
}

/// `POST /v1/agents/{id}/role`.
pub(crate) async fn role(
    State(app): State<App>,
    mut call: Authed,
    body: JsonBody,
) -> Result<Answer, Problem> {
    call.need(Role::may_administer, "giving roles needs a key of role admin").await?;
    let id = named(&call)?;
    let request_key = request_key(&call, &body)?;
    let mut fields = Fields::of(body.value);
    let word = fields.words("role")?;
    fields.nothing_else(&[])?;
    let word = word.ok_or_else(|| Problem::field(path("role"), "name the role to give"))?;
    let answer = app.gate.set_role(&call.caller, id, parse_role(&word)?, request_key).await?;
    changed(&answer)
}

fn changed(answer: &gate::Answer) -> Result<Answer, Problem> {
    let (reply, replayed) = answer.unwrapped();
    match reply {
        Reply::Agent(row) => {
            let body = json!({
                "agent_id": row.id.to_string(),
                "status": row.status.name(),
                "role": row.role.name(),
            });
            Ok(Answer::ok(&body).committed(answer).replayed(replayed))
        }
        Reply::Refused(refusal) => Err(refused(refusal).committed(answer)),
        other => Err(unexpected(other)),
    }
}

/// `POST /v1/agents/{id}/rotate-key`.
pub(crate) async fn rotate_key(
    State(app): State<App>,
    call: Authed,
    body: JsonBody,
) -> Result<Answer, Problem> {
    let id = named(&call)?;
    let request_key = request_key(&call, &body)?;
    let seconds_max = KEY_OVERLAP_MS_MAX / 1_000;
    let mut fields = Fields::of(body.value);
    fields.respell("overlap_seconds", "overlapSeconds")?;
    let overlap = fields.whole("overlap_seconds", seconds_max)?.unwrap_or(0);
    // Without its overlap the old key would end now, under whoever still uses it.
    fields.nothing_else(&[])?;
    let span = Duration::from_secs(overlap);
    let made = app.gate.rotate_key(&call.caller, id, span, request_key).await?;
    let (reply, replayed) = made.answer.unwrapped();
    match reply {
        Reply::KeyAdded { agent, key } => {
            let body = json!({
                "agent_id": agent.to_string(),
                "key_id": key.to_string(),
                // As for a registration: the first answer showed it, and nothing keeps it.
                "apiKey": (!replayed).then(|| made.key.reveal()),
                "overlap_seconds": overlap,
            });
            Ok(Answer::new(StatusCode::CREATED, &body).committed(&made.answer).replayed(replayed))
        }
        Reply::Refused(Refusal::Role { .. }) => {
            let message = "another agent's key is rotated by an admin";
            Err(Problem::forbidden(message).committed(&made.answer))
        }
        Reply::Refused(refusal) => Err(refused(refusal).committed(&made.answer)),
        other => Err(unexpected(other)),
    }
}

fn named(call: &Call) -> Result<AgentId, Problem> {
    call.path("id").parse().map_err(|_| unknown())
}

fn unknown() -> Problem {
    Problem::not_found(UNKNOWN, "no such agent here; GET /v1/agents lists them")
}
