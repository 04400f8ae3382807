//! Approvals: people release an intent that policy has held.
//!
//! Pure: time arrives in [`Stamp`], work for the outside leaves as [`Effect`].
//! Invariant: an intent is allowed only after enough distinct people said yes to exactly the
//! digest that stands, none of whom asked for it or answers for who did.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use bugs::Bug;
use policy::{ApprovalRule, Facts};
use types::{
    AgentId, AgentStatus, Digest, KeyId, NamespaceId, Outcome, Phase, Place, Reason, Role,
    RuleSource, Stamp,
};

use crate::command::{Approve, Envelope};
use crate::credential::{agent, principal_who};
use crate::event::Event;
use crate::guard;
use crate::judge::{judge_again, policy_in_force};
use crate::link_rows::{Factor, LINK_NAME};
use crate::query;
use crate::read::{Fault, Read};
use crate::reply::{Effect, Refusal, Reply};
use crate::rows::{AgentRow, ApprovalState, Decided, Decision, Head, Vote};
use crate::submit::approval_digest;
use crate::transition::{Stop, Transition};
use crate::{claim, expire, settings};

/// Records one approval. The last one needed allows the intent.
///
/// # Errors
/// The [`Refusal`] names the broken rule; the ledger stays as it was.
pub(crate) fn approve(
    ledger: &impl Read,
    stamp: Stamp,
    envelope: &Envelope,
    command: &Approve,
) -> Result<Transition, Stop> {
    let (person, key) =
        principal_who(ledger, envelope, stamp.time, Role::may_decide, "reviewer or admin")?;
    let voter = Voter { person, credential: key.id, factor: None };
    cast(ledger, stamp, envelope.namespace, &voter, command)
}

/// Somebody who may decide, and how the decision came.
pub(crate) struct Voter {
    pub(crate) person: AgentRow,
    pub(crate) credential: KeyId,
    pub(crate) factor: Option<Factor>,
}

impl Voter {
    /// The name that the decision is shown under.
    pub(crate) fn shown_name(&self) -> String {
        match self.factor {
            None => self.person.name.clone(),
            Some(Factor::Link) => LINK_NAME.into(),
        }
    }
}

/// Takes the yes of somebody who may decide, in the order of checks of existing clients.
pub(crate) fn cast(
    ledger: &impl Read,
    stamp: Stamp,
    namespace: NamespaceId,
    voter: &Voter,
    command: &Approve,
) -> Result<Transition, Stop> {
    let id = command.intent;
    let head = query::head(ledger, namespace, id)?.ok_or(Refusal::UnknownIntent { id })?;
    if head.phase == Phase::Allowed && stamp.time < head.expires_at {
        if let Some(digest) = command.digest {
            check_digest(&head, Some(digest))?;
        }
        let at = head.decided.as_ref().map_or(head.submitted_at, |decided| decided.at);
        return Ok(Transition::reply(Reply::Approved {
            intent: id,
            at,
            already: true,
            votes: None,
        }));
    }
    if !matches!(head.phase, Phase::Held | Phase::Allowed) {
        return Err(Refusal::NotHeld { id, phase: head.phase }.into());
    }
    guard::check(ledger, stamp.time, command.guard.as_ref())?;
    if stamp.time >= head.expires_at && !Bug::ApproveAfterExpiry.is_planted() {
        return Ok(expire::too_late(&head, stamp.time));
    }
    check_digest(&head, command.digest)?;
    if asked_for_it(ledger, namespace, &head, &voter.person, voter.credential)? {
        return Err(Refusal::SelfApproval { id }.into());
    }
    // Suspended ones may be resumed; what a revoked one asked for never runs.
    match claim::submitter_acts(ledger, namespace, &head) {
        Err(Stop::Refused(Refusal::SubmitterInactive { status, .. }))
            if status != AgentStatus::Revoked => {}
        acts => acts?,
    }
    if let Some(principal) = &command.on_behalf_of {
        return Err(Refusal::NoDelegation { principal: principal.clone() }.into());
    }
    if let Some(changed) =
        judged_by_changed_policy(ledger, stamp, namespace, &head, command.facts.as_ref())?
    {
        return Ok(changed);
    }
    let runs_by = settings::runs_by(ledger, namespace, &head)?;
    let mut done = vote(stamp, &head, voter, command.reason.clone(), runs_by);
    guard::use_up(command.guard.as_ref(), &mut done.events);
    Ok(done)
}

