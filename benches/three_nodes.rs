//! Three gates beside three members of etcd, measured in turn in one run on one machine.
//!
//! `cargo bench --workspace --bench three_nodes -- --help` lists what can be changed. Everything
//! runs on loopback, below one directory that is removed at the end, and every process that was
//! started is stopped by its id. The gate does all of its work: HTTP, the check of the key, the
//! policies of the incidents, the search for duplicates, the audit leaf. etcd does the part of it
//! that it has: a transaction that puts the payload unless the key is there. Promise: a number
//! stands beside what it was measured on, quotients are rounded against the gate, and a phase in
//! which a request failed makes the run fail.
#![allow(clippy::print_stdout, reason = "its output is what it is for")]

#[path = "common/callers.rs"]
mod callers;
#[path = "three_nodes/etcd.rs"]
mod etcd;
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
#[path = "three_nodes/phases.rs"]
mod phases;
#[path = "common/process.rs"]
mod process;
#[path = "common/run.rs"]
mod run;
#[allow(clippy::unwrap_used, reason = "shared with the tests, where it is allowed")]
#[path = "../tests/support/mod.rs"]
mod support;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use tokio::runtime::Builder;

use crate::machine::Machine;

/// Measures three gates beside three members of etcd.
#[derive(Debug, Parser)]
pub(crate) struct Options {
    /// Seconds that one phase is measured
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Seconds of load before each measurement
    #[arg(long, default_value_t = 2)]
    warm_up: u64,
    /// Rounds; the order of the two systems changes from one to the next
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99))]
    rounds: u32,
    /// Callers of the phases that write
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16, 64, 256, 1024])]
    callers: Vec<u16>,
    /// Callers of the phases that read; 0 leaves them out
    #[arg(long, default_value_t = 256)]
    readers: u16,
    /// Callers of the phases that write batches; 0 leaves them out
    #[arg(long, default_value_t = 16)]
    batchers: u16,
    /// Intents of one batch
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    batch: u64,
    /// The program etcd, version 3.5; `make bench-cluster` fetches it
    #[arg(long, value_name = "FILE")]
    etcd: Option<PathBuf>,
    #[command(flatten)]
    place: run::Place,
}

fn main() -> ExitCode {
    let options = Options::parse();
    run::to_the_end(&mut Builder::new_current_thread(), run(&options))
}

async fn run(options: &Options) -> Result<()> {
    let home = options.place.home("three-nodes-")?;
    let machine = Machine::of(home.path())?;
    println!("three nodes on this machine; nothing here says anything about another one");
    println!("machine      {machine}");
    println!("build        {}", options.place.build()?);
    println!(
        "load         from this process, one thread, on the same cores; {} s a phase after {} s \
         of warm-up",
        options.seconds, options.warm_up
    );
    phases::run(options, home.path(), &machine).await
}
