//! Real processes on machines of their own, each with a network, a disk and a clock that are made
//! to fail, and clients that ask all the while: in the end every node has every answer, once, and
//! targets were made to do what was released, and no more than once.
//!
//! `QGATE_FAULTS` says how many faults a campaign's run has, `QGATE_FAULTS_NODES` of how many
//! nodes, `QGATE_FAULTS_KINDS` which ones, else they are all; `QGATE_FAULTS_RECORD` is a file that
//! gets a line with the counts, `QGATE_FAULTS_GATE` another binary than that of this build.
#![cfg(test)]

mod freezing;
mod ground;
mod judge;
mod line;
mod machine;
mod strike;
#[path = "../../support/mod.rs"]
mod support;
mod tally;
mod work;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::path::Path;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use faulty_target::Target;
use rand::RngExt as _;
use serde_json::json;
use tempfile::TempDir;
use tokio::net::TcpListener;

use self::line::Line;
use self::strike::Strike;
use self::support::node::eventually;
use self::support::{digits, shown};
use self::tally::Fault;
use self::work::Crowd;
use self::world::World;

/// When this process began to count time: the target and those who ask count alike.
static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);

fn now() -> Duration {
    BEGAN.elapsed()
}

/// Hexadecimal digits of a payload that makes a snapshot large, and how many there are.
const LARGE_CHARS: usize = 4 * 1024 * 1024;
const LARGE_ONES: usize = 6;
/// Rates of clocks that are five percent off.
const RATES: [u32; 2] = [95, 105];

/// Every kind once, on three nodes.
#[tokio::test(flavor = "multi_thread")]
async fn every_fault_befalls_three_nodes() {
    if ground::entered("every_fault_befalls_three_nodes") {
        let kinds = Fault::weights().into_iter().map(|(fault, _)| fault);
        run(3, kinds.collect(), BTreeMap::new()).await;
    }
}

/// A piece of the campaign.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a piece of the campaign, which scripts/campaign-cluster runs"]
async fn campaign() {
    if ground::entered("campaign") {
        let count = |name: &str, usual: u64| {
            env::var(name).map_or(usual, |text| text.parse().expect("a number"))
        };
        let (faults, nodes) = (count("QGATE_FAULTS", 60), count("QGATE_FAULTS_NODES", 3));
        let rates = match rand::random_range(0..3) {
            // A clock that is wrong is a fault too: three nodes bear no other one beside it.
            0 if nodes > 3 => BTreeMap::from([(
                rand::random_range(1..=nodes),
                RATES[rand::random_range(0..RATES.len())],
            )]),
            _ => BTreeMap::new(),
        };
        let kinds = kinds();
        run(nodes, (0..faults).map(|_| drawn(&kinds)).collect(), rates).await;
    }
}

/// The faults that a run may have, with their weights.
fn kinds() -> Vec<(Fault, u32)> {
    let mut kinds = Fault::weights();
    let wanted = env::var("QGATE_FAULTS_KINDS").unwrap_or_default();
    let wanted: Vec<&str> = wanted.split_whitespace().collect();
    for name in &wanted {
        let is_known = kinds.iter().any(|(fault, _)| fault.name() == *name);
        assert!(is_known, "no fault is called {name}");
    }
    kinds.retain(|(fault, _)| wanted.is_empty() || wanted.contains(&fault.name().as_str()));
    kinds
}

/// A fault, drawn by its weight.
fn drawn(kinds: &[(Fault, u32)]) -> Fault {
    let mut at = rand::rng().random_range(0..kinds.iter().map(|(_, weight)| weight).sum());
    for (fault, weight) in kinds {
        match at.checked_sub(*weight) {
            Some(less) => at = less,
            None => return *fault,
        }
    }
    unreachable!("it lies below the sum")
}

async fn run(nodes: u64, faults: Vec<Fault>, rates: BTreeMap<u64, u32>) {
    let mut line = Line::begin(nodes);
    let mut home = TempDir::new().expect("a directory");
    // What the nodes said stays where a run does not end well.
    home.disable_cleanup(true);
    shown(&format!("logs below {}", home.path().display()));
    let gate = env::var_os("QGATE_FAULTS_GATE").unwrap_or(env!("CARGO_BIN_EXE_qgate").into());
    let gate = Path::new(&gate);
    let target = Target::new(now);
    let listener = TcpListener::bind((ground::HUB, 0)).await.expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(target.clone().serve(listener));
    shown(&format!("{nodes} nodes, rates of clocks in percent {rates:?}"));
    let mut world = World::make(gate, home.path(), nodes, rates, &address).await;
    let fillers = fill(&world).await;
    shown(&format!("{:5.1} s: the cluster is there", line.seconds()));
    let crowd = Crowd::start(world.keys.clone(), world.doors());
    crowd.work.answers(100).await;
    for fault in faults {
        let (name, from) = (fault.name(), crowd.work.answered());
        shown(&format!("{:5.1} s: {name}, after {from} answers", line.seconds()));
        Strike { world: &mut world, work: &crowd.work, tally: &mut line.tally }.with(fault).await;
    }
    world.heal().await;
    let tally = &mut line.tally;
    tally.drifts = world.drifts().await;
    (tally.answers, tally.reads) = (crowd.work.answered(), crowd.work.reads());
    tally.lost_replies = crowd.work.lost_replies();
    let record = crowd.stop().await;
    let judged = judge::judge(&world, &record, fillers, &target, tally).await;
    let judged = judged.and_then(|()| tally.must_prove_something());
    shown(&format!("{nodes} nodes, {:.0} s: {}, {judged:?}", line.seconds(), line.tally));
    assert!(judged.is_ok(), "violation: {judged:?}");
    world.must_be_calm();
    world.stop();
    drop(world);
    line.passed();
    home.disable_cleanup(false);
}

/// Submits payloads, the first ones large, until no node has the beginning of the log any more, so
/// that whoever joins is sent a snapshot; gives their ids.
async fn fill(world: &World) -> BTreeSet<String> {
    let client = world.client(1, &world.keys.agent);
    let is_purged = |id: &u64| world.machine(*id).metric("gate_purged_index") > 0.0;
    let mut ids = BTreeSet::new();
    while ids.len() < LARGE_ONES || !world.ids().iter().all(is_purged) {
        assert!(ids.len() < 10_000, "nothing is purged after all that");
        let chars = if ids.len() < LARGE_ONES { LARGE_CHARS } else { 8 };
        let note = digits(ids.len(), chars);
        let payload = json!({ "number": ids.len(), "note": note });
        let intent = json!({ "resource": "files.large", "payload": payload });
        let key = format!("large-{}", ids.len());
        let submitted = eventually("a large one is taken", || async {
            client.submit(&intent, Some(&key)).await.ok()
        });
        assert!(ids.insert(submitted.await.id), "each is one of its own");
    }
    ids
}
