//! Submits: an agent asks, policy judges, the ledger accepts, refuses a repeat, or blocks.
//!
//! Invariant: inside a dedup window, and under a bound `idempotency_key`, there is one accepted
//! intent, and every repeat is told which one.

use alloc::boxed::Box;
use alloc::format;
use alloc::vec::Vec;

use policy::ApprovalRule;
use types::codec::{decode, encode};
use types::{
    AgentId, Destination, Digest, LogTime, NamespaceId, Outcome, Phase, Place, Reason, RuleSource,
    Stamp,
};

use crate::command::{Envelope, Submit};
use crate::credential::principal_who;
use crate::event::{Event, RefusedBy};
use crate::judge::{Judged, judge, policy_in_force};
use crate::read::{Fault, Read};
use crate::reply::{Duplicate, Effect, Refusal, Reply};
use crate::rows::{
    AgentRow, ApprovalState, Content, Decided, Decision, Head, IdempotencyKeyRow, KeyRow,
};
use crate::transition::{Stop, Transition};
use crate::{query, settings, table};

/// Judges and accepts an intent.
///
/// # Errors
/// Refused for a key that may not submit; a block, a hold and a duplicate are replies.
pub(crate) fn submit(
    ledger: &impl Read,
    stamp: Stamp,
    envelope: &Envelope,
    command: &Submit,
) -> Result<Transition, Stop> {
    let namespace = envelope.namespace;
    if let Some(reply) = resent(ledger, namespace, command)? {
        return Ok(Transition::reply(reply));
    }
    let (agent, key) =
        principal_who(ledger, envelope, stamp.time, types::Role::may_submit, "agent or admin")?;
    let policy = policy_in_force(ledger, namespace)?;
    let destinations = settings::destinations_version(ledger, namespace)?;
    let made_for_now = command.facts.policy_version == policy.version
        && command.facts.destinations_version == destinations;
    if !made_for_now {
        return Ok(Transition::reply(Reply::FactsNeeded { version: policy.version }));
    }
    if command.facts.peer_uncovered {
        return Err(Refusal::NothingCovers.into());
    }
    if let Some(fault) = &command.facts.profile_fault {
        return Err(Refusal::Profile(fault.clone()).into());
    }
    let bound_key =
        command.proposal.idempotency_key.as_ref().map(|key| bound_key_digest(agent.id, key));
    if let Some(digest) = bound_key
        && let Some(done) = key_used(ledger, stamp, envelope, command, &agent, digest)?
    {
        return Ok(done);
    }
    let mut judged = judge(ledger, namespace, &agent, stamp.time, &policy, &command.facts)?;
    judged.reasons.splice(0..0, scope_reasons(&agent, command));
    if judged.reasons.iter().any(|reason| reason.outcome == Outcome::Block) {
        judged.outcome = Outcome::Block;
    }
    if judged.outcome == Outcome::Duplicate
        && let Some(done) = window_open(ledger, namespace, command, &agent, &judged)?
    {
        return Ok(done);
    }
    let serving = settings::serving(ledger, namespace, &command.proposal.destination)?;
    Ok(accepted(stamp, namespace, command, (&agent, &key), judged, bound_key, serving.as_deref()))
}

/// The first answer to the same request, or a call for another id.
fn resent(
    ledger: &impl Read,
    namespace: NamespaceId,
    command: &Submit,
) -> Result<Option<Reply>, Stop> {
    match query::head(ledger, namespace, command.intent)? {
        None => Ok(None),
        Some(head) if head.request_digest == command.request_digest => {
            Ok(Some(query::submitted(ledger, namespace, command.intent)?))
        }
        Some(_) => Ok(Some(Reply::IdTaken)),
    }
}

/// Under what a body's `idempotency_key` is bound: per agent.
fn bound_key_digest(agent: AgentId, key: &str) -> Digest {
    Digest::of_parts(&[b"idempotency_key", &agent.0.to_be_bytes(), key.as_bytes()])
}

