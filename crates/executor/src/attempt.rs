//! One attempt: claimed, called, reported.
//!
//! Invariant: a target is called after the claim was committed, at most once per claim, and only
//! while the executor that claimed still reigns. What an attempt came to is said until it is heard.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bugs::Bug;
use gate::times::iso;
use gate::{Claimed, Gate, GateError, Work};
use ledger::{AttemptEnd, OrderRow, Serving};
use parking_lot::Mutex;
use serde_json::{Value, json};
use types::{
    AgentStatus, Connector, Destination, ExecutionId, FreezeId, HttpTarget, IntentId, LogIndex,
    NamespaceId, PayloadKind,
};

use crate::connectors::Outcome;
use crate::connectors::http::{self, Wanted};
use crate::material::{Material, Payload};
use crate::meters::{Counted, ExecutorMeters};
use crate::run::Means;
use crate::waiting::Waiting;
use crate::wire::Wire;

/// Waits before a report that got no answer is said again.
const REPORT_AGAIN_AFTER: Duration = Duration::from_millis(200);

/// A place in the waits before a claim that fits what only the outside can change.
const NOT_READY: u32 = 2;

/// What all attempts of one executor share.
pub(crate) struct Reign {
    pub(crate) gate: Arc<Gate>,
    pub(crate) means: Arc<Means>,
    /// Log index at which it began.
    pub(crate) epoch: LogIndex,
    /// Another executor has begun, or this node leads no more.
    pub(crate) over: AtomicBool,
    /// This node is to stop: what was begun ends, and nothing more begins.
    pub(crate) draining: AtomicBool,
    /// What cannot run for want of a secret.
    pub(crate) waiting: Waiting,
    pub(crate) meters: Arc<ExecutorMeters>,
    /// Calls that were begun here and have no committed outcome: none is begun twice.
    begun: Mutex<HashSet<ExecutionId>>,
    wire: Wire,
    /// Freezes are being settled.
    settling: AtomicBool,
}

/// How an attempt leaves its intent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    /// Nothing more is to be done for it here now.
    Done,
    /// It may be claimed again after a while; the number of the attempt that ended.
    Later(u32),
    /// It may be claimed again once this freeze has ended.
    Frozen(FreezeId),
}

impl Reign {
    pub(crate) fn new(
        gate: Arc<Gate>,
        means: Arc<Means>,
        meters: Arc<ExecutorMeters>,
        epoch: LogIndex,
    ) -> Self {
        Self {
            gate,
            means,
            epoch,
            over: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            waiting: Waiting::default(),
            meters,
            begun: Mutex::default(),
            wire: Wire::default(),
            settling: AtomicBool::new(false),
        }
    }

    /// It goes on.
    pub(crate) fn stands(&self) -> bool {
        !self.over.load(Ordering::Acquire) && self.gate.leads()
    }

    /// It still claims and calls.
    fn begins(&self) -> bool {
        !self.draining.load(Ordering::Acquire) && self.stands()
    }

    /// A call of this order was begun here.
    pub(crate) fn has_begun(&self, execution: ExecutionId) -> bool {
        self.begun.lock().contains(&execution)
    }

    /// Claims an intent, or an order for it that somebody asked for and that waits, and runs it.
    pub(crate) async fn claim_and_run(
        &self,
        namespace: NamespaceId,
        intent: IntentId,
        order: Option<ExecutionId>,
    ) -> After {
        if let Some(after) = self.held_back(namespace, intent).await {
            return after;
        }
        if !self.begins() {
            return After::Later(0);
        }
        if Bug::ExecuteBeforeClaim.is_planted() {
            self.call_first(namespace, intent).await;
        }
        let claimed = match order {
            None => self.gate.claim(self.epoch, namespace, intent).await,
            Some(order) => self.gate.begin_order(self.epoch, namespace, intent, order).await,
        };
        match claimed {
            Ok(Claimed::Run(order, destination)) => self.run(namespace, &order, &destination).await,
            Ok(Claimed::Nothing) => After::Done,
            Ok(Claimed::Frozen(freeze)) => After::Frozen(freeze),
            Ok(Claimed::EpochOver) => {
                self.meters.fenced_off();
                self.over.store(true, Ordering::Release);
                After::Done
            }
            Err(error) => {
                // The claim may stand all the same; it is found among the open ones then.
                tracing::debug!(%intent, %error, "a claim got no answer");
                After::Later(0)
            }
        }
    }

