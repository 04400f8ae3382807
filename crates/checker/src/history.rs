//! What clients asked, were told and saw, held against what the gate says in the end.
//!
//! Written from the promises alone, with nothing of the gate: it knows keys, leads, ids and times.
//! Invariant: an intent's content names its key, so whose intent it is does not hang on what is
//! checked.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use types::Digest;

/// What one sending of a key was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// This intent came of it.
    Accepted(String),
    /// This other intent was first.
    Duplicate(String),
    /// Something that the workload never gives reason for.
    Refused(u16),
    /// Nothing definite: no answer, or one that says that it may be sent again.
    Nothing,
}

/// One sending of a key, with times since the run began.
#[derive(Debug, Clone)]
pub struct Call {
    /// When it was sent.
    pub began: Duration,
    /// When its answer was there, or was not waited for any more.
    pub ended: Duration,
    /// What it was told.
    pub told: Told,
}

/// One key: every sending of it, in order.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The `Idempotency-Key`.
    pub key: String,
    /// What it asks to call.
    pub lead: u64,
    /// Its sendings.
    pub calls: Vec<Call>,
}

/// A fresh read of one intent of which an answer had told before.
#[derive(Debug, Clone)]
pub struct Found {
    /// When it was sent, since the run began.
    pub began: Duration,
    /// The id of the intent.
    pub intent: String,
    /// The digest of the content that was shown; `None` if there was no such intent.
    pub shown: Option<String>,
}

/// A fresh read: of how many audit leaves it told, and when it was on its way.
#[derive(Debug, Clone)]
pub struct Seen {
    /// When it was sent, since the run began.
    pub began: Duration,
    /// When its answer was there.
    pub ended: Duration,
    /// So many leaves it was told of.
    pub leaves: u64,
    /// The root over them.
    pub root: String,
}

/// One intent as the gate lists it in the end.
#[derive(Debug, Clone)]
pub struct Listed {
    /// Its id.
    pub id: String,
    /// The digest of its content, in hexadecimal digits.
    pub payload_hash: String,
}

/// All of it.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// Every key.
    pub asked: Vec<Asked>,
    /// Every read of the audit tree.
    pub seen: Vec<Seen>,
    /// Every read of an intent.
    pub found: Vec<Found>,
}

/// The content of a key, in the form in which its digest is taken.
pub fn payload(key: &str, lead: u64) -> String {
    format!("{{\"key\":\"{key}\",\"lead_id\":\"lead-{lead}\"}}")
}

impl History {
    /// The first promise that was broken.
    pub fn check(&self, listed: &[Listed]) -> Result<(), String> {
        let mut accepted = BTreeMap::new();
        for asked in &self.asked {
            if let Some(id) = asked.check()? {
                accepted.insert(&asked.key, id);
            }
        }
        self.check_listed(listed, &accepted)?;
        self.check_found()?;
        self.check_reads()
    }

    /// What was asked for by the intents that came of it.
    #[must_use]
    pub fn contents(&self) -> BTreeMap<String, String> {
        let ids = self.asked.iter().filter_map(|asked| Some((asked.accepted()?, asked)));
        ids.map(|(id, asked)| (id.clone(), payload(&asked.key, asked.lead))).collect()
    }

    /// The intents of some leads.
    #[must_use]
    pub fn intents_of(&self, is_one: impl Fn(u64) -> bool) -> BTreeSet<String> {
        let asked = self.asked.iter().filter(|asked| is_one(asked.lead));
        asked.filter_map(Asked::accepted).cloned().collect()
    }

