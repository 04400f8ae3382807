//! Execution orders: an allowed intent is handed to a worker, once, with a token and a fence.
//!
//! Invariant: the claim is committed before anybody may act on it. A token reports once; when its
//! time ends without a report the intent is in doubt, and only the token or a person ends that.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use types::codec::encode;
use types::limits::ORDER_MS;
use types::{Digest, Effect as Done, LogTime, NamespaceId, Phase, Role, Stamp};

use crate::approve::judged_by_changed_policy;
use crate::command::{Envelope, IssueOrder, ReportOrder, Resolve};
use crate::credential::principal;
use crate::event::Event;
use crate::read::{Fault, Read};
use crate::reply::{Effect, Refusal, Reply};
use crate::rows::{Decided, Head, OrderReport, OrderRow, OrderStatus};
use crate::rows_outward::ExecutorRow;
use crate::settings::{self, Serving};
use crate::transition::{Stop, Transition};
use crate::{claim, expire, freeze, query};

/// Hands an allowed intent out.
///
/// # Errors
/// Refused for others than the intent's agent and admins, unless the intent is allowed, and while
/// its agent is suspended or revoked.
pub(crate) fn issue_order(
    ledger: &impl Read,
    stamp: Stamp,
    envelope: &Envelope,
    command: &IssueOrder,
) -> Result<Transition, Stop> {
    let namespace = envelope.namespace;
    let id = command.intent;
    let (caller, _) = principal(ledger, envelope, stamp.time)?;
    let head = query::head(ledger, namespace, id)?.ok_or(Refusal::UnknownIntent { id })?;
    if head.agent != caller.id && caller.role != Role::Admin {
        return Err(Refusal::NotYours { id }.into());
    }
    let waits = matches!(head.phase, Phase::Held | Phase::Allowed);
    if waits && stamp.time >= head.expires_at {
        return Ok(expire::too_late(&head, stamp.time));
    }
    if head.phase == Phase::Expired {
        return Err(Refusal::Expired { id }.into());
    }
    if head.phase != Phase::Allowed {
        return Err(Refusal::NotAllowed { id, phase: head.phase }.into());
    }
    claim::submitter_acts(ledger, namespace, &head)?;
    freeze::not_frozen(ledger, stamp.time, namespace, &head)?;
    let facts = command.facts.as_ref();
    if let Some(changed) = judged_by_changed_policy(ledger, stamp, namespace, &head, facts)? {
        return Ok(changed);
    }
    if let Some(first) = query::window_holder(ledger, namespace, &head, stamp.time)? {
        return Err(Refusal::WindowHeld { id, first }.into());
    }
    if query::find_order(ledger, command.execution)?.is_some() {
        return Ok(Transition::reply(Reply::IdTaken));
    }
    let order = match connector(ledger, namespace, &head)? {
        Some((executor, destination)) => {
            let order = claim::order(stamp, &head, command.execution, executor.epoch, &destination);
            claim::waiting(order, stamp)
        }
        None => worker_order(stamp, command, &head, caller.id),
    };
    Ok(Transition {
        reply: Reply::Order(Box::new(order.clone())),
        events: alloc::vec![Event::OrderIssued { order: Box::new(order), name: caller.name }],
        effects: alloc::vec![Effect::PhaseChanged(id)],
    })
}

/// The executor and the destination, where a connector runs the intent.
fn connector(
    ledger: &impl Read,
    namespace: NamespaceId,
    head: &Head,
) -> Result<Option<(ExecutorRow, Serving)>, Stop> {
    let content = query::content(ledger, namespace, head.id, head.revision)?;
    let serving = settings::serving(ledger, namespace, &content.proposal.destination)?;
    match serving.filter(|destination| destination.has_connector()) {
        None => Ok(None),
        Some(destination) => {
            let executor = claim::executor(ledger)?.ok_or(Refusal::NoExecutor { id: head.id })?;
            Ok(Some((executor, destination)))
        }
    }
}

fn worker_order(
    stamp: Stamp,
    command: &IssueOrder,
    head: &Head,
    caller: types::AgentId,
) -> OrderRow {
    OrderRow {
        id: command.execution,
        intent: head.id,
        attempt: head.attempts.saturating_add(1),
        fence: stamp.index,
        mode: command.mode.clone(),
        token_hash: command.token_hash,
        token_sealed: command.token_sealed.clone(),
        issued_to: caller,
        issued_at: stamp.time,
        expires_at: stamp.time.plus_ms(ORDER_MS),
        status: OrderStatus::Scheduled,
        report: None,
        executor: None,
    }
}