    /// Runs an order whose claim's reply was lost.
    pub(crate) async fn run_open(&self, namespace: NamespaceId, order: &OrderRow) -> After {
        let claimed = order.executor.map(|claim| claim.destination);
        let serving = match self.serving(namespace, order.intent) {
            Ok(serving) => serving,
            Err(error) => {
                tracing::warn!(execution = %order.id, %error, "an order cannot be read");
                return After::Later(0);
            }
        };
        match serving.filter(|destination| Some(destination.digest) == claimed) {
            Some(destination) => self.run(namespace, order, &destination).await,
            None => {
                let why = "the destination's document changed before anybody was called";
                self.report(namespace, order, AttemptEnd::NotStarted, None, Some(why.into())).await;
                After::Later(0)
            }
        }
    }

    /// Why an intent is not claimed now, seen before the log is asked: looking again costs nothing.
    async fn held_back(&self, namespace: NamespaceId, intent: IntentId) -> Option<After> {
        match self.gate.frozen_by(namespace, intent) {
            Ok(None) => {}
            Ok(Some(_)) if Bug::FreezeIgnored.is_planted() => {}
            Ok(Some(freeze)) => {
                tracing::debug!(%intent, %freeze, "not claimed: frozen");
                return Some(After::Frozen(freeze));
            }
            Err(error) => {
                tracing::warn!(%intent, %error, "not claimed: freezes cannot be read");
                return Some(After::Later(NOT_READY));
            }
        }
        match self.gate.submitter_stopped(namespace, intent) {
            // The claim is refused, and leaves it to people.
            Ok(None | Some(AgentStatus::Revoked)) => {}
            Ok(Some(status)) => {
                let status = status.name();
                tracing::info!(%intent, status, "not claimed: submitter_inactive");
                return Some(After::Later(NOT_READY));
            }
            Err(error) => {
                tracing::warn!(%intent, %error, "not claimed: its agent cannot be read");
                return Some(After::Later(NOT_READY));
            }
        }
        match self.ready(namespace, intent).await {
            Ok(true) => None,
            Ok(false) => Some(After::Later(NOT_READY)),
            Err(error) => {
                tracing::warn!(%intent, %error, "what is to be run cannot be read");
                Some(After::Later(0))
            }
        }
    }

    /// A secret that this node cannot have leaves the intent unclaimed, for another node or later.
    async fn ready(&self, namespace: NamespaceId, intent: IntentId) -> Result<bool, GateError> {
        let Some(serving) = self.serving(namespace, intent)? else { return Ok(true) };
        let Connector::Http(target) = &serving.connector else { return Ok(true) };
        let name = self.gate.namespace_name(namespace)?;
        let key = (namespace, serving.name.clone());
        match http::ready(target, &name, &self.means.secrets).await {
            Ok(()) => {
                if self.waiting.has(&key, intent) {
                    tracing::info!(destination = key.1, "its secrets can be had");
                }
                self.meters.without_secret(self.waiting.count());
                Ok(true)
            }
            Err(error) => {
                self.meters.secret_unavailable();
                if self.waiting.wants(key, intent, &error.to_string()) {
                    let (code, destination) = (error.code(), &serving.name);
                    tracing::warn!(code, destination, %intent, %error, "intents wait for a secret");
                }
                self.meters.without_secret(self.waiting.count());
                Ok(false)
            }
        }
    }

