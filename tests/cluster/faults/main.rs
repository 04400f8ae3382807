//! Real processes on machines of their own, each with a network, a disk and a clock that are made
//! to fail, and clients that ask all the while: in the end every node has every answer, once, and
//! targets were made to do what was released, and no more than once.
//!
//! `QGATE_FAULTS` says how many faults a campaign's run has, `QGATE_FAULTS_NODES` of how many
//! nodes; `QGATE_FAULTS_RECORD` is a file that gets a line with the counts, `QGATE_FAULTS_GATE`
//! another binary than that of this build.
#![cfg(test)]

mod ground;
mod judge;
mod machine;
mod strike;
#[path = "../../support/mod.rs"]
mod support;
mod tally;
mod work;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use faulty_target::{HANGS, Target};
use rand::RngExt as _;
use serde_json::json;
use tempfile::TempDir;
use tokio::net::TcpListener;

use self::strike::Strike;
use self::support::node::eventually;
use self::support::{digits, shown};
use self::tally::{Fault, Tally};
use self::work::Crowd;
use self::world::World;

/// Hexadecimal digits of a payload that makes a snapshot large, and how many there are.
const LARGE_CHARS: usize = 4 * 1024 * 1024;
const LARGE_ONES: usize = 6;
/// Rates of clocks that are five percent off.
const RATES: [u32; 2] = [95, 105];
/// What targets do late they have done by then.
const AFTERWARDS: Duration = HANGS.saturating_add(Duration::from_secs(1));

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
        run(nodes, (0..faults).map(|_| drawn()).collect(), rates).await;
    }
}

/// A fault, drawn by its weight.
fn drawn() -> Fault {
    let weights = Fault::weights();
    let mut at = rand::rng().random_range(0..weights.iter().map(|(_, weight)| weight).sum());
    for (fault, weight) in weights {
        match at.checked_sub(weight) {
            Some(less) => at = less,
            None => return fault,
        }
    }
    unreachable!("it lies below the sum")
}

async fn run(nodes: u64, faults: Vec<Fault>, rates: BTreeMap<u64, u32>) {
    let began = Instant::now();
    let mut home = TempDir::new().expect("a directory");
    // What the nodes said stays where a run does not end well.
    home.disable_cleanup(true);
    shown(&format!("logs below {}", home.path().display()));
    let gate = env::var_os("QGATE_FAULTS_GATE").unwrap_or(env!("CARGO_BIN_EXE_qgate").into());
    let gate = Path::new(&gate);
    let target = Target::default();
    let listener = TcpListener::bind((ground::HUB, 0)).await.expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(target.clone().serve(listener));
    shown(&format!("{nodes} nodes, rates of clocks in percent {rates:?}"));
    let mut world = World::make(gate, home.path(), nodes, rates, &address).await;
    let fillers = fill(&world).await;
    shown(&format!("{:5.1} s: the cluster is there", began.elapsed().as_secs_f64()));
    let crowd = Crowd::start(world.keys.clone(), world.addresses());
    let mut tally = Tally::default();
    crowd.work.answers(100).await;
    for fault in faults {
        let (name, from) = (fault.name(), crowd.work.answered());
        let seconds = began.elapsed().as_secs_f64();
        shown(&format!("{seconds:5.1} s: {name}, after {from} answers"));
        Strike { world: &mut world, work: &crowd.work, tally: &mut tally }.with(fault).await;
    }
    world.heal().await;
    tally.drifts = world.drifts().await;
    (tally.answers, tally.reads) = (crowd.work.answered(), crowd.work.reads());
    tally.lost_replies = crowd.work.lost_replies();
    let record = crowd.stop().await;
    // What a target does late it does by now.
    tokio::time::sleep(AFTERWARDS).await;
    let judged = judge::judge(&world, &record, fillers, || target.effects(), &mut tally).await;
    let judged = judged.and_then(|()| tally.must_prove_something());
    let seconds = began.elapsed().as_secs();
    shown(&format!("{nodes} nodes, {seconds} s: {tally}, {judged:?}"));
    keep(nodes, seconds, &tally, judged.is_err());
    assert!(judged.is_ok(), "violation: {judged:?}");
    world.must_be_calm();
    world.stop();
    drop(world);
    home.disable_cleanup(false);
}

/// Adds a line to the record, if there is one.
fn keep(nodes: u64, seconds: u64, tally: &Tally, is_violated: bool) {
    let Some(path) = env::var_os("QGATE_FAULTS_RECORD") else { return };
    let columns = tally.columns();
    let (names, counts): (Vec<String>, Vec<u64>) = columns.into_iter().unzip();
    let is_new = !Path::new(&path).exists();
    let mut record = OpenOptions::new().append(true).create(true).open(path).expect("a record");
    let date = jiff::Timestamp::now().strftime("%Y-%m-%d").to_string();
    if is_new {
        writeln!(record, "date\tnodes\tseconds\tviolations\t{}", names.join("\t"))
            .expect("written");
    }
    let counts: Vec<String> = counts.iter().map(u64::to_string).collect();
    writeln!(
        record,
        "{date}\t{nodes}\t{seconds}\t{}\t{}",
        u8::from(is_violated),
        counts.join("\t")
    )
    .expect("written");
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
