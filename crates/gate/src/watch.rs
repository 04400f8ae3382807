//! Long polls: a waiter sleeps until its intent changes or its time is up, then reads again.
//!
//! Hints only wake; the answer is always read from the ledger, so a lost hint costs time, never
//! truth: every waiter also looks once more at its end.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ledger::{Effect, Head, query};
use parking_lot::Mutex;
use tokio::sync::{Notify, broadcast};
use types::{IntentId, NamespaceId, Phase};

use crate::errors::GateError;
use crate::handle::Gate;
use crate::log::ReadPoint;
use crate::read::Freshness;

/// What a long poll waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// Somebody, or time, has decided.
    Decided,
    /// Nothing more will happen without a person.
    Done,
}

impl Until {
    fn is_reached(self, phase: Phase) -> bool {
        match self {
            Self::Decided => phase != Phase::Held,
            Self::Done => phase.is_terminal() || phase == Phase::InDoubt,
        }
    }
}

/// Who waits for which intent.
#[derive(Default)]
pub(crate) struct Waiters {
    by_intent: Mutex<HashMap<IntentId, Arc<Notify>>>,
}

impl Waiters {
    fn join(&self, id: IntentId) -> Waiter<'_> {
        let notify = self.by_intent.lock().entry(id).or_default().clone();
        Waiter { waiters: self, id, notify }
    }

    fn wake(&self, id: IntentId) {
        if let Some(notify) = self.by_intent.lock().get(&id) {
            notify.notify_waiters();
        }
    }

    fn wake_all(&self) {
        for notify in self.by_intent.lock().values() {
            notify.notify_waiters();
        }
    }
}

/// One who waits. Leaves when it is dropped, also because its client went away.
struct Waiter<'w> {
    waiters: &'w Waiters,
    id: IntentId,
    notify: Arc<Notify>,
}

impl Drop for Waiter<'_> {
    /// Drops the entry of an intent for which nobody waits any more.
    fn drop(&mut self) {
        let mut by_intent = self.waiters.by_intent.lock();
        // The map's and our own.
        if Arc::strong_count(&self.notify) == 2 {
            by_intent.remove(&self.id);
        }
    }
}

impl Gate {
    /// Wakes waiters as entries are applied, until the log goes away.
    pub async fn run_watch(self: Arc<Self>) {
        let mut effects = self.log.effects();
        loop {
            match effects.recv().await {
                Ok(batch) => {
                    for effect in batch.iter() {
                        if let Effect::PhaseChanged(id) = effect {
                            self.waiters.wake(*id);
                        }
                    }
                }
                Err(broadcast::error::RecvError::Lagged(_)) => self.waiters.wake_all(),
                Err(broadcast::error::RecvError::Closed) => return,
            }
        }
    }

    /// Waits until an intent is where the caller wants it, at most `wait`, and gives its head as
    /// a fresh read has it; `None` if it is not known here.
    ///
    /// # Errors
    /// As [`Gate::read`]; a wait that cannot be confirmed is an error, not an old answer.
    pub async fn wait_for(
        &self,
        namespace: NamespaceId,
        id: IntentId,
        until: Until,
        wait: Duration,
        freshness: Freshness,
    ) -> Result<(Option<Head>, ReadPoint), GateError> {
        let ends = tokio::time::Instant::now() + wait;
        let waiter = self.waiters.join(id);
        loop {
            let changed = waiter.notify.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let read =
                self.read(freshness, |state, _| Ok(query::head(state, namespace, id)?)).await;
            let (head, point) = match read {
                Ok(read) => read,
                Err(error) => return Err(error),
            };
            let reached = head.as_ref().is_none_or(|head| until.is_reached(head.phase));
            if reached || tokio::time::Instant::now() >= ends {
                return Ok((head, point));
            }
            let _ = tokio::time::timeout_at(ends, changed).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_one_who_leaves_takes_the_entry_along() {
        let waiters = Waiters::default();
        let (one, two) = (waiters.join(IntentId(1)), waiters.join(IntentId(1)));
        drop(one);
        assert_eq!(waiters.by_intent.lock().len(), 1);
        drop(two);
        assert!(waiters.by_intent.lock().is_empty());
    }
}
