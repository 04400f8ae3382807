//! `qgate freeze` and `qgate unfreeze`: stop what is allowed from being carried out, and let it go
//! on.

use std::time::Duration;

use clap::Args;
use client::{Request, Shape};
use gate::{ids, times};
use serde_json::{Value, json};
use types::limits::FREEZE_WAIT_MS_MAX;
use types::{FREEZE_SCOPES, LogTime};

use crate::cli::Global;
use crate::commands::agent::seconds;
use crate::failure::{Exit, Outcome};
use crate::output::{Column, note};

const COLUMNS: &[Column] = &[
    ("freeze", &["id"]),
    ("scope", &["scope"]),
    ("match", &["match"]),
    ("reason", &["reason"]),
    ("by", &["by_name"]),
    ("since", &["since"]),
    ("until", &["until"]),
    ("settled", &["settled"]),
    ("people to end it", &["persons_to_unfreeze"]),
];

const RUNNING: &[Column] = &[("execution", &["execution_id"]), ("intent", &["intent_id"])];

/// Stop what is allowed from being carried out: nothing covered starts once this has answered.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    qgate freeze all --reason \"incident 42\"\n  \
    qgate freeze resource 'crm.*' --reason \"vendor outage\" --for 2h\n  \
    qgate freeze --list")]
pub(crate) struct FreezeArgs {
    /// What it covers, e.g. resource
    #[arg(value_name = "SCOPE", value_parser = FREEZE_SCOPES, required_unless_present = "list")]
    scope: Option<String>,
    /// Which agent, resource, destination or environment; globs for the middle two, e.g. 'crm.*'
    #[arg(value_name = "MATCH")]
    matches: Option<String>,
    /// Why, for those it stops, e.g. "vendor outage"
    #[arg(long, value_name = "TEXT", required_unless_present = "list")]
    reason: Option<String>,
    /// How long it stands; until somebody ends it without this, e.g. 2h
    #[arg(long = "for", value_name = "TIME", value_parser = seconds)]
    seconds: Option<u64>,
    /// Show the freezes that stand
    #[arg(long, conflicts_with_all = ["scope", "matches", "reason", "seconds"])]
    list: bool,
}

/// Let what a freeze stops go on; policy may ask for more than one person.
#[derive(Debug, Args)]
#[command(after_help = "Example: qgate unfreeze frz_2c2846cac3071a90 --reason \"vendor is back\"")]
pub(crate) struct UnfreezeArgs {
    /// Id of the freeze, e.g. frz_2c2846cac3071a90
    #[arg(value_name = "FREEZE", value_parser = freeze_id)]
    id: String,
    /// Why it may go on, e.g. "vendor is back"
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

fn freeze_id(text: &str) -> Result<String, String> {
    text.parse::<types::FreezeId>().map(|id| id.to_string()).map_err(|error| error.to_string())
}

/// Runs `qgate freeze`.
pub(crate) async fn freeze(global: &Global, args: FreezeArgs) -> Outcome {
    let output = global.output();
    if args.list {
        let request = Request::get(&["v1", "freezes"]).expecting(&[("freezes", Shape::List)]);
        let answer = global.client()?.send(request).await?;
        output.rows(&answer.body, "freezes", COLUMNS);
        return Ok(Exit::Done);
    }
    let until = args.seconds.map(|seconds| {
        times::iso(LogTime(ids::unix_ms().saturating_add(seconds.saturating_mul(1_000))))
    });
    let body = json!({
        "scope": args.scope, "match": args.matches, "reason": args.reason, "until": until,
    });
    // Longer than the cluster waits for the calls that are on their way.
    let client = global.client_within(Duration::from_millis(3 * FREEZE_WAIT_MS_MAX))?;
    let request = Request::put(&["v1", "freezes"], &body).expecting(&[("id", Shape::Text)]);
    let answer = client.send(request).await?;
    output.fields(&answer.body, COLUMNS);
    if !output.is_json() {
        say_running(&answer.body);
        if answer.body["running"].as_array().is_some_and(|calls| !calls.is_empty()) {
            output.rows(&answer.body, "running", RUNNING);
        }
    }
    Ok(Exit::Done)
}

fn say_running(body: &Value) {
    let count = body["running"].as_array().map_or(0, Vec::len);
    match (count, body["running_more"].as_bool().unwrap_or_default()) {
        (0, false) => note("nothing that it covers is on its way, and nothing starts any more"),
        (count, more) => {
            let least = if more { "at least " } else { "" };
            note(&format!(
                "nothing that it covers starts any more; {least}{count} were on their way, are \
                 with workers, or are in doubt:"
            ));
        }
    }
}

/// Runs `qgate unfreeze`.
pub(crate) async fn unfreeze(global: &Global, args: UnfreezeArgs) -> Outcome {
    let (client, output) = (global.client()?, global.output());
    let body = args.reason.map_or_else(|| json!({}), |reason| json!({ "reason": reason }));
    let request = Request::post(&["v1", "freezes", &args.id, "unfreeze"], &body);
    let answer = client.send(request.expecting(&[("ended", Shape::Any)])).await?;
    output.fields(&answer.body, COLUMNS);
    let votes = answer.body["votes"].as_array().map_or(0, Vec::len);
    let needed = &answer.body["persons_to_unfreeze"];
    note(&match answer.body["ended"].as_bool() {
        Some(true) => "it has ended: what it stopped goes on".to_owned(),
        _ => format!("{votes} of {needed} people want it ended; it stands until the others do"),
    });
    Ok(Exit::Done)
}