fn key_used(
    ledger: &impl Read,
    stamp: Stamp,
    envelope: &Envelope,
    command: &Submit,
    agent: &AgentRow,
    digest: Digest,
) -> Result<Option<Transition>, Stop> {
    let namespace = envelope.namespace;
    let Some(bytes) = ledger.get(&table::idempotency_key(namespace, &digest))? else {
        return Ok(None);
    };
    let row: IdempotencyKeyRow = decode(&bytes, "idempotency key")?;
    if stamp.time >= row.bound_until {
        return Ok(None);
    }
    let first = query::expect_head(ledger, namespace, row.first)?;
    let key = command.proposal.idempotency_key.as_deref().unwrap_or_default();
    let duplicate = Duplicate {
        first: first.id,
        phase: first.phase,
        message: format!("Duplicate intent — idempotency_key already used: {key}"),
        gate: None,
        rule: "idempotency_key".into(),
        window_ends_at: Some(row.bound_until),
    };
    Ok(Some(refused(command, agent, duplicate, RefusedBy::Key { digest })))
}

fn window_open(
    ledger: &impl Read,
    namespace: NamespaceId,
    command: &Submit,
    agent: &AgentRow,
    judged: &Judged,
) -> Result<Option<Transition>, Stop> {
    let Some(of) = &judged.duplicate else { return Ok(None) };
    let first = query::expect_head(ledger, namespace, of.first)?;
    let message = judged.reasons.first().map(|reason| reason.message.clone()).unwrap_or_default();
    let duplicate = Duplicate {
        first: first.id,
        phase: first.phase,
        message,
        gate: Some(of.gate.clone()),
        rule: of.rule.clone(),
        window_ends_at: of.window_ends_at,
    };
    let by = RefusedBy::Window { gate: of.gate.clone(), fingerprint: of.fingerprint };
    Ok(Some(refused(command, agent, duplicate, by)))
}

fn refused(command: &Submit, agent: &AgentRow, duplicate: Duplicate, by: RefusedBy) -> Transition {
    let event = Event::DuplicateRefused {
        first: duplicate.first,
        agent: agent.id,
        name: agent.name.clone(),
        payload_commitment: command
            .proposal
            .payload_digest
            .map(|digest| command.salt.commit(&digest.0)),
        salt: command.salt,
        by,
    };
    Transition {
        reply: Reply::Duplicate(Box::new(duplicate)),
        events: alloc::vec![event],
        effects: Vec::new(),
    }
}

/// What the agent's own row forbids: a recorded block.
fn scope_reasons(agent: &AgentRow, command: &Submit) -> Vec<Reason> {
    let mut reasons = Vec::new();
    let mut block = |rule: &str, message: alloc::string::String| {
        reasons.push(Reason {
            source: RuleSource::System,
            rule: rule.into(),
            outcome: Outcome::Block,
            message,
            place: Place::default(),
            hits: Vec::new(),
            hits_total: 0,
        });
    };
    let destination = &command.proposal.destination;
    if !agent.allowed_destinations.is_empty() && !agent.allowed_destinations.contains(destination) {
        block(
            "destination_not_allowed",
            format!("Agent {} may not use destination '{destination}'", agent.name),
        );
    }
    if let Some(policy) = &command.proposal.policy
        && !agent.allowed_policies.is_empty()
        && !agent.allowed_policies.contains(policy)
    {
        block("policy_not_allowed", format!("Agent {} may not name policy '{policy}'", agent.name));
    }
    reasons
}

