//! Execution orders: issued to the intent's agent, reported under their token or a key, and what
//! a person says when nobody can tell how one ended.
//!
//! Invariant: a token is shown to who may execute and to nobody else; a report without the token
//! needs a key of the intent's agent or of an admin.

use axum::extract::{FromRequestParts, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use gate::{ReportRequest, TOKEN_PREFIX};
use ledger::{AgentRow, Content, Head, OrderRow, Read, Refusal, Reply, Resolve, query};
use serde_json::{Value, json};
use types::{Effect, ExecutionId, LogTime, NamespaceId, Phase, Role};

use crate::answer::Answer;
use crate::body::JsonBody;
use crate::call::{Authed, Call, bounded};
use crate::evidence::{EvidenceKey, evidence};
use crate::fields::{Fields, path};
use crate::intents::intent_id;
use crate::problem::Problem;
use crate::refusals::{refused, unexpected};
use crate::request_key::request_key;
use crate::state::App;
use crate::times::{iso, read_ms};

const UNKNOWN_INTENT: &str = "Intent not found";
const UNKNOWN: &str = "Execution not found";
/// What existing clients may name again in a body; the path says which intent it is.
const NAMED: &[&str] = &["intentId", "intent_id", "proposalId"];
/// What an order is called when its caller says nothing.
const USUAL_MODE: &str = "runner_exec";

/// `POST /v1/intents/{id}/execute`.
pub(crate) async fn execute(
    State(app): State<App>,
    call: Authed,
    body: JsonBody,
) -> Result<Answer, Problem> {
    let intent = intent_id(&call, UNKNOWN_INTENT)?;
    let request_key = request_key(&call, &body)?;
    let mut fields = Fields::of(body.value);
    let mode = fields.words("mode")?.unwrap_or_else(|| USUAL_MODE.into());
    // Who sends a digest, say, must not believe that the order is bound to it.
    fields.nothing_else(NAMED)?;
    let issued = app.gate.issue_order(&call.caller, intent, mode, request_key).await?;
    let (reply, replayed) = issued.answer.unwrapped();
    let order = match reply {
        Reply::Order(order) => order,
        Reply::Refused(refusal) => return Err(not_issued(refusal).committed(&issued.answer)),
        Reply::PolicyChanged { digest, .. } => {
            let message = "policies or destinations changed since this was allowed, and it is \
                           held again; read what holds it now";
            return Err(Problem::new(StatusCode::CONFLICT, "policy_changed", message)
                .with("status", Phase::Held.status())
                .with("approval_digest", digest.to_string())
                .committed(&issued.answer));
        }
        reply => return Err(unexpected(reply)),
    };
    let fresh = gate::Freshness {
        consistency: gate::log::Consistency::Stale,
        min_index: issued.answer.index,
    };
    let namespace = call.namespace();
    let ((head, content), _) = call
        .read_at(fresh, |state, _, _| {
            let head = head_of(state, namespace, order)?;
            let content = query::content(state, namespace, order.intent, head.revision)?;
            Ok((head, content))
        })
        .await?;
    let evidence = evidence(&EvidenceKey::of(&app.gate), &head, &content, Some(order));
    let view = order_view(order, &content, issued.token.as_deref(), evidence.as_ref());
    Ok(Answer::new(StatusCode::CREATED, &view).committed(&issued.answer).replayed(replayed))
}

/// `GET /v1/executions/{id}`.
pub(crate) async fn order(State(app): State<App>, call: Authed) -> Result<Answer, Problem> {
    let id = execution_id(&call)?;
    let namespace = call.namespace();
    let key = EvidenceKey::of(&app.gate);
    let ((order, content, evidence, may_execute), point) = call
        .read(|state, reader, _| {
            let unknown = || Problem::not_found(UNKNOWN, "no such order here");
            let order = query::order(state, namespace, id)?.ok_or_else(unknown)?;
            gate::note_intent(order.intent);
            let head = head_of(state, namespace, &order)?;
            let may_execute = may_execute(reader, &head);
            if !may_execute && !reader.role.may_read_all() {
                return Err(Problem::forbidden("Cannot access intents from other agents"));
            }
            let content = query::content(state, namespace, order.intent, head.revision)?;
            let evidence = evidence(&key, &head, &content, Some(&order));
            Ok((order, content, evidence, may_execute))
        })
        .await?;
    // A token that has reported opens nothing any more, and is shown to nobody.
    let is_open = order.report.is_none();
    let token = if may_execute && is_open { app.gate.token_of(&order) } else { None };
    Ok(Answer::ok(&order_view(&order, &content, token.as_deref(), evidence.as_ref())).at(point))
}

/// Who reports, known before the body is read.
pub(crate) enum Reporter {
    /// The order's token, which fits the order as this node knows it.
    Token { call: Call, token: String },
    /// A key.
    Key(Authed),
}

impl FromRequestParts<App> for Reporter {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let call = Call::from_request_parts(parts, app).await?;
        let bearer = call.bearer_in_any_case().ok_or_else(unauthorized)?.to_owned();
        if !bearer.starts_with(TOKEN_PREFIX) {
            return call.authenticate().await.map(Self::Key).map_err(not_authorized);
        }
        let id = execution_id(&call)?;
        let hash = gate::keys::hash(&bearer);
        let fresh = gate::Freshness::default();
        let (fits, _) = bounded(app.gate.read(fresh, |state, _| {
            let found = query::find_order(state, id)?;
            Ok(found.map(|(_, order)| order.token_hash == hash))
        }))
        .await?;
        match fits {
            Some(true) => Ok(Self::Token { call, token: bearer }),
            Some(false) => Err(unauthorized()),
            None => Err(Problem::not_found(UNKNOWN, "no such order here")),
        }
    }
}

