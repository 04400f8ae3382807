//! Recording execution: orders, reports, doubt and how it was resolved.

use alloc::vec::Vec;

use types::codec::encode;
use types::{Digest, NamespaceId, Phase, Stamp};

use crate::audit::{LeafBody, LeafDetail};
use crate::event::Event;
use crate::query;
use crate::read::{Fault, Read};
use crate::record::{Recorder, commit_reason, detail_of};
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
                let actor = Some(order.issued_to);
                self.leaf(stamp, namespace, actor, Some(order.intent), body, &detail);
            }
            Event::Reported { order, phase, effect, by } => {
                let mut head = query::expect_head(&self.ledger, namespace, order.intent)?;
                let content = self.content(namespace, &head)?;
                head.effect = *effect;
                self.change_phase(stamp, namespace, head, *phase)?;
                self.put_order(namespace, order);
                let result = order.report.as_ref().and_then(|report| report.result.as_ref());
                let body = LeafBody::Reported {
                    execution: order.id,
                    phase: *phase,
                    effect: *effect,
                    result: commitment(&content.salt, result),
                };
                let detail = LeafDetail { reason: result.cloned(), ..LeafDetail::default() };
                self.leaf(stamp, namespace, *by, Some(order.intent), body, &detail);
            }
            Event::DoubtBegan { intent, execution } => {
                let head = query::expect_head(&self.ledger, namespace, *intent)?;
                self.change_phase(stamp, namespace, head, Phase::InDoubt)?;
                if let Some(mut order) = query::order(&self.ledger, namespace, *execution)? {
                    order.status = OrderStatus::Expired;
                    self.put_order(namespace, &order);
                }
                let body = LeafBody::DoubtBegan { execution: *execution };
                let detail = LeafDetail::default();
                self.leaf(stamp, namespace, None, Some(*intent), body, &detail);
            }
            Event::Resolved { intent, phase, effect, decided } => {
                let mut head = query::expect_head(&self.ledger, namespace, *intent)?;
                let content = self.content(namespace, &head)?;
                head.effect = *effect;
                head.decided = Some(decided.clone());
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

    fn put_order(&mut self, namespace: NamespaceId, order: &OrderRow) {
        self.ledger.put(table::order(namespace, order.id), encode(order));
    }
}

fn commitment(salt: &types::Salt, words: Option<&alloc::string::String>) -> Option<Digest> {
    words.map(|words| salt.commit(words.as_bytes()))
}
