//! From the queue into the log: one task takes what waits and proposes it, or brings it to the
//! node that leads.
//!
//! Batching needs no timer: while one batch is on its way the next gathers. When the leader
//! changes, what is on its way goes to the new one; what was in the log already is recognised
//! there. Promise: `NoLeader` only for what was never appended; everything doubtful is `Unknown`.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use gate::log::{Committed, ProposeError};
use ledger::{BatchHeader, encode_batch};
use openraft::Instant as _;
use openraft::async_runtime::watch::WatchReceiver as _;
use openraft::errors::ClientWriteError;
use openraft::raft::ClientWriteResult;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::MissedTickBehavior;
use types::LogIndex;
use types::limits::FORWARDS_MAX;

use crate::forward::Forwarder;
use crate::node::Core;
use crate::queue::Item;
use crate::raft::{BatchBytes, TypeConfig};
use crate::responder::Call;
use crate::route::Route;

/// The feature level that today's commands need. It grows only with new kinds of commands, and
/// those are proposed only after the cluster was raised to it.
const COMMANDS_LEVEL: u32 = 1;

/// How often it is looked at whether a batch is overdue.
const OVERDUE_LOOK: Duration = Duration::from_millis(50);
/// The rest after a leader refused, before it is asked again.
const REST: Duration = Duration::from_millis(10);
/// For a command that is alone this task stays awake until it is answered, since nothing else
/// keeps the processor busy, and to wake it takes about a quarter of a sync; but no longer than a
/// fast disk needs. A slow one makes waking cheap beside it.
const AWAKE_MAX: Duration = Duration::from_micros(600);

/// Runs until the queue is closed.
pub(crate) async fn run(core: Arc<Core>) {
    let places = core.config.in_flight_max.max(1);
    let in_flight = Arc::new(Semaphore::new(places));
    let forwards = Arc::new(Semaphore::new(FORWARDS_MAX));
    // With more threads the others sleep all the same.
    let is_alone = tokio::runtime::Handle::current().metrics().num_workers() == 1;
    let mut overdue = Overdue::new(core.clone());
    let mut forwarder = Forwarder::new(core.clone());
    loop {
        let Some(route) = overdue.look_during(core.route.known()).await else { break };
        let room = if route.is_here() { &in_flight } else { &forwards };
        let permit = overdue.look_during(room.clone().acquire_owned()).await;
        let Ok(permit) = permit else { break };
        let Some(items) = overdue.look_during(core.queue.take()).await else { break };
        if core.route.now() != Some(route) {
            core.queue.put_back(items, false);
            continue;
        }
        let items = if route.is_here() { items } else { Item::for_any_leader(items) };
        if items.is_empty() {
            continue;
        }
        let is_one = items.len() == 1;
        let proposed = Proposed::new(&core, route, items, permit);
        overdue.watch(&proposed);
        if !route.is_here() {
            forwarder.send(route, proposed).await;
            continue;
        }
        propose(&core, &proposed).await;
        if is_one && is_alone && in_flight.available_permits() == 0 {
            stay_awake(&core, &proposed).await;
        }
    }
    // What is on its way still has its time.
    let all = u32::try_from(places).unwrap_or(u32::MAX);
    _ = overdue.look_during(in_flight.acquire_many(all)).await;
}

impl Core {
    /// A leader that a majority answered not long ago.
    pub(crate) fn hears_majority(&self) -> bool {
        let metrics = self.metrics.borrow_watched();
        let is_alone = metrics.membership_config.membership().voter_ids().count() == 1;
        let answered = metrics.last_quorum_acked.as_ref().map(|at| at.elapsed());
        is_alone || answered.is_some_and(|ago| ago < 2 * self.config.lease())
    }
}

async fn propose(core: &Core, proposed: &Arc<Proposed>) {
    let Some(time) = core.leader_time() else {
        proposed.give_back(false);
        return tokio::time::sleep(REST).await;
    };
    let header = BatchHeader { level: COMMANDS_LEVEL, time, proposer: core.config.node };
    let Some(commands) = proposed.commands() else { return };
    let bytes = encode_batch(&header, &commands);
    core.meters.proposed(commands.len(), bytes.len());
    let answered = proposed.clone();
    let call = Call::new(move |result| answered.end(result));
    if core.raft.client_write_ff(BatchBytes(bytes.into()), Some(call)).await.is_err() {
        proposed.give_back(true);
    }
}

