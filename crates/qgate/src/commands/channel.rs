//! `qgate channel …`: whom the gate tells what happens to intents.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use client::{Request, Shape};

use crate::cli::Global;
use crate::commands::setting::{self, Kind};
use crate::failure::{Exit, Outcome};
use crate::output::Column;

const KIND: Kind = Kind {
    route: "channels",
    rows: &[
        ("name", &["name"]),
        ("kind", &["kind"]),
        ("events", &["events"]),
        ("resources", &["resources"]),
        ("signed", &["signed"]),
        ("url", &["url"]),
    ],
    changed: &[
        ("name", &["name"]),
        ("kind", &["kind"]),
        ("deleted", &["deleted"]),
        ("version", &["version"]),
        ("changed", &["changed"]),
        ("digest", &["digest"]),
    ],
    problems: |name, source| policy::documents::channel(name, source).err().unwrap_or_default(),
};

const DELIVERIES: &[Column] = &[
    ("delivery", &["id"]),
    ("status", &["status"]),
    ("event", &["event"]),
    ("intent", &["intent_id"]),
    ("attempts", &["attempts"]),
    ("fired", &["fired_at"]),
    ("next attempt", &["next_attempt_at"]),
    ("ended", &["ended_at"]),
    ("error", &["error"]),
];

/// Channels.
#[derive(Debug, Subcommand)]
pub(crate) enum ChannelCommand {
    /// List the channels in force.
    #[command(after_help = "Example: qgate channel list")]
    List,
    Show(ShowArgs),
    Put(PutArgs),
    Delete(DeleteArgs),
    Deliveries(DeliveriesArgs),
}

/// Show one channel as it was put.
#[derive(Debug, Args)]
#[command(after_help = "Example: qgate channel show ops")]
pub(crate) struct ShowArgs {
    /// Its name, e.g. ops
    name: String,
}

/// Put one channel, in the place of an earlier one of that name.
#[derive(Debug, Args)]
#[command(after_help = "Example: qgate channel put ops ops.yaml --if-version 3")]
pub(crate) struct PutArgs {
    /// Its name: letters, digits, `.`, `_` and `-`, e.g. ops
    name: String,
    /// Its YAML document, - reads standard input, e.g. ops.yaml
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Only if this version of the channels is in force, e.g. 3
    #[arg(long, value_name = "N")]
    if_version: Option<u64>,
}

/// Delete one channel.
#[derive(Debug, Args)]
#[command(after_help = "Example: qgate channel delete ops")]
pub(crate) struct DeleteArgs {
    /// Its name, e.g. ops
    name: String,
    /// Only if this version of the channels is in force, e.g. 3
    #[arg(long, value_name = "N")]
    if_version: Option<u64>,
}

/// List what a channel was told and is to be told, newest first.
#[derive(Debug, Args)]
#[command(after_help = "Example: qgate channel deliveries ops --limit 20")]
pub(crate) struct DeliveriesArgs {
    /// Its name, also of a channel that is gone, e.g. ops
    name: String,
    /// Rows of a page, e.g. 20
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Go on before this one, where a page ended, e.g. del_2c2846cac3071a90
    #[arg(long, value_name = "DELIVERY")]
    before: Option<String>,
}

/// Runs `qgate channel …`.
pub(crate) async fn run(global: &Global, command: ChannelCommand) -> Outcome {
    match command {
        ChannelCommand::List => setting::list(global, &KIND).await,
        ChannelCommand::Show(args) => setting::show(global, &KIND, &args.name).await,
        ChannelCommand::Put(args) => {
            setting::put(global, &KIND, &args.name, &args.file, args.if_version).await
        }
        ChannelCommand::Delete(args) => {
            setting::delete(global, &KIND, &args.name, args.if_version).await
        }
        ChannelCommand::Deliveries(args) => deliveries(global, args).await,
    }
}

async fn deliveries(global: &Global, args: DeliveriesArgs) -> Outcome {
    let request = Request::get(&["v1", "channels", &args.name, "deliveries"])
        .query_if("limit", args.limit.map(|limit| limit.to_string()))
        .query_if("before", args.before)
        .expecting(&[("deliveries", Shape::List), ("next", Shape::Any)]);
    let answer = global.client()?.send(request).await?;
    let output = global.output();
    output.rows(&answer.body, "deliveries", DELIVERIES);
    if let Some(next) = answer.text("next") {
        output.say(&format!("\nmore: qgate channel deliveries {} --before {next}", args.name));
    }
    Ok(Exit::Done)
}
