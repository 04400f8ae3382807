//! `qgate channel …`: whom the gate tells what happens to intents.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::cli::Global;
use crate::commands::setting::{self, Kind};
use crate::failure::Outcome;

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

/// Channels.
#[derive(Debug, Subcommand)]
pub(crate) enum ChannelCommand {
    /// List the channels in force.
    #[command(after_help = "Example: qgate channel list")]
    List,
    Show(ShowArgs),
    Put(PutArgs),
    Delete(DeleteArgs),
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
    }
}