/// Takes what a worker reports.
///
/// # Errors
/// Refused without the token or a key of the intent's agent or an admin, and for a second report
/// that says something else.
pub(crate) fn report(
    ledger: &impl Read,
    stamp: Stamp,
    envelope: &Envelope,
    command: &ReportOrder,
) -> Result<Transition, Stop> {
    let unknown = Refusal::UnknownExecution { id: command.execution };
    let (namespace, order) =
        query::find_order(ledger, command.execution)?.ok_or(unknown.clone())?;
    let head = query::expect_head(ledger, namespace, order.intent)?;
    let by = reporter(ledger, stamp, envelope, command, namespace, &order, &head)?;
    if order.executor.is_some() {
        return Err(Refusal::RunByGate { id: order.id }.into());
    }
    let digest = report_digest(command);
    if let Some(first) = &order.report {
        return if first.digest == digest {
            Ok(Transition::reply(Reply::Order(Box::new(order))))
        } else {
            Err(Refusal::AlreadyReported { id: order.id }.into())
        };
    }
    if !matches!(head.phase, Phase::Claimed | Phase::InDoubt) {
        return Err(Refusal::NotAllowed { id: head.id, phase: head.phase }.into());
    }
    let (status, phase, effect) = if command.succeeded {
        (OrderStatus::Succeeded, Phase::Succeeded, None)
    } else {
        // Silence about the effect is no proof that there was none.
        let effect = command.effect.unwrap_or(Done::Unknown);
        (OrderStatus::Failed, Phase::Failed, Some(effect))
    };
    let mut reported = order;
    reported.status = status;
    reported.report = Some(OrderReport {
        at: stamp.time,
        executed_at: command.executed_at,
        result: command.result.clone(),
        digest,
    });
    Ok(Transition {
        reply: Reply::Order(Box::new(reported.clone())),
        effects: alloc::vec![Effect::PhaseChanged(head.id)],
        events: alloc::vec![elsewhere(
            namespace,
            Event::Reported { order: Box::new(reported), phase, effect, by }
        )],
    })
}

/// Who reports: `None` for the token. Another namespace's order is unknown to a key.
fn reporter(
    ledger: &impl Read,
    stamp: Stamp,
    envelope: &Envelope,
    command: &ReportOrder,
    namespace: NamespaceId,
    order: &OrderRow,
    head: &Head,
) -> Result<Option<types::AgentId>, Stop> {
    if let Some(token) = command.token {
        let opens = token == order.token_hash && order.executor.is_none();
        return if opens { Ok(None) } else { Err(Refusal::InvalidKey.into()) };
    }
    let (caller, key) = principal(ledger, envelope, stamp.time)?;
    if key.namespace != namespace {
        return Err(Refusal::UnknownExecution { id: order.id }.into());
    }
    if caller.id == head.agent || caller.role == Role::Admin {
        Ok(Some(caller.id))
    } else {
        Err(Refusal::NotYours { id: head.id }.into())
    }
}

/// A person says how an intent in doubt ended.
///
/// # Errors
/// Refused for others than reviewers and admins, for the submitter, and unless it is in doubt.
pub(crate) fn resolve(
    ledger: &impl Read,
    stamp: Stamp,
    envelope: &Envelope,
    command: &Resolve,
) -> Result<Transition, Stop> {
    let id = command.intent;
    let (person, key) = crate::credential::principal_who(
        ledger,
        envelope,
        stamp.time,
        Role::may_decide,
        "reviewer or admin",
    )?;
    let head = query::head(ledger, envelope.namespace, id)?.ok_or(Refusal::UnknownIntent { id })?;
    if head.phase != Phase::InDoubt {
        return Err(Refusal::NotInDoubt { id, phase: head.phase }.into());
    }
    if crate::approve::asked_for_it(ledger, envelope.namespace, &head, &person, key.id)? {
        return Err(Refusal::SelfApproval { id }.into());
    }
    let (phase, effect) = if command.succeeded {
        (Phase::Succeeded, None)
    } else {
        (Phase::Failed, Some(command.effect.unwrap_or(Done::Unknown)))
    };
    let decided = Decided {
        at: stamp.time,
        by: Some(person.id),
        name: person.name,
        reason: Some(command.reason.clone()),
    };
    Ok(Transition {
        reply: Reply::Ended { intent: id, phase, reason: Some(command.reason.clone()) },
        events: alloc::vec![Event::Resolved { intent: id, phase, effect, decided }],
        effects: alloc::vec![Effect::PhaseChanged(id)],
    })
}

/// An order's time ended without a report. Where nobody was called there is no doubt. Gives how
/// many windows that touches.
pub(crate) fn order_over(
    ledger: &impl Read,
    namespace: NamespaceId,
    id: types::ids::ExecutionId,
    (was_due, now): (LogTime, LogTime),
    done: &mut Transition,
) -> Result<usize, Fault> {
    let Some(order) = query::order(ledger, namespace, id)? else { return Ok(0) };
    let head = query::expect_head(ledger, namespace, order.intent)?;
    let silent = order.report.is_none() && head.phase == Phase::Claimed;
    // One that waited was due at another time too, and is to end once.
    if !silent || head.execution != Some(id) || was_due != order.expires_at {
        return Ok(0);
    }
    if order.waits() {
        let why = "its destination took no further call in time";
        done.events.extend(claim::given_back(namespace, &head, &order, now, Some(why.into())));
    } else {
        done.events.push(claim::doubt(ledger, namespace, &order, None)?);
    }
    done.effects.push(Effect::PhaseChanged(head.id));
    query::windows_of(ledger, namespace, &head)
}

pub(crate) fn elsewhere(namespace: NamespaceId, event: Event) -> Event {
    Event::Elsewhere { namespace, event: Box::new(event) }
}

/// Two reports that say the same have the same digest.
fn report_digest(command: &ReportOrder) -> Digest {
    let said: (bool, Option<Done>, Option<u64>) =
        (command.succeeded, command.effect, command.executed_at);
    let result: &str = command.result.as_deref().unwrap_or_default();
    let words: Vec<u8> = encode(&said);
    Digest::of_parts(&[&words, String::from(result).as_bytes()])
}
