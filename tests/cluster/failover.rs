//! The leader is killed under load, again and again: every key gets a definite answer, no answered
//! intent is lost or changed, no key and no lead is accepted twice, and all nodes end with one
//! state.
//!
//! Real processes on real disks, with clients at every node. Times are printed and not judged here:
//! `make bench-failover` does that.
#![cfg(test)]

#[path = "../support/mod.rs"]
mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use support::cluster::Cluster;
use support::fixture;
use support::history::{Asked, Faults, Listed, Told, payload};
use support::load::{Load, listed, send_again};
use support::ports::base_port;
use support::shown;
use tempfile::TempDir;
use types::Digest;

const KILLS: usize = 5;
/// Keys that have their answer between two kills, at least.
const ANSWERS_BETWEEN: usize = 200;
/// Clients, two keys at a time each.
const PAIRS: usize = 6;
/// How often each asks for a new lead, while it is answered in time.
const EVERY: Duration = Duration::from_millis(20);

#[tokio::test(flavor = "multi_thread")]
async fn killed_leaders_lose_nothing_and_open_no_gate_twice() {
    let home = TempDir::new().expect("a directory");
    let gate = Path::new(env!("CARGO_BIN_EXE_qgate"));
    let mut cluster = Cluster::start(gate, home.path(), &fixture(""), 3, base_port());
    let mut load = Load::start(cluster.pairs(PAIRS), EVERY);
    let mut times = Vec::new();
    for kill in 0..KILLS {
        // An uneven count, so that kills meet different points of a batch.
        load.answers(ANSWERS_BETWEEN + kill * 37).await;
        let leader = cluster.leader().await;
        let killed = Instant::now();
        cluster.signal(leader, Signal::KILL);
        load.mark(killed);
        cluster.gone(leader);
        times.push(load.first_success().await.as_millis());
        cluster.start_again(leader);
        cluster.ready(leader).await;
    }
    load.answers(ANSWERS_BETWEEN).await;
    let mut asked = load.stop().await;
    shown(&format!("from each kill to the first new success: {times:?} ms"));

    let clients: Vec<_> = (0..3).map(|first| cluster.client("/agent_key", first)).collect();
    send_again(&clients, &mut asked).await;
    let found = listed(&cluster.client("/auditor_key", 0)).await;
    let faults = Faults::of(&asked, &found);
    shown(&format!("{} keys over {KILLS} kills: {faults}", asked.len()));
    assert!(faults.is_empty(), "{faults}");
    assert!(cluster.equal().await > 0);
    cluster.stop(&cluster.ids());
}

/// Two leads as they should be: the first key of each was first.
fn sound() -> (Vec<Asked>, Vec<Listed>) {
    let mut asked = Vec::new();
    let mut found = Vec::new();
    for lead in [7, 8] {
        let id = format!("int_{lead}");
        asked.push(Asked { lead, second: false, told: vec![Told::Accepted(id.clone()); 2] });
        asked.push(Asked { lead, second: true, told: vec![Told::Duplicate(id.clone()); 2] });
        found.push(row(&id, lead, false));
    }
    (asked, found)
}

fn row(id: &str, lead: u64, second: bool) -> Listed {
    let payload_hash = Digest::of(payload(lead, second).as_bytes()).to_string();
    Listed { id: id.to_owned(), payload_hash }
}

/// What would go wrong, done to a sound history.
type Harm = fn(&mut Vec<Asked>, &mut Vec<Listed>);

#[test]
#[rustfmt::skip]
fn each_broken_promise_is_seen() {
    let cases: [(&str, Harm, &str); 10] = [
        ("nothing",           |_, _| {},
            "0 lost, 0 changed, 0 doubled, 0 undecided, 0 odd"),
        ("a lost answer",     |_, found| drop(found.pop()),
            "1 lost, 0 changed, 0 doubled, 0 undecided, 0 odd"),
        ("other content",     |_, found| found[0].payload_hash = "0".repeat(64),
            "0 lost, 1 changed, 0 doubled, 0 undecided, 0 odd"),
        ("a key twice",       |_, found| found.push(row("int_9", 7, false)),
            "0 lost, 0 changed, 1 doubled, 0 undecided, 0 odd"),
        ("another answer",    |asked, _| asked[0].told[1] = Told::Accepted("int_9".to_owned()),
            "0 lost, 0 changed, 1 doubled, 0 undecided, 0 odd"),
        ("a lead twice",      |asked, found| {
            asked[1].told = vec![Told::Accepted("int_9".to_owned())];
            found.push(row("int_9", 7, true));
        }, "0 lost, 0 changed, 1 doubled, 0 undecided, 0 odd"),
        ("no answer",         |asked, _| asked[3].told.clear(),
            "0 lost, 0 changed, 0 doubled, 1 undecided, 0 odd"),
        ("both second",       |asked, found| {
            asked[2].told = asked[3].told.clone();
            found.pop();
        }, "0 lost, 0 changed, 0 doubled, 1 undecided, 0 odd"),
        ("second to nothing", |asked, _| asked[1].told = vec![Told::Duplicate("int_8".to_owned())],
            "0 lost, 0 changed, 0 doubled, 0 undecided, 1 odd"),
        ("a stranger",        |_, found| found.push(row("int_9", 9, false)),
            "0 lost, 0 changed, 0 doubled, 0 undecided, 1 odd"),
    ];
    for (name, harm, expected) in cases {
        let (mut asked, mut found) = sound();
        harm(&mut asked, &mut found);
        let faults = Faults::of(&asked, &found);
        assert!(faults.to_string().starts_with(expected), "{name}: {faults}");
        assert_eq!(faults.is_empty(), name == "nothing", "{name}: {faults}");
    }
}
