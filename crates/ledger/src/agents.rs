//! Principals: registered, suspended, resumed, revoked, given other keys and roles.
//!
//! Invariant: a namespace that has an active admin keeps one; revoked is for ever.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use types::limits::KEYS_PER_AGENT_MAX;
use types::{AgentId, AgentStatus, LogTime, NamespaceId, Role, Stamp};

use crate::command::{Envelope, FirstKey, RegisterAgent, RotateKey, SetAgentStatus, SetRole};
use crate::credential::{agent, live_key, principal_who};
use crate::event::Event;
use crate::read::{Fault, Read};
use crate::reply::{Effect, Refusal, Reply};
use crate::rows::{AgentRow, KeyRow};
use crate::transition::{Stop, Transition};
use crate::{query, table};

/// A new principal with its first key.
///
/// # Errors
/// Refused unless an admin asks, or registration is open and the role is `agent`.
pub(crate) fn register(
    ledger: &impl Read,
    stamp: Stamp,
    envelope: &Envelope,
    command: &RegisterAgent,
) -> Result<Transition, Stop> {
    let by = match (envelope.credential, command.open) {
        (None, true) if command.role == Role::Agent => None,
        _ => Some(admin(ledger, stamp, envelope)?.id),
    };
    if first_is_taken(ledger, envelope.namespace, &command.first)? {
        return Ok(Transition::reply(Reply::IdTaken));
    }
    let row = AgentRow {
        owner: command.owner.clone(),
        framework: command.framework.clone(),
        risk_tier: command.risk_tier.clone(),
        role: command.role,
        allowed_policies: command.allowed_policies.clone(),
        allowed_destinations: command.allowed_destinations.clone(),
        metadata: command.metadata.clone(),
        ..first_agent(&command.first, stamp.time)
    };
    let key = first_key(&command.first, envelope.namespace, stamp.time);
    Ok(Transition {
        reply: Reply::Agent(Box::new(row.clone())),
        events: alloc::vec![Event::AgentRegistered { agent: Box::new(row), key, by }],
        effects: alloc::vec![Effect::PrincipalsChanged],
    })
}

/// Whether the id of a principal or of its key belongs to somebody already.
pub(crate) fn first_is_taken(
    ledger: &impl Read,
    namespace: NamespaceId,
    first: &FirstKey,
) -> Result<bool, Fault> {
    Ok(agent(ledger, namespace, first.agent)?.is_some()
        || ledger.get(&table::key(first.key))?.is_some()
        || ledger.get(&table::key_hash(&first.key_hash))?.is_some())
}

/// An admin as it comes with a namespace.
pub(crate) fn first_agent(first: &FirstKey, at: LogTime) -> AgentRow {
    AgentRow {
        id: first.agent,
        name: first.name.clone(),
        owner: None,
        framework: None,
        risk_tier: String::from("standard"),
        role: Role::Admin,
        status: AgentStatus::Active,
        allowed_policies: Vec::new(),
        allowed_destinations: Vec::new(),
        metadata: None,
        created_at: at,
        keys: alloc::vec![first.key],
    }
}

/// The first key of a principal.
pub(crate) fn first_key(first: &FirstKey, namespace: NamespaceId, at: LogTime) -> KeyRow {
    KeyRow {
        id: first.key,
        namespace,
        agent: first.agent,
        hash: first.key_hash,
        created_at: at,
        expires_at: None,
    }
}

/// Suspends, resumes or revokes a principal.
///
/// # Errors
/// Refused unless a reviewer or an admin asks, or only an admin where the principal is one; for a
/// revoked principal, and for the last admin.
pub(crate) fn set_status(
    ledger: &impl Read,
    stamp: Stamp,
    envelope: &Envelope,
    command: &SetAgentStatus,
) -> Result<Transition, Stop> {
    let by = decider(ledger, stamp, envelope)?;
    let mut row = subject(ledger, envelope, command.agent)?;
    if row.role.may_administer() && !by.role.may_administer() {
        return Err(Refusal::Role { role: by.role, needed: "admin".into() }.into());
    }
    if row.status == command.status {
        return Ok(Transition::reply(Reply::Agent(Box::new(row))));
    }
    if row.status == AgentStatus::Revoked {
        return Err(Refusal::Revoked { id: row.id }.into());
    }
    if command.status != AgentStatus::Active {
        keep_an_admin(ledger, envelope.namespace, &row)?;
    }
    row.status = command.status;
    Ok(Transition {
        events: alloc::vec![Event::AgentStatusChanged {
            agent: row.id,
            status: command.status,
            by: by.id,
        }],
        reply: Reply::Agent(Box::new(row)),
        effects: alloc::vec![Effect::PrincipalsChanged],
    })
}

