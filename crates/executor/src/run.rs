//! The loop: while this node leads, what is to be run is claimed, called and reported, a bounded
//! number at a time.
//!
//! Hints only wake; what is to be run is always read from the ledger, so a lost hint costs a moment
//! and no intent. Invariant: an order is called at most once by this process, whatever is read
//! twice.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use gate::{Gate, GateError, woken};
use ledger::{Effect, OrderRow};
use outbound::{Client, Secrets};
use tokio::sync::watch;
use tokio::time::Instant;
use types::limits::DRAIN_MS_MAX;
use types::{ExecutionId, FreezeId, IntentId, NamespaceId};

use crate::attempt::{After, Reign};
use crate::connectors::http::Patience;
use crate::lanes::Lanes;
use crate::meters::ExecutorMeters;
use crate::tasks::{Ended, Tasks};

/// Rows that are looked at in one round.
const ROUND_ROWS_MAX: usize = 4_096;
/// Intents that are remembered as frozen.
const FROZEN_MAX: usize = 65_536;
/// The longest rest between two rounds.
const REST_MAX: Duration = Duration::from_secs(1);
/// How often a node that does not lead looks whether it does, and the rest between rounds while
/// more waits than one round looks at.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Waits before an intent is claimed again, by the number of the attempt that ended.
const AGAIN_AFTER: [Duration; 5] = [
    Duration::from_secs(1),
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_secs(120),
];

/// What calling needs.
pub struct Means {
    /// Checks every address.
    pub client: Client,
    /// What destinations refer to by name.
    pub secrets: Secrets,
    /// How long connections that do not come to stand are tried again.
    pub patience: Patience,
    /// How long calls on their way may take to end once this node is to stop.
    pub drain: Duration,
}

/// Runs what is to be run until it is told to stop. Calls on their way then go on to their ends,
/// which their own time-outs bring, and nothing more begins.
pub async fn run(gate: Arc<Gate>, means: Arc<Means>, mut stopping: watch::Receiver<bool>) {
    let meters = Arc::new(ExecutorMeters::default());
    loop {
        meters.reign(None);
        let reign = tokio::select! {
            _ = stopping.wait_for(|stop| *stop) => return,
            reign = begin(&gate, &means, &meters) => reign,
        };
        meters.reign(Some(reign.epoch));
        tracing::info!(epoch = reign.epoch.0, "the executor runs");
        let mut round = Round::of(reign);
        round.run(&mut stopping).await;
        if *stopping.borrow() {
            round.drain(means.drain).await;
            meters.reign(None);
            return;
        }
    }
}

