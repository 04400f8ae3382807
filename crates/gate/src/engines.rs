//! What is in force in a namespace, ready for making facts: the policies' engine, kept while its
//! version stands, and the destinations, one of which may declare the environment.

use std::collections::HashMap;
use std::sync::Arc;

use ledger::{Read, query};
use parking_lot::Mutex;
use policy::{Engine, Facts, PolicySet, Subject};
use types::{Destination, LogIndex, NamespaceId, destination};

use crate::errors::GateError;
use crate::log::Log;

/// What is in force by namespace, each with the standing at which it was; only the newest version
/// is kept.
#[derive(Default)]
pub(crate) struct Engines {
    kept: Mutex<HashMap<NamespaceId, (LogIndex, InForce)>>,
}

/// Policies and destinations of one moment.
#[derive(Clone)]
pub(crate) struct InForce {
    pub(crate) engine: Arc<Engine>,
    destinations: Option<(u64, Arc<Vec<Destination>>)>,
}

impl InForce {
    /// What facts made of it are stamped with.
    pub(crate) fn versions(&self) -> (u64, Option<u64>) {
        (self.engine.version(), self.destinations.as_ref().map(|(version, _)| *version))
    }

    /// Takes the facts, in the environment that the destination declares if it declares one.
    pub(crate) fn facts(&self, subject: &Subject<'_>) -> Facts {
        let serving = self
            .destinations
            .as_ref()
            .and_then(|(_, set)| destination::serving(set, &subject.proposal.destination));
        let declared = serving.and_then(|found| found.environment.as_deref());
        let mut facts = self.engine.facts_in(subject, declared);
        facts.destinations_version = self.versions().1;
        facts
    }
}

impl Engines {
    /// What is in force on this node.
    pub(crate) fn in_force(
        &self,
        log: &dyn Log,
        namespace: NamespaceId,
    ) -> Result<InForce, GateError> {
        let changed = log.standing().changed;
        let kept = self.kept.lock().get(&namespace).cloned();
        let kept = match kept {
            Some((since, kept)) if since == changed => return Ok(kept),
            kept => kept.map(|(_, kept)| kept.engine),
        };
        let mut found = Ok(None);
        log.with_state(&mut |state, _| {
            found = look_up(state, namespace, kept.as_ref()).map(Some);
        })?;
        let found: InForce = found?.ok_or_else(|| ledger::Fault("state was not read".into()))?;
        self.kept.lock().insert(namespace, (changed, found.clone()));
        Ok(found)
    }
}

fn look_up(
    state: &dyn Read,
    namespace: NamespaceId,
    kept: Option<&Arc<Engine>>,
) -> Result<InForce, GateError> {
    let destinations = match query::settings_head(state, namespace)?.destinations {
        Some(head) => Some((head.version, state.destinations(namespace, head.version)?)),
        None => None,
    };
    let version = query::policy_head(state, namespace)?.map_or(0, |head| head.version);
    if let Some(engine) = kept.filter(|engine| engine.version() == version) {
        return Ok(InForce { engine: engine.clone(), destinations });
    }
    let set = match version {
        0 => Arc::new(PolicySet::empty()),
        version => state.compiled(namespace, version)?,
    };
    Ok(InForce { engine: Arc::new(Engine::new(set, version)), destinations })
}
