//! Notifications: who is told of what happens to intents, and how each telling went.
//!
//! A notification is a row that stays until a receiver took it or its attempts are used up, so a
//! restart loses none. It is sent at least once: its id is the same on every attempt.
//! Invariant: whether a receiver answers changes nothing about an intent.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use types::codec::decode;
use types::limits::{DELIVERY_ATTEMPTS_MAX, DELIVERY_KEPT_MS, SETTINGS_MAX};
use types::{DeliveryId, LogTime, NamespaceId, Notice, Phase, Stamp};

use crate::command::{Envelope, RegisterWebhook, ReportDelivery};
use crate::credential::principal;
use crate::event::Event;
use crate::query;
use crate::read::{Fault, Read};
use crate::record::Recorder;
use crate::reply::{Effect, Refusal, Reply};
use crate::rows::{Content, Decided, Head};
use crate::rows_outward::{DeliveryRow, DeliveryStatus, Receiver, WebhookRow};
use crate::transition::{Stop, Transition};
use crate::{settings, table};

/// Waits before each attempt, in milliseconds.
const WAITS_MS: [u64; DELIVERY_ATTEMPTS_MAX as usize] = [0, 5_000, 30_000, 120_000, 600_000];

/// Room for the receivers of one event in a notification's id: the webhook and every channel.
const RECEIVERS_BITS: u32 = 9;
const _: () = assert!(SETTINGS_MAX + 1 < 1 << RECEIVERS_BITS);

/// Registers who is told how an intent is decided; a second registration replaces the first.
///
/// # Errors
/// Refused for others than the intent's agent, reviewers and admins.
pub(crate) fn register_webhook(
    ledger: &impl Read,
    stamp: Stamp,
    envelope: &Envelope,
    command: &RegisterWebhook,
) -> Result<Transition, Stop> {
    let (namespace, id) = (envelope.namespace, command.intent);
    let (caller, _) = principal(ledger, envelope, stamp.time)?;
    let head = query::head(ledger, namespace, id)?.ok_or(Refusal::UnknownIntent { id })?;
    if head.agent != caller.id && !caller.role.may_decide() {
        return Err(Refusal::NotYours { id }.into());
    }
    let standing = query::webhook(ledger, namespace, id)?;
    let row = WebhookRow {
        id: standing.map_or(command.webhook, |row| row.id),
        url: command.url.clone(),
        secret_sealed: command.secret_sealed.clone(),
        by: caller.id,
        at: stamp.time,
    };
    Ok(Transition {
        reply: Reply::Webhook(row.id),
        events: alloc::vec![Event::WebhookRegistered { intent: id, row, name: caller.name }],
        effects: alloc::vec![],
    })
}

/// Takes how an attempt to deliver went. One that is reported twice counts once.
///
/// # Errors
/// Faults only.
pub(crate) fn report_delivery(
    ledger: &impl Read,
    stamp: Stamp,
    envelope: &Envelope,
    command: &ReportDelivery,
) -> Result<Transition, Stop> {
    let standing = query::delivery(ledger, envelope.namespace, command.delivery)?;
    let expected = |row: &DeliveryRow| {
        row.status == DeliveryStatus::Pending && row.attempts.saturating_add(1) == command.attempt
    };
    let Some(before) = standing.filter(expected) else {
        return Ok(Transition::reply(Reply::Done));
    };
    let mut row = before.clone();
    row.attempts = command.attempt;
    row.error.clone_from(&command.error);
    let wait = WAITS_MS.get(usize::try_from(command.attempt).unwrap_or(usize::MAX));
    (row.status, row.at) = match (&command.error, wait) {
        (None, _) => (DeliveryStatus::Delivered, stamp.time),
        (Some(_), Some(wait)) => (DeliveryStatus::Pending, stamp.time.plus_ms(*wait)),
        (Some(_), None) => (DeliveryStatus::Failed, stamp.time),
    };
    let event = Event::DeliveryReported { was_due: before.at, row: Box::new(row) };
    Ok(Transition { reply: Reply::Done, events: alloc::vec![event], effects: alloc::vec![] })
}

/// Who did it, and in which words.
pub(crate) struct Told<'t> {
    pub(crate) actor: &'t str,
    pub(crate) reason: Option<&'t String>,
}

impl<'t> Told<'t> {
    pub(crate) fn by(decided: &'t Decided) -> Self {
        Self { actor: &decided.name, reason: decided.reason.as_ref() }
    }

