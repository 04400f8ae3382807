//! What clients asked and were told, held against what the gate says afterwards.
//!
//! Two keys ask for one lead, and policy lets one call per lead out: so of each two one is accepted
//! and the other is told who was first. Invariant: the content of an intent names its key, so that
//! whose intent it is does not hang on what is checked.

use std::collections::HashMap;
use std::fmt;

use types::Digest;

/// What one key was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// This intent came of it.
    Accepted(String),
    /// This other intent was first.
    Duplicate(String),
    /// Something that the load never gives reason for.
    Refused(u16),
}

/// One key, and every answer that it was given: more than one if it was sent again.
#[derive(Debug, Clone)]
pub struct Asked {
    pub lead: u64,
    /// The first or the second of the two that ask for the lead.
    pub second: bool,
    pub told: Vec<Told>,
}

/// One intent as the gate lists it.
#[derive(Debug, Clone)]
pub struct Listed {
    pub id: String,
    pub payload_hash: String,
}

/// What is wrong, one line each.
#[derive(Debug, Default)]
pub struct Faults {
    /// Answered and not there.
    pub lost: Vec<String>,
    /// There, with other content.
    pub changed: Vec<String>,
    /// One key with two intents, or one lead with two.
    pub doubled: Vec<String>,
    /// Keys without a definite answer, and leads of which both were told to be second.
    pub undecided: Vec<String>,
    /// Answers that fit nothing.
    pub odd: Vec<String>,
}

impl Asked {
    pub fn key(&self) -> String {
        key(self.lead, self.second)
    }

    pub fn payload(&self) -> String {
        payload(self.lead, self.second)
    }
}

/// The `Idempotency-Key`.
pub fn key(lead: u64, second: bool) -> String {
    format!("{}-lead-{lead:08}", if second { "second" } else { "first" })
}

/// The content, in the form in which its digest is taken.
pub fn payload(lead: u64, second: bool) -> String {
    let (key, note) = (key(lead, second), "x".repeat(usize::try_from(lead % 300).unwrap_or(0)));
    format!("{{\"key\":\"{key}\",\"lead_id\":\"lead-{lead:08}\",\"note\":\"{note}\"}}")
}

impl Faults {
    /// Holds what was told against what is there.
    pub fn of(asked: &[Asked], listed: &[Listed]) -> Self {
        let mut faults = Self::default();
        let by_id: HashMap<&str, &str> =
            listed.iter().map(|row| (row.id.as_str(), row.payload_hash.as_str())).collect();
        let mut by_hash: HashMap<&str, Vec<&str>> = HashMap::new();
        for row in listed {
            by_hash.entry(&row.payload_hash).or_default().push(&row.id);
        }
        let mut leads: HashMap<u64, Vec<&Asked>> = HashMap::new();
        let mut known = 0;
        for asked in asked {
            let hash = Digest::of(asked.payload().as_bytes()).to_string();
            let there = by_hash.get(hash.as_str()).map_or(&[][..], Vec::as_slice);
            known += there.len();
            faults.of_key(asked, &hash, there, &by_id);
            leads.entry(asked.lead).or_default().push(asked);
        }
        for (lead, both) in leads {
            faults.of_lead(lead, &both, &by_hash);
        }
        if known < listed.len() && faults.changed.is_empty() {
            faults.odd.push(format!("{} intents that nobody asked for", listed.len() - known));
        }
        faults
    }

    fn of_key(&mut self, asked: &Asked, hash: &str, there: &[&str], by_id: &HashMap<&str, &str>) {
        let key = asked.key();
        let Some(told) = asked.told.first() else {
            return self.undecided.push(key);
        };
        if there.len() > 1 || asked.told.iter().any(|other| other != told) {
            self.doubled.push(format!("{key}: told {:?}, there {there:?}", asked.told));
        }
        match told {
            Told::Accepted(id) => match by_id.get(id.as_str()) {
                None => self.lost.push(format!("{key}: {id}")),
                Some(found) if *found != hash => self.changed.push(format!("{key}: {id}")),
                Some(_) => {}
            },
            Told::Duplicate(_) if !there.is_empty() => {
                self.odd.push(format!("{key} was told to be second, and there is {there:?}"));
            }
            Told::Duplicate(_) => {}
            Told::Refused(status) => self.odd.push(format!("{key} was answered {status}")),
        }
    }

    /// Of the two that ask for a lead one is accepted, and the other is told so.
    fn of_lead(&mut self, lead: u64, both: &[&Asked], by_hash: &HashMap<&str, Vec<&str>>) {
        let mut there = Vec::new();
        for asked in both {
            let hash = Digest::of(asked.payload().as_bytes()).to_string();
            there.extend(by_hash.get(hash.as_str()).and_then(|ids| ids.first()).copied());
        }
        if there.len() > 1 {
            self.doubled.push(format!("lead {lead}: {there:?}"));
        }
        let told: Vec<&Told> = both.iter().filter_map(|asked| asked.told.first()).collect();
        let mut accepted = told.iter().filter_map(|told| match told {
            Told::Accepted(id) => Some(id.as_str()),
            _ => None,
        });
        match (accepted.next(), told.as_slice()) {
            (None, [Told::Duplicate(_), Told::Duplicate(_)]) => {
                self.undecided.push(format!("lead {lead}: both were told to be second"));
            }
            (Some(id), told) => {
                let another =
                    told.iter().find(|told| matches!(told, Told::Duplicate(first) if first != id));
                self.odd.extend(another.map(|told| format!("lead {lead}: {id} and {told:?}")));
            }
            _ => {}
        }
    }

    pub fn is_empty(&self) -> bool {
        let Self { lost, changed, doubled, undecided, odd } = self;
        [lost, changed, doubled, undecided, odd].iter().all(|faults| faults.is_empty())
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lost, changed, doubled, undecided, odd } = self;
        let kinds = [
            ("lost", lost),
            ("changed", changed),
            ("doubled", doubled),
            ("undecided", undecided),
            ("odd", odd),
        ];
        for (place, (name, faults)) in kinds.iter().enumerate() {
            write!(f, "{}{} {name}", if place == 0 { "" } else { ", " }, faults.len())?;
        }
        for (name, faults) in kinds {
            for fault in faults.iter().take(10) {
                write!(f, "\n  {name}: {fault}")?;
            }
        }
        Ok(())
    }
}
