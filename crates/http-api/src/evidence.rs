//! Evidence: what people decided of an intent, bound to what they decided on, and signed.
//!
//! Computed from the ledger whenever it is asked for, never stored, so it cannot part from what
//! happened. The signature is symmetric: this cluster can check it, for others the audit tree is
//! the proof. Invariant: an intent that policy decided alone has none.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gate::Gate;
use gate::seal::{DataKey, mac};
use ledger::{Content, Fault, Head, OrderRow, Read, Vote, query};
use serde_json::{Value, json};
use types::{Digest, IntentId, LogTime, NamespaceId, PayloadKind, Phase};

use crate::money::dollars;
use crate::times::iso;
use crate::view::{factor, message_id, profile_fields_hash};

const PROTOCOL: &str = "a2h.v1";
/// As existing clients check it, to the letter: the header of a signature that stands apart.
const HEADER: &str = r#"{"alg":"HS256","typ":"gate-jws","crit":["b64"],"b64":false}"#;

/// What signs evidence: the same on every node of a cluster.
pub(crate) struct EvidenceKey(String);

impl EvidenceKey {
    pub(crate) fn of(gate: &Gate) -> Self {
        Self::from(&gate.settings().data_key)
    }

    /// `header..signature` over a payload that is not in it.
    fn sign(&self, payload: &str) -> String {
        let header = URL_SAFE_NO_PAD.encode(HEADER);
        let parts: [&[u8]; 3] = [header.as_bytes(), b".", payload.as_bytes()];
        let signature = mac(self.0.as_bytes(), &parts);
        format!("{header}..{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

impl From<&DataKey> for EvidenceKey {
    /// The key is the text of 64 hex digits, not the bytes that they stand for.
    fn from(key: &DataKey) -> Self {
        Self(types::hex(&key.derived("evidence v1")))
    }
}

/// What people decided.
struct Verdict<'a> {
    word: &'static str,
    at: LogTime,
    actor: &'a str,
    factor: &'static str,
    /// Where more than one had to agree.
    voted_by: Option<Vec<&'a str>>,
}

/// The evidence of an intent as it stands, with the order that used it.
pub(crate) fn read_evidence(
    state: &dyn Read,
    key: &EvidenceKey,
    namespace: NamespaceId,
    head: &Head,
    content: &Content,
) -> Result<Option<Value>, Fault> {
    if verdict(head).is_none() {
        return Ok(None);
    }
    let order = match head.execution {
        Some(id) => query::order(state, namespace, id)?,
        None => None,
    };
    Ok(evidence(key, head, content, order.as_ref()))
}

/// The evidence of an intent; `None` where no person decided.
pub(crate) fn evidence(
    key: &EvidenceKey,
    head: &Head,
    content: &Content,
    order: Option<&OrderRow>,
) -> Option<Value> {
    Some(signed(key, head, content, &verdict(head)?, order))
}

/// The evidence of an approval as it was when these votes gave it, whatever came after.
pub(crate) fn approval_evidence(
    key: &EvidenceKey,
    head: &Head,
    content: &Content,
    votes: &[Vote],
) -> Option<Value> {
    Some(signed(key, head, content, &approval(votes)?, None))
}

fn signed(
    key: &EvidenceKey,
    head: &Head,
    content: &Content,
    verdict: &Verdict<'_>,
    order: Option<&OrderRow>,
) -> Value {
    let (interaction, message) = (interaction_id(head.id), message_id(head.id));
    let hash = approved_intent_hash(head, content);
    let words = json!({
        "protocol": PROTOCOL,
        "interaction_id": interaction,
        "responds_to": message,
        "decision": verdict.word,
        "decided_at": verdict.at.0,
        "factor": verdict.factor,
        "approved_intent_hash": hash,
    });
    let fields_hash = profile_fields_hash(&content.proposal);
    let profile = content.proposal.profile.as_deref();
    json!({
        "protocol": PROTOCOL,
        "interaction_id": interaction,
        "request_jws": null,
        "response_jws": key.sign(&policy::json::canonical(&words)),
        "responds_to": message,
        "decision": verdict.word,
        "decided_at": iso(verdict.at),
        "factor": verdict.factor,
        "proof": {
            "actor": verdict.actor,
            "profile": profile.map(|id| json!({ "id": id, "fields_hash": fields_hash })),
            "delegation": null,
            "voted_by": verdict.voted_by,
        },
        "approved_intent_hash": hash,
        "consumed_at": order.map(|order| iso(order.issued_at)),
    })
}

/// SHA-256 over what the decision was about, in the fields of existing clients.
fn approved_intent_hash(head: &Head, content: &Content) -> String {
    let proposal = &content.proposal;
    let hashed = proposal.payload_kind != PayloadKind::Reference;
    let about = json!({
        "action": proposal.action,
        "destination": proposal.destination,
        "estimated_value_usd": proposal.value_usd_micros.map(dollars),
        "intent_id": head.id.to_string(),
        "message_id": message_id(head.id),
        "payload_hash": proposal.payload_digest.filter(|_| hashed).map(|hash| hash.to_string()),
        "policy_id": proposal.policy,
        "profile_fields_hash": profile_fields_hash(proposal),
        "profile_id": proposal.profile,
        "sensitivity_tags": proposal.sensitivity_tags,
    });
    Digest::of(policy::json::canonical(&about).as_bytes()).to_string()
}

fn verdict(head: &Head) -> Option<Verdict<'_>> {
    if head.phase == Phase::Rejected {
        let decided = head.decided.as_ref().filter(|decided| decided.by.is_some())?;
        let by_link = head.link.is_some_and(|mark| mark.rejected);
        return Some(Verdict {
            word: "REJECT",
            at: decided.at,
            actor: &decided.name,
            factor: factor(by_link.then_some(ledger::Factor::Link)),
            voted_by: None,
        });
    }
    // Votes are void once a change of policy holds the intent again, so enough of them behind a
    // phase that is not held are an approval, whatever came after.
    let votes = &head.approval.votes;
    let required = head.approval.rule.count.max(1) as usize;
    let approved = head.was_allowed && head.phase != Phase::Held && votes.len() >= required;
    approval(votes).filter(|_| approved)
}

/// No vote is taken after the last one needed, so more than one vote means that more were needed.
fn approval(votes: &[Vote]) -> Option<Verdict<'_>> {
    let last = votes.last()?;
    let names = || votes.iter().map(Vote::shown_name).collect();
    Some(Verdict {
        word: "APPROVE",
        at: last.at,
        actor: last.shown_name(),
        factor: factor(last.factor),
        voted_by: (votes.len() > 1).then(names),
    })
}