fn accepted(
    stamp: Stamp,
    namespace: NamespaceId,
    command: &Submit,
    (agent, key): (&AgentRow, &KeyRow),
    judged: Judged,
    bound_key: Option<Digest>,
    serving: Option<&Destination>,
) -> Transition {
    let phase = match judged.outcome {
        Outcome::Allow => Phase::Allowed,
        Outcome::Block => Phase::Blocked,
        Outcome::Hold | Outcome::Duplicate => Phase::Held,
    };
    let decision = Decision {
        outcome: judged.outcome,
        reasons: judged.reasons,
        policy_version: judged.policy_version,
        policy_digest: judged.policy_digest,
        rules_digest: command.facts.rules_digest,
        at: stamp.time,
        destination: serving.map(|destination| destination.digest),
    };
    let runs_by = serving
        .filter(|found| phase == Phase::Allowed && found.runs_on_approval())
        .map(|found| found.digest);
    let content = Content {
        proposal: command.proposal.clone(),
        salt: command.salt,
        risk: command.facts.risk.clone(),
        record_count: command.facts.record_count,
        environment: command.facts.environment.clone(),
        decision,
    };
    let has_windows = phase != Phase::Blocked && !judged.windows.is_empty();
    let first = first_head(stamp, command, (agent, key), phase, judged.approvals);
    let mut head = Head { runs_by, has_windows, ..first };
    head.approval.digest = approval_digest(namespace, &head, &content, &content.decision);
    let windows = if head.has_windows { judged.windows } else { Vec::new() };
    Transition {
        reply: Reply::Submitted(Box::new(head.clone()), Box::new(content.clone())),
        effects: alloc::vec![Effect::PhaseChanged(head.id)],
        events: alloc::vec![Event::Submitted {
            head: Box::new(head),
            content: Box::new(content),
            payload: command.payload.clone(),
            windows,
            bound_key,
        }],
    }
}

/// The head of a new intent, without windows and without a connector that runs it.
fn first_head(
    stamp: Stamp,
    command: &Submit,
    (agent, key): (&AgentRow, &KeyRow),
    phase: Phase,
    rule: ApprovalRule,
) -> Head {
    let was_allowed = phase == Phase::Allowed;
    Head {
        id: command.intent,
        revision: 1,
        agent: agent.id,
        credential: key.id,
        phase,
        submitted_at: stamp.time,
        expires_at: stamp.time.plus_ms(command.proposal.expires_in_ms),
        request_digest: command.request_digest,
        approval: ApprovalState { rule, votes: Vec::new(), digest: Digest([0; 32]), digests: 1 },
        decided: (phase != Phase::Held).then(|| by_policy(stamp.time)),
        effect: None,
        was_allowed,
        has_windows: false,
        first_leaf: 0,
        changed_index: stamp.index,
        changed_at: stamp.time,
        attempts: 0,
        execution: None,
        runs_by: None,
        link: None,
        allowed_at: was_allowed.then_some(stamp.time),
        number: 0,
    }
}

fn by_policy(at: LogTime) -> Decided {
    Decided { at, by: None, name: "system".into(), reason: None }
}

/// What people approve: payload, destination and its document, the rules that matched with the
/// set's version, the approval rule, the requester and the expiry. Any change of these is another
/// digest.
pub(crate) fn approval_digest(
    namespace: NamespaceId,
    head: &Head,
    content: &Content,
    decision: &Decision,
) -> Digest {
    let (proposal, rule) = (encode(&content.proposal), encode(&head.approval.rule));
    let numbers = [head.id.0.to_be_bytes(), decision.policy_version.to_be_bytes()];
    let (namespace, revision) = (namespace.0.to_be_bytes(), head.revision.to_be_bytes());
    let (agent, expires_at) = (head.agent.0.to_be_bytes(), head.expires_at.0.to_be_bytes());
    let mut parts: Vec<&[u8]> = alloc::vec![
        b"quorum-gate approval v1",
        &namespace,
        &numbers[0],
        &revision,
        &proposal,
        &decision.rules_digest.0,
        &numbers[1],
        &rule,
        &agent,
        &expires_at,
    ];
    if let Some(destination) = &decision.destination {
        parts.push(&destination.0);
    }
    Digest::of_parts(&parts)
}

/// Puts the sequence of the submit's leaf into the reply.
pub(crate) fn filled_in(reply: Reply, stamp: Stamp, last_leaf: Option<u64>) -> Reply {
    match (reply, last_leaf) {
        (Reply::Submitted(mut head, content), Some(sequence))
            if head.changed_index == stamp.index && head.first_leaf == 0 =>
        {
            head.first_leaf = sequence;
            Reply::Submitted(head, content)
        }
        (reply, _) => reply,
    }
}

/// A duplicate whose first intent has gone cannot be: windows and keys end before rows do.
pub(crate) fn missing(what: &str) -> Fault {
    Fault(format!("{what} is named by a row and does not exist"))
}
