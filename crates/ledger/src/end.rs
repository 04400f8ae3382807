//! Ending a held intent: one person's no, whatever the number of approvals it needs, or the
//! question itself withdrawn.

use alloc::string::String;

use types::{IntentId, NamespaceId, Phase, Role, Stamp};

use crate::approve::{Voter, check_digest};
use crate::command::{Cancel, Envelope, Reject};
use crate::credential::principal_who;
use crate::event::Event;
use crate::guard::{self, ReplayGuard};
use crate::read::Read;
use crate::reply::{Effect, Refusal, Reply};
use crate::rows::{Decided, Head};
use crate::transition::{Stop, Transition};
use crate::{expire, query};

/// Kept when the person who rejects gave no reason.
const REJECTED: &str = "Rejected by reviewer";
/// Kept when the person who withdraws the question gave no reason.
const CANCELLED: &str = "Approval request cancelled";

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
    end.of(ledger, stamp, namespace, voter, |head| check_digest(head, command.digest))
}

/// Withdraws a held intent.
///
/// # Errors
/// The [`Refusal`] names the broken rule; the ledger stays as it was.
pub(crate) fn cancel(
    ledger: &impl Read,
    stamp: Stamp,
    envelope: &Envelope,
    command: &Cancel,
) -> Result<Transition, Stop> {
    let end = End {
        intent: command.intent,
        phase: Phase::Cancelled,
        guard: command.guard.as_ref(),
        said: command.reason.as_ref(),
        otherwise: CANCELLED,
    };
    let voter = decider(ledger, stamp, envelope)?;
    end.of(ledger, stamp, envelope.namespace, &voter, |_| Ok(()))
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
        namespace: NamespaceId,
        voter: &Voter,
        may: impl FnOnce(&Head) -> Result<(), Refusal>,
    ) -> Result<Transition, Stop> {
        let Self { intent: id, phase, guard, said, otherwise } = self;
        let head = query::head(ledger, namespace, id)?.ok_or(Refusal::UnknownIntent { id })?;
        if head.phase != Phase::Held {
            return Err(Refusal::NotHeld { id, phase: head.phase }.into());
        }
        guard::check(ledger, stamp.time, guard)?;
        if stamp.time >= head.expires_at {
            return Ok(expire::too_late(&head, stamp.time));
        }
        may(&head)?;
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
