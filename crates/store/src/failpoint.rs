//! Crash points: the process aborts at a named write boundary, as a kill would stop it.
//!
//! What was written and not synced survives that, since the system still holds it; a power cut
//! would lose it. So these points prove order and atomicity of writes, not that they are synced:
//! `tests/cluster/synced.rs` looks for the syncs themselves.
//! Promise: without the feature `failpoints` a point costs nothing and can do nothing.
//! Invariant: every boundary between two writes that must hold together has a point.

/// Names the point and its turn: `QGATE_FAILPOINT=log.sync.before` aborts at the first hit,
/// `QGATE_FAILPOINT=log.sync.before:3` at the third.
#[cfg(feature = "failpoints")]
pub const VARIABLE: &str = "QGATE_FAILPOINT";

/// Every point, in the order of the code; the crash tests walk this list.
pub const ALL: &[&str] = &[
    "log.append.before",
    "log.append.after",
    "log.sync.before",
    "log.sync.after",
    "log.vote.before",
    "log.vote.after",
    "log.truncate.before",
    "log.truncate.marked",
    "log.truncate.after",
    "log.purge.before",
    "log.purge.after",
    "log.purge.files",
    "mark.before",
    "mark.after",
    "state.write.before",
    "state.write.after",
    "state.flush.before",
    "state.flush.after",
    "checkpoint.begin",
    "checkpoint.image",
    "checkpoint.manifest",
    "checkpoint.renamed",
    "checkpoint.published",
    "install.verified",
    "install.marked",
    "install.copied",
    "install.switched",
    "install.reopened",
    "install.published",
    "install.cleared",
];

/// Aborts the process if this point is armed and its turn has come.
#[cfg(feature = "failpoints")]
pub fn hit(name: &str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static ARMED: OnceLock<Option<(String, u64)>> = OnceLock::new();
    static HITS: AtomicU64 = AtomicU64::new(0);
    let armed = ARMED.get_or_init(|| {
        let text = std::env::var(VARIABLE).ok()?;
        match text.split_once(':') {
            Some((name, turn)) => Some((name.to_owned(), turn.parse().unwrap_or(1))),
            None => Some((text, 1)),
        }
    });
    let Some((wanted, turn)) = armed else { return };
    if wanted == name && HITS.fetch_add(1, Ordering::SeqCst) + 1 == *turn {
        std::process::abort();
    }
}

/// Does nothing in this build.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub fn hit(_name: &str) {}