    /// What serves an intent's resource now.
    fn serving(
        &self,
        namespace: NamespaceId,
        intent: IntentId,
    ) -> Result<Option<Serving>, GateError> {
        match self.gate.resource(namespace, intent)? {
            Some(resource) => self.gate.serving(namespace, &resource),
            None => Ok(None),
        }
    }

    async fn run(
        &self,
        namespace: NamespaceId,
        order: &OrderRow,
        destination: &Destination,
    ) -> After {
        if !self.begun.lock().insert(order.id) {
            return After::Done;
        }
        let began = Instant::now();
        let (ended, result, why) = match self.gate.work(namespace, order.intent) {
            Ok(Some(work)) => match &destination.connector {
                Connector::Http(target) => {
                    let OrderRow { intent, fence, attempt, .. } = *order;
                    let wanted = OfOrder { reign: self, namespace, order };
                    said(self.call(&work, target, intent, fence, attempt, &wanted).await)
                }
                Connector::Worker => not_started("its destination has no connector"),
            },
            Ok(None) => not_started("the intent cannot be found"),
            Err(error) => not_started(&error.to_string()),
        };
        self.meters.ended(counted(ended), began.elapsed());
        if let Some(why) = &why {
            let (intent, execution) = (order.intent, order.id);
            tracing::info!(%intent, %execution, attempt = order.attempt, why, "not succeeded");
        }
        if self.report(namespace, order, ended, result, why).await {
            self.begun.lock().remove(&order.id);
            self.wire.end(order.id);
        }
        match ended {
            AttemptEnd::Succeeded => After::Done,
            // Behind an attempt in doubt it leaves the doubt, and may be tried again.
            AttemptEnd::Failed(_) if order.attempt == 1 => After::Done,
            AttemptEnd::Failed(_) | AttemptEnd::InDoubt => After::Later(order.attempt),
            AttemptEnd::NotStarted => After::Later(0),
        }
    }

    async fn call(
        &self,
        work: &Work,
        target: &HttpTarget,
        intent: IntentId,
        fence: LogIndex,
        attempt: u32,
        wanted: &dyn Wanted,
    ) -> Outcome {
        let call = http::Call {
            target,
            namespace: &work.namespace_name,
            intent,
            fence,
            attempt,
            material: &material(work),
        };
        let Means { client, secrets, patience, .. } = self.means.as_ref();
        http::call_if(client, secrets, &call, *patience, wanted).await
    }

    /// Whether no freeze covers a call, by all that is applied here.
    fn is_free(&self, namespace: NamespaceId, order: &OrderRow) -> bool {
        let (intent, execution) = (order.intent, order.id);
        if Bug::FreezeIgnored.is_planted() || Bug::FreezeAnsweredEarly.is_planted() {
            return true;
        }
        match self.gate.frozen_by(namespace, intent) {
            Ok(None) => !self.wire.is_taken_back(execution),
            Ok(Some(freeze)) => {
                tracing::info!(%intent, %execution, %freeze, "not called: frozen");
                false
            }
            Err(error) => {
                tracing::warn!(%intent, %execution, %error, "not called: freezes cannot be read");
                false
            }
        }
    }

    /// Takes back what freezes cover and has not started, and says what has: who asked for a freeze
    /// waits for that.
    pub(crate) fn settle(self: Arc<Self>) {
        if self.settling.swap(true, Ordering::AcqRel) {
            return;
        }
        tokio::spawn(async move {
            match self.settle_freezes().await {
                Ok(true) => {}
                Ok(false) => self.over.store(true, Ordering::Release),
                Err(error) => tracing::debug!(%error, "freezes are not settled yet"),
            }
            self.settling.store(false, Ordering::Release);
        });
    }

    async fn settle_freezes(&self) -> Result<bool, GateError> {
        let mut freezes = self.gate.unsettled_freezes(self.epoch)?;
        if freezes.is_empty() {
            return Ok(true);
        }
        self.wire.take_back(&mut freezes);
        self.gate.settle_freezes(self.epoch, freezes).await
    }

