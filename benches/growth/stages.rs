//! One stage for each number of stored intents: fill up, measure, restart, look at the disk.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;

use crate::Options;
use crate::gates::Gates;
use crate::load::{Caller, Numbers, Window};
use crate::machine::{Machine, Ticks};
use crate::measure::{Figures, Meter};
use crate::numbers::{quotient_down, quotient_up};

/// Intents of one batch while it is filled up.
const BATCH: u64 = 500;
/// Callers that fill it up.
const FILLERS: u16 = 4;
/// Seconds of load before each measurement.
const WARM_UP_SECONDS: u64 = 2;
/// Intents from one line of progress to the next.
const PROGRESS_EVERY: u64 = 100_000;

/// What was measured at one number of stored intents.
struct Stage {
    intents: u64,
    figures: Figures,
    /// Of all nodes, for one intent.
    processor_ns: u64,
}

/// Fills up, measures at each number, and compares the last stage with the first.
pub(crate) async fn run(options: &Options, home: &Path, machine: &Machine) -> Result<()> {
    ensure!(options.intents.is_sorted(), "--intents grow");
    let mut gates = Gates::start(&options.place.gate, home);
    let window = Window::of_seconds(WARM_UP_SECONDS, options.seconds);
    let meter = Meter::new(machine, Numbers::default(), window);
    gates.prove(&meter.numbers, 1).await.context("the gate cannot be measured")?;
    let term = gates.term().await?;
    let (mut stored, mut stages) = (1, Vec::new());
    for intents in &options.intents {
        println!("\n{intents} intents");
        fill(&gates, &meter.numbers, &mut stored, *intents).await?;
        stages.push(measure(options, &gates, &meter, &mut stored, *intents).await?);
        print_snapshots(&gates).await?;
        print_disk(home, &gates, stored)?;
    }
    let elections = gates.term().await?.saturating_sub(term);
    println!("\nchanges of the leader so far (0 is wanted): {elections}");
    restart(&mut gates, stored).await?;
    meter.print_if_not_quiet();
    if let [first, .., last] = stages.as_slice() {
        let [few, many] = [first, last].map(|stage| stage.figures);
        println!(
            "\n{} intents beside {} (quotients are rounded against it)",
            last.intents, first.intents
        );
        println!(
            "  intents/s {}, p50 {}, p99 {}, processor time for an intent {}",
            quotient_down(many.per_second, few.per_second),
            quotient_up(many.quantiles.p50_ns, few.quantiles.p50_ns),
            quotient_up(many.quantiles.p99_ns, few.quantiles.p99_ns),
            quotient_up(last.processor_ns, first.processor_ns),
        );
    }
    Ok(())
}

/// Submits batches until so many intents are stored.
async fn fill(gates: &Gates, numbers: &Numbers, stored: &mut u64, intents: u64) -> Result<()> {
    let mut callers = gates.batches(gates.leader().await, FILLERS, BATCH).await?;
    let (began, before) = (Instant::now(), *stored);
    let mut told = *stored / PROGRESS_EVERY;
    while *stored < intents {
        let calls = callers.iter_mut().map(|caller| caller.call(numbers.next()));
        futures::future::try_join_all(calls).await?;
        *stored += BATCH * u64::from(FILLERS);
        if *stored / PROGRESS_EVERY > told {
            told = *stored / PROGRESS_EVERY;
            println!("  {stored} stored");
        }
    }
    let (added, took) = (*stored - before, began.elapsed().as_millis().max(1));
    if added > 0 {
        let rate = u128::from(added) * 1_000 / took;
        println!("  filled up by {FILLERS} callers with batches of {BATCH}: {rate} intents/s");
    }
    Ok(())
}

