//! Nonces: issued to anybody with a key, and read from decisions together with the sender's time.
//!
//! Invariant: nothing is judged here. The ledger refuses a replay at its place among the checks.

use gate::Gate;
use ledger::{ClaimedTime, NonceClaim, ReplayGuard};
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::call::Authed;
use crate::fields::{Fields, wrong_type};
use crate::problem::Problem;
use crate::times::{iso, read_ms};

/// `GET /v1/nonce`.
pub(crate) async fn nonce(call: Authed) -> Result<Answer, Problem> {
    let nonce = call.app.gate.issue_nonce()?;
    let expires_at = iso(nonce.expires_at);
    let body = json!({ "nonce": nonce.text, "expiresAt": expires_at, "expires_at": expires_at });
    Ok(Answer::ok(&body))
}

/// `nonce` and `decided_at` of a decision; `None` if it has neither. A nonce that is there and
/// null is an empty one: who sends the field wants the check.
pub(crate) fn replay_guard(
    gate: &Gate,
    fields: &mut Fields,
) -> Result<Option<ReplayGuard>, Problem> {
    let nonce = match fields.sent("nonce") {
        None => None,
        Some(Value::Null) => Some(NonceClaim::Missing),
        Some(Value::String(text)) => Some(gate.nonce_claim(&text)),
        Some(other) => return Err(wrong_type("nonce", "a string", &other)),
    };
    let decided_at = fields.value("decided_at").map(|value| claimed_time(&value));
    let guard = ReplayGuard { nonce, decided_at };
    Ok((guard != ReplayGuard::default()).then_some(guard))
}

fn claimed_time(value: &Value) -> ClaimedTime {
    // Before 1970 is a time too, and as far off as any.
    let at = |ms| ClaimedTime::At(u64::try_from(ms).unwrap_or(0));
    read_ms(value).map_or(ClaimedTime::Invalid, at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_existing_clients_write_them() {
        let at = ClaimedTime::At;
        let cases = [
            (json!(1_795_349_928_557_u64), at(1_795_349_928_557)),
            (json!(1_795_349_928_557.25), at(1_795_349_928_557)),
            (json!(-5), at(0)),
            (json!("2026-11-22T12:18:48.557Z"), at(1_795_349_928_557)),
            (json!("2026-11-22T13:18:48.557+01:00"), at(1_795_349_928_557)),
            (json!("2026-11-22"), at(1_795_305_600_000)),
            (json!("2026-11-22T12:18:48"), ClaimedTime::Invalid),
            (json!("1795349928557"), ClaimedTime::Invalid),
            (json!("soon"), ClaimedTime::Invalid),
            (json!(""), ClaimedTime::Invalid),
            (json!(true), ClaimedTime::Invalid),
            (json!({}), ClaimedTime::Invalid),
        ];
        for (value, expected) in cases {
            assert_eq!(claimed_time(&value), expected, "{value}");
        }
    }
}
