//! Recording execution: orders, reports, doubt and how it was resolved.

use alloc::vec::Vec;

use types::codec::encode;
use types::{Digest, ExecutionId, NamespaceId, Phase, Stamp};

use crate::audit::{LeafBody, LeafDetail};
use crate::claim::EXECUTOR;
use crate::deliveries::Told;
use crate::event::Event;
use crate::query;
use crate::read::{Fault, Read};
use crate::record::{Recorder, commit_reason, detail_of};
use crate::reply::Effect;
use crate::rows::{OrderRow, OrderStatus};
use crate::table::{self, DueKind};

impl<R: Read> Recorder<R> {
    pub(crate) fn record_order(
        &mut self,
        stamp: Stamp,
        namespace: NamespaceId,
        event: &Event,
    ) -> Result<(), Fault> {
        match event {
            Event::OrderIssued { order, name } => {
                let mut head = query::expect_head(&self.ledger, namespace, order.intent)?;
                head.attempts = order.attempt;
                head.execution = Some(order.id);
                self.change_phase(stamp, namespace, head, Phase::Claimed)?;
                self.put_order(namespace, order);
                self.ledger.put(table::order_namespace(order.id), encode(&namespace));
                if order.executor.is_some() {
                    self.ledger.put(table::executor_claim(order.id), encode(&namespace));
                    self.effects.push(Effect::Runnable);
                }
                let subject = order.id.0.to_be_bytes();
                let due = table::due(order.expires_at, namespace, DueKind::OrderEnd, &subject);
                self.ledger.put(due, Vec::new());
                let body = LeafBody::OrderIssued {
                    execution: order.id,
                    attempt: order.attempt,
                    fence: order.fence,
                    mode: order.mode.clone(),
                    expires_at: order.expires_at,
                };
                let detail = LeafDetail { actor_name: Some(name.clone()), ..LeafDetail::default() };
                let actor = (name != EXECUTOR).then_some(order.issued_to);
                self.leaf(stamp, namespace, actor, Some(order.intent), body, &detail);
            }
            Event::Reported { order, phase, effect, by } => {
                let mut head = query::expect_head(&self.ledger, namespace, order.intent)?;
                let content = self.content(namespace, &head)?;
                head.effect = *effect;
                let by_gate = order.executor.is_some();
                let actor = if by_gate { EXECUTOR } else { "runner" };
                self.tell(stamp, namespace, &head, *phase, &Told { actor, reason: None })?;
                self.change_phase(stamp, namespace, head, *phase)?;
                self.put_order(namespace, order);
                self.ledger.delete(table::executor_claim(order.id));
                let result = order.report.as_ref().and_then(|report| report.result.as_ref());
                let body = LeafBody::Reported {
                    execution: order.id,
                    phase: *phase,
                    effect: *effect,
                    result: commitment(&content.salt, result),
                };
                let detail = LeafDetail {
                    actor_name: by_gate.then(|| EXECUTOR.into()),
                    reason: result.cloned(),
                    ..LeafDetail::default()
                };
                self.leaf(stamp, namespace, *by, Some(order.intent), body, &detail);
            }
            Event::DoubtBegan { .. } => self.doubt_began(stamp, namespace, event)?,
            Event::GivenBack { intent, execution, why } => {
                let mut head = query::expect_head(&self.ledger, namespace, *intent)?;
                let content = self.content(namespace, &head)?;
                head.attempts = head.attempts.saturating_sub(1);
                self.change_phase(stamp, namespace, head, Phase::Allowed)?;
                self.end_claim(namespace, *execution, OrderStatus::GivenBack)?;
                let why_digest = commitment(&content.salt, why.as_ref());
                let body = LeafBody::GivenBack { execution: *execution, why: why_digest };
                let detail = LeafDetail { reason: why.clone(), ..LeafDetail::default() };
                self.leaf(stamp, namespace, None, Some(*intent), body, &detail);
            }
            Event::Resolved { intent, phase, effect, decided } => {
                let mut head = query::expect_head(&self.ledger, namespace, *intent)?;
                let content = self.content(namespace, &head)?;
                head.effect = *effect;
                head.decided = Some(decided.clone());
                self.tell(stamp, namespace, &head, *phase, &Told::by(decided))?;
                self.change_phase(stamp, namespace, head, *phase)?;
                let reason = commit_reason(&content.salt, decided.reason.as_ref());
                let body = LeafBody::Resolved { phase: *phase, effect: *effect, reason };
                let detail = detail_of(decided);
                self.leaf(stamp, namespace, decided.by, Some(*intent), body, &detail);
            }
            _ => {}
        }
        Ok(())
    }

    fn doubt_began(
        &mut self,
        stamp: Stamp,
        namespace: NamespaceId,
        event: &Event,
    ) -> Result<(), Fault> {
        let Event::DoubtBegan { intent, execution, why, repeats } = event else { return Ok(()) };
        let head = query::expect_head(&self.ledger, namespace, *intent)?;
        let content = self.content(namespace, &head)?;
        let told = Told { actor: "system", reason: why.as_ref() };
        self.tell(stamp, namespace, &head, Phase::InDoubt, &told)?;
        self.change_phase(stamp, namespace, head, Phase::InDoubt)?;
        if *repeats {
            self.ledger.put(table::runnable(namespace, *intent), Vec::new());
            self.effects.push(Effect::Runnable);
        }
        self.end_claim(namespace, *execution, OrderStatus::InDoubt)?;
        let body = LeafBody::DoubtBegan {
            execution: *execution,
            why: commitment(&content.salt, why.as_ref()),
        };
        let detail = LeafDetail { reason: why.clone(), ..LeafDetail::default() };
        self.leaf(stamp, namespace, None, Some(*intent), body, &detail);
        Ok(())
    }

    /// An order without an outcome; a worker's silence is called by another name.
    fn end_claim(
        &mut self,
        namespace: NamespaceId,
        id: ExecutionId,
        status: OrderStatus,
    ) -> Result<(), Fault> {
        let Some(mut order) = query::order(&self.ledger, namespace, id)? else { return Ok(()) };
        order.status = if order.executor.is_some() { status } else { OrderStatus::Expired };
        self.put_order(namespace, &order);
        self.ledger.delete(table::executor_claim(id));
        Ok(())
    }

    fn put_order(&mut self, namespace: NamespaceId, order: &OrderRow) {
        self.ledger.put(table::order(namespace, order.id), encode(order));
    }
}

fn commitment(salt: &types::Salt, words: Option<&alloc::string::String>) -> Option<Digest> {
    words.map(|words| salt.commit(words.as_bytes()))
}
