//! The phases of each round: both systems in turn, medians and quotients last.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};

use crate::Options;
use crate::etcd::{Etcd, What};
use crate::gates::Gates;
use crate::load::{Numbers, Window};
use crate::machine::Machine;
use crate::measure::{Figures, Meter};
use crate::numbers::{median, quotient_down, quotient_up};

/// Intents that are there before the first phase, for those that read.
const READABLE: u64 = 1_000;

/// What is measured, of both systems alike. In the order of a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    /// By so many callers, at the leader.
    Write(u16),
    Batch(u16),
    ReadAtLeader(u16),
    ReadAtFollower(u16),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum System {
    Gate,
    Etcd,
}

/// What one phase of one system gave, round by round.
#[derive(Default)]
struct Series {
    per_second: Vec<u64>,
    p50_ns: Vec<u64>,
    p99_ns: Vec<u64>,
}

struct Bench<'a> {
    options: &'a Options,
    meter: Meter<'a>,
    gates: Gates,
    readable: Vec<String>,
    etcd: Option<Etcd>,
    series: BTreeMap<(Phase, System), Series>,
}

/// Starts both systems, runs every round and prints what came of it.
pub(crate) async fn run(options: &Options, home: &Path, machine: &Machine) -> Result<()> {
    let numbers = Numbers::default();
    let gates = Gates::start(&options.place.gate, home);
    let readable = gates.prove(&numbers, READABLE).await.context("the gate cannot be measured")?;
    let etcd = match &options.etcd {
        Some(binary) => Some(Etcd::start(binary, home).await.context("etcd cannot be measured")?),
        None => None,
    };
    if let Some(etcd) = &etcd {
        println!("peer         {}, three members, else as it comes", etcd.shown);
        let mut callers = etcd.callers(etcd.leader().await?, 1, &What::Create).await?;
        let caller = callers.first_mut().context("no caller")?;
        for number in 0..READABLE {
            caller.create(vec![crate::callers::lead_id(number)]).await?;
        }
    } else {
        println!("peer         none: etcd is measured where --etcd names it");
    }
    let window = Window::of_seconds(options.warm_up, options.seconds);
    let meter = Meter::new(machine, numbers, window);
    let series = BTreeMap::new();
    let mut bench = Bench { options, meter, gates, readable, etcd, series };
    println!(
        "\nclosed loop: a caller calls again when it is answered; a stall of the system counts"
    );
    println!(
        "once per caller (coordinated omission), so p99 is at its kindest here; processor: of"
    );
    println!("all three nodes, 100 % is one core; counters cover warm-up, the disk's the machine");
    let terms = bench.terms().await?;
    for round in 0..options.rounds {
        println!("\nround {} of {}", round + 1, options.rounds);
        for phase in phases(options) {
            let mut systems = [System::Gate, System::Etcd];
            if round % 2 == 1 {
                systems.reverse();
            }
            for system in systems {
                bench.measure(phase, system).await?;
            }
        }
    }
    let changes = bench.terms().await?;
    bench.summary();
    println!("\nchanges of the leader meanwhile (0 is wanted)");
    for (system, (before, after)) in ["gate", "etcd"].iter().zip(terms.iter().zip(&changes)) {
        println!("  {system:<9} {}", after.saturating_sub(*before));
    }
    Ok(())
}

fn phases(options: &Options) -> Vec<Phase> {
    let mut phases: Vec<Phase> = options.callers.iter().copied().map(Phase::Write).collect();
    if options.batchers > 0 {
        phases.push(Phase::Batch(options.batchers));
    }
    if options.readers > 0 {
        phases.push(Phase::ReadAtLeader(options.readers));
        phases.push(Phase::ReadAtFollower(options.readers));
    }
    phases
}

