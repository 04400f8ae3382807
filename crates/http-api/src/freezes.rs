//! Freezes: what is allowed is not carried out for now.
//!
//! Promise: `PUT` answers only once nothing that the freeze covers can start any more, and names
//! what it came too late for.

use axum::extract::State;
use axum::http::StatusCode;
use gate::log::Consistency;
use gate::{FreezeRequest, Freshness};
use ledger::{FreezeRow, Read, Refusal, Reply, Running, Vote, query};
use serde_json::{Map, Value, json};
use types::limits::{
    DESTINATION_NAME_CHARS_MAX, ENVIRONMENT_CHARS_MAX, FREEZE_MS_MAX, PAGE_LOOKS_MAX, PAGE_ROWS_MAX,
};
use types::{AgentId, FREEZE_SCOPES, FreezeId, FreezeScope, LogTime, Role};

use crate::answer::Answer;
use crate::body::JsonBody;
use crate::call::Authed;
use crate::fields::{Fields, nearest, path};
use crate::problem::Problem;
use crate::refusals::{refused, unexpected};
use crate::request_key::request_key;
use crate::state::App;
use crate::times::{iso, read_ms};

const PEOPLE: &str = "a freeze needs a key of role reviewer, operator or admin";
const UNKNOWN: &str = "Freeze not found";

/// `PUT /v1/freezes`.
pub(crate) async fn put(
    State(app): State<App>,
    mut call: Authed,
    body: JsonBody,
) -> Result<Answer, Problem> {
    call.need(Role::may_freeze, PEOPLE).await?;
    let now = app.gate.log().standing().time;
    let request = read_freeze(Fields::of(body.value), now)?;
    let made = app.gate.freeze(&call.caller, request, None).await?;
    match (&made.row, &made.answer.reply) {
        (Some(row), _) => {
            let min_index = made.answer.index;
            let fresh = Freshness { consistency: Consistency::Stale, min_index };
            let seen = call.read_at(fresh, |state, _, _| running(state, row)).await;
            // It stands and is settled; what cannot be read of it is no reason to say otherwise.
            let found = seen.map_or_else(|_| (row.running.clone(), true), |(found, _)| found);
            let body = with_running(row, &found);
            let is_new = row.index == made.answer.index;
            let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
            Ok(Answer::new(status, &body).committed(&made.answer))
        }
        (None, Reply::Refused(refusal @ Refusal::FreezeOver)) => {
            Err(Problem::field(path("until"), refusal.to_string()).committed(&made.answer))
        }
        (None, Reply::Refused(refusal)) => Err(refused(refusal).committed(&made.answer)),
        (None, other) => Err(unexpected(other)),
    }
}

fn read_freeze(mut fields: Fields, now: LogTime) -> Result<FreezeRequest, Problem> {
    let scope = fields.words("scope")?;
    let matches = fields.words("match")?;
    let reason = fields.words("reason")?;
    let until = fields.value("until");
    fields.nothing_else(&[])?;
    let scope = read_scope(scope.as_deref(), matches)?;
    let reason =
        reason.ok_or_else(|| Problem::field(path("reason"), "say why, for those it stops"))?;
    let until = match until {
        None | Some(Value::Null) => None,
        Some(value) => Some(read_until(&value, now)?),
    };
    Ok(FreezeRequest { scope, reason, until })
}

fn read_scope(scope: Option<&str>, matches: Option<String>) -> Result<FreezeScope, Problem> {
    let expected = || {
        let message = format!("expected one of {}", FREEZE_SCOPES.join(", "));
        let near = scope.and_then(|word| nearest(word, FREEZE_SCOPES.into_iter()));
        Problem::field(
            path("scope"),
            match near {
                Some(near) => format!("{message}; did you mean {near}?"),
                None => message,
            },
        )
    };
    let scope = scope.ok_or_else(expected)?;
    if matches!(scope, "all" | "namespace") {
        return match matches {
            Some(_) => {
                let message = format!("scope {scope} covers all of it; leave `match` out");
                Err(Problem::field(path("match"), message))
            }
            None if scope == "all" => Ok(FreezeScope::All),
            None => Ok(FreezeScope::Namespace),
        };
    }
    if !FREEZE_SCOPES.contains(&scope) {
        return Err(expected());
    }
    let say = |message: String| Problem::field(path("match"), message);
    let matches = matches.ok_or_else(|| say(format!("say which {scope} it covers")))?;
    let short = |max: usize| {
        let fits = matches.chars().count() <= max;
        fits.then(|| matches.clone()).ok_or_else(|| say(format!("at most {max} characters")))
    };
    match scope {
        "agent" => match matches.parse::<AgentId>() {
            Ok(id) => Ok(FreezeScope::Agent(id)),
            Err(error) => Err(say(error.to_string())),
        },
        "resource" => Ok(FreezeScope::Resource(short(DESTINATION_NAME_CHARS_MAX)?)),
        "destination" => Ok(FreezeScope::Destination(short(DESTINATION_NAME_CHARS_MAX)?)),
        _ => Ok(FreezeScope::Environment(short(ENVIRONMENT_CHARS_MAX)?)),
    }
}