/// A batch on its way. Whoever ends it first, the state machine, the leader or the clock, tells
/// its proposers and makes room for the next.
pub(crate) struct Proposed {
    core: Weak<Core>,
    pub(crate) route: Route,
    open: Mutex<Option<(Vec<Item>, OwnedSemaphorePermit)>>,
}

impl Proposed {
    fn new(
        core: &Arc<Core>,
        route: Route,
        items: Vec<Item>,
        permit: OwnedSemaphorePermit,
    ) -> Arc<Self> {
        let core = Arc::downgrade(core);
        Arc::new(Self { core, route, open: Mutex::new(Some((items, permit))) })
    }

    /// Takes the batch out and makes room for the next, which is on its way while the answers of
    /// this one are written. `None` if somebody was faster.
    pub(crate) fn take(&self) -> Option<Vec<Item>> {
        self.open.lock().take().map(|(items, _permit)| items)
    }

    /// Its commands, shared, while it is open.
    pub(crate) fn commands(&self) -> Option<Vec<Bytes>> {
        let open = self.open.lock();
        let (items, _) = open.as_ref()?;
        Some(items.iter().map(|item| item.command.clone()).collect())
    }

    /// Its try came to nothing, or nobody knows.
    pub(crate) fn give_back(&self, was_sent: bool) {
        let Some(items) = self.take() else { return };
        match self.core.upgrade() {
            Some(core) => core.queue.put_back(items, was_sent),
            None => items.into_iter().for_each(|item| item.end(Err(ProposeError::Unknown))),
        }
    }

    fn end(self: &Arc<Self>, result: ClientWriteResult<TypeConfig>) {
        let written = match result {
            // A node out of service says nothing from its state.
            Ok(written) if self.core.upgrade().is_some_and(|core| core.is_in_service()) => written,
            Err(ClientWriteError::ForwardToLeader(_)) => {
                // It may not write now, though it may still be said to lead: not at once again.
                let refused = self.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(REST).await;
                    refused.give_back(false);
                });
                return;
            }
            Ok(_) | Err(_) => return self.give_back(true),
        };
        let Some(items) = self.take() else { return };
        let (index, term) = (LogIndex(written.log_id.index), written.log_id.leader_id.term);
        match Item::with_answers(items, written.data.0) {
            Ok(answered) => {
                answered.for_each(|(item, reply)| item.end(Ok(Committed { index, term, reply })));
            }
            Err(items) => {
                // This runs on Raft's task, which must not panic.
                tracing::error!(%index, "an entry has not one reply per command");
                items.into_iter().for_each(|item| item.end(Err(ProposeError::Unknown)));
            }
        }
    }

    fn is_ended(&self) -> bool {
        self.open.lock().is_none()
    }
}

impl Drop for Proposed {
    /// Raft ended without a word.
    fn drop(&mut self) {
        self.give_back(true);
    }
}

/// Gives up batches that are not answered in time, or went to a node that leads no more. One timer
/// serves them all: one for each would be set and taken back with every batch.
struct Overdue {
    core: Arc<Core>,
    watched: VecDeque<(Instant, Weak<Proposed>)>,
    look: tokio::time::Interval,
}

impl Overdue {
    fn new(core: Arc<Core>) -> Self {
        let mut look = tokio::time::interval(OVERDUE_LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { core, watched: VecDeque::new(), look }
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
        let route = self.core.route.now();
        let wait = self.core.config.propose_wait;
        // Later batches first, so that earlier ones end before them in the queue.
        for (began, proposed) in self.watched.iter().rev() {
            if let Some(proposed) = proposed.upgrade()
                && (route.is_some_and(|route| route != proposed.route) || began.elapsed() >= wait)
            {
                proposed.give_back(true);
            }
        }
        self.watched.retain(|(_, proposed)| {
            proposed.upgrade().is_some_and(|proposed| !proposed.is_ended())
        });
        let leads = route.is_some_and(Route::is_here);
        let is_slow = leads && self.core.hears_majority();
        let why = if is_slow { ProposeError::Slow } else { ProposeError::NoLeader };
        self.core.queue.expire(leads, why);
    }
}

/// Keeps this thread from sleeping until the batch is answered or the next one waits. Everything
/// else that the thread has to do goes on.
async fn stay_awake(core: &Core, proposed: &Proposed) {
    if machine::IS_SIMULATED {
        // Simulated time stands still until nothing has anything to do.
        return;
    }
    let began = Instant::now();
    while !proposed.is_ended() && core.queue.len() == 0 && began.elapsed() < AWAKE_MAX {
        tokio::task::yield_now().await;
    }
}
