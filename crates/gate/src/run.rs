//! What the executor asks of the gate: its epoch, what is to be run, and where it says how it went.
//!
//! Nothing here calls a target. Invariant: a target is called only after the claim that this module
//! gave is committed.

use std::sync::Arc;

use ledger::{
    AttemptEnd, Claim, Command, Content, Effect, Head, OrderRow, Refusal, Reply, ReportAttempt,
    Serving, TakeOver, query,
};
use tokio::sync::broadcast;
use types::{AgentStatus, Destination, ExecutionId, FreezeId, IntentId, LogIndex, NamespaceId};

use crate::errors::GateError;
use crate::handle::{Answer, Gate};
use crate::submit::TRIES_MAX;

/// An intent as a connector needs it.
#[derive(Debug, Clone)]
pub struct Work {
    /// Where it is.
    pub namespace: NamespaceId,
    /// The namespace's name.
    pub namespace_name: String,
    /// The intent.
    pub head: Head,
    /// What was asked and decided.
    pub content: Content,
    /// What is to be written: the payload's bytes, in the form that was approved.
    pub payload: Option<Vec<u8>>,
    /// The name of the agent that asked.
    pub agent: String,
}

/// What became of a claim.
#[derive(Debug, Clone)]
pub enum Claimed {
    /// It is committed: run it as this document says.
    Run(Box<OrderRow>, Box<Destination>),
    /// There is nothing to run: it ended, is held again, or is left to people.
    Nothing,
    /// A freeze covers it; it goes on once that has ended.
    Frozen(FreezeId),
    /// Another executor has begun; this one must stop.
    EpochOver,
}

