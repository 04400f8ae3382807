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
    fn join(&self, id: IntentId) -> Arc<Notify> {
        self.by_intent.lock().entry(id).or_default().clone()
    }

    /// Drops the entry of an intent for which nobody waits any more.
    fn leave(&self, id: IntentId, notify: Arc<Notify>) {
        let mut by_intent = self.by_intent.lock();
        drop(notify);
        if by_intent.get(&id).is_some_and(|notify| Arc::strong_count(notify) == 1) {
            by_intent.remove(&id);
        }
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
        let notify = self.waiters.join(id);
        let result = loop {
            let changed = notify.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let read =
                self.read(freshness, |state, _| Ok(query::head(state, namespace, id)?)).await;
            let (head, point) = match read {
                Ok(read) => read,
                Err(error) => break Err(error),
            };
            let reached = head.as_ref().is_none_or(|head| until.is_reached(head.phase));
            if reached || tokio::time::Instant::now() >= ends {
                break Ok((head, point));
            }
            let _ = tokio::time::timeout_at(ends, changed).await;
        };
        self.waiters.leave(id, notify);
        result
    }
}
