//! Deciding: approve, reject, cancel, in the order of checks and the words of existing clients.
//!
//! Invariant: GET decides nothing; what the ledger did not take is never answered as a decision.

use axum::extract::State;
use axum::http::StatusCode;
use gate::log::Consistency;
use gate::{DecideRequest, Freshness, Gate};
use ledger::{Refusal, Reply, Vote, query};
use serde_json::{Map, Value, json};
use types::{Digest, IntentId, LogIndex, NamespaceId, Phase, Role};

use crate::answer::Answer;
use crate::body::JsonBody;
use crate::call::{Authed, bounded};
use crate::evidence::{EvidenceKey, approval_evidence, evidence};
use crate::fields::Fields;
use crate::intents::intent_id;
use crate::nonces::replay_guard;
use crate::problem::Problem;
use crate::refusals::{refused, unexpected};
use crate::request_key::request_key;
use crate::state::App;
use crate::times::iso;
use crate::view::approval_state;

const FORBIDDEN: &str = "Reviewer API key required for approvals";

/// What existing clients may send with a decision and nothing here reads.
const UNUSED: &[&str] = &["intentId", "on_behalf_of_principal", "principal_id", "proposalId"];

/// What a person does with a held intent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Approve,
    Reject,
    /// The question to people.
    Cancel,
    /// The intent itself.
    Withdraw,
}

impl Verb {
    fn unknown(self) -> &'static str {
        match self {
            Self::Approve | Self::Reject => "Proposal not found",
            Self::Cancel | Self::Withdraw => "Intent not found",
        }
    }
}

/// `POST /v1/intents/{id}/approve`.
pub(crate) async fn approve(
    State(app): State<App>,
    call: Authed,
    body: JsonBody,
) -> Result<Answer, Problem> {
    decide(app, call, body, Verb::Approve).await
}

/// `POST /v1/intents/{id}/reject`.
pub(crate) async fn reject(
    State(app): State<App>,
    call: Authed,
    body: JsonBody,
) -> Result<Answer, Problem> {
    decide(app, call, body, Verb::Reject).await
}

/// `POST /v1/intents/{id}/cancel-approval`.
pub(crate) async fn cancel(
    State(app): State<App>,
    call: Authed,
    body: JsonBody,
) -> Result<Answer, Problem> {
    decide(app, call, body, Verb::Cancel).await
}

/// `POST /v1/intents/{id}/cancel`.
pub(crate) async fn withdraw(
    State(app): State<App>,
    call: Authed,
    body: JsonBody,
) -> Result<Answer, Problem> {
    decide(app, call, body, Verb::Withdraw).await
}

async fn decide(app: App, mut call: Authed, body: JsonBody, verb: Verb) -> Result<Answer, Problem> {
    // What an agent asked for it may withdraw itself; the ledger knows whose it is.
    if verb != Verb::Withdraw {
        call.need(Role::may_decide, FORBIDDEN).await?;
    }
    let request_key = request_key(&call, &body)?;
    let mut fields = Fields::of(body.value);
    let id = if call.path("id").is_empty() {
        named_in_body(&mut fields, verb)?
    } else {
        intent_id(&call, verb.unknown())?
    };
    let gate = &app.gate;
    let mut request = read(gate, &mut fields, verb)?;
    request.request_key = request_key;
    let answer = match verb {
        Verb::Approve => gate.approve(&call.caller, id, request).await?,
        Verb::Reject => gate.reject(&call.caller, id, request).await?,
        Verb::Cancel | Verb::Withdraw => {
            gate.cancel(&call.caller, id, verb == Verb::Withdraw, request).await?
        }
    };
    answered(&app, call.namespace(), &answer, verb).await
}

/// What the ledger made of a decision, in the words of existing clients.
pub(crate) async fn answered(
    app: &App,
    namespace: NamespaceId,
    answer: &gate::Answer,
    verb: Verb,
) -> Result<Answer, Problem> {
    let (reply, replayed) = answer.unwrapped();
    let body = match reply {
        Reply::Refused(refusal) => return Err(refusal_of(refusal, verb).committed(answer)),
        Reply::PolicyChanged { intent, digest } => {
            return Err(policy_changed(*intent, *digest).committed(answer));
        }
        reply => {
            let evidence = match of_a_person(reply) {
                Some((intent, votes)) => {
                    evidence_at(app, namespace, intent, votes, answer.index).await
                }
                None => None,
            };
            decided(reply, evidence).ok_or_else(|| unexpected(reply))?
        }
    };
    Ok(Answer::ok(&body).committed(answer).replayed(replayed))
}

