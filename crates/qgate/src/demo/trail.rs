//! What the gate kept of the story: the decisions, the trail of each intent, the audit tree.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use client::{Client, Request, Shape};
use ledger::Leaf;
use serde_json::{Value, json};
use tlog::{Edge, leaf_hash};
use types::Digest;
use types::codec::decode;
use types::limits::PAGE_ROWS_MAX;

use crate::demo::cast::Cast;
use crate::demo::report::Report;
use crate::demo::story::{Told, text};
use crate::demo::targets::count;
use crate::failure::Failure;
use crate::output::{Column, table_of};

const DECISIONS: &[Column] = &[
    ("intent", &["intent"]),
    ("resource", &["resource"]),
    ("asked by", &["agent"]),
    ("decision", &["decision"]),
    ("by rule", &["rule"]),
    ("then", &["then"]),
];

/// Shows it, and checks that it says what happened.
///
/// # Errors
/// What the gate says.
pub(crate) async fn tell(cast: &Cast, told: &[Told], report: &mut Report) -> Result<(), Failure> {
    report.scene("5  What the gate kept of it");
    let rows: Vec<Value> = told.iter().map(|told| told.row.clone()).collect();
    report.block(&table_of(&rows, DECISIONS));
    let mut ids: Vec<&str> = told.iter().map(|told| told.intent.as_str()).collect();
    ids.dedup();
    let mut trails = Vec::new();
    for id in &ids {
        let trail = cast.admin.get(&["v1", "intents", id, "audit"]).await?.body;
        let events = trail["events"].as_array().cloned().unwrap_or_default();
        report.gap();
        report.say(id);
        by_leaf(&events).iter().for_each(|line| report.say(line));
        trails.push(events);
    }
    report.gap();
    let [bulk, call, broken, mended] = trails.as_slice() else {
        return Err(Failure::refused("four intents were not four"));
    };
    let cases = [
        ("of the bulk overwrite", bulk, 0, 0),
        ("of the call", call, 1, 1),
        ("of the broken batch", broken, 0, 0),
        ("of the mended batch", mended, 1, 0),
    ];
    for (which, events, claims, duplicates) in cases {
        let number = |kind: &str| count(events.iter().filter(|e| e["event_type"] == kind).count());
        report.check(&format!("claims in the trail {which}"), claims, number("execution_claimed"));
        if duplicates > 0 {
            let what = format!("refused duplicates in the trail {which}");
            report.check(&what, duplicates, number("duplicate_refused"));
        }
    }
    let tree = cast.admin.get(&["v1", "audit", "checkpoint"]).await?.body;
    report.say(&format!("Audit tree: {} leaves, root {}", tree["size"], text(&tree, "root")));
    let leaves = Leaves::read(&cast.admin, tree["size"].as_u64().unwrap_or(0)).await?;
    report.check("the root, computed here from every leaf", text(&tree, "root"), leaves.root());
    let holds = ids.iter().zip(&trails).all(|(id, events)| leaves.hold(id, events));
    report.check("every leaf shown is one of them, and of its intent", true, holds);
    report.keep(json!({ "decisions": rows, "trails": trails, "audit": tree }));
    Ok(())
}

/// The leaves of the audit tree as the gate gives them out: their bytes, from the first on.
struct Leaves(Vec<Vec<u8>>);

impl Leaves {
    /// Reads the first `size` of them.
    async fn read(client: &Client, size: u64) -> Result<Self, Failure> {
        let mut leaves: Vec<Vec<u8>> = Vec::new();
        let mut after: Option<u64> = None;
        while (leaves.len() as u64) < size {
            let request = Request::get(&["v1", "audit", "entries"])
                .query("limit", PAGE_ROWS_MAX.to_string())
                .query_if("after", after.map(|after| after.to_string()))
                .expecting(&[("entries", Shape::List)]);
            let page = client.send(request).await?.body;
            let bytes = page["entries"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|entry| BASE64_STANDARD.decode(text(entry, "leaf")).unwrap_or_default());
            leaves.extend(bytes);
            after = page["next"].as_u64();
            if after.is_none() {
                break;
            }
        }
        leaves.truncate(usize::try_from(size).unwrap_or(usize::MAX));
        Ok(Self(leaves))
    }

    /// The root of the tree over them, as RFC 6962 has it.
    fn root(&self) -> String {
        let mut edge = Edge::new();
        self.0.iter().for_each(|leaf| edge.append(leaf_hash(leaf), &mut |_, _| {}));
        Digest(edge.root()).to_string()
    }

    /// Every event's leaf is one of these, in its place, and says that it is of this intent.
    fn hold(&self, intent: &str, events: &[Value]) -> bool {
        events.iter().all(|event| {
            let place = event["sequence"].as_u64().and_then(|place| usize::try_from(place).ok());
            let bytes = place.and_then(|place| self.0.get(place));
            let leaf = bytes.and_then(|bytes| decode::<Leaf>(bytes, "audit leaf").ok());
            leaf.is_some_and(|leaf| {
                Some(leaf.sequence) == event["sequence"].as_u64()
                    && leaf.intent.is_some_and(|id| id.to_string() == intent)
            })
        })
    }
}

/// One line for each leaf: what it says, and who did it.
fn by_leaf(events: &[Value]) -> Vec<String> {
    let mut lines = Vec::new();
    for of_leaf in events.chunk_by(|one, next| one["sequence"] == next["sequence"]) {
        let kinds: Vec<&str> = of_leaf
            .iter()
            .map(|event| text(event, "event_type"))
            // Each stands beside an event that says the same in more precise words.
            .filter(|kind| *kind != "approval_state_changed")
            .collect();
        let actors = of_leaf.iter().map(|event| text(event, "actor"));
        let actor = actors.clone().find(|actor| *actor != "system").unwrap_or("system");
        let number = of_leaf[0]["sequence"].as_u64().unwrap_or_default();
        lines.push(format!("  leaf {number:>3}  {:<36} {actor}", kinds.join(", ")));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leaf_is_one_line_with_whoever_did_it() {
        let event = |sequence: u64, kind: &str, actor: &str| {
            let (kind, actor) = (Value::from(kind), Value::from(actor));
            json!({ "sequence": sequence, "event_type": kind, "actor": actor })
        };
        let events = [
            event(7, "approval_state_changed", "system"),
            event(7, "proposed", "bot"),
            event(7, "policy_checked", "system"),
            event(12, "execution_claimed", "executor"),
        ];
        assert_eq!(
            by_leaf(&events),
            [
                format!("  leaf   7  {:<36} bot", "proposed, policy_checked"),
                format!("  leaf  12  {:<36} executor", "execution_claimed"),
            ]
        );
    }
}