    /// Everything that was answered is there, once, and of each lead one.
    fn check_listed(
        &self,
        listed: &[Listed],
        accepted: &BTreeMap<&String, &String>,
    ) -> Result<(), String> {
        let keys: BTreeMap<String, &Asked> = self
            .asked
            .iter()
            .map(|asked| {
                (Digest::of(payload(&asked.key, asked.lead).as_bytes()).to_string(), asked)
            })
            .collect();
        let keys_by_name: BTreeMap<&str, &Asked> =
            self.asked.iter().map(|asked| (asked.key.as_str(), asked)).collect();
        let (mut ids, mut by_key) = (BTreeSet::new(), BTreeMap::<&str, &str>::new());
        let mut by_lead: BTreeMap<u64, &str> = BTreeMap::new();
        for row in listed {
            if !ids.insert(&row.id) {
                return Err(format!("{} is listed twice", row.id));
            }
            let Some(asked) = keys.get(&row.payload_hash) else {
                return Err(format!("{} has a content that nobody sent", row.id));
            };
            if let Some(other) = by_key.insert(asked.key.as_str(), row.id.as_str()) {
                return Err(format!("key {} has two intents, {other} and {}", asked.key, row.id));
            }
            if let Some(other) = by_lead.insert(asked.lead, &row.id) {
                return Err(format!("lead {} has two intents, {other} and {}", asked.lead, row.id));
            }
        }
        for (key, id) in accepted {
            if by_key.get(key.as_str()) != Some(&id.as_str()) {
                return Err(format!("{id}, which key {key} was told, is lost or of another key"));
            }
        }
        let owners: BTreeMap<&str, &Asked> =
            by_key.iter().map(|(key, id)| (*id, keys_by_name[key])).collect();
        for asked in &self.asked {
            for call in &asked.calls {
                let Told::Duplicate(first) = &call.told else { continue };
                let what = format!("key {} was told that {first} was first", asked.key);
                if by_lead.get(&asked.lead) != Some(&first.as_str()) {
                    return Err(format!("{what}, and it is not the intent of its lead"));
                }
                if by_key.contains_key(asked.key.as_str()) {
                    return Err(format!("key {} was told to repeat itself", asked.key));
                }
                if owners[first.as_str()].calls.first().is_none_or(|own| own.began > call.ended) {
                    return Err(format!("{what} before anybody had asked for that"));
                }
            }
        }
        Ok(())
    }

    /// What was answered before is there, with its content.
    fn check_found(&self) -> Result<(), String> {
        let contents = self.contents();
        let digest = |id: &String| contents.get(id).map(|text| Digest::of(text.as_bytes()));
        for Found { began, intent, shown } in &self.found {
            let Some(shown) = shown else {
                let what = format!("a read at {began:?} did not find {intent}");
                return Err(format!("{what}, which was answered"));
            };
            if digest(intent).is_none_or(|digest| digest.to_string() != *shown) {
                return Err(format!("a read at {began:?} was shown {shown} as {intent}"));
            }
        }
        Ok(())
    }

    /// A read that began after another had ended saw at least as much, and at least one leaf for
    /// each key that had its answer: accepted or not, it is in the audit log.
    fn check_reads(&self) -> Result<(), String> {
        let mut answered: Vec<_> = self.asked.iter().filter_map(Asked::answered).collect();
        answered.sort_unstable();
        let mut by_end: Vec<&Seen> = self.seen.iter().collect();
        by_end.sort_by_key(|seen| seen.ended);
        let mut by_begin: Vec<&Seen> = self.seen.iter().collect();
        by_begin.sort_by_key(|seen| seen.began);
        let (mut most, mut ended) = (0, by_end.into_iter().peekable());
        for seen in by_begin {
            while let Some(before) = ended.next_if(|before| before.ended < seen.began) {
                most = most.max(before.leaves);
            }
            let before = answered.partition_point(|at| *at < seen.began);
            if seen.leaves < before as u64 {
                return Err(format!(
                    "a read at {:?} saw {} leaves after {before} keys had their answers",
                    seen.began, seen.leaves
                ));
            }
            if seen.leaves < most {
                return Err(format!(
                    "a read at {:?} saw {} leaves after another had seen {most}",
                    seen.began, seen.leaves
                ));
            }
        }
        Ok(())
    }
}

impl Asked {
    fn definite(&self) -> impl Iterator<Item = &Call> {
        self.calls.iter().filter(|call| call.told != Told::Nothing)
    }

    /// When the first definite answer was there.
    fn answered(&self) -> Option<Duration> {
        self.definite().next().map(|call| call.ended)
    }

    /// The intent that came of it.
    fn accepted(&self) -> Option<&String> {
        self.definite().find_map(|call| match &call.told {
            Told::Accepted(id) => Some(id),
            _ => None,
        })
    }

