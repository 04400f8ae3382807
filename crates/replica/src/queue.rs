//! Commands that wait for the log, and who waits for their answers.
//!
//! Promise: what is queued is answered, be it with an error; a full queue says so at once.
//! Invariant: commands leave in the order in which they came; what comes back for another try
//! keeps its place.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bugs::Bug;
use bytes::Bytes;
use gate::log::{Committed, ProposeError, Reach};
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use types::limits::{BATCH_BYTES_MAX, BATCH_COMMANDS_MAX, QUEUE_BYTES_MAX, QUEUE_COMMANDS_MAX};

use crate::gather::Place;

/// Waits for the answer.
pub(crate) type Receiver = oneshot::Receiver<Result<Committed, ProposeError>>;

/// Who waits for an answer.
pub(crate) enum Answer {
    /// Somebody here.
    Here(oneshot::Sender<Result<Committed, ProposeError>>),
    /// Another node, in whose batch the command came.
    There(Place),
}

/// A command and who waits for it.
pub(crate) struct Item {
    pub(crate) command: Bytes,
    reach: Reach,
    answer: Answer,
    queued_at: Instant,
    /// It may be in the log already.
    was_sent: bool,
}

impl Item {
    /// Ends it. Who has gone does not mind.
    pub(crate) fn end(self, result: Result<Committed, ProposeError>) {
        match self.answer {
            Answer::Here(answer) => _ = answer.send(result),
            Answer::There(place) => place.fill(result),
        }
    }

    /// Each with its answer; the items alone if there is not one for each.
    pub(crate) fn with_answers<A>(
        items: Vec<Self>,
        mut answers: Vec<A>,
    ) -> Result<impl Iterator<Item = (Self, A)>, Vec<Self>> {
        if Bug::ForwardedAnswersSwapped.is_planted() {
            answers.reverse();
        }
        if items.len() == answers.len() { Ok(items.into_iter().zip(answers)) } else { Err(items) }
    }

    /// Tells that the leader's queue is full: nothing happened, unless an earlier try did.
    pub(crate) fn refuse_full(self) {
        self.fail_with(ProposeError::QueueFull);
    }

    /// It may go to another leader than this node.
    fn is_for_any_leader(&self) -> bool {
        matches!(self.answer, Answer::Here(_)) && self.reach == Reach::Cluster
    }

    /// Those that may go to another leader than this node; the others are told.
    pub(crate) fn for_any_leader(items: Vec<Self>) -> Vec<Self> {
        let (any, here): (Vec<_>, Vec<_>) = items.into_iter().partition(Self::is_for_any_leader);
        here.into_iter().for_each(Self::fail);
        any
    }

    /// Nobody waits for it any more.
    fn is_given_up(&self) -> bool {
        match &self.answer {
            Answer::Here(answer) => answer.is_closed(),
            Answer::There(_) => false,
        }
    }

    /// Says that it had no answer, truthfully.
    fn fail(self) {
        self.fail_with(ProposeError::NoLeader);
    }

    /// The same, with why it was never sent if it was not.
    fn fail_with(self, never_sent: ProposeError) {
        let error = if self.was_sent { ProposeError::Unknown } else { never_sent };
        self.end(Err(error));
    }

    /// It is tried again here when a try came to nothing; otherwise its owner is told.
    fn stays(&self, patience: Duration) -> bool {
        self.is_for_any_leader() && !self.is_given_up() && self.queued_at.elapsed() < patience
    }
}

#[derive(Default)]
struct Waiting {
    items: VecDeque<Item>,
    bytes: usize,
    is_closed: bool,
}

/// The queue between the doors and the log.
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    filled: Notify,
    patience: Duration,
}

impl Queue {
    /// A queue in which a command waits so long for a leader.
    pub(crate) fn new(patience: Duration) -> Self {
        Self { waiting: Mutex::default(), filled: Notify::new(), patience }
    }

    /// Queues a command of this node.
    pub(crate) fn push(&self, command: Vec<u8>, reach: Reach) -> Result<Receiver, ProposeError> {
        let (answer, receiver) = oneshot::channel();
        match self.add(command.into(), reach, Answer::Here(answer)) {
            Ok(()) => Ok(receiver),
            Err((error, _)) => Err(error),
        }
    }

    /// Queues a command that another node brought to its leader.
    pub(crate) fn push_brought(&self, command: Bytes, place: Place) {
        if let Err((error, answer)) = self.add(command, Reach::Leader, Answer::There(place))
            && let Answer::There(place) = answer
        {
            place.fill(Err(error));
        }
    }

