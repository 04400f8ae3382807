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
    let (mut trails, mut newest) = (Vec::new(), 0);
    for id in ids {
        let trail = cast.admin.get(&["v1", "intents", id, "audit"]).await?.body;
        let events = trail["events"].as_array().cloned().unwrap_or_default();
        let leaves = events.iter().filter_map(|event| event["sequence"].as_u64());
        newest = leaves.max().unwrap_or(0).max(newest);
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
    let holds = tree["size"].as_u64().is_some_and(|size| size > newest);
    report.check("every leaf shown is in the tree", true, holds);
    report.keep(json!({ "decisions": rows, "trails": trails, "audit": tree }));
    Ok(())
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
