//! What befalls the nodes, and when: all of it drawn from the seed.
//!
//! Invariant: once the faults are over everything heals, so that what the cluster then cannot do
//! is its own doing.

use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;
use turmoil::Sim;

use crate::cluster::{Cluster, NODES};

/// Nothing fails before: the cluster is made.
const QUIET: Duration = Duration::from_secs(5);

/// A fault under way, and when it ends.
enum Fault {
    Killed(u64),
    CutOff(u64),
}

/// Steps through the run and does to the nodes what the seed says, for so long.
pub(crate) fn drive(
    sim: &mut Sim<'_>,
    cluster: &Cluster,
    plan: &mut StdRng,
    lasts: Duration,
) -> Result<(), String> {
    let mut under_way: Vec<(Duration, Fault)> = Vec::new();
    let mut next = QUIET;
    loop {
        match sim.step() {
            Ok(true) => return cluster.verdict(),
            Ok(false) => {}
            Err(error) => return Err(error.to_string()),
        }
        let now = sim.elapsed();
        let is_over = now >= lasts;
        let mut at = 0;
        while let Some((until, _)) = under_way.get(at) {
            if is_over || *until <= now {
                let (_, fault) = under_way.remove(at);
                end(sim, &fault, &under_way);
            } else {
                at += 1;
            }
        }
        if is_over {
            cluster.end_faults();
        } else if next <= now {
            next = now + Duration::from_millis(plan.random_range(300..5_000));
            let until = now + Duration::from_millis(plan.random_range(50..6_000));
            if let Some(fault) = begin(sim, cluster, plan, &under_way) {
                under_way.push((until, fault));
            }
        }
    }
}

fn begin(
    sim: &mut Sim<'_>,
    cluster: &Cluster,
    plan: &mut StdRng,
    under_way: &[(Duration, Fault)],
) -> Option<Fault> {
    let node = plan.random_range(NODES);
    let is_hit = under_way.iter().any(|(_, fault)| match fault {
        Fault::Killed(hit) | Fault::CutOff(hit) => *hit == node,
    });
    let is_kill = plan.random_bool(0.5);
    if is_hit {
        return None;
    }
    let fault = if is_kill {
        tracing::info!(node, "is killed");
        sim.crash(name(node));
        cluster.count(|counts| counts.kills += 1);
        Fault::Killed(node)
    } else {
        tracing::info!(node, "is cut off");
        others(node).for_each(|other| sim.partition(name(node), name(other)));
        cluster.count(|counts| counts.cuts += 1);
        Fault::CutOff(node)
    };
    Some(fault)
}

fn end(sim: &mut Sim<'_>, fault: &Fault, others_under_way: &[(Duration, Fault)]) {
    match fault {
        Fault::Killed(node) => {
            tracing::info!(node, "starts again");
            sim.bounce(name(*node));
        }
        Fault::CutOff(node) => {
            tracing::info!(node, "is connected again");
            let is_cut_off = |other: u64| {
                let mut faults = others_under_way.iter().map(|(_, fault)| fault);
                faults.any(|fault| matches!(fault, Fault::CutOff(cut) if *cut == other))
            };
            for other in others(*node).filter(|other| !is_cut_off(*other)) {
                sim.repair(name(*node), name(other));
            }
        }
    }
}

fn name(node: u64) -> String {
    format!("n{node}")
}

fn others(node: u64) -> impl Iterator<Item = u64> {
    NODES.filter(move |other| *other != node)
}
