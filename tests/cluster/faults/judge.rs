//! What is there in the end, gathered from every node, and held against what was told.
//!
//! Invariant: nothing is judged before all nodes run, nobody asks any more, and no claim is open.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use checker::audit::{self, Shown};
use checker::effects::{self, Became, Effect, Life, Step};
use checker::history::Listed;
use client::{Client, Request};
use serde_json::Value;

use crate::support::node::eventually;
use crate::tally::Tally;
use crate::work::Record;
use crate::world::World;

/// The first promise that was broken.
pub(crate) async fn judge(
    world: &World,
    record: &Record,
    is_filler: impl Fn(&str) -> bool,
    effects: impl Fn() -> Vec<Effect>,
    tally: &mut Tally,
) -> Result<(), String> {
    let entries = eventually("everything that was released is carried out", || async {
        let entries = entries(&world.client(world.ids()[0], &world.keys.admin)).await;
        let open = lives(&entries, &is_filler).into_iter().any(|life| life.is_under_way());
        (!open).then_some(entries)
    })
    .await;
    let (mut shown, mut all_listed) = (Vec::new(), Vec::new());
    for id in world.ids() {
        world.caught_up(id).await;
        let client = world.client(id, &world.keys.admin);
        shown.push(Shown { node: id, root: root(&client).await, leaves: leaves(&client).await });
        let mut listed = listed(&client).await;
        listed.retain(|row| !is_filler(&row.id));
        all_listed.push(listed);
    }
    all_listed.iter().try_for_each(|listed| record.history.check(listed))?;
    audit::check(&shown, &record.history.seen)?;
    let lives = lives(&entries, &is_filler);
    heard(record, &lives)?;
    let seen = effects::check(&lives, &effects())?;
    (tally.effects, tally.in_doubt, tally.refused) = (seen.effects, seen.in_doubt, seen.refused);
    tally.accepted = all_listed[0].len() as u64;
    Ok(())
}

/// Whoever was told that a word was heard finds it in the log.
fn heard(record: &Record, lives: &[Life]) -> Result<(), String> {
    let by_id: BTreeMap<&str, &Life> =
        lives.iter().map(|life| (life.intent.as_str(), life)).collect();
    let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
    for decided in &record.decided {
        let life = by_id.get(decided.intent.as_str());
        let Some(life) = life else { return Err(format!("{} is lost", decided.intent)) };
        if decided.rejects && !life.steps.contains(&Step::Refused) {
            return Err(format!("{}: a rejection is lost", decided.intent));
        }
        *votes.entry(&decided.intent).or_default() += usize::from(!decided.rejects);
    }
    for (intent, told) in votes {
        let steps = &by_id[intent].steps;
        let there = steps.iter().filter(|step| matches!(step, Step::Vote(_))).count();
        if there < told {
            return Err(format!("{intent}: of {told} votes {there} are there"));
        }
    }
    Ok(())
}

/// The lives of all intents, as the audit log has them.
fn lives(entries: &[Value], is_filler: &impl Fn(&str) -> bool) -> Vec<Life> {
    let mut lives: BTreeMap<&str, Life> = BTreeMap::new();
    for entry in entries {
        let Some(intent) = entry["intent_id"].as_str() else { continue };
        let life = lives.entry(intent).or_insert_with(|| Life {
            intent: intent.to_owned(),
            votes_needed: 0,
            steps: Vec::new(),
        });
        let metadata = &entry["metadata"];
        let execution = || metadata["executionId"].as_str().expect("an id").to_owned();
        let step = match entry["event_type"].as_str().expect("a kind") {
            "intent_submitted" => {
                let is_note = metadata["destination"] == "crm.note";
                life.votes_needed = if is_note { 2 } else { 0 };
                (metadata["phase"] == "allowed").then_some(Step::Released)
            }
            "approval_vote_recorded" => {
                Some(Step::Vote(entry["actor_id"].as_str().expect("who").to_owned()))
            }
            "approved" => Some(Step::Released),
            "rejected" | "cancelled" | "expired" | "blocked" => Some(Step::Refused),
            "execution_requested" => Some(Step::Claim {
                execution: execution(),
                fence: metadata["fence"].as_u64().expect("a fence"),
            }),
            "execution_succeeded" => Some(Step::Ended(execution(), Became::Succeeded)),
            "execution_failed" => Some(Step::Ended(execution(), Became::Failed)),
            "execution_in_doubt" => Some(Step::Ended(execution(), Became::Doubt)),
            "execution_given_back" => Some(Step::Ended(execution(), Became::GivenBack)),
            "left_to_people" | "duplicate_refused" => None,
            other => panic!("violation: {intent} has an event {other}"),
        };
        life.steps.extend(step);
    }
    lives.into_values().filter(|life| !is_filler(&life.intent)).collect()
}

async fn entries(client: &Client) -> Vec<Value> {
    rows(client, &["v1", "audit", "entries"], "entries", "after").await
}

/// Every leaf that a node lists of what it has.
async fn leaves(client: &Client) -> Vec<(u64, Vec<u8>)> {
    let leaf = |row: &Value| {
        let bytes = BASE64_STANDARD.decode(row["leaf"].as_str().expect("a leaf"));
        (row["sequence"].as_u64().expect("a number"), bytes.expect("bytes"))
    };
    entries(client).await.iter().map(leaf).collect()
}

async fn root(client: &Client) -> String {
    let request = Request::get(&["v1", "audit", "checkpoint"]).query("consistency", "stale");
    let answer = client.send(request).await.expect("a checkpoint");
    answer.text("root").expect("a root").to_owned()
}

/// Every intent that a node has.
async fn listed(client: &Client) -> Vec<Listed> {
    let text = |row: &Value, name: &str| row[name].as_str().expect(name).to_owned();
    let listed =
        |row: &Value| Listed { id: text(row, "intentId"), payload_hash: text(row, "payload_hash") };
    let rows = rows(client, &["v1", "intents"], "intents", "before").await;
    rows.iter().map(listed).collect()
}

/// All pages of a list that a node has, each row as it is.
async fn rows(client: &Client, path: &[&str], name: &str, cursor: &str) -> Vec<Value> {
    let (mut all, mut from) = (Vec::new(), None);
    loop {
        let request = Request::get(path).query("limit", "1000").query("consistency", "stale");
        let request = request.query_if(cursor, from.clone());
        let page = client.send(request).await.expect("a page");
        all.extend(page.body[name].as_array().expect(name).iter().cloned());
        from = match &page.body["next"] {
            Value::Null => return all,
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        };
    }
}
