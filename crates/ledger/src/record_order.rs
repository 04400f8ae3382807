//! Recording execution: orders, reports, doubt and how it was resolved.

use types::codec::encode;
use types::{Digest, ExecutionId, LogIndex, NamespaceId, Phase, Stamp};

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
            Event::OrderIssued { order, name } => self.order_issued(stamp, namespace, order, name),
            Event::OrderBegun { order } => self.order_begun(stamp, namespace, order),
            Event::Reported { .. } => self.reported(stamp, namespace, event),
            Event::DoubtBegan { .. } => self.doubt_began(stamp, namespace, event),
            Event::GivenBack { .. } => self.given_back(stamp, namespace, event),
            Event::Resolved { .. } => self.resolved(stamp, namespace, event),
            _ => Ok(()),
        }
    }

    fn order_issued(
        &mut self,
        stamp: Stamp,
        namespace: NamespaceId,
        order: &OrderRow,
        name: &str,
    ) -> Result<(), Fault> {
        let mut head = query::expect_head(&self.ledger, namespace, order.intent)?;
        head.attempts = order.attempt;
        head.execution = Some(order.id);
        self.change_phase(stamp, namespace, head, Phase::Claimed)?;
        self.ledger.put(table::order_namespace(order.id), encode(&namespace));
        self.put_open_order(namespace, order, None);
        let body = LeafBody::OrderIssued {
            execution: order.id,
            attempt: order.attempt,
            fence: order.fence,
            mode: order.mode.clone(),
            expires_at: order.expires_at,
        };
        let detail = LeafDetail { actor_name: Some(name.into()), ..LeafDetail::default() };
        let actor = (name != EXECUTOR).then_some(order.issued_to);
        self.leaf(stamp, namespace, actor, Some(order.intent), body, &detail);
        Ok(())
    }

    fn order_begun(
        &mut self,
        stamp: Stamp,
        namespace: NamespaceId,
        order: &OrderRow,
    ) -> Result<(), Fault> {
        let head = query::expect_head(&self.ledger, namespace, order.intent)?;
        // It is this claim that dedup windows run from: what it does, it does from now on.
        self.change_phase(stamp, namespace, head, Phase::Claimed)?;
        let waited = query::order(&self.ledger, namespace, order.id)?;
        if waited.is_some() {
            self.ledger.delete(table::waiting_order(order.id));
        }
        self.put_open_order(namespace, order, waited.as_ref());
        let epoch = order.executor.map_or(LogIndex(0), |claim| claim.epoch);
        let (execution, expires_at) = (order.id, order.expires_at);
        let body = LeafBody::OrderBegun { execution, epoch, expires_at };
        let detail = LeafDetail { actor_name: Some(EXECUTOR.into()), ..LeafDetail::default() };
        self.leaf(stamp, namespace, None, Some(order.intent), body, &detail);
        Ok(())
    }

    /// An order without an outcome, in the list of who is to do something about it, and once on
    /// the schedule for its end.
    fn put_open_order(
        &mut self,
        namespace: NamespaceId,
        order: &OrderRow,
        before: Option<&OrderRow>,
    ) {
        self.put_order(namespace, order);
        if order.waits() {
            let waiting = encode(&(namespace, order.intent));
            self.ledger.put(table::waiting_order(order.id), waiting);
            self.effects.push(Effect::Runnable);
        } else if order.executor.is_some() {
            self.ledger.put(table::executor_claim(order.id), encode(&namespace));
            self.effects.push(Effect::Runnable);
        }
        let subject = order.id.0.to_be_bytes();
        if before.is_none_or(|before| before.expires_at != order.expires_at) {
            self.schedule.add(order.expires_at, namespace, DueKind::OrderEnd, &subject);
        }
    }

    fn reported(
        &mut self,
        stamp: Stamp,
        namespace: NamespaceId,
        event: &Event,
    ) -> Result<(), Fault> {
        let Event::Reported { order, phase, effect, by } = event else { return Ok(()) };
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
        Ok(())
    }

    fn given_back(
        &mut self,
        stamp: Stamp,
        namespace: NamespaceId,
        event: &Event,
    ) -> Result<(), Fault> {
        let Event::GivenBack { intent, execution, why } = event else { return Ok(()) };
        let mut head = query::expect_head(&self.ledger, namespace, *intent)?;
        let content = self.content(namespace, &head)?;
        head.attempts = head.attempts.saturating_sub(1);
        self.change_phase(stamp, namespace, head, Phase::Allowed)?;
        self.end_claim(namespace, *execution, OrderStatus::GivenBack)?;
        let why_digest = commitment(&content.salt, why.as_ref());
        let body = LeafBody::GivenBack { execution: *execution, why: why_digest };
        let detail = LeafDetail { reason: why.clone(), ..LeafDetail::default() };
        self.leaf(stamp, namespace, None, Some(*intent), body, &detail);
        Ok(())
    }

    fn resolved(
        &mut self,
        stamp: Stamp,
        namespace: NamespaceId,
        event: &Event,
    ) -> Result<(), Fault> {
        let Event::Resolved { intent, phase, effect, decided } = event else { return Ok(()) };
        let mut head = query::expect_head(&self.ledger, namespace, *intent)?;
        let content = self.content(namespace, &head)?;
        head.effect = *effect;
        head.decided = Some(decided.clone());
        self.tell(stamp, namespace, &head, *phase, &Told::by(decided))?;
        self.change_phase(stamp, namespace, head, *phase)?;
        let reason = commit_reason(&content.salt, decided.reason.as_ref());
        let body = LeafBody::Resolved { phase: *phase, effect: *effect, reason };
        self.leaf(stamp, namespace, decided.by, Some(*intent), body, &detail_of(decided));
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
            self.ledger.put(table::runnable(namespace, *intent), []);
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
        if order.waits() {
            self.ledger.delete(table::waiting_order(id));
        }
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
