//! Submitting and deciding: facts are made here, for the version in force, and made again when it
//! moved; ids that are taken are drawn again. The caller sees neither.

use bugs::Bug;
use ledger::{
    Approve, Cancel, Command, Content, Reject, ReplayGuard, Reply, RequestKey, encode_command,
    query,
};
use policy::{Facts, Payload};
use serde_json::Value;
use types::{Digest, IntentId, NamespaceId, PayloadKind, Proposal};

use crate::candidate::{Candidate, Material};
use crate::engines::InForce;
use crate::errors::GateError;
use crate::handle::{Answer, Caller, Gate, Queued};

/// How often facts are made again for one request before it is given up.
pub(crate) const TRIES_MAX: usize = 8;

/// An intent as a door has parsed it.
#[derive(Debug, Clone)]
pub struct SubmitRequest {
    /// The proposal; payload fields of it are filled in here.
    pub proposal: Proposal,
    /// The payload.
    pub payload: Payload,
    /// The metadata, parsed.
    pub metadata: Option<Value>,
    /// The `Idempotency-Key` header.
    pub request_key: Option<RequestKey>,
    /// How many bytes it came in: work in proportion to many of them is done beside.
    pub body_bytes: usize,
}

/// A submit after one try.
pub(crate) enum Turn<T> {
    /// It was judged, or nobody knows.
    Done(T),
    /// Another id is needed, or facts for other policies: it is to be made again and sent again.
    Again(Box<Candidate>),
}

/// A person's decision as a door has parsed it.
#[derive(Debug, Clone, Default)]
pub struct DecideRequest {
    /// What the person saw.
    pub digest: Option<Digest>,
    /// In the person's words.
    pub reason: Option<String>,
    /// Against replay.
    pub guard: Option<ReplayGuard>,
    /// The principal for whom the person says to decide.
    pub on_behalf_of: Option<String>,
    /// The `Idempotency-Key` header.
    pub request_key: Option<RequestKey>,
}

/// A candidate and its command's bytes, which take work in proportion to its payload.
fn encoded(candidate: Box<Candidate>) -> (Box<Candidate>, Vec<u8>) {
    let command = encode_command(candidate.envelope());
    (candidate, command)
}

impl Gate {
    /// Submits an intent.
    ///
    /// # Errors
    /// [`GateError`]; a block, a hold, a duplicate and a refusal are answers.
    pub async fn submit(
        &self,
        caller: &Caller,
        mut request: SubmitRequest,
    ) -> Result<Answer, GateError> {
        if Bug::RequestKeyDropped.is_planted() {
            request.request_key = None;
        }
        let in_force = self.engines.in_force(self.log.as_ref(), caller.namespace)?;
        let (id, from, bytes) = (IntentId(self.ids.next()), caller.clone(), request.body_bytes);
        let make = move || encoded(Candidate::new(id, &from, request, &in_force).into());
        let (mut candidate, mut command) = self.beside().run(bytes, make).await?;
        for _ in 0..TRIES_MAX {
            note_intent(candidate.intent());
            candidate.check()?;
            let queued = self.queue(candidate.envelope(), || command);
            let again = match self.turn(candidate, queued).await {
                Turn::Done(answer) => return answer,
                Turn::Again(again) => again,
            };
            let in_force = self.engines.in_force(self.log.as_ref(), caller.namespace)?;
            let again = move || encoded(again.made_again(&in_force));
            (candidate, command) = self.beside().run(bytes, again).await?;
        }
        candidate.end();
        Err(GateError::PolicyMoving)
    }

    /// What comes of one try.
    pub(crate) async fn turn(
        &self,
        mut candidate: Box<Candidate>,
        queued: Queued,
    ) -> Turn<Result<Answer, GateError>> {
        match self.answer(queued).await {
            Ok(Answer { reply: Reply::IdTaken, .. }) => {
                candidate.take_id(IntentId(self.ids.next()));
                Turn::Again(candidate)
            }
            Ok(Answer { reply: Reply::FactsNeeded { .. }, .. }) => Turn::Again(candidate),
            answer => {
                candidate.end();
                Turn::Done(answer)
            }
        }
    }

    /// Approves a held intent.
    ///
    /// # Errors
    /// [`GateError`]; refusals are answers.
    pub async fn approve(
        &self,
        caller: &Caller,
        intent: IntentId,
        request: DecideRequest,
    ) -> Result<Answer, GateError> {
        let mut facts = None;
        for _ in 0..TRIES_MAX {
            let command = Command::Approve(Box::new(Approve {
                intent,
                digest: request.digest,
                facts: facts.take(),
                reason: request.reason.clone(),
                guard: request.guard.clone(),
                on_behalf_of: request.on_behalf_of.clone(),
            }));
            let answer = self.command(caller, request.request_key, command).await?;
            match answer.reply {
                Reply::FactsNeeded { .. } => {
                    facts = self.facts_again(caller.namespace, intent).await?;
                }
                _ => return Ok(answer),
            }
        }
        Err(GateError::PolicyMoving)
    }

