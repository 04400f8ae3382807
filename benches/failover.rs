//! The leader of a cluster of three is killed under load, again and again: how long until the
//! cluster takes new intents, and whether anything was lost, doubled or left undecided.
//!
//! `cargo bench --workspace --bench failover -- --help` lists what can be changed. Everything runs
//! on loopback, below one directory that is removed at the end. Promise: a time runs from the kill
//! to the first success of a key that was first sent after it, and a run in which a promise of the
//! gate was broken, or a goal missed, fails.
#![allow(clippy::print_stdout, reason = "its output is what it is for")]

#[allow(clippy::unwrap_used, reason = "shared with the tests, where it is allowed")]
#[path = "../tests/support/mod.rs"]
mod support;

#[path = "common/run.rs"]
mod run;

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::Parser;
use rustix::process::Signal;
use support::cluster::Cluster;
use support::history::{Asked, Faults};
use support::load::{Load, listed, send_again};
use support::ports::base_port;

/// The goals, on a local network.
const P50_MAX: Duration = Duration::from_millis(600);
const P99_MAX: Duration = Duration::from_secs(2);
/// Kills from one line of progress to the next.
const PROGRESS_EVERY: usize = 20;
const POLICIES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/incident");

/// Kills the leader of a cluster of three under load, and times each recovery.
#[derive(Debug, Parser)]
struct Options {
    /// How often the leader is killed
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    kills: u32,
    /// Clients, two keys at a time each
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=256))]
    clients: u32,
    /// Milliseconds after which a client asks for a new lead, while it is answered in time
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u64).range(1..))]
    every_ms: u64,
    /// Keys that have their answer between two kills, at least
    #[arg(long, default_value_t = 300)]
    answers: usize,
    #[command(flatten)]
    place: run::Place,
}

fn main() -> ExitCode {
    let options = Options::parse();
    // The load has a thread of its own: the main one waits for processes.
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    run::to_the_end(runtime.worker_threads(1), run(&options))
}

async fn run(options: &Options) -> Result<()> {
    let home = options.place.home("failover-")?;
    let Options { kills, clients, every_ms, .. } = options;
    println!(
        "three nodes and their load on this machine, profile lan; {kills} kills of the leader"
    );
    println!("build        {}", options.place.build()?);
    println!("load         {clients} clients, two keys each every {every_ms} ms\n");
    let mut cluster =
        Cluster::start(&options.place.gate, home.path(), Path::new(POLICIES), 3, base_port());
    let began = Instant::now();
    let (mut times, mut asked) = kill_all(&mut cluster, options).await;
    println!("\n{} keys in {} s; looking at each\n", asked.len(), began.elapsed().as_secs());

    let again: Vec<_> = (0..3).map(|first| cluster.client("/agent_key", first)).collect();
    send_again(&again, &mut asked).await;
    let faults = Faults::of(&asked, &listed(&cluster.client("/auditor_key", 0)).await);
    cluster.equal().await;
    cluster.stop(&cluster.ids());

    times.sort_unstable();
    let [p50, p90, p99, max] = [500, 900, 990, 1_000].map(|thousandths| at(&times, thousandths));
    let ms = |time: Duration| time.as_micros().div_ceil(1_000);
    println!("from a kill to the first new success, of {} kills", times.len());
    println!("  p50 {} ms, p90 {} ms, p99 {} ms, max {} ms", ms(p50), ms(p90), ms(p99), ms(max));
    println!("  the goals: p50 {} ms, p99 {} ms", ms(P50_MAX), ms(P99_MAX));
    println!("keys         {faults}");
    let fast = p50 <= P50_MAX && p99 <= P99_MAX;
    ensure!(faults.is_empty(), "a promise was broken");
    ensure!(fast, "nothing was lost, and a goal was missed");
    println!("\nnothing was lost, doubled or left undecided");
    Ok(())
}

/// Kills the leader so many times under load; the times, and what the load was told.
async fn kill_all(cluster: &mut Cluster, options: &Options) -> (Vec<Duration>, Vec<Asked>) {
    let pairs = cluster.pairs(usize::try_from(options.clients).expect("a small number"));
    let mut load = Load::start(pairs, Duration::from_millis(options.every_ms));
    let mut times = Vec::new();
    for kill in 1..=usize::try_from(options.kills).expect("a small number") {
        // An uneven count, so that kills meet different points of a batch.
        load.answers(options.answers + kill * 37 % 100).await;
        let leader = cluster.leader().await;
        let killed = Instant::now();
        cluster.signal(leader, Signal::KILL);
        load.mark(killed);
        cluster.gone(leader);
        times.push(load.first_success().await);
        cluster.start_again(leader);
        cluster.ready(leader).await;
        if kill % PROGRESS_EVERY == 0 {
            let last = &times[times.len() - PROGRESS_EVERY..];
            let ms: Vec<_> = last.iter().map(Duration::as_millis).collect();
            println!("  up to kill {kill:>4}, ms: {ms:?}");
        }
    }
    (times, load.stop().await)
}

/// Nearest rank: the smallest with at least this share at or below it.
fn at(sorted: &[Duration], thousandths: usize) -> Duration {
    let rank = (sorted.len() * thousandths).div_ceil(1_000).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}
