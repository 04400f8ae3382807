//! Who sends a command, checked again at apply: the edge is only a filter.
//!
//! Invariant: a key that was revoked, or a role that was taken, at an earlier log position stops
//! every later command, whichever node let it in.

use types::codec::decode;
use types::{AgentId, AgentStatus, KeyId, LogTime, NamespaceId, Role};

use crate::command::Envelope;
use crate::read::{Fault, Read};
use crate::reply::Refusal;
use crate::rows::{AgentRow, KeyRow};
use crate::table;
use crate::transition::Stop;

/// The principal behind a command, if its key is valid in the command's namespace.
pub(crate) fn principal(
    ledger: &impl Read,
    envelope: &Envelope,
    now: LogTime,
) -> Result<(AgentRow, KeyRow), Stop> {
    let id = envelope.credential.ok_or(Refusal::InvalidKey)?;
    let live = live_key(ledger, id, now)?;
    let key = live.filter(|key| key.namespace == envelope.namespace).ok_or(Refusal::InvalidKey)?;
    let agent = agent(ledger, key.namespace, key.agent)?.ok_or(Refusal::InvalidKey)?;
    if agent.status != AgentStatus::Active {
        return Err(Refusal::Inactive { status: agent.status }.into());
    }
    Ok((agent, key))
}

/// A key that is known and has not ended.
pub(crate) fn live_key(
    ledger: &(impl Read + ?Sized),
    id: KeyId,
    now: LogTime,
) -> Result<Option<KeyRow>, Fault> {
    let Some(bytes) = ledger.get(&table::key(id))? else { return Ok(None) };
    let key: KeyRow = decode(&bytes, "key")?;
    Ok(Some(key).filter(|key| key.expires_at.is_none_or(|ends| now < ends)))
}

/// The principal, if its role passes `allows`; `needed` names the roles that would.
pub(crate) fn principal_who(
    ledger: &impl Read,
    envelope: &Envelope,
    now: LogTime,
    allows: impl Fn(Role) -> bool,
    needed: &str,
) -> Result<(AgentRow, KeyRow), Stop> {
    let (agent, key) = principal(ledger, envelope, now)?;
    if allows(agent.role) {
        Ok((agent, key))
    } else {
        Err(Refusal::Role { role: agent.role, needed: needed.into() }.into())
    }
}

/// A principal's row.
pub(crate) fn agent(
    ledger: &(impl Read + ?Sized),
    namespace: NamespaceId,
    id: AgentId,
) -> Result<Option<AgentRow>, Fault> {
    match ledger.get(&table::agent(namespace, id))? {
        Some(bytes) => Ok(Some(decode(&bytes, "agent")?)),
        None => Ok(None),
    }
}
