//! A few steps of connections at a time, so that the log never waits behind all of them.
//!
//! On one thread the tasks of the log stand in one queue with every connection that has something
//! to do. A batch that is answered makes all its connections ready at once, and the next batch
//! would be proposed only after the last of them.
//!
//! Promise: between two looks at the rest of the queue, a share of the waiting connections is
//! served, in the order in which they came, and each is served in its turn.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

/// Steps that a round has at least.
const STEPS_MIN: u64 = 2;
/// Of so many that wait, one is served in a round: letting one wait costs a small part of a step.
const SHARE: u64 = 4;

/// What the connections of one thread share. The numbers are hints: no step is lost by a race.
#[derive(Default)]
struct Round {
    number: AtomicU64,
    steps_left: AtomicU64,
    waiting: AtomicU64,
}

/// Gives connections their turns.
pub(crate) struct Turns(Option<Arc<Round>>);

impl Turns {
    /// For the runtime that this is called on: where there are more threads, no queue is that long.
    pub(crate) fn new() -> Self {
        let threads = tokio::runtime::Handle::current().metrics().num_workers();
        Self((threads == 1).then(|| Arc::new(Round { number: 1.into(), ..Round::default() })))
    }

    /// Serves a connection in turns.
    pub(crate) fn serve<F>(&self, connection: F) -> InTurn<F> {
        InTurn { connection: Box::pin(connection), round: self.0.clone(), waited: 0 }
    }
}

/// A connection that waits for its turn.
pub(crate) struct InTurn<F> {
    connection: Pin<Box<F>>,
    round: Option<Arc<Round>>,
    /// The round in which it had to wait, 0 for none.
    waited: u64,
}

impl<F: Future> Future for InTurn<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.get_mut();
        if let Some(round) = &this.round
            && !round.is_my_turn(&mut this.waited)
        {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        this.connection.as_mut().poll(context)
    }
}

impl Round {
    /// A connection that had to wait and is polled again has been through the whole queue: the
    /// round is over.
    fn is_my_turn(&self, waited: &mut u64) -> bool {
        let mut number = self.number.load(Ordering::Relaxed);
        if *waited == number {
            number += 1;
            self.number.store(number, Ordering::Relaxed);
            let steps = (self.waiting.swap(0, Ordering::Relaxed) / SHARE).max(STEPS_MIN);
            self.steps_left.store(steps, Ordering::Relaxed);
        }
        let left = self.steps_left.load(Ordering::Relaxed);
        if left == 0 {
            *waited = number;
            self.waiting.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        self.steps_left.store(left - 1, Ordering::Relaxed);
        true
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use tokio::sync::Notify;
    use tokio::task::LocalSet;

    use super::*;

    /// What runs, in its order: connections by number, and the log, which comes last into the queue
    /// and needs three steps.
    async fn order(turns: &Turns, connections: usize) -> Vec<String> {
        let ran = Rc::new(RefCell::new(Vec::new()));
        let ready = Rc::new(Notify::new());
        let tasks = LocalSet::new();
        for number in 0..connections {
            let (ran, ready) = (ran.clone(), ready.clone());
            tasks.spawn_local(turns.serve(async move {
                ready.notified().await;
                ran.borrow_mut().push(number.to_string());
            }));
        }
        let (log, woken) = (ran.clone(), ready.clone());
        tasks.spawn_local(async move {
            woken.notified().await;
            for _ in 0..3 {
                log.borrow_mut().push("log".to_owned());
                tokio::task::yield_now().await;
            }
        });
        // All of them wait before they are made ready at once.
        let all = tasks.run_until(async move {
            for _ in 0..10 * connections {
                tokio::task::yield_now().await;
            }
            ready.notify_waiters();
        });
        all.await;
        tasks.await;
        ran.take()
    }

    #[tokio::test]
    async fn the_log_waits_for_a_share_of_the_connections_and_each_has_its_turn() {
        let ran = order(&Turns::new(), 40).await;
        let numbers: Vec<_> = ran.iter().filter(|who| *who != "log").cloned().collect();
        let expected: Vec<_> = (0..40).map(|number| number.to_string()).collect();
        assert_eq!(numbers, expected, "in the order in which they came");
        let last = ran.iter().rposition(|who| who == "log").expect("it ran");
        assert!(last < 40, "the log was through while connections waited: {ran:?}");

        let ran = order(&Turns(None), 40).await;
        assert_eq!(ran[40..], ["log", "log", "log"], "without turns it waits for all of them");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn several_threads_need_no_turns() {
        assert!(Turns::new().0.is_none());
    }
}
