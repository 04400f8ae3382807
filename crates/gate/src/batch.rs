//! Many submits at once: queued in order without a wait between them, answered in order.
//!
//! A batch is read and made ready piece by piece beside the threads that serve requests, so that
//! the first commands are on their way while the next are made. What has to be sent again (policy
//! has moved, an id was taken) is sent again once all others are answered, in order among itself:
//! it may be judged after items that come later in the batch.
//! Invariant: an answer leaves after its command is applied, and after the answers before it.

use std::collections::VecDeque;

use ledger::encode_command;
use tokio::sync::mpsc;
use types::IntentId;

use crate::candidate::Candidate;
use crate::engines::InForce;
use crate::errors::GateError;
use crate::handle::{Answer, Caller, Gate, Queued};
use crate::submit::{SubmitRequest, TRIES_MAX, Turn};

/// Items that are read and made ready together.
#[derive(Debug, Clone)]
pub struct Piece<P> {
    /// How many items there are in it.
    pub items: usize,
    /// How many bytes they came in.
    pub bytes: usize,
    /// The items, as the door has them.
    pub content: P,
}

/// Why an item has no answer of the ledger.
#[derive(Debug, Clone)]
pub enum NotJudged<E> {
    /// The door could not read it.
    Unread(E),
    /// The gate gave none.
    Failed(GateError),
}

/// What became of an item.
pub type Judged<E> = Result<Answer, NotJudged<E>>;

/// An item that is ready for the queue, with the bytes that the log takes; or its end.
type Ready<E> = Result<(Box<Candidate>, Vec<u8>), NotJudged<E>>;

/// An item that waits for its answer; or its end.
type Waiting<E> = Result<(Box<Candidate>, Queued), NotJudged<E>>;

/// Whoever asked for the batch has left.
struct Left;

/// Answers on their way out. Behind one that is not known yet, the others wait.
struct InOrder<'a, E> {
    out: &'a mpsc::Sender<Judged<E>>,
    parked: Vec<Turn<Judged<E>>>,
}

impl<E> InOrder<'_, E> {
    async fn take(&mut self, turn: Turn<Judged<E>>) -> Result<(), Left> {
        match turn {
            Turn::Done(judged) if self.parked.is_empty() => {
                self.out.send(judged).await.map_err(|_| Left)
            }
            turn => {
                self.parked.push(turn);
                Ok(())
            }
        }
    }
}

impl Gate {
    /// Submits the items of some pieces. What became of each goes to `out`, in order; once nobody
    /// listens there, nothing more is queued. `read` is called beside, or here if all is small.
    pub async fn submit_batch<P, E, R>(
        &self,
        caller: &Caller,
        pieces: Vec<Piece<P>>,
        read: R,
        out: &mpsc::Sender<Judged<E>>,
    ) where
        P: Send + 'static,
        E: Send + 'static,
        R: Fn(P) -> Vec<Result<SubmitRequest, E>> + Clone + Send + 'static,
    {
        let one_piece = pieces.len() == 1;
        let (queue, mut queued) = mpsc::channel(pieces.len().max(1));
        let queueing = async move {
            for piece in pieces {
                if out.is_closed() {
                    return;
                }
                let cost = if one_piece { piece.bytes } else { usize::MAX };
                let ready = self.make_ready(caller, piece, read.clone(), cost).await;
                // There is room for all pieces, so this fails only when nobody waits any more.
                if queue.send(self.queue_all(ready)).await.is_err() {
                    return;
                }
            }
        };
        let cost = if one_piece { 0 } else { usize::MAX };
        let answering = async move {
            let mut order = InOrder { out, parked: Vec::new() };
            while let Some(waiting) = queued.recv().await {
                for item in waiting {
                    order.take(self.turn_of(item).await).await?;
                }
            }
            drop(queued);
            self.again(caller, order, cost).await
        };
        // Who has left asks for nothing more: what is queued by then goes its way.
        let (_, Ok(()) | Err(Left)) = tokio::join!(queueing, answering);
    }

