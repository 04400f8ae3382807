//! The executor's claims: an intent is run by the gate itself, and the claim is committed before
//! anybody is called.
//!
//! Invariant: a claim is of one epoch, the reign of one executor. When another one begins, every
//! open claim of an older epoch is in doubt; it is run again only where its destination takes the
//! same call twice without harm, and only as the same document says. Once an attempt was in doubt
//! no later one proves that nothing happened: only success, or a person, ends the doubt.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use bugs::Bug;
use types::codec::decode;
use types::limits::{EXECUTOR_ATTEMPTS_MAX, ORDER_MS, TAKE_OVER_ROWS_MAX};
use types::{
    AgentStatus, Destination, Digest, Effect as Done, ExecutionId, LogIndex, LogTime, NamespaceId,
    Phase, Stamp,
};

use crate::approve::judged_by_changed_policy;
use crate::command::{AttemptEnd, Claim, Envelope, ReportAttempt, TakeOver};
use crate::credential::agent;
use crate::event::Event;
use crate::execute::elsewhere;
use crate::read::{Direction, Fault, Read};
use crate::reply::{Effect, Refusal, Reply};
use crate::rows::{ExecutorClaim, Head, OrderReport, OrderRow, OrderStatus};
use crate::rows_outward::ExecutorRow;
use crate::settings::serving;
use crate::table::{self, Meta, Table};
use crate::transition::{Stop, Transition};
use crate::{expire, freeze, query};

/// What the executor's orders are called.
pub(crate) const MODE: &str = "gate_exec";
/// The name under which it stands in trails.
pub(crate) const EXECUTOR: &str = "executor";

/// The executor that runs now, if one ever began.
pub(crate) fn executor(ledger: &(impl Read + ?Sized)) -> Result<Option<ExecutorRow>, Fault> {
    match ledger.get(&table::meta(Meta::Executor))? {
        Some(bytes) => Ok(Some(decode(&bytes, "executor")?)),
        None => Ok(None),
    }
}

/// Begins an epoch, or goes on with one whose predecessor left more claims than one command works
/// off. Nothing is claimed in an epoch before its last take-over.
///
/// # Errors
/// Refused if another executor began since.
pub(crate) fn take_over(
    ledger: &impl Read,
    stamp: Stamp,
    command: &TakeOver,
) -> Result<Transition, Stop> {
    let epoch = match command.epoch {
        None => stamp.index,
        Some(epoch) => {
            current(ledger, epoch)?;
            epoch
        }
    };
    let prefix = table::prefix(NamespaceId::CLUSTER, Table::ExecutorClaims);
    let mut open: Vec<ExecutionId> = Vec::new();
    ledger.scan(&prefix, &table::end_of(&prefix), Direction::Ascending, &mut |key, _| {
        open.push(ExecutionId(table::last_u64(key).unwrap_or_default()));
        query::go_on(open.len() <= TAKE_OVER_ROWS_MAX)
    })?;
    let many = open.len() > TAKE_OVER_ROWS_MAX;
    open.truncate(TAKE_OVER_ROWS_MAX);
    let mut older = false;
    let mut done = Transition::reply(Reply::Done);
    if command.epoch.is_none() {
        let row = ExecutorRow { epoch, node: command.node };
        done.events.push(Event::ExecutorTookOver { row });
    }
    for id in open {
        let Some((namespace, order)) = query::find_order(ledger, id)? else { continue };
        if order.executor.is_some_and(|claim| claim.epoch != epoch) {
            older = true;
            let why = "the executor that ran it ended before it said how it went";
            done.events.push(doubt(ledger, namespace, &order, Some(why.into()))?);
            done.effects.push(Effect::PhaseChanged(order.intent));
        }
    }
    // Orders that callers asked for and nobody has begun wait for whichever executor runs.
    done.reply = Reply::TookOver { epoch, more: many && older };
    Ok(done)
}