    fn add(
        &self,
        command: Bytes,
        reach: Reach,
        answer: Answer,
    ) -> Result<(), (ProposeError, Answer)> {
        let mut waiting = self.waiting.lock();
        if waiting.is_closed {
            return Err((ProposeError::Stopping, answer));
        }
        let bytes = waiting.bytes + command.len();
        if waiting.items.len() >= QUEUE_COMMANDS_MAX || bytes > QUEUE_BYTES_MAX {
            return Err((ProposeError::QueueFull, answer));
        }
        waiting.bytes = bytes;
        let queued_at = Instant::now();
        waiting.items.push_back(Item { command, reach, answer, queued_at, was_sent: false });
        drop(waiting);
        self.filled.notify_one();
        Ok(())
    }

    /// Waits for commands and takes as many as one entry may carry; `None` once it is closed.
    pub(crate) async fn take(&self) -> Option<Vec<Item>> {
        loop {
            let filled = self.filled.notified();
            {
                let mut waiting = self.waiting.lock();
                if waiting.is_closed {
                    return None;
                }
                let batch = waiting.take();
                if !batch.is_empty() {
                    return Some(batch);
                }
            }
            filled.await;
        }
    }

    /// Puts a batch back whose try came to nothing. `was_sent`: it may be in the log all the same;
    /// sent again it is recognised. What shall not be tried again is told.
    pub(crate) fn put_back(&self, items: Vec<Item>, was_sent: bool) {
        let mut failed = Vec::new();
        let mut waiting = self.waiting.lock();
        for mut item in items.into_iter().rev() {
            item.was_sent |= was_sent;
            if !waiting.is_closed && item.stays(self.patience) {
                waiting.bytes += item.command.len();
                waiting.items.push_front(item);
            } else {
                failed.push(item);
            }
        }
        drop(waiting);
        self.filled.notify_one();
        failed.into_iter().for_each(Item::fail);
    }

    /// Tells everybody who has waited too long `why`, and, on a node that does not lead, whose
    /// command is for a leader alone.
    pub(crate) fn expire(&self, leads: bool, why: ProposeError) {
        let mut expired = Vec::new();
        let mut waiting = self.waiting.lock();
        let is_due = |item: &Item| {
            let is_late = item.queued_at.elapsed() >= self.patience || item.is_given_up();
            is_late || (!leads && !item.stays(self.patience))
        };
        while waiting.items.front().is_some_and(is_due) {
            if let Some(item) = waiting.items.pop_front() {
                waiting.bytes -= item.command.len();
                expired.push(item);
            }
        }
        drop(waiting);
        expired.into_iter().for_each(|item| item.fail_with(why));
    }

    /// How many commands wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting.lock().items.len()
    }

    /// How many bytes of commands wait.
    pub(crate) fn bytes(&self) -> usize {
        self.waiting.lock().bytes
    }

    /// Refuses what comes and what waits.
    pub(crate) fn close(&self) {
        let mut waiting = self.waiting.lock();
        waiting.is_closed = true;
        waiting.bytes = 0;
        let items = std::mem::take(&mut waiting.items);
        drop(waiting);
        items.into_iter().for_each(|item| item.fail_with(ProposeError::Stopping));
        self.filled.notify_one();
    }
}

impl Waiting {
    fn take(&mut self) -> Vec<Item> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        while let Some(next) = self.items.front() {
            // What is packed comes out again where it is applied.
            bytes += ledger::unpacked_bytes(&next.command);
            let is_full = batch.len() >= BATCH_COMMANDS_MAX || bytes > BATCH_BYTES_MAX;
            if is_full && !batch.is_empty() {
                break;
            }
            if let Some(item) = self.items.pop_front() {
                self.bytes -= item.command.len();
                batch.push(item);
            }
        }
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue() -> Queue {
        Queue::new(Duration::from_secs(60))
    }

    fn push(queue: &Queue, bytes: usize) -> Result<Receiver, ProposeError> {
        queue.push(vec![0; bytes], Reach::Cluster)
    }

    async fn taken(queue: &Queue) -> Vec<usize> {
        let batch = queue.take().await.expect("open");
        batch.iter().map(|item| item.command.len()).collect()
    }