impl Bench<'_> {
    async fn terms(&self) -> Result<Vec<u64>> {
        let mut terms = vec![self.gates.term().await?];
        if let Some(etcd) = &self.etcd {
            terms.push(etcd.term().await?);
        }
        Ok(terms)
    }

    async fn measure(&mut self, phase: Phase, system: System) -> Result<()> {
        let done = match (system, &self.etcd) {
            (System::Gate, _) => self.measure_gates(phase).await?,
            (System::Etcd, Some(etcd)) => self.measure_etcd(phase, etcd).await?,
            (System::Etcd, None) => return Ok(()),
        };
        let series = self.series.entry((phase, system)).or_default();
        series.per_second.push(done.per_second);
        series.p50_ns.push(done.quantiles.p50_ns);
        series.p99_ns.push(done.quantiles.p99_ns);
        Ok(())
    }

    async fn measure_gates(&self, phase: Phase) -> Result<Figures> {
        let Self { gates, meter, readable, .. } = self;
        let name = format!("gate {}", phase.name());
        let processes = gates.processes();
        let leader = gates.leader().await;
        match phase {
            Phase::Write(count) => {
                let mut callers = gates.submits(leader, count).await?;
                meter.measure(&name, processes, &mut callers, None).await
            }
            Phase::Batch(count) => {
                let mut callers = gates.batches(leader, count, self.options.batch).await?;
                meter.measure(&name, processes, &mut callers, None).await
            }
            Phase::ReadAtLeader(count) => {
                let mut callers = gates.reads(leader, count, readable).await?;
                meter.measure(&name, processes, &mut callers, None).await
            }
            Phase::ReadAtFollower(count) => {
                let mut callers = gates.reads(gates.follower().await, count, readable).await?;
                meter.measure(&name, processes, &mut callers, None).await
            }
        }
    }

    async fn measure_etcd(&self, phase: Phase, etcd: &Etcd) -> Result<Figures> {
        let leader = etcd.leader().await?;
        let (member, count, what) = match phase {
            Phase::Write(count) => (leader, count, What::Create),
            Phase::Batch(count) => (leader, count, What::CreateMany(self.options.batch)),
            Phase::ReadAtLeader(count) => (leader, count, What::Read(READABLE)),
            Phase::ReadAtFollower(count) => ((leader + 1) % 3, count, What::Read(READABLE)),
        };
        let mut callers = etcd.callers(member, count, &what).await?;
        let name = format!("etcd {}", phase.name());
        self.meter.measure(&name, etcd.processes(), &mut callers, None).await
    }

    fn summary(&self) {
        self.meter.print_if_not_quiet();
        println!(
            "\nmedian of {} rounds (quotients are rounded against the gate); a batch is {} intents",
            self.options.rounds, self.options.batch
        );
        for phase in phases(self.options) {
            println!("  {}, {} callers", phase.name(), phase.callers());
            let [gate, etcd] =
                [System::Gate, System::Etcd].map(|system| self.series.get(&(phase, system)));
            for (name, series) in [("gate", gate), ("etcd", etcd)] {
                if let Some(series) = series {
                    series.print(name, phase.each(self.options.batch));
                }
            }
            if let (Some(gate), Some(etcd)) = (gate, etcd) {
                let (ours, theirs) = (median(&gate.per_second), median(&etcd.per_second));
                println!(
                    "    gate / etcd: {} of calls/s, {} of p99{}",
                    quotient_down(ours, theirs),
                    quotient_up(median(&gate.p99_ns), median(&etcd.p99_ns)),
                    phase.goal().map_or_else(String::new, |goal| judged(goal, ours, theirs)),
                );
                self.print_beside_single(phase, gate);
            }
        }
    }

    /// Batches stand beside etcd's transactions of one key too.
    fn print_beside_single(&self, phase: Phase, gate: &Series) {
        let single = Phase::Write(256);
        if let (Phase::Batch(_), Some(etcd)) = (phase, self.series.get(&(single, System::Etcd))) {
            let intents = median(&gate.per_second) * self.options.batch;
            println!(
                "    gate's intents/s / etcd's single transactions/s at {} callers: {}",
                single.callers(),
                quotient_down(intents, median(&etcd.per_second))
            );
        }
    }
}

/// Whether a quotient in hundredths reaches its goal.
fn judged(goal: u64, ours: u64, theirs: u64) -> String {
    let word = if ours * 100 >= theirs * goal { "reached" } else { "missed" };
    format!("; the goal of {}.{:02} of calls/s is {word}", goal / 100, goal % 100)
}

impl Phase {
    /// The quotient of calls per second that the gate is to have, in hundredths.
    fn goal(self) -> Option<u64> {
        match self {
            Self::Write(1) => Some(120),
            Self::Write(16) => Some(230),
            Self::Write(64) => Some(350),
            Self::Write(256 | 1_024) => Some(450),
            Self::Batch(16) => Some(600),
            Self::ReadAtLeader(256) | Self::ReadAtFollower(256) => Some(250),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Write(_) => "writes",
            Self::Batch(_) => "batches",
            Self::ReadAtLeader(_) => "reads at the leader",
            Self::ReadAtFollower(_) => "reads at a follower",
        }
    }

    fn callers(self) -> u16 {
        let (Self::Write(count)
        | Self::Batch(count)
        | Self::ReadAtLeader(count)
        | Self::ReadAtFollower(count)) = self;
        count
    }

    /// Intents of one call.
    fn each(self, batch: u64) -> u64 {
        if matches!(self, Self::Batch(_)) { batch } else { 1 }
    }
}

impl Series {
    fn print(&self, name: &str, each: u64) {
        let us = |values: &[u64]| median(values).div_ceil(1_000);
        println!(
            "    {name:<6} {} intents/s, p50 {} us, p99 {} us; by rounds {:?} calls/s",
            median(&self.per_second) * each,
            us(&self.p50_ns),
            us(&self.p99_ns),
            self.per_second,
        );
    }
}
