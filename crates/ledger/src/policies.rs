//! Policies: a whole set comes into force at once, under a new version.
//!
//! Invariant: a version's bytes, compiled form and digest never change; the same bytes make no
//! new version; open windows and held intents stay as they are.

use alloc::boxed::Box;

use types::Stamp;

use crate::agents::admin;
use crate::command::{ApplyPolicies, Envelope};
use crate::event::Event;
use crate::judge::policy_head;
use crate::read::Read;
use crate::reply::{Effect, Refusal, Reply};
use crate::rows::PolicyHead;
use crate::transition::{Stop, Transition};

/// Brings a set of policies into force.
///
/// # Errors
/// Refused unless an admin asks, and if another version is in force than the one named.
pub(crate) fn apply(
    ledger: &impl Read,
    stamp: Stamp,
    envelope: &Envelope,
    command: &ApplyPolicies,
) -> Result<Transition, Stop> {
    let by = admin(ledger, stamp, envelope)?;
    let current = policy_head(ledger, envelope.namespace)?;
    let version = current.as_ref().map_or(0, |head| head.version);
    if command.if_version.is_some_and(|wanted| wanted != version) {
        return Err(Refusal::VersionMismatch { current: version }.into());
    }
    let digest = command.compiled.digest;
    if current.is_some_and(|head| head.digest == digest) {
        return Ok(Transition::reply(Reply::Policies { version, digest, changed: false }));
    }
    let head = PolicyHead {
        version: version.saturating_add(1),
        digest,
        applied_at: stamp.time,
        by: by.id,
        origin: command.origin.clone(),
    };
    Ok(Transition {
        reply: Reply::Policies { version: head.version, digest, changed: true },
        events: alloc::vec![Event::PoliciesApplied {
            head,
            files: command.sources.clone(),
            compiled: Box::new(command.compiled.clone()),
        }],
        effects: alloc::vec![Effect::SettingsChanged],
    })
}
