//! Namespaces: walls between teams. Admins of `default` run the cluster and make them.

use axum::extract::State;
use axum::http::StatusCode;
use gate::Freshness;
use gate::log::Consistency;
use ledger::{NamespaceRow, Reply, query};
use serde_json::{Value, json};
use types::limits::NAMESPACE_NAME_CHARS_MAX;
use types::{AgentId, LogIndex, NamespaceId, Role};

use crate::answer::Answer;
use crate::body::JsonBody;
use crate::call::Authed;
use crate::fields::{Fields, path};
use crate::problem::Problem;
use crate::refusals::{refused, unexpected};
use crate::request_key::request_key;
use crate::state::App;
use crate::times::iso;

/// `GET /v1/namespaces`: all of them for admins of `default`, their own for others.
pub(crate) async fn list(call: Authed) -> Result<Answer, Problem> {
    let own = call.namespace();
    let (body, point) = call
        .read(|state, reader, _| {
            let all = reader.role.may_administer() && own == NamespaceId::DEFAULT;
            let rows = query::namespaces(state)?;
            let shown = rows.iter().filter(|row| all || row.id == own);
            let namespaces: Vec<Value> = shown.map(view).collect();
            Ok(json!({ "namespaces": namespaces, "count": namespaces.len() }))
        })
        .await?;
    Ok(Answer::ok(&body).at(point))
}

fn view(row: &NamespaceRow) -> Value {
    json!({ "id": row.id.0, "name": row.name, "created_at": iso(row.created_at) })
}

/// `POST /v1/namespaces`.
pub(crate) async fn create(
    State(app): State<App>,
    mut call: Authed,
    body: JsonBody,
) -> Result<Answer, Problem> {
    const FORBIDDEN: &str = "making namespaces needs an admin of namespace default";
    call.need(Role::may_administer, FORBIDDEN).await?;
    let request_key = request_key(&call, &body)?;
    let mut fields = Fields::of(body.value);
    let name = fields.words("name")?;
    fields.nothing_else(&[])?;
    let name = name.filter(|name| is_name(name)).ok_or_else(|| {
        let message = format!(
            "expected 1 to {NAMESPACE_NAME_CHARS_MAX} of a-z, 0-9 and -, beginning with a letter"
        );
        Problem::field(path("name"), message)
    })?;
    let made = app.gate.create_namespace(&call.caller, name.clone(), request_key).await?;
    let (reply, replayed) = made.answer.unwrapped();
    match reply {
        Reply::Namespace(id) => {
            let admin = if replayed {
                first_admin(&call, *id, made.answer.index).await?
            } else {
                Some(made.admin)
            };
            let body = json!({
                "id": id.0,
                "name": name,
                "admin": {
                    "agent_id": admin.map(|id| id.to_string()),
                    // As for a registration: the first answer showed it, and nothing keeps it.
                    "apiKey": (!replayed).then(|| made.key.reveal()),
                },
            });
            Ok(Answer::new(StatusCode::CREATED, &body).committed(&made.answer).replayed(replayed))
        }
        Reply::Refused(refusal) => Err(refused(refusal).committed(&made.answer)),
        other => Err(unexpected(other)),
    }
}

/// The principal with which a namespace began: its oldest.
async fn first_admin(
    call: &Authed,
    namespace: NamespaceId,
    min_index: LogIndex,
) -> Result<Option<AgentId>, Problem> {
    let fresh = Freshness { consistency: Consistency::Stale, min_index };
    let (rows, _) =
        call.read_at(fresh, |state, _, _| Ok(query::agents(state, namespace, None, 1)?)).await?;
    Ok(rows.first().map(|row| row.id))
}

fn is_name(name: &str) -> bool {
    let inner = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    name.len() <= NAMESPACE_NAME_CHARS_MAX
        && name.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase())
        && name.bytes().all(inner)
}
