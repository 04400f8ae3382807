//! The risk score that existing clients are told. It informs and decides nothing.
//!
//! In hundredths, without floats: every part is a whole number of hundredths, so the level taken
//! before rounding is the level of the sum.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;
use types::{Proposal, Risk, RiskLevel};

use crate::payload::{Content, View};

const HIGH_RISK: [&str; 7] = ["stripe", "quickbooks", "netsuite", "payroll", "wire", "ach", "bank"];
const MEDIUM_RISK: [&str; 5] = ["salesforce", "hubspot", "marketo", "zendesk", "intercom"];
const USD: u64 = 1_000_000;

static SENSITIVE: LazyLock<Regex> = LazyLock::new(|| {
    let words = r"(?i-u)\b(?:ssn|passport|credit card|social security|iban|swift|cvv|account number|date of birth|dob|diagnos[a-z]*|medical)\b";
    Regex::new(words).expect("a fixed pattern")
});

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
        Content::Text(text) => SENSITIVE.is_match(text),
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

fn is_sensitive(text: &str) -> bool {
    text.len() >= 3 && SENSITIVE.is_match(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::view_of;

    #[test]
    fn parts_add_up_as_existing_clients_know_it() {
        #[rustfmt::skip]
        let cases: [(&str, Option<u64>, Option<u64>, &[&str], &str, u8, RiskLevel); 8] = [
            ("crm.contacts", None, None, &[], "hello", 0, RiskLevel::Low),
            ("Stripe.refund", None, None, &[], "hello", 35, RiskLevel::Medium),
            ("teach.course", Some(100), None, &[], "hello", 35, RiskLevel::Medium),
            ("hubspot", Some(101), Some(USD), &[], "x", 30, RiskLevel::Medium),
            ("hubspot", Some(1_001), Some(1_001 * USD), &[], "x", 50, RiskLevel::High),
            ("bank", Some(10_001), Some(10_001 * USD), &["pii", "legal"], "my SSN", 100,
             RiskLevel::Critical),
            ("x", None, None, &["pii"], "{\"dob\":\"1970\"}", 30, RiskLevel::Medium),
            ("x", None, None, &["other"], "a diagnosis, adobe", 15, RiskLevel::Low),
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
