//! Decoded policies by version, kept because a version never changes once it is written.

use std::collections::BTreeMap;
use std::sync::Arc;

use ledger::PolicySet;
use parking_lot::Mutex;
use types::NamespaceId;

/// Decoded versions kept at once.
const VERSIONS_MAX: usize = 64;

/// Belongs to one generation: another lineage of state may number other policies alike.
#[derive(Default)]
pub(super) struct Policies {
    kept: Mutex<BTreeMap<(NamespaceId, u64), Arc<PolicySet>>>,
}

impl Policies {
    pub(super) fn get(&self, namespace: NamespaceId, version: u64) -> Option<Arc<PolicySet>> {
        self.kept.lock().get(&(namespace, version)).cloned()
    }

    pub(super) fn keep(&self, namespace: NamespaceId, version: u64, set: &Arc<PolicySet>) {
        let mut kept = self.kept.lock();
        if kept.len() >= VERSIONS_MAX {
            kept.clear();
        }
        kept.insert((namespace, version), set.clone());
    }
}
