//! Time: a tick works off what is due, in order, a bounded number of rows at a time: of the
//! schedule, and of all that it touches.
//!
//! Every command compares log time with deadlines itself; the tick only makes what is over
//! visible, and sweeps rows that have served their time. A time-out never approves anything.

use alloc::vec::Vec;

use types::codec::decode;
use types::limits::{TICK_ROWS_MAX, TICK_WORK_MAX};
use types::{
    DeliveryId, Digest, ExecutionId, FreezeId, IntentId, LogTime, NamespaceId, Phase, Stamp,
};

use crate::event::Event;
use crate::read::{Direction, Fault, Read};
use crate::reply::{Effect, Refusal, Reply};
use crate::rows::{Decided, Head, IdempotencyKeyRow, ReplyRow, RequestKeyRow, WindowRow};
use crate::table::{self, DueKind};
use crate::transition::{Stop, Transition};
use crate::windows::is_open;
use crate::{deliveries, execute, freeze, query};

/// Works off what is due.
///
/// # Errors
/// Faults only.
pub(crate) fn tick(ledger: &impl Read, stamp: Stamp) -> Result<Transition, Stop> {
    let (from, to) = table::due_range(query::swept_to(ledger)?, stamp.time);
    let (mut due, mut subjects, mut more) = (Vec::new(), 0_usize, false);
    ledger.scan(&from, &to, Direction::Ascending, &mut |key, row| {
        more = subjects >= TICK_ROWS_MAX;
        if !more {
            subjects = subjects.saturating_add(count(key, row));
            due.push((key.to_vec(), row.to_vec()));
        }
        query::go_on(!more)
    })?;
    let mut done = Transition::reply(Reply::Done);
    let (mut work, mut last) = (0_usize, LogTime::default());
    for (key, row) in due {
        if work >= TICK_WORK_MAX {
            more = true;
            break;
        }
        last = table::parse_due(&key).map_or(last, |(at, ..)| at);
        more |= work_off(ledger, stamp.time, key, &row, (&mut work, &mut done))?;
    }
    done.reply = Reply::Ticked { more };
    let up_to = if more { last } else { stamp.time };
    done.events.push(Event::SweptTo { time: up_to });
    Ok(done)
}

/// How many subjects a row of the schedule names.
fn count(key: &[u8], row: &[u8]) -> usize {
    table::parse_due(key).map_or(1, |(.., kind)| row.len() / kind.subject_bytes())
}

/// Works one row off, until enough rows were touched, windows among them. Says whether something is
/// left of it.
fn work_off(
    ledger: &impl Read,
    now: LogTime,
    due: Vec<u8>,
    subjects: &[u8],
    (work, done): (&mut usize, &mut Transition),
) -> Result<bool, Fault> {
    let (at, namespace, kind) =
        table::parse_due(&due).ok_or_else(|| Fault("a due row without a known form".into()))?;
    let (mut left, mut rows) = (subjects, Vec::new());
    *work = work.saturating_add(1);
    while !left.is_empty() && *work < TICK_WORK_MAX {
        let (subject, rest) = left.split_at(kind.subject_bytes().min(left.len()));
        let (row, windows) = end_of(ledger, (at, now), namespace, (kind, subject), done)?;
        rows.extend(row);
        *work = work.saturating_add(1).saturating_add(windows);
        left = rest;
    }
    done.events.push(Event::Swept { due, rows, left: left.to_vec() });
    Ok(!left.is_empty())
}

