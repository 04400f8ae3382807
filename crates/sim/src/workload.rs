//! What clients ask for while nodes fail, and what is looked at when they have stopped failing.
//!
//! Invariant: a key is sent with one content only, until it has a definite answer.

use std::rc::Rc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use checker::audit::{self, Shown};
use checker::history::{Asked, Listed, Seen, Told, payload};
use rand::RngExt as _;
use serde_json::{Value, json};

use crate::cluster::{Cluster, NODES};
use crate::http::{self, Answer};

const CLIENTS: u64 = 4;
/// Leads of which clients draw one, from the newest on: few, so that they meet.
const LEADS: u64 = 8;
/// So many turns of one client make a new lead.
const TURNS: u64 = 2;
/// The rest before something is sent again.
const AGAIN: Duration = Duration::from_millis(50);

/// One call per lead, longer than any run.
const GATES: &str = "\
gates:
  - name: calls
    resource: phone.*
    policies:
      - idempotency_key: { window_seconds: 86400, key: lead_id }
";

/// Starts everything that asks.
pub(crate) fn start(sim: &mut turmoil::Sim<'_>, cluster: &Rc<Cluster>) {
    let shared = cluster.clone();
    sim.client("judge", async move { judge(&shared).await });
    for client in 0..CLIENTS {
        let shared = cluster.clone();
        sim.client(format!("c{client}"), async move {
            let key = shared.agent_key().await;
            submit(&shared, &key, client).await;
            shared.client_ended();
            Ok(())
        });
    }
    for node in NODES {
        let shared = cluster.clone();
        sim.client(format!("r{node}"), async move {
            let key = shared.agent_key().await;
            read(&shared, &key, node).await;
            Ok(())
        });
    }
}

/// One key after the other, each through any node, until it has its answer.
async fn submit(cluster: &Cluster, api_key: &str, client: u64) {
    let mut numbers = cluster.numbers();
    let mut turn = 0;
    while !cluster.is_over() {
        tokio::time::sleep(Duration::from_millis(numbers.random_range(1..40))).await;
        turn += 1;
        let (key, lead) =
            (format!("c{client}-{turn}"), turn / TURNS + numbers.random_range(0..LEADS));
        let payload: Value = serde_json::from_str(&payload(&key, lead)).expect("it is JSON");
        let body = json!({ "resource": "phone.call", "payload": payload });
        let mut asked = Asked { key, lead, told: Vec::new(), answered: None };
        // Some answers are asked for again.
        let mut more = numbers.random_range(0..4_u32) / 3;
        loop {
            let node = numbers.random_range(NODES);
            let sent =
                http::send(node, "POST", "/v1/intents", api_key, Some(&asked.key), &body).await;
            if let Ok(Answer { term: Some(term), .. }) = sent {
                cluster.count(|counts| _ = counts.terms.insert(term));
            }
            let told = told(sent);
            tracing::info!(key = asked.key, lead, node, ?told, "told");
            let is_definite = told != Told::Nothing;
            asked.told.push(told);
            if is_definite {
                asked.answered.get_or_insert_with(now);
                cluster.count(|counts| counts.answers += 1);
                if matches!(asked.told.last(), Some(Told::Accepted(_))) {
                    cluster.count(|counts| counts.accepted += 1);
                }
                match more.checked_sub(1) {
                    Some(less) => more = less,
                    None => break,
                }
            }
            tokio::time::sleep(AGAIN).await;
        }
        cluster.history.borrow_mut().asked.push(asked);
    }
}

/// How long the simulation has run.
fn now() -> Duration {
    turmoil::sim_elapsed().unwrap_or_default()
}

fn told(sent: Result<Answer, String>) -> Told {
    let Ok(answer) = sent else { return Told::Nothing };
    let id = answer.body["intentId"].as_str().unwrap_or_default().to_owned();
    match (answer.status, answer.body["status"].as_str()) {
        (200, Some("approved")) => Told::Accepted(id),
        (200 | 409, Some("duplicate_blocked")) => Told::Duplicate(id),
        (500.. | 429, _) => Told::Nothing,
        (status, _) => Told::Refused(status),
    }
}

