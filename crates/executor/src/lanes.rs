//! Lanes: each destination takes so many calls at a time, and who waits for one holds up no other.
//!
//! Most of what waits is looked at again and again, so what is needed for that is kept: an intent's
//! resource, and for one round what serves it.

use std::collections::HashMap;

use gate::{Gate, GateError};
use types::limits::EXECUTIONS_AT_A_TIME_MAX;
use types::{IntentId, NamespaceId};

/// Resources that are kept.
const RESOURCES_MAX: usize = 16_384;

/// Namespace and destination; of what nothing serves any more, the empty one.
type Share = (NamespaceId, String);

/// What runs, by destination.
#[derive(Default)]
pub(crate) struct Lanes {
    running: HashMap<IntentId, Share>,
    taken: HashMap<Share, usize>,
    /// An intent's resource never changes.
    resources: HashMap<IntentId, String>,
    /// By namespace and resource: the share, and how many calls it takes at a time.
    serving: HashMap<(NamespaceId, String), (Share, usize)>,
}

impl Lanes {
    /// Documents may have changed since the last round.
    pub(crate) fn begin_round(&mut self) {
        self.serving.clear();
        if self.resources.len() > RESOURCES_MAX {
            self.resources.clear();
        }
    }

    pub(crate) fn runs(&self, intent: IntentId) -> bool {
        self.running.contains_key(&intent)
    }

    /// No intent of any destination can begin.
    pub(crate) fn are_full(&self) -> bool {
        self.running.len() >= EXECUTIONS_AT_A_TIME_MAX
    }

    /// Takes a place for an intent; false if its destination has none.
    ///
    /// # Errors
    /// [`GateError::Fault`].
    pub(crate) fn enter(
        &mut self,
        gate: &Gate,
        namespace: NamespaceId,
        intent: IntentId,
    ) -> Result<bool, GateError> {
        let resource = match self.resources.get(&intent) {
            Some(known) => known.clone(),
            None => {
                let Some(resource) = gate.resource(namespace, intent)? else { return Ok(false) };
                self.resources.insert(intent, resource.clone());
                resource
            }
        };
        let key = (namespace, resource);
        let (share, at_a_time) = match self.serving.get(&key) {
            Some(known) => known.clone(),
            None => {
                // Where nothing serves it any more it is left to people, or given back.
                let found = match gate.serving(namespace, &key.1)? {
                    Some(destination) => {
                        let at_a_time = usize::from(destination.concurrency.max(1));
                        ((namespace, destination.name.clone()), at_a_time)
                    }
                    None => ((namespace, String::new()), 1),
                };
                self.serving.insert(key, found.clone());
                found
            }
        };
        let taken = self.taken.entry(share.clone()).or_default();
        if *taken >= at_a_time {
            return Ok(false);
        }
        *taken += 1;
        self.running.insert(intent, share);
        Ok(true)
    }

    /// Gives the place of an intent back.
    pub(crate) fn leave(&mut self, intent: IntentId) {
        self.resources.remove(&intent);
        let Some(share) = self.running.remove(&intent) else { return };
        if let Some(taken) = self.taken.get_mut(&share) {
            *taken -= 1;
            if *taken == 0 {
                self.taken.remove(&share);
            }
        }
    }
}
