//! `qgate inspect`: looks into the data of a node that is not running.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;

use crate::failure::{Exit, Failure, Outcome};
use crate::output::{Column, Output};

const REPLAY: &[Column] = &[
    ("applied", &["applied_index"]),
    ("state hash", &["state_hash"]),
    ("replay hash", &["replay_hash"]),
    ("audit leaves", &["tree_size"]),
    ("audit root", &["tree_root"]),
    ("equal", &["equal"]),
];

/// Look into the data of a node that is not running.
#[derive(Debug, Args)]
#[command(after_help = "Example: qgate inspect --data .qgate/dev/node-1/data replay")]
pub(crate) struct InspectArgs {
    /// The node's data directory, e.g. .qgate/dev/node-1/data
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    #[command(subcommand)]
    what: What,
}

/// What to look for.
#[derive(Debug, Clone, Copy, Subcommand)]
enum What {
    /// Replay the log and compare with the stored state; exit 1 if they differ.
    #[command(after_help = "Example: qgate inspect --data .qgate/dev/node-1/data replay")]
    Replay,
}

/// Runs `qgate inspect`.
pub(crate) fn run(output: Output, args: &InspectArgs) -> Outcome {
    let What::Replay = args.what;
    if !args.data.is_dir() {
        return Err(Failure::usage(format!("{}: no such directory", args.data.display())));
    }
    let report = replica::replay(&args.data).map_err(|error| {
        Failure::refused(format!("{}: {error}", args.data.display()))
            .next("stop the node first if it runs")
    })?;
    let body = json!({
        "applied_index": report.applied_index.0,
        "state_hash": report.state_hash.to_string(),
        "replay_hash": report.replay_hash.to_string(),
        "tree_size": report.tree_size,
        "tree_root": report.tree_root.to_string(),
        "equal": report.equal,
    });
    output.fields(&body, REPLAY);
    if report.equal {
        return Ok(Exit::Done);
    }
    Err(Failure::refused("the stored state is not what its log makes")
        .next("keep the data as it is, remove the node from its cluster and report it"))
}
