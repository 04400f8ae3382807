//! Keeps a restart short and the log bounded: flushes, snapshots, and with them purges. Looks at
//! the room on the disk too.
//!
//! Invariant: a snapshot flushes the state before Raft learns of it, and Raft purges only behind
//! a snapshot, so nothing leaves the log that a power cut could ask for.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bugs::Bug;
use store::StoreError;

use crate::node::Core;
use crate::strain;

/// How often it looks.
const INTERVAL: Duration = Duration::from_millis(500);

/// Runs until the node stops, or the disk fails or has no room, which stops the node.
pub(crate) async fn run(core: Arc<Core>) {
    let mut stopping = core.stopping.subscribe();
    let (_, snapshot) = core.applied_and_snapshot();
    let mut marks = Marks::new(snapshot);
    loop {
        tokio::select! {
            _ = stopping.wait_for(|stopping| *stopping) => return,
            () = tokio::time::sleep(INTERVAL) => {}
        }
        let looking = core.clone();
        let look = move || looking.disk.look(&looking.config.data_dir);
        // A look that panicked leaves what is known as it is.
        _ = machine::blocking(look).await;
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
        if Bug::PurgeAheadOfState.is_planted() {
            let applied = core.state.applied().unwrap_or_else(|| unreachable!("it has started"));
            _ = core.log.purge_through(applied.index, &applied.applied);
        }
        let bytes = core.log.stats().entry_bytes;
        let (applied, snapshot) = core.applied_and_snapshot();
        let entries_since = applied.saturating_sub(snapshot);
        let is_due = entries_since >= core.config.snapshot_entries
            || (entries_since > 0 && bytes - marks.last_bytes() >= core.config.snapshot_bytes);
        if is_due {
            marks.push(Mark { index: applied, bytes });
            if core.raft.trigger().snapshot().await.is_err() {
                return;
            }
        }
        // Raft itself counts entries, and they may be large. It takes its time while it sends some
        // of them, and purges nothing that is not in a snapshot: then it is asked again. Who is
        // sent a snapshot wants what follows that.
        if let Some(index) = marks.end_of_old(bytes, core.config.log_kept_bytes)
            && core.log.purged().unwrap_or(0) < index.min(snapshot)
            && !core.peers.tallies.is_sending()
            && core.raft.trigger().purge_log(index).await.is_err()
        {
            return;
        }
    }
}

/// How far the log went when a snapshot was asked for, in entries and in bytes since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mark {
    index: u64,
    bytes: u64,
}

/// Marks, the oldest first; always at least one.
struct Marks {
    oldest: Mark,
    later: VecDeque<Mark>,
}

impl Marks {
    /// Of what was written before the start only the end is known.
    fn new(index: u64) -> Self {
        Self { oldest: Mark { index, bytes: 0 }, later: VecDeque::new() }
    }

    fn push(&mut self, mark: Mark) {
        self.later.push_back(mark);
    }

    fn last_bytes(&self) -> u64 {
        self.later.back().unwrap_or(&self.oldest).bytes
    }

    /// The last mark behind which at least so many bytes were written, once there is one. Forgets
    /// those before it.
    fn end_of_old(&mut self, bytes: u64, kept: u64) -> Option<u64> {
        let old = bytes.checked_sub(kept)?;
        while let Some(mark) = self.later.pop_front_if(|mark| mark.bytes <= old) {
            self.oldest = mark;
        }
        Some(self.oldest.index)
    }
}

async fn flush(core: &Arc<Core>) -> Result<(), StoreError> {
    let state = core.state.clone();
    match machine::blocking(move || state.flush()).await {
        Ok(result) => result,
        Err(error) if error.is_cancelled() => Ok(()),
        // A flush that panicked made nothing durable, so nothing behind it may be purged.
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_old_ends_at_the_last_mark_with_enough_behind_it() {
        let mut marks = Marks::new(7);
        assert_eq!(marks.end_of_old(99, 100), None);
        assert_eq!(marks.end_of_old(100, 100), Some(7), "what was there before the start goes");
        for (index, bytes) in [(20, 50), (21, 90), (40, 160)] {
            marks.push(Mark { index, bytes });
        }
        assert_eq!(marks.last_bytes(), 160);
        let steps = [(149, 7), (150, 20), (189, 20), (190, 21), (259, 21), (260, 40), (999, 40)];
        for (bytes, expected) in steps {
            assert_eq!(marks.end_of_old(bytes, 100), Some(expected), "{bytes}");
        }
        assert_eq!(marks.last_bytes(), 160);
    }
}
