//! What stored intents cost: three gates measured when they hold few, and when they hold many.
//!
//! `cargo bench --workspace --bench growth -- --help` lists what can be changed. Everything runs on
//! loopback, below one directory that is removed at the end. Promise: a number stands beside what
//! it was measured on, and quotients are rounded against the gate.
#![allow(clippy::print_stdout, reason = "its output is what it is for")]

#[path = "common/callers.rs"]
mod callers;
#[path = "common/gates.rs"]
mod gates;
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
#[path = "common/run.rs"]
mod run;
#[path = "growth/stages.rs"]
mod stages;
#[allow(clippy::unwrap_used, reason = "shared with the tests, where it is allowed")]
#[path = "../tests/support/mod.rs"]
mod support;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use tokio::runtime::Builder;

use crate::machine::Machine;

/// Measures three gates at growing numbers of stored intents.
#[derive(Debug, Parser)]
pub(crate) struct Options {
    /// Stored intents at which it is measured, growing
    #[arg(long, value_delimiter = ',', default_values_t = [10_000, 1_000_000])]
    intents: Vec<u64>,
    /// Seconds that one phase is measured
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Callers under measurement
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1_024))]
    callers: u16,
    #[command(flatten)]
    place: run::Place,
}

fn main() -> ExitCode {
    let options = Options::parse();
    run::to_the_end(&mut Builder::new_current_thread(), run(&options))
}

async fn run(options: &Options) -> Result<()> {
    let home = options.place.home("growth-")?;
    let machine = Machine::of(home.path())?;
    println!("three nodes on this machine; nothing here says anything about another one");
    println!("machine      {machine}");
    println!("build        {}", options.place.build()?);
    stages::run(options, home.path(), &machine).await
}
