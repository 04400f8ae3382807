//! `qgate-sim`: a cluster in one process, with network, time and disks from one seed.
//!
//! Promise: the same seed gives the same run, event by event; the last line has its hash.
//! Invariant: one process runs one seed, on one thread; whatever a node draws or looks up comes
//! from the seed or from simulated time.
#![forbid(unsafe_code)]

mod clock;
mod cluster;
mod damage;
mod faults;
mod freezing;
mod http;
mod judge;
mod node;
mod notes;
mod shorten;
mod trace;
mod workload;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use bugs::Bug;
use clap::Parser;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::clock::Drift;
use crate::cluster::{Cluster, NODES};
use crate::trace::Trace;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs a cluster of three nodes under faults, all of it from one seed.
#[derive(Debug, Parser)]
struct Args {
    /// What everything follows from, e.g. 7
    #[arg(long, required_unless_present = "list_bugs", default_value_t = 0)]
    seed: u64,
    /// Simulated minutes, e.g. 1
    #[arg(long, default_value_t = 1)]
    minutes: u64,
    /// Print every event
    #[arg(long)]
    events: bool,
    /// Let only the first so many faults befall the nodes, e.g. 3
    #[arg(long)]
    faults: Option<u64>,
    /// Look for no shorter run where a promise was broken
    #[arg(long)]
    once: bool,
    /// Give every node a bug, e.g. no-rest
    #[arg(long, value_name = "NAME", value_parser = bug)]
    bug: Option<Bug>,
    /// Name the bugs that there are
    #[arg(long)]
    list_bugs: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if args.list_bugs {
        Bug::ALL.iter().for_each(|bug| line(bug.name()));
        return ExitCode::SUCCESS;
    }
    if !args.once {
        return shorten::run(args.faults, args.events);
    }
    if let Some(bug) = args.bug {
        bug.plant();
    }
    let dir = tempfile::Builder::new().prefix("qgate-sim").tempdir_in("/dev/shm");
    let dir = dir.expect("a directory");
    // Relative paths, so that no event says where this run lies.
    std::env::set_current_dir(dir.path()).expect("it is there");
    let trace = Trace::start(args.events);
    end_with_a_panic(args.seed, trace.clone(), dir.path().to_owned());
    // From here on randomness and clocks are simulated.
    mad_turmoil::rand::set_rng(StdRng::seed_from_u64(args.seed));
    let _clocks = mad_turmoil::time::SimClocksGuard::init();
    let mut plan = StdRng::seed_from_u64(args.seed);
    let mut sim = turmoil::Builder::new()
        .rng_seed(plan.random())
        .tick_duration(Duration::from_millis(1))
        .simulation_duration(Duration::from_secs(args.minutes * 60 + 120))
        .min_message_latency(Duration::from_micros(200))
        .max_message_latency(Duration::from_millis(5))
        .tcp_capacity(1 << 16)
        .ephemeral_ports(10_000..=65_535)
        .enable_random_order()
        .build();
    let (drift, is_to_be_damaged) = (Drift::of(args.seed), damage::befalls(args.seed));
    let cluster = Rc::new(Cluster::new(&mut plan, drift, is_to_be_damaged));
    for id in NODES {
        let cluster = cluster.clone();
        sim.host(format!("n{id}"), move || node::run(id, cluster.clone()));
    }
    workload::start(&mut sim, &cluster);
    let lasts = Duration::from_secs(args.minutes * 60);
    let most = args.faults.unwrap_or(u64::MAX);
    let outcome = faults::drive(&mut sim, &cluster, &mut plan, lasts, most);
    let hash = trace.hash();
    cluster.count(|counts| counts.installs = NODES.map(cluster::installs).sum());
    let counts = cluster.counts();
    line(&format!("{} events, {counts}", trace.count()));
    // A run with fewer faults than it would have only looks for a violation.
    let proves = || match args.faults {
        None => counts.must_prove_something(),
        Some(_) => Ok(()),
    };
    match outcome.and_then(|()| proves()) {
        Ok(()) => {
            line(&format!("seed {} trace {hash} ok", args.seed));
            ExitCode::SUCCESS
        }
        Err(what) => {
            line(&format!("seed {} trace {hash} violation: {what}", args.seed));
            ExitCode::FAILURE
        }
    }
}

fn bug(name: &str) -> Result<Bug, String> {
    let found = Bug::ALL.into_iter().find(|bug| bug.name() == name);
    found.ok_or_else(|| "no such bug; --list-bugs names them".to_owned())
}

/// A panic ends the run there and then: what is dropped after it panics again.
fn end_with_a_panic(seed: u64, trace: Trace, dir: PathBuf) {
    std::panic::set_hook(Box::new(move |panic| {
        let what = panic.to_string().replace('\n', " ");
        line(&format!("seed {seed} trace {} violation: {what}", trace.hash()));
        _ = std::fs::remove_dir_all(&dir);
        std::process::exit(1);
    }));
}

fn line(text: &str) {
    _ = writeln!(std::io::stdout(), "{text}");
}
