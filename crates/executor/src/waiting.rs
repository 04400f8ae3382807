//! What waits for a secret: counted by intent, and told once for each destination.
//!
//! Invariant: the same fault of the same destination is logged once until something about it
//! changes, however many intents wait for it and however often each is tried.

use std::collections::{HashMap, HashSet};

use parking_lot::Mutex;
use types::{IntentId, NamespaceId};

/// Destinations that are remembered; with more, faults may be told again.
const DESTINATIONS_MAX: usize = 4_096;

type Key = (NamespaceId, String);

/// What waits, and what was said of it.
#[derive(Default)]
pub(crate) struct Waiting(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    intents: HashSet<IntentId>,
    said: HashMap<Key, String>,
}

impl Waiting {
    /// An intent cannot have a secret of its destination. True if that is news to be told.
    pub(crate) fn wants(&self, key: Key, intent: IntentId, fault: &str) -> bool {
        let mut inner = self.0.lock();
        inner.intents.insert(intent);
        if inner.said.get(&key).is_some_and(|said| said == fault) {
            return false;
        }
        if inner.said.len() >= DESTINATIONS_MAX {
            inner.said.clear();
        }
        inner.said.insert(key, fault.to_owned());
        true
    }

    /// An intent has all secrets of its destination. True if they were missed before.
    pub(crate) fn has(&self, key: &Key, intent: IntentId) -> bool {
        let mut inner = self.0.lock();
        inner.intents.remove(&intent);
        inner.said.remove(key).is_some()
    }

    /// Forgets intents that are no more to be run; says how many wait.
    pub(crate) fn keep(&self, is_runnable: impl Fn(IntentId) -> bool) -> usize {
        let mut inner = self.0.lock();
        inner.intents.retain(|intent| is_runnable(*intent));
        inner.intents.len()
    }

    pub(crate) fn count(&self) -> usize {
        self.0.lock().intents.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        (NamespaceId::DEFAULT, name.to_owned())
    }

    #[test]
    fn a_fault_is_told_once_until_it_changes() {
        let waiting = Waiting::default();
        let told = |name: &str, intent: u64, fault: &str| {
            waiting.wants(key(name), IntentId(intent), fault)
        };
        assert!(told("phone", 1, "no file"));
        assert!(!told("phone", 1, "no file"), "again");
        assert!(!told("phone", 2, "no file"), "another intent of the same");
        assert!(told("crm", 3, "no file"), "another destination");
        assert!(told("phone", 2, "it is empty"), "another fault");
        assert_eq!(waiting.count(), 3);
        assert!(waiting.has(&key("phone"), IntentId(1)), "it can be had again");
        assert!(!waiting.has(&key("phone"), IntentId(2)), "that was told");
        assert!(told("phone", 2, "it is empty"), "and missed anew");
        assert_eq!(waiting.keep(|intent| intent == IntentId(3)), 1, "others ended meanwhile");
    }
}
