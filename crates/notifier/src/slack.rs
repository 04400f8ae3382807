//! Slack's incoming-webhook format: a text, and the same in blocks.
//!
//! Agents' words are data: `&`, `<` and `>` are escaped as Slack asks, so that no payload mentions
//! a channel or hides a link.

use gate::Dispatch;
use serde_json::json;
use types::{Notice, Outcome};

use crate::message::{cut, shown_count};

/// Characters of one reason.
const REASON_CHARS_MAX: usize = 300;
/// Reasons shown.
const REASONS_MAX: usize = 3;
/// Characters of a name.
const NAME_CHARS_MAX: usize = 120;

/// The body.
pub(crate) fn body(dispatch: &Dispatch) -> Vec<u8> {
    let title = title(dispatch);
    let mut lines = vec![format!("*{title}*")];
    lines.extend(details(dispatch));
    let id = dispatch.row.intent.to_string();
    let next = match dispatch.row.notice {
        Notice::Held => format!("Look and decide: `qgate intent show {id}`"),
        Notice::InDoubt => {
            format!("Look at the target, then say it: `POST /v1/intents/{id}/resolve`")
        }
        _ => format!("`qgate audit show {id}`"),
    };
    let blocks = json!([
        { "type": "section", "text": { "type": "mrkdwn", "text": lines.join("\n") } },
        { "type": "context", "elements": [{ "type": "mrkdwn", "text": next }] },
    ]);
    json!({ "text": title, "blocks": blocks }).to_string().into_bytes()
}

fn title(dispatch: &Dispatch) -> String {
    let what = match dispatch.row.notice {
        Notice::Held => "Held for approval",
        Notice::Approved => "Approved",
        Notice::Rejected => "Rejected",
        Notice::Cancelled => "Cancelled",
        Notice::Expired => "Expired",
        Notice::Executed => "Executed",
        Notice::Failed => "Failed",
        Notice::InDoubt => "In doubt: nobody knows whether it was done",
    };
    format!("{what}: {}", name(&dispatch.destination))
}

fn details(dispatch: &Dispatch) -> Vec<String> {
    let mut lines = Vec::new();
    let by = name(&dispatch.agent);
    let records = shown_count(dispatch.record_count);
    lines.push(format!("Asked by {by}{records}, intent `{}`", dispatch.row.intent));
    if let Some(trigger) = &dispatch.trigger {
        lines.push(format!("Trigger: {}", name(trigger)));
    }
    if dispatch.row.notice == Notice::Held {
        let held = dispatch.reasons.iter().filter(|reason| reason.outcome != Outcome::Allow);
        for reason in held.take(REASONS_MAX) {
            lines.push(format!("• {}", escape(&cut(&reason.message, REASON_CHARS_MAX))));
        }
    } else {
        lines.push(format!("By {}", name(&dispatch.row.actor)));
        if let Some(reason) = &dispatch.row.reason {
            lines.push(format!("Reason: {}", escape(&cut(reason, REASON_CHARS_MAX))));
        }
    }
    lines
}

fn name(text: &str) -> String {
    escape(&cut(text, NAME_CHARS_MAX))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::message::tests::dispatch;

    fn shown(dispatch: &Dispatch) -> (String, String) {
        let body: Value = serde_json::from_slice(&body(dispatch)).unwrap();
        let text = body["text"].as_str().unwrap().to_owned();
        (text, body["blocks"][0]["text"]["text"].as_str().unwrap().to_owned())
    }

    #[test]
    fn a_person_reads_what_is_held_and_why() {
        let (text, section) = shown(&dispatch(Notice::Held));
        assert_eq!(text, "Held for approval: crm.contacts");
        assert_eq!(
            section,
            "*Held for approval: crm.contacts*\n\
             Asked by enrichment-bot, 847 records, intent `int_0000000000000007`\n\
             Trigger: write\n\
             • Record count 847 exceeds auto-approve threshold (100)"
        );
    }

    #[test]
    fn words_of_agents_are_data() {
        let mut held = dispatch(Notice::Rejected);
        held.destination = "<!channel> & <https://evil.example|safe>".into();
        held.row.reason = Some("x".repeat(10_000));
        let (text, section) = shown(&held);
        assert_eq!(text, "Rejected: &lt;!channel&gt; &amp; &lt;https://evil.example|safe&gt;");
        assert!(section.chars().count() < 1_000);
    }
}
