//! What a proposal may ask of its approval: who is asked, where, and with which proof.
//!
//! Existing clients can ask for another provider, an address or a stronger factor. There is one way
//! to decide here, so what it cannot give is refused and never taken for what it gives: whoever
//! asks for more must not get less without a word.
//! Invariant: this depends on the request alone, and is checked whatever policy would say of it.

use axum::http::StatusCode;
use serde_json::Value;

use crate::fields::Fields;
use crate::problem::Problem;
use crate::view::factor;

/// The one provider that there is: people with a key or an approval link.
pub(crate) const PROVIDER: &str = "dashboard";
/// Numbers that are dialled have at least so many digits.
const PHONE_DIGITS_MIN: usize = 7;

/// Takes what is asked of the approval and refuses what cannot be given.
///
/// # Errors
/// 400 in the codes of existing clients: `invalid_provider`, `invalid_principal`,
/// `invalid_channel`, `unsupported_factor`.
pub(crate) fn refuse_unmet(fields: &mut Fields) -> Result<(), Problem> {
    let provider = fields.words("approval_provider")?;
    let principal = fields.string("principal_id")?;
    let channel = fields.object("approval_channel")?;
    let assurance = fields.object("assurance")?;
    if let Some(provider) = provider.filter(|provider| provider != PROVIDER) {
        let message = format!("no provider {provider:?} here; leave it out or say {PROVIDER}");
        return Err(unmet("invalid_provider", &fields.path("approval_provider"), message));
    }
    if principal.is_some_and(|principal| is_address(&principal)) {
        let message = "an e-mail address or a phone number is no principal; send an opaque id";
        return Err(invalid_principal(&fields.path("principal_id"), message));
    }
    if let Some(channel) = channel {
        let path = fields.path("approval_channel");
        let says = |name| channel.get(name).is_some_and(|value| !says_nothing(value));
        if says("address") && !says("type") {
            return Err(invalid_principal(&path, "an address needs its type"));
        }
        let message = "nobody is told at an address of one intent; leave it out, and have an admin \
                       put a channel for the resource";
        return Err(unmet("invalid_channel", &path, message));
    }
    let asked = assurance.iter().flatten().find(|(_, value)| !says_nothing(value));
    if let Some((name, _)) = asked {
        let message = "no level and no factor can be required here: an approval counts the same \
                       with a key and by a link; leave it out";
        return Err(unmet("unsupported_factor", &format!("$.assurance.{name}"), message)
            .with("provider", PROVIDER)
            .with("capabilities", vec![factor(None)])
            // Refused before anything was judged.
            .with("risk_level", Value::Null));
    }
    Ok(())
}

fn unmet(code: &'static str, field: &str, message: impl std::fmt::Display) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, code, format!("{field}: {message}")).with("field", field)
}

fn invalid_principal(field: &str, message: &str) -> Problem {
    unmet("invalid_principal", field, message).with("messages", vec![message])
}

fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

/// An e-mail address, or a phone number however it is grouped.
fn is_address(principal: &str) -> bool {
    let principal = principal.trim();
    let is_mail = principal.split_once('@').is_some_and(|(name, host)| {
        !name.is_empty() && host.contains('.') && !principal.contains(char::is_whitespace)
    });
    let grouped = |character: char| matches!(character, '+' | '-' | '.' | ' ' | '(' | ')' | '/');
    let digits = principal.chars().filter(char::is_ascii_digit).count();
    let is_phone = digits >= PHONE_DIGITS_MIN
        && principal.chars().all(|character| character.is_ascii_digit() || grouped(character));
    is_mail || is_phone
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_from_ids() {
        for address in ["a@b.example", " A.B+c@d.e ", "+15550001234", "(555) 000-1234", "5550001"] {
            assert!(is_address(address), "{address}");
        }
        for id in
            ["", "cfo", "customer-17", "user@tenant", "4711", "2026-11", "u1a2b3c4d5e6f7", "@b.c"]
        {
            assert!(!is_address(id), "{id}");
        }
    }
}
