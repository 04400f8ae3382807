//! What is in force in a namespace, ready for making facts: the policies' engine, kept while its
//! version stands, and the destinations, one of which may declare the environment.

use std::collections::HashMap;
use std::sync::Arc;

use ledger::{Read, query};
use parking_lot::Mutex;
use policy::{Engine, Facts, PolicySet, Subject};
use types::{Destination, NamespaceId, destination};

use crate::errors::GateError;
use crate::log::Log;

/// Engines by namespace; only the newest version of each is kept.
#[derive(Default)]
pub(crate) struct Engines {
    kept: Mutex<HashMap<NamespaceId, Arc<Engine>>>,
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
        let mut found = Ok(None);
        log.with_state(&mut |state, _| found = self.look_up(state, namespace).map(Some))?;
        found?.ok_or_else(|| ledger::Fault("state was not read".into()).into())
    }

    fn look_up(&self, state: &dyn Read, namespace: NamespaceId) -> Result<InForce, GateError> {
        let destinations = match query::settings_head(state, namespace)?.destinations {
            Some(head) => Some((head.version, state.destinations(namespace, head.version)?)),
            None => None,
        };
        Ok(InForce { engine: self.engine(state, namespace)?, destinations })
    }

    fn engine(&self, state: &dyn Read, namespace: NamespaceId) -> Result<Arc<Engine>, GateError> {
        let version = query::policy_head(state, namespace)?.map_or(0, |head| head.version);
        if let Some(kept) = self.kept.lock().get(&namespace)
            && kept.version() == version
        {
            return Ok(kept.clone());
        }
        let set = match version {
            0 => Arc::new(PolicySet::empty()),
            version => state.compiled(namespace, version)?,
        };
        let engine = Arc::new(Engine::new(set, version));
        self.kept.lock().insert(namespace, engine.clone());
        Ok(engine)
    }
}
