//! A submit on its way to judgement: its command, and what its facts are made of.
//!
//! Making one, and its facts again, is work in proportion to what was sent.
//! Invariant: each time it is sent it is another request to the log, so no old reply is its own.

use std::borrow::Cow;

use ledger::{Command, Envelope, Submit};
use policy::{Facts, Payload, Subject};
use serde_json::Value;
use types::codec::encode;
use types::limits::{INLINE_BYTES_MAX, RECORDS_MAX};
use types::{Digest, IntentId, NamespaceId, Proposal};

use crate::engines::InForce;
use crate::errors::GateError;
use crate::handle::Caller;
use crate::ids::{random, salt};
use crate::submit::SubmitRequest;

/// What facts are made of.
pub(crate) struct Material<'a> {
    pub(crate) namespace: NamespaceId,
    pub(crate) proposal: &'a Proposal,
    pub(crate) payload: &'a Payload,
    pub(crate) metadata: Option<&'a Value>,
}

impl Material<'_> {
    pub(crate) fn facts(&self, in_force: &InForce) -> Facts {
        in_force.facts(&Subject {
            namespace: self.namespace,
            proposal: self.proposal,
            payload: self.payload,
            metadata: self.metadata,
        })
    }
}

/// A submit that is not judged yet.
pub(crate) struct Candidate {
    envelope: Envelope,
    payload: Payload,
    metadata: Option<Value>,
    /// Versions that the facts at hand are for.
    made_for: (u64, Option<u64>),
    /// How many bytes it came in.
    bytes: usize,
}

impl Candidate {
    /// Makes the command, with facts for what is in force.
    pub(crate) fn new(
        intent: IntentId,
        caller: &Caller,
        request: SubmitRequest,
        in_force: &InForce,
    ) -> Self {
        let SubmitRequest { mut proposal, payload, metadata, request_key, body_bytes } = request;
        let namespace = caller.namespace;
        let bytes = payload.canonical_bytes().map(Cow::into_owned);
        proposal.payload_kind = payload.kind();
        proposal.payload_type = payload.payload_type();
        proposal.payload_digest = bytes.as_deref().map(Digest::of);
        proposal.metadata = metadata.as_ref().map(policy::json::canonical);
        let material = Material {
            namespace,
            proposal: &proposal,
            payload: &payload,
            metadata: metadata.as_ref(),
        };
        let facts = material.facts(in_force);
        let request_digest = request_digest(caller, &proposal, random());
        let submit =
            Submit { intent, request_digest, salt: salt(), proposal, payload: bytes, facts };
        let envelope = Envelope {
            request: random(),
            credential: Some(caller.key),
            namespace,
            request_key,
            command: Command::Submit(Box::new(submit)),
        };
        Self { envelope, payload, metadata, made_for: in_force.versions(), bytes: body_bytes }
    }

    /// The command as the log takes it.
    pub(crate) fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// The intent that it will be.
    pub(crate) fn intent(&self) -> IntentId {
        self.submit().intent
    }

    /// Refuses what no intent may have.
    ///
    /// # Errors
    /// [`GateError::TooManyRecords`].
    pub(crate) fn check(&self) -> Result<(), GateError> {
        let count = self.submit().facts.record_count;
        if count.is_some_and(|count| count > RECORDS_MAX) {
            return Err(GateError::TooManyRecords);
        }
        Ok(())
    }

    /// Gets ready to be sent again: the id was taken.
    pub(crate) fn take_id(&mut self, intent: IntentId) {
        self.envelope.request = random();
        self.submit_mut().intent = intent;
    }

    /// True if other versions are in force than those that the facts at hand are for.
    pub(crate) fn is_behind(&self, in_force: &InForce) -> bool {
        in_force.versions() != self.made_for
    }

    /// Ready to be sent again, with facts for what is in force by now.
    pub(crate) fn made_again(mut self: Box<Self>, in_force: &InForce) -> Box<Self> {
        self.envelope.request = random();
        if self.is_behind(in_force) {
            let material = Material {
                namespace: self.envelope.namespace,
                proposal: &self.submit().proposal,
                payload: &self.payload,
                metadata: self.metadata.as_ref(),
            };
            let facts = material.facts(in_force);
            self.submit_mut().facts = facts;
            self.made_for = in_force.versions();
        }
        self
    }

    /// Is done with it. Taking many values apart takes its time too; nobody waits for that.
    pub(crate) fn end(self) {
        if self.bytes > INLINE_BYTES_MAX {
            drop(machine::blocking(move || drop(self)));
        }
    }

    fn submit(&self) -> &Submit {
        match &self.envelope.command {
            Command::Submit(submit) => submit,
            _ => unreachable!("a candidate is made with a submit"),
        }
    }

    fn submit_mut(&mut self) -> &mut Submit {
        match &mut self.envelope.command {
            Command::Submit(submit) => submit,
            _ => unreachable!("a candidate is made with a submit"),
        }
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