/// Waits until this node leads, and begins a reign.
async fn begin(gate: &Arc<Gate>, means: &Arc<Means>, meters: &Arc<ExecutorMeters>) -> Arc<Reign> {
    loop {
        if gate.leads() {
            match gate.take_over().await {
                Ok(epoch) => {
                    let (gate, means) = (gate.clone(), means.clone());
                    return Arc::new(Reign::new(gate, means, meters.clone(), epoch));
                }
                Err(error) => tracing::debug!(%error, "the executor cannot begin yet"),
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// What runs now.
struct Round {
    reign: Arc<Reign>,
    lanes: Lanes,
    /// Where the last look at intents ended, while more wait than one round looks at.
    after: Option<(NamespaceId, IntentId)>,
    /// The same for orders that somebody asked for.
    after_order: Option<ExecutionId>,
    not_before: HashMap<IntentId, Instant>,
    /// What waits for a freeze to end: it is looked at again as soon as that has.
    frozen: HashMap<IntentId, FreezeId>,
    tasks: Tasks,
}

/// What is to begin for an intent.
enum Begin {
    /// A claim of its own.
    Intent,
    /// An order that somebody asked for.
    Waiting(ExecutionId),
    /// An order that is claimed already.
    Open(Box<OrderRow>),
}

/// Where the next round goes on; nowhere if this one saw all there is.
fn next<T: Copy>(rows: &[T]) -> Option<T> {
    rows.last().copied().filter(|_| rows.len() == ROUND_ROWS_MAX)
}

impl Round {
    fn of(reign: Arc<Reign>) -> Self {
        Self {
            reign,
            lanes: Lanes::default(),
            after: None,
            after_order: None,
            not_before: HashMap::new(),
            frozen: HashMap::new(),
            tasks: Tasks::default(),
        }
    }

    /// Goes on until it is told to stop or the reign is over.
    async fn run(&mut self, stopping: &mut watch::Receiver<bool>) {
        let mut effects = self.reign.gate.effects();
        while self.reign.stands() {
            let rest = match self.begin_runnable() {
                Ok(rest) => rest,
                Err(error) => {
                    tracing::warn!(%error, "what is to be run cannot be read");
                    REST_MAX
                }
            };
            self.reign.meters.running(self.tasks.len());
            tokio::select! {
                _ = stopping.wait_for(|stop| *stop) => return,
                () = woken(&mut effects, &[Effect::Runnable, Effect::FreezesChanged]) => {}
                () = tokio::time::sleep(rest) => {}
                Some(ended) = self.tasks.next() => self.ended(ended),
            }
        }
        self.reign.over.store(true, Ordering::Release);
        // Calls that are on their way are another executor's doubts by now; what they came to is
        // still said, and counts unless a newer attempt runs.
        tracing::info!(epoch = self.reign.epoch.0, "the executor has stopped");
        self.drain(Duration::from_millis(DRAIN_MS_MAX)).await;
    }

    /// Begins what may run and has room; gives the time until something may be claimed again.
    fn begin_runnable(&mut self) -> Result<Duration, GateError> {
        // Ends first: what has ended is no more among the open claims that are read after it.
        while let Some(ended) = self.tasks.try_next() {
            self.ended(ended);
        }
        let now = Instant::now();
        self.lanes.begin_round();
        self.not_before.retain(|_, at| *at > now);
        self.look_at_freezes()?;
        for (namespace, order) in self.reign.gate.open_claims(self.reign.epoch, ROUND_ROWS_MAX)? {
            if !self.lanes.are_full() && !self.reign.has_begun(order.id) {
                self.begin(now, namespace, order.intent, Begin::Open(Box::new(order)))?;
            }
        }
        let mut rest = REST_MAX;
        // What can begin may stand behind all that cannot: the next round goes on where this one
        // ends, and one that came to the end begins anew.
        let mut saw_all = self.after_order.is_none() && self.after.is_none();
        let orders = self.reign.gate.waiting_orders(self.after_order, ROUND_ROWS_MAX)?;
        for (order, namespace, intent) in &orders {
            if self.lanes.are_full() {
                return Ok(rest);
            }
            rest = rest.min(self.begin(now, *namespace, *intent, Begin::Waiting(*order))?);
        }
        self.after_order = next(&orders).map(|(order, ..)| order);
        let runnable = self.reign.gate.runnable(self.after, ROUND_ROWS_MAX)?;
        for (namespace, intent) in &runnable {
            if self.lanes.are_full() {
                return Ok(rest);
            }
            rest = rest.min(self.begin(now, *namespace, *intent, Begin::Intent)?);
        }
        self.after = next(&runnable);
        saw_all &= self.after_order.is_none() && self.after.is_none();
        if saw_all && self.reign.waiting.count() > 0 {
            let asked_for = orders.iter().map(|(_, _, intent)| *intent);
            let still: HashSet<_> =
                runnable.iter().map(|(_, intent)| *intent).chain(asked_for).collect();
            let count = self.reign.waiting.keep(|intent| still.contains(&intent));
            self.reign.meters.without_secret(count);
        }
        Ok(if saw_all { rest } else { rest.min(LOOK_EVERY) })
    }

    /// Lets what waited for a freeze go on once that has ended, and settles freezes that are new.
    fn look_at_freezes(&mut self) -> Result<(), GateError> {
        let marks = self.reign.gate.freeze_marks()?;
        if !self.frozen.is_empty() {
            let standing: HashSet<FreezeId> = marks.iter().map(|(_, id, _)| *id).collect();
            self.frozen.retain(|_, freeze| standing.contains(freeze));
        }
        if marks.iter().any(|(.., settled)| !settled) {
            self.reign.clone().settle();
        }
        Ok(())
    }

    /// Begins what is not running, if it is its turn and its destination has room; gives the time
    /// until it may be claimed again.
    fn begin(
        &mut self,
        now: Instant,
        namespace: NamespaceId,
        intent: IntentId,
        what: Begin,
    ) -> Result<Duration, GateError> {
        if self.lanes.runs(intent) {
            return Ok(REST_MAX);
        }
        if self.frozen.contains_key(&intent) {
            return Ok(REST_MAX);
        }
        if let Some(at) = self.not_before.get(&intent) {
            return Ok(*at - now);
        }
        if !self.lanes.enter(&self.reign.gate, namespace, intent)? {
            return Ok(REST_MAX);
        }
        let reign = self.reign.clone();
        self.tasks.spawn(intent, async move {
            match what {
                Begin::Open(order) => reign.run_open(namespace, &order).await,
                Begin::Waiting(order) => reign.claim_and_run(namespace, intent, Some(order)).await,
                Begin::Intent => reign.claim_and_run(namespace, intent, None).await,
            }
        });
        Ok(REST_MAX)
    }

    /// Gives the place back, however an attempt ended.
    fn ended(&mut self, (intent, after): Ended) {
        self.lanes.leave(intent);
        let after = after.unwrap_or_else(|error| {
            // An order that was begun stays open and is never called again here; time puts it in
            // doubt. What was not claimed is tried again after a while.
            tracing::error!(%intent, %error, "an attempt ended before it said how it went");
            After::Later(u32::MAX)
        });
        match after {
            After::Done => {}
            After::Later(attempt) => {
                let at = usize::try_from(attempt).unwrap_or(usize::MAX);
                let wait = AGAIN_AFTER[at.min(AGAIN_AFTER.len() - 1)];
                self.not_before.insert(intent, Instant::now() + wait);
            }
            After::Frozen(freeze) => {
                if self.frozen.len() >= FROZEN_MAX {
                    // Those that are forgotten are looked at once more, which only costs time.
                    self.frozen.clear();
                }
                self.frozen.insert(intent, freeze);
            }
        }
    }

    /// Lets calls on their way end; what has not ended by then is in doubt.
    async fn drain(&mut self, within: Duration) {
        self.reign.draining.store(true, Ordering::Release);
        let ended = self.tasks.ended_within(within).await;
        for one in ended {
            self.ended(one);
        }
        if !self.tasks.is_empty() {
            let left = self.tasks.len();
            tracing::warn!(left, "calls that did not end in time are in doubt at the next start");
        }
        self.tasks.shutdown().await;
    }
}
