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
use tokio::task::JoinSet;
use tokio::time::Instant;
use types::limits::DRAIN_MS_MAX;
use types::{IntentId, NamespaceId};

use crate::attempt::{After, Reign};
use crate::connectors::http::Patience;
use crate::lanes::Lanes;
use crate::meters::ExecutorMeters;

/// Rows that are looked at in one round.
const ROUND_ROWS_MAX: usize = 4_096;
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
    /// Where the last look ended, while more waits than one round looks at.
    after: Option<(NamespaceId, IntentId)>,
    not_before: HashMap<IntentId, Instant>,
    tasks: JoinSet<(IntentId, After)>,
}

impl Round {
    fn of(reign: Arc<Reign>) -> Self {
        Self {
            reign,
            lanes: Lanes::default(),
            after: None,
            not_before: HashMap::new(),
            tasks: JoinSet::new(),
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
                () = woken(&mut effects, Effect::Runnable) => {}
                () = tokio::time::sleep(rest) => {}
                Some(ended) = self.tasks.join_next() => self.ended(ended),
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
        while let Some(ended) = self.tasks.try_join_next() {
            self.ended(ended);
        }
        let now = Instant::now();
        self.lanes.begin_round();
        self.not_before.retain(|_, at| *at > now);
        for (namespace, order) in self.reign.gate.open_claims(self.reign.epoch, ROUND_ROWS_MAX)? {
            let runs = self.lanes.runs(order.intent) || self.lanes.are_full();
            if !runs && !self.reign.has_begun(order.id) {
                self.begin(namespace, order.intent, Some(order))?;
            }
        }
        let runnable = self.reign.gate.runnable(self.after, ROUND_ROWS_MAX)?;
        let mut rest = REST_MAX;
        for (namespace, intent) in &runnable {
            if self.lanes.are_full() {
                return Ok(rest);
            }
            if self.lanes.runs(*intent) {
                continue;
            }
            if let Some(at) = self.not_before.get(intent) {
                rest = rest.min(*at - now);
                continue;
            }
            self.begin(*namespace, *intent, None)?;
        }
        // What can begin may stand behind all that cannot: the next round goes on there, and one
        // that came to the end begins anew.
        let from_start = self.after.is_none();
        self.after = runnable.last().copied().filter(|_| runnable.len() == ROUND_ROWS_MAX);
        let saw_all = from_start && self.after.is_none();
        if saw_all && self.reign.waiting.count() > 0 {
            let still: HashSet<_> = runnable.iter().map(|(_, intent)| *intent).collect();
            let count = self.reign.waiting.keep(|intent| still.contains(&intent));
            self.reign.meters.without_secret(count);
        }
        Ok(if saw_all { rest } else { rest.min(LOOK_EVERY) })
    }

    /// Begins an intent, or an order that is claimed already, if its destination has room.
    fn begin(
        &mut self,
        namespace: NamespaceId,
        intent: IntentId,
        order: Option<OrderRow>,
    ) -> Result<(), GateError> {
        if !self.lanes.enter(&self.reign.gate, namespace, intent)? {
            return Ok(());
        }
        let reign = self.reign.clone();
        self.tasks.spawn(async move {
            let after = match order {
                Some(order) => reign.run_open(namespace, &order).await,
                None => reign.claim_and_run(namespace, intent).await,
            };
            (intent, after)
        });
        Ok(())
    }

    fn ended(&mut self, ended: Result<(IntentId, After), tokio::task::JoinError>) {
        match ended {
            Ok((intent, after)) => {
                self.lanes.leave(intent);
                if let After::Later(attempt) = after {
                    let at = usize::try_from(attempt).unwrap_or(usize::MAX);
                    let wait = AGAIN_AFTER[at.min(AGAIN_AFTER.len() - 1)];
                    self.not_before.insert(intent, Instant::now() + wait);
                }
            }
            // Its order stays open and is never called again here; time puts it in doubt.
            Err(error) => tracing::error!(%error, "an attempt ended before it said how it went"),
        }
    }

    /// Lets calls on their way end; what has not ended by then is in doubt.
    async fn drain(&mut self, within: Duration) {
        self.reign.draining.store(true, Ordering::Release);
        let ended = drained(&mut self.tasks, within).await;
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

/// What ends within this time; all of it if that is enough.
async fn drained<T: 'static>(
    tasks: &mut JoinSet<T>,
    within: Duration,
) -> Vec<Result<T, tokio::task::JoinError>> {
    let (mut ended, ends) = (Vec::new(), Instant::now() + within);
    while let Ok(Some(one)) = tokio::time::timeout_at(ends, tasks.join_next()).await {
        ended.push(one);
    }
    ended
}

#[cfg(test)]
mod tests {
    use types::limits::{CONNECTOR_TIMEOUT_MS_MAX, EXECUTOR_DRAIN_MS_DEFAULT};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_longest_call_ends_before_a_stop_does_and_no_call_holds_it_up_for_ever() {
        let mut tasks = JoinSet::new();
        for call_ms in [1, 60_000, CONNECTOR_TIMEOUT_MS_MAX.into()] {
            tasks.spawn(tokio::time::sleep(Duration::from_millis(call_ms)));
        }
        let within = Duration::from_millis(EXECUTOR_DRAIN_MS_DEFAULT);
        assert_eq!(drained(&mut tasks, within).await.len(), 3);
        assert!(tasks.is_empty());
        tasks.spawn(std::future::pending());
        let an_hour = Duration::from_secs(3_600);
        let ended = tokio::time::timeout(an_hour, drained(&mut tasks, within)).await.unwrap();
        assert!(ended.is_empty() && tasks.len() == 1);
    }
}
