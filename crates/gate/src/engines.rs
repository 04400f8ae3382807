//! Compiled policies ready for making facts: one engine per namespace and version, kept while it
//! is in force.

use std::collections::HashMap;
use std::sync::Arc;

use ledger::{Read, query};
use parking_lot::Mutex;
use policy::{Engine, PolicySet};
use types::{LogIndex, NamespaceId};

use crate::errors::GateError;
use crate::log::Log;

/// Engines by namespace, each with the standing at which its version was in force; only the newest
/// version is kept.
#[derive(Default)]
pub(crate) struct Engines {
    kept: Mutex<HashMap<NamespaceId, (LogIndex, Arc<Engine>)>>,
}

impl Engines {
    /// The engine of the version in force on this node.
    pub(crate) fn in_force(
        &self,
        log: &dyn Log,
        namespace: NamespaceId,
    ) -> Result<Arc<Engine>, GateError> {
        let changed = log.standing().changed;
        if let Some((since, engine)) = self.kept.lock().get(&namespace)
            && *since == changed
        {
            return Ok(engine.clone());
        }
        let mut found = Ok(None);
        log.with_state(&mut |state, _| {
            found = self.look_up(state, namespace, changed).map(Some);
        })?;
        found?.ok_or_else(|| ledger::Fault("state was not read".into()).into())
    }

    fn look_up(
        &self,
        state: &dyn Read,
        namespace: NamespaceId,
        changed: LogIndex,
    ) -> Result<Arc<Engine>, GateError> {
        let version = query::policy_head(state, namespace)?.map_or(0, |head| head.version);
        if let Some((since, engine)) = self.kept.lock().get_mut(&namespace)
            && engine.version() == version
        {
            *since = changed.max(*since);
            return Ok(engine.clone());
        }
        let set = match version {
            0 => Arc::new(PolicySet::empty()),
            version => state.compiled(namespace, version)?,
        };
        let engine = Arc::new(Engine::new(set, version));
        self.kept.lock().insert(namespace, (changed, engine.clone()));
        Ok(engine)
    }
}
