//! Typed action profiles: what `profile` promises about `metadata`, in the words of existing
//! clients.
//!
//! A profile asks for fields by name; their types are free. Invariant: summary and hash are
//! functions of profile and metadata alone, so that every node and every reader gets the same.

use serde_json::{Map, Value};
use types::{Digest, Proposal};

use crate::facts::ProfileFault;
use crate::json;

/// The ids that requests and policies may name.
pub const IDS: [&str; 6] = [
    "crm.import.v1",
    "email.send.v1",
    "finance.journal.v1",
    "payment.refund.v1",
    "social.publish.v1",
    "support.reply.v1",
];

/// Characters of a text that a summary quotes.
const QUOTED_CHARS_MAX: usize = 60;

/// The fields of metadata that a profile asks for; `None` if there is no such profile.
#[must_use]
pub fn required_fields(id: &str) -> Option<&'static [&'static str]> {
    Some(match id {
        "crm.import.v1" => &["object_type", "record_count"],
        "email.send.v1" => &["to", "subject"],
        "finance.journal.v1" => &["account", "amount_usd", "memo"],
        "payment.refund.v1" => &["amount_usd", "reason"],
        "social.publish.v1" => &["platform", "body"],
        "support.reply.v1" => &["ticket_id", "body"],
        _ => return None,
    })
}

/// What is wrong with a proposal's profile, where `required` are those that rules ask for: first a
/// missing one, then another one, then metadata that does not fit.
pub(crate) fn fault(
    proposal: &Proposal,
    metadata: Option<&Value>,
    required: &[&str],
) -> Option<ProfileFault> {
    let sent = proposal.profile.as_deref();
    if let Some(wanted) = required.iter().find(|wanted| sent != Some(**wanted)) {
        let required = (*wanted).to_owned();
        return Some(match sent {
            None => ProfileFault::Required { required },
            Some(sent) => ProfileFault::Mismatch { required, sent: sent.to_owned() },
        });
    }
    let profile = sent?;
    let messages = objections(profile, metadata);
    (!messages.is_empty()).then(|| ProfileFault::Invalid { profile: profile.to_owned(), messages })
}

/// Why metadata does not fit a profile; nothing if it does.
fn objections(profile: &str, metadata: Option<&Value>) -> Vec<String> {
    let Some(fields) = required_fields(profile) else {
        return vec![format!("no such profile; known are {}", IDS.join(", "))];
    };
    let absent = |name: &&&str| match metadata.and_then(|metadata| metadata.get(**name)) {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => text.is_empty(),
        Some(_) => false,
    };
    let missing = fields.iter().filter(absent);
    missing.map(|name| format!("metadata.{name} is missing or empty")).collect()
}

/// What people are shown of an action; `None` without a known profile.
#[must_use]
pub fn summary(profile: &str, metadata: Option<&Value>) -> Option<String> {
    required_fields(profile)?;
    let field = |name: &str| shown(metadata.and_then(|metadata| metadata.get(name)));
    Some(match profile {
        "crm.import.v1" => {
            format!("Import {} {} record(s)", field("record_count"), field("object_type"))
        }
        "email.send.v1" => format!("Send email to {} — \"{}\"", field("to"), field("subject")),
        "finance.journal.v1" => format!(
            "Journal entry on {}: ${} — {}",
            field("account"),
            field("amount_usd"),
            field("memo")
        ),
        "payment.refund.v1" => format!("Refund ${} — {}", field("amount_usd"), field("reason")),
        "social.publish.v1" => {
            format!("Publish to {}: \"{}\"", field("platform"), cut(&field("body")))
        }
        _ => format!("Reply to support ticket {}", field("ticket_id")),
    })
}

/// SHA-256 of the canonical JSON of just the required fields; `None` without a known profile.
#[must_use]
pub fn fields_hash(profile: &str, metadata: Option<&Value>) -> Option<Digest> {
    let fields = required_fields(profile)?.iter().map(|name| {
        let value = metadata.and_then(|metadata| metadata.get(*name));
        ((*name).to_owned(), value.cloned().unwrap_or_default())
    });
    let fields = Value::Object(fields.collect::<Map<String, Value>>());
    Some(Digest::of(json::canonical(&fields).as_bytes()))
}

fn shown(value: Option<&Value>) -> String {
    match value {
        None => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => json::canonical(other),
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(QUOTED_CHARS_MAX) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_summary_says_what_is_asked_in_one_line() {
        let long = "é".repeat(61);
        let cases = [
            (
                "crm.import.v1",
                json!({"object_type": "contact", "record_count": 847}),
                "Import 847 contact record(s)".to_owned(),
            ),
            (
                "email.send.v1",
                json!({"to": "a@example.com", "subject": "Hi", "x": 1}),
                "Send email to a@example.com — \"Hi\"".to_owned(),
            ),
            (
                "finance.journal.v1",
                json!({"account": "4000", "amount_usd": 12.50, "memo": "m"}),
                "Journal entry on 4000: $12.5 — m".to_owned(),
            ),
            (
                "payment.refund.v1",
                json!({"amount_usd": "9", "reason": "late"}),
                "Refund $9 — late".to_owned(),
            ),
            (
                "social.publish.v1",
                json!({"platform": "x", "body": long}),
                format!("Publish to x: \"{}…\"", "é".repeat(60)),
            ),
            (
                "social.publish.v1",
                json!({"platform": "x", "body": "short"}),
                "Publish to x: \"short\"".to_owned(),
            ),
            (
                "support.reply.v1",
                json!({"ticket_id": 7, "body": "b"}),
                "Reply to support ticket 7".to_owned(),
            ),
        ];
        for (profile, metadata, expected) in cases {
            assert_eq!(summary(profile, Some(&metadata)), Some(expected), "{profile}");
        }
        assert_eq!(summary("other", Some(&json!({}))), None);
    }

    #[test]
    fn the_hash_covers_the_required_fields_and_nothing_else() {
        let hash = |metadata: Value| fields_hash("email.send.v1", Some(&metadata)).unwrap();
        let first = hash(json!({"to": "a", "subject": "b", "note": 1}));
        assert_eq!(first, Digest::of(br#"{"subject":"b","to":"a"}"#));
        assert_eq!(first, hash(json!({"subject": "b", "to": "a"})));
        assert_ne!(first, hash(json!({"subject": "b", "to": "c"})));
        assert_eq!(fields_hash("other", None), None);
    }

    #[test]
    fn every_known_profile_asks_for_something() {
        for id in IDS {
            assert!(required_fields(id).is_some_and(|fields| !fields.is_empty()), "{id}");
        }
    }
}