    /// Every definite answer is the same; says which intent came of it.
    fn check(&self) -> Result<Option<&String>, String> {
        let mut definite = self.definite().map(|call| &call.told);
        let Some(first) = definite.next() else {
            return Err(format!("key {} never got a definite answer", self.key));
        };
        if let Some(other) = definite.find(|told| *told != first) {
            return Err(format!("key {} was told {first:?}, then {other:?}", self.key));
        }
        if let Told::Refused(status) = first {
            return Err(format!("key {} was refused with {status}", self.key));
        }
        Ok(self.accepted())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sent at the beginning, and answered after ten milliseconds.
    fn call(told: Told) -> Call {
        Call { began: Duration::ZERO, ended: Duration::from_millis(10), told }
    }

    /// Two keys of one lead, a key of another, and reads: all as it should be.
    fn sound() -> (History, Vec<Listed>) {
        let asked = |key: &str, lead, told: &[Told]| Asked {
            key: key.to_owned(),
            lead,
            calls: told.iter().cloned().map(call).collect(),
        };
        let accepted = |id: &str| Told::Accepted(id.to_owned());
        let seen = |began, ended, leaves| Seen {
            began: Duration::from_millis(began),
            ended: Duration::from_millis(ended),
            leaves,
            root: String::new(),
        };
        let history = History {
            asked: vec![
                asked("a", 1, &[Told::Nothing, accepted("int_1"), accepted("int_1")]),
                asked("b", 1, &[Told::Duplicate("int_1".to_owned())]),
                asked("c", 2, &[accepted("int_2")]),
            ],
            // The second began before the first had ended.
            seen: vec![seen(0, 10, 5), seen(9, 12, 4), seen(11, 20, 5), seen(30, 31, 7)],
            found: vec![Found {
                began: Duration::from_millis(11),
                intent: "int_1".to_owned(),
                shown: Some(Digest::of(payload("a", 1).as_bytes()).to_string()),
            }],
        };
        let row = |id: &str, key, lead| Listed {
            id: id.to_owned(),
            payload_hash: Digest::of(payload(key, lead).as_bytes()).to_string(),
        };
        (history, vec![row("int_1", "a", 1), row("int_2", "c", 2)])
    }

    type Harm = fn(&mut History, &mut Vec<Listed>);

    #[test]
    #[rustfmt::skip]
    fn each_broken_promise_is_seen() {
        let cases: [(&str, Harm); 16] = [
            ("", |_, _| {}),
            ("is lost", |_, listed| drop(listed.pop())),
            ("a content that nobody sent", |_, listed| listed[1].payload_hash = "0".repeat(64)),
            ("is listed twice", |_, listed| { let row = listed[0].clone(); listed.push(row); }),
            ("key a has two intents", |_, listed| {
                let row = Listed { id: "int_9".to_owned(), ..listed[0].clone() };
                listed.push(row);
            }),
            ("lead 1 has two intents", |history, listed| {
                let payload_hash = Digest::of(payload("b", 1).as_bytes()).to_string();
                history.asked[1].calls = vec![call(Told::Accepted("int_9".to_owned()))];
                listed.push(Listed { id: "int_9".to_owned(), payload_hash });
            }),
            ("then", |history, _| {
                history.asked[0].calls.push(call(Told::Duplicate("int_2".to_owned())));
            }),
            ("never got a definite answer", |history, _| {
                history.asked[2].calls = vec![call(Told::Nothing)];
            }),
            ("was refused with 400", |history, _| {
                history.asked[2].calls = vec![call(Told::Refused(400))];
            }),
            ("it is not the intent of its lead", |history, _| {
                history.asked[1].calls = vec![call(Told::Duplicate("int_2".to_owned()))];
            }),
            ("was told to repeat itself", |history, _| {
                history.asked[2].calls =
                    vec![call(Told::Nothing), call(Told::Duplicate("int_2".to_owned()))];
            }),
            ("before anybody had asked for that", |history, _| {
                history.asked[0].calls.iter_mut().for_each(|call| {
                    call.began += Duration::from_millis(11);
                });
            }),
            ("did not find int_1", |history, _| history.found[0].shown = None),
            ("was shown", |history, _| history.found[0].shown = Some("0".repeat(64))),
            ("after 3 keys had their answers", |history, _| history.seen[2].leaves = 2),
            ("after another had seen 5", |history, _| history.seen[2].leaves = 4),
        ];
        for (expected, harm) in cases {
            let (mut history, mut listed) = sound();
            harm(&mut history, &mut listed);
            match history.check(&listed) {
                Ok(()) => assert_eq!(expected, "", "nothing is seen"),
                Err(what) => assert!(!expected.is_empty() && what.contains(expected), "{what}"),
            }
        }
    }
}
