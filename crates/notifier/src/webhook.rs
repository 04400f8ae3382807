//! Webhooks as existing receivers know them: the body's members in their order, and the signature.
//!
//! Source of the scheme: `X-Gate-Signature: t=<Unix milliseconds>,v1=<hex>`, the hex being
//! HMAC-SHA-256 with the secret over the text `<t>.<body>`. It is made anew for each attempt, so a
//! receiver can refuse what is old. The secret itself is never sent.

use gate::Dispatch;
use gate::times::iso;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Map, Value};
use sha2::Sha256;
use types::{Notice, Phase};

/// The body of one attempt.
pub(crate) fn body(dispatch: &Dispatch, attempt: u32) -> Vec<u8> {
    let row = &dispatch.row;
    let mut body = Map::new();
    let mut put = |name: &str, value: Value| body.insert(name.to_owned(), value);
    put("intentId", row.intent.to_string().into());
    put("event", event(row.notice).into());
    put("actor", row.actor.clone().into());
    put("firedAt", iso(row.fired_at).into());
    put("deliveryId", row.id.to_string().into());
    put("attempt", attempt.into());
    let reason = Value::from(row.reason.clone());
    match row.notice {
        Notice::Approved => {
            put("approver", row.actor.clone().into());
        }
        Notice::Rejected => {
            put("reason", reason);
            put("rejector", row.actor.clone().into());
        }
        _ => {
            put("reason", reason);
        }
    }
    put("status", phase_then(row.notice).status().into());
    put("phase", phase_then(row.notice).name().into());
    put("destination", dispatch.destination.clone().into());
    put("agent", dispatch.agent.clone().into());
    put("namespace", dispatch.namespace_name.clone().into());
    Value::Object(body).to_string().into_bytes()
}

/// The word that existing receivers know, where there is one.
fn event(notice: Notice) -> &'static str {
    match notice {
        Notice::Cancelled => "approval_cancelled",
        notice => notice.name(),
    }
}

/// The phase that is told of; the intent itself may have gone on since.
fn phase_then(notice: Notice) -> Phase {
    match notice {
        Notice::Held => Phase::Held,
        Notice::Approved => Phase::Allowed,
        Notice::Rejected => Phase::Rejected,
        Notice::Cancelled => Phase::Cancelled,
        Notice::Expired => Phase::Expired,
        Notice::Executed => Phase::Succeeded,
        Notice::Failed => Phase::Failed,
        Notice::InDoubt => Phase::InDoubt,
    }
}

/// The value of `X-Gate-Signature` for a body sent at a time.
#[must_use]
pub fn signature(secret: &str, unix_ms: u64, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes())
        .unwrap_or_else(|_| unreachable!("this MAC takes keys of every length"));
    mac.update(format!("{unix_ms}.").as_bytes());
    mac.update(body);
    let hex = types::hex(&mac.finalize().into_bytes());
    format!("t={unix_ms},v1={hex}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::tests::dispatch;

    #[test]
    fn the_signature_is_that_of_the_scheme() {
        // Made with: printf '1790000000000.{}' | openssl dgst -sha256 -hmac secret
        let hex = "0eb8029793754c3e6d74e42ff75e71e216e0e72e890902e22df170340127c4e3";
        let expected = format!("t=1790000000000,v1={hex}");
        assert_eq!(signature("secret", 1_790_000_000_000, b"{}"), expected);
    }

    #[test]
    fn the_page_shows_the_signature_that_is_made() {
        let page = include_str!("../../../docs/channels.md");
        let body = page.split_once("```json\n").and_then(|(_, rest)| rest.split_once("\n```"));
        let header = page.lines().find_map(|line| line.strip_prefix("X-Gate-Signature: "));
        let (body, header) = (body.expect("a body").0, header.expect("a header"));
        assert_eq!(signature("whsec-4711", 1_790_000_000_000, body.as_bytes()), header);
        for notice in Notice::ALL {
            let told = String::from_utf8(super::body(&dispatch(notice), 1)).unwrap();
            let told: Map<String, Value> = serde_json::from_str(&told).unwrap();
            for (name, value) in &told {
                assert!(page.contains(&format!("`{name}`")), "{name} is not on the page");
                if name == "event" {
                    assert!(page.contains(&format!("`{}`", value.as_str().unwrap())), "{value}");
                }
            }
        }
    }

    #[test]
    #[rustfmt::skip]
    fn a_body_has_its_members_in_the_order_that_receivers_know() {
        let head = r#"{"intentId":"int_0000000000000007","event":"#;
        let by_rita = r#","actor":"rita","firedAt":"2026-09-21T14:13:20.000Z","#;
        let cases = [
            (Notice::Approved,  "approved",          r#""approver":"rita","status":"approved""#),
            (Notice::Rejected,  "rejected",          r#""reason":"no","rejector":"rita","#),
            (Notice::Cancelled, "approval_cancelled", r#""reason":"no","status":"blocked""#),
            (Notice::InDoubt,   "in_doubt",          r#""reason":"no","status":"in_doubt""#),
        ];
        for (notice, event, rest) in cases {
            let text = String::from_utf8(body(&dispatch(notice), 2)).unwrap();
            assert!(text.starts_with(&format!("{head}\"{event}\"{by_rita}")), "{text}");
            let rest = format!("\"deliveryId\":\"del_0000000000000009\",\"attempt\":2,{rest}");
            assert!(text.contains(&rest), "{text}");
        }
    }
}