/// Looks at the audit tree through one node.
async fn read(cluster: &Cluster, api_key: &str, node: u64) {
    let mut numbers = cluster.numbers();
    while !cluster.is_over() {
        let began = now();
        let consistency = if numbers.random_bool(0.3) { "lease" } else { "linearizable" };
        let sent = checkpoint(node, api_key, consistency).await;
        let ended = now();
        if let Some((leaves, root)) = sent {
            cluster.history.borrow_mut().seen.push(Seen { began, ended, leaves, root });
            cluster.count(|counts| counts.reads += 1);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Leaves and root of the audit tree as a node has them.
async fn checkpoint(node: u64, api_key: &str, consistency: &str) -> Option<(u64, String)> {
    let path = format!("/v1/audit/checkpoint?consistency={consistency}");
    let answer = http::send(node, "GET", &path, api_key, None, &Value::Null).await.ok()?;
    let root = answer.body["root"].as_str()?.to_owned();
    Some((answer.body["size"].as_u64()?, root))
}

/// Sets the cluster up, and holds what was told against what is there when all has healed.
async fn judge(cluster: &Cluster) -> turmoil::Result {
    cluster.known().await;
    let admin = cluster.admin_key.reveal();
    let policies = json!({ "policies": { "gates": GATES } });
    done(|| http::send(1, "PUT", "/v1/policies", admin, Some("policies"), &policies)).await;
    let body = json!({ "name": "agent", "role": "agent" });
    let registered =
        done(|| http::send(1, "POST", "/v1/agents/register", admin, Some("agent"), &body)).await;
    cluster.registered(registered.body["apiKey"].as_str().expect("a key"));
    cluster.clients_ended(CLIENTS).await;
    let (mut shown, mut listed) = (Vec::new(), Vec::new());
    for node in NODES {
        let root = equal(node, admin).await;
        shown.push(Shown { node, root, leaves: leaves(node, admin).await });
        listed.push(list(node, admin).await);
    }
    let history = cluster.history.borrow();
    let checked = listed.iter().try_for_each(|listed| history.check(listed));
    let checked = checked.and_then(|()| audit::check(&shown, &history.seen));
    cluster.judged(checked);
    Ok(())
}

/// Every leaf that a node lists of what it has.
async fn leaves(node: u64, admin: &str) -> Vec<(u64, Vec<u8>)> {
    let rows = rows(node, admin, "/v1/audit/entries", "entries", "after").await;
    let leaf = |row: Value| {
        let bytes = BASE64_STANDARD.decode(row["leaf"].as_str().unwrap_or_default());
        (row["sequence"].as_u64().unwrap_or_default(), bytes.unwrap_or_default())
    };
    rows.into_iter().map(leaf).collect()
}

/// The root of a node's tree, once it has as many leaves as the cluster.
async fn equal(node: u64, admin: &str) -> String {
    loop {
        let all = checkpoint(node, admin, "linearizable").await;
        let own = checkpoint(node, admin, "stale").await;
        if let (Some(all), Some(own)) = (all, own)
            && all.0 == own.0
        {
            return own.1;
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Every intent that a node has.
async fn list(node: u64, admin: &str) -> Vec<Listed> {
    let rows = rows(node, admin, "/v1/intents", "intents", "before").await;
    let text = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
    let listed = |row: Value| Listed {
        id: text(&row, "intentId"),
        payload_hash: text(&row, "payload_hash"),
    };
    rows.into_iter().map(listed).collect()
}

/// All pages of a list that a node has, each row as it is.
async fn rows(node: u64, admin: &str, list: &str, name: &str, cursor: &str) -> Vec<Value> {
    let (mut all, mut from) = (Vec::new(), String::new());
    loop {
        let path = format!("{list}?limit=1000&consistency=stale{from}");
        let page = done(|| http::send(node, "GET", &path, admin, None, &Value::Null)).await;
        all.extend(page.body[name].as_array().into_iter().flatten().cloned());
        let next = match &page.body["next"] {
            Value::Null => return all,
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        from = format!("&{cursor}={next}");
    }
}

async fn done<F: Future<Output = Result<Answer, String>>>(send: impl Fn() -> F) -> Answer {
    loop {
        match send().await {
            Ok(answer) if answer.status < 300 => return answer,
            other => tracing::info!(?other, "not yet"),
        }
        tokio::time::sleep(AGAIN).await;
    }
}
