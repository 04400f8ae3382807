//! The gate as one binary: a node, a local cluster, and the command line for people and scripts.
//!
//! Promise: results on stdout, errors on stderr with what, why and what next, and an exit code
//! that says which kind of error it was.
#![forbid(unsafe_code)]

mod authority_dir;
mod bench;
mod cli;
mod commands;
mod config;
mod data_key;
mod demo;
mod dev_child;
mod dev_cluster;
mod dev_keys;
mod dev_ports;
mod dev_state;
mod disk_limits;
mod failure;
mod files;
mod first_key;
mod logging;
mod metrics_door;
mod output;
mod outward;
mod policy_files;
mod service_manager;
mod signals;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};
use failure::{Failure, Outcome};

/// A node makes and drops many small things per intent, on one thread and freed on another.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let output = cli.global.output();
    match run(cli) {
        Ok(exit) => exit.into(),
        Err(failure) if output.is_json() => {
            output::note(&failure.to_json().to_string());
            failure.exit.into()
        }
        Err(failure) => {
            output::note(&failure.to_string());
            failure.exit.into()
        }
    }
}

fn run(cli: Cli) -> Outcome {
    let Cli { global, command } = cli;
    let threads = match &command {
        Command::Serve(args) => args.threads(),
        _ => 1,
    };
    let runtime = runtime(threads)
        .map_err(|error| Failure::refused(format!("the runtime cannot start: {error}")))?;
    runtime.block_on(async {
        match command {
            Command::Dev(args) => commands::dev::run(args).await,
            Command::Demo(args) => commands::demo::run(global.output(), args).await,
            Command::Serve(args) => commands::serve::run(args).await,
            Command::Health(args) => commands::health::run(&global, &args).await,
            Command::Policy(command) => commands::policy::run(&global, command).await,
            Command::Destination(command) => commands::destination::run(&global, command).await,
            Command::Channel(command) => commands::channel::run(&global, command).await,
            Command::Intent(command) => commands::intent::run(&global, command).await,
            Command::Agent(command) => commands::agent::run(&global, command).await,
            Command::Namespace(command) => commands::namespace::run(&global, command).await,
            Command::Audit(command) => commands::audit::run(&global, command).await,
            Command::Cluster(command) => commands::cluster::run(&global, command).await,
            Command::Freeze(args) => commands::freeze::freeze(&global, args).await,
            Command::Unfreeze(args) => commands::freeze::unfreeze(&global, args).await,
            Command::Bench(args) => commands::bench::run(&global, args).await,
            Command::Inspect(args) => commands::inspect::run(global.output(), &args),
        }
    })
}

/// One thread passes a request on by calling, not by waking another. What other threads have
/// finished, a sync above all, goes before what this one has queued: a whole batch waits for it.
fn runtime(threads: usize) -> std::io::Result<tokio::runtime::Runtime> {
    use tokio::runtime::Builder;

    match threads {
        1 => Builder::new_current_thread().global_queue_interval(1).enable_all().build(),
        threads => Builder::new_multi_thread().worker_threads(threads).enable_all().build(),
    }
}
