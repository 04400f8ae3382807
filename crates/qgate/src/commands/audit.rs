//! `qgate audit …`: what happened to an intent, what happened at all, and how far the tree goes.
//!
//! Promise: a trail is shown to its end, however many pages the gate makes of it.

use clap::{Args, Subcommand};
use client::{Client, Error, Request, Shape};
use serde_json::Value;
use types::limits::PAGE_ROWS_MAX;

use crate::cli::{Global, IntentRef};
use crate::failure::{Exit, Outcome};
use crate::output::Column;

const EVENTS: &[Column] = &[
    ("time", &["created_at"]),
    ("event", &["event_type"]),
    ("actor", &["actor"]),
    ("leaf", &["sequence"]),
    ("details", &["metadata"]),
];

const ENTRIES: &[Column] = &[
    ("leaf", &["sequence"]),
    ("time", &["created_at"]),
    ("event", &["event_type"]),
    ("actor", &["actor", "actor_id"]),
    ("intent", &["intent_id"]),
    ("details", &["metadata"]),
];

const CHECKPOINT: &[Column] =
    &[("leaves", &["size"]), ("root", &["root"]), ("log index", &["index"])];

/// The audit trail.
#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Show every event of one intent.
    #[command(after_help = "Example: qgate audit show int_2c2846cac3071a90")]
    Show(IntentRef),
    Entries(EntriesArgs),
    /// Show size and root of the audit tree.
    #[command(after_help = "Example: qgate audit checkpoint --output json")]
    Checkpoint,
}

/// List audit leaves in the order of the tree, also those that belong to no intent: policies,
/// destinations, channels, registrations, roles and keys.
#[derive(Debug, Args)]
#[command(after_help = "Example: qgate audit entries --after 1200 --limit 100")]
pub(crate) struct EntriesArgs {
    /// Leaves of a page, e.g. 100
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Go on after this leaf, where a page ended, e.g. 1200
    #[arg(long, value_name = "LEAF")]
    after: Option<u64>,
}

/// Runs `qgate audit …`.
pub(crate) async fn run(global: &Global, command: AuditCommand) -> Outcome {
    let (client, output) = (global.client()?, global.output());
    match command {
        AuditCommand::Show(intent) => {
            output.rows(&whole_trail(&client, &intent.id).await?, "events", EVENTS);
        }
        AuditCommand::Entries(args) => {
            let request = Request::get(&["v1", "audit", "entries"])
                .query_if("limit", args.limit.map(|limit| limit.to_string()))
                .query_if("after", args.after.map(|after| after.to_string()))
                .expecting(&[("entries", Shape::List), ("next", Shape::Any)]);
            let answer = client.send(request).await?;
            output.rows(&answer.body, "entries", ENTRIES);
            if let Some(next) = answer.body["next"].as_u64() {
                output.say(&format!("\nmore: qgate audit entries --after {next}"));
            }
        }
        AuditCommand::Checkpoint => {
            let request = Request::get(&["v1", "audit", "checkpoint"])
                .expecting(&[("size", Shape::Number), ("root", Shape::Text)]);
            output.fields(&client.send(request).await?.body, CHECKPOINT);
        }
    }
    Ok(Exit::Done)
}

/// The trail of an intent, page after page, in the shape of one.
///
/// # Errors
/// What the gate says.
pub(crate) async fn whole_trail(client: &Client, intent: &str) -> Result<Value, Error> {
    let mut whole: Option<Value> = None;
    let mut after: Option<u64> = None;
    loop {
        let request = Request::get(&["v1", "intents", intent, "audit"])
            .query("limit", PAGE_ROWS_MAX.to_string())
            .query_if("after", after.map(|after| after.to_string()))
            .expecting(&[("events", Shape::List), ("truncated", Shape::Truth)]);
        let answer = client.send(request).await?;
        // A gate that cannot go on from here says so, and so does what is printed.
        let next = answer.body["next"].as_u64().filter(|next| Some(*next) > after);
        let mut page = answer.body;
        if let Some(whole) = &mut whole {
            append(whole, &mut page);
        }
        let whole = whole.get_or_insert(page);
        if next.is_none() {
            return Ok(whole.take());
        }
        after = next;
    }
}

/// Puts the events of a page behind those of the pages before it.
fn append(whole: &mut Value, page: &mut Value) {
    let more = page["events"].as_array_mut().map(std::mem::take).unwrap_or_default();
    if let Some(events) = whole["events"].as_array_mut() {
        events.extend(more);
        let count = events.len();
        whole["count"] = count.into();
    }
    for name in ["next", "truncated"] {
        whole[name] = page[name].take();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pages_make_one_trail() {
        let mut whole = json!({ "events": [1, 2], "count": 2, "next": 7, "truncated": true });
        let mut page = json!({ "events": [3], "count": 1, "next": null, "truncated": false });
        append(&mut whole, &mut page);
        let expected = json!({ "events": [1, 2, 3], "count": 3, "next": null, "truncated": false });
        assert_eq!(whole, expected);
    }
}
