//! What the gate kept of the story: the decisions, the trail of each intent, the audit tree.

use serde_json::{Value, json};

use crate::demo::cast::Cast;
use crate::demo::report::Report;
use crate::demo::story::{Told, text};
use crate::demo::targets::count;
use crate::failure::Failure;
use crate::output::{Column, table_of};

const DECISIONS: &[Column] = &[
    ("intent", &["intent"]),
    ("asked by", &["agent"]),
    ("decision", &["decision"]),
    ("why", &["why"]),
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
    let (mut trails, mut newest) = (Vec::new(), 0);
    for id in ids {
        let trail = cast.admin.get(&["v1", "intents", id, "audit"]).await?.body;
        let events = trail["events"].as_array().cloned().unwrap_or_default();
        let leaves = events.iter().filter_map(|event| event["sequence"].as_u64());
        newest = leaves.max().unwrap_or(0).max(newest);
        report.say("");
        report.say(id);
        events.iter().for_each(|event| report.say(&shown(event)));
        trails.push(events);
    }
    report.say("");
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
    let holds = tree["size"].as_u64().is_some_and(|size| size > newest);
    report.check("every leaf shown is in the tree", true, holds);
    report.keep(json!({ "decisions": rows, "trails": trails, "audit": tree }));
    Ok(())
}

/// One event on one line.
fn shown(event: &Value) -> String {
    let (kind, actor) = (text(event, "event_type"), text(event, "actor"));
    format!("  leaf {:>3}  {kind:<24} {actor}", event["sequence"].as_u64().unwrap_or_default())
}