/// One question to people per intent: derived, so that every node prints the same.
fn interaction_id(id: IntentId) -> String {
    let digest = Digest::of_parts(&[b"interaction", &id.0.to_be_bytes()]);
    let mut text = format!("itx_{digest}");
    text.truncate("itx_".len() + 24);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made with another implementation of HMAC and base64url, from the same words.
    #[test]
    fn a_signature_is_what_others_compute() {
        let key = EvidenceKey("0123456789abcdef".repeat(4));
        let payload = r#"{"decision":"APPROVE","decided_at":1795349928618}"#;
        let expected = concat!(
            "eyJhbGciOiJIUzI1NiIsInR5cCI6ImdhdGUtandzIiwiY3JpdCI6WyJiNjQiXSwiYjY0IjpmYWxzZX0",
            "..mNzuXs5rMrhDME88ZF33TbsKyz5vRQh5KuylrQF1NmA"
        );
        assert_eq!(key.sign(payload), expected);
    }

    #[test]
    fn the_key_is_hex_text_and_not_the_data_key() {
        let data_key = DataKey::draw();
        let key = EvidenceKey::from(&data_key);
        assert!(key.0.len() == 64 && key.0.bytes().all(|byte| byte.is_ascii_hexdigit()));
        assert_ne!(key.0, data_key.to_hex());
    }
}