impl Gate {
    /// True while this node leads.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.log().leader_time().is_some()
    }

    /// Hints of what applied entries caused, in order.
    #[must_use]
    pub fn effects(&self) -> broadcast::Receiver<Arc<Vec<Effect>>> {
        self.log().effects()
    }

    /// Begins the reign of an executor on this node; what another left open is in doubt then.
    ///
    /// # Errors
    /// [`GateError`]; nothing may be claimed then.
    pub async fn take_over(&self) -> Result<LogIndex, GateError> {
        let node = self.node();
        let mut begun = None;
        loop {
            let command = Command::TakeOver(TakeOver { node, epoch: begun });
            match self.without_key(NamespaceId::CLUSTER, command).await?.reply {
                Reply::TookOver { epoch, more: true } => begun = Some(epoch),
                Reply::TookOver { epoch, .. } => return Ok(epoch),
                _ => begun = None,
            }
        }
    }

    /// Intents that are to be claimed, behind `after` if that is given, at most `limit`.
    ///
    /// # Errors
    /// [`GateError::Fault`].
    pub fn runnable(
        &self,
        after: Option<(NamespaceId, IntentId)>,
        limit: usize,
    ) -> Result<Vec<(NamespaceId, IntentId)>, GateError> {
        Ok(self.look(|state, _| Ok(query::runnable(state, after, limit)?))?.0)
    }

    /// What an intent would write to; `None` if it is not known here.
    ///
    /// # Errors
    /// [`GateError::Fault`].
    pub fn resource(
        &self,
        namespace: NamespaceId,
        intent: IntentId,
    ) -> Result<Option<String>, GateError> {
        let (resource, _) = self.look(|state, _| {
            let Some(head) = query::head(state, namespace, intent)? else { return Ok(None) };
            let content = query::content(state, namespace, intent, head.revision)?;
            Ok(Some(content.proposal.destination))
        })?;
        Ok(resource)
    }

    /// What serves a resource now.
    ///
    /// # Errors
    /// [`GateError::Fault`].
    pub fn serving(
        &self,
        namespace: NamespaceId,
        resource: &str,
    ) -> Result<Option<Serving>, GateError> {
        Ok(self.look(|state, _| Ok(query::serving(state, namespace, resource)?))?.0)
    }

    /// What a namespace is called; nothing if there is none.
    ///
    /// # Errors
    /// [`GateError::Fault`].
    pub fn namespace_name(&self, namespace: NamespaceId) -> Result<String, GateError> {
        let (row, _) = self.look(|state, _| Ok(query::namespace(state, namespace)?))?;
        Ok(row.map(|row| row.name).unwrap_or_default())
    }

    /// Orders that were begun in this epoch, without an outcome, at most `limit`. There are no more
    /// of them than run at a time, but for some whose outcome could not be said.
    ///
    /// # Errors
    /// [`GateError::Fault`].
    pub fn open_claims(
        &self,
        epoch: LogIndex,
        limit: usize,
    ) -> Result<Vec<(NamespaceId, OrderRow)>, GateError> {
        let (orders, _) = self.look(|state, _| {
            let mut orders = Vec::new();
            for id in query::executor_claims(state, limit)? {
                orders.extend(query::find_order(state, id)?);
            }
            Ok(orders)
        })?;
        let of_epoch = |order: &OrderRow| order.executor.is_some_and(|claim| claim.epoch == epoch);
        Ok(orders.into_iter().filter(|(_, order)| of_epoch(order)).collect())
    }

    /// Orders that somebody asked for and nobody has begun, behind `after` if that is given, at
    /// most `limit`.
    ///
    /// # Errors
    /// [`GateError::Fault`].
    pub fn waiting_orders(
        &self,
        after: Option<ExecutionId>,
        limit: usize,
    ) -> Result<Vec<(ExecutionId, NamespaceId, IntentId)>, GateError> {
        Ok(self.look(|state, _| Ok(query::waiting_orders(state, after, limit)?))?.0)
    }

    /// Why who asked for an intent may not act now: nothing of it begins meanwhile.
    ///
    /// # Errors
    /// [`GateError::Fault`].
    pub fn submitter_stopped(
        &self,
        namespace: NamespaceId,
        intent: IntentId,
    ) -> Result<Option<AgentStatus>, GateError> {
        let (status, _) = self.look(|state, _| {
            let Some(head) = query::head(state, namespace, intent)? else { return Ok(None) };
            Ok(query::agent(state, namespace, head.agent)?.map(|agent| agent.status))
        })?;
        Ok(status.filter(|status| *status != AgentStatus::Active))
    }

    /// An intent with all that a connector needs; `None` if it is not known here.
    ///
    /// # Errors
    /// [`GateError::Fault`].
    pub fn work(
        &self,
        namespace: NamespaceId,
        intent: IntentId,
    ) -> Result<Option<Work>, GateError> {
        let (work, _) = self.look(|state, _| {
            let Some(head) = query::head(state, namespace, intent)? else { return Ok(None) };
            let (content, payload) =
                query::content_and_payload(state, namespace, intent, head.revision)?;
            let agent = query::agent(state, namespace, head.agent)?;
            let named = query::namespace(state, namespace)?;
            Ok(Some(Work {
                namespace,
                namespace_name: named.map(|row| row.name).unwrap_or_default(),
                agent: agent.map(|agent| agent.name).unwrap_or_default(),
                head,
                content,
                payload,
            }))
        })?;
        Ok(work)
    }

    /// Claims an intent.
    ///
    /// # Errors
    /// [`GateError`]; if the reply was lost, the claim may stand: [`Gate::open_claims`] has it.
    pub async fn claim(
        &self,
        epoch: LogIndex,
        namespace: NamespaceId,
        intent: IntentId,
    ) -> Result<Claimed, GateError> {
        self.claim_as(epoch, namespace, intent, None).await
    }

    /// Claims an order that somebody asked for, before anybody is called.
    ///
    /// # Errors
    /// As [`Gate::claim`].
    pub async fn begin_order(
        &self,
        epoch: LogIndex,
        namespace: NamespaceId,
        intent: IntentId,
        order: ExecutionId,
    ) -> Result<Claimed, GateError> {
        self.claim_as(epoch, namespace, intent, Some(order)).await
    }

    async fn claim_as(
        &self,
        epoch: LogIndex,
        namespace: NamespaceId,
        intent: IntentId,
        order: Option<ExecutionId>,
    ) -> Result<Claimed, GateError> {
        let mut facts = None;
        for _ in 0..TRIES_MAX {
            let execution = order.unwrap_or_else(|| ExecutionId(self.ids.next()));
            let claim = Claim { intent, execution, epoch, facts: facts.take() };
            let answer = self.without_key(namespace, Command::Claim(Box::new(claim))).await?;
            match answer.reply {
                Reply::Claimed(order, destination) => return Ok(Claimed::Run(order, destination)),
                Reply::IdTaken => {}
                Reply::FactsNeeded { .. } => facts = self.facts_again(namespace, intent).await?,
                Reply::Refused(Refusal::EpochOver) => return Ok(Claimed::EpochOver),
                Reply::Refused(Refusal::Frozen { freeze, .. }) => {
                    return Ok(Claimed::Frozen(freeze));
                }
                _ => return Ok(Claimed::Nothing),
            }
        }
        Err(GateError::PolicyMoving)
    }

    /// Says how an attempt ended. Said twice, it counts once.
    ///
    /// # Errors
    /// [`GateError`]: it must be said again.
    pub async fn report_attempt(
        &self,
        namespace: NamespaceId,
        execution: ExecutionId,
        ended: AttemptEnd,
        result: Option<String>,
        why: Option<String>,
    ) -> Result<Answer, GateError> {
        let report = ReportAttempt { execution, ended, result, why };
        self.without_key(namespace, Command::ReportAttempt(Box::new(report))).await
    }
}

/// Waits for a hint of one of these kinds, or that hints were missed; for ever once the log goes
/// away.
pub async fn woken(effects: &mut broadcast::Receiver<Arc<Vec<Effect>>>, by: &[Effect]) {
    loop {
        match effects.recv().await {
            Ok(batch) if batch.iter().any(|effect| by.contains(effect)) => return,
            Ok(_) => {}
            Err(broadcast::error::RecvError::Lagged(_)) => return,
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}
