//! Freezes: from one log position on nothing that is covered is claimed, until people, or time,
//! end it.
//!
//! A claim before that position may not have been carried out yet. The executor that holds it says
//! which calls are on their way and starts none of the others: only then a freeze is *settled*, and
//! only then who asked for it gets the answer. Where no claim is open it is settled at once.
//! Invariant: no claim stands behind a freeze that covers it; where it is unclear whether one
//! covers an intent, it does.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bugs::Bug;
use types::codec::decode;
use types::limits::{APPROVALS_MAX, FREEZES_MAX};
use types::{AgentId, Freezable, FreezeId, FreezeScope, LogTime, NamespaceId, Role, Stamp};

use crate::approve::is_same_person;
use crate::claim;
use crate::command::Envelope;
use crate::command_freeze::{Freeze, SettleFreezes, Unfreeze};
use crate::credential::{agent, principal_who};
use crate::event::{Event, FreezeEnd};
use crate::execute::elsewhere;
use crate::judge::policy_in_force;
use crate::query;
use crate::read::{Direction, Fault, Read};
use crate::reply::{Effect, Refusal, Reply};
use crate::rows::{AgentRow, Content, Head, KeyRow, Vote};
use crate::rows_freeze::FreezeRow;
use crate::settings;
use crate::table::{self, Table};
use crate::transition::{Stop, Transition};

const PEOPLE: &str = "reviewer, operator or admin";
const EVERYWHERE: &str = "operator or admin of namespace default";

/// Begins a freeze.
///
/// # Errors
/// Refused for others than reviewers, operators and admins, for one of everything unless who runs
/// the cluster asks, for an agent that is not known, and beyond [`FREEZES_MAX`].
pub(crate) fn freeze(
    ledger: &impl Read,
    stamp: Stamp,
    envelope: &Envelope,
    command: &Freeze,
) -> Result<Transition, Stop> {
    let (person, _) = principal_who(ledger, envelope, stamp.time, Role::may_freeze, PEOPLE)?;
    let namespace = envelope.namespace;
    if command.scope == FreezeScope::All {
        runs_the_cluster(&person, namespace)?;
    }
    if let FreezeScope::Agent(id) = command.scope
        && agent(ledger, namespace, id)?.is_none()
    {
        return Err(Refusal::UnknownAgent { id }.into());
    }
    if command.until.is_some_and(|until| until <= stamp.time) {
        return Err(Refusal::FreezeOver.into());
    }
    let mut row = FreezeRow {
        id: id_at(stamp),
        namespace,
        scope: command.scope.clone(),
        reason: command.reason.clone(),
        by: person.id,
        name: person.name,
        since: stamp.time,
        index: stamp.index,
        until: command.until,
        persons: persons(ledger, namespace)?,
        votes: Vec::new(),
        settled_at: None,
        running: Vec::new(),
    };
    let standing = in_force(ledger, row.home())?;
    let same = |other: &FreezeRow| {
        (&other.scope, &other.reason, other.until, other.by)
            == (&row.scope, &row.reason, row.until, row.by)
    };
    // Asked for twice, also by a node that had no answer the first time.
    if let Some(first) = standing.iter().find(|other| same(other)) {
        return Ok(Transition::reply(Reply::Freeze(Box::new(first.clone()))));
    }
    if standing.len() >= FREEZES_MAX {
        return Err(Refusal::FreezesFull.into());
    }
    if !covers_an_open_claim(ledger, &row)? || Bug::FreezeAnsweredEarly.is_planted() {
        row.settled_at = Some(stamp.time);
    }
    Ok(Transition {
        reply: Reply::Freeze(Box::new(row.clone())),
        events: alloc::vec![Event::Frozen { row: Box::new(row), salt: command.salt }],
        effects: alloc::vec![Effect::FreezesChanged, Effect::Runnable],
    })
}

