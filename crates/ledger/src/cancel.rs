//! Cancelling: a reviewer withdraws the question while the intent is held.

use types::{Phase, Role, Stamp};

use crate::command::{Cancel, Envelope};
use crate::credential::principal_who;
use crate::event::Event;
use crate::read::Read;
use crate::reply::{Effect, Refusal, Reply};
use crate::rows::Decided;
use crate::transition::{Stop, Transition};
use crate::{expire, query};

/// The reason that is kept when the person gave none.
const NO_REASON: &str = "Approval request cancelled";

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
    let (person, _) =
        principal_who(ledger, envelope, stamp.time, Role::may_decide, "reviewer or admin")?;
    let id = command.intent;
    let head = query::head(ledger, envelope.namespace, id)?.ok_or(Refusal::UnknownIntent { id })?;
    if head.phase != Phase::Held {
        return Err(Refusal::NotHeld { id, phase: head.phase }.into());
    }
    if stamp.time >= head.expires_at {
        return Ok(expire::too_late(&head, stamp.time));
    }
    let reason = command.reason.clone().unwrap_or_else(|| NO_REASON.into());
    let decided =
        Decided { at: stamp.time, by: Some(person.id), name: person.name, reason: Some(reason) };
    Ok(Transition {
        reply: Reply::Ended { intent: id, phase: Phase::Cancelled, reason: command.reason.clone() },
        events: alloc::vec![Event::Ended { intent: id, phase: Phase::Cancelled, decided }],
        effects: alloc::vec![Effect::PhaseChanged(id)],
    })
}
