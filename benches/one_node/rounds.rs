//! The rounds: every system in turn, each number printed as it comes, medians and quotients last.

use std::path::Path;

use anyhow::{Context, Result};

use crate::Options;
use crate::disk::{WRITE_BYTES, append_and_sync};
use crate::gate::Gate;
use crate::load::{Numbers, Window};
use crate::machine::{Machine, family};
use crate::measure::{Figures, INDENT, Meter, per_call};
use crate::numbers::{median, quotient_down, quotient_up};
use crate::postgres::{Installed, Postgres};

/// Open-loop phases of each system.
const OPEN_REPEATS: u32 = 2;
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
    home: &'a Path,
    meter: Meter<'a>,
    gate: Gate,
    postgres: Option<Postgres>,
    disk_p50_ns: Vec<u64>,
    gate_series: Series,
    postgres_series: Series,
}

/// Starts both systems, runs every round and prints what came of it.
pub(crate) async fn run(options: &Options, home: &Path, machine: &Machine) -> Result<()> {
    let numbers = Numbers::default();
    let gate =
        Gate::start(&options.place.gate, home).await.context("the gate cannot be measured")?;
    gate.prove(&numbers).await?;
    let postgres = start_postgres(options, home).await?;
    if let Some(postgres) = &postgres {
        postgres.prove(&numbers).await?;
    }
    let window = Window::of_seconds(options.warm_up, options.seconds);
    let mut bench = Bench {
        options,
        home,
        meter: Meter::new(machine, numbers, window),
        gate,
        postgres,
        disk_p50_ns: Vec::new(),
        gate_series: Series::default(),
        postgres_series: Series::default(),
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
        let before = self.meter.machine.disk();
        let latencies = append_and_sync(self.home, samples)?;
        let counted = per_call(self.meter.machine.disk(), before, samples.into());
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
            let done = self.meter.measure("gate", processes, &mut connections, None).await?;
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
            let done = self.meter.measure("postgres", processes, &mut connections, None).await?;
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
            self.meter.measure("gate", processes, &mut connections, Some(rate)).await?;
            if let Some(postgres) = &self.postgres {
                let root = postgres.id();
                let mut connections = postgres.connections(count).await?;
                self.meter.measure("postgres", family(root), &mut connections, Some(rate)).await?;
            }
        }
        Ok(())
    }

    fn summary(&self) {
        let Self { gate_series: gate, postgres_series: postgres, options, .. } = self;
        let (rounds, count) = (options.rounds, options.connections);
        let disk = median(&self.disk_p50_ns);
        self.meter.print_if_not_quiet();
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
    fn add(&mut self, connections: u16, done: &Figures) {
        let Figures { per_second, quantiles } = *done;
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