    /// What must never be: a call, and its claim only after it.
    async fn call_first(&self, namespace: NamespaceId, intent: IntentId) {
        let Ok(Some(work)) = self.gate.work(namespace, intent) else { return };
        let Ok(Some(serving)) = self.serving(namespace, intent) else { return };
        let Connector::Http(target) = &serving.connector else { return };
        _ = self.call(&work, target, intent, self.epoch, 1, &|| self.begins()).await;
    }

    /// Says how an attempt ended until it is heard, or until saying it is another's turn. False if
    /// it was never heard: the order ends in doubt then.
    async fn report(
        &self,
        namespace: NamespaceId,
        order: &OrderRow,
        ended: AttemptEnd,
        result: Option<Value>,
        why: Option<String>,
    ) -> bool {
        let result = result.map(|value| value.to_string());
        loop {
            let said =
                self.gate.report_attempt(namespace, order.id, ended, result.clone(), why.clone());
            match said.await {
                Ok(_) => return true,
                Err(error) => {
                    tracing::debug!(execution = %order.id, %error, "a report got no answer");
                }
            }
            if self.over.load(Ordering::Acquire) {
                return false;
            }
            tokio::time::sleep(REPORT_AGAIN_AFTER).await;
        }
    }
}

/// The call of an order: wanted while its executor goes on and no freeze covers it.
struct OfOrder<'a> {
    reign: &'a Reign,
    namespace: NamespaceId,
    order: &'a OrderRow,
}

impl Wanted for OfOrder<'_> {
    fn still(&self) -> bool {
        self.reign.begins() && self.reign.is_free(self.namespace, self.order)
    }

    fn starts(&self) -> bool {
        // A freeze that is settled from here on names it.
        self.still() && self.reign.wire.start(self.order.id)
    }
}

fn counted(ended: AttemptEnd) -> Counted {
    match ended {
        AttemptEnd::Succeeded => Counted::Succeeded,
        AttemptEnd::Failed(_) => Counted::Failed,
        AttemptEnd::InDoubt => Counted::InDoubt,
        AttemptEnd::NotStarted => Counted::NotStarted,
    }
}

type Said = (AttemptEnd, Option<Value>, Option<String>);

fn said(outcome: Outcome) -> Said {
    match outcome {
        Outcome::Succeeded { answer, .. } => (AttemptEnd::Succeeded, Some(answer), None),
        Outcome::Failed { effect, why, answer } => {
            let result = json!({ "error": why, "answer": answer });
            (AttemptEnd::Failed(effect), Some(result), Some(why))
        }
        Outcome::Doubt { why, answer } => {
            (AttemptEnd::InDoubt, Some(json!({ "error": why, "answer": answer })), Some(why))
        }
        Outcome::NotReady { why } => not_started(&why),
    }
}

fn not_started(why: &str) -> Said {
    (AttemptEnd::NotStarted, None, Some(why.to_owned()))
}

/// What templates are filled from.
fn material(work: &Work) -> Material {
    let proposal = &work.content.proposal;
    let text = || work.payload.as_deref().map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    let payload = match proposal.payload_kind {
        PayloadKind::Absent => None,
        PayloadKind::Text | PayloadKind::Reference => text().map(Payload::Text),
        PayloadKind::Json => text().map(Payload::Json),
    };
    let metadata = proposal.metadata.as_deref().and_then(|text| serde_json::from_str(text).ok());
    let intent = json!({
        "id": work.head.id.to_string(),
        "revision": work.head.revision,
        "destination": proposal.destination,
        "action": proposal.action,
        "trigger": proposal.trigger,
        "policy": proposal.policy,
        "agent": work.agent,
        "agent_id": work.head.agent.to_string(),
        "on_behalf_of": proposal.on_behalf_of,
        "record_count": work.content.record_count,
        "namespace": work.namespace_name,
        "created_at": iso(work.head.submitted_at),
    });
    Material {
        payload: payload.unwrap_or(Payload::Absent),
        metadata: metadata.unwrap_or_else(|| json!({})),
        intent,
    }
}