/// Claims an intent for the executor: the first time, or again where the promise allows it. With
/// the id of an order that somebody asked for and that waits, begins that order.
///
/// # Errors
/// Refused for an older epoch, unless the intent is to be run by a connector now, and while its
/// agent is suspended; where it is revoked the intent is left to people.
pub(crate) fn claim(
    ledger: &impl Read,
    stamp: Stamp,
    envelope: &Envelope,
    command: &Claim,
) -> Result<Transition, Stop> {
    let (namespace, id) = (envelope.namespace, command.intent);
    current(ledger, command.epoch)?;
    let head = query::head(ledger, namespace, id)?.ok_or(Refusal::UnknownIntent { id })?;
    if head.phase == Phase::Claimed && head.execution == Some(command.execution) {
        return begin(ledger, stamp, namespace, &head, command);
    }
    let again = head.phase == Phase::InDoubt;
    if !again && (head.phase != Phase::Allowed || head.runs_by.is_none()) {
        return Err(Refusal::NotAllowed { id, phase: head.phase }.into());
    }
    if stamp.time >= head.expires_at {
        return Ok(if again { not_run(&head) } else { expire::too_late(&head, stamp.time) });
    }
    if let Err(stop) = submitter_acts(ledger, namespace, &head) {
        return ended_if_revoked(stop, || not_run(&head));
    }
    freeze::not_frozen(ledger, stamp.time, namespace, &head)?;
    let content = query::content(ledger, namespace, id, head.revision)?;
    let destination = serving(ledger, namespace, &content.proposal.destination)?;
    let Some(destination) = destination.filter(|found| found.has_connector()) else {
        return Ok(not_run(&head));
    };
    if again {
        if !repeats(ledger, namespace, &head, &destination)? {
            return Ok(not_run(&head));
        }
    } else {
        let facts = command.facts.as_ref();
        if let Some(changed) = judged_by_changed_policy(ledger, stamp, namespace, &head, facts)? {
            return Ok(changed);
        }
        if query::window_holder(ledger, namespace, &head, stamp.time)?.is_some() {
            return Ok(not_run(&head));
        }
    }
    if query::find_order(ledger, command.execution)?.is_some() {
        return Ok(Transition::reply(Reply::IdTaken));
    }
    let order = order(stamp, &head, command.execution, command.epoch, &destination);
    Ok(Transition {
        reply: Reply::Claimed(Box::new(order.clone()), Box::new((*destination).clone())),
        events: alloc::vec![Event::OrderIssued { order: Box::new(order), name: EXECUTOR.into() }],
        effects: alloc::vec![Effect::PhaseChanged(id)],
    })
}

/// Begins an order that somebody asked for. It was judged when it was asked for, and is judged
/// again if policies have changed since; what may not begin is given back.
fn begin(
    ledger: &impl Read,
    stamp: Stamp,
    namespace: NamespaceId,
    head: &Head,
    command: &Claim,
) -> Result<Transition, Stop> {
    let not_now = Refusal::NotAllowed { id: head.id, phase: head.phase };
    let order = query::order(ledger, namespace, command.execution)?;
    let Some(order) = order.filter(OrderRow::waits) else { return Err(not_now.into()) };
    let back = |why: &str| given_back(namespace, head, &order, stamp.time, Some(String::from(why)));
    let ends = |events| Transition {
        reply: Reply::Refused(not_now.clone()),
        events,
        effects: alloc::vec![Effect::PhaseChanged(head.id)],
    };
    if stamp.time >= order.expires_at.min(head.expires_at) {
        return Ok(ends(back("its time ended before it was begun")));
    }
    if let Err(stop) = submitter_acts(ledger, namespace, head) {
        return ended_if_revoked(stop, || ends(back("the agent that asked for it was revoked")));
    }
    freeze::not_frozen(ledger, stamp.time, namespace, head)?;
    let facts = command.facts.as_ref();
    if let Some(mut changed) = judged_by_changed_policy(ledger, stamp, namespace, head, facts)? {
        if !changed.events.is_empty() {
            changed.events.splice(0..0, back("policies changed before anybody was called"));
        }
        return Ok(changed);
    }
    let content = query::content(ledger, namespace, head.id, head.revision)?;
    let asked_for = order.executor.map(|claim| claim.destination);
    let destination = serving(ledger, namespace, &content.proposal.destination)?
        .filter(|found| Some(found.digest) == asked_for);
    let Some(destination) = destination else {
        return Ok(ends(back("the destination's document changed before anybody was called")));
    };
    let (epoch, digest) = (command.epoch, destination.digest);
    let begun = OrderRow {
        expires_at: stamp.time.plus_ms(ORDER_MS),
        executor: Some(ExecutorClaim { epoch, destination: digest, waits_since: None }),
        ..order
    };
    Ok(Transition {
        reply: Reply::Claimed(Box::new(begun.clone()), Box::new((*destination).clone())),
        events: alloc::vec![Event::OrderBegun { order: Box::new(begun) }],
        effects: alloc::vec![Effect::PhaseChanged(head.id)],
    })
}

