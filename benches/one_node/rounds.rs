//! The rounds: every system in turn, each number printed as it comes, medians and quotients last.

use std::cell::Cell;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::Options;
use crate::disk::{WRITE_BYTES, append_and_sync};
use crate::gate::Gate;
use crate::load::{Numbers, Phase, Submit, Window, closed, open};
use crate::machine::{Disk, Machine, Ticks, family};
use crate::numbers::{Quantiles, median, quotient_down, quotient_up};
use crate::postgres::{Installed, Postgres};

/// Open-loop phases of each system.
const OPEN_REPEATS: u32 = 2;
/// Linux shows processor time to programs in hundredths of a second, on every platform.
const TICKS_PER_SECOND: u128 = 100;

/// More than this of one core beside both systems, and the run measures neither. What the kernel
/// does for a system under load counts as beside it, and stays below.
const QUIET_PERCENT_MAX: u128 = 50;
/// Puts a second line below the first.
const INDENT: &str = "            ";

/// What the closed-loop phases of one system gave, round by round.
#[derive(Default)]
struct Series {
    one_p50_ns: Vec<u64>,
    one_p99_ns: Vec<u64>,
    one_per_second: Vec<u64>,
    many_p50_ns: Vec<u64>,
    many_p99_ns: Vec<u64>,
    many_per_second: Vec<u64>,
}

struct Bench<'a> {
    options: &'a Options,
    machine: &'a Machine,
    home: &'a Path,
    numbers: Numbers,
    gate: Gate,
    postgres: Option<Postgres>,
    disk_p50_ns: Vec<u64>,
    gate_series: Series,
    postgres_series: Series,
    /// The most that everything else took in a phase, in per cent of a core.
    rest_percent_max: Cell<u128>,
}

/// Starts both systems, runs every round and prints what came of it.
pub(crate) async fn run(options: &Options, home: &Path, machine: &Machine) -> Result<()> {
    let numbers = Numbers::default();
    let gate = Gate::start(&options.gate, home).await.context("the gate cannot be measured")?;
    gate.prove(&numbers).await?;
    let postgres = start_postgres(options, home).await?;
    if let Some(postgres) = &postgres {
        postgres.prove(&numbers).await?;
    }
    let mut bench = Bench {
        options,
        machine,
        home,
        numbers,
        gate,
        postgres,
        disk_p50_ns: Vec::new(),
        gate_series: Series::default(),
        postgres_series: Series::default(),
        rest_percent_max: Cell::new(0),
    };
    println!(
        "\nclosed loop: a connection submits again when it is answered; a stall of the system"
    );
    println!("counts once per connection (coordinated omission), so p99 is at its kindest here");
    println!(
        "processor: 100 % is one core; counters cover warm-up too, the disk's all of the machine"
    );
    for round in 0..options.rounds {
        bench.round(round).await?;
    }
    bench.open_loop().await?;
    bench.summary();
    Ok(())
}

/// `None` where it is not wanted or cannot run here, which is said.
async fn start_postgres(options: &Options, home: &Path) -> Result<Option<Postgres>> {
    if options.no_postgres {
        println!("peer         PostgreSQL left out on request");
        return Ok(None);
    }
    let installed = match Installed::find() {
        Ok(installed) => installed,
        Err(reason) => {
            println!("peer         PostgreSQL is not measured: {reason:#}");
            return Ok(None);
        }
    };
    match Postgres::start(&installed, home).await {
        Ok(postgres) => {
            println!("peer         PostgreSQL, else as installed: {}", postgres.shown);
            Ok(Some(postgres))
        }
        Err(reason) => {
            println!("peer         PostgreSQL is not measured: {reason:#}");
            Ok(None)
        }
    }
}

