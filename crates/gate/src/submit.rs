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
use types::limits::RECORDS_MAX;
use types::{Digest, IntentId, NamespaceId, PayloadKind, Proposal};

use crate::engines::InForce;
use crate::errors::GateError;
use crate::handle::{Answer, Caller, Gate};
use crate::ids::{random, salt};

/// How often facts are made again for one request before it is given up.
pub(crate) const TRIES_MAX: usize = 8;

/// A payload above this many bytes is scanned on a thread of its own, so that one large request
/// holds up no small ones.
const SCAN_INLINE_BYTES_MAX: usize = 64 * 1024;

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

/// What facts are made of, shared with the scanning thread.
struct Material {
    namespace: NamespaceId,
    proposal: Proposal,
    payload: Payload,
    metadata: Option<Value>,
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
        let mut proposal = request.proposal;
        proposal.payload_kind = request.payload.kind();
        proposal.payload_type = request.payload.payload_type();
        proposal.metadata = request.metadata.as_ref().map(policy::json::canonical);
        let payload = request.payload.canonical_bytes().map(Cow::into_owned);
        proposal.payload_digest = payload.as_deref().map(Digest::of);
        let large = payload.as_ref().is_some_and(|b| b.len() > SCAN_INLINE_BYTES_MAX);
        let material = Arc::new(Material {
            namespace: caller.namespace,
            proposal: proposal.clone(),
            payload: request.payload,
            metadata: request.metadata,
        });
        let in_force = self.engines.in_force(self.log.as_ref(), caller.namespace)?;
        let mut made_for = in_force.versions();
        let mut submit = Submit {
            intent: IntentId(self.ids.next()),
            request_digest: request_digest(caller, &proposal, random()),
            salt: salt(),
            proposal,
            payload,
            facts: make_facts(in_force, material.clone(), large).await?,
        };
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
                    request_key: request.request_key,
                    command: Command::Submit(Box::new(submit.clone())),
                })
                .await?;
            match answer.reply {
                Reply::IdTaken => submit.intent = IntentId(self.ids.next()),
                Reply::FactsNeeded { .. } => {
                    let in_force = self.engines.in_force(self.log.as_ref(), caller.namespace)?;
                    if in_force.versions() != made_for {
                        made_for = in_force.versions();
                        submit.facts = make_facts(in_force, material.clone(), large).await?;
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
        let large = payload.as_ref().is_some_and(|b| b.len() > SCAN_INLINE_BYTES_MAX);
        let material = Arc::new(restored(namespace, content, payload.as_deref()));
        Ok(Some(make_facts(in_force, material, large).await?))
    }
}

/// Says in the log which intent the running request is about. Spans of doors have a field
/// `intent` for it.
pub fn note_intent(intent: IntentId) {
    tracing::Span::current().record("intent", tracing::field::display(intent));
}

fn restored(namespace: NamespaceId, content: Content, payload: Option<&[u8]>) -> Material {
    let proposal = content.proposal;
    let payload = stored_payload(proposal.payload_kind, payload);
    let metadata = proposal.metadata.as_deref().and_then(|text| serde_json::from_str(text).ok());
    Material { namespace, proposal, payload, metadata }
}

/// A payload as it was taken in; erased or unreadable bytes are no payload, and count rules hold.
fn stored_payload(kind: PayloadKind, bytes: Option<&[u8]>) -> Payload {
    let text = || Some(String::from_utf8_lossy(bytes?).into_owned());
    let payload = match kind {
        PayloadKind::Absent => None,
        PayloadKind::Text => text().map(Payload::Text),
        PayloadKind::Reference => text().map(Payload::Reference),
        PayloadKind::Json => bytes.and_then(|b| policy::json::parse(b).ok()).map(Payload::Json),
    };
    payload.unwrap_or(Payload::Absent)
}

async fn make_facts(
    in_force: InForce,
    material: Arc<Material>,
    large: bool,
) -> Result<Facts, GateError> {
    let make = move || {
        in_force.facts(&Subject {
            namespace: material.namespace,
            proposal: &material.proposal,
            payload: &material.payload,
            metadata: material.metadata.as_ref(),
        })
    };
    if !large {
        return Ok(make());
    }
    tokio::task::spawn_blocking(make)
        .await
        .map_err(|error| ledger::Fault(format!("facts could not be made: {error}")).into())
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
