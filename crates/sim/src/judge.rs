//! The cluster is made ready, and in the end what is there is held against what was told.
//!
//! Invariant: nothing is judged before all nodes that can run do, and have the same, and no claim
//! is open.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use checker::audit::{self, Shown};
use checker::effects::{self, Effect};
use checker::entries::{self, Kinds};
use checker::freezes;
use checker::history::Listed;
use checker::life::Life;
use checker::questions::{NOTES_FROM, VOTES_NEEDED, destinations, gates, is_keyed};
use serde_json::{Value, json};

use crate::cluster::{Cluster, Keys, TARGET};
use crate::http::{self, Answer};
use crate::notes::EXPIRE_AFTER_MS;
use crate::workload::{AGAIN, checkpoint, now};

/// Longer than any run.
const WINDOW_SECONDS: u64 = 86_400;
/// How long the nodes may take to show the same once nobody asks any more.
const SETTLES_WITHIN: Duration = Duration::from_secs(20);
/// What targets do late they have done by then.
const AFTERWARDS: Duration = faulty_target::HANGS.saturating_add(Duration::from_secs(1));

/// Makes principals, gates and destinations.
pub(crate) async fn prepare(cluster: &Cluster) -> Keys {
    cluster.known().await;
    let admin = cluster.admin_key.reveal();
    let policies = json!({ "policies": { "gates": gates(WINDOW_SECONDS) } });
    done(|| http::send(1, "PUT", "/v1/policies", admin, Some("policies"), &policies)).await;
    for (name, document) in destinations(&format!("http://{TARGET}")) {
        let (path, body) = (format!("/v1/destinations/{name}"), Value::String(document));
        done(|| http::send(1, "PUT", &path, admin, Some(name), &body)).await;
    }
    let mut keys = Keys::default();
    for (name, role) in
        [("agent", "agent"), ("first", "reviewer"), ("second", "reviewer"), ("third", "reviewer")]
    {
        let body = json!({ "name": name, "role": role });
        let made =
            done(|| http::send(1, "POST", "/v1/agents/register", admin, Some(name), &body)).await;
        let [id, key] =
            ["agentId", "apiKey"].map(|name| made.body[name].as_str().expect(name).to_owned());
        match role {
            "agent" => keys.agent = key,
            _ => keys.people.push((id, key)),
        }
    }
    keys
}

/// Holds what was told against what is there when all has healed.
pub(crate) async fn judge(cluster: &Cluster) {
    let admin = cluster.admin_key.reveal();
    let kinds = Kinds {
        held: cluster.history.borrow().intents_of(|lead| lead >= NOTES_FROM),
        repeating: cluster.history.borrow().intents_of(is_keyed),
        votes_needed: VOTES_NEEDED,
        expires_after_ms: Some(EXPIRE_AFTER_MS),
        ..Kinds::default()
    };
    _ = settled(cluster, admin, &kinds).await;
    tokio::time::sleep(AFTERWARDS).await;
    let Settled { shown, lives, done, listed, entries } = settled(cluster, admin, &kinds).await;
    let history = cluster.history.borrow();
    let checked = listed.iter().try_for_each(|listed| history.check(listed));
    let checked = checked.and_then(|()| audit::check(&shown, &history.seen));
    let checked = checked.and(lives).and_then(|lives| {
        let heard = cluster.heard.borrow();
        let seen = effects::check(&lives, &done, &heard, &history.contents())?;
        cluster.count(|counts| {
            (counts.effects, counts.in_doubt) = (seen.effects, seen.in_doubt);
            (counts.rejected, counts.expired) = (seen.rejected, seen.expired);
        });
        let freezes = cluster.freezes.borrow();
        let stood = freezes::check(&entries, &freezes, &cluster.target.happened())?;
        cluster.count(|counts| counts.freezes = stood);
        Ok(())
    });
    cluster.judged(checked);
}

