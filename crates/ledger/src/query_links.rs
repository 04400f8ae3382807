//! Questions about approval links.

use types::codec::decode;
use types::{AgentId, Digest, IntentId, NamespaceId};

use crate::link_rows::LinkRow;
use crate::read::{Fault, Read};
use crate::submit::missing;
use crate::table;

/// An approval link by the SHA-256 of its token.
///
/// # Errors
/// [`Fault`] if state cannot be read.
pub fn link(ledger: &(impl Read + ?Sized), token: &Digest) -> Result<Option<LinkRow>, Fault> {
    match ledger.get(&table::link(token))? {
        Some(bytes) => Ok(Some(decode(&bytes, "approval link")?)),
        None => Ok(None),
    }
}

/// The newest approval link of a reviewer to an intent.
///
/// # Errors
/// [`Fault`] if state cannot be read.
pub fn link_of(
    ledger: &(impl Read + ?Sized),
    namespace: NamespaceId,
    intent: IntentId,
    reviewer: AgentId,
) -> Result<Option<LinkRow>, Fault> {
    let key = table::intent_link(namespace, intent, reviewer);
    let Some(bytes) = ledger.get(&key)? else { return Ok(None) };
    let token: Digest = decode(&bytes, "intent link")?;
    link(ledger, &token)?.ok_or_else(|| missing("an approval link")).map(Some)
}
