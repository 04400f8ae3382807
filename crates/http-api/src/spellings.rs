//! How the fields of a proposal may be spelled, and what was probably meant by others.
//!
//! Documents and code of existing clients differ in `camelCase` and `snake_case`: both are taken.
//! A field that no reader knows may be anybody's and is let pass, but one that is nearly a known
//! one would be missing in silence: a misspelled count is no count.

use crate::fields::{Fields, misspelled, nearest};
use crate::problem::Problem;
use crate::propose::Spelling;

/// Fields as they are read, and their other spelling.
const BOTH: [(&str, &str); 11] = [
    ("recordCount", "record_count"),
    ("estimated_value_usd", "estimatedValueUsd"),
    ("sensitivity_tags", "sensitivityTags"),
    ("idempotency_key", "idempotencyKey"),
    ("on_behalf_of", "onBehalfOf"),
    ("expiresIn", "expires_in"),
    ("principal_id", "principalId"),
    ("approval_provider", "approvalProvider"),
    ("approval_channel", "approvalChannel"),
    ("runId", "run_id"),
    ("request_key", "requestKey"),
];
/// What only `POST /v1/intents` knows under another name.
const ALIASES: [(&str, &str); 4] = [
    ("policy", "policy_id"),
    ("policy", "policyId"),
    ("recordCount", "estimated_records"),
    ("recordCount", "estimatedRecords"),
];
/// Fields with one spelling.
const PLAIN: [&str; 9] = [
    "destination",
    "resource",
    "action",
    "trigger",
    "policy",
    "payload",
    "metadata",
    "profile",
    "assurance",
];

/// Gives every field the spelling under which it is read.
///
/// # Errors
/// 400 where two spellings of one field say different things.
pub(crate) fn respell(fields: &mut Fields, spelling: Spelling) -> Result<(), Problem> {
    let aliases: &[_] = if spelling == Spelling::Intents { &ALIASES } else { &[] };
    BOTH.iter().chain(aliases).try_for_each(|(known, other)| fields.respell(known, other))
}

/// Refuses what nobody has read and is nearly a known field.
///
/// # Errors
/// 400 that names the known one.
pub(crate) fn refuse_misspelled(fields: &Fields) -> Result<(), Problem> {
    for name in fields.left() {
        if let Some(meant) = nearly(name) {
            return Err(misspelled(name, meant));
        }
    }
    Ok(())
}

/// The known field that this name nearly is.
fn nearly(name: &str) -> Option<&'static str> {
    let spelled = BOTH.iter().chain(&ALIASES).flat_map(|(known, other)| [*known, *other]);
    nearest(name, spelled.chain(PLAIN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_nearly_a_known_field_is_told_from_what_is_another() {
        let cases = [
            ("RecordCount", Some("recordCount")),
            ("record-count", Some("recordCount")),
            ("recrod_count", Some("recordCount")),
            ("recordCounts", Some("recordCount")),
            ("ressource", Some("resource")),
            ("triger", Some("trigger")),
            ("Payload", Some("payload")),
            ("idempotencykey", Some("idempotencyKey")),
            ("estimate_records", Some("estimatedRecords")),
            ("source", None),
            ("option", None),
            ("police", Some("policy")),
            ("records", None),
            ("tags", None),
            ("id", None),
            ("", None),
            ("correlation_id", None),
        ];
        for (name, meant) in cases {
            assert_eq!(nearly(name), meant, "{name}");
        }
    }
}