/// Lets an intent go on only while who asked for it may act: what a suspended agent asked for waits
/// until it is resumed.
///
/// # Errors
/// Refused while its agent is suspended or revoked.
pub(crate) fn submitter_acts(
    ledger: &impl Read,
    namespace: NamespaceId,
    head: &Head,
) -> Result<(), Stop> {
    let agent = agent(ledger, namespace, head.agent)?;
    match agent.map_or(AgentStatus::Revoked, |agent| agent.status) {
        AgentStatus::Active => Ok(()),
        status => Err(Refusal::SubmitterInactive { id: head.id, status }.into()),
    }
}

/// Revoked is for ever, so the executor need not look at it again.
fn ended_if_revoked(stop: Stop, ended: impl FnOnce() -> Transition) -> Result<Transition, Stop> {
    match stop {
        Stop::Refused(
            refusal @ Refusal::SubmitterInactive { status: AgentStatus::Revoked, .. },
        ) => Ok(Transition { reply: Reply::Refused(refusal), ..ended() }),
        stop => Err(stop),
    }
}

/// Nobody was called: the intent is allowed as before, or has expired meanwhile.
pub(crate) fn given_back(
    namespace: NamespaceId,
    head: &Head,
    order: &OrderRow,
    now: LogTime,
    why: Option<String>,
) -> Vec<Event> {
    let event = Event::GivenBack { intent: order.intent, execution: order.id, why };
    let mut events = alloc::vec![elsewhere(namespace, event)];
    if now >= head.expires_at {
        // Its row of the schedule is gone: nothing else would end it.
        events.push(expire::expired(namespace, head, now));
    }
    events
}

/// An order of the executor's that it has not begun.
pub(crate) fn waiting(order: OrderRow, stamp: Stamp) -> OrderRow {
    let waits_since = Some(stamp.time);
    let executor = order.executor.map(|claim| ExecutorClaim { waits_since, ..claim });
    OrderRow { executor, ..order }
}

/// An order that the executor runs itself: no token opens it.
pub(crate) fn order(
    stamp: Stamp,
    head: &Head,
    id: ExecutionId,
    epoch: LogIndex,
    destination: &Destination,
) -> OrderRow {
    OrderRow {
        id,
        intent: head.id,
        attempt: head.attempts.saturating_add(1),
        fence: if Bug::FenceReused.is_planted() { epoch } else { stamp.index },
        mode: MODE.into(),
        token_hash: Digest([0; 32]),
        token_sealed: Vec::new(),
        issued_to: head.agent,
        issued_at: stamp.time,
        expires_at: stamp.time.plus_ms(ORDER_MS),
        status: OrderStatus::Scheduled,
        report: None,
        executor: Some(ExecutorClaim { epoch, destination: destination.digest, waits_since: None }),
    }
}