    /// Policy speaks through the message of its most severe rule.
    pub(crate) fn by_policy(content: &'t Content) -> Self {
        let reason = content.decision.reasons.first().map(|reason| &reason.message);
        Self { actor: "system", reason }
    }
}

impl<R: Read> Recorder<R> {
    /// Tells everybody who wants to know that an intent comes into a phase.
    pub(crate) fn tell(
        &mut self,
        stamp: Stamp,
        namespace: NamespaceId,
        head: &Head,
        phase: Phase,
        told: &Told<'_>,
    ) -> Result<(), Fault> {
        let Some(notice) = notice_of(phase) else { return Ok(()) };
        self.notify(stamp, namespace, head, notice, told)
    }

    /// Makes a notification for everybody who wants to be told.
    fn notify(
        &mut self,
        stamp: Stamp,
        namespace: NamespaceId,
        head: &Head,
        notice: Notice,
        told: &Told<'_>,
    ) -> Result<(), Fault> {
        let intent = head.id;
        let mut receivers = Vec::new();
        if matches!(notice, Notice::Approved | Notice::Rejected | Notice::Cancelled)
            && let Some(row) = query::webhook(&self.ledger, namespace, intent)?
        {
            receivers.push(Receiver::Webhook(row.id));
        }
        if let Some(set) = settings::head(&self.ledger, namespace)?.channels {
            let channels = self.ledger.channels(namespace, set.version)?;
            let resource = self.content(namespace, head)?.proposal.destination;
            let wanted = channels.iter().filter(|channel| channel.wants(notice, &resource));
            receivers.extend(wanted.map(|channel| Receiver::Channel(channel.name.clone())));
        }
        for to in receivers {
            let id = self.next_delivery();
            let row = DeliveryRow {
                id,
                to,
                intent,
                notice,
                fired_at: stamp.time,
                actor: told.actor.into(),
                reason: told.reason.cloned(),
                attempts: 0,
                status: DeliveryStatus::Pending,
                at: stamp.time,
                error: None,
            };
            if let Receiver::Channel(name) = &row.to {
                let listed = table::channel_delivery(namespace, name, id);
                self.ledger.put(listed, []);
            }
            self.put_delivery(namespace, &row);
            self.effects.push(Effect::DeliveryDue);
        }
        Ok(())
    }

    /// From the number of the event's leaf, so that no two are equal and later ones are larger.
    fn next_delivery(&mut self) -> DeliveryId {
        let leaf = self.next_leaf();
        let (of, made) = self.deliveries;
        let number = if of == leaf { made } else { 0 };
        self.deliveries = (leaf, number + 1);
        DeliveryId((leaf << RECEIVERS_BITS) | number)
    }

    pub(crate) fn put_delivery(&mut self, namespace: NamespaceId, row: &DeliveryRow) {
        let bytes = types::codec::encode(row);
        self.ledger.put(table::delivery(namespace, row.id), bytes);
        if row.status == DeliveryStatus::Pending {
            let pending = table::pending_delivery(row.at, namespace, row.id);
            self.ledger.put(pending, []);
        }
    }
}

/// What people are told when an intent comes into a phase.
pub(crate) fn notice_of(phase: Phase) -> Option<Notice> {
    match phase {
        Phase::Held => Some(Notice::Held),
        Phase::Allowed => Some(Notice::Approved),
        Phase::Rejected => Some(Notice::Rejected),
        Phase::Cancelled => Some(Notice::Cancelled),
        Phase::Expired => Some(Notice::Expired),
        Phase::Succeeded | Phase::Delivered => Some(Notice::Executed),
        Phase::Failed => Some(Notice::Failed),
        Phase::InDoubt => Some(Notice::InDoubt),
        Phase::Claimed | Phase::Blocked | Phase::Superseded => None,
    }
}

/// The keys of a notification that has served its time.
pub(crate) fn over(
    ledger: &impl Read,
    namespace: NamespaceId,
    id: DeliveryId,
    now: LogTime,
) -> Result<Option<Vec<u8>>, Fault> {
    let key = table::delivery(namespace, id);
    let Some(bytes) = ledger.get(&key)? else { return Ok(None) };
    let row: DeliveryRow = decode(&bytes, "delivery")?;
    let kept = row.at.plus_ms(DELIVERY_KEPT_MS);
    Ok((row.status != DeliveryStatus::Pending && now >= kept).then_some(key))
}
