//! One gate, its disk and PostgreSQL, measured side by side in one run on one machine.
//!
//! `cargo bench --workspace --bench one_node -- --help` lists what can be changed. Everything runs
//! on loopback, below one directory that is removed at the end, and every process that was started
//! on loopback, below one directory that is removed at the end, and every process that was
//! started is stopped by its id. Promise: a number stands beside what it was measured on, ratios
//! are rounded against the gate, and a phase in which a request failed makes the run fail.
#![allow(clippy::print_stdout, reason = "its output is what it is for")]

#[path = "one_node/disk.rs"]
mod disk;
#[path = "one_node/gate.rs"]
mod gate;
#[path = "one_node/http.rs"]
mod http;
#[path = "one_node/load.rs"]
mod load;
#[path = "one_node/machine.rs"]
mod machine;
#[path = "one_node/numbers.rs"]
mod numbers;
#[path = "one_node/postgres.rs"]
mod postgres;
#[path = "one_node/process.rs"]
mod process;
#[path = "one_node/rounds.rs"]
mod rounds;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use crate::machine::Machine;

/// Measures submits of one gate beside its disk and beside PostgreSQL.
#[derive(Debug, Parser)]
pub(crate) struct Options {
    /// Seconds that one phase is measured
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Seconds of load before each measurement
    #[arg(long, default_value_t = 2)]
    warm_up: u64,
    /// Rounds; the order of the two systems changes from one to the next
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99))]
    rounds: u32,
    /// Connections of the loaded phases
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=90))]
    connections: u16,
    /// Submits per second of the open-loop phase; without it half of what the slower system reached
    #[arg(long)]
    rate: Option<u32>,
    /// Samples of one write and fdatasync, in each round
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    samples: u32,
    /// Leave PostgreSQL out
    #[arg(long)]
    no_postgres: bool,
    /// The gate to measure; `make bench` gives the one that is shipped, as `make dist` builds it
    #[arg(long, value_name = "FILE", default_value = env!("CARGO_BIN_EXE_qgate"))]
    gate: PathBuf,
    /// Where the data of all systems lies while it runs
    #[arg(long, default_value = env!("CARGO_TARGET_TMPDIR"))]
    dir: PathBuf,
    /// Passed by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    // The generator gets one thread, so that it takes at most one core from what it measures.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = match runtime {
        Ok(runtime) => runtime.block_on(until_stopped(Options::parse())),
        Err(error) => Err(error.into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("\nfailed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// A signal ends the run as a failure does: everything that was started is stopped.
async fn until_stopped(options: Options) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        done = run(&options) => done,
        _ = terminate.recv() => anyhow::bail!("stopped by SIGTERM"),
        _ = interrupt.recv() => anyhow::bail!("stopped by SIGINT"),
    }
}

async fn run(options: &Options) -> Result<()> {
    std::fs::create_dir_all(&options.dir)
        .with_context(|| format!("cannot make {}", options.dir.display()))?;
    let home = tempfile::Builder::new().prefix("one-node-").tempdir_in(&options.dir)?;
    let machine = Machine::of(home.path())?;
    println!("one gate on this machine; nothing here says anything about another one");
    println!("machine      {machine}");
    println!("build        {}", gate::build(&options.gate)?);
    println!(
        "load         from this process, one thread, on the same cores; {} s a phase after {} s \
         of warm-up",
        options.seconds, options.warm_up
    );
    rounds::run(options, home.path(), &machine).await
}
