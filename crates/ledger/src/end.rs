//! Ending an intent before it runs: one person's no, whatever the number of approvals it needs, or
//! the intent withdrawn, also by the agent that asked for it.
//!
//! Invariant: what has a claim or an order is not withdrawn; whichever comes first in the log
//! stands.

use alloc::string::String;

use types::{IntentId, NamespaceId, Phase, Role, Stamp};

use crate::approve::{Voter, check_digest};
use crate::command::{Cancel, Envelope, Reject};
use crate::credential::{principal, principal_who};
use crate::event::Event;
use crate::guard::{self, ReplayGuard};
use crate::read::Read;
use crate::reply::{Effect, Refusal, Reply};
use crate::rows::{Decided, Head};
use crate::transition::{Stop, Transition};
use crate::{expire, query};

/// Kept when the person who rejects gave no reason.
const REJECTED: &str = "Rejected by reviewer";
/// Kept when who withdraws a held intent gave no reason.
const CANCELLED: &str = "Approval request cancelled";
/// Kept when who withdraws an allowed intent gave no reason.
const WITHDRAWN: &str = "Withdrawn before it ran";

/// Rejects a held intent.
///
/// # Errors
/// The [`Refusal`] names the broken rule; the ledger stays as it was.
pub(crate) fn reject(
    ledger: &impl Read,
    stamp: Stamp,
    envelope: &Envelope,
    command: &Reject,
) -> Result<Transition, Stop> {
    let voter = decider(ledger, stamp, envelope)?;
    reject_as(ledger, stamp, envelope.namespace, &voter, command)
}

/// Takes the no of somebody who may decide.
pub(crate) fn reject_as(
    ledger: &impl Read,
    stamp: Stamp,
    namespace: NamespaceId,
    voter: &Voter,
    command: &Reject,
) -> Result<Transition, Stop> {
    let end = End {
        intent: command.intent,
        phase: Phase::Rejected,
        guard: command.guard.as_ref(),
        said: command.reason.as_ref(),
        otherwise: REJECTED,
    };
    let id = command.intent;
    let head = query::head(ledger, namespace, id)?.ok_or(Refusal::UnknownIntent { id })?;
    if head.phase != Phase::Held {
        return Err(Refusal::NotHeld { id, phase: head.phase }.into());
    }
    end.of(ledger, stamp, &head, voter, || check_digest(&head, command.digest))
}

/// Withdraws the question to people while an intent is held; or the intent itself, also while it is
/// allowed and not handed out, which its own agent may do too.
///
/// # Errors
/// Refused for others than reviewers and admins, and once the question has its answer, or the
/// intent is claimed or over.
pub(crate) fn cancel(
    ledger: &impl Read,
    stamp: Stamp,
    envelope: &Envelope,
    command: &Cancel,
) -> Result<Transition, Stop> {
    let (person, key) = principal(ledger, envelope, stamp.time)?;
    let id = command.intent;
    let head = query::head(ledger, envelope.namespace, id)?;
    let withdraws = command.withdraws == Some(true);
    let own = withdraws && head.as_ref().is_some_and(|head| head.agent == person.id);
    if !own && !person.role.may_decide() {
        let needed =
            if withdraws { "reviewer, admin or its own agent" } else { "reviewer or admin" };
        let needed = needed.into();
        return Err(Refusal::Role { role: person.role, needed }.into());
    }
    let head = head.ok_or(Refusal::UnknownIntent { id })?;
    let otherwise = match head.phase {
        Phase::Held => CANCELLED,
        Phase::Allowed if withdraws => WITHDRAWN,
        phase => return Err(Refusal::NotHeld { id, phase }.into()),
    };
    let end = End {
        intent: id,
        phase: Phase::Cancelled,
        guard: command.guard.as_ref(),
        said: command.reason.as_ref(),
        otherwise,
    };
    let voter = Voter { person, credential: key.id, factor: None };
    end.of(ledger, stamp, &head, &voter, || Ok(()))
}

/// Whoever sends a command, if that is a person who may decide.
fn decider(ledger: &impl Read, stamp: Stamp, envelope: &Envelope) -> Result<Voter, Stop> {
    let (person, key) =
        principal_who(ledger, envelope, stamp.time, Role::may_decide, "reviewer or admin")?;
    Ok(Voter { person, credential: key.id, factor: None })
}

/// An end by a person's word.
struct End<'c> {
    intent: IntentId,
    phase: Phase,
    guard: Option<&'c ReplayGuard>,
    said: Option<&'c String>,
    /// Kept when nothing was said.
    otherwise: &'static str,
}

impl End<'_> {
    fn of(
        self,
        ledger: &impl Read,
        stamp: Stamp,
        head: &Head,
        voter: &Voter,
        may: impl FnOnce() -> Result<(), Refusal>,
    ) -> Result<Transition, Stop> {
        let Self { intent: id, phase, guard, said, otherwise } = self;
        guard::check(ledger, stamp.time, guard)?;
        if stamp.time >= head.expires_at {
            return Ok(expire::too_late(head, stamp.time));
        }
        may()?;
        let kept = said.cloned().unwrap_or_else(|| otherwise.into());
        let decided = Decided {
            at: stamp.time,
            by: Some(voter.person.id),
            name: voter.shown_name(),
            reason: Some(kept),
        };
        let mut events = alloc::vec![Event::Ended { intent: id, phase, decided }];
        guard::use_up(guard, &mut events);
        Ok(Transition {
            reply: Reply::Ended { intent: id, phase, reason: said.cloned() },
            events,
            effects: alloc::vec![Effect::PhaseChanged(id)],
        })
    }
}