/// The older routes name the intent in the body.
fn named_in_body(fields: &mut Fields, verb: Verb) -> Result<IntentId, Problem> {
    let named = match fields.words("proposalId")? {
        None => fields.words("intentId")?,
        named => named,
    };
    let missing = || Problem::field("$.proposalId", "name the intent").says("proposalId required");
    let unknown = |_| Problem::not_found(verb.unknown(), "no such intent here");
    let id = named.ok_or_else(missing)?.parse().map_err(unknown)?;
    gate::note_intent(id);
    Ok(id)
}

pub(crate) fn read(gate: &Gate, fields: &mut Fields, verb: Verb) -> Result<DecideRequest, Problem> {
    let digest = fields.words("digest")?.map(|text| parse_digest(&text));
    let reason = fields.words("reason")?;
    let guard = replay_guard(gate, fields)?;
    let on_behalf_of = match verb {
        Verb::Approve => fields.words("on_behalf_of_principal")?,
        Verb::Reject | Verb::Cancel | Verb::Withdraw => None,
    };
    // A decision with a misspelled `digest` would not be bound to what the person saw.
    fields.nothing_else(UNUSED)?;
    Ok(DecideRequest { digest, reason, guard, on_behalf_of, request_key: None })
}

/// A text that is no digest is one that nobody was shown: it must match nothing.
fn parse_digest(text: &str) -> Digest {
    let hex = text.strip_prefix("sha256:").unwrap_or(text);
    let mut bytes = [0_u8; 32];
    let digits = hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
        let pair = hex.get(at..at + 2).filter(|_| digits);
        match pair.and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            Some(value) => *byte = value,
            None => return Digest::of_parts(&[b"no digest", text.as_bytes()]),
        }
    }
    Digest(bytes)
}

/// The intent that this decision just settled, and the votes if it was approved.
fn of_a_person(reply: &Reply) -> Option<(IntentId, &[Vote])> {
    match reply {
        Reply::Approved { intent, already: false, votes, .. } => {
            Some((*intent, votes.as_deref().unwrap_or_default()))
        }
        Reply::Ended { intent, phase: Phase::Rejected, .. } => Some((*intent, &[])),
        _ => None,
    }
}

/// The evidence of a decision as it was made, before any order used it: an answer that is given
/// again says the same, since a rejection is an end and an approval is told by its votes. The
/// decision stands whether or not this node can still read it back.
async fn evidence_at(
    app: &App,
    namespace: NamespaceId,
    intent: IntentId,
    votes: &[Vote],
    min_index: LogIndex,
) -> Option<Value> {
    let key = EvidenceKey::of(&app.gate);
    let freshness = Freshness { consistency: Consistency::Stale, min_index };
    let read = app.gate.read(freshness, |state, _| {
        let Some(head) = query::head(state, namespace, intent)? else { return Ok(None) };
        let content = query::content(state, namespace, intent, head.revision)?;
        Ok(match votes {
            [] => evidence(&key, &head, &content, None),
            votes => approval_evidence(&key, &head, &content, votes),
        })
    });
    match bounded(read).await {
        Ok((evidence, _)) => evidence,
        Err(_) => {
            tracing::warn!(%intent, "the evidence of a decision cannot be read back here");
            None
        }
    }
}

