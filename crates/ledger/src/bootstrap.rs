//! The cluster's beginning, its namespaces and its feature level.

use alloc::boxed::Box;

use types::codec::decode;
use types::limits::NAMESPACES_MAX;
use types::{NamespaceId, Stamp};

use crate::agents::{admin, first_agent, first_is_taken, first_key};
use crate::codec::FEATURE_LEVEL;
use crate::command::{Bootstrap, CreateNamespace, Envelope};
use crate::event::Event;
use crate::query;
use crate::read::Read;
use crate::reply::{Effect, Refusal, Reply};
use crate::rows::NamespaceRow;
use crate::table::{self, Meta};
use crate::transition::{Stop, Transition};

/// Gives the cluster its id and its first admin. Once.
///
/// # Errors
/// Refused if it has them already.
pub(crate) fn bootstrap(
    ledger: &impl Read,
    stamp: Stamp,
    command: &Bootstrap,
) -> Result<Transition, Stop> {
    if query::cluster(ledger)?.is_some() {
        return Err(Refusal::AlreadyInitialised.into());
    }
    Ok(Transition {
        reply: Reply::Done,
        events: alloc::vec![Event::Bootstrapped {
            cluster_id: command.cluster_id.clone(),
            admin: Box::new(first_agent(&command.admin, stamp.time)),
            key: first_key(&command.admin, NamespaceId::DEFAULT, stamp.time),
            node: command.node,
        }],
        effects: alloc::vec![Effect::PrincipalsChanged],
    })
}

/// Makes a namespace with its first admin. Only admins of `default`, who run the cluster.
///
/// # Errors
/// Refused for others, for a name that is taken, and when there are as many as can be.
pub(crate) fn create_namespace(
    ledger: &impl Read,
    stamp: Stamp,
    envelope: &Envelope,
    command: &CreateNamespace,
) -> Result<Transition, Stop> {
    let by = cluster_admin(ledger, stamp, envelope)?;
    if query::namespace_by_name(ledger, &command.name)?.is_some() {
        return Err(Refusal::NamespaceExists.into());
    }
    let count: u32 = match ledger.get(&table::meta(Meta::NamespaceCount))? {
        Some(bytes) => decode(&bytes, "namespace count")?,
        None => 0,
    };
    if count >= NAMESPACES_MAX {
        return Err(Refusal::NamespacesFull.into());
    }
    let id = NamespaceId(count.saturating_add(1));
    if first_is_taken(ledger, id, &command.admin)? {
        return Ok(Transition::reply(Reply::IdTaken));
    }
    let row = NamespaceRow { id, name: command.name.clone(), created_at: stamp.time };
    Ok(Transition {
        reply: Reply::Namespace(id),
        events: alloc::vec![Event::NamespaceCreated {
            row,
            admin: Box::new(first_agent(&command.admin, stamp.time)),
            key: first_key(&command.admin, id, stamp.time),
            by,
        }],
        effects: alloc::vec![Effect::PrincipalsChanged],
    })
}

/// Lets commands of a newer level in.
///
/// # Errors
/// Refused for others than cluster admins, for a lower level, and for one that this build does
/// not know.
pub(crate) fn raise_feature_level(
    ledger: &impl Read,
    stamp: Stamp,
    envelope: &Envelope,
    wanted: u32,
) -> Result<Transition, Stop> {
    let by = cluster_admin(ledger, stamp, envelope)?;
    let current = query::feature_level(ledger)?;
    if wanted == current {
        return Ok(Transition::reply(Reply::Done));
    }
    if wanted < current || wanted > FEATURE_LEVEL {
        return Err(Refusal::FeatureLevel { wanted, current, known: FEATURE_LEVEL }.into());
    }
    Ok(Transition {
        reply: Reply::Done,
        events: alloc::vec![Event::FeatureLevelRaised { level: wanted, by }],
        effects: alloc::vec![],
    })
}

fn cluster_admin(
    ledger: &impl Read,
    stamp: Stamp,
    envelope: &Envelope,
) -> Result<types::AgentId, Stop> {
    let who = admin(ledger, stamp, envelope)?;
    if envelope.namespace == NamespaceId::DEFAULT {
        Ok(who.id)
    } else {
        let needed = "admin of namespace default".into();
        Err(Refusal::Role { role: who.role, needed }.into())
    }
}
