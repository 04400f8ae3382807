//! What became of the notifications of a channel.

use ledger::{DeliveryRow, DeliveryStatus, query};
use serde_json::{Value, json};
use types::DeliveryId;
use types::limits::PAGE_ROWS_DEFAULT;

use crate::answer::Answer;
use crate::call::Authed;
use crate::problem::Problem;
use crate::settings::{channel_in_force, may_read, unknown_channel};
use crate::times::iso;

/// `GET /v1/channels/{name}/deliveries`: newest first. A channel that is gone keeps its list until
/// the last of it is swept.
pub(crate) async fn list(call: Authed) -> Result<Answer, Problem> {
    let limit = call.limit(PAGE_ROWS_DEFAULT)?;
    let before = call.query_id::<DeliveryId>("before")?;
    let namespace = call.namespace();
    let name = call.path("name").to_owned();
    let (rows, point) = call
        .read(|state, reader, _| {
            may_read(reader)?;
            let rows = query::channel_deliveries(state, namespace, &name, before, limit)?;
            // A page behind a cursor may be empty, and so may a page of nothing.
            let may_be_empty = before.is_some() || limit == 0;
            if rows.is_empty()
                && !may_be_empty
                && channel_in_force(state, namespace, &name)?.is_none()
            {
                return Err(unknown_channel());
            }
            Ok(rows)
        })
        .await?;
    let next = (rows.len() == limit).then(|| rows.last().map(|row| row.id.to_string())).flatten();
    let shown: Vec<Value> = rows.iter().map(view).collect();
    let body = json!({ "deliveries": shown, "count": shown.len(), "next": next });
    Ok(Answer::ok(&body).at(point))
}

fn view(row: &DeliveryRow) -> Value {
    let (next_attempt_at, ended_at) = match row.status {
        DeliveryStatus::Pending => (Some(iso(row.at)), None),
        DeliveryStatus::Delivered | DeliveryStatus::Failed => (None, Some(iso(row.at))),
    };
    json!({
        "id": row.id.to_string(),
        "intent_id": row.intent.to_string(),
        "event": row.notice.name(),
        "status": row.status.name(),
        "attempts": row.attempts,
        "error": row.error,
        "fired_at": iso(row.fired_at),
        "next_attempt_at": next_attempt_at,
        "ended_at": ended_at,
    })
}
