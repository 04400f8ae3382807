//! From the queue into the log: one task takes what waits, stamps it, and proposes it.
//!
//! Batching needs no timer: while one batch is on its way the next gathers.
//! Promise: `NoLeader` only for what was never appended; everything doubtful is `Unknown`.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use gate::log::{Committed, ProposeError};
use ledger::{BatchHeader, encode_batch};
use openraft::errors::ClientWriteError;
use openraft::raft::ClientWriteResult;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::MissedTickBehavior;
use types::LogIndex;

use crate::node::Core;
use crate::queue::{Answer, Batch, fail};
use crate::raft::{BatchBytes, TypeConfig};
use crate::responder::Call;

/// The feature level that today's commands need. It grows only with new kinds of commands, and
/// those are proposed only after the cluster was raised to it.
const COMMANDS_LEVEL: u32 = 1;

/// How often it is looked at whether a batch is overdue.
const OVERDUE_LOOK: Duration = Duration::from_millis(50);
/// For a command that is alone this task stays awake until it is answered, since nothing else
/// keeps the processor busy, and to wake it takes about a quarter of a sync; but no longer than a
/// fast disk needs. A slow one makes waking cheap beside it.
const AWAKE_MAX: Duration = Duration::from_micros(200);

/// Runs until the queue is closed.
pub(crate) async fn run(core: Arc<Core>) {
    let places = core.config.in_flight_max.max(1);
    let in_flight = Arc::new(Semaphore::new(places));
    // With more threads the others sleep all the same.
    let is_alone = tokio::runtime::Handle::current().metrics().num_workers() == 1;
    let mut overdue = Overdue::new(core.config.propose_wait);
    loop {
        let permit = overdue.look_during(in_flight.clone().acquire_owned()).await;
        let Ok(permit) = permit else { break };
        let Some(batch) = overdue.look_during(core.queue.take()).await else { break };
        let Some(time) = core.leader_time() else {
            batch.fail(ProposeError::NoLeader);
            continue;
        };
        let header = BatchHeader { level: COMMANDS_LEVEL, time, proposer: core.config.node };
        let Batch { commands, answers } = batch;
        let bytes = BatchBytes(encode_batch(&header, &commands).into());
        core.meters.proposed(commands.len(), bytes.0.len());
        let proposed = Arc::new(Proposed(Mutex::new(Some((answers, permit)))));
        overdue.watch(&proposed);
        let answered = proposed.clone();
        let call = Call::new(move |result| answered.end(result));
        if core.raft.client_write_ff(bytes, Some(call)).await.is_err() {
            proposed.fail();
            continue;
        }
        if commands.len() == 1 && is_alone && in_flight.available_permits() == 0 {
            stay_awake(&core, &proposed).await;
        }
    }
    // What is on its way still has its time.
    let all = u32::try_from(places).unwrap_or(u32::MAX);
    _ = overdue.look_during(in_flight.acquire_many(all)).await;
}

/// A batch on its way. Whoever ends it first, the state machine or the clock, tells its proposers
/// and makes room for the next.
struct Proposed(Mutex<Option<(Vec<Answer>, OwnedSemaphorePermit)>>);

impl Proposed {
    fn end(&self, result: ClientWriteResult<TypeConfig>) {
        let waiting = self.0.lock().take();
        if let Some((answers, permit)) = waiting {
            // First: the next batch is on its way while the answers of this one are written.
            drop(permit);
            distribute(answers, result);
        }
    }

    fn fail(&self) {
        let waiting = self.0.lock().take();
        if let Some((answers, permit)) = waiting {
            fail(answers, ProposeError::Unknown);
            drop(permit);
        }
    }

    fn is_ended(&self) -> bool {
        self.0.lock().is_none()
    }
}

impl Drop for Proposed {
    /// Raft ended without a word.
    fn drop(&mut self) {
        self.fail();
    }
}

/// Gives up batches that are not answered in time. One timer serves them all: one for each would be
/// set and taken back with every batch.
struct Overdue {
    wait: Duration,
    watched: VecDeque<(Instant, Weak<Proposed>)>,
    look: tokio::time::Interval,
}

impl Overdue {
    fn new(wait: Duration) -> Self {
        let mut look = tokio::time::interval(OVERDUE_LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { wait, watched: VecDeque::new(), look }
    }

    fn watch(&mut self, proposed: &Arc<Proposed>) {
        while self.watched.front().is_some_and(|(_, first)| first.strong_count() == 0) {
            self.watched.pop_front();
        }
        self.watched.push_back((Instant::now(), Arc::downgrade(proposed)));
    }

    /// Waits for something else meanwhile.
    async fn look_during<F: Future>(&mut self, other: F) -> F::Output {
        let mut other = pin!(other);
        loop {
            tokio::select! {
                biased;
                output = &mut other => return output,
                _ = self.look.tick() => self.give_up(),
            }
        }
    }

    fn give_up(&mut self) {
        while let Some((began, proposed)) = self.watched.front() {
            if proposed.strong_count() > 0 && began.elapsed() < self.wait {
                return;
            }
            if let Some(proposed) = proposed.upgrade() {
                proposed.fail();
            }
            self.watched.pop_front();
        }
    }
}

/// Keeps this thread from sleeping until the batch is answered or the next one waits. Everything
/// else that the thread has to do goes on.
async fn stay_awake(core: &Core, proposed: &Proposed) {
    let began = Instant::now();
    while !proposed.is_ended() && core.queue.len() == 0 && began.elapsed() < AWAKE_MAX {
        tokio::task::yield_now().await;
    }
}

/// Gives each proposer its reply, by position.
fn distribute(answers: Vec<Answer>, result: ClientWriteResult<TypeConfig>) {
    let written = match result {
        Ok(written) => written,
        Err(ClientWriteError::ForwardToLeader(_)) => {
            return fail(answers, ProposeError::NoLeader);
        }
        Err(_) => return fail(answers, ProposeError::Unknown),
    };
    let (index, term) = (LogIndex(written.log_id.index), written.log_id.leader_id.term);
    let replies = written.data.0;
    if replies.len() != answers.len() {
        // This runs on Raft's task, which must not panic.
        tracing::error!(%index, "an entry has not one reply per command");
        return fail(answers, ProposeError::Unknown);
    }
    for (answer, reply) in answers.into_iter().zip(replies) {
        _ = answer.send(Ok(Committed { index, term, reply }));
    }
}