    /// Rejects a held intent.
    ///
    /// # Errors
    /// [`GateError`]; refusals are answers.
    pub async fn reject(
        &self,
        caller: &Caller,
        intent: IntentId,
        request: DecideRequest,
    ) -> Result<Answer, GateError> {
        let DecideRequest { digest, reason, guard, request_key, .. } = request;
        let command = Command::Reject(Reject { intent, digest, reason, guard });
        self.command(caller, request_key, command).await
    }

    /// Withdraws the question to people while an intent is held; with `withdraws` the intent, also
    /// while it is allowed and not handed out.
    ///
    /// # Errors
    /// [`GateError`]; refusals are answers.
    pub async fn cancel(
        &self,
        caller: &Caller,
        intent: IntentId,
        withdraws: bool,
        request: DecideRequest,
    ) -> Result<Answer, GateError> {
        let DecideRequest { reason, guard, request_key, .. } = request;
        let withdraws = withdraws.then_some(true);
        let command = Command::Cancel(Cancel { intent, reason, guard, withdraws });
        self.command(caller, request_key, command).await
    }

    /// Facts of a stored intent for the version in force; `None` if the intent is not known here.
    pub(crate) async fn facts_again(
        &self,
        namespace: NamespaceId,
        intent: IntentId,
    ) -> Result<Option<Facts>, GateError> {
        let (stored, _) = self.look(|state, _| {
            let Some(head) = query::head(state, namespace, intent)? else { return Ok(None) };
            Ok(Some(query::content_and_payload(state, namespace, intent, head.revision)?))
        })?;
        let Some((content, payload)) = stored else { return Ok(None) };
        let in_force = self.engines.in_force(self.log.as_ref(), namespace)?;
        let bytes = payload.as_ref().map_or(0, Vec::len);
        let make = move || restored(namespace, content, payload.as_deref(), &in_force);
        Ok(Some(self.beside().run(bytes, make).await?))
    }
}

/// Says in the log which intent the running request is about. Spans of doors have a field
/// `intent` for it.
pub fn note_intent(intent: IntentId) {
    tracing::Span::current().record("intent", tracing::field::display(intent));
}

/// Facts of what is stored.
fn restored(
    namespace: NamespaceId,
    content: Content,
    payload: Option<&[u8]>,
    in_force: &InForce,
) -> Facts {
    let proposal = content.proposal;
    let payload = stored_payload(proposal.payload_kind, payload);
    let metadata: Option<Value> =
        proposal.metadata.as_deref().and_then(|text| serde_json::from_str(text).ok());
    let metadata = metadata.as_ref();
    Material { namespace, proposal: &proposal, payload: &payload, metadata }.facts(in_force)
}

/// A payload as it was taken in; erased bytes are no payload, and count rules hold. What this build
/// does not read as JSON any more is text, which the rules then tell the fault of, and hold.
fn stored_payload(kind: PayloadKind, bytes: Option<&[u8]>) -> Payload {
    let Some(bytes) = bytes else { return Payload::Absent };
    let text = || String::from_utf8_lossy(bytes).into_owned();
    match kind {
        PayloadKind::Absent => Payload::Absent,
        PayloadKind::Text => Payload::Text(text()),
        PayloadKind::Reference => Payload::Reference(text()),
        PayloadKind::Json => match policy::json::parse(bytes) {
            Ok(value) => Payload::Json(value),
            Err(_) => Payload::Text(text()),
        },
    }
}

#[cfg(test)]
mod tests {
    use types::limits::JSON_KEY_BYTES_MAX;

    use super::*;

    /// Rules hold on a text that breaks a rule of the reader; on no payload at all some are silent.
    #[test]
    fn a_stored_payload_that_is_not_read_any_more_is_not_absent() {
        let stored = |kind, text: &str| stored_payload(kind, Some(text.as_bytes()));
        let long = format!("{{\"{}\":1}}", "k".repeat(JSON_KEY_BYTES_MAX + 1));
        assert_eq!(stored(PayloadKind::Json, &long), Payload::Text(long.clone()));
        assert_eq!(stored(PayloadKind::Json, "[1]"), Payload::Json(serde_json::json!([1])));
        assert_eq!(stored(PayloadKind::Text, "[1]"), Payload::Text("[1]".into()));
        assert_eq!(stored_payload(PayloadKind::Json, None), Payload::Absent);
    }
}
