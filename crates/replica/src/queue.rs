//! Commands that wait for the log.
//!
//! Promise: what is queued is answered, be it with an error; a full queue says so at once.
//! Invariant: commands leave in the order in which they came.

use std::collections::VecDeque;

use gate::log::{Committed, ProposeError};
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use types::limits::{BATCH_BYTES_MAX, BATCH_COMMANDS_MAX, QUEUE_BYTES_MAX, QUEUE_COMMANDS_MAX};

/// Answers one proposer.
pub(crate) type Answer = oneshot::Sender<Result<Committed, ProposeError>>;
/// Waits for the answer.
pub(crate) type Receiver = oneshot::Receiver<Result<Committed, ProposeError>>;

#[derive(Default)]
struct Waiting {
    commands: VecDeque<(Vec<u8>, Answer)>,
    bytes: usize,
    is_closed: bool,
}

/// Commands of one log entry, and who waits for their replies.
#[derive(Default)]
pub(crate) struct Batch {
    pub(crate) commands: Vec<Vec<u8>>,
    pub(crate) answers: Vec<Answer>,
}

impl Batch {
    /// Tells everybody the same.
    pub(crate) fn fail(self, error: ProposeError) {
        fail(self.answers, error);
    }
}

/// Tells everybody the same. Who has gone does not mind.
pub(crate) fn fail(answers: Vec<Answer>, error: ProposeError) {
    for answer in answers {
        _ = answer.send(Err(error));
    }
}

/// The queue between the doors and the log.
#[derive(Default)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    filled: Notify,
}

impl Queue {
    /// Queues a command.
    pub(crate) fn push(&self, command: Vec<u8>) -> Result<Receiver, ProposeError> {
        let mut waiting = self.waiting.lock();
        if waiting.is_closed {
            return Err(ProposeError::Stopping);
        }
        let bytes = waiting.bytes + command.len();
        if waiting.commands.len() >= QUEUE_COMMANDS_MAX || bytes > QUEUE_BYTES_MAX {
            return Err(ProposeError::QueueFull);
        }
        let (answer, receiver) = oneshot::channel();
        waiting.bytes = bytes;
        waiting.commands.push_back((command, answer));
        drop(waiting);
        self.filled.notify_one();
        Ok(receiver)
    }

    /// Waits for commands and takes as many as one entry may carry; `None` once it is closed.
    pub(crate) async fn take(&self) -> Option<Batch> {
        loop {
            let filled = self.filled.notified();
            {
                let mut waiting = self.waiting.lock();
                if waiting.is_closed {
                    return None;
                }
                let batch = waiting.take();
                if !batch.commands.is_empty() {
                    return Some(batch);
                }
            }
            filled.await;
        }
    }

    /// How many commands wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting.lock().commands.len()
    }

    /// How many bytes of commands wait.
    pub(crate) fn bytes(&self) -> usize {
        self.waiting.lock().bytes
    }

    /// Refuses what comes and what waits.
    pub(crate) fn close(&self) {
        let mut waiting = self.waiting.lock();
        waiting.is_closed = true;
        let (_, answers) = waiting.commands.drain(..).unzip::<_, _, Vec<_>, Vec<_>>();
        drop(waiting);
        fail(answers, ProposeError::Stopping);
        self.filled.notify_one();
    }
}

impl Waiting {
    fn take(&mut self) -> Batch {
        let mut batch = Batch::default();
        let mut bytes = 0;
        while let Some((next, _)) = self.commands.front() {
            bytes += next.len();
            let is_full = batch.commands.len() >= BATCH_COMMANDS_MAX || bytes > BATCH_BYTES_MAX;
            if is_full && !batch.commands.is_empty() {
                break;
            }
            if let Some((command, answer)) = self.commands.pop_front() {
                self.bytes -= command.len();
                batch.commands.push(command);
                batch.answers.push(answer);
            }
        }
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn taken(queue: &Queue) -> Vec<usize> {
        let batch = queue.take().await.expect("open");
        batch.commands.iter().map(Vec::len).collect()
    }

    #[tokio::test]
    async fn batches_are_cut_by_count_and_bytes_and_keep_their_order() {
        let queue = Queue::default();
        let receivers: Vec<_> = (0..BATCH_COMMANDS_MAX + 2)
            .map(|at| queue.push(vec![0; at % 7]).expect("room"))
            .collect();
        assert_eq!(taken(&queue).await.len(), BATCH_COMMANDS_MAX);
        assert_eq!(taken(&queue).await.len(), 2);
        drop(receivers);
        let half = BATCH_BYTES_MAX / 2;
        for bytes in [half, half, 1, BATCH_BYTES_MAX + 1, 3] {
            _ = queue.push(vec![0; bytes]).expect("room");
        }
        assert_eq!(taken(&queue).await, [half, half]);
        assert_eq!(taken(&queue).await, [1]);
        assert_eq!(taken(&queue).await, [BATCH_BYTES_MAX + 1], "a large one travels alone");
        assert_eq!(taken(&queue).await, [3]);
        assert_eq!(queue.waiting.lock().bytes, 0);
    }

    #[tokio::test]
    async fn a_full_queue_refuses_at_once_and_a_closed_one_answers_all() {
        let queue = Queue::default();
        let waiting: Vec<_> =
            (0..QUEUE_COMMANDS_MAX).map(|_| queue.push(vec![1]).expect("room")).collect();
        assert_eq!(queue.push(vec![1]).err(), Some(ProposeError::QueueFull));
        queue.close();
        for receiver in waiting {
            let answer = receiver.await.expect("answered");
            assert_eq!(answer.err(), Some(ProposeError::Stopping));
        }
        assert_eq!(queue.push(vec![1]).err(), Some(ProposeError::Stopping));
        assert!(queue.take().await.is_none());
        let big = Queue::default();
        _ = big.push(vec![0; QUEUE_BYTES_MAX]).expect("room");
        assert_eq!(big.push(vec![1]).err(), Some(ProposeError::QueueFull));
    }
}
