//! Approval links over HTTP: handed to a reviewer, and decided by whoever shows the token.
//!
//! Invariant: GET decides nothing; a token stands in one answer and in paths, and in no log, leaf
//! or problem.

use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use gate::log::ReadPoint;
use gate::{Freshness, OpenedLink};
use ledger::{Refusal, Reply};
use serde_json::json;
use types::Role;

use crate::answer::Answer;
use crate::body::JsonBody;
use crate::call::{Authed, Call, bounded};
use crate::decide::{Verb, answered, read, refusal_of};
use crate::fields::Fields;
use crate::intents::intent_id;
use crate::problem::Problem;
use crate::refusals::{refused, unexpected};
use crate::state::App;
use crate::times::iso;
use crate::view::{approval_state, message_id, score};

/// `GET /v1/intents/{id}/approval-link`.
pub(crate) async fn issue(State(app): State<App>, mut call: Authed) -> Result<Answer, Problem> {
    call.need(Role::may_decide, "Reviewer API key required for approval links").await?;
    let id = intent_id(&call, "Intent not found")?;
    let issued = app.gate.approval_link(&call.caller, id).await?;
    let row = match &issued.answer.reply {
        Reply::Link(row) => row,
        Reply::Refused(refusal) => {
            let problem = refusal_of(refusal, Verb::Approve).instead_of_unknown("Intent not found");
            return Err(problem.committed(&issued.answer));
        }
        reply => return Err(unexpected(reply)),
    };
    let token = issued.token.ok_or_else(|| {
        Problem::internal().because(&"the link's token cannot be opened with this data key")
    })?;
    let body = json!({
        "approvalLinkToken": token,
        "intentId": row.intent.to_string(),
        "expiresAt": iso(row.expires_at),
        "expires_at": iso(row.expires_at),
        "path": format!("/v1/approval-links/{token}"),
    });
    Ok(Answer::ok(&body).committed(&issued.answer))
}

/// A link that is good for a decision, known before the body is read.
pub(crate) struct GoodLink {
    link: OpenedLink,
    point: ReadPoint,
}

impl FromRequestParts<App> for GoodLink {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let call = Call::from_request_parts(parts, app).await?;
        Self::find(&call, call.freshness()?).await
    }
}

impl GoodLink {
    async fn find(call: &Call, freshness: Freshness) -> Result<Self, Problem> {
        let opening = call.app.gate.open_link(call.path("token"), freshness);
        let (found, point) = bounded(opening).await?;
        let link = found.ok_or_else(|| refused(&Refusal::UnknownLink).at(point))?;
        match &link.refusal {
            Some(refusal) => Err(refused(refusal).at(point)),
            None => Ok(Self { link, point }),
        }
    }
}

/// `GET /v1/approval-links/{token}`.
pub(crate) async fn show(good: GoodLink) -> Answer {
    let OpenedLink { head, content, .. } = &good.link;
    let proposal = &content.proposal;
    let body = json!({
        "intentId": head.id.to_string(),
        "messageId": message_id(head.id),
        "destination": proposal.destination,
        "action": proposal.action,
        "policy": proposal.policy,
        "riskScore": score(&content.risk),
        "riskLevel": content.risk.level.name(),
        "approvalState": approval_state(head.phase),
        "expiresAt": iso(head.expires_at),
        "phase": head.phase.name(),
        "revision": head.revision,
        "approval_digest": head.approval.digest.to_string(),
    });
    Answer::ok(&body).at(good.point)
}

/// `POST /v1/approval-links/{token}/approve`.
pub(crate) async fn approve(
    State(app): State<App>,
    good: GoodLink,
    body: JsonBody,
) -> Result<Answer, Problem> {
    decide(app, good, body, Verb::Approve).await
}

/// `POST /v1/approval-links/{token}/reject`.
pub(crate) async fn reject(
    State(app): State<App>,
    good: GoodLink,
    body: JsonBody,
) -> Result<Answer, Problem> {
    decide(app, good, body, Verb::Reject).await
}

async fn decide(app: App, good: GoodLink, body: JsonBody, verb: Verb) -> Result<Answer, Problem> {
    let mut fields = Fields::of(body.value);
    let request = read(&app.gate, &mut fields, verb)?;
    if let Some(principal) = request.on_behalf_of {
        return Err(refused(&Refusal::NoDelegation { principal }));
    }
    let approves = verb == Verb::Approve;
    let answer = app.gate.decide_by_link(&good.link.row, approves, request).await?;
    answered(&app, good.link.row.namespace, &answer, verb).await
}
