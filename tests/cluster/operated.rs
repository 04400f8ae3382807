//! What operators do to a running cluster, under load: the lead is handed over, voters are demoted
//! and promoted, certificates and then their authority are replaced, nodes are started again one by
//! one, and a node comes so late that only a snapshot can bring it up. A client that sends again by
//! key sees no failed request.
//!
//! And what they find: a node whose state was changed behind its back takes itself out of service,
//! and stays so.
#![cfg(test)]

#[path = "../support/mod.rs"]
mod support;

use std::collections::HashSet;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use client::{Client, Error, Request, Verdict};
use ledger::table;
use ledger::{Direction, Read, Writes};
use serde_json::{Value, json};
use store::state::StateStore;
use support::cluster::Cluster;
use support::history::Faults;
use support::load::{Load, listed, send_again};
use support::node::{eventually, refusal};
use support::operator::{caught_up, change, is_a, issue, join, transfer};
use support::ports::base_port;
use support::{digits, fixture, shown};
use tempfile::TempDir;
use types::{Digest, NamespaceId};

/// Keys that have their answer before the next change, at least.
const ANSWERS_BETWEEN: usize = 300;
const PAIRS: usize = 6;
const EVERY: Duration = Duration::from_millis(20);

const DAY_SECONDS: f64 = 86_400.0;
/// What the first certificates of `qgate dev` have.
const FIRST_DAYS: u32 = 30;
/// Hexadecimal digits of a large payload: it is packed to half of that.
const LARGE_CHARS: usize = 4 * 1024 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn operators_work_without_a_failed_request() {
    let home = TempDir::new().expect("a directory");
    let gate = Path::new(env!("CARGO_BIN_EXE_qgate"));
    let base_port = base_port();
    let mut cluster = Cluster::start(gate, home.path(), &fixture(""), 3, base_port);
    let load = Load::start(cluster.pairs(PAIRS), EVERY);
    load.answers(ANSWERS_BETWEEN).await;

    // The lead goes to a named one; a follower and then the leader learn only, for a while.
    let follower = cluster.follower().await;
    transfer(&cluster, follower).await;
    load.answers(ANSWERS_BETWEEN).await;
    for node in [cluster.follower().await, cluster.leader().await] {
        change(&cluster, "demote", node, "learner").await;
        load.answers(ANSWERS_BETWEEN).await;
        change(&cluster, "promote", node, "voter").await;
        load.answers(ANSWERS_BETWEEN).await;
    }

    replace_certificates(&cluster, &load).await;
    for node in cluster.ids() {
        cluster.stop(&[node]);
        cluster.start_again(node);
        // It knows nobody by the old certificates, and the others know it by the new one.
        caught_up(&cluster, node).await;
        load.answers(ANSWERS_BETWEEN).await;
    }

    let large = fill(&cluster).await;
    join(&mut cluster, base_port, 4);
    is_a(&cluster, 4, "voter").await;
    // It has not written enough itself to give up entries.
    assert!(cluster.metric(4, "gate_purged_index") > 0.0, "it was sent a snapshot");
    load.answers(ANSWERS_BETWEEN).await;

    let mut asked = load.stop().await;
    let clients: Vec<_> = (0..4).map(|first| cluster.client("/agent_key", first)).collect();
    send_again(&clients, &mut asked).await;
    assert!(cluster.equal().await > 0);
    let mut found = listed(&cluster.client_at(4, "/auditor_key")).await;
    let count = found.len();
    found.retain(|row| !large.contains(&row.id));
    assert_eq!(found.len() + large.len(), count, "every large one is there, once");
    let faults = Faults::of(&asked, &found);
    shown(&format!("{} keys and {} large ones: {faults}", asked.len(), large.len()));
    assert!(faults.is_empty(), "{faults}");
    cluster.stop(&cluster.ids());
}

