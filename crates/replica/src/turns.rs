//! Requests and replies of one stream of entries take turns, so that no reply counts for a request
//! that was made after it.
//!
//! Raft knows that a node still leads by when the requests were made that followers have answered,
//! and finds the request of a reply by the entry that it ends at. A request without entries, which
//! tells of a commit, ends where the one before it ended: the reply to that one, read only now,
//! would count for both. A leader that had stood still for a while (its process was stopped, say)
//! would believe in a lead that it has lost, and answer reads from old state
//! (docs/decisions/0016-replies-take-turns.md).
//!
//! Invariant: when Raft reads a reply, no request was made later that ends at the same entry, and
//! none is made until it has read it. A reply that must not count is left out: the next one says
//! as much.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Poll, Waker};

use bugs::Bug;
use futures::{Stream, StreamExt as _, stream};
use openraft::raft::AppendEntriesRequest;
use parking_lot::Mutex;

use crate::raft::TypeConfig;

/// The turns of one stream. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Turns(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// The entries at which the requests end that have no reply, oldest first.
    unanswered: VecDeque<Option<u64>>,
    /// Raft has a reply that it may not have read yet.
    is_reading: bool,
    /// Who wants to make a request when it has.
    waiting: Option<Waker>,
}

/// The entry at which a request ends.
pub(crate) fn end_of(request: &AppendEntriesRequest<TypeConfig>) -> Option<u64> {
    let last = request.entries.last().map(|entry| entry.log_id);
    last.or(request.prev_log_id).map(|id| id.index)
}

impl Turns {
    /// The requests as they are made: each at its turn.
    pub(crate) fn requests<S>(
        &self,
        mut input: S,
    ) -> impl Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + 'static
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + Unpin + 'static,
    {
        let turns = self.clone();
        stream::poll_fn(move |context| {
            // Held while the request is made: no reply is read beside it.
            let mut state = turns.0.lock();
            if state.is_reading {
                state.waiting = Some(context.waker().clone());
                return Poll::Pending;
            }
            let made = input.poll_next_unpin(context);
            if let Poll::Ready(Some(request)) = &made {
                state.unanswered.push_back(end_of(request));
            }
            made
        })
    }

    /// Raft has read what it had.
    pub(crate) fn has_read(&self) {
        let mut state = self.0.lock();
        state.is_reading = false;
        if let Some(waker) = state.waiting.take() {
            waker.wake();
        }
    }

    /// The oldest request has its reply, which acknowledges everything up to an entry, or nothing.
    /// Whether Raft may read it; until [`Turns::has_read`] no request is made then.
    pub(crate) fn may_read(&self, acknowledges: Option<Option<u64>>) -> bool {
        let mut state = self.0.lock();
        state.unanswered.pop_front();
        if Bug::ReplyCountsForLater.is_planted() {
            return true;
        }
        let would_count_for_later = acknowledges
            .is_some_and(|upto| state.unanswered.front().is_some_and(|end| *end <= upto));
        state.is_reading = !would_count_for_later;
        state.is_reading
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::{Context, Wake};

    use futures::FutureExt as _;
    use futures::channel::mpsc;
    use openraft::impls::leader_id_adv::LeaderId;

    use super::*;
    use crate::raft::{LogId, Vote};

    /// Whether somebody was woken.
    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    /// A request without entries that ends at one.
    fn ends_at(index: u64) -> AppendEntriesRequest<TypeConfig> {
        let leader_id = LeaderId { term: 1, node_id: 1 };
        AppendEntriesRequest {
            vote: Vote { leader_id, committed: true },
            prev_log_id: Some(LogId { leader_id, index }),
            entries: Vec::new(),
            leader_commit: None,
        }
    }

    #[test]
    fn a_reply_is_left_out_while_a_later_request_ends_where_it_does() {
        let (raft, made) = mpsc::unbounded();
        let turns = Turns::default();
        let mut requests = Box::pin(turns.requests(made));
        let mut make = |index| {
            raft.unbounded_send(ends_at(index)).expect("it is open");
            assert!(requests.next().now_or_never().is_some(), "it is its turn");
        };
        make(7);
        make(7);
        make(8);
        assert!(!turns.may_read(Some(Some(7))), "the second ends there too");
        assert!(turns.may_read(Some(Some(7))), "the third ends behind it");
        turns.has_read();
        make(8);
        assert!(!turns.may_read(Some(Some(8))));
        assert!(turns.may_read(Some(Some(8))), "the last one");
    }

    #[test]
    fn what_acknowledges_nothing_is_read() {
        let (raft, made) = mpsc::unbounded();
        let turns = Turns::default();
        let mut requests = Box::pin(turns.requests(made));
        for _ in 0..2 {
            raft.unbounded_send(ends_at(7)).expect("it is open");
            assert!(requests.next().now_or_never().is_some());
        }
        assert!(turns.may_read(None));
    }

    #[test]
    fn no_request_is_made_while_raft_reads() {
        let (raft, made) = mpsc::unbounded();
        let turns = Turns::default();
        let mut requests = Box::pin(turns.requests(made));
        raft.unbounded_send(ends_at(7)).expect("it is open");
        assert!(requests.next().now_or_never().is_some());
        assert!(turns.may_read(Some(Some(7))));
        raft.unbounded_send(ends_at(7)).expect("it is open");
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        let mut context = Context::from_waker(&waker);
        assert!(requests.poll_next_unpin(&mut context).is_pending());
        assert!(!woken.0.load(Ordering::SeqCst));
        turns.has_read();
        assert!(woken.0.load(Ordering::SeqCst), "it is told that it may go on");
        assert!(requests.poll_next_unpin(&mut context).is_ready());
    }
}
