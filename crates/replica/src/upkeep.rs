//! Keeps a restart short and the log bounded: flushes, snapshots, and with them purges. Looks at
//! the room on the disk too.
//!
//! Invariant: a snapshot flushes the state before Raft learns of it, and Raft purges only behind
//! a snapshot, so nothing leaves the log that a power cut could ask for.

use std::sync::Arc;
use std::time::Duration;

use store::StoreError;

use crate::node::Core;
use crate::strain;

/// How often it looks.
const INTERVAL: Duration = Duration::from_millis(500);

/// Runs until the node stops, or the disk fails or has no room, which stops the node.
pub(crate) async fn run(core: Arc<Core>) {
    let mut stopping = core.stopping.subscribe();
    let mut bytes_at_snapshot = 0;
    loop {
        tokio::select! {
            _ = stopping.wait_for(|stopping| *stopping) => return,
            () = tokio::time::sleep(INTERVAL) => {}
        }
        let looking = core.clone();
        let look = move || looking.disk.look(&looking.config.data_dir);
        // A look that panicked leaves what is known as it is.
        _ = tokio::task::spawn_blocking(look).await;
        if core.disk.is_at_end() {
            return strain::stop_without_room(&core).await;
        }
        if core.state.needs_flush()
            && let Err(error) = flush(&core).await
        {
            tracing::error!(%error, "cannot flush the state, stopping");
            core.fail(error.to_string());
            return;
        }
        let bytes = core.log.stats().entry_bytes;
        let (applied, snapshot) = core.applied_and_snapshot();
        let entries_since = applied.saturating_sub(snapshot);
        let is_due = entries_since >= core.config.snapshot_entries
            || (entries_since > 0 && bytes - bytes_at_snapshot >= core.config.snapshot_bytes);
        if is_due {
            bytes_at_snapshot = bytes;
            if core.raft.trigger().snapshot().await.is_err() {
                return;
            }
        }
    }
}

async fn flush(core: &Arc<Core>) -> Result<(), StoreError> {
    let state = core.state.clone();
    match tokio::task::spawn_blocking(move || state.flush()).await {
        Ok(result) => result,
        Err(error) if error.is_cancelled() => Ok(()),
        // A flush that panicked made nothing durable, so nothing behind it may be purged.
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
