//! Who sends a command, checked again at apply: the edge is only a filter.
//!
//! Invariant: a key that was revoked, or a role that was taken, at an earlier log position stops
//! every later command, whichever node let it in.

use types::codec::decode;
use types::{AgentStatus, LogTime, NamespaceId, Role};

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
    let bytes = ledger.get(&table::key(id))?.ok_or(Refusal::InvalidKey)?;
    let key: KeyRow = decode(&bytes, "key")?;
    let live = key.expires_at.is_none_or(|ends| now < ends);
    if !live || key.namespace != envelope.namespace {
        return Err(Refusal::InvalidKey.into());
    }
    let agent = agent(ledger, key.namespace, key.agent)?.ok_or(Refusal::InvalidKey)?;
    if agent.status != AgentStatus::Active {
        return Err(Refusal::Inactive { status: agent.status }.into());
    }
    Ok((agent, key))
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
    ledger: &impl Read,
    namespace: NamespaceId,
    id: types::AgentId,
) -> Result<Option<AgentRow>, Fault> {
    match ledger.get(&table::agent(namespace, id))? {
        Some(bytes) => Ok(Some(decode(&bytes, "agent")?)),
        None => Ok(None),
    }
}