/// A decision names the digest that stands; without one it counts only while there has been one.
pub(crate) fn check_digest(head: &Head, named: Option<Digest>) -> Result<(), Refusal> {
    let (id, current) = (head.id, head.approval.digest);
    match named {
        Some(digest) if digest == current => Ok(()),
        Some(_) => Err(Refusal::DigestMismatch { id, current }),
        None if head.revision == 1 && head.approval.digests == 1 => Ok(()),
        None => Err(Refusal::DigestRequired { id, current }),
    }
}

/// The submitting agent, its owner, or anyone with the same credential.
pub(crate) fn asked_for_it(
    ledger: &impl Read,
    namespace: NamespaceId,
    head: &Head,
    person: &AgentRow,
    credential: KeyId,
) -> Result<bool, Fault> {
    if head.agent == person.id || head.credential == credential {
        return Ok(true);
    }
    let Some(submitter) = agent(ledger, namespace, head.agent)? else { return Ok(false) };
    Ok(same_person(Known::of(&submitter), Known::of(person)))
}

/// What is known of who somebody is.
#[derive(Clone, Copy)]
struct Known<'a> {
    id: AgentId,
    name: &'a str,
    owner: Option<&'a str>,
}

impl<'a> Known<'a> {
    fn of(agent: &'a AgentRow) -> Self {
        Self { id: agent.id, name: &agent.name, owner: agent.owner.as_deref() }
    }

    fn answers_for(self, other: Self) -> bool {
        other
            .owner
            .is_some_and(|owner| owner == self.name || owner == alloc::format!("{}", self.id))
    }
}

/// One person, as far as the rows can tell: the same principal, one that answers for the other by
/// id or name, or two for whom the same owner answers. Names are not unique; where they meet by
/// chance an approval is missing, never too much.
fn same_person(one: Known<'_>, other: Known<'_>) -> bool {
    one.id == other.id
        || one.answers_for(other)
        || other.answers_for(one)
        || (one.owner.is_some() && one.owner == other.owner)
}

/// When the rules that matched have changed, the intent is judged again before a vote counts.
pub(crate) fn judged_by_changed_policy(
    ledger: &impl Read,
    stamp: Stamp,
    namespace: NamespaceId,
    head: &Head,
    facts: Option<&Facts>,
) -> Result<Option<Transition>, Stop> {
    let policy = policy_in_force(ledger, namespace)?;
    let content = query::content(ledger, namespace, head.id, head.revision)?;
    let standing = &content.decision;
    let destination = settings::serving(ledger, namespace, &content.proposal.destination)?
        .map(|destination| destination.digest);
    let moved = destination != standing.destination;
    if policy.version == standing.policy_version && !moved {
        return Ok(blocked_by(head, standing));
    }
    let destinations = settings::destinations_version(ledger, namespace)?;
    let made_for_now = |facts: &&Facts| {
        facts.policy_version == policy.version && facts.destinations_version == destinations
    };
    let Some(facts) = facts.filter(made_for_now) else {
        return Ok(Some(Transition::reply(Reply::FactsNeeded { version: policy.version })));
    };
    // What a person approved, or is about to, was for the document that stood then.
    let asks_again = moved && (head.phase == Phase::Held || is_by_person(head));
    if facts.rules_digest == standing.rules_digest && !asks_again {
        return Ok(blocked_by(head, standing));
    }
    let mut judged = judge_again(head.agent, stamp.time, &policy, facts)?;
    let stricter =
        judged.outcome > standing.outcome || is_stricter(&judged.approvals, &head.approval.rule);
    if !stricter && !asks_again {
        return Ok(None);
    }
    if asks_again {
        judged.outcome = judged.outcome.max(Outcome::Hold);
        judged.reasons.push(destination_changed());
    }
    let decision = Decision {
        outcome: judged.outcome,
        reasons: judged.reasons,
        policy_version: policy.version,
        policy_digest: policy.digest,
        rules_digest: facts.rules_digest,
        at: stamp.time,
        destination,
    };
    let mut changed = head.clone();
    changed.approval = ApprovalState {
        rule: judged.approvals,
        votes: Vec::new(),
        digest: head.approval.digest,
        digests: head.approval.digests.saturating_add(1),
    };
    let digest = approval_digest(namespace, &changed, &content, &decision);
    changed.approval.digest = digest;
    Ok(Some(Transition {
        reply: Reply::PolicyChanged { intent: head.id, digest },
        events: alloc::vec![Event::PolicyChanged {
            intent: head.id,
            decision: Box::new(decision),
            approval: changed.approval,
        }],
        effects: alloc::vec![Effect::PhaseChanged(head.id)],
    }))
}