/// What all nodes show when it is the same, and what the target had done by then.
struct Settled {
    shown: Vec<Shown>,
    lives: Result<Vec<Life>, String>,
    done: Vec<Effect>,
    /// What each node has.
    listed: Vec<Vec<Listed>>,
    /// The audit log.
    entries: Vec<Value>,
}

/// Waits until all nodes show the same, and nothing is under way any more. After a while it is as
/// it is.
async fn settled(cluster: &Cluster, admin: &str, kinds: &Kinds) -> Settled {
    let ends = now() + SETTLES_WITHIN;
    loop {
        let shown = look(cluster, admin, kinds).await;
        match shown {
            Some((true, settled)) => return settled,
            Some((false, settled)) if now() > ends => return settled,
            _ => tokio::time::sleep(10 * AGAIN).await,
        }
    }
}

/// What there is, and whether it is settled, if all nodes answer.
async fn look(cluster: &Cluster, admin: &str, kinds: &Kinds) -> Option<(bool, Settled)> {
    let done = cluster.target.effects();
    let (mut shown, mut last, mut is_one) = (Vec::new(), Vec::new(), true);
    let mut listed = Vec::new();
    for node in cluster.nodes() {
        let all = checkpoint(node, admin, "linearizable").await?;
        let own = checkpoint(node, admin, "stale").await?;
        last = rows(node, admin, "/v1/audit/entries", "entries", "after").await?;
        listed.push(list(node, admin).await?);
        is_one &= all.0 == own.0 && last.len() as u64 == own.0;
        shown.push(Shown { node, root: own.1, leaves: leaves(&last) });
    }
    is_one &= shown.iter().all(|one| one.leaves.len() == shown[0].leaves.len());
    let lives = entries::lives(&last, kinds);
    let is_under_way = lives.as_ref().is_ok_and(|lives| lives.iter().any(Life::is_under_way));
    // What is in doubt is tried again all the time where that does no harm.
    let is_settled = is_one && !is_under_way && cluster.target.effects().len() == done.len();
    Some((is_settled, Settled { shown, lives, done, listed, entries: last }))
}

/// Every leaf that a node lists of what it has.
fn leaves(entries: &[Value]) -> Vec<(u64, Vec<u8>)> {
    let leaf = |row: &Value| {
        let bytes = BASE64_STANDARD.decode(row["leaf"].as_str().unwrap_or_default());
        (row["sequence"].as_u64().unwrap_or_default(), bytes.unwrap_or_default())
    };
    entries.iter().map(leaf).collect()
}

/// Every intent that a node has.
async fn list(node: u64, admin: &str) -> Option<Vec<Listed>> {
    let rows = rows(node, admin, "/v1/intents", "intents", "before").await?;
    let text = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
    let listed = |row: Value| Listed {
        id: text(&row, "intentId"),
        payload_hash: text(&row, "payload_hash"),
    };
    Some(rows.into_iter().map(listed).collect())
}

/// All pages of a list that a node has, each row as it is, if it answers.
async fn rows(node: u64, admin: &str, list: &str, name: &str, cursor: &str) -> Option<Vec<Value>> {
    let (mut all, mut from) = (Vec::new(), String::new());
    loop {
        let path = format!("{list}?limit=1000&consistency=stale{from}");
        let page = http::send(node, "GET", &path, admin, None, &Value::Null).await.ok()?;
        if page.status != 200 {
            return None;
        }
        all.extend(page.body[name].as_array().into_iter().flatten().cloned());
        let next = match &page.body["next"] {
            Value::Null => return Some(all),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        from = format!("&{cursor}={next}");
    }
}

/// Sends something until it is answered well.
async fn done<F: Future<Output = Result<Answer, String>>>(send: impl Fn() -> F) -> Answer {
    loop {
        match send().await {
            Ok(answer) if answer.status < 300 => return answer,
            other => tracing::info!(?other, "not yet"),
        }
        tokio::time::sleep(AGAIN).await;
    }
}
