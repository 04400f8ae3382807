//! What befalls the nodes, and when: all of it drawn from the seed.
//!
//! Invariant: once the faults are over everything heals, so that what the cluster then cannot do
//! is its own doing.

use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;
use store::simulated as disk;
use turmoil::Sim;

use crate::cluster::{Cluster, NODES, data_dir};
use crate::damage;
use crate::workload::CLIENTS;

/// Nothing fails before: the cluster is made.
const QUIET: Duration = Duration::from_secs(5);

/// How far a clock jumps: more than a dedup window of the workload is long.
const JUMP: Duration = Duration::from_secs(50 * 3_600);

/// What may befall nodes, each as often as it stands here.
const KINDS: [Kind; 20] = [
    Kind::Killed,
    Kind::Killed,
    Kind::Killed,
    Kind::Killed,
    Kind::CutOff,
    Kind::CutOff,
    Kind::CutOff,
    Kind::CutOff,
    Kind::Delayed,
    Kind::Delayed,
    Kind::PowerLost,
    Kind::PowerLost,
    Kind::PowerLost,
    Kind::Blackout,
    Kind::DiskFull,
    Kind::DiskFull,
    Kind::SyncFailed,
    Kind::SyncFailed,
    Kind::ClockJumped,
    Kind::ClockJumped,
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The process ends at once; what it wrote is there.
    Killed,
    /// No message comes or goes.
    CutOff,
    /// All messages from and to it wait, those of clients too, and come at once in the end: it is
    /// as a process that stands still.
    Delayed,
    /// The machine ends at once; of what was not synced some of the beginning is there.
    PowerLost,
    /// The same to all machines at once.
    Blackout,
    /// Nothing more can be written.
    DiskFull,
    /// A sync fails, and what it was for is lost.
    SyncFailed,
    /// The clock jumps ahead, and back in the end.
    ClockJumped,
    /// The process ends at once, and a bit of what it wrote is another one. Never mended.
    BitFlipped,
}

/// A fault under way, and when it ends.
struct Fault {
    kind: Kind,
    nodes: Vec<u64>,
    until: Duration,
}

/// Steps through the run and does to the nodes what the seed says, for so long, and at most so
/// often.
pub(crate) fn drive(
    sim: &mut Sim<'_>,
    cluster: &Cluster,
    plan: &mut StdRng,
    lasts: Duration,
    most: u64,
) -> Result<(), String> {
    let mut under_way: Vec<Fault> = Vec::new();
    let mut next = QUIET;
    let mut flips_at = damage::when(cluster, plan, lasts);
    loop {
        match sim.step() {
            Ok(true) => return cluster.verdict(),
            Ok(false) => {}
            Err(error) => return Err(told(&error.to_string())),
        }
        let now = sim.elapsed();
        let is_over = now >= lasts;
        let mut at = 0;
        while let Some(fault) = under_way.get(at) {
            if (is_over || fault.until <= now) && fault.kind != Kind::BitFlipped {
                let fault = under_way.remove(at);
                end(sim, cluster, &fault, &under_way);
            } else {
                at += 1;
            }
        }
        if is_over {
            cluster.end_faults();
        } else if next <= now {
            next = now + Duration::from_millis(plan.random_range(300..5_000));
            let until = now + Duration::from_millis(plan.random_range(50..6_000));
            let kind = match flips_at.take_if(|at| *at <= now) {
                Some(_) => Kind::BitFlipped,
                None => KINDS[plan.random_range(0..KINDS.len())],
            };
            let nodes = match kind {
                Kind::Blackout => NODES.collect(),
                _ => vec![plan.random_range(NODES)],
            };
            let is_hit = |node| under_way.iter().any(|fault| fault.nodes.contains(node));
            // The time is that of most clocks: two wrong ones of three are right.
            let one_jumps = under_way.iter().any(|fault| fault.kind == Kind::ClockJumped);
            let is_second_clock =
                kind == Kind::ClockJumped && (cluster.has_other_fault() || one_jumps);
            // What cuts a way and what holds it up have no common end.
            let is_of_ways = |kind: Kind| matches!(kind, Kind::CutOff | Kind::Delayed);
            let is_mixed = is_of_ways(kind)
                && under_way.iter().any(|fault| is_of_ways(fault.kind) && fault.kind != kind);
            let is_left_out = is_second_clock || is_mixed || nodes.iter().any(is_hit);
            if is_left_out && kind == Kind::BitFlipped {
                flips_at = Some(now);
            }
            if !is_left_out && cluster.counts().faults < most {
                let fault = Fault { kind, nodes, until };
                begin(sim, cluster, plan, &fault);
                under_way.push(fault);
            }
        }
    }
}

