//! Questions about approval links.

use types::codec::decode;
use types::{AgentId, AgentStatus, Digest, IntentId, LogTime, NamespaceId};

use crate::credential::{self, live_key};
use crate::link_rows::LinkRow;
use crate::read::{Fault, Read};
use crate::reply::Refusal;
use crate::rows::AgentRow;
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

/// Why an approval link decides nothing now: it is used or over, or its reviewer may not decide any
/// more, or not under the key that asked for it.
///
/// # Errors
/// [`Fault`] if state cannot be read.
pub fn link_objection(
    ledger: &(impl Read + ?Sized),
    row: &LinkRow,
    now: LogTime,
) -> Result<Option<Refusal>, Fault> {
    Ok(link_reviewer(ledger, row, now)?.err())
}

/// Whose decision a link carries now, or why it carries none.
pub(crate) fn link_reviewer(
    ledger: &(impl Read + ?Sized),
    row: &LinkRow,
    now: LogTime,
) -> Result<Result<AgentRow, Refusal>, Fault> {
    if row.used_at.is_some() {
        return Ok(Err(Refusal::LinkUsed));
    }
    if now >= row.expires_at {
        return Ok(Err(Refusal::LinkExpired));
    }
    let Some(person) = credential::agent(ledger, row.namespace, row.reviewer)? else {
        return Ok(Err(Refusal::UnknownLink));
    };
    if person.status != AgentStatus::Active {
        return Ok(Err(Refusal::Inactive { status: person.status }));
    }
    if !person.role.may_decide() {
        let needed = "reviewer or admin".into();
        return Ok(Err(Refusal::Role { role: person.role, needed }));
    }
    // A key that was taken away takes along what it asked for.
    if live_key(ledger, row.credential, now)?.is_none() {
        return Ok(Err(Refusal::UnknownLink));
    }
    Ok(Ok(person))
}
