//! Simulating: what policy would say of an intent, without storing anything.
//!
//! The same facts and the same judgement as for a real intent. Windows and rates belong to the
//! ledger at the moment of apply and are not consulted; the answer says so.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::State;
use gate::SubmitRequest;
use ledger::{Refusal, query};
use policy::{Context, Engine, OpenWindow, PolicySet, Subject, World};
use serde_json::{Value, json};
use types::{AgentId, Digest, LogTime, NamespaceId, Outcome, Phase, Role};

use crate::answer::Answer;
use crate::body::JsonBody;
use crate::call::Authed;
use crate::fields::{Fields, misspelled, nearest};
use crate::policy_changes::documents;
use crate::problem::{Problem, places};
use crate::propose::{Spelling, read};
use crate::propose_answer::reason_views;
use crate::refusals::refused;
use crate::state::App;

const NOTE: &str = "simulated: nothing was stored; dedup windows, rate limits and the agent's own \
                    scope were not consulted";

/// What is judged, and as whose.
struct Trial {
    namespace: NamespaceId,
    agent: AgentId,
    now: LogTime,
    request: SubmitRequest,
    /// The environment that the resource's destination declares.
    environment: Option<String>,
    /// By what kind of destination it would be carried out, and when. An agent may know this much,
    /// as it sees what becomes of its intents; where they go is for those who may read all.
    carried_out: Option<Value>,
}

/// `POST /v1/policies/simulate`.
pub(crate) async fn simulate(
    State(app): State<App>,
    mut call: Authed,
    body: JsonBody,
) -> Result<Answer, Problem> {
    let may_simulate = |role: Role| role.may_submit() || role.may_read_all();
    call.need(may_simulate, "simulating needs a key that may submit or read all").await?;
    let (body, candidate) = split(body)?;
    if candidate.is_some() {
        let message = "trying other policies needs a key of role reviewer, auditor or admin";
        call.need(Role::may_read_all, message).await?;
    }
    let bytes = body.bytes;
    let reading = app.gate.beside().run(bytes, move || read(body, Spelling::Intents));
    let request = reading.await??;
    let namespace = call.namespace();
    let resource = request.proposal.destination.clone();
    let ((version, set, environment, carried_out, now), point) = call
        .read(|state, _, progress| {
            let head = query::policy_head(state, namespace)?;
            let version = head.map_or(0, |head| head.version);
            let set = match version {
                0 => Arc::new(PolicySet::empty()),
                version => state.compiled(namespace, version)?,
            };
            let serving = query::serving(state, namespace, &resource)?;
            let carried_out = serving.as_ref().map(|found| {
                let execute = found.has_connector().then(|| found.execute.name());
                json!({ "kind": found.connector.kind(), "execute": execute })
            });
            let environment = serving.and_then(|found| found.environment.clone());
            Ok((version, set, environment, carried_out, progress.time))
        })
        .await?;
    let agent = call.caller.agent.id;
    let trial = Trial { namespace, agent, now, request, environment, carried_out };
    // Documents and payloads are the caller's and may be large.
    let work = move || run(trial, candidate, version, set);
    let body = app.gate.beside().large(work).await??;
    Ok(Answer::ok(&body).at(point))
}

/// The intent without the documents to try it on.
fn split(body: JsonBody) -> Result<(JsonBody, Option<Vec<policy::SourceFile>>), Problem> {
    let JsonBody { mut value, bytes, .. } = body;
    let policies = value.as_object_mut().and_then(|members| members.swap_remove("policies"));
    let documents = match policies {
        Some(policies) => documents(&mut Fields::of(json!({ "policies": policies })))?,
        None => None,
    };
    // Misspelled, they would be missing, and those in force would be tried without a word.
    let names = value.as_object().into_iter().flat_map(|members| members.keys());
    for name in names {
        if let Some(meant) = nearest(name, ["policies"].into_iter()) {
            return Err(misspelled(name, meant));
        }
    }
    Ok((JsonBody::of(value, bytes), documents))
}

fn run(
    trial: Trial,
    candidate: Option<Vec<policy::SourceFile>>,
    version: u64,
    set: Arc<PolicySet>,
) -> Result<Value, Problem> {
    let mut warnings = Vec::new();
    let (set, version) = match candidate {
        None => (set, Some(version)),
        Some(files) => {
            let compiled = policy::compile(&files).map_err(gate::GateError::InvalidPolicy)?;
            warnings = compiled.warnings;
            (Arc::new(compiled.set), None)
        }
    };
    let engine = Engine::new(set.clone(), version.unwrap_or(0));
    let SubmitRequest { mut proposal, payload, metadata, .. } = trial.request;
    proposal.payload_kind = payload.kind();
    proposal.payload_digest = payload.digest();
    proposal.payload_type = payload.payload_type();
    proposal.metadata = metadata.as_ref().map(policy::json::canonical);
    let subject = Subject {
        namespace: trial.namespace,
        proposal: &proposal,
        payload: &payload,
        metadata: metadata.as_ref(),
    };
    let facts = engine.facts_in(&subject, trial.environment.as_deref());
    if let Some(fault) = &facts.profile_fault {
        return Err(refused(&Refusal::Profile(fault.clone())));
    }
    let context = Context { now: trial.now, agent: trial.agent };
    let Ok(judgement) = policy::judge(&facts, &set, &context, &Nothing);
    let phase = match judgement.outcome {
        Outcome::Allow => Phase::Allowed,
        Outcome::Block => Phase::Blocked,
        Outcome::Hold | Outcome::Duplicate => Phase::Held,
    };
    let held = phase == Phase::Held;
    let required = if held { judgement.approvals.count.max(1) } else { 0 };
    let first = judgement.reasons.first().map(|reason| reason.message.as_str());
    Ok(json!({
        "outcome": judgement.outcome.name(),
        "status": phase.status(),
        "phase": phase.name(),
        "reasons": reason_views(&judgement.reasons),
        "reason_detail": first,
        "block_reason": first.filter(|_| phase != Phase::Allowed),
        "required_approvals": required,
        "covered": facts.covered,
        "record_count": facts.record_count,
        "carried_out": trial.carried_out,
        "policy_version": version,
        "policy_digest": set.digest.to_string(),
        "windows_it_would_open": judgement.windows.len(),
        "risk_score": crate::view::score(&facts.risk),
        "risk_level": facts.risk.level.name(),
        "warnings": places(&warnings),
        "stored": false,
        "not_consulted": ["windows", "rates", "agent_scope"],
        "note": NOTE,
    }))
}

/// No windows and no submits.
struct Nothing;

impl World for Nothing {
    type Error = Infallible;

    fn nth_last_submit(&self, _: u64) -> Result<Option<LogTime>, Infallible> {
        Ok(None)
    }

    fn window(&self, _: &Digest) -> Result<Option<OpenWindow>, Infallible> {
        Ok(None)
    }
}