fn decided(reply: &Reply, evidence: Option<Value>) -> Option<Value> {
    match reply {
        Reply::VoteRecorded { intent, votes, required, voted_by } => Some(json!({
            "status": Phase::Held.status(),
            "approvalState": approval_state(Phase::Held),
            "intentId": intent.to_string(),
            "votes": votes,
            "requiredApprovals": required,
            "votedBy": voted_by,
            "phase": Phase::Held.name(),
        })),
        Reply::Approved { intent, at, already: true, .. } => Some(json!({
            "status": Phase::Allowed.status(),
            "approvedAt": iso(*at),
            "intentId": intent.to_string(),
            "phase": Phase::Allowed.name(),
        })),
        Reply::Approved { intent, at, already: false, .. } => Some(json!({
            "status": Phase::Allowed.status(),
            "approvalState": approval_state(Phase::Allowed),
            "approvedAt": iso(*at),
            "intentId": intent.to_string(),
            "autoDeliver": false,
            "gate_exec": false,
            "approvalEvidence": evidence,
            "phase": Phase::Allowed.name(),
        })),
        Reply::Ended { intent, phase, reason } => {
            Some(ended(*intent, *phase, reason.as_deref(), evidence))
        }
        _ => None,
    }
}

fn ended(intent: IntentId, phase: Phase, reason: Option<&str>, evidence: Option<Value>) -> Value {
    let mut body = Map::new();
    body.insert("status".into(), json!(phase.status()));
    body.insert("approvalState".into(), json!(approval_state(phase)));
    // A rejection without a reason has no such member; a cancellation has null.
    if reason.is_some() || phase == Phase::Cancelled {
        body.insert("reason".into(), json!(reason));
    }
    if phase == Phase::Rejected {
        body.insert("approvalEvidence".into(), evidence.unwrap_or_default());
    }
    body.insert("intentId".into(), json!(intent.to_string()));
    body.insert("phase".into(), json!(phase.name()));
    Value::Object(body)
}

fn policy_changed(intent: IntentId, digest: Digest) -> Problem {
    let message = format!(
        "policies or destinations changed while {intent} was held, so earlier votes are void; read \
         it again and decide on digest {digest}"
    );
    Problem::new(StatusCode::CONFLICT, "policy_changed", message)
        .with("approval_digest", digest.to_string())
}

/// A refusal as the routes of this verb say it.
pub(crate) fn refusal_of(refusal: &Refusal, verb: Verb) -> Problem {
    match refusal {
        Refusal::Role { .. } if verb != Verb::Withdraw => Problem::forbidden(FORBIDDEN),
        Refusal::UnknownIntent { .. } => refused(refusal).says(verb.unknown()),
        Refusal::NotHeld { phase, .. } => not_held(refusal, *phase, verb),
        refusal => refused(refusal),
    }
}

/// Too late to decide, in the words and the order of checks of existing clients.
fn not_held(refusal: &Refusal, phase: Phase, verb: Verb) -> Problem {
    let (code, status) = match phase {
        Phase::Expired => ("approval_expired", StatusCode::GONE),
        Phase::Cancelled | Phase::Superseded => ("approval_cancelled", StatusCode::CONFLICT),
        Phase::Blocked => ("policy_blocks", StatusCode::CONFLICT),
        _ => ("already_answered", StatusCode::CONFLICT),
    };
    let with_phase = |status| {
        Problem::new(status, code, refusal.to_string())
            .with("phase", phase.name())
            .with("status", phase.status())
    };
    if matches!(verb, Verb::Cancel | Verb::Withdraw) {
        return with_phase(StatusCode::CONFLICT)
            .says("cannot_cancel")
            .with("approvalState", approval_state(phase));
    }
    match (phase, verb) {
        (Phase::Delivered, Verb::Approve) => {
            with_phase(StatusCode::CONFLICT).says("Proposal already delivered")
        }
        (
            Phase::Blocked | Phase::Rejected | Phase::Cancelled | Phase::Superseded,
            Verb::Approve,
        ) => with_phase(StatusCode::CONFLICT).says("Cannot approve a blocked proposal"),
        (Phase::Expired, Verb::Approve) => with_phase(status),
        (
            Phase::Blocked
            | Phase::Rejected
            | Phase::Cancelled
            | Phase::Superseded
            | Phase::Expired
            | Phase::Delivered,
            _,
        ) => {
            let known = if phase == Phase::Delivered { phase.name() } else { phase.status() };
            with_phase(StatusCode::CONFLICT)
                .says(format!("Cannot reject proposal with status: {known}"))
        }
        _ => with_phase(StatusCode::CONFLICT).with("decision", "APPROVE"),
    }
}