fn read_until(value: &Value, now: LogTime) -> Result<LogTime, Problem> {
    let ms = read_ms(value).and_then(|ms| u64::try_from(ms).ok());
    let latest = now.plus_ms(FREEZE_MS_MAX).0;
    match ms {
        Some(ms) if ms <= latest => Ok(LogTime(ms)),
        Some(_) => {
            let days = FREEZE_MS_MAX / (24 * 60 * 60 * 1_000);
            let message = format!("at most {days} days from now; null for one without an end");
            Err(Problem::field(path("until"), message))
        }
        None => {
            let message = "expected a time with its zone, such as 2026-11-27T18:00:00Z, or null";
            Err(Problem::field(path("until"), message))
        }
    }
}

/// `GET /v1/freezes`.
pub(crate) async fn list(call: Authed) -> Result<Answer, Problem> {
    let namespace = call.namespace();
    let (body, point) = call
        .read(|state, _, progress| {
            let rows = query::freezes(state, namespace, progress.time)?;
            let freezes: Vec<Value> = rows.iter().map(|row| Value::Object(view(row))).collect();
            Ok(json!({ "freezes": freezes, "count": freezes.len() }))
        })
        .await?;
    Ok(Answer::ok(&body).at(point))
}

/// `GET /v1/freezes/{id}`.
pub(crate) async fn one(call: Authed) -> Result<Answer, Problem> {
    let namespace = call.namespace();
    let id = freeze_id(&call)?;
    let (body, point) = call
        .read(|state, reader, progress| {
            let row = query::freeze(state, namespace, id)?;
            let row = row.filter(|row| row.stands(progress.time)).ok_or_else(unknown)?;
            if !(reader.role.may_read_all() || reader.role.may_freeze()) {
                return Ok(Value::Object(view(&row)));
            }
            Ok(with_running(&row, &running(state, &row)?))
        })
        .await?;
    Ok(Answer::ok(&body).at(point))
}

/// `POST /v1/freezes/{id}/unfreeze`.
pub(crate) async fn unfreeze(
    State(app): State<App>,
    mut call: Authed,
    body: JsonBody,
) -> Result<Answer, Problem> {
    call.need(Role::may_freeze, PEOPLE).await?;
    let id = freeze_id(&call)?;
    let request_key = request_key(&call, &body)?;
    let mut fields = Fields::of(body.value);
    let reason = fields.words("reason")?;
    fields.nothing_else(&[])?;
    let answer = app.gate.unfreeze(&call.caller, id, reason, request_key).await?;
    let (reply, replayed) = answer.unwrapped();
    match reply {
        Reply::Unfreeze { row, needed, ended } => {
            let mut body = view(row);
            body.insert("persons_to_unfreeze".into(), (*needed).into());
            body.insert("ended".into(), (*ended).into());
            let status = if *ended { StatusCode::OK } else { StatusCode::ACCEPTED };
            Ok(Answer::new(status, &Value::Object(body)).committed(&answer).replayed(replayed))
        }
        Reply::Refused(refusal) => Err(refused(refusal).committed(&answer)),
        other => Err(unexpected(other)),
    }
}

/// What it came too late for, and whether there may be more.
fn running(state: &dyn Read, row: &FreezeRow) -> Result<(Vec<Running>, bool), Problem> {
    let rows = usize::try_from(PAGE_ROWS_MAX).unwrap_or(usize::MAX);
    Ok(query::running_under(state, row, rows, PAGE_LOOKS_MAX)?)
}

fn with_running(row: &FreezeRow, (running, more): &(Vec<Running>, bool)) -> Value {
    let call = |call: &Running| {
        json!({
            "execution_id": call.execution.to_string(),
            "intent_id": call.intent.to_string(),
        })
    };
    let mut body = view(row);
    body.insert("running".into(), running.iter().map(call).collect());
    body.insert("running_more".into(), (*more).into());
    Value::Object(body)
}

/// A freeze as everybody in its namespace may see it.
fn view(row: &FreezeRow) -> Map<String, Value> {
    let vote = |vote: &Vote| {
        let (agent, at) = (vote.agent.to_string(), iso(vote.at));
        json!({ "agent_id": agent, "name": vote.name, "at": at })
    };
    let mut body = Map::new();
    let mut put = |name: &str, value: Value| body.insert(name.to_owned(), value);
    put("id", row.id.to_string().into());
    put("scope", row.scope.name().into());
    put("match", row.scope.matches().into());
    put("reason", row.reason.clone().into());
    put("by", row.by.to_string().into());
    put("by_name", row.name.clone().into());
    put("since", iso(row.since).into());
    put("until", row.until.map(iso).into());
    put("index", row.index.0.into());
    put("settled", row.settled_at.is_some().into());
    put("persons_to_unfreeze", row.persons.into());
    put("votes", row.votes.iter().map(vote).collect());
    body
}

fn freeze_id(call: &Authed) -> Result<FreezeId, Problem> {
    call.path("id").parse().map_err(|_| unknown())
}

fn unknown() -> Problem {
    Problem::not_found(UNKNOWN, "no such freeze stands here; `GET /v1/freezes` lists those that do")
}
