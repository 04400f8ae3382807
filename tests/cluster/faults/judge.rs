//! What is there in the end, gathered from every node, and held against what was told.
//!
//! Invariant: nothing is judged before all nodes run, nobody asks any more, and no claim is open.

use std::collections::{BTreeMap, HashSet};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use checker::audit::{self, Shown};
use checker::effects::{self, Became, Effect, Life, Step};
use checker::history::{Listed, Seen, Told};
use client::{Client, Request};
use serde_json::Value;

use crate::support::node::eventually;
use crate::tally::Tally;
use crate::work::{NOTES_FROM, Record};
use crate::world::World;

/// The first promise that was broken.
pub(crate) async fn judge(
    world: &World,
    record: &Record,
    is_filler: impl Fn(&str) -> bool,
    effects: impl Fn() -> Vec<Effect>,
    tally: &mut Tally,
) -> Result<(), String> {
    let notes = notes(record);
    let (lives, shown) = eventually("everything that was released is carried out", || async {
        let mut shown = Vec::new();
        let mut last = Vec::new();
        for id in world.ids() {
            world.caught_up(id).await;
            let (size, root) = world.checkpoint(id).await;
            last = entries(&world.client(id, &world.keys.admin)).await;
            // Something came meanwhile.
            if last.len() as u64 != size {
                return None;
            }
            shown.push(Shown { node: id, root, leaves: leaves(&last) });
        }
        let is_one = shown.iter().all(|one| one.leaves.len() == shown[0].leaves.len());
        let lives = lives(&last, &notes, &is_filler);
        (is_one && !lives.iter().any(Life::is_under_way)).then_some((lives, shown))
    })
    .await;
    let mut all_listed = Vec::new();
    for id in world.ids() {
        let client = world.client(id, &world.keys.admin);
        let mut listed = listed(&client).await;
        listed.retain(|row| !is_filler(&row.id));
        all_listed.push(listed);
    }
    all_listed.iter().try_for_each(|listed| record.history.check(listed))?;
    let told: Vec<Seen> = record.history.seen.iter().chain(&record.left).cloned().collect();
    audit::check(&shown, &told)?;
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
    for decided in &record.decided {
        let life = by_id.get(decided.intent.as_str());
        let Some(life) = life else { return Err(format!("{} is lost", decided.intent)) };
        if decided.rejects && !life.steps.contains(&Step::Refused) {
            return Err(format!("{}: a rejection is lost", decided.intent));
        }
        if !decided.rejects && !life.steps.contains(&Step::Vote(decided.by.clone())) {
            return Err(format!("{}: the vote of {} is lost", decided.intent, decided.by));
        }
    }
    Ok(())
}

/// The intents that are notes, as the clients know them.
fn notes(record: &Record) -> HashSet<&str> {
    let notes = record.history.asked.iter().filter(|asked| asked.lead >= NOTES_FROM);
    let told = notes.flat_map(|asked| &asked.told).filter_map(|told| match told {
        Told::Accepted(id) => Some(id.as_str()),
        _ => None,
    });
    told.collect()
}

/// The lives of all intents, as the audit log has them.
fn lives(entries: &[Value], notes: &HashSet<&str>, is_filler: &impl Fn(&str) -> bool) -> Vec<Life> {
    let mut lives: BTreeMap<&str, Life> = BTreeMap::new();
    for entry in entries {
        let Some(intent) = entry["intent_id"].as_str() else { continue };
        let life = lives.entry(intent).or_insert_with(|| Life {
            intent: intent.to_owned(),
            votes_needed: if notes.contains(intent) { 2 } else { 0 },
            steps: Vec::new(),
        });
        let metadata = &entry["metadata"];
        let execution = || metadata["executionId"].as_str().expect("an id").to_owned();
        let step = match entry["event_type"].as_str().expect("a kind") {
            "intent_submitted" => (metadata["phase"] == "allowed").then_some(Step::Released),
            "approval_vote_recorded" => {
                Some(Step::Vote(entry["actor_id"].as_str().expect("who").to_owned()))
            }
            "approved" => Some(Step::Released),
            // Nothing expires in a run, whatever a clock does, and nobody withdraws anything.
            "rejected" => Some(Step::Refused),
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
fn leaves(entries: &[Value]) -> Vec<(u64, Vec<u8>)> {
    let leaf = |row: &Value| {
        let bytes = BASE64_STANDARD.decode(row["leaf"].as_str().expect("a leaf"));
        (row["sequence"].as_u64().expect("a number"), bytes.expect("bytes"))
    };
    entries.iter().map(leaf).collect()
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