/// Ends a freeze, once enough people want that.
///
/// # Errors
/// Refused for others than may begin one, and where there is none.
pub(crate) fn unfreeze(
    ledger: &impl Read,
    stamp: Stamp,
    envelope: &Envelope,
    command: &Unfreeze,
) -> Result<Transition, Stop> {
    let (person, key) = principal_who(ledger, envelope, stamp.time, Role::may_freeze, PEOPLE)?;
    let id = command.freeze;
    let found = match find(ledger, envelope.namespace, id)? {
        Some(row) => Some(row),
        None => find(ledger, NamespaceId::CLUSTER, id)?,
    };
    let standing = found.filter(|row| row.stands(stamp.time));
    let mut row = standing.ok_or(Refusal::UnknownFreeze { id })?;
    if row.scope == FreezeScope::All {
        runs_the_cluster(&person, envelope.namespace)?;
    }
    let needed = row.persons.max(persons(ledger, row.namespace)?);
    let voted = row.votes.iter().any(|vote| is_same_person(vote, &person));
    let vote = vote(&person, &key, stamp.time);
    if voted && count(&row.votes) < needed {
        return Ok(Transition::reply(Reply::Unfreeze { row: Box::new(row), needed, ended: false }));
    }
    if !voted {
        row.votes.push(vote.clone());
    }
    let votes = count(&row.votes);
    let (reason, salt) = (command.reason.clone(), command.salt);
    let by = Box::new(FreezeEnd { vote, votes, needed, reason, salt });
    if votes < needed {
        return Ok(Transition {
            reply: Reply::Unfreeze { row: Box::new(row.clone()), needed, ended: false },
            events: alloc::vec![elsewhere(
                row.namespace,
                Event::UnfreezeVoted { row: Box::new(row.clone()), by }
            )],
            effects: Vec::new(),
        });
    }
    Ok(Transition {
        reply: Reply::Unfreeze { row: Box::new(row.clone()), needed, ended: true },
        events: alloc::vec![elsewhere(
            row.namespace,
            Event::Unfrozen { row: Box::new(row.clone()), by: Some(by) }
        )],
        effects: alloc::vec![Effect::FreezesChanged, Effect::Runnable],
    })
}

/// Its place in the log: nothing else ever has it, also once the row is gone. One entry holds far
/// fewer commands than so many bits count.
fn id_at(stamp: Stamp) -> FreezeId {
    const POSITION_BITS: u32 = 16;
    FreezeId((stamp.index.0 << POSITION_BITS) | u64::from(stamp.position))
}

fn vote(person: &AgentRow, key: &KeyRow, at: LogTime) -> Vote {
    Vote {
        agent: person.id,
        name: person.name.clone(),
        credential: key.id,
        owner: person.owner.clone(),
        at,
        factor: None,
    }
}

fn count(votes: &[Vote]) -> u32 {
    u32::try_from(votes.len()).unwrap_or(u32::MAX)
}

/// How many people it takes to end a freeze of a namespace, as its policies say.
fn persons(ledger: &impl Read, namespace: NamespaceId) -> Result<u32, Stop> {
    let policy = policy_in_force(ledger, namespace)?;
    Ok(policy.set.unfreeze_persons.unwrap_or(1).clamp(1, APPROVALS_MAX))
}

fn runs_the_cluster(person: &AgentRow, namespace: NamespaceId) -> Result<(), Refusal> {
    if namespace == NamespaceId::DEFAULT && person.role.may_operate() {
        return Ok(());
    }
    Err(Refusal::Role { role: person.role, needed: EVERYWHERE.into() })
}

/// The executor starts nothing any more that these freezes cover.
///
/// # Errors
/// Refused for an older epoch: what it knows of its calls says nothing of another's.
pub(crate) fn settle(
    ledger: &impl Read,
    stamp: Stamp,
    command: &SettleFreezes,
) -> Result<Transition, Stop> {
    claim::current(ledger, command.epoch)?;
    let mut events = Vec::new();
    for settled in &command.settled {
        let Some(mut row) = find(ledger, settled.home, settled.freeze)? else { continue };
        if row.settled_at.is_none() {
            row.settled_at = Some(stamp.time);
            row.running.clone_from(&settled.running);
            events.push(elsewhere(row.namespace, Event::FreezeSettled { row: Box::new(row) }));
        }
    }
    Ok(Transition { reply: Reply::Done, events, effects: alloc::vec![Effect::FreezesChanged] })
}

/// A freeze's time is over, if it still stands.
pub(crate) fn over(
    ledger: &impl Read,
    home: NamespaceId,
    id: FreezeId,
    now: LogTime,
    done: &mut Transition,
) -> Result<(), Fault> {
    let Some(row) = find(ledger, home, id)?.filter(|row| !row.stands(now)) else { return Ok(()) };
    let event = Event::Unfrozen { row: Box::new(row.clone()), by: None };
    done.events.push(elsewhere(row.namespace, event));
    done.effects.extend([Effect::FreezesChanged, Effect::Runnable]);
    Ok(())
}

