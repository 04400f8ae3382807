//! Freezes, held against the audit log and what targets were made to do: no claim behind one, and
//! no effect after its answer that the answer did not name.
//!
//! Invariant: what a freeze covers is worked out from what was asked for, not from what the gate
//! did.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;

/// A freeze as who asked for it was told.
#[derive(Debug, Clone)]
pub struct Freeze {
    /// Its id.
    pub id: String,
    /// When the answer had come: nothing that it covers may start from then on.
    pub answered: Duration,
    /// When somebody began to ask for its end.
    pub end_began: Duration,
    /// Intents that it came too late for, as the answer named them.
    pub running: BTreeSet<String>,
}

/// When a target did something, and for which intent.
pub type Happened = (Duration, String);

/// What an intent asks for.
struct Asked<'e> {
    agent: &'e str,
    resource: &'e str,
}

/// What a freeze covers, and which part of the log.
struct Covers<'e> {
    scope: &'e str,
    matches: &'e str,
    from: u64,
    to: Option<u64>,
}

impl Covers<'_> {
    fn holds(&self, asked: &Asked<'_>) -> bool {
        let fits = |name: &str| match self.matches.split_once('*') {
            Some((before, after)) => name.starts_with(before) && name.ends_with(after),
            None => name == self.matches,
        };
        match self.scope {
            "all" | "namespace" => true,
            "agent" => asked.agent == self.matches,
            // Every destination of a run is named as its resource.
            "resource" | "destination" => fits(asked.resource),
            _ => false,
        }
    }
}