impl Bench<'_> {
    async fn round(&mut self, round: u32) -> Result<()> {
        println!("\nround {} of {}", round + 1, self.options.rounds);
        let samples = self.options.samples;
        let before = self.machine.disk();
        let latencies = append_and_sync(self.home, samples)?;
        let counted = per_submit(self.machine.disk(), before, samples.into());
        let disk = latencies.quantiles();
        println!(
            "  disk      {WRITE_BYTES} B append + fdatasync, {samples} times, alone: {disk}\n\
             {INDENT}each {counted}"
        );
        self.disk_p50_ns.push(disk.p50_ns);
        if round.is_multiple_of(2) {
            self.gate_closed().await?;
            self.postgres_closed().await
        } else {
            self.postgres_closed().await?;
            self.gate_closed().await
        }
    }

    async fn gate_closed(&mut self) -> Result<()> {
        for count in [1, self.options.connections] {
            let mut connections = self.gate.connections(count).await?;
            let processes = vec![self.gate.node];
            let done = self.measure("gate", processes, &mut connections, None).await?;
            self.gate_series.add(count, &done);
        }
        Ok(())
    }

    async fn postgres_closed(&mut self) -> Result<()> {
        let Some(root) = self.postgres.as_ref().map(Postgres::id) else {
            return Ok(());
        };
        for count in [1, self.options.connections] {
            let Some(postgres) = &self.postgres else {
                return Ok(());
            };
            let mut connections = postgres.connections(count).await?;
            let processes = family(root);
            let done = self.measure("postgres", processes, &mut connections, None).await?;
            self.postgres_series.add(count, &done);
        }
        Ok(())
    }

    /// Both systems at one rate that both can hold.
    async fn open_loop(&mut self) -> Result<()> {
        let slower = match &self.postgres {
            Some(_) => self.gate_series.rate().min(self.postgres_series.rate()),
            None => self.gate_series.rate(),
        };
        let rate = self.options.rate.map_or(slower / 2, u64::from);
        println!("\nopen loop: {rate} submits/s are due at even times; a latency runs from then");
        let count = self.options.connections;
        for _ in 0..OPEN_REPEATS {
            let mut connections = self.gate.connections(count).await?;
            let processes = vec![self.gate.node];
            self.measure("gate", processes, &mut connections, Some(rate)).await?;
            if let Some(postgres) = &self.postgres {
                let root = postgres.id();
                let mut connections = postgres.connections(count).await?;
                self.measure("postgres", family(root), &mut connections, Some(rate)).await?;
            }
        }
        Ok(())
    }

    /// One phase, with the kernel's counters around it; the warm-up counts in those.
    async fn measure<S: Submit>(
        &self,
        name: &str,
        processes: Vec<u32>,
        connections: &mut Vec<S>,
        rate: Option<u64>,
    ) -> Result<(u64, Quantiles)> {
        let window = Window {
            warm_up: Duration::from_secs(self.options.warm_up),
            measured: Duration::from_secs(self.options.seconds),
        };
        let count = connections.len();
        let own = [std::process::id()];
        let began = Instant::now();
        let first = self.numbers.next();
        let disk = self.machine.disk();
        let [theirs, ours] = [Ticks::read(&processes), Ticks::read(&own)];
        let phase = match rate {
            None => closed(connections, window, &self.numbers).await,
            Some(rate) => open(connections, window, rate, &self.numbers).await,
        };
        let phase: Phase = phase.with_context(|| format!("{name}, {count} connections"))?;
        let (theirs, rest) = Ticks::read(&processes).since(&theirs);
        let (ours, _) = Ticks::read(&own).since(&ours);
        let took = began.elapsed();
        let submits = self.numbers.next() - first - 1;
        let counted = per_submit(self.machine.disk(), disk, submits);
        let [theirs, ours, rest] =
            [theirs, ours, rest.saturating_sub(ours)].map(|ticks| share(ticks, took));
        self.rest_percent_max.set(self.rest_percent_max.get().max(rest));
        let per_second = phase.per_second();
        let quantiles = phase.latencies.quantiles();
        println!(
            "  {name:<9} {count:>2} conn.: {per_second}/s, {quantiles}\n{INDENT}per submit \
             {counted}; processor {theirs} %, generator {ours} %, everything else {rest} %"
        );
        Ok((per_second, quantiles))
    }

    fn summary(&self) {
        let Self { gate_series: gate, postgres_series: postgres, options, .. } = self;
        let (rounds, count) = (options.rounds, options.connections);
        let disk = median(&self.disk_p50_ns);
        let rest = self.rest_percent_max.get();
        if rest > QUIET_PERCENT_MAX {
            println!("\nTHE MACHINE WAS NOT QUIET: something else took up to {rest} % of a core;");
            println!("what follows says how the systems share a busy machine, and nothing more");
        }
        println!("\nmedian of {rounds} rounds (quotients are rounded against the gate)");
        println!("  disk       4 KiB append + fdatasync: p50 {} us", disk.div_ceil(1_000));
        gate.print("gate", count);
        println!(
            "             p50 of 1 connection is {} times that of one append + fdatasync",
            quotient_up(median(&gate.one_p50_ns), disk)
        );
        if self.postgres.is_none() {
            println!("  postgres   not measured");
            return;
        }
        postgres.print("postgres", count);
        println!(
            "  gate / postgres, submits/s: {} at 1 connection, {} at {count} connections",
            quotient_down(median(&gate.one_per_second), median(&postgres.one_per_second)),
            quotient_down(gate.rate(), postgres.rate()),
        );
        println!(
            "  gate / postgres, p99:       {} at 1 connection, {} at {count} connections",
            quotient_up(median(&gate.one_p99_ns), median(&postgres.one_p99_ns)),
            quotient_up(median(&gate.many_p99_ns), median(&postgres.many_p99_ns)),
        );
    }
}

impl Series {
    fn add(&mut self, connections: u16, done: &(u64, Quantiles)) {
        let (per_second, quantiles) = *done;
        let (rates, p50s, p99s) = if connections == 1 {
            (&mut self.one_per_second, &mut self.one_p50_ns, &mut self.one_p99_ns)
        } else {
            (&mut self.many_per_second, &mut self.many_p50_ns, &mut self.many_p99_ns)
        };
        rates.push(per_second);
        p50s.push(quantiles.p50_ns);
        p99s.push(quantiles.p99_ns);
    }

    /// Median of the loaded phases.
    fn rate(&self) -> u64 {
        median(&self.many_per_second)
    }

    fn print(&self, name: &str, connections: u16) {
        let us = |values: &[u64]| median(values).div_ceil(1_000);
        println!(
            "  {name:<9}   1 connection: {}/s, p50 {} us, p99 {} us; {connections} connections: \
             {}/s, p50 {} us, p99 {} us",
            median(&self.one_per_second),
            us(&self.one_p50_ns),
            us(&self.one_p99_ns),
            self.rate(),
            us(&self.many_p50_ns),
            us(&self.many_p99_ns),
        );
    }
}

/// What the disk did per submit, or that the kernel does not tell.
fn per_submit(after: Option<Disk>, before: Option<Disk>, submits: u64) -> String {
    match after.and_then(|after| after.since(before)) {
        None => "unknown to the disk (no /proc/diskstats for it)".into(),
        Some(disk) => format!(
            "{} B to the disk, {} flushes of it",
            disk.written_bytes.div_ceil(submits.max(1)),
            quotient_up(disk.flushes, submits)
        ),
    }
}

/// Per cent of one core.
fn share(ticks: u64, took: Duration) -> u128 {
    u128::from(ticks) * 100 * 1_000 / TICKS_PER_SECOND / took.as_millis().max(1)
}
