//! The `Idempotency-Key` header: per credential and route, bound to the canonical body.
//!
//! A submit may say it in its body instead, in the field `request_key`, as each item of a batch
//! does. Promise: an item of a batch, the same object sent alone, and what is left of it without
//! the field under the header are one request.

use ledger::RequestKey;
use serde_json::Value;
use types::limits::IDEMPOTENCY_KEY_CHARS_MAX;
use types::{Digest, KeyId};

use crate::body::JsonBody;
use crate::call::Authed;
use crate::fields::{path, wrong_type};
use crate::problem::Problem;

/// The field of a submit that says what the header says.
const FIELD: &str = "request_key";
const OTHER_SPELLING: &str = "requestKey";

/// What the ledger remembers the request by, if the header was sent.
///
/// # Errors
/// 400 for a header that is empty, too long or not visible ASCII.
pub(crate) fn request_key(call: &Authed, body: &JsonBody) -> Result<Option<RequestKey>, Problem> {
    let Some(sent) = &call.idempotency_key else { return Ok(None) };
    check(sent.as_bytes(), "Idempotency-Key")?;
    let digest = digest(call.caller.key, call.uri.path(), sent.as_bytes());
    Ok(Some(RequestKey { digest, body: body.digest() }))
}

/// What the ledger remembers a submit by: the header, or the field of the body that says the same.
///
/// # Errors
/// 400 for a value that is not usable, and for two that differ.
pub(crate) fn submit_key(
    key: KeyId,
    route: &str,
    header: Option<&[u8]>,
    body: &mut JsonBody,
) -> Result<Option<RequestKey>, Problem> {
    let field = match body.take(FIELD) {
        field @ Some(_) => body.take(OTHER_SPELLING).is_none().then_some(field),
        None => Some(body.take(OTHER_SPELLING)),
    };
    let twice = || Problem::field(path(FIELD), format!("comes as `{OTHER_SPELLING}` too"));
    let field = match field.ok_or_else(twice)? {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(text),
        Some(other) => return Err(wrong_type(FIELD, "a string", &other)),
    };
    if let Some(field) = &field {
        check(field.as_bytes(), &path(FIELD))?;
        if header.is_some_and(|header| header != field.as_bytes()) {
            let message = "says something else than the header `Idempotency-Key`; send one of them";
            return Err(Problem::field(path(FIELD), message));
        }
    }
    let sent = header.or(field.as_ref().map(String::as_bytes));
    Ok(sent.map(|sent| RequestKey { digest: digest(key, route, sent), body: body.digest() }))
}

/// Refuses what no header may say.
///
/// # Errors
/// 400 that names the place.
pub(crate) fn check(sent: &[u8], place: &str) -> Result<(), Problem> {
    let length = (1..=IDEMPOTENCY_KEY_CHARS_MAX).contains(&sent.len());
    if length && sent.iter().all(u8::is_ascii_graphic) {
        return Ok(());
    }
    let message = format!("expected 1 to {IDEMPOTENCY_KEY_CHARS_MAX} visible characters");
    Err(Problem::field(place, message))
}

/// What was sent, per credential and route.
fn digest(key: KeyId, route: &str, sent: &[u8]) -> Digest {
    Digest::of_parts(&[b"Idempotency-Key", &key.0.to_be_bytes(), route.as_bytes(), sent])
}
