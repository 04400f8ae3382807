//! Submitting and deciding: facts are made here, for the version in force, and made again when it
//! moved; ids that are taken are drawn again. The caller sees neither.

use std::borrow::Cow;
use std::sync::Arc;

use ledger::{
    Approve, Cancel, Command, Content, Envelope, Reject, ReplayGuard, Reply, RequestKey, Submit,
    query,
};
use policy::{Facts, Payload, Subject};
use serde_json::Value;
use types::codec::encode;
use types::limits::{INLINE_BYTES_MAX, RECORDS_MAX};
use types::{Digest, IntentId, NamespaceId, PayloadKind, Proposal};

use crate::engines::InForce;
use crate::errors::GateError;
use crate::handle::{Answer, Caller, Gate};
use crate::ids::{random, salt};

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

/// What facts are made of, shared with the thread that makes them.
struct Material {
    namespace: NamespaceId,
    proposal: Proposal,
    payload: Payload,
    metadata: Option<Value>,
}

impl Material {
    fn facts(&self, in_force: &InForce) -> Facts {
        in_force.facts(&Subject {
            namespace: self.namespace,
            proposal: &self.proposal,
            payload: &self.payload,
            metadata: self.metadata.as_ref(),
        })
    }
}

/// What a request's bytes have to say, worked out once.
struct Prepared {
    material: Arc<Material>,
    /// The payload's canonical bytes.
    payload: Option<Vec<u8>>,
    facts: Facts,
}

/// What making the facts of a submit again takes.
struct Trial {
    material: Arc<Material>,
    /// Versions that the facts at hand are for.
    made_for: (u64, Option<u64>),
    bytes: usize,
}

impl Gate {
    /// Submits an intent.
    ///
    /// # Errors
    /// [`GateError`]; a block, a hold, a duplicate and a refusal are answers.
    pub async fn submit(
        &self,
        caller: &Caller,
        request: SubmitRequest,
    ) -> Result<Answer, GateError> {
        let in_force = self.engines.in_force(self.log.as_ref(), caller.namespace)?;
        let (namespace, bytes) = (caller.namespace, request.body_bytes);
        let (made_for, request_key) = (in_force.versions(), request.request_key);
        let prepare = move || prepared(namespace, request, &in_force);
        let Prepared { material, payload, facts } = self.beside().run(bytes, prepare).await?;
        let proposal = material.proposal.clone();
        let submit = Submit {
            intent: IntentId(self.ids.next()),
            request_digest: request_digest(caller, &proposal, random()),
            salt: salt(),
            proposal,
            payload,
            facts,
        };
        let trial = Trial { material: material.clone(), made_for, bytes };
        let answer = self.submit_until_judged(caller, submit, trial, request_key).await;
        if bytes > INLINE_BYTES_MAX {
            // Taking many values apart takes its time too; nobody waits for it.
            drop(tokio::task::spawn_blocking(move || drop(material)));
        }
        answer
    }

    /// Sends a submit again with another id, or with facts for the policies that are in force by
    /// then, until it is judged.
    async fn submit_until_judged(
        &self,
        caller: &Caller,
        mut submit: Submit,
        mut trial: Trial,
        request_key: Option<RequestKey>,
    ) -> Result<Answer, GateError> {
        for _ in 0..TRIES_MAX {
            note_intent(submit.intent);
            if submit.facts.record_count.is_some_and(|count| count > RECORDS_MAX) {
                return Err(GateError::TooManyRecords);
            }
            let answer = self
                .send(Envelope {
                    request: random(),
                    credential: Some(caller.key),
                    namespace: caller.namespace,
                    request_key,
                    command: Command::Submit(Box::new(submit.clone())),
                })
                .await?;
            match answer.reply {
                Reply::IdTaken => submit.intent = IntentId(self.ids.next()),
                Reply::FactsNeeded { .. } => {
                    let in_force = self.engines.in_force(self.log.as_ref(), caller.namespace)?;
                    if in_force.versions() != trial.made_for {
                        trial.made_for = in_force.versions();
                        let material = trial.material.clone();
                        let make = move || material.facts(&in_force);
                        submit.facts = self.beside().run(trial.bytes, make).await?;
                    }
                }
                _ => return Ok(answer),
            }
        }
        Err(GateError::PolicyMoving)
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
            let content = query::content(state, namespace, intent, head.revision)?;
            let payload = query::payload(state, namespace, intent, head.revision)?;
            Ok(Some((content, payload)))
        })?;
        let Some((content, payload)) = stored else { return Ok(None) };
        let in_force = self.engines.in_force(self.log.as_ref(), namespace)?;
        let bytes = payload.as_ref().map_or(0, Vec::len);
        let make = move || restored(namespace, content, payload.as_deref()).facts(&in_force);
        Ok(Some(self.beside().run(bytes, make).await?))
    }
}

/// Says in the log which intent the running request is about. Spans of doors have a field
/// `intent` for it.
pub fn note_intent(intent: IntentId) {
    tracing::Span::current().record("intent", tracing::field::display(intent));
}

fn prepared(namespace: NamespaceId, request: SubmitRequest, in_force: &InForce) -> Prepared {
    let SubmitRequest { mut proposal, payload, metadata, .. } = request;
    let bytes = payload.canonical_bytes().map(Cow::into_owned);
    proposal.payload_kind = payload.kind();
    proposal.payload_type = payload.payload_type();
    proposal.payload_digest = bytes.as_deref().map(Digest::of);
    proposal.metadata = metadata.as_ref().map(policy::json::canonical);
    let material = Arc::new(Material { namespace, proposal, payload, metadata });
    let facts = material.facts(in_force);
    Prepared { material, payload: bytes, facts }
}

fn restored(namespace: NamespaceId, content: Content, payload: Option<&[u8]>) -> Material {
    let proposal = content.proposal;
    let payload = stored_payload(proposal.payload_kind, payload);
    let metadata = proposal.metadata.as_deref().and_then(|text| serde_json::from_str(text).ok());
    Material { namespace, proposal, payload, metadata }
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

/// Tells a re-send inside the cluster from another request that drew the same id.
fn request_digest(caller: &Caller, proposal: &Proposal, drawn: [u8; 16]) -> Digest {
    Digest::of_parts(&[
        b"request",
        &caller.key.0.to_be_bytes(),
        &caller.namespace.0.to_be_bytes(),
        &encode(proposal),
        &drawn,
    ])
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