    #[tokio::test]
    async fn batches_are_cut_by_count_and_bytes_and_keep_their_order() {
        let queue = queue();
        let receivers: Vec<_> =
            (0..BATCH_COMMANDS_MAX + 2).map(|at| push(&queue, at % 7).expect("room")).collect();
        assert_eq!(taken(&queue).await.len(), BATCH_COMMANDS_MAX);
        assert_eq!(taken(&queue).await.len(), 2);
        drop(receivers);
        let half = BATCH_BYTES_MAX / 2;
        for bytes in [half, half, 1, BATCH_BYTES_MAX + 1, 3] {
            _ = push(&queue, bytes).expect("room");
        }
        assert_eq!(taken(&queue).await, [half, half]);
        assert_eq!(taken(&queue).await, [1]);
        assert_eq!(taken(&queue).await, [BATCH_BYTES_MAX + 1], "a large one travels alone");
        assert_eq!(taken(&queue).await, [3]);
        assert_eq!(queue.bytes(), 0);
    }

    #[tokio::test]
    async fn what_is_packed_counts_in_a_batch_as_what_it_unpacks_to() {
        let queue = queue();
        let half = u32::try_from(BATCH_BYTES_MAX / 2).expect("it fits");
        for _ in 0..3 {
            let packed = [&[1], &half.to_be_bytes()[..], &[0; 4]].concat();
            _ = queue.push(packed, Reach::Cluster).expect("room");
        }
        assert_eq!(queue.bytes(), 27, "it waits as it is");
        assert_eq!(taken(&queue).await, [9, 9]);
        assert_eq!(taken(&queue).await, [9]);
        assert_eq!(queue.bytes(), 0);
    }

    #[tokio::test]
    async fn a_full_queue_refuses_at_once_and_a_closed_one_answers_all() {
        let queue = queue();
        let waiting: Vec<_> =
            (0..QUEUE_COMMANDS_MAX).map(|_| push(&queue, 1).expect("room")).collect();
        assert_eq!(push(&queue, 1).err(), Some(ProposeError::QueueFull));
        queue.close();
        for receiver in waiting {
            let answer = receiver.await.expect("answered");
            assert_eq!(answer.err(), Some(ProposeError::Stopping));
        }
        assert_eq!(push(&queue, 1).err(), Some(ProposeError::Stopping));
        assert!(queue.take().await.is_none());
        let big = Queue::new(Duration::from_secs(60));
        _ = push(&big, QUEUE_BYTES_MAX).expect("room");
        assert_eq!(push(&big, 1).err(), Some(ProposeError::QueueFull));
    }

    #[tokio::test]
    async fn what_comes_back_keeps_its_place_and_what_was_sent_is_unknown() {
        let queue = queue();
        let waiting: Vec<_> = (1..4).map(|bytes| push(&queue, bytes).expect("room")).collect();
        let batch = queue.take().await.expect("open");
        let late = push(&queue, 9).expect("room");
        queue.put_back(batch, true);
        assert_eq!(queue.bytes(), 1 + 2 + 3 + 9);
        queue.close();
        for receiver in waiting {
            assert_eq!(receiver.await.expect("answered").err(), Some(ProposeError::Unknown));
        }
        assert_eq!(late.await.expect("answered").err(), Some(ProposeError::Stopping));
    }

    #[tokio::test]
    async fn what_nobody_waits_for_is_not_tried_again() {
        let queue = queue();
        let (first, second) = (push(&queue, 1).expect("room"), push(&queue, 2).expect("room"));
        let leader_only = queue.push(vec![0; 3], Reach::Leader).expect("room");
        let batch = queue.take().await.expect("open");
        drop(first);
        queue.put_back(batch, false);
        assert_eq!(taken(&queue).await, [2]);
        assert_eq!(leader_only.await.expect("answered").err(), Some(ProposeError::NoLeader));
        drop(second);
    }

    #[tokio::test]
    async fn what_is_for_a_leader_alone_waits_while_this_node_leads() {
        let queue = queue();
        let mut leader_only = queue.push(vec![0; 3], Reach::Leader).expect("room");
        queue.expire(true, ProposeError::Slow);
        assert!(leader_only.try_recv().is_err(), "it waits");
        queue.expire(false, ProposeError::NoLeader);
        assert_eq!(leader_only.await.expect("answered").err(), Some(ProposeError::NoLeader));
    }

    #[tokio::test]
    async fn patience_ends() {
        let queue = Queue::new(Duration::ZERO);
        let sent = push(&queue, 1).expect("room");
        let batch = queue.take().await.expect("open");
        queue.put_back(batch, true);
        assert_eq!(sent.await.expect("answered").err(), Some(ProposeError::Unknown));
        for (leads, why) in [(true, ProposeError::Slow), (false, ProposeError::NoLeader)] {
            let waited = push(&queue, 1).expect("room");
            queue.expire(leads, why);
            assert_eq!(waited.await.expect("answered").err(), Some(why));
        }
        assert_eq!((queue.len(), queue.bytes()), (0, 0));
    }
}