/// Gives a principal a new key; its older ones end after the overlap.
///
/// # Errors
/// Refused unless an admin, or the principal itself, asks, and while as many keys would go on as
/// one principal may have.
pub(crate) fn rotate_key(
    ledger: &impl Read,
    stamp: Stamp,
    envelope: &Envelope,
    command: &RotateKey,
) -> Result<Transition, Stop> {
    let (caller, _) = principal_who(ledger, envelope, stamp.time, |_| true, "")?;
    if caller.id != command.agent && !caller.role.may_administer() {
        return Err(Refusal::Role { role: caller.role, needed: "admin".into() }.into());
    }
    let row = subject(ledger, envelope, command.agent)?;
    if row.status == AgentStatus::Revoked {
        return Err(Refusal::Revoked { id: row.id }.into());
    }
    let taken = ledger.get(&table::key(command.key))?.is_some()
        || ledger.get(&table::key_hash(&command.key_hash))?.is_some();
    if taken {
        return Ok(Transition::reply(Reply::IdTaken));
    }
    let ends_at = stamp.time.plus_ms(command.overlap_ms);
    if stamp.time < ends_at && live_keys(ledger, &row, stamp.time)? >= KEYS_PER_AGENT_MAX {
        return Err(Refusal::KeysFull { id: row.id }.into());
    }
    let key = KeyRow {
        id: command.key,
        namespace: envelope.namespace,
        agent: row.id,
        hash: command.key_hash,
        created_at: stamp.time,
        expires_at: None,
    };
    Ok(Transition {
        reply: Reply::KeyAdded { agent: row.id, key: command.key },
        events: alloc::vec![Event::KeyRotated { key, ending: row.keys, ends_at, by: caller.id }],
        effects: alloc::vec![Effect::PrincipalsChanged],
    })
}

/// How many keys of a principal are good. Expired ones leave its row at the next rotation.
fn live_keys(ledger: &impl Read, row: &AgentRow, now: LogTime) -> Result<usize, Fault> {
    let mut live = 0;
    for id in &row.keys {
        live += usize::from(live_key(ledger, *id, now)?.is_some());
    }
    Ok(live)
}

/// Gives a principal another role.
///
/// # Errors
/// Refused unless an admin asks, for a revoked principal, and for the last admin.
pub(crate) fn set_role(
    ledger: &impl Read,
    stamp: Stamp,
    envelope: &Envelope,
    command: &SetRole,
) -> Result<Transition, Stop> {
    let by = admin(ledger, stamp, envelope)?;
    let mut row = subject(ledger, envelope, command.agent)?;
    if row.status == AgentStatus::Revoked {
        return Err(Refusal::Revoked { id: row.id }.into());
    }
    if row.role == command.role {
        return Ok(Transition::reply(Reply::Agent(Box::new(row))));
    }
    keep_an_admin(ledger, envelope.namespace, &row)?;
    row.role = command.role;
    Ok(Transition {
        events: alloc::vec![Event::RoleChanged { agent: row.id, role: command.role, by: by.id }],
        reply: Reply::Agent(Box::new(row)),
        effects: alloc::vec![Effect::PrincipalsChanged],
    })
}

/// The admin who asks.
pub(crate) fn admin(
    ledger: &impl Read,
    stamp: Stamp,
    envelope: &Envelope,
) -> Result<AgentRow, Stop> {
    let (admin, _) = principal_who(ledger, envelope, stamp.time, Role::may_administer, "admin")?;
    Ok(admin)
}

/// Existing clients let reviewers suspend and revoke agents; who administers is no such agent.
fn decider(ledger: &impl Read, stamp: Stamp, envelope: &Envelope) -> Result<AgentRow, Stop> {
    let (person, _) =
        principal_who(ledger, envelope, stamp.time, Role::may_decide, "reviewer or admin")?;
    Ok(person)
}

fn subject(ledger: &impl Read, envelope: &Envelope, id: AgentId) -> Result<AgentRow, Stop> {
    Ok(agent(ledger, envelope.namespace, id)?.ok_or(Refusal::UnknownAgent { id })?)
}

/// The last active admin of a namespace stays.
fn keep_an_admin(
    ledger: &impl Read,
    namespace: NamespaceId,
    leaving: &AgentRow,
) -> Result<(), Stop> {
    if leaving.is_active_admin() && query::active_admins(ledger, namespace)? <= 1 {
        return Err(Refusal::LastAdmin.into());
    }
    Ok(())
}
