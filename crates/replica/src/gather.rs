//! Answers to a batch that another node brought: they go back together, when the last is there.
//!
//! Promise: each command gets exactly one answer, also if its place is lost on the way.

use std::sync::Arc;

use gate::log::{Committed, ProposeError};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use types::codec::encode;
use wire::peer::command_reply::Result as Outcome;
use wire::peer::{self, CommandReply, ForwardError, ForwardReply};

/// Answers on their way back. Bounded by the batches that may be open.
pub(crate) type Replies = mpsc::UnboundedSender<Result<ForwardReply, tonic::Status>>;

struct Gathering {
    number: u64,
    open: Mutex<Open>,
    replies: Replies,
    /// Room for one open batch of its stream.
    _room: OwnedSemaphorePermit,
}

struct Open {
    filled: Vec<CommandReply>,
    missing: usize,
}

/// Where the answer to one command of a batch goes.
pub(crate) struct Place {
    batch: Arc<Gathering>,
    at: usize,
    is_filled: bool,
}

/// Places for the answers to a batch.
pub(crate) fn places(
    number: u64,
    commands: usize,
    replies: Replies,
    room: OwnedSemaphorePermit,
) -> impl Iterator<Item = Place> {
    let open = Open { filled: vec![CommandReply::default(); commands], missing: commands };
    let batch = Arc::new(Gathering { number, open: Mutex::new(open), replies, _room: room });
    (0..commands).map(move |at| Place { batch: batch.clone(), at, is_filled: false })
}

impl Place {
    /// Puts the answer there. Called on Raft's own tasks, so it waits for nothing.
    pub(crate) fn fill(mut self, result: Result<Committed, ProposeError>) {
        self.put(match result {
            Ok(Committed { index, term, reply }) => Outcome::Committed(peer::Committed {
                index: index.0,
                term,
                reply: encode(&reply).into(),
            }),
            Err(error) => Outcome::Error(match error {
                ProposeError::QueueFull | ProposeError::Slow => ForwardError::QueueFull,
                ProposeError::NoLeader | ProposeError::Stopping => ForwardError::NotLeader,
                ProposeError::Unknown | ProposeError::Behind | ProposeError::DiskFull => {
                    ForwardError::Unknown
                }
            } as i32),
        });
    }

    fn put(&mut self, outcome: Outcome) {
        self.is_filled = true;
        let mut open = self.batch.open.lock();
        if let Some(place) = open.filled.get_mut(self.at) {
            place.result = Some(outcome);
        }
        open.missing = open.missing.saturating_sub(1);
        if open.missing == 0 {
            let replies = std::mem::take(&mut open.filled);
            let reply = ForwardReply { number: self.batch.number, replies };
            // Who brought the batch may be gone; it asks again then.
            _ = self.batch.replies.send(Ok(reply));
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.is_filled {
            self.put(Outcome::Error(ForwardError::Unknown as i32));
        }
    }
}

#[cfg(test)]
mod tests {
    use ledger::Reply;
    use tokio::sync::Semaphore;
    use types::LogIndex;

    use super::*;

    #[tokio::test]
    async fn the_last_answer_sends_all_in_their_order() {
        let (replies, mut sent) = mpsc::unbounded_channel();
        let room = Arc::new(Semaphore::new(1));
        let permit = room.clone().acquire_owned().await.expect("open");
        let mut places = places(7, 4, replies, permit).collect::<Vec<_>>().into_iter();
        let (first, second) = (places.next().expect("one"), places.next().expect("two"));
        let (third, lost) = (places.next().expect("three"), places.next().expect("four"));
        assert!(places.next().is_none());
        third.fill(Err(ProposeError::QueueFull));
        first.fill(Ok(Committed { index: LogIndex(5), term: 2, reply: Reply::Done }));
        drop(lost);
        assert!(sent.try_recv().is_err());
        assert_eq!(room.available_permits(), 0);
        second.fill(Err(ProposeError::NoLeader));
        let reply = sent.recv().await.expect("sent").expect("a reply");
        let error = |error: ForwardError| Some(Outcome::Error(error as i32));
        let reply_bytes = encode(&Reply::Done).into();
        let committed = peer::Committed { index: 5, term: 2, reply: reply_bytes };
        let expected = [
            Some(Outcome::Committed(committed)),
            error(ForwardError::NotLeader),
            error(ForwardError::QueueFull),
            error(ForwardError::Unknown),
        ];
        let found: Vec<_> = reply.replies.into_iter().map(|reply| reply.result).collect();
        assert_eq!((reply.number, found), (7, expected.to_vec()));
        assert_eq!(room.available_permits(), 1);
    }
}
