//! An intent as a person sees it: what it is, who said what of it, what became of it and why, and
//! what an approval would set off.

use client::Client;
use serde_json::{Value, json};

use crate::commands::audit::whole_trail;
use crate::commands::reasons;
use crate::failure::Failure;
use crate::output::{Column, Output};

const ONE: &[Column] = &[
    ("intent", &["intentId", "id"]),
    ("status", &["status"]),
    ("phase", &["phase"]),
    ("why", &["/shown/why"]),
    ("effect", &["effect"]),
    ("resource", &["destination"]),
    ("trigger", &["trigger"]),
    ("policy", &["policy_id"]),
    ("agent", &["sender_agent_id"]),
    ("records", &["estimated_records", "record_count"]),
    ("reason", &["block_reason"]),
    ("risk", &["risk_level"]),
    ("payload hash", &["payload_hash"]),
    ("approvals", &["/shown/approvals"]),
    ("runs", &["/shown/runs"]),
    ("promise", &["/carried_out_by/promise"]),
    ("order", &["execution_id"]),
    ("digest", &["approval_digest"]),
    ("created", &["created_at"]),
    ("expires", &["expires_at"]),
];

/// Prints all that a person needs to decide; the body as it is in JSON output.
///
/// # Errors
/// What the gate says, where the trail is longer than the body's own part of it.
pub(crate) async fn print_whole(
    client: &Client,
    output: Output,
    body: &Value,
) -> Result<(), Failure> {
    if output.is_json() {
        output.fields(body, ONE);
        return Ok(());
    }
    let id = text(body, "/intentId");
    let mut events = body["auditTrail"].as_array().cloned().unwrap_or_default();
    if body["audit_next"].is_u64() {
        let whole = whole_trail(client, id).await?;
        events = whole["events"].as_array().cloned().unwrap_or_default();
    }
    let mut shown = body.clone();
    shown["shown"] = json!({
        "why": why(body, &events),
        "approvals": approvals(body),
        "runs": runs(body),
    });
    output.fields(&shown, ONE);
    reasons(output, body);
    let all = format!("qgate intent show {id} --output json");
    output.value("payload", body.get("payload"), &all);
    output.value("metadata", body.get("metadata"), &all);
    Ok(())
}

fn text<'v>(body: &'v Value, pointer: &str) -> &'v str {
    body.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// What the trail says of how a call went, where somebody has to know.
fn why(body: &Value, events: &[Value]) -> Option<String> {
    if !matches!(text(body, "/phase"), "failed" | "in_doubt" | "allowed") {
        return None;
    }
    let told = events.iter().rev().find_map(|event| {
        let metadata = &event["metadata"];
        match text(event, "/event_type") {
            "execution_failed" => Some(&metadata["result"]),
            "execution_in_doubt" | "execution_resolved" | "execution_given_back" => {
                Some(&metadata["reason"])
            }
            _ => None,
        }
    })?;
    match told {
        Value::Null if text(body, "/phase") == "in_doubt" => {
            Some("nobody reported how the order went".to_owned())
        }
        Value::Null => None,
        Value::String(words) => Some(words.clone()),
        other => Some(other.to_string()),
    }
}

/// Votes of those needed, with names; nothing where policy asked nobody.
fn approvals(body: &Value) -> Option<String> {
    let none = Vec::new();
    let votes = body["votes"].as_array().unwrap_or(&none);
    let reasons = body["reasons"].as_array().unwrap_or(&none);
    let asked = reasons.iter().any(|reason| text(reason, "/outcome") == "hold");
    if votes.is_empty() && !asked && text(body, "/phase") != "held" {
        return None;
    }
    let names: Vec<&str> = votes.iter().map(|vote| text(vote, "/name")).collect();
    let needed = &body["required_approvals"];
    let by = if names.is_empty() { String::new() } else { format!(": {}", names.join(", ")) };
    Some(format!("{} of {needed}{by}", names.len()))
}

/// Who carries it out, and when.
fn runs(body: &Value) -> Option<String> {
    let by = body.get("carried_out_by").filter(|by| !by.is_null())?;
    let name = text(by, "/name");
    if text(by, "/kind") == "worker" {
        return Some(format!("by a worker, with an order of destination {name}"));
    }
    let when = match text(by, "/execute") {
        "on_approval" => "as soon as it is allowed",
        _ => "when it is executed",
    };
    let (method, url) = (text(by, "/method"), text(by, "/url"));
    Some(format!("{method} {url} by destination {name}, {when}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_it_failed_or_is_in_doubt_is_said() {
        let event =
            |kind: &str, metadata: Value| json!({ "event_type": kind, "metadata": metadata });
        let failed = [
            event("execution_claimed", json!({})),
            event("execution_failed", json!({ "result": { "status": 500 } })),
            event("webhook_delivered", json!({})),
        ];
        let doubt = [event("execution_in_doubt", json!({ "reason": "timed out" }))];
        let silent = [event("execution_in_doubt", json!({ "reason": null }))];
        let cases = [
            ("failed", &failed[..], Some("{\"status\":500}")),
            ("in_doubt", &doubt, Some("timed out")),
            ("in_doubt", &silent, Some("nobody reported how the order went")),
            ("succeeded", &failed, None),
            ("held", &[], None),
        ];
        for (phase, events, expected) in cases {
            let found = why(&json!({ "phase": phase }), events);
            assert_eq!(found.as_deref(), expected, "{phase}");
        }
    }

    #[test]
    fn approvals_are_shown_where_somebody_was_asked() {
        let held = json!({
            "phase": "held", "required_approvals": 2, "votes": [{ "name": "rita" }],
            "reasons": [{ "outcome": "hold" }],
        });
        assert_eq!(approvals(&held).as_deref(), Some("1 of 2: rita"));
        let allowed = json!({
            "phase": "allowed", "required_approvals": 1, "votes": [], "reasons": [],
        });
        assert_eq!(approvals(&allowed), None);
    }

    #[test]
    fn what_an_approval_sets_off_is_said() {
        let http = json!({ "carried_out_by": {
            "name": "crm.*", "kind": "http", "execute": "on_approval", "method": "POST",
            "url": "https://crm.example/", "promise": "at most once; doubt is shown",
        }});
        let said = runs(&http).unwrap();
        assert_eq!(
            said,
            "POST https://crm.example/ by destination crm.*, as soon as it is allowed"
        );
        assert_eq!(runs(&json!({ "carried_out_by": null })), None);
    }
}