/// The first promise that was broken; gives how many freezes stood in the log.
///
/// # Errors
/// What is wrong, for people.
pub fn check(entries: &[Value], freezes: &[Freeze], happened: &[Happened]) -> Result<u64, String> {
    let mut asked: BTreeMap<&str, Asked<'_>> = BTreeMap::new();
    let mut stood: BTreeMap<&str, Covers<'_>> = BTreeMap::new();
    for entry in entries {
        let sequence = entry["sequence"].as_u64().ok_or_else(|| format!("no place: {entry}"))?;
        let (metadata, kind) = (&entry["metadata"], entry["event_type"].as_str());
        let freeze = metadata["freeze_id"].as_str();
        let intent = entry["intent_id"].as_str();
        match (kind, freeze, intent) {
            (Some("intent_submitted"), _, Some(intent)) => {
                let (agent, resource) = (&entry["actor_id"], &metadata["destination"]);
                let agent = agent.as_str().unwrap_or_default();
                let resource = resource.as_str().unwrap_or_default();
                asked.insert(intent, Asked { agent, resource });
            }
            (Some("frozen"), Some(freeze), _) => {
                let scope = metadata["scope"].as_str().unwrap_or_default();
                let matches = metadata["match"].as_str().unwrap_or_default();
                let covers = Covers { scope, matches, from: sequence, to: None };
                if stood.insert(freeze, covers).is_some() {
                    return Err(format!("{freeze} begins twice"));
                }
            }
            (Some("unfrozen"), Some(freeze), _) => match stood.get_mut(freeze) {
                Some(covers) if covers.to.is_none() => covers.to = Some(sequence),
                _ => return Err(format!("{freeze} ends and does not stand")),
            },
            (Some("execution_requested" | "execution_claimed"), _, Some(intent)) => {
                let Some(asked) = asked.get(intent) else { continue };
                let standing = stood.iter().find(|(_, covers)| {
                    covers.to.is_none() && covers.from < sequence && covers.holds(asked)
                });
                if let Some((freeze, _)) = standing {
                    let who = metadata["executionId"].as_str().unwrap_or_default();
                    return Err(format!("{intent} was claimed as {who} under {freeze}"));
                }
            }
            _ => {}
        }
    }
    for freeze in freezes {
        let id = &freeze.id;
        let covers = stood.get(id.as_str()).ok_or_else(|| format!("{id} is lost"))?;
        for (at, intent) in happened {
            let meanwhile = *at > freeze.answered && *at < freeze.end_began;
            let covered = asked.get(intent.as_str()).is_some_and(|asked| covers.holds(asked));
            if meanwhile && covered && !freeze.running.contains(intent) {
                let answered = freeze.answered;
                return Err(format!(
                    "{intent} was carried out at {at:?}, and {id} was answered at {answered:?}"
                ));
            }
        }
    }
    Ok(stood.len() as u64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry(sequence: u64, kind: &str, intent: Option<&str>, metadata: &Value) -> Value {
        json!({
            "sequence": sequence, "event_type": kind, "intent_id": intent, "actor_id": "agt_1",
            "metadata": metadata,
        })
    }

    /// Two intents; the first is claimed before a freeze of its resource, the second after it.
    fn sound() -> (Vec<Value>, Vec<Freeze>, Vec<Happened>) {
        let freeze = json!({ "freeze_id": "f", "scope": "resource", "match": "phone.*" });
        let entries = vec![
            entry(1, "intent_submitted", Some("a"), &json!({ "destination": "phone.plain" })),
            entry(2, "intent_submitted", Some("b"), &json!({ "destination": "phone.plain" })),
            entry(3, "intent_submitted", Some("c"), &json!({ "destination": "crm.note" })),
            entry(4, "execution_requested", Some("a"), &json!({ "executionId": "x" })),
            entry(5, "frozen", None, &freeze),
            entry(6, "execution_requested", Some("c"), &json!({ "executionId": "z" })),
            entry(7, "unfrozen", None, &json!({ "freeze_id": "f" })),
            entry(8, "execution_requested", Some("b"), &json!({ "executionId": "y" })),
        ];
        let at = Duration::from_secs;
        let running = BTreeSet::from(["a".to_owned()]);
        let id = "f".to_owned();
        let freezes = vec![Freeze { id, answered: at(10), end_began: at(20), running }];
        let happened = vec![(at(11), "a".to_owned()), (at(12), "c".to_owned())];
        (entries, freezes, happened)
    }

    #[test]
    fn a_sound_history_passes() {
        let (entries, freezes, happened) = sound();
        assert_eq!(check(&entries, &freezes, &happened), Ok(1));
    }

    type Break = fn(&mut Vec<Value>, &mut Vec<Freeze>, &mut Vec<Happened>);

    fn everywhere(entries: &mut [Value]) {
        entries[4]["metadata"]["scope"] = json!("namespace");
    }

    fn without(entries: &mut Vec<Value>, places: &[usize]) {
        for place in places.iter().rev() {
            entries.remove(*place);
        }
    }

    fn another(happened: &mut Vec<Happened>) {
        happened.push((Duration::from_secs(19), "b".to_owned()));
    }

    #[test]
    #[rustfmt::skip]
    fn every_broken_one_is_seen() {
        let at = Duration::from_secs;
        let cases: [(&str, Break); 8] = [
            ("b was claimed as y under f",   |entries, _, _| without(entries, &[6])),
            ("b was claimed as y under f",   |entries, _, _| entries.swap(6, 7)),
            ("c was claimed as z under f",   |entries, _, _| everywhere(entries)),
            ("f begins twice",               |entries, _, _| entries.push(entries[4].clone())),
            ("f ends and does not stand",    |entries, _, _| entries.push(entries[6].clone())),
            ("f is lost",                    |entries, _, _| without(entries, &[4, 6])),
            ("a was carried out at 11s",     |_, freezes, _| freezes[0].running.clear()),
            ("b was carried out at 19s",     |_, _, happened| another(happened)),
        ];
        for (expected, break_it) in cases {
            let (mut entries, mut freezes, mut happened) = sound();
            break_it(&mut entries, &mut freezes, &mut happened);
            let what = check(&entries, &freezes, &happened).unwrap_err();
            assert!(what.starts_with(expected), "{expected}: {what}");
        }
        for fine in [at(9), at(21)] {
            let (entries, freezes, mut happened) = sound();
            happened.push((fine, "b".to_owned()));
            assert_eq!(check(&entries, &freezes, &happened), Ok(1), "{fine:?}");
        }
    }
}
