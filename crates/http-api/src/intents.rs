//! Reading one intent, now or once it is decided.
//!
//! Invariant: an agent sees its own intents and nothing of others; those who may read all see those
//! of their namespace; of another namespace nobody sees anything.

use std::time::Duration;

use axum::http::StatusCode;
use gate::log::Consistency;
use gate::{Freshness, Until};
use ledger::{AgentRow, Head, Read, query};
use types::limits::PAGE_ROWS_MAX;
use types::{IntentId, NamespaceId};

use crate::answer::Answer;
use crate::call::{Authed, bounded, read_problem};
use crate::evidence::{EvidenceKey, read_evidence};
use crate::intent_view::Rows;
use crate::problem::Problem;
use crate::setting_view::carried_out_by;
use crate::spans::wait_ms;

/// `GET /v1/intents/{id}`.
pub(crate) async fn one(call: Authed) -> Result<Answer, Problem> {
    let id = intent_id(&call, "Proposal not found")?;
    let until = match call.query("until")? {
        None | Some("decided") => Until::Decided,
        Some("done") => Until::Done,
        Some(_) => return Err(Problem::field("until", "expected decided or done")),
    };
    let wait = match call.query("wait")? {
        None => 0,
        Some(text) => {
            let problem = || Problem::field("wait", "expected a span up to 60s, such as 30s");
            wait_ms(text).ok_or_else(problem)?
        }
    };
    let freshness = call.freshness()?;
    if wait == 0 {
        return show(&call, id, freshness).await;
    }
    let namespace = call.namespace();
    call.read_at(freshness, |state, reader, _| visible(state, namespace, reader, id).map(|_| ()))
        .await?;
    let span = Duration::from_millis(wait);
    let waiting = call.app.gate.wait_for(namespace, id, until, span, freshness);
    let (_, point) = tokio::select! {
        found = waiting => found.map_err(read_problem)?,
        () = call.app.stopped() => {
            bounded(call.app.gate.read(freshness, |_, _| Ok(None))).await?
        }
    };
    // What was waited for is applied here; what is shown is at least that new.
    let consistency = Consistency::Stale;
    show(&call, id, Freshness { consistency, min_index: point.index }).await
}

async fn show(call: &Authed, id: IntentId, freshness: Freshness) -> Result<Answer, Problem> {
    let namespace = call.namespace();
    let key = EvidenceKey::of(&call.app.gate);
    let (rows, point) = call
        .read_at(freshness, |state, reader, progress| {
            let head = visible(state, namespace, reader, id)?;
            let (content, payload) =
                query::content_and_payload(state, namespace, id, head.revision)?;
            let limit = usize::try_from(PAGE_ROWS_MAX).unwrap_or(usize::MAX);
            let trail = query::trail(state, namespace, id, None, limit)?;
            let evidence = read_evidence(state, &key, namespace, &head, &content)?;
            let submitter = query::agent(state, namespace, head.agent)?.map(|agent| agent.status);
            let serving = match reader.role.may_read_all() {
                true => query::serving(state, namespace, &content.proposal.destination)?,
                false => None,
            };
            let carried_out_by = serving.map(|found| carried_out_by(&found));
            let frozen_by = query::frozen_by(state, namespace, head.id, progress.time)?;
            let frozen_by = frozen_by.map(|row| row.id);
            Ok(Rows {
                head,
                content,
                payload,
                trail,
                evidence,
                submitter,
                frozen_by,
                carried_out_by,
            })
        })
        .await?;
    let bytes = rows.payload.as_ref().map_or(0, Vec::len);
    let body = call.app.gate.beside().run(bytes, move || rows.print()).await?;
    Ok(Answer::bytes(StatusCode::OK, body).at(point))
}

/// The intent that the path names; a word that is no id names nothing.
pub(crate) fn intent_id(call: &Authed, unknown: &'static str) -> Result<IntentId, Problem> {
    let problem = |_| Problem::not_found(unknown, "no such intent here");
    let id = call.path("id").parse().map_err(problem)?;
    gate::note_intent(id);
    Ok(id)
}

/// The head of an intent, if this reader may see it.
pub(crate) fn visible(
    state: &dyn Read,
    namespace: NamespaceId,
    reader: &AgentRow,
    id: IntentId,
) -> Result<Head, Problem> {
    let head = query::head(state, namespace, id)?;
    let head =
        head.ok_or_else(|| Problem::not_found("Proposal not found", "no such intent here"))?;
    if head.agent == reader.id || reader.role.may_read_all() {
        return Ok(head);
    }
    Err(Problem::forbidden("Cannot access intents from other agents"))
}