/// What is due ends: gives the row that is to go, and how many windows that touches.
fn end_of(
    ledger: &impl Read,
    (at, now): (LogTime, LogTime),
    namespace: NamespaceId,
    (kind, subject): (DueKind, &[u8]),
    done: &mut Transition,
) -> Result<(Option<Vec<u8>>, usize), Fault> {
    let number = || table::last_u64(subject).unwrap_or_default();
    let row = match kind {
        DueKind::IntentExpiry => {
            let id = IntentId(number());
            return Ok((None, expire_intent(ledger, namespace, id, now, done)?));
        }
        DueKind::OrderEnd => {
            let id = ExecutionId(number());
            return Ok((None, execute::order_over(ledger, namespace, id, (at, now), done)?));
        }
        DueKind::FreezeEnd => {
            freeze::over(ledger, namespace, FreezeId(number()), now, done)?;
            None
        }
        DueKind::DeliveryEnd => deliveries::over(ledger, namespace, DeliveryId(number()), now)?,
        DueKind::WindowEnd => over(ledger, window_key(namespace, subject), |bytes| {
            Ok(!is_open(&decode::<WindowRow>(bytes, "window")?, now))
        })?,
        DueKind::Reply => over(ledger, reply_key(subject), |bytes| {
            Ok(now >= decode::<ReplyRow>(bytes, "kept reply")?.kept_until)
        })?,
        DueKind::RequestKey => {
            let key = table::request_key(namespace, &digest(subject));
            over(ledger, key, |bytes| {
                Ok(now >= decode::<RequestKeyRow>(bytes, "request key")?.kept_until)
            })?
        }
        DueKind::NonceEnd => over(ledger, table::used_nonce(&digest(subject)), |bytes| {
            Ok(now >= decode::<LogTime>(bytes, "used nonce")?)
        })?,
        DueKind::IdempotencyKey => {
            let key = table::idempotency_key(namespace, &digest(subject));
            over(ledger, key, |bytes| {
                Ok(now >= decode::<IdempotencyKeyRow>(bytes, "idempotency key")?.bound_until)
            })?
        }
    };
    Ok((row, 0))
}

/// The key, if its row stands and is over.
fn over(
    ledger: &impl Read,
    key: Vec<u8>,
    is_over: impl Fn(&[u8]) -> Result<bool, Fault>,
) -> Result<Option<Vec<u8>>, Fault> {
    match ledger.get(&key)? {
        Some(bytes) if is_over(&bytes)? => Ok(Some(key)),
        _ => Ok(None),
    }
}

fn digest(subject: &[u8]) -> Digest {
    Digest(subject.try_into().unwrap_or([0; 32]))
}

fn window_key(namespace: NamespaceId, subject: &[u8]) -> Vec<u8> {
    table::window(namespace, &digest(subject))
}

fn reply_key(subject: &[u8]) -> Vec<u8> {
    table::reply(&subject.try_into().unwrap_or([0; 16]))
}

fn expire_intent(
    ledger: &impl Read,
    namespace: NamespaceId,
    id: IntentId,
    now: LogTime,
    done: &mut Transition,
) -> Result<usize, Fault> {
    let Some(head) = query::head(ledger, namespace, id)? else { return Ok(0) };
    let waits = matches!(head.phase, Phase::Held | Phase::Allowed);
    if !waits || now < head.expires_at {
        return Ok(0);
    }
    done.events.push(expired(namespace, &head, now));
    done.effects.push(Effect::PhaseChanged(id));
    query::windows_of(ledger, namespace, &head)
}

/// A decision that came after the intent's time: recorded as expired, and refused.
pub(crate) fn too_late(head: &Head, now: LogTime) -> Transition {
    Transition {
        reply: Reply::Refused(Refusal::Expired { id: head.id }),
        events: alloc::vec![ended(head, now)],
        effects: alloc::vec![Effect::PhaseChanged(head.id)],
    }
}

/// An intent's time is over.
pub(crate) fn expired(namespace: NamespaceId, head: &Head, now: LogTime) -> Event {
    Event::Elsewhere { namespace, event: alloc::boxed::Box::new(ended(head, now)) }
}

fn ended(head: &Head, now: LogTime) -> Event {
    let decided = Decided { at: now, by: None, name: "system".into(), reason: None };
    Event::Ended { intent: head.id, phase: Phase::Expired, decided }
}