/// `POST /v1/executions/{id}/report`, under the order's token or an API key.
pub(crate) async fn report(
    State(app): State<App>,
    reporter: Reporter,
    body: JsonBody,
) -> Result<Answer, Problem> {
    let answer = match reporter {
        Reporter::Token { call, token } => {
            let request = read_report(execution_id(&call)?, body.value)?;
            app.gate.report_by_token(&token, request).await?
        }
        Reporter::Key(call) => {
            let request_key = request_key(&call, &body)?;
            let request = read_report(execution_id(&call)?, body.value)?;
            app.gate.report_by_key(&call.caller, request, request_key).await?
        }
    };
    reported(&app, &answer).await
}

/// `POST /v1/intents/{id}/resolve`.
pub(crate) async fn resolve(
    State(app): State<App>,
    mut call: Authed,
    body: JsonBody,
) -> Result<Answer, Problem> {
    call.need(Role::may_decide, "Reviewer API key required to resolve a doubt").await?;
    let intent = intent_id(&call, UNKNOWN_INTENT)?;
    let request_key = request_key(&call, &body)?;
    let mut fields = Fields::of(body.value);
    let succeeded = match fields.words("outcome")?.as_deref() {
        Some("succeeded") => true,
        Some("failed") => false,
        _ => return Err(Problem::field(path("outcome"), "expected succeeded or failed")),
    };
    let effect = effect(&mut fields)?;
    let missing = || Problem::field(path("reason"), "say how it was found out");
    let reason = fields.words("reason")?.ok_or_else(missing)?;
    fields.nothing_else(NAMED)?;
    let command = Resolve { intent, succeeded, effect, reason };
    let answer = app.gate.resolve(&call.caller, command, request_key).await?;
    let (reply, replayed) = answer.unwrapped();
    match reply {
        Reply::Ended { intent, phase, reason } => {
            let view = json!({
                "intentId": intent.to_string(), "status": phase.status(), "phase": phase.name(),
                "effect": effect.map(Effect::name), "reason": reason,
            });
            Ok(Answer::ok(&view).committed(&answer).replayed(replayed))
        }
        Reply::Refused(refusal) => Err(refused(refusal).committed(&answer)),
        reply => Err(unexpected(reply)),
    }
}

fn execution_id(call: &Call) -> Result<ExecutionId, Problem> {
    let unknown = |_| Problem::not_found(UNKNOWN, "no such order here");
    call.path("id").parse().map_err(unknown)
}

fn head_of(state: &dyn Read, namespace: NamespaceId, order: &OrderRow) -> Result<Head, Problem> {
    let unknown = || Problem::not_found(UNKNOWN, "no such order here");
    query::head(state, namespace, order.intent)?.ok_or_else(unknown)
}

fn may_execute(reader: &AgentRow, head: &Head) -> bool {
    reader.id == head.agent || reader.role == Role::Admin
}

fn effect(fields: &mut Fields) -> Result<Option<Effect>, Problem> {
    let Some(word) = fields.words("effect")? else { return Ok(None) };
    let known = [Effect::None, Effect::Partial, Effect::Unknown];
    let found = known.into_iter().find(|effect| effect.name() == word);
    let wrong = || Problem::field(path("effect"), "expected none, partial or unknown");
    found.map(Some).ok_or_else(wrong)
}

