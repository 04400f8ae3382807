//! Changes of the cluster, and tokens with which nodes join it.
//!
//! Promise: each is in the audit trail before it is made. An `Idempotency-Key` that was seen before
//! records nothing again, and has the change made if that is not so yet.

use std::time::Duration;

use axum::extract::State;
use gate::log::{Change, ReadPoint};
use ledger::{Reply, RequestKey};
use serde_json::json;
use types::limits::{JOIN_TOKEN_MS_DEFAULT, JOIN_TOKEN_MS_MAX};
use types::{NamespaceId, NodeId, Role};

use crate::answer::Answer;
use crate::body::JsonBody;
use crate::call::Authed;
use crate::fields::{Fields, path};
use crate::problem::Problem;
use crate::refusals::{refused, unexpected};
use crate::request_key::request_key;
use crate::state::App;
use crate::times::iso;

const FORBIDDEN: &str =
    "changing the cluster needs a key of role operator or admin of namespace default";

/// `POST /v1/cluster/promote`.
pub(crate) async fn promote(
    State(app): State<App>,
    call: Authed,
    body: JsonBody,
) -> Result<Answer, Problem> {
    of_a_node(&app, call, body, "promote", Change::Promote).await
}

/// `POST /v1/cluster/demote`.
pub(crate) async fn demote(
    State(app): State<App>,
    call: Authed,
    body: JsonBody,
) -> Result<Answer, Problem> {
    of_a_node(&app, call, body, "demote", Change::Demote).await
}

/// `POST /v1/cluster/remove`.
pub(crate) async fn remove(
    State(app): State<App>,
    call: Authed,
    body: JsonBody,
) -> Result<Answer, Problem> {
    of_a_node(&app, call, body, "remove", Change::Remove).await
}

async fn of_a_node(
    app: &App,
    call: Authed,
    body: JsonBody,
    word: &str,
    change: impl Fn(NodeId) -> Change,
) -> Result<Answer, Problem> {
    let (call, key, mut fields) = opened(call, body).await?;
    let node = node(&mut fields)?;
    fields.nothing_else(&[])?;
    let node = node.ok_or_else(no_node)?;
    made(app, &call, word, Some(node), change(node), key).await
}

/// `POST /v1/cluster/transfer-leader`.
pub(crate) async fn transfer_leader(
    State(app): State<App>,
    call: Authed,
    body: JsonBody,
) -> Result<Answer, Problem> {
    let (call, key, mut fields) = opened(call, body).await?;
    let node = node(&mut fields)?;
    fields.nothing_else(&[])?;
    made(&app, &call, "transfer_leader", node, Change::TransferLeader(node), key).await
}

/// `POST /v1/cluster/join-token`.
pub(crate) async fn join_token(
    State(app): State<App>,
    call: Authed,
    body: JsonBody,
) -> Result<Answer, Problem> {
    let (call, key, mut fields) = opened(call, body).await?;
    let seconds = fields.whole("valid_seconds", JOIN_TOKEN_MS_MAX / 1_000)?;
    fields.nothing_else(&[])?;
    let seconds = seconds.unwrap_or(JOIN_TOKEN_MS_DEFAULT / 1_000);
    if seconds == 0 {
        return Err(Problem::field(path("valid_seconds"), "expected 1 or more"));
    }
    let made = app.gate.join_token(&call.caller, Duration::from_secs(seconds), key).await?;
    let (reply, replayed) = made.answer.unwrapped();
    match (&made.token, reply) {
        (Some(token), _) => {
            let body = json!({
                "token": token.token,
                "expires_at": iso(token.expires_at),
                "cluster_id": token.cluster_id,
                "index": made.answer.index.0,
            });
            Ok(Answer::ok(&body).committed(&made.answer).replayed(replayed))
        }
        (None, Reply::Refused(refusal)) => Err(refused(refusal).committed(&made.answer)),
        (None, other) => Err(unexpected(other)),
    }
}

/// The caller, if it may change the cluster, and what it sent.
async fn opened(
    mut call: Authed,
    body: JsonBody,
) -> Result<(Authed, Option<RequestKey>, Fields), Problem> {
    call.need(Role::may_operate, FORBIDDEN).await?;
    if call.namespace() != NamespaceId::DEFAULT {
        return Err(Problem::forbidden(FORBIDDEN));
    }
    let key = request_key(&call, &body)?;
    Ok((call, key, Fields::of(body.value)))
}

fn node(fields: &mut Fields) -> Result<Option<NodeId>, Problem> {
    match fields.whole("node", u64::MAX)? {
        Some(0) => Err(no_node()),
        node => Ok(node.map(NodeId)),
    }
}

fn no_node() -> Problem {
    Problem::field(path("node"), "expected the id of a node, a whole number from 1")
}

async fn made(
    app: &App,
    call: &Authed,
    word: &str,
    node: Option<NodeId>,
    change: Change,
    key: Option<RequestKey>,
) -> Result<Answer, Problem> {
    let made = app.gate.change_cluster(&call.caller, change, key).await?;
    let (reply, replayed) = made.answer.unwrapped();
    match reply {
        Reply::Done => {
            let leader = app.gate.log().status().leader;
            let body = json!({
                "change": word,
                "node": node.map(|node| node.0),
                "leader_id": leader.map(|leader| leader.0),
                "index": made.index.0,
            });
            let point = ReadPoint { index: made.index, term: made.answer.term };
            Ok(Answer::ok(&body).at(point).replayed(replayed))
        }
        Reply::Refused(refusal) => Err(refused(refusal).committed(&made.answer)),
        other => Err(unexpected(other)),
    }
}