/// Replaces what nodes prove with who they are, step by step, so that each is believed all the
/// time: both authorities, the new certificates, the new authority alone.
async fn replace_certificates(cluster: &Cluster, load: &Load) {
    let dev = cluster.home.join("dev");
    let (ca, new) = (dev.join("ca/ca.pem"), cluster.home.join("new-ca"));
    issue(cluster, &new, &cluster.ids(), 2 * FIRST_DAYS);
    let [old_authority, new_authority] =
        [&ca, &new.join("ca.pem")].map(|path| fs::read_to_string(path).expect("a certificate"));
    let taken = InForce::of(cluster);
    replace(&ca, &format!("{old_authority}{new_authority}"));
    taken.wait(cluster).await;
    load.answers(ANSWERS_BETWEEN).await;

    let series = "gate_certificate_expiry_seconds{certificate=\"node\"}";
    for node in cluster.ids() {
        let days = |days: u32| f64::from(days) * DAY_SECONDS;
        assert!(cluster.metric(node, series) <= days(FIRST_DAYS));
        for kind in ["pem", "key"] {
            let text = fs::read_to_string(new.join(format!("node-{node}.{kind}"))).expect("a file");
            replace(&dev.join(format!("node-{node}/node.{kind}")), &text);
        }
        eventually("the new certificate is in force", || async {
            (cluster.metric(node, series) > days(FIRST_DAYS)).then_some(())
        })
        .await;
    }
    load.answers(ANSWERS_BETWEEN).await;

    let taken = InForce::of(cluster);
    replace(&ca, &new_authority);
    // Later nodes are certified by the new one.
    fs::copy(new.join("ca.key"), dev.join("ca/ca.key")).expect("copied");
    taken.wait(cluster).await;
    load.answers(ANSWERS_BETWEEN).await;
}

/// How often each node has said that it took certificates into use.
struct InForce(Vec<(u64, usize)>);

impl InForce {
    fn of(cluster: &Cluster) -> Self {
        Self(cluster.ids().into_iter().map(|node| (node, said(cluster, node))).collect())
    }

    /// Waits until each has said so once more.
    async fn wait(self, cluster: &Cluster) {
        for (node, before) in self.0 {
            eventually("certificates are in force", || async {
                (said(cluster, node) > before).then_some(())
            })
            .await;
        }
    }
}

fn said(cluster: &Cluster, node: u64) -> usize {
    let log = cluster.home.join(format!("dev/node-{node}/node.log"));
    let log = fs::read_to_string(log).expect("its log");
    log.matches("new certificates are in force").count()
}

/// Puts a whole file in the place of another.
fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).expect("written");
    fs::rename(new, path).expect("in its place");
}

/// Submits large payloads until no node has the beginning of the log any more; gives their ids.
async fn fill(cluster: &Cluster) -> HashSet<String> {
    let client = cluster.client("/agent_key", 0);
    let mut ids = HashSet::new();
    while !cluster.ids().iter().all(|node| cluster.metric(*node, "gate_purged_index") > 0.0) {
        let submitted = client
            .submit(&large(ids.len()), Some(&format!("large-{}", ids.len())))
            .await
            .expect("an answer");
        assert_eq!(submitted.verdict, Verdict::Allowed, "{}", submitted.answer.body);
        assert!(ids.insert(submitted.id), "each is one of its own");
        assert!(ids.len() < 500, "nothing is purged after all that");
    }
    ids
}

