//! Destinations and channels: whole sets of documents that come into force at once, each set under
//! a version of its own.
//!
//! Invariant: a version's documents never change; the same bytes make no new version. Secrets are
//! references in these documents and nothing else.

use alloc::sync::Arc;
use alloc::vec::Vec;

use types::codec::decode;
use types::limits::SETTINGS_MAX;
use types::{Destination, Digest, NamespaceId, Stamp, destination};

use crate::agents::admin;
use crate::command::{ApplyChannels, ApplyDestinations, Envelope};
use crate::event::Event;
use crate::read::{Fault, Read};
use crate::reply::{Effect, Refusal, Reply};
use crate::rows::Head;
use crate::rows_outward::{SetHead, SettingsHead};
use crate::transition::{Stop, Transition};
use crate::{query, table};

/// Brings a set of destinations into force.
///
/// # Errors
/// Refused unless an admin asks, and if another version is in force than the one named.
pub(crate) fn apply_destinations(
    ledger: &impl Read,
    stamp: Stamp,
    envelope: &Envelope,
    command: &ApplyDestinations,
) -> Result<Transition, Stop> {
    let documents = command.destinations.iter().map(|one| (one.name.as_str(), one.digest));
    let current = head(ledger, envelope.namespace)?.destinations;
    let next = match next(ledger, stamp, envelope, command.if_version, current, documents)? {
        Next::Same(done) => return Ok(done),
        Next::Version(head) => head,
    };
    let event = Event::DestinationsApplied { head: next, set: command.destinations.clone() };
    Ok(applied(next, event))
}

/// Brings a set of channels into force.
///
/// # Errors
/// Refused unless an admin asks, and if another version is in force than the one named.
pub(crate) fn apply_channels(
    ledger: &impl Read,
    stamp: Stamp,
    envelope: &Envelope,
    command: &ApplyChannels,
) -> Result<Transition, Stop> {
    let documents = command.channels.iter().map(|one| (one.name.as_str(), one.digest));
    let current = head(ledger, envelope.namespace)?.channels;
    let next = match next(ledger, stamp, envelope, command.if_version, current, documents)? {
        Next::Same(done) => return Ok(done),
        Next::Version(head) => head,
    };
    Ok(applied(next, Event::ChannelsApplied { head: next, set: command.channels.clone() }))
}

enum Next {
    /// The same bytes are in force.
    Same(Transition),
    /// They come into force under this head.
    Version(SetHead),
}

fn next<'d>(
    ledger: &impl Read,
    stamp: Stamp,
    envelope: &Envelope,
    if_version: Option<u64>,
    current: Option<SetHead>,
    documents: impl Iterator<Item = (&'d str, Digest)>,
) -> Result<Next, Stop> {
    let by = admin(ledger, stamp, envelope)?;
    let version = current.map_or(0, |head| head.version);
    if if_version.is_some_and(|wanted| wanted != version) {
        return Err(Refusal::VersionMismatch { current: version }.into());
    }
    let mut documents: Vec<(&str, Digest)> = documents.collect();
    if documents.len() > SETTINGS_MAX {
        return Err(Refusal::SettingsFull.into());
    }
    documents.sort_unstable();
    let parts: Vec<&[u8]> =
        documents.iter().flat_map(|(name, digest)| [name.as_bytes(), &digest.0]).collect();
    let digest = Digest::of_parts(&parts);
    if current.is_some_and(|head| head.digest == digest) {
        let reply = Reply::Policies { version, digest, changed: false };
        return Ok(Next::Same(Transition::reply(reply)));
    }
    let version = version.saturating_add(1);
    Ok(Next::Version(SetHead { version, digest, applied_at: stamp.time, by: by.id }))
}

fn applied(head: SetHead, event: Event) -> Transition {
    Transition {
        reply: Reply::Policies { version: head.version, digest: head.digest, changed: true },
        events: alloc::vec![event],
        effects: alloc::vec![Effect::SettingsChanged],
    }
}

/// The versions in force in a namespace.
pub(crate) fn head(
    ledger: &(impl Read + ?Sized),
    namespace: NamespaceId,
) -> Result<SettingsHead, Fault> {
    match ledger.get(&table::settings_head(namespace))? {
        Some(bytes) => Ok(decode(&bytes, "settings head")?),
        None => Ok(SettingsHead::default()),
    }
}

/// The version of the destinations in force; `None` before the first set.
pub(crate) fn destinations_version(
    ledger: &(impl Read + ?Sized),
    namespace: NamespaceId,
) -> Result<Option<u64>, Fault> {
    Ok(head(ledger, namespace)?.destinations.map(|head| head.version))
}

/// A destination of the set in force, kept in memory with its set.
#[derive(Debug, Clone)]
pub struct Serving {
    set: Arc<Vec<Destination>>,
    at: usize,
}

impl core::ops::Deref for Serving {
    type Target = Destination;

    fn deref(&self) -> &Destination {
        &self.set[self.at]
    }
}

/// The destination that serves a resource now.
pub(crate) fn serving(
    ledger: &(impl Read + ?Sized),
    namespace: NamespaceId,
    resource: &str,
) -> Result<Option<Serving>, Fault> {
    let Some(version) = destinations_version(ledger, namespace)? else { return Ok(None) };
    let set = ledger.destinations(namespace, version)?;
    Ok(destination::serving_at(&set, resource).map(|at| Serving { set, at }))
}

/// The document whose connector runs an intent as soon as it is allowed.
pub(crate) fn runs_by(
    ledger: &impl Read,
    namespace: NamespaceId,
    head: &Head,
) -> Result<Option<Digest>, Fault> {
    let content = query::content(ledger, namespace, head.id, head.revision)?;
    let serving = serving(ledger, namespace, &content.proposal.destination)?;
    Ok(serving.filter(|found| found.runs_on_approval()).map(|found| found.digest))
}
