//! What is there in the end, gathered from every node, and held against what was told.
//!
//! Invariant: nothing is judged before all nodes run, nobody asks any more, and no claim is open.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use checker::audit::{self, Shown};
use checker::effects::{self, Answer, Effect};
use checker::entries::{self, Kinds};
use checker::freezes;
use checker::history::{Listed, Seen};
use checker::life::Life;
use checker::questions::{NOTES_FROM, VOTES_NEEDED, is_keyed};
use client::{Client, Request};
use faulty_target::{HANGS, Target};
use serde_json::Value;
use tokio::time::sleep;

use crate::support::DEADLINE;
use crate::tally::Tally;
use crate::work::{EXPIRE_AFTER_MS, Record};
use crate::world::World;

/// What targets do late they have done by then.
const AFTERWARDS: Duration = HANGS.saturating_add(Duration::from_secs(1));
/// The rest between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The first promise that was broken.
pub(crate) async fn judge(
    world: &World,
    record: &Record,
    fillers: BTreeSet<String>,
    target: &Target,
    tally: &mut Tally,
) -> Result<(), String> {
    let kinds = Kinds {
        held: record.history.intents_of(|lead| lead >= NOTES_FROM),
        repeating: record.history.intents_of(is_keyed),
        votes_needed: VOTES_NEEDED,
        expires_after_ms: Some(EXPIRE_AFTER_MS),
        others: fillers,
    };
    _ = settled(world, &kinds, target).await;
    sleep(AFTERWARDS).await;
    let (lives, shown, done, entries) = settled(world, &kinds, target).await;
    let mut all_listed = Vec::new();
    for id in world.ids() {
        let client = world.client(id, &world.keys.admin);
        let mut listed = listed(&client).await;
        listed.retain(|row| !kinds.others.contains(&row.id));
        all_listed.push(listed);
    }
    let Record { history, left, heard, freezes, .. } = record;
    all_listed.iter().try_for_each(|listed| history.check(listed))?;
    let told: Vec<Seen> = history.seen.iter().chain(left).cloned().collect();
    audit::check(&shown, &told)?;
    let seen = effects::check(&lives?, &done, heard, &history.contents())?;
    (tally.effects, tally.in_doubt) = (seen.effects, seen.in_doubt);
    (tally.rejected, tally.expired) = (seen.rejected, seen.expired);
    tally.freezes = freezes::check(&entries, freezes, &target.happened())?;
    tally.accepted = all_listed[0].len() as u64;
    let counts = heard.iter().filter(|heard| heard.answer == Answer::Counts);
    tally.votes = counts.count() as u64;
    Ok(())
}

type All = (Result<Vec<Life>, String>, Vec<Shown>, Vec<Effect>, Vec<Value>);

/// Waits until nodes show the same and nothing is under way any more. What is not so after a while
/// never will be.
async fn settled(world: &World, kinds: &Kinds, target: &Target) -> All {
    let ends = Instant::now() + DEADLINE;
    loop {
        let (is_settled, all) = look(world, kinds, target).await;
        if is_settled || Instant::now() > ends {
            return all;
        }
        sleep(LOOK_EVERY).await;
    }
}

/// What there is, and whether nodes show the same and nothing is under way any more.
async fn look(world: &World, kinds: &Kinds, target: &Target) -> (bool, All) {
    let done = target.effects();
    let (mut shown, mut last, mut is_one) = (Vec::new(), Vec::new(), true);
    for id in world.ids() {
        world.caught_up(id).await;
        let (size, root) = world.checkpoint(id).await;
        last = entries(&world.client(id, &world.keys.admin)).await;
        // Something may have come meanwhile.
        is_one &= last.len() as u64 == size;
        shown.push(Shown { node: id, root, leaves: leaves(&last) });
    }
    is_one &= shown.iter().all(|one| one.leaves.len() == shown[0].leaves.len());
    let lives = entries::lives(&last, kinds);
    let is_under_way = lives.as_ref().is_ok_and(|lives| lives.iter().any(Life::is_under_way));
    // What is in doubt is tried again all the time where that does no harm.
    let is_quiet = !is_under_way && target.effects().len() == done.len();
    (is_one && is_quiet, (lives, shown, done, last))
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