/// A closed loop of single submits, with what it costs the processor and the leader's log.
async fn measure(
    options: &Options,
    gates: &Gates,
    meter: &Meter<'_>,
    stored: &mut u64,
    intents: u64,
) -> Result<Stage> {
    let leader = gates.leader().await;
    let mut callers = gates.submits(leader, options.callers).await?;
    let processes = gates.processes();
    let log = LogCount::of(gates, leader)?;
    let (ticks, first) = (Ticks::read(&processes), meter.numbers.next());
    let figures = meter.measure("writes", processes.clone(), &mut callers, None).await?;
    // Two numbers are no submits: the one taken here, and the one that the meter takes.
    let submits = meter.numbers.next() - first - 2;
    let (spent, _) = Ticks::read(&processes).since(&ticks);
    *stored += submits;
    LogCount::of(gates, leader)?.print_since(&log, submits);
    let processor_ns = spent * 10_000_000 / submits.max(1);
    println!("  processor time of all nodes for one intent: {} us", processor_ns.div_ceil(1_000));
    Ok(Stage { intents, figures, processor_ns })
}

/// What the leader's log counted.
struct LogCount {
    syncs: u64,
    marks: u64,
    bytes: u64,
}

impl LogCount {
    fn of(gates: &Gates, node: u64) -> Result<Self> {
        let [syncs, marks, bytes] =
            ["gate_wal_fsync_seconds_count", "gate_wal_marks_total", "gate_wal_bytes_total"]
                .map(|name| gates.metric(node, name));
        Ok(Self { syncs: syncs?, marks: marks?, bytes: bytes? })
    }

    fn print_since(&self, earlier: &Self, submits: u64) {
        let syncs = (self.syncs + self.marks) - (earlier.syncs + earlier.marks);
        println!(
            "  the leader's log for one intent: {} syncs, {} B",
            quotient_up(syncs, submits),
            (self.bytes - earlier.bytes).div_ceil(submits.max(1)),
        );
    }
}

async fn print_snapshots(gates: &Gates) -> Result<()> {
    let leader = gates.leader().await;
    let made = gates.metric(leader, "gate_snapshot_build_seconds_count")?;
    let seconds = gates.fraction(leader, "gate_snapshot_build_seconds_sum")?;
    let bytes = gates.metric(leader, "gate_snapshot_bytes")?;
    println!("  snapshots of the leader so far: {made} in {seconds} s, the last has {bytes} B");
    Ok(())
}

fn print_disk(home: &Path, gates: &Gates, stored: u64) -> Result<()> {
    let bytes = directory_bytes(&home.join("dev"))?;
    let nodes = u64::try_from(gates.processes().len())?;
    let each = bytes / nodes.max(1);
    println!("  disk: {each} B a node, {} B for one intent", each.div_ceil(stored.max(1)));
    Ok(())
}

/// Bytes that the file system gave to what lies in a directory.
fn directory_bytes(directory: &Path) -> Result<u64> {
    use std::os::unix::fs::MetadataExt as _;
    let mut bytes = 0;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        // Files that a running node removes meanwhile are not counted.
        let Ok(metadata) = entry.metadata() else { continue };
        bytes += if metadata.is_dir() {
            directory_bytes(&entry.path()).unwrap_or_default()
        } else {
            metadata.blocks() * 512
        };
    }
    Ok(bytes)
}

/// A node is killed and started again, then all are at one time.
async fn restart(gates: &mut Gates, stored: u64) -> Result<()> {
    println!("\nrestarts after SIGKILL, {stored} intents stored; until the node is ready");
    for (name, nodes) in [
        ("a follower", vec![gates.follower().await]),
        ("the leader", vec![gates.leader().await]),
        ("all nodes", gates.nodes()),
    ] {
        gates.kill(&nodes, Signal::KILL);
        let began = Instant::now();
        nodes.iter().for_each(|node| gates.start_again(*node));
        let mut times: Vec<Duration> = Vec::new();
        for node in &nodes {
            gates.ready(*node).await;
            times.push(began.elapsed());
        }
        let ms: Vec<u128> = times.iter().map(|time| time.as_micros().div_ceil(1_000)).collect();
        println!("  {name}: {ms:?} ms");
    }
    Ok(())
}