fn read_report(execution: ExecutionId, body: Value) -> Result<ReportRequest, Problem> {
    let mut fields = Fields::of(body);
    fields.respell("executed_at", "executedAt")?;
    let succeeded = match fields.words("status")?.as_deref() {
        Some("succeeded") => true,
        Some("failed") => false,
        _ => {
            let problem = Problem::field(path("status"), "expected succeeded or failed");
            return Err(problem.says("status must be succeeded or failed"));
        }
    };
    let effect = effect(&mut fields)?;
    let result = fields.object("result")?.map(Value::Object);
    let executed_at = match fields.value("executed_at") {
        None => None,
        Some(value) => {
            let at = read_ms(&value).and_then(|ms| u64::try_from(ms).ok());
            let wrong = || Problem::field(path("executed_at"), "expected a time in ISO 8601");
            Some(at.ok_or_else(wrong)?)
        }
    };
    // What was done is done: a report is taken with whatever else it says, or there would be doubt.
    fields.nothing_misspelled()?;
    let result = result.as_ref().map(policy::json::canonical);
    Ok(ReportRequest { execution, succeeded, effect, result, executed_at })
}

async fn reported(app: &App, answer: &gate::Answer) -> Result<Answer, Problem> {
    let (reply, replayed) = answer.unwrapped();
    let order = match reply {
        Reply::Order(order) => order,
        Reply::Refused(Refusal::InvalidKey) => return Err(unauthorized().committed(answer)),
        Reply::Refused(refusal) => return Err(refused(refusal).committed(answer)),
        reply => return Err(unexpected(reply)),
    };
    gate::note_intent(order.intent);
    let fresh =
        gate::Freshness { consistency: gate::log::Consistency::Stale, min_index: answer.index };
    let (found, _) = app
        .gate
        .read(fresh, |state, _| {
            let Some((namespace, order)) = query::find_order(state, order.id)? else {
                return Ok(None);
            };
            let Some(head) = query::head(state, namespace, order.intent)? else { return Ok(None) };
            let content = query::content(state, namespace, order.intent, head.revision)?;
            Ok(Some((head, content)))
        })
        .await?;
    let (head, content) = found.ok_or_else(Problem::internal)?;
    let evidence = evidence(&EvidenceKey::of(&app.gate), &head, &content, Some(order));
    let view = order_view(order, &content, None, evidence.as_ref());
    Ok(Answer::ok(&view).committed(answer).replayed(replayed))
}

fn not_issued(refusal: &Refusal) -> Problem {
    match refusal {
        Refusal::UnknownIntent { .. } => refused(refusal).says(UNKNOWN_INTENT),
        Refusal::Expired { .. } => {
            refused(refusal).says("Intent expired").with("status", Phase::Expired.status())
        }
        Refusal::NotAllowed { phase, .. } => {
            let status = phase.status();
            let says = format!("Intent cannot be executed — current status: {status}");
            let problem = refused(refusal).says(says).with("status", status);
            if *phase == Phase::Held {
                problem.with("hint", "approve the intent first")
            } else {
                problem
            }
        }
        refusal => refused(refusal),
    }
}

fn unauthorized() -> Problem {
    Problem::unknown_key().says("Invalid execution token or API key")
}

/// A missing or unknown credential in the words of this route; other problems as they are.
fn not_authorized(problem: Problem) -> Problem {
    if problem.is_unauthorized() { unauthorized() } else { problem }
}

fn order_view(
    order: &OrderRow,
    content: &Content,
    token: Option<&str>,
    evidence: Option<&Value>,
) -> Value {
    let proposal = &content.proposal;
    let report = order.report.as_ref();
    let result: Option<Value> =
        report.and_then(|report| serde_json::from_str(report.result.as_deref()?).ok());
    let executed_at = report.map(|report| report.executed_at.map_or(report.at, LogTime));
    json!({
        "executionId": order.id.to_string(),
        "execution_id": order.id.to_string(),
        "intent_id": order.intent.to_string(),
        "mode": order.mode,
        "destination": proposal.destination,
        "action": proposal.action,
        "payload_ref": format!("/v1/intents/{}", order.intent),
        "payload_hash": proposal.payload_digest.map(|digest| digest.to_string()),
        "execution_token": token,
        // An order is good for one attempt: a second one needs a person's word about the first.
        "retry_policy": { "max_attempts": 1, "backoff_seconds": 0 },
        "status": order.status.name(),
        "issued_at": iso(order.issued_at),
        "expires_at": iso(order.expires_at),
        "executed_at": executed_at.map(iso),
        "result": result,
        "approval_evidence": evidence,
        "attempt": order.attempt,
        "fence": order.fence.0,
    })
}
