//! Lists of intents, newest first, with filters and a cursor.
//!
//! A page looks at a bounded number of rows: under a filter that leaves few of them it may be short
//! or empty and have a cursor all the same. The list ends where `next` is null.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use ledger::query::{IntentFilter, IntentPage};
use ledger::{Content, Head, query};
use serde::Serialize;
use serde_json::{Map, Value, json};
use types::limits::PAGE_ROWS_DEFAULT;
use types::{AgentId, IntentId, PayloadKind, Phase};

use crate::answer::Answer;
use crate::call::Authed;
use crate::intent_view::reference;
use crate::problem::Problem;
use crate::view::Row;

/// Every phase, for filters that outlive the call.
static PHASES: [Phase; 12] = Phase::ALL;
/// What existing clients call blocked.
static BLOCKED: [Phase; 4] = [Phase::Blocked, Phase::Rejected, Phase::Cancelled, Phase::Superseded];
/// What existing clients call succeeded.
static SUCCEEDED: [Phase; 2] = [Phase::Succeeded, Phase::Delivered];

/// One intent of a list, as read.
struct Listed {
    head: Head,
    content: Content,
    /// Only where it is the name of a file.
    payload: Option<Vec<u8>>,
}

/// One intent of a list, as shown.
#[derive(Serialize)]
struct ListedRow<'a> {
    #[serde(flatten)]
    row: Row<'a>,
    agent_name: Option<&'a str>,
    #[serde(rename = "intentId", skip_serializing_if = "Option::is_none")]
    intent_id: Option<String>,
}

/// `GET /v1/intents`.
pub(crate) async fn list(call: Authed) -> Result<Answer, Problem> {
    listed(&call, "intents").await
}

/// `GET /v1/proposals`.
pub(crate) async fn proposals(call: Authed) -> Result<Answer, Problem> {
    listed(&call, "proposals").await
}

async fn listed(call: &Authed, name: &'static str) -> Result<Answer, Problem> {
    let limit = call.limit(PAGE_ROWS_DEFAULT)?;
    let phases = phases(call)?;
    let agent: Option<AgentId> = call.query_id("agent")?;
    let before: Option<IntentId> = call.query_id("before")?;
    let namespace = call.namespace();
    let ((rows, names, next), point) = call
        .read(|state, reader, _| {
            let agent = match agent {
                Some(other) if other != reader.id && !reader.role.may_read_all() => {
                    return Err(Problem::forbidden("Cannot access intents from other agents"));
                }
                None if !reader.role.may_read_all() => Some(reader.id),
                agent => agent,
            };
            let IntentPage { heads, next } = match phases {
                Some(phases) => {
                    query::intents(state, namespace, IntentFilter { agent, phases, before, limit })?
                }
                None => IntentPage::default(),
            };
            let mut names: HashMap<AgentId, Option<String>> = HashMap::new();
            let mut rows = Vec::with_capacity(heads.len());
            for head in heads {
                let (id, revision) = (head.id, head.revision);
                let content = query::content(state, namespace, id, revision)?;
                let payload = match content.proposal.payload_kind {
                    PayloadKind::Reference => query::payload(state, namespace, id, revision)?,
                    _ => None,
                };
                if let Entry::Vacant(name) = names.entry(head.agent) {
                    let agent = query::agent(state, namespace, head.agent)?;
                    name.insert(agent.map(|agent| agent.name));
                }
                rows.push(Listed { head, content, payload });
            }
            Ok((rows, names, next))
        })
        .await?;
    let shown: Vec<Value> = rows.iter().map(|listed| show(listed, name, &names)).collect();
    let mut body = Map::new();
    body.insert("count".into(), json!(shown.len()));
    body.insert("next".into(), json!(next.map(|next| next.to_string())));
    body.insert(name.into(), Value::Array(shown));
    Ok(Answer::ok(&body).at(point))
}

fn show(listed: &Listed, list: &str, names: &HashMap<AgentId, Option<String>>) -> Value {
    let Listed { head, content, payload } = listed;
    let reference = reference(content, payload.as_deref());
    let row = ListedRow {
        row: Row::of(head, content, reference.as_deref()).in_list(head),
        agent_name: names.get(&head.agent).and_then(Option::as_deref),
        intent_id: (list == "intents").then(|| head.id.to_string()),
    };
    // Wire types have string keys only and cannot fail otherwise.
    serde_json::to_value(row).unwrap_or_default()
}

/// The phases that `status` and `phase` leave; `None` if no intent can be in any of them.
fn phases(call: &Authed) -> Result<Option<&'static [Phase]>, Problem> {
    let by_status = match call.query("status")? {
        None | Some("" | "all") => None,
        Some(status) => Some(of_status(status)?),
    };
    let by_phase = match call.query("phase")? {
        None | Some("") => None,
        Some(name) => {
            let found = PHASES.iter().position(|phase| phase.name() == name);
            let unknown = || Problem::field("phase", "no such phase; docs/glossary.md lists them");
            Some(found.ok_or_else(unknown)?)
        }
    };
    Ok(match (by_status, by_phase) {
        (None, None) => Some(&[]),
        (Some([]), _) => None,
        (Some(phases), None) => Some(phases),
        (None, Some(at)) => PHASES.get(at..=at),
        (Some(phases), Some(at)) => PHASES.get(at..=at).filter(|phase| phases.contains(&phase[0])),
    })
}

/// The phases behind a word of existing clients; words that no stored intent has give none.
fn of_status(status: &str) -> Result<&'static [Phase], Problem> {
    match status {
        "blocked" => return Ok(&BLOCKED),
        "succeeded" => return Ok(&SUCCEEDED),
        "delivered" => return Ok(&SUCCEEDED[1..]),
        "duplicate_blocked" | "proposed" | "executing" => return Ok(&[]),
        _ => {}
    }
    match PHASES.iter().position(|phase| phase.status() == status) {
        Some(at) => Ok(&PHASES[at..=at]),
        None => Err(Problem::field(
            "status",
            "expected pending_approval, approved, blocked, scheduled, succeeded, failed, expired \
             or in_doubt",
        )),
    }
}
