//! `qgate health`: whether a node lives, or is ready, as an exit code for whatever watches it.

use std::time::{Duration, Instant};

use clap::Args;
use client::{Error, Request};

use crate::cli::Global;
use crate::commands::agent::seconds;
use crate::failure::{Exit, Failure, Outcome};

/// How long one question may take: what asks is itself in a hurry.
const ASK: Duration = Duration::from_secs(4);
/// The rest between two questions.
const REST: Duration = Duration::from_millis(250);

/// Ask whether a node lives, or with --ready whether it answers requests; needs no key.
#[derive(Debug, Args)]
#[command(after_help = "Example: qgate health --ready --wait 60s && qgate intent list\n\n\
    A node lives as long as its process answers: what restarts a node that does not should ask\n\
    this, without --ready. It is ready while a leader is known and a majority confirms it, so a\n\
    node without a majority is not ready, and starting it again would not help.\n\n\
    Exit codes: 0 it lives or is ready, 3 nobody answers, 4 it lives and is not ready.")]
pub(crate) struct HealthArgs {
    /// Ask whether it answers requests, not only whether it lives
    #[arg(long)]
    ready: bool,
    /// Ask again until it is so, at most so long, e.g. 60s
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = seconds)]
    wait: u64,
}

/// Runs `qgate health`.
pub(crate) async fn run(global: &Global, args: &HealthArgs) -> Outcome {
    let client = global.client_within(ASK)?;
    let path = if args.ready { "readyz" } else { "livez" };
    let ends = Instant::now() + Duration::from_secs(args.wait);
    loop {
        let error = match client.send(Request::get(&[path]).anonymous()).await {
            Ok(answer) => {
                global.output().fields(&answer.body, &[("status", &["status"])]);
                return Ok(Exit::Done);
            }
            Err(error) => error,
        };
        let may_come = matches!(error, Error::Unreachable(_) | Error::NoQuorum(_));
        if !may_come || Instant::now() >= ends {
            return Err(Failure::from(error));
        }
        tokio::time::sleep(REST).await;
    }
}
