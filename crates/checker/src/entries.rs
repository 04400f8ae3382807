//! The lives of intents, read from the entries of the audit log as `GET /v1/audit/entries` has
//! them.
//!
//! Invariant: every entry of an intent is a step of its life, or known to be none.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::Value;

use crate::life::{Became, Life, Step};

/// What the intents of a run are, beside those that policy lets out at once and that never expire.
#[derive(Debug, Clone, Default)]
pub struct Kinds {
    /// What so many people must let out.
    pub held: BTreeSet<String>,
    /// So many people.
    pub votes_needed: usize,
    /// What may be tried again where it is in doubt.
    pub repeating: BTreeSet<String>,
    /// How long a held one may take.
    pub expires_after_ms: Option<u64>,
    /// Those that are not looked at.
    pub others: BTreeSet<String>,
}

/// The lives of all intents.
///
/// # Errors
/// An entry that is none, or of a kind that nothing in the run gives reason for.
pub fn lives(entries: &[Value], kinds: &Kinds) -> Result<Vec<Life>, String> {
    let mut lives: BTreeMap<&str, Life> = BTreeMap::new();
    for entry in entries {
        let Some(intent) = entry["intent_id"].as_str() else { continue };
        if kinds.others.contains(intent) {
            continue;
        }
        let read = read(entry).map_err(|what| format!("{intent}: {what}: {entry}"))?;
        let (at_ms, step) = read;
        let is_held = kinds.held.contains(intent);
        let is_first = !lives.contains_key(intent);
        if is_first != (entry["event_type"] == "intent_submitted") {
            return Err(format!("{intent}: its life does not begin with being asked for: {entry}"));
        }
        let life = lives.entry(intent).or_insert_with(|| Life {
            intent: intent.to_owned(),
            votes_needed: if is_held { kinds.votes_needed } else { 0 },
            may_repeat: kinds.repeating.contains(intent),
            expires_ms: kinds.expires_after_ms.filter(|_| is_held).map(|after| at_ms + after),
            steps: Vec::new(),
        });
        life.steps.extend(step.map(|step| (at_ms, step)));
    }
    Ok(lives.into_values().collect())
}

/// When it was, and what it is in a life.
fn read(entry: &Value) -> Result<(u64, Option<Step>), String> {
    let text = |value: &Value, name: &str| {
        value[name].as_str().map(str::to_owned).ok_or_else(|| format!("no {name}"))
    };
    let at: Timestamp = text(entry, "created_at")?.parse().map_err(|error| format!("{error}"))?;
    let at_ms = u64::try_from(at.as_millisecond()).map_err(|error| error.to_string())?;
    let metadata = &entry["metadata"];
    let execution = || text(metadata, "executionId");
    let step = match text(entry, "event_type")?.as_str() {
        "intent_submitted" => (metadata["phase"] == "allowed").then_some(Step::Released),
        "approval_vote_recorded" => Some(Step::Vote(text(entry, "actor_id")?)),
        "approved" => Some(Step::Released),
        // Nobody withdraws anything.
        "rejected" => Some(Step::Refused(text(entry, "actor_id")?)),
        "expired" => Some(Step::Expired),
        "execution_requested" => {
            let fence = metadata["fence"].as_u64().ok_or("no fence")?;
            Some(Step::Claim { execution: execution()?, fence })
        }
        "execution_succeeded" => Some(Step::Ended(execution()?, Became::Succeeded)),
        "execution_failed" => Some(Step::Ended(execution()?, Became::Failed)),
        "execution_in_doubt" => Some(Step::Ended(execution()?, Became::Doubt)),
        "execution_given_back" => Some(Step::Ended(execution()?, Became::GivenBack)),
        "left_to_people" | "duplicate_refused" => None,
        other => return Err(format!("nothing gives reason for {other}")),
    };
    Ok((at_ms, step))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry(second: u64, event: &str, metadata: &Value) -> Value {
        json!({
            "created_at": format!("2026-11-27T10:00:{second:02}.250Z"), "event_type": event,
            "intent_id": "int_1", "actor_id": "agt_1", "metadata": metadata,
        })
    }

    #[test]
    fn entries_are_lives() {
        let execution = json!({ "executionId": "exe_1", "fence": 7 });
        let entries = [
            entry(1, "intent_submitted", &json!({ "phase": "held" })),
            json!({ "event_type": "executor_took_over", "intent_id": null }),
            entry(2, "approval_vote_recorded", &json!({})),
            entry(3, "approved", &json!({})),
            entry(4, "execution_requested", &execution),
            entry(5, "execution_in_doubt", &execution),
            entry(6, "execution_succeeded", &execution),
        ];
        let kinds = Kinds {
            held: ["int_1".to_owned()].into(),
            votes_needed: 1,
            expires_after_ms: Some(9_000),
            ..Kinds::default()
        };
        let lives = lives(&entries, &kinds).unwrap();
        let from_ms = lives[0].expires_ms.unwrap() - 9_000;
        let at = |second: u64, step: Step| (from_ms + (second - 1) * 1_000, step);
        let ended = |became| Step::Ended("exe_1".to_owned(), became);
        let expected = [
            at(2, Step::Vote("agt_1".to_owned())),
            at(3, Step::Released),
            at(4, Step::Claim { execution: "exe_1".to_owned(), fence: 7 }),
            at(5, ended(Became::Doubt)),
            at(6, ended(Became::Succeeded)),
        ];
        assert_eq!((lives.len(), lives[0].votes_needed), (1, 1));
        assert_eq!(lives[0].steps, expected);
        let unknown = Kinds { others: ["int_1".to_owned()].into(), ..kinds };
        assert!(super::lives(&entries, &unknown).unwrap().is_empty());
    }

    #[test]
    fn an_entry_that_is_none_is_told() {
        for (entry, expected) in [
            (entry(1, "made_up", &json!({})), "int_1: nothing gives reason for made_up"),
            (entry(1, "execution_requested", &json!({})), "int_1: no fence"),
            (entry(1, "execution_failed", &json!({})), "int_1: no executionId"),
            (json!({ "intent_id": "int_1" }), "int_1: no created_at"),
            (
                entry(1, "approved", &json!({})),
                "int_1: its life does not begin with being asked for",
            ),
        ] {
            let what = lives(&[entry], &Kinds::default()).unwrap_err();
            assert!(what.starts_with(expected), "{what}");
        }
    }
}
