//! Who calls: keys looked up in the state, and copies of what was found.
//!
//! Invariant: a copy is used only while no key and no principal has changed on this node since it
//! was read; its key's end is looked at each time. It is a filter in any case: the ledger checks
//! key, status and role again at apply, and reads check them in their own view.

use std::collections::HashMap;
use std::sync::Arc;

use ledger::query;
use parking_lot::Mutex;
use types::limits::CALLERS_KEPT_MAX;
use types::{AgentStatus, Digest, LogIndex, LogTime};

use crate::errors::GateError;
use crate::handle::Caller;
use crate::ids::unix_ms;
use crate::log::Log;

/// Callers by the hash of their key, as of one standing.
#[derive(Default)]
pub(crate) struct Callers {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    changed: LogIndex,
    by_hash: HashMap<Digest, Known>,
}

#[derive(Clone)]
struct Known {
    caller: Caller,
    expires_at: Option<LogTime>,
}

impl Known {
    fn at(self, time: LogTime) -> Result<Caller, GateError> {
        let now = time.0.max(unix_ms());
        if self.expires_at.is_some_and(|ends| now >= ends.0) {
            return Err(GateError::UnknownKey);
        }
        Ok(self.caller)
    }
}

impl Callers {
    /// The caller with this key.
    pub(crate) fn find(&self, log: &dyn Log, hash: &Digest) -> Result<Caller, GateError> {
        let standing = log.standing();
        if let Some(known) = self.known(standing.changed, hash) {
            return known.at(standing.time);
        }
        let mut found = Err(GateError::UnknownKey);
        log.with_state(&mut |state, progress| {
            found = (|| {
                let row = query::key_by_hash(state, hash)?.ok_or(GateError::UnknownKey)?;
                let agent =
                    query::agent(state, row.namespace, row.agent)?.ok_or(GateError::UnknownKey)?;
                if agent.status != AgentStatus::Active {
                    return Err(GateError::Inactive(agent.status.name()));
                }
                let caller =
                    Caller { namespace: row.namespace, agent: Arc::new(agent), key: row.id };
                let known = Known { caller, expires_at: row.expires_at };
                known.clone().at(progress.time)?;
                Ok(known)
            })();
        })?;
        let known = found?;
        self.keep(standing.changed, hash, &known);
        Ok(known.caller)
    }

    fn known(&self, changed: LogIndex, hash: &Digest) -> Option<Known> {
        let mut kept = self.kept.lock();
        if kept.changed < changed {
            kept.changed = changed;
            kept.by_hash.clear();
        }
        (kept.changed == changed).then(|| kept.by_hash.get(hash).cloned())?
    }

    /// Keeps a copy, unless something has changed since it was asked for.
    fn keep(&self, changed: LogIndex, hash: &Digest, known: &Known) {
        let mut kept = self.kept.lock();
        if kept.changed != changed {
            return;
        }
        if kept.by_hash.len() >= CALLERS_KEPT_MAX {
            kept.by_hash.clear();
        }
        kept.by_hash.insert(*hash, known.clone());
    }
}