/// Takes what the executor says of an attempt, also of one that is in doubt by now. That a later
/// attempt did nothing, or not all, ends no doubt about an earlier one.
///
/// # Errors
/// Refused for orders that the executor does not run, and once the attempt has an outcome.
pub(crate) fn report_attempt(
    ledger: &impl Read,
    stamp: Stamp,
    command: &ReportAttempt,
) -> Result<Transition, Stop> {
    let unknown = Refusal::UnknownExecution { id: command.execution };
    let (namespace, order) = query::find_order(ledger, command.execution)?.ok_or(unknown)?;
    if order.executor.is_none() || order.report.is_some() {
        return Err(Refusal::AlreadyReported { id: order.id }.into());
    }
    let head = query::expect_head(ledger, namespace, order.intent)?;
    let runs = matches!(head.phase, Phase::Claimed | Phase::InDoubt) && !order.waits();
    if !runs || head.execution != Some(order.id) {
        return Err(Refusal::NotAllowed { id: head.id, phase: head.phase }.into());
    }
    let effects = alloc::vec![Effect::PhaseChanged(head.id)];
    let (status, phase, effect) = match command.ended {
        AttemptEnd::Succeeded => (OrderStatus::Succeeded, Phase::Succeeded, None),
        AttemptEnd::Failed(effect) if effect == Done::Unknown || !order.follows_a_doubt() => {
            (OrderStatus::Failed, Phase::Failed, Some(effect))
        }
        AttemptEnd::NotStarted if head.phase == Phase::Claimed && !order.follows_a_doubt() => {
            let reply = Reply::Order(Box::new(order.clone()));
            let why = command.why.clone();
            let events = given_back(namespace, &head, &order, stamp.time, why);
            return Ok(Transition { reply, events, effects });
        }
        // An earlier attempt may have done something, whatever became of this one.
        _ if head.phase == Phase::InDoubt => {
            return Ok(Transition::reply(Reply::Order(Box::new(order))));
        }
        AttemptEnd::Failed(_) | AttemptEnd::InDoubt | AttemptEnd::NotStarted => {
            let reply = Reply::Order(Box::new(order.clone()));
            let events = alloc::vec![doubt(ledger, namespace, &order, command.why.clone())?];
            return Ok(Transition { reply, events, effects });
        }
    };
    let mut reported = order;
    reported.status = status;
    reported.report = Some(OrderReport {
        at: stamp.time,
        executed_at: None,
        result: command.result.clone(),
        digest: Digest::of_parts(&[command.result.as_deref().unwrap_or_default().as_bytes()]),
    });
    let reply = Reply::Order(Box::new(reported.clone()));
    let order = Box::new(reported);
    let event = Event::Reported { order, phase, effect, by: None };
    Ok(Transition { reply, events: alloc::vec![elsewhere(namespace, event)], effects })
}

/// An attempt of which nobody knows how it ended.
pub(crate) fn doubt(
    ledger: &impl Read,
    namespace: NamespaceId,
    order: &OrderRow,
    why: Option<String>,
) -> Result<Event, Fault> {
    let head = query::expect_head(ledger, namespace, order.intent)?;
    let repeats = match order.executor {
        Some(_) => {
            let content = query::content(ledger, namespace, head.id, head.revision)?;
            match serving(ledger, namespace, &content.proposal.destination)? {
                Some(destination) => repeats(ledger, namespace, &head, &destination)?,
                None => false,
            }
        }
        None => false,
    };
    let event = Event::DoubtBegan { intent: order.intent, execution: order.id, why, repeats };
    Ok(elsewhere(namespace, event))
}

/// The same document still serves the intent, it takes the same call twice, and this was not the
/// last attempt.
fn repeats(
    ledger: &impl Read,
    namespace: NamespaceId,
    head: &Head,
    destination: &Destination,
) -> Result<bool, Fault> {
    let Some(execution) = head.execution else { return Ok(false) };
    let last = query::order(ledger, namespace, execution)?.and_then(|order| order.executor);
    Ok(last.is_some_and(|claim| claim.destination == destination.digest)
        && (destination.may_repeat() || Bug::DoubtTriedAgain.is_planted())
        && head.attempts < EXECUTOR_ATTEMPTS_MAX)
}

/// The executor leaves the intent alone from now on.
fn not_run(head: &Head) -> Transition {
    Transition {
        reply: Reply::Refused(Refusal::NotAllowed { id: head.id, phase: head.phase }),
        events: alloc::vec![Event::LeftToPeople { intent: head.id }],
        effects: alloc::vec![Effect::PhaseChanged(head.id)],
    }
}

pub(crate) fn current(ledger: &impl Read, epoch: LogIndex) -> Result<(), Stop> {
    match executor(ledger)? {
        Some(row) if row.epoch == epoch => Ok(()),
        _ => Err(Refusal::EpochOver.into()),
    }
}
