//! The risk score that existing clients are told. It informs and decides nothing.
//!
//! In hundredths, without floats: every part is a whole number of hundredths, so the level taken
//! before rounding is the level of the sum.

use serde_json::Value;
use types::{Proposal, Risk, RiskLevel};

use crate::payload::{Content, View};

const HIGH_RISK: [&str; 7] = ["stripe", "quickbooks", "netsuite", "payroll", "wire", "ach", "bank"];
const MEDIUM_RISK: [&str; 5] = ["salesforce", "hubspot", "marketo", "zendesk", "intercom"];
const USD: u64 = 1_000_000;

/// Whole words in lower case; [`OPEN_ENDED`] stands for every word that starts so.
const SENSITIVE: [&str; 12] = [
    "account number",
    "credit card",
    "cvv",
    "date of birth",
    "diagnos",
    "dob",
    "iban",
    "medical",
    "passport",
    "social security",
    "ssn",
    "swift",
];
const OPEN_ENDED: &str = "diagnos";

/// Scores an intent.
pub(crate) fn score(proposal: &Proposal, view: &View<'_>) -> Risk {
    let mut sum = 0;
    let mut factors = Vec::new();
    let parts = [
        destination(&proposal.destination),
        records(view.count.max(proposal.record_count_claim)),
        value(proposal.value_usd_micros),
        tags(&proposal.sensitivity_tags),
        mentions_sensitive(view).then_some((15, "sensitive_fields_detected")),
    ];
    for (add, factor) in parts.into_iter().flatten() {
        sum += add;
        factors.push(factor.to_owned());
    }
    let level = match sum {
        75.. => RiskLevel::Critical,
        50.. => RiskLevel::High,
        25.. => RiskLevel::Medium,
        _ => RiskLevel::Low,
    };
    Risk { score_hundredths: sum.min(100), level, factors }
}

type Part = Option<(u8, &'static str)>;

fn destination(name: &str) -> Part {
    let name = name.to_ascii_lowercase();
    if HIGH_RISK.iter().any(|word| name.contains(word)) {
        Some((35, "high_risk_destination"))
    } else if MEDIUM_RISK.iter().any(|word| name.contains(word)) {
        Some((15, "medium_risk_destination"))
    } else {
        None
    }
}

fn records(count: Option<u64>) -> Part {
    match count.unwrap_or(0) {
        10_001.. => Some((30, "very_large_record_count")),
        1_001.. => Some((20, "large_record_count")),
        101.. => Some((10, "elevated_record_count")),
        _ => None,
    }
}

fn value(micros: Option<u64>) -> Part {
    let micros = micros.unwrap_or(0);
    if micros > 10_000 * USD {
        Some((25, "high_financial_value"))
    } else if micros > 1_000 * USD {
        Some((15, "elevated_financial_value"))
    } else if micros > 0 {
        Some((5, "financial_value_present"))
    } else {
        None
    }
}

fn tags(tags: &[String]) -> Part {
    let has = |wanted: [&str; 2]| tags.iter().any(|tag| wanted.contains(&tag.as_str()));
    if has(["financial", "legal"]) {
        Some((20, "sensitive_data_tagged"))
    } else if has(["pii", "health"]) {
        Some((15, "pii_tagged"))
    } else {
        None
    }
}

fn mentions_sensitive(view: &View<'_>) -> bool {
    match &view.content {
        Content::Absent | Content::Opaque(_) => false,
        Content::Text(text) => is_sensitive(text),
        Content::Json(value) => mentioned_in(value),
    }
}

/// Keys count too: a JSON text was always searched whole.
fn mentioned_in(value: &Value) -> bool {
    match value {
        Value::String(text) => is_sensitive(text),
        Value::Array(items) => items.iter().any(mentioned_in),
        Value::Object(members) => {
            members.iter().any(|(key, value)| is_sensitive(key) || mentioned_in(value))
        }
        _ => false,
    }
}

/// Looks at the start of every word once: this runs for every intent.
fn is_sensitive(text: &str) -> bool {
    let bytes = text.as_bytes();
    let mut before = Letter::Gap;
    for (at, byte) in bytes.iter().enumerate() {
        let letter = LETTERS[usize::from(*byte)];
        if letter == Letter::Start && before == Letter::Gap && starts_sensitive(&bytes[at..]) {
            return true;
        }
        before = letter;
    }
    false
}

fn starts_sensitive(rest: &[u8]) -> bool {
    let [first, second, ..] = rest else {
        return false;
    };
    // Two letters rule out nearly every word.
    let start = [first.to_ascii_lowercase(), second.to_ascii_lowercase()];
    SENSITIVE.iter().filter(|word| word.as_bytes().starts_with(&start)).any(|word| {
        let ends = |rest: &[u8]| {
            rest.get(word.len()).is_none_or(|next| LETTERS[usize::from(*next)] == Letter::Gap)
        };
        rest.get(..word.len()).is_some_and(|same| same.eq_ignore_ascii_case(word.as_bytes()))
            && (*word == OPEN_ENDED || ends(rest))
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Letter {
    /// No part of a word.
    Gap,
    /// Part of a word.
    Inner,
    /// Part of a word, and a sensitive word starts with it.
    Start,
}

static LETTERS: [Letter; 256] = letters();

const fn letters() -> [Letter; 256] {
    let mut table = [Letter::Gap; 256];
    let mut byte = 0_u8;
    loop {
        if byte.is_ascii_alphanumeric() || byte == b'_' {
            table[byte as usize] = Letter::Inner;
        }
        if byte == u8::MAX {
            break;
        }
        byte += 1;
    }
    let mut index = 0;
    while index < SENSITIVE.len() {
        let first = SENSITIVE[index].as_bytes()[0];
        table[first as usize] = Letter::Start;
        table[first.to_ascii_uppercase() as usize] = Letter::Start;
        index += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::view_of;

    #[test]
    #[allow(clippy::type_complexity)]
    fn parts_add_up_as_existing_clients_know_it() {
        #[rustfmt::skip]
        let cases: [(&str, Option<u64>, Option<u64>, &[&str], &str, u8, RiskLevel); 10] = [
            ("crm.contacts", None, None, &[], "hello", 0, RiskLevel::Low),
            ("Stripe.refund", None, None, &[], "hello", 35, RiskLevel::Medium),
            ("teach.course", Some(100), None, &[], "hello", 35, RiskLevel::Medium),
            ("hubspot", Some(101), Some(USD), &[], "x", 30, RiskLevel::Medium),
            ("hubspot", Some(1_001), Some(1_001 * USD), &[], "x", 50, RiskLevel::High),
            ("bank", Some(10_001), Some(10_001 * USD), &["pii", "legal"], "my SSN", 100,
             RiskLevel::Critical),
            ("x", None, None, &["pii"], "{\"dob\":\"1970\"}", 30, RiskLevel::Medium),
            ("x", None, None, &["other"], "a diagnosis, adobe", 15, RiskLevel::Low),
            ("x", None, None, &[], "adobe dobs x_ssn ssn_x swiftly", 0, RiskLevel::Low),
            ("x", None, None, &[], "my Credit Card.", 15, RiskLevel::Low),
        ];
        for (destination, claim, micros, tags, text, hundredths, level) in cases {
            let risk = view_of(destination, text, |proposal, view| {
                proposal.record_count_claim = claim;
                proposal.value_usd_micros = micros;
                proposal.sensitivity_tags = tags.iter().map(|tag| (*tag).into()).collect();
                score(proposal, view)
            });
            assert_eq!((risk.score_hundredths, risk.level), (hundredths, level), "{destination}");
        }
    }
}
