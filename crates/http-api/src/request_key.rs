//! The `Idempotency-Key` header: per credential and route, bound to the canonical body.

use ledger::RequestKey;
use types::Digest;
use types::limits::IDEMPOTENCY_KEY_CHARS_MAX;

use crate::body::JsonBody;
use crate::call::Authed;
use crate::problem::Problem;

/// What the ledger remembers the request by, if the header was sent.
///
/// # Errors
/// 400 for a header that is empty, too long or not visible ASCII.
pub(crate) fn request_key(call: &Authed, body: &JsonBody) -> Result<Option<RequestKey>, Problem> {
    let Some(sent) = &call.idempotency_key else { return Ok(None) };
    let usable = (1..=IDEMPOTENCY_KEY_CHARS_MAX).contains(&sent.len())
        && sent.as_bytes().iter().all(u8::is_ascii_graphic);
    if !usable {
        let message = format!("expected 1 to {IDEMPOTENCY_KEY_CHARS_MAX} visible characters");
        return Err(Problem::field("Idempotency-Key", message));
    }
    let digest = Digest::of_parts(&[
        b"Idempotency-Key",
        &call.caller.key.0.to_be_bytes(),
        call.uri.path().as_bytes(),
        sent.as_bytes(),
    ]);
    Ok(Some(RequestKey { digest, body: body.digest() }))
}
