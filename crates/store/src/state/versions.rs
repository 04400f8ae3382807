//! Decoded documents by version, kept because a version never changes once it is written.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use types::NamespaceId;

/// Decoded versions kept at once.
const VERSIONS_MAX: usize = 64;

/// Belongs to one generation: another lineage of state may number other documents alike.
pub(super) struct Versions<T> {
    kept: Mutex<BTreeMap<(NamespaceId, u64), Arc<T>>>,
}

impl<T> Default for Versions<T> {
    fn default() -> Self {
        Self { kept: Mutex::default() }
    }
}

impl<T> Versions<T> {
    /// The kept one, or the one that `read` gives.
    pub(super) fn get_or<E>(
        &self,
        namespace: NamespaceId,
        version: u64,
        read: impl FnOnce() -> Result<T, E>,
    ) -> Result<Arc<T>, E> {
        if let Some(found) = self.kept.lock().get(&(namespace, version)) {
            return Ok(found.clone());
        }
        let found = Arc::new(read()?);
        let mut kept = self.kept.lock();
        if kept.len() >= VERSIONS_MAX {
            kept.clear();
        }
        kept.insert((namespace, version), found.clone());
        Ok(found)
    }
}
