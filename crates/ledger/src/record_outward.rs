//! Recording what goes outward: documents in force, the executor's reign, what it leaves alone,
//! webhooks and how notifications went.

use types::codec::{decode, encode};
use types::limits::DELIVERY_KEPT_MS;
use types::{NamespaceId, Phase, Stamp};

use crate::audit::{LeafBody, LeafDetail};
use crate::event::Event;
use crate::query;
use crate::read::{Fault, Read};
use crate::record::Recorder;
use crate::reply::Effect;
use crate::rows::Head;
use crate::rows_outward::{DeliveryRow, DeliveryStatus, Receiver};
use crate::settings;
use crate::table::{self, DueKind, Meta};

impl<R: Read> Recorder<R> {
    pub(crate) fn record_outward(
        &mut self,
        stamp: Stamp,
        namespace: NamespaceId,
        event: &Event,
    ) -> Result<(), Fault> {
        let nothing = LeafDetail::default();
        match event {
            Event::DestinationsApplied { head, set } => {
                let version = head.version;
                let mut settings = settings::head(&self.ledger, namespace)?;
                settings.destinations = Some(*head);
                self.ledger.put(table::settings_head(namespace), encode(&settings));
                self.ledger.put(table::destinations(namespace, version), encode(set));
                let body = LeafBody::DestinationsApplied { version, digest: head.digest };
                self.leaf(stamp, namespace, Some(head.by), None, body, &nothing);
            }
            Event::ChannelsApplied { head, set } => {
                let version = head.version;
                let mut settings = settings::head(&self.ledger, namespace)?;
                settings.channels = Some(*head);
                self.ledger.put(table::settings_head(namespace), encode(&settings));
                self.ledger.put(table::channels(namespace, version), encode(set));
                let body = LeafBody::ChannelsApplied { version, digest: head.digest };
                self.leaf(stamp, namespace, Some(head.by), None, body, &nothing);
            }
            Event::ExecutorTookOver { row } => {
                self.ledger.put(table::meta(Meta::Executor), encode(row));
                let body = LeafBody::ExecutorTookOver { epoch: row.epoch, node: row.node };
                self.leaf(stamp, namespace, None, None, body, &nothing);
            }
            Event::LeftToPeople { intent } => {
                let mut head = query::expect_head(&self.ledger, namespace, *intent)?;
                self.ledger.delete(table::runnable(namespace, *intent));
                head.runs_by = None;
                let phase = head.phase;
                self.change_phase(stamp, namespace, head, phase)?;
                self.leaf(stamp, namespace, None, Some(*intent), LeafBody::LeftToPeople, &nothing);
            }
            Event::WebhookRegistered { intent, row, name } => {
                let head = query::expect_head(&self.ledger, namespace, *intent)?;
                let content = self.content(namespace, &head)?;
                self.ledger.put(table::webhook(namespace, *intent), encode(row));
                let url = content.salt.commit(row.url.as_bytes());
                let body = LeafBody::WebhookRegistered { webhook: row.id, url };
                let detail = LeafDetail { actor_name: Some(name.clone()), ..nothing };
                self.leaf(stamp, namespace, Some(row.by), Some(*intent), body, &detail);
            }
            Event::DeliveryReported { .. } => self.delivery_reported(stamp, namespace, event)?,
            _ => {}
        }
        Ok(())
    }

    fn delivery_reported(
        &mut self,
        stamp: Stamp,
        namespace: NamespaceId,
        event: &Event,
    ) -> Result<(), Fault> {
        let Event::DeliveryReported { was_due, row } = event else { return Ok(()) };
        let head = query::expect_head(&self.ledger, namespace, row.intent)?;
        let content = self.content(namespace, &head)?;
        self.ledger.delete(table::pending_delivery(*was_due, namespace, row.id));
        self.put_delivery(namespace, row);
        if row.status != DeliveryStatus::Pending {
            let kept_until = row.at.plus_ms(DELIVERY_KEPT_MS);
            let subject = row.id.0.to_be_bytes();
            self.schedule.add(kept_until, namespace, DueKind::DeliveryEnd, &subject);
        }
        let channel = match &row.to {
            Receiver::Channel(name) => Some(name.clone()),
            Receiver::Webhook(_) => None,
        };
        let error = row.error.as_ref();
        let body = LeafBody::DeliveryReported {
            delivery: row.id,
            channel,
            notice: row.notice,
            attempts: row.attempts,
            status: row.status,
            error: error.map(|error| content.salt.commit(error.as_bytes())),
        };
        let detail = LeafDetail { reason: error.cloned(), ..LeafDetail::default() };
        self.leaf(stamp, namespace, None, Some(row.intent), body, &detail);
        Ok(())
    }

    /// Takes a notification that is swept off its channel's list.
    pub(crate) fn unlist_delivery(
        &mut self,
        namespace: NamespaceId,
        key: &[u8],
    ) -> Result<(), Fault> {
        let Some(bytes) = self.ledger.get(key)? else { return Ok(()) };
        let row: DeliveryRow = decode(&bytes, "delivery")?;
        if let Receiver::Channel(name) = &row.to {
            self.ledger.delete(table::channel_delivery(namespace, name, row.id));
        }
        Ok(())
    }

    /// Keeps the executor's list: what a connector will run while it is allowed.
    pub(crate) fn list_runnable(&mut self, namespace: NamespaceId, head: &Head, phase: Phase) {
        let key = table::runnable(namespace, head.id);
        if phase == Phase::Allowed && head.runs_by.is_some() {
            self.ledger.put(key, []);
            self.effects.push(Effect::Runnable);
        } else if (head.phase == Phase::Allowed && head.runs_by.is_some())
            || head.phase == Phase::InDoubt
        {
            self.ledger.delete(key);
        }
    }
}
