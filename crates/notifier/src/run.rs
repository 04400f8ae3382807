//! The loop: what is due is sent, a bounded number at a time, while this node leads.
//!
//! A receiver that does not answer holds up no other: each has its own share. Hints only wake; what
//! is due is always read from the ledger, so a lost hint costs a moment and no notification.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use gate::{Dispatch, Gate, GateError, woken};
use ledger::{Effect, Receiver};
use outbound::{Client, Secrets};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use types::limits::{DELIVERIES_AT_A_TIME_MAX, DRAIN_MS_MAX, ERROR_CHARS_MAX};
use types::{DeliveryId, LogTime, NamespaceId};

use crate::message::cut;
use crate::meters::NotifierMeters;
use crate::send::{self, Undelivered};

/// Deliveries to one receiver at a time.
const RECEIVER_SHARE: usize = DELIVERIES_AT_A_TIME_MAX / 4;
/// Rows that are looked at in one round.
const ROUND_ROWS_MAX: usize = 4_096;
/// The longest rest between two rounds.
const REST_MAX: Duration = Duration::from_secs(1);
/// How much later than it was stamped a row may come to be seen, in milliseconds.
const LATE_MS: u64 = 60_000;
/// Waits before a report that got no answer is said again.
const REPORT_AGAIN_AFTER: Duration = Duration::from_millis(200);

/// What sending needs.
pub struct Means {
    /// For channels, which admins wrote.
    pub client: Client,
    /// For webhooks, whose urls agents choose: it reaches no more than they may.
    pub webhooks: Client,
    /// What channels refer to by name.
    pub secrets: Secrets,
}

/// Sends what is due until it is told to stop; what is on its way then gets a moment to end.
pub async fn run(gate: Arc<Gate>, means: Arc<Means>, mut stopping: watch::Receiver<bool>) {
    let mut effects = gate.effects();
    let mut round = Round {
        gate,
        means,
        meters: Arc::default(),
        on_its_way: HashMap::new(),
        tasks: JoinSet::new(),
        since: LogTime(0),
    };
    loop {
        let rest = round.begin_due().min(REST_MAX);
        round.meters.running(round.tasks.len());
        tokio::select! {
            _ = stopping.wait_for(|stop| *stop) => break,
            () = woken(&mut effects, &[Effect::DeliveryDue]) => {}
            () = tokio::time::sleep(rest) => {}
            Some(ended) = round.tasks.join_next() => round.ended(ended),
        }
    }
    drain(round.tasks).await;
}

/// Gives what is on its way a moment to end; the rest is still due at the next start.
async fn drain(mut tasks: JoinSet<DeliveryId>) {
    let ends = Instant::now() + Duration::from_millis(DRAIN_MS_MAX);
    while let Ok(Some(ended)) = timeout_at(ends, tasks.join_next()).await {
        if let Err(error) = ended {
            tracing::error!(%error, "a delivery ended before it said how it went");
        }
    }
    tasks.shutdown().await;
}

/// Notifications on their way, by receiver.
struct Round {
    gate: Arc<Gate>,
    means: Arc<Means>,
    meters: Arc<NotifierMeters>,
    on_its_way: HashMap<DeliveryId, (NamespaceId, String)>,
    tasks: JoinSet<DeliveryId>,
    /// Nothing is due before: a scan need not go over what has been.
    since: LogTime,
}

impl Round {
    /// Begins what is due and has room; gives the time until the next is due.
    fn begin_due(&mut self) -> Duration {
        match self.try_begin_due() {
            Ok(rest) => rest,
            Err(error) => {
                tracing::warn!(%error, "what is to be delivered cannot be read");
                REST_MAX
            }
        }
    }

    fn try_begin_due(&mut self) -> Result<Duration, GateError> {
        let Some(now) = self.gate.leader_time() else { return Ok(REST_MAX) };
        let mut full: HashSet<(NamespaceId, String)> = HashSet::new();
        let due = self.gate.deliveries_due(self.since, ROUND_ROWS_MAX)?;
        let first = due.first().map_or(now, |(at, ..)| *at);
        self.since = LogTime(first.0.min(now.0.saturating_sub(LATE_MS)));
        for (at, namespace, id) in due {
            if at > now {
                return Ok(Duration::from_millis(at.since_ms(now)));
            }
            if self.on_its_way.len() >= DELIVERIES_AT_A_TIME_MAX {
                break;
            }
            if self.on_its_way.contains_key(&id) {
                continue;
            }
            let Some(dispatch) = self.gate.dispatch(namespace, id)? else { continue };
            let receiver = (namespace, receiver_name(&dispatch.row.to));
            if full.contains(&receiver) {
                continue;
            }
            let share = self.on_its_way.values().filter(|other| **other == receiver).count();
            if share >= RECEIVER_SHARE {
                full.insert(receiver);
                continue;
            }
            self.on_its_way.insert(id, receiver);
            let (gate, means) = (self.gate.clone(), self.means.clone());
            let meters = self.meters.clone();
            self.tasks.spawn(async move {
                deliver(&gate, &means, &meters, dispatch).await;
                id
            });
        }
        Ok(REST_MAX)
    }

    fn ended(&mut self, ended: Result<DeliveryId, tokio::task::JoinError>) {
        match ended {
            Ok(id) => {
                self.on_its_way.remove(&id);
            }
            Err(error) => {
                // Its row is still due, and a new start or another leader tries it again.
                tracing::error!(%error, "a delivery ended before it said how it went");
            }
        }
    }
}

/// Webhooks share one name: agents choose their urls, so that none gets more by using many.
fn receiver_name(to: &Receiver) -> String {
    match to {
        Receiver::Channel(name) => format!("channel {name}"),
        Receiver::Webhook(_) => "webhooks".into(),
    }
}

async fn deliver(gate: &Gate, means: &Means, meters: &NotifierMeters, dispatch: Dispatch) {
    let attempt = dispatch.row.attempts.saturating_add(1);
    let (namespace, delivery) = (dispatch.namespace, dispatch.row.id);
    let began = std::time::Instant::now();
    let error = send::attempted(means, &dispatch, attempt).await.err();
    meters.attempted(&dispatch.row.to, attempt, error.is_none(), began.elapsed());
    if let Some(Undelivered { why, detail, wants_secret }) = &error {
        let intent = dispatch.row.intent;
        tracing::info!(%delivery, %intent, attempt, why, detail, "not delivered");
        if *wants_secret {
            meters.secret_unavailable();
        }
    }
    let error = error.map(|error| cut(&error.why, ERROR_CHARS_MAX));
    // Unsaid, it would be sent again; after a while another leader may be the one to say it.
    for _ in 0..50 {
        match gate.report_delivery(namespace, delivery, attempt, error.clone()).await {
            Ok(_) => return,
            Err(error) => tracing::debug!(%delivery, %error, "a report got no answer"),
        }
        tokio::time::sleep(REPORT_AGAIN_AFTER).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_delivery_that_never_ends_does_not_hold_up_a_stop() {
        let mut tasks = JoinSet::new();
        tasks.spawn(async { DeliveryId(1) });
        tasks.spawn(std::future::pending());
        let an_hour = Duration::from_secs(3_600);
        tokio::time::timeout(an_hour, drain(tasks)).await.unwrap();
    }
}
