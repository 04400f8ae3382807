//! Which calls are on their way, and which never start any more because a freeze came first.
//!
//! Invariant: once [`Wire::take_back`] has answered, no call that it was asked about and did not
//! name starts.

use std::collections::HashSet;

use ledger::Settled;
use parking_lot::Mutex;
use types::ExecutionId;

/// The calls of one executor.
#[derive(Default)]
pub(crate) struct Wire(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    /// May be written from now on, or were.
    started: HashSet<ExecutionId>,
    taken_back: HashSet<ExecutionId>,
}

impl Wire {
    /// A call is about to be written; false if it was taken back.
    pub(crate) fn start(&self, execution: ExecutionId) -> bool {
        let mut inner = self.0.lock();
        if inner.taken_back.contains(&execution) {
            return false;
        }
        inner.started.insert(execution);
        true
    }

    /// A freeze has taken it back.
    pub(crate) fn is_taken_back(&self, execution: ExecutionId) -> bool {
        self.0.lock().taken_back.contains(&execution)
    }

    /// Takes back what has not started, and leaves of each list what has.
    pub(crate) fn take_back(&self, freezes: &mut [Settled]) {
        let mut inner = self.0.lock();
        for freeze in freezes {
            freeze.running.retain(|call| {
                let started = inner.started.contains(&call.execution);
                if !started {
                    inner.taken_back.insert(call.execution);
                }
                started
            });
        }
    }

    /// A call has an outcome that was heard.
    pub(crate) fn end(&self, execution: ExecutionId) {
        let mut inner = self.0.lock();
        inner.started.remove(&execution);
        inner.taken_back.remove(&execution);
    }
}

#[cfg(test)]
mod tests {
    use ledger::Running;
    use types::{FreezeId, IntentId, NamespaceId};

    use super::*;

    #[test]
    fn what_has_not_started_when_a_freeze_is_settled_never_starts() {
        let wire = Wire::default();
        let running = |id| Running { execution: ExecutionId(id), intent: IntentId(id) };
        let freeze = |calls: &[u64]| Settled {
            home: NamespaceId::DEFAULT,
            freeze: FreezeId(1),
            running: calls.iter().copied().map(running).collect(),
        };
        assert!(wire.start(ExecutionId(1)));
        let mut freezes = [freeze(&[1, 2]), freeze(&[2, 3])];
        wire.take_back(&mut freezes);
        assert_eq!(freezes, [freeze(&[1]), freeze(&[])]);
        assert!(wire.start(ExecutionId(1)), "a call that is tried again was told of");
        assert!(!wire.start(ExecutionId(2)) && !wire.start(ExecutionId(3)));
        assert!(wire.is_taken_back(ExecutionId(3)) && !wire.is_taken_back(ExecutionId(1)));
        assert!(wire.start(ExecutionId(4)), "no freeze covers it");
        wire.end(ExecutionId(2));
        assert!(wire.start(ExecutionId(2)), "an id that nothing is known of");
    }
}