fn is_by_person(head: &Head) -> bool {
    head.decided.as_ref().is_some_and(|decided| decided.by.is_some())
}

fn destination_changed() -> Reason {
    Reason {
        source: RuleSource::System,
        rule: "destination_changed".into(),
        outcome: Outcome::Hold,
        message: "The destination's document changed since this was held: look again".into(),
        place: Place::default(),
        hits: Vec::new(),
        hits_total: 0,
    }
}

/// More people, or other groups, than before.
fn is_stricter(now: &ApprovalRule, before: &ApprovalRule) -> bool {
    now.count > before.count || (now.all_of != before.all_of && !now.all_of.is_empty())
}

/// A held intent that the policy in force blocks can be rejected, not approved.
fn blocked_by(head: &Head, standing: &Decision) -> Option<Transition> {
    (standing.outcome == Outcome::Block)
        .then(|| Transition::reply(Reply::Refused(Refusal::PolicyBlocks { id: head.id })))
}

fn vote(
    stamp: Stamp,
    head: &Head,
    voter: &Voter,
    reason: Option<String>,
    runs_by: Option<Digest>,
) -> Transition {
    let person = &voter.person;
    let mut votes = head.approval.votes.clone();
    let required = head.approval.rule.count.max(1);
    let voted = votes.iter().any(|vote| is_same_person(vote, person));
    if voted && !Bug::ApproverCountsTwice.is_planted() {
        return Transition::reply(recorded(head, &votes, required));
    }
    let cast = Vote {
        agent: person.id,
        name: person.name.clone(),
        credential: voter.credential,
        owner: person.owner.clone(),
        at: stamp.time,
        factor: voter.factor,
    };
    votes.push(cast.clone());
    let count = u32::try_from(votes.len()).unwrap_or(u32::MAX);
    let mut events = alloc::vec![Event::Approved {
        intent: head.id,
        vote: cast,
        digest: head.approval.digest,
        votes: count,
        required,
        reason: reason.clone(),
    }];
    if count < required {
        return Transition { reply: recorded(head, &votes, required), events, effects: Vec::new() };
    }
    events.push(Event::Allowed {
        intent: head.id,
        decided: Decided { at: stamp.time, by: Some(person.id), name: voter.shown_name(), reason },
        runs_by,
    });
    Transition {
        reply: Reply::Approved {
            intent: head.id,
            at: stamp.time,
            already: false,
            votes: Some(votes),
        },
        events,
        effects: alloc::vec![Effect::PhaseChanged(head.id)],
    }
}

pub(crate) fn is_same_person(vote: &Vote, person: &AgentRow) -> bool {
    let voter = Known { id: vote.agent, name: &vote.name, owner: vote.owner.as_deref() };
    same_person(voter, Known::of(person))
}

fn recorded(head: &Head, votes: &[Vote], required: u32) -> Reply {
    Reply::VoteRecorded {
        intent: head.id,
        votes: u32::try_from(votes.len()).unwrap_or(u32::MAX),
        required,
        voted_by: votes.iter().map(|vote| vote.shown_name().into()).collect(),
    }
}