/// The simulation's own words for an end that does not come say little.
fn told(error: &str) -> String {
    if error.contains("without completing") {
        return format!("the cluster did not come back: {error}");
    }
    error.to_owned()
}

fn begin(sim: &mut Sim<'_>, cluster: &Cluster, plan: &mut StdRng, fault: &Fault) {
    cluster.count(|counts| counts.faults += 1);
    for node in fault.nodes.iter().copied() {
        tracing::info!(node, kind = ?fault.kind, "a fault begins");
        match fault.kind {
            Kind::Killed => {
                sim.crash(name(node));
                cluster.count(|counts| counts.kills += 1);
            }
            Kind::CutOff => {
                others(node).for_each(|other| sim.partition(name(node), name(other)));
                cluster.count(|counts| counts.cuts += 1);
            }
            Kind::Delayed => {
                others(node).for_each(|other| sim.hold(name(node), name(other)));
                sim.hold(name(node), CLIENTS);
                cluster.count(|counts| counts.delays += 1);
            }
            Kind::PowerLost | Kind::Blackout => {
                sim.crash(name(node));
                let kept = |bytes| plan.random_range(0..=bytes);
                let lost = disk::cut_power(&data_dir(node), kept).expect("files in memory");
                tracing::info!(node, lost, "the power is off");
                cluster.count(|counts| {
                    counts.power_losses += 1;
                    counts.torn += u64::from(lost > 0);
                });
            }
            Kind::DiskFull => {
                cluster.may_end(node);
                disk::fill(&data_dir(node));
            }
            Kind::SyncFailed => {
                cluster.may_end(node);
                disk::fail_next_sync(&data_dir(node));
            }
            Kind::BitFlipped => {
                sim.crash(name(node));
                cluster.damages(node);
                let what = damage::flip_bit(&data_dir(node), plan).expect("files");
                tracing::info!(node, what, "a bit is wrong");
                cluster.count(|counts| counts.flipped_bits += 1);
                start(sim, cluster, node);
            }
            Kind::ClockJumped => {
                cluster.jump(node, JUMP, false);
                cluster.count(|counts| counts.clock_jumps += 1);
            }
        }
    }
}

fn end(sim: &mut Sim<'_>, cluster: &Cluster, fault: &Fault, others_under_way: &[Fault]) {
    for node in fault.nodes.iter().copied() {
        tracing::info!(node, kind = ?fault.kind, "a fault ends");
        match fault.kind {
            Kind::Killed | Kind::PowerLost | Kind::Blackout => start(sim, cluster, node),
            Kind::CutOff | Kind::Delayed => {
                let is_hit_too = |other: &u64| {
                    let mut same = others_under_way.iter().filter(|one| one.kind == fault.kind);
                    same.any(|one| one.nodes.contains(other))
                };
                if fault.kind == Kind::Delayed {
                    sim.release(name(node), CLIENTS);
                }
                for other in others(node).filter(|other| !is_hit_too(other)) {
                    match fault.kind {
                        Kind::CutOff => sim.repair(name(node), name(other)),
                        _ => sim.release(name(node), name(other)),
                    }
                }
            }
            Kind::ClockJumped => cluster.jump(node, JUMP, true),
            Kind::BitFlipped => {}
            Kind::DiskFull | Kind::SyncFailed => {
                disk::heal(&data_dir(node));
                let has_ended = !sim.is_host_running(name(node));
                cluster.count(|counts| match fault.kind {
                    Kind::DiskFull => counts.full_disks += u64::from(has_ended),
                    _ => counts.failed_syncs += u64::from(has_ended),
                });
                // It is started again, whether or not the fault has ended it.
                start(sim, cluster, node);
            }
        }
    }
}

fn start(sim: &mut Sim<'_>, cluster: &Cluster, node: u64) {
    cluster.starts(node);
    sim.bounce(name(node));
}

fn name(node: u64) -> String {
    format!("n{node}")
}

fn others(node: u64) -> impl Iterator<Item = u64> {
    NODES.filter(move |other| *other != node)
}
