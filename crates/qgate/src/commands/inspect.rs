//! `qgate inspect`: looks into the data of a node that is not running.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use replica::{ReplayError, ReplayVerdict};
use serde_json::json;

use crate::failure::{Exit, Failure, Outcome};
use crate::output::{Column, Output};

const REPLAY: &[Column] = &[
    ("applied", &["applied_index"]),
    ("committed", &["committed_index"]),
    ("state hash", &["state_hash"]),
    ("replay hash", &["replay_hash"]),
    ("audit leaves", &["tree_size"]),
    ("audit root", &["tree_root"]),
    ("equal", &["equal"]),
    ("verdict", &["verdict"]),
];

/// Look into the data of a node that is not running.
#[derive(Debug, Args)]
#[command(after_help = "Example: qgate inspect --data .qgate/dev/node-1/data replay")]
pub(crate) struct InspectArgs {
    /// The node's data directory, e.g. .qgate/dev/node-1/data
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Where a copy of it and the replayed state lie meanwhile, the system's own place if left out;
    /// on the same file system the copy takes little room, e.g. scratch
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
    #[command(subcommand)]
    what: What,
}

/// What to look for.
#[derive(Debug, Clone, Copy, Subcommand)]
enum What {
    /// Replay the log up to what it says is committed and compare with the stored state; exit 1
    /// if they differ, and if the state is behind or missing. The data itself is only read.
    #[command(after_help = "Example: qgate inspect --data .qgate/dev/node-1/data replay")]
    Replay,
}

/// Runs `qgate inspect`.
pub(crate) fn run(output: Output, args: &InspectArgs) -> Outcome {
    let What::Replay = args.what;
    if !args.data.is_dir() {
        return Err(Failure::usage(format!("{}: no such directory", args.data.display())));
    }
    let place = args.scratch.clone().unwrap_or_else(std::env::temp_dir);
    let scratch = tempfile::Builder::new().prefix("qgate-inspect-").tempdir_in(&place);
    let scratch = scratch.map_err(|error| {
        Failure::refused(format!("no scratch directory can be made: {error}"))
            .next("name a place with room with --scratch")
    })?;
    let report = replica::replay(&args.data, scratch.path()).map_err(|error| failed(&error))?;
    let (word, failure) = told(report.verdict);
    let body = json!({
        "applied_index": report.applied_index.0,
        "committed_index": report.committed_index.0,
        "state_hash": report.state_hash.to_string(),
        "replay_hash": report.replay_hash.to_string(),
        "tree_size": report.tree_size,
        "tree_root": report.tree_root.to_string(),
        "equal": report.verdict == ReplayVerdict::Equal,
        "verdict": word,
    });
    output.fields(&body, REPLAY);
    failure.map_or(Ok(Exit::Done), Err)
}

/// The word for a verdict, and what a person is told of it.
fn told(verdict: ReplayVerdict) -> (&'static str, Option<Failure>) {
    match verdict {
        ReplayVerdict::Equal => ("equal", None),
        ReplayVerdict::Differs => (
            "differs",
            Some(
                Failure::refused("the stored state is not what its log makes")
                    .next("keep the data as it is, remove the node from its cluster and report it"),
            ),
        ),
        ReplayVerdict::Behind => (
            "behind",
            Some(
                Failure::refused("the log goes further than the stored state, as after a kill")
                    .next("start the node once, stop it in order, and look again"),
            ),
        ),
        ReplayVerdict::Missing => (
            "missing",
            Some(
                Failure::refused("there is a log and no state beside it")
                    .next("put `state` and `CURRENT` back; keep the log as it is"),
            ),
        ),
    }
}

fn failed(error: &ReplayError) -> Failure {
    let failure = Failure::refused(error.to_string());
    match error {
        ReplayError::InUse(_) => failure.next("stop the node first"),
        ReplayError::NoData(_) => {
            failure.next("name the node's data_dir, e.g. .qgate/dev/node-1/data")
        }
        ReplayError::Copy { .. } => failure.next("name a place with room with --scratch"),
        _ => failure,
    }
}