/// Lets an intent be claimed only while no freeze covers it.
///
/// # Errors
/// Refused while one does.
pub(crate) fn not_frozen(
    ledger: &impl Read,
    now: LogTime,
    namespace: NamespaceId,
    head: &Head,
) -> Result<(), Stop> {
    match covering(ledger, now, namespace, head)? {
        Some(_) if Bug::FreezeIgnored.is_planted() => Ok(()),
        None => Ok(()),
        Some(freeze) => {
            let (id, reason) = (head.id, freeze.reason);
            Err(Refusal::Frozen { id, freeze: freeze.id, reason, until: freeze.until }.into())
        }
    }
}

/// A freeze that covers an intent now.
pub(crate) fn covering(
    ledger: &(impl Read + ?Sized),
    now: LogTime,
    namespace: NamespaceId,
    head: &Head,
) -> Result<Option<FreezeRow>, Fault> {
    let mut standing = in_force(ledger, NamespaceId::CLUSTER)?;
    standing.extend(in_force(ledger, namespace)?);
    standing.retain(|row| row.stands(now));
    first_covering(ledger, namespace, head, standing)
}

fn first_covering(
    ledger: &(impl Read + ?Sized),
    namespace: NamespaceId,
    head: &Head,
    standing: Vec<FreezeRow>,
) -> Result<Option<FreezeRow>, Fault> {
    if standing.is_empty() {
        return Ok(None);
    }
    let content = query::content(ledger, namespace, head.id, head.revision)?;
    let serving = settings::serving(ledger, namespace, &content.proposal.destination)?;
    let declared = serving.as_ref().and_then(|found| found.environment.as_deref());
    let name = serving.as_ref().map(|found| found.name.as_str());
    let intent = freezable(head.agent, &content, name, declared);
    Ok(standing.into_iter().find(|row| row.scope.covers(&intent)))
}

fn freezable<'a>(
    agent: AgentId,
    content: &'a Content,
    destination: Option<&'a str>,
    declared: Option<&'a str>,
) -> Freezable<'a> {
    Freezable {
        agent,
        resource: &content.proposal.destination,
        destination,
        environment: declared.or(content.environment.as_deref()),
    }
}

/// Whether one freeze covers an intent of a namespace.
pub(crate) fn covers(
    ledger: &(impl Read + ?Sized),
    row: &FreezeRow,
    namespace: NamespaceId,
    head: &Head,
) -> Result<bool, Fault> {
    if row.scope != FreezeScope::All && row.namespace != namespace {
        return Ok(false);
    }
    Ok(first_covering(ledger, namespace, head, alloc::vec![row.clone()])?.is_some())
}

/// Whether the executor holds a claim that the freeze covers: only then there is anything to
/// settle.
fn covers_an_open_claim(ledger: &impl Read, row: &FreezeRow) -> Result<bool, Fault> {
    for id in query::executor_claims(ledger, usize::MAX)? {
        let Some((namespace, order)) = query::find_order(ledger, id)? else { continue };
        let head = query::expect_head(ledger, namespace, order.intent)?;
        if covers(ledger, row, namespace, &head)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A freeze by its id.
pub(crate) fn find(
    ledger: &(impl Read + ?Sized),
    home: NamespaceId,
    id: FreezeId,
) -> Result<Option<FreezeRow>, Fault> {
    query::row(ledger, &table::freeze(home, id), |bytes| decode(bytes, "freeze"))
}

/// Every freeze whose rows a namespace holds, oldest first; also one whose time is over and that no
/// tick has ended yet.
pub(crate) fn in_force(
    ledger: &(impl Read + ?Sized),
    home: NamespaceId,
) -> Result<Vec<FreezeRow>, Fault> {
    let prefix = table::prefix(home, Table::Freezes);
    let (mut rows, mut broken) = (Vec::new(), None);
    ledger.scan(&prefix, &table::end_of(&prefix), Direction::Ascending, &mut |_, bytes| {
        match decode::<FreezeRow>(bytes, "freeze") {
            Ok(row) => rows.push(row),
            Err(error) => broken = Some(error),
        }
        query::go_on(broken.is_none())
    })?;
    broken.map_or(Ok(rows), |error| Err(error.into()))
}
