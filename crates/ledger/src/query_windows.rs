//! Questions about the dedup windows of an intent.

use alloc::vec::Vec;

use types::codec::decode;
use types::{Digest, IntentId, LogTime, NamespaceId};

use crate::query;
use crate::read::{Fault, Read};
use crate::rows::{Head, WindowRow};
use crate::table;
use crate::windows::is_open;

/// Another intent that holds open one of the windows which this one had.
pub(crate) fn window_holder(
    ledger: &impl Read,
    namespace: NamespaceId,
    head: &Head,
    now: LogTime,
) -> Result<Option<IntentId>, Fault> {
    for (fingerprint, _) in windows(ledger, namespace, head)? {
        let key = table::window(namespace, &fingerprint);
        let window: Option<WindowRow> = query::row(ledger, &key, |b| decode(b, "window"))?;
        let other = window.filter(|row| row.first != head.id && is_open(row, now));
        if let Some(row) = other {
            return Ok(Some(row.first));
        }
    }
    Ok(None)
}

/// How many windows an intent holds.
pub(crate) fn windows_of(
    ledger: &impl Read,
    namespace: NamespaceId,
    head: &Head,
) -> Result<usize, Fault> {
    windows(ledger, namespace, head).map(|held| held.len())
}

/// The windows that an intent holds, with their lengths in milliseconds.
pub(crate) fn windows(
    ledger: &impl Read,
    namespace: NamespaceId,
    head: &Head,
) -> Result<Vec<(Digest, u64)>, Fault> {
    if !head.has_windows {
        return Ok(Vec::new());
    }
    let kept = query::content_row(ledger, namespace, head.id, head.revision)?.windows;
    if !kept.is_empty() {
        return Ok(kept);
    }
    let key = table::intent_windows(namespace, head.id);
    let many = query::row(ledger, &key, |b| decode(b, "intent windows"))?;
    Ok(many.unwrap_or_default())
}
