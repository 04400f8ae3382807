//! Approval links: a reviewer's decision on one intent, carried by a token that serves once.
//!
//! The decision is the reviewer's own: it counts once beside a vote under the reviewer's key, and
//! whoever asked for the intent decides it through a link no more than without one. Invariant: a
//! link is used up by the first decision that is admitted, and by no other; it is worth nothing
//! once the key that asked for it has ended.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use minicbor::{Decode, Encode};
use policy::Facts;
use types::{Digest, IntentId, Phase, Role, Stamp};

use crate::approve::{Voter, asked_for_it, cast};
use crate::command::{Approve, Envelope, Reject};
use crate::credential::principal_who;
use crate::event::Event;
use crate::guard::ReplayGuard;
use crate::link_rows::{Factor, LinkRow};
use crate::query_links::link_reviewer;
use crate::read::Read;
use crate::reply::{Refusal, Reply};
use crate::transition::{Stop, Transition};
use crate::{end, expire, query};

/// See [`crate::Command::IssueLink`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct IssueLink {
    /// Which intent.
    #[n(0)]
    pub intent: IntentId,
    /// SHA-256 of the token, if a new one is needed.
    #[n(1)]
    pub token_hash: Digest,
    /// The token, sealed with the data key of the nodes.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub token_sealed: Vec<u8>,
}

/// See [`crate::Command::DecideByLink`].
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct DecideByLink {
    /// SHA-256 of the link's token.
    #[n(0)]
    pub token: Digest,
    /// Yes or no.
    #[n(1)]
    pub approves: bool,
    /// What the person saw.
    #[n(2)]
    pub digest: Option<Digest>,
    /// Facts for the version in force, if it is not the one the intent was judged by.
    #[n(3)]
    pub facts: Option<Facts>,
    /// In the person's words.
    #[n(4)]
    pub reason: Option<String>,
    /// Against replay.
    #[n(5)]
    pub guard: Option<ReplayGuard>,
}

/// Gives a reviewer the one live link to an intent; asking again gives the same.
///
/// # Errors
/// Refused for others than reviewers, for who asked, and unless the intent is held.
pub(crate) fn issue(
    ledger: &impl Read,
    stamp: Stamp,
    envelope: &Envelope,
    command: &IssueLink,
) -> Result<Transition, Stop> {
    let namespace = envelope.namespace;
    let (person, key) =
        principal_who(ledger, envelope, stamp.time, Role::may_decide, "reviewer or admin")?;
    let id = command.intent;
    let head = query::head(ledger, namespace, id)?.ok_or(Refusal::UnknownIntent { id })?;
    if head.phase != Phase::Held {
        return Err(Refusal::NotHeld { id, phase: head.phase }.into());
    }
    if stamp.time >= head.expires_at {
        return Ok(expire::too_late(&head, stamp.time));
    }
    if asked_for_it(ledger, namespace, &head, &person, key.id)? {
        return Err(Refusal::SelfApproval { id }.into());
    }
    if let Some(issued) = query::link_of(ledger, namespace, id, person.id)?
        && link_reviewer(ledger, &issued, stamp.time)?.is_ok()
    {
        return Ok(Transition::reply(Reply::Link(Box::new(issued))));
    }
    let row = LinkRow {
        token_hash: command.token_hash,
        token_sealed: command.token_sealed.clone(),
        namespace,
        intent: id,
        reviewer: person.id,
        credential: key.id,
        issued_at: stamp.time,
        expires_at: head.expires_at,
        used_at: None,
    };
    Ok(Transition {
        reply: Reply::Link(Box::new(row.clone())),
        events: alloc::vec![Event::LinkIssued { row: Box::new(row), name: person.name }],
        effects: Vec::new(),
    })
}

/// Takes a decision under a link's token.
///
/// # Errors
/// Refused for a link that is unknown, used or over, for one whose reviewer may not decide any
/// more or whose key has ended, and for all that a decision under a key is refused for.
pub(crate) fn decide(
    ledger: &impl Read,
    stamp: Stamp,
    envelope: &Envelope,
    command: &DecideByLink,
) -> Result<Transition, Stop> {
    let row = query::link(ledger, &command.token)?
        .filter(|row| row.namespace == envelope.namespace)
        .ok_or(Refusal::UnknownLink)?;
    let voter = Voter {
        person: link_reviewer(ledger, &row, stamp.time)??,
        credential: row.credential,
        factor: Some(Factor::Link),
    };
    let (intent, digest) = (row.intent, command.digest);
    let (reason, guard) = (command.reason.clone(), command.guard.clone());
    let mut done = if command.approves {
        let facts = command.facts.clone();
        let approve = Approve { intent, digest, facts, reason, guard, on_behalf_of: None };
        cast(ledger, stamp, row.namespace, &voter, &approve)?
    } else {
        let reject = Reject { intent, digest, reason, guard };
        end::reject_as(ledger, stamp, row.namespace, &voter, &reject)?
    };
    let admitted = matches!(
        done.reply,
        Reply::VoteRecorded { .. } | Reply::Approved { already: false, .. } | Reply::Ended { .. }
    );
    if admitted {
        let rejected = matches!(done.reply, Reply::Ended { .. });
        let row = Box::new(LinkRow { used_at: Some(stamp.time), ..row });
        done.events.insert(0, Event::LinkUsed { row, rejected });
    }
    Ok(done)
}
