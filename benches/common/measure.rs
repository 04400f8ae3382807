//! One phase of load, with the kernel's counters around it, printed as it comes.
#![allow(dead_code, reason = "each bench uses its part of it")]

use std::cell::Cell;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::load::{Caller, Numbers, Phase, Window, closed, open};
use crate::machine::{Disk, Machine, Ticks};
use crate::numbers::{Quantiles, quotient_up};

/// Linux shows processor time to programs in hundredths of a second, on every platform.
const TICKS_PER_SECOND: u128 = 100;
/// More than this of one core beside the systems, and the run measures none of them. What the
/// kernel does for a system under load counts as beside it, and stays below.
const QUIET_PERCENT_MAX: u128 = 50;
/// Puts a second line below the first.
pub(crate) const INDENT: &str = "            ";

/// What measures.
pub(crate) struct Meter<'a> {
    pub(crate) machine: &'a Machine,
    pub(crate) numbers: Numbers,
    window: Window,
    /// The most that everything else took in a phase, in per cent of a core.
    rest_percent_max: Cell<u128>,
}

/// What a phase gave.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figures {
    pub(crate) per_second: u64,
    pub(crate) quantiles: Quantiles,
}

impl<'a> Meter<'a> {
    pub(crate) fn new(machine: &'a Machine, numbers: Numbers, window: Window) -> Self {
        Self { machine, numbers, window, rest_percent_max: Cell::new(0) }
    }

    /// One phase: a closed loop, or an open one at a rate. The counters cover the warm-up too.
    pub(crate) async fn measure<C: Caller>(
        &self,
        name: &str,
        processes: Vec<u32>,
        callers: &mut Vec<C>,
        rate: Option<u64>,
    ) -> Result<Figures> {
        let count = callers.len();
        let own = [std::process::id()];
        let began = Instant::now();
        let first = self.numbers.next();
        let disk = self.machine.disk();
        let [theirs, ours] = [Ticks::read(&processes), Ticks::read(&own)];
        let phase = match rate {
            None => closed(callers, self.window, &self.numbers).await,
            Some(rate) => open(callers, self.window, rate, &self.numbers).await,
        };
        let phase: Phase = phase.with_context(|| format!("{name}, {count} callers"))?;
        let (theirs, rest) = Ticks::read(&processes).since(&theirs);
        let (ours, _) = Ticks::read(&own).since(&ours);
        let took = began.elapsed();
        let calls = self.numbers.next() - first - 1;
        let counted = per_call(self.machine.disk(), disk, calls);
        let [theirs, ours, rest] =
            [theirs, ours, rest.saturating_sub(ours)].map(|ticks| share(ticks, took));
        self.rest_percent_max.set(self.rest_percent_max.get().max(rest));
        let per_second = phase.per_second();
        let quantiles = phase.latencies.quantiles();
        println!(
            "  {name:<9} {count:>4} callers: {per_second}/s, {quantiles}\n{INDENT}per call \
             {counted}; processor {theirs} %, generator {ours} %, everything else {rest} %"
        );
        Ok(Figures { per_second, quantiles })
    }

    /// Says if something else took so much of the machine that the figures mean little.
    pub(crate) fn print_if_not_quiet(&self) {
        let rest = self.rest_percent_max.get();
        if rest > QUIET_PERCENT_MAX {
            println!("\nTHE MACHINE WAS NOT QUIET: something else took up to {rest} % of a core;");
            println!("what follows says how the systems share a busy machine, and nothing more");
        }
    }
}

/// What the disk did per call, or that the kernel does not tell.
pub(crate) fn per_call(after: Option<Disk>, before: Option<Disk>, calls: u64) -> String {
    match after.and_then(|after| after.since(before)) {
        None => "unknown to the disk (no /proc/diskstats for it)".into(),
        Some(disk) => format!(
            "{} B to the disk, {} flushes of it",
            disk.written_bytes.div_ceil(calls.max(1)),
            quotient_up(disk.flushes, calls)
        ),
    }
}

/// Per cent of one core.
fn share(ticks: u64, took: Duration) -> u128 {
    u128::from(ticks) * 100 * 1_000 / TICKS_PER_SECOND / took.as_millis().max(1)
}
