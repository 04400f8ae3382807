//! Entries on their way to one follower: so many bytes, and then nothing more is read for it.
//!
//! A follower that takes nothing holds what it was sent, and nobody else up: the log goes on, and
//! what it lacks is read from the disk when it takes something again.
//! Invariant: what is held is given back when it is confirmed, or with its stream.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use openraft::raft::AppendEntriesRequest;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use types::limits::REPLICATION_HELD_BYTES_MAX;

use crate::raft::{Payload, TypeConfig};

/// What is counted at a time, and the least that a request counts for.
const UNIT_BYTES: usize = 4 * 1024;
const UNITS_MAX: usize = REPLICATION_HELD_BYTES_MAX / UNIT_BYTES;

/// What all streams of a node hold.
#[derive(Debug, Clone, Default)]
pub(crate) struct HeldBytes(Arc<AtomicUsize>);

impl HeldBytes {
    pub(crate) fn now(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// A request on its way.
struct Sent {
    bytes: usize,
    _room: OwnedSemaphorePermit,
}

/// What one stream has sent and its follower has not confirmed, oldest first.
pub(crate) struct Held {
    room: Arc<Semaphore>,
    sent: Mutex<VecDeque<Sent>>,
    all: HeldBytes,
}

impl Held {
    pub(crate) fn new(all: HeldBytes) -> Self {
        Self { room: Arc::new(Semaphore::new(UNITS_MAX)), sent: Mutex::default(), all }
    }

    /// Waits until there is room for a request, and counts it.
    pub(crate) async fn add(&self, request: &AppendEntriesRequest<TypeConfig>) {
        let bytes = bytes_of(request);
        // A larger one goes alone.
        let units = bytes.div_ceil(UNIT_BYTES).clamp(1, UNITS_MAX);
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        // It is never closed.
        let Ok(room) = self.room.clone().acquire_many_owned(units).await else { return };
        self.all.0.fetch_add(bytes, Ordering::Relaxed);
        self.sent.lock().push_back(Sent { bytes, _room: room });
    }

    /// The oldest request has its answer.
    pub(crate) fn confirmed(&self) {
        if let Some(Sent { bytes, .. }) = self.sent.lock().pop_front() {
            self.all.0.fetch_sub(bytes, Ordering::Relaxed);
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let bytes = self.sent.get_mut().iter().map(|sent| sent.bytes).sum();
        self.all.0.fetch_sub(bytes, Ordering::Relaxed);
    }
}

fn bytes_of(request: &AppendEntriesRequest<TypeConfig>) -> usize {
    let bytes = request.entries.iter().map(|entry| match &entry.payload {
        Payload::Normal(batch) => batch.0.len(),
        Payload::Blank | Payload::Membership(_) => 0,
    });
    bytes.sum()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures::FutureExt as _;
    use openraft::entry::RaftEntry as _;
    use openraft::impls::leader_id_adv::LeaderId;

    use super::*;
    use crate::raft::{BatchBytes, Entry, LogId, Vote};

    fn request(bytes: usize) -> AppendEntriesRequest<TypeConfig> {
        let leader_id = LeaderId { term: 1, node_id: 1 };
        let batch = BatchBytes(Bytes::from(vec![0; bytes]));
        let entry = Entry::new(LogId { leader_id, index: 1 }, Payload::Normal(batch));
        let vote = Vote { leader_id, committed: true };
        let entries = vec![entry];
        AppendEntriesRequest { vote, prev_log_id: None, entries, leader_commit: None }
    }

    #[tokio::test]
    async fn so_many_bytes_are_held_and_no_more_until_one_is_confirmed() {
        let all = HeldBytes::default();
        let held = Held::new(all.clone());
        let quarter = request(REPLICATION_HELD_BYTES_MAX / 4);
        for _ in 0..4 {
            held.add(&quarter).await;
        }
        assert_eq!(all.now(), REPLICATION_HELD_BYTES_MAX);
        assert!(held.add(&request(1)).now_or_never().is_none(), "it is full");
        held.confirmed();
        held.add(&quarter).await;
        assert!(held.add(&request(0)).now_or_never().is_none(), "the least counts too");
        (0..4).for_each(|_| held.confirmed());
        assert_eq!(all.now(), 0);
        held.add(&request(2 * REPLICATION_HELD_BYTES_MAX)).await;
        assert!(held.add(&request(1)).now_or_never().is_none(), "a larger one goes alone");
        let other = Held::new(all.clone());
        other.add(&request(7)).await;
        drop(held);
        assert_eq!(all.now(), 7, "what a stream held goes with it, and nothing else");
    }

    #[tokio::test]
    async fn many_small_requests_are_bounded_too() {
        let held = Held::new(HeldBytes::default());
        for _ in 0..UNITS_MAX {
            held.add(&request(1)).await;
        }
        assert!(held.add(&request(1)).now_or_never().is_none());
    }
}
