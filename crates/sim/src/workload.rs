//! What clients ask for while nodes fail: calls of leads, and reads of what was answered.
//!
//! Invariant: a key is sent with one content only, until it has a definite answer.

use std::rc::Rc;
use std::time::Duration;

use checker::history::{Asked, Call, Found, Seen, Told, payload};
use checker::questions::resource;
use rand::RngExt as _;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use crate::cluster::{Cluster, NODES, TARGET, TARGET_PORT};
use crate::http::{self, Answer};
use crate::{freezing, judge, notes};

/// Where all of them stand.
pub(crate) const CLIENTS: &str = "clients";
/// Clients that ask for calls, and such that ask for notes.
const CALLERS: u64 = 4;
const NOTERS: u64 = 2;
/// Leads of which callers draw one, from the newest on: few, so that they meet.
const LEADS: u64 = 8;
/// So many turns of one caller make a new lead.
const TURNS: u64 = 2;
/// The rest before something is sent again.
pub(crate) const AGAIN: Duration = Duration::from_millis(50);

/// Starts everything that asks, and what is called. All clients stand on one host: what lies
/// between them and the nodes is no part of the run.
pub(crate) fn start(sim: &mut turmoil::Sim<'_>, cluster: &Rc<Cluster>) {
    let target = cluster.target.clone();
    sim.host(TARGET, move || {
        let target = target.clone();
        async move {
            let listener = machine::net::TcpListener::bind(("0.0.0.0", TARGET_PORT)).await?;
            target.serve(listener).await;
            Ok(())
        }
    });
    let cluster = cluster.clone();
    sim.client(CLIENTS, async move {
        let keys = judge::prepare(&cluster).await;
        let mut asking = Vec::new();
        for number in 0..CALLERS {
            let (cluster, key) = (cluster.clone(), keys.agent.clone());
            asking.push(tokio::task::spawn_local(async move {
                call(&cluster, &key, number).await;
            }));
        }
        for number in 0..NOTERS {
            let (cluster, keys) = (cluster.clone(), keys.clone());
            asking.push(tokio::task::spawn_local(async move {
                notes::ask(&cluster, &keys, number).await;
            }));
        }
        let (freezing, all_keys) = (cluster.clone(), keys.clone());
        asking.push(tokio::task::spawn_local(async move {
            freezing::ask(&freezing, &all_keys).await;
        }));
        for node in NODES {
            let (cluster, key) = (cluster.clone(), keys.agent.clone());
            asking.push(tokio::task::spawn_local(async move {
                read(&cluster, &key, node).await;
            }));
        }
        for client in asking {
            client.await?;
        }
        judge::judge(&cluster).await;
        Ok(())
    });
}

/// One call of a lead after the other.
async fn call(cluster: &Cluster, api_key: &str, caller: u64) {
    let mut numbers = cluster.numbers();
    let mut turn = 0;
    while !cluster.is_over() {
        tokio::time::sleep(Duration::from_millis(numbers.random_range(1..80))).await;
        turn += 1;
        let (key, lead) =
            (format!("c{caller}-{turn}"), turn / TURNS + numbers.random_range(0..LEADS));
        let intent = json!({ "resource": resource(lead) });
        // Some answers are asked for again.
        let more = numbers.random_range(0..4_u32) / 3;
        submit(
            cluster,
            &mut numbers,
            api_key,
            Asked { key, lead, calls: Vec::new() },
            intent,
            more,
        )
        .await;
    }
}

/// Sends a key through any node until its answer is definite, and so often again after that. Gives
/// the intent that came of it.
pub(crate) async fn submit(
    cluster: &Cluster,
    numbers: &mut StdRng,
    api_key: &str,
    mut asked: Asked,
    mut intent: Value,
    mut more: u32,
) -> Option<String> {
    let (key, lead) = (asked.key.clone(), asked.lead);
    intent["payload"] = serde_json::from_str(&payload(&key, lead)).expect("it is JSON");
    let mut accepted = None;
    loop {
        let (node, began) = (numbers.random_range(NODES), now());
        let sent = http::send(node, "POST", "/v1/intents", api_key, Some(&key), &intent).await;
        if let Ok(Answer { term: Some(term), .. }) = sent {
            cluster.count(|counts| _ = counts.terms.insert(term));
        }
        let told = told(sent);
        tracing::info!(key, lead, node, ?told, "told");
        asked.calls.push(Call { began, ended: now(), told: told.clone() });
        if told != Told::Nothing {
            cluster.count(|counts| counts.answers += 1);
            if let Told::Accepted(id) = told {
                cluster.count(|counts| counts.accepted += 1);
                cluster.newest.replace(Some(id.clone()));
                accepted = Some(id);
            }
            match more.checked_sub(1) {
                Some(less) => more = less,
                None => break,
            }
        }
        tokio::time::sleep(AGAIN).await;
    }
    cluster.history.borrow_mut().asked.push(asked);
    accepted
}

/// How long the simulation has run.
pub(crate) fn now() -> Duration {
    turmoil::sim_elapsed().unwrap_or_default()
}

fn told(sent: Result<Answer, String>) -> Told {
    let Ok(answer) = sent else { return Told::Nothing };
    let id = answer.body["intentId"].as_str().unwrap_or_default().to_owned();
    match (answer.status, answer.body["status"].as_str()) {
        (200, Some("approved" | "pending_approval")) => Told::Accepted(id),
        (200 | 409, Some("duplicate_blocked")) => Told::Duplicate(id),
        // 500 says that something broke.
        (501.. | 429, _) => Told::Nothing,
        (status, _) => Told::Refused(status),
    }
}

/// Looks through one node at the audit tree, or at what a client was just told of.
async fn read(cluster: &Cluster, api_key: &str, node: u64) {
    let mut numbers = cluster.numbers();
    while !cluster.is_over() {
        let consistency = if numbers.random_bool(0.3) { "lease" } else { "linearizable" };
        let newest = cluster.newest.borrow().clone().filter(|_| numbers.random_bool(0.3));
        let began = now();
        match newest {
            Some(intent) => {
                let path = format!("/v1/intents/{intent}?consistency={consistency}");
                let sent = http::send(node, "GET", &path, api_key, None, &Value::Null).await;
                if let Some(shown) = sent.ok().as_ref().and_then(shown) {
                    let found = Found { began, intent, shown };
                    cluster.history.borrow_mut().found.push(found);
                    cluster.count(|counts| counts.reads += 1);
                }
            }
            None => {
                if let Some((leaves, root)) = checkpoint(node, api_key, consistency).await {
                    let seen = Seen { began, ended: now(), leaves, root };
                    cluster.history.borrow_mut().seen.push(seen);
                    cluster.count(|counts| counts.reads += 1);
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The digest of the content of what was asked for, or that it is not there, if the answer says so.
fn shown(answer: &Answer) -> Option<Option<String>> {
    match answer.status {
        200 => Some(Some(answer.body["payload_hash"].as_str().unwrap_or_default().to_owned())),
        404 => Some(None),
        _ => None,
    }
}

/// Leaves and root of the audit tree as a node has them.
pub(crate) async fn checkpoint(
    node: u64,
    api_key: &str,
    consistency: &str,
) -> Option<(u64, String)> {
    let path = format!("/v1/audit/checkpoint?consistency={consistency}");
    let answer = http::send(node, "GET", &path, api_key, None, &Value::Null).await.ok()?;
    let root = answer.body["root"].as_str()?.to_owned();
    Some((answer.body["size"].as_u64()?, root))
}