    /// Reads the items of a piece and makes their commands.
    async fn make_ready<P, E, R>(
        &self,
        caller: &Caller,
        piece: Piece<P>,
        read: R,
        cost: usize,
    ) -> Vec<Ready<E>>
    where
        P: Send + 'static,
        E: Send + 'static,
        R: Fn(P) -> Vec<Result<SubmitRequest, E>> + Send + 'static,
    {
        let items = piece.items;
        let in_force = match self.engines.in_force(self.log.as_ref(), caller.namespace) {
            Ok(in_force) => in_force,
            Err(error) => return all_failed(items, &error),
        };
        let (ids, caller) = (self.ids.clone(), caller.clone());
        let work = move || {
            let ready = |request: Result<SubmitRequest, E>| {
                let request = request.map_err(NotJudged::Unread)?;
                let id = IntentId(ids.next());
                encoded(Candidate::new(id, &caller, request, &in_force).into())
            };
            read(piece.content).into_iter().map(ready).collect()
        };
        match self.beside().run(cost, work).await {
            Ok(ready) => ready,
            Err(panicked) => all_failed(items, &panicked.into()),
        }
    }

    fn queue_all<E>(&self, ready: Vec<Ready<E>>) -> VecDeque<Waiting<E>> {
        let queue = |item: Ready<E>| {
            let (candidate, bytes) = item?;
            let queued = self.queue(candidate.envelope(), || bytes);
            Ok((candidate, queued))
        };
        ready.into_iter().map(queue).collect()
    }

    async fn turn_of<E>(&self, item: Waiting<E>) -> Turn<Judged<E>> {
        match item {
            Ok((candidate, queued)) => match self.turn(candidate, queued).await {
                Turn::Done(answer) => Turn::Done(answer.map_err(NotJudged::Failed)),
                Turn::Again(candidate) => Turn::Again(candidate),
            },
            Err(end) => Turn::Done(Err(end)),
        }
    }

    /// Sends what is not judged yet again, round by round.
    async fn again<E>(
        &self,
        caller: &Caller,
        mut order: InOrder<'_, E>,
        cost: usize,
    ) -> Result<(), Left>
    where
        E: Send + 'static,
    {
        for _ in 1..TRIES_MAX {
            let mut open = Vec::new();
            let parked: Vec<Option<Judged<E>>> = std::mem::take(&mut order.parked)
                .into_iter()
                .map(|turn| match turn {
                    Turn::Done(judged) => Some(judged),
                    Turn::Again(candidate) => {
                        open.push(candidate);
                        None
                    }
                })
                .collect();
            if open.is_empty() {
                return Ok(());
            }
            let items = open.len();
            let ready = match self.engines.in_force(self.log.as_ref(), caller.namespace) {
                Ok(in_force) => match self.beside().run(cost, made_again(open, in_force)).await {
                    Ok(ready) => ready,
                    Err(panicked) => all_failed(items, &panicked.into()),
                },
                Err(error) => all_failed(items, &error),
            };
            let mut waiting = self.queue_all(ready);
            for place in parked {
                let turn = match place {
                    Some(judged) => Turn::Done(judged),
                    None => match waiting.pop_front() {
                        Some(item) => self.turn_of(item).await,
                        None => Turn::Done(Err(NotJudged::Failed(GateError::PolicyMoving))),
                    },
                };
                order.take(turn).await?;
            }
        }
        for turn in std::mem::take(&mut order.parked) {
            let judged = match turn {
                Turn::Done(judged) => judged,
                Turn::Again(_) => Err(NotJudged::Failed(GateError::PolicyMoving)),
            };
            order.take(Turn::Done(judged)).await?;
        }
        Ok(())
    }
}

fn made_again<E>(
    open: impl IntoIterator<Item = Box<Candidate>> + Send + 'static,
    in_force: InForce,
) -> impl FnOnce() -> Vec<Ready<E>> + Send + 'static
where
    E: 'static,
{
    move || {
        let again = |candidate: Box<Candidate>| encoded(candidate.made_again(&in_force));
        open.into_iter().map(again).collect()
    }
}

fn encoded<E>(candidate: Box<Candidate>) -> Ready<E> {
    candidate.check().map_err(NotJudged::Failed)?;
    let bytes = encode_command(candidate.envelope());
    Ok((candidate, bytes))
}

fn all_failed<E>(items: usize, error: &GateError) -> Vec<Ready<E>> {
    (0..items).map(|_| Err(NotJudged::Failed(error.clone()))).collect()
}
