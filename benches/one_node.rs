//! One gate, its disk and PostgreSQL, measured side by side in one run on one machine.
//!
//! `cargo bench --workspace --bench one_node -- --help` lists what can be changed. Everything runs
//! on loopback, below one directory that is removed at the end, and every process that was
//! started is stopped by its id. Promise: a number stands beside what it was measured on, ratios
//! are rounded against the gate, and a phase in which a request failed makes the run fail.
#![allow(clippy::print_stdout, reason = "its output is what it is for")]

#[path = "common/callers.rs"]
mod callers;
#[path = "one_node/disk.rs"]
mod disk;
#[path = "one_node/gate.rs"]
mod gate;
#[path = "common/http.rs"]
mod http;
#[path = "common/load.rs"]
mod load;
#[path = "common/machine.rs"]
mod machine;
#[path = "common/measure.rs"]
mod measure;
#[path = "common/numbers.rs"]
mod numbers;
#[path = "../tests/support/ports.rs"]
mod ports;
#[path = "one_node/postgres.rs"]
mod postgres;
#[path = "common/process.rs"]
mod process;
#[path = "one_node/rounds.rs"]
mod rounds;
#[path = "common/run.rs"]
mod run;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use tokio::runtime::Builder;

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
    #[command(flatten)]
    place: run::Place,
}

fn main() -> ExitCode {
    let options = Options::parse();
    run::to_the_end(&mut Builder::new_current_thread(), run(&options))
}

async fn run(options: &Options) -> Result<()> {
    let home = options.place.home("one-node-")?;
    let machine = Machine::of(home.path())?;
    println!("one gate on this machine; nothing here says anything about another one");
    println!("machine      {machine}");
    println!("build        {}", options.place.build()?);
    println!(
        "load         from this process, one thread, on the same cores; {} s a phase after {} s \
         of warm-up",
        options.seconds, options.warm_up
    );
    rounds::run(options, home.path(), &machine).await
}