fn large(number: usize) -> Value {
    let note = digits(number, LARGE_CHARS);
    let payload = json!({ "lead_id": format!("large-{number}"), "note": note });
    json!({ "resource": "leads.outbound_call", "trigger": "webhook", "payload": payload })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_state_was_changed_is_out_of_service_for_good() {
    let home = TempDir::new().expect("a directory");
    let gate = Path::new(env!("CARGO_BIN_EXE_qgate"));
    let mut cluster = Cluster::start(gate, home.path(), &fixture(""), 3, base_port());
    let client = cluster.client("/agent_key", 0);
    let (first, verdict) = call(&client, "first").await;
    assert_eq!(verdict, Verdict::Allowed);

    // One node forgets who was called.
    let bad = cluster.follower().await;
    caught_up(&cluster, bad).await;
    cluster.stop(&[bad]);
    forget_windows(&cluster.home.join(format!("dev/node-{bad}/data")));
    cluster.start_again(bad);
    cluster.ready(bad).await;
    let leader = cluster.leader().await;

    // The others have not, so nobody is called twice, whichever node is asked. It may find out
    // before it can tell the answer.
    let clients = [cluster.client_at(bad, "/agent_key"), cluster.client("/agent_key", 0)];
    let (second, verdict) = eventually("a definite answer", || async {
        for client in &clients {
            if let Ok(submitted) = client.submit(&lead(), Some("second")).await {
                return Some((submitted.id, submitted.verdict));
            }
        }
        None
    })
    .await;
    assert_eq!((second, verdict), (first, Verdict::Duplicate));
    out_of_service(&cluster, bad).await;
    let others: Vec<u64> = cluster.ids().into_iter().filter(|node| *node != bad).collect();
    eventually("the others know it", || async {
        let status = cluster.status(leader).await?;
        let nodes = status["nodes"].as_array()?;
        let node = nodes.iter().find(|node| node["id"] == bad)?;
        (node["healthy"] == false).then_some(())
    })
    .await;
    for node in &others {
        cluster.ready(*node).await;
        assert_eq!(cluster.metric(*node, "gate_state_hash_mismatch_total"), 0.0);
    }

    // Started again it stays so, with nobody there to compare with.
    cluster.stop(&cluster.ids());
    cluster.start_again(bad);
    eventually("it is up", || async { cluster.status(bad).await }).await;
    out_of_service(&cluster, bad).await;
    for node in &others {
        cluster.start_again(*node);
    }
    for node in &others {
        cluster.ready(*node).await;
    }
    let (_, verdict) = call(&cluster.client("/agent_key", 0), "third").await;
    assert_eq!(verdict, Verdict::Duplicate);
    cluster.stop(&cluster.ids());
}

fn lead() -> Value {
    let payload = json!({ "lead_id": "lead-7" });
    json!({ "resource": "leads.outbound_call", "trigger": "webhook", "payload": payload })
}

async fn call(client: &Client, key: &str) -> (String, Verdict) {
    let submitted = client.submit(&lead(), Some(key)).await.expect("an answer");
    (submitted.id, submitted.verdict)
}

/// Deletes every dedup window from the state of a node that is stopped.
fn forget_windows(data_dir: &Path) {
    let state = StateStore::open(data_dir).expect("its state");
    let mut writes = Writes::new();
    let [from, to] =
        [0, u8::MAX].map(|byte| table::window(NamespaceId::DEFAULT, &Digest([byte; 32])));
    let mut delete = |key: &[u8], _: &[u8]| {
        writes.insert(key, None);
        ControlFlow::Continue(())
    };
    let scan = |view: &dyn Read, _| view.scan(&from, &to, Direction::Ascending, &mut delete);
    state.with_view(scan).expect("a view").expect("its windows");
    assert_ne!(writes, Writes::new(), "there is a window");
    state.write(&writes, &state.applied().expect("applied")).expect("written");
    state.flush().expect("flushed");
}

/// Waits until a node says that it is out of service; it answers nothing then.
async fn out_of_service(cluster: &Cluster, node: u64) {
    eventually("it finds out", || async {
        let found = cluster.metric(node, "gate_state_hash_mismatch_total");
        (found > 0.0).then_some(())
    })
    .await;
    let client = cluster.client_at(node, "/auditor_key");
    let list = Request::get(&["v1", "intents"]).query("consistency", "stale");
    for request in [Request::get(&["readyz"]).anonymous(), list] {
        let refused = match client.send(request).await {
            Err(Error::NoQuorum(refused)) => refused,
            other => refusal(other),
        };
        assert_eq!(refused.status, 503, "{refused:?}");
    }
}
