//! A proposal of an intent, for benches that have no door to send one to.

use policy::Payload;
use types::Proposal;

/// What an agent asks that names a resource, a trigger and a payload, and nothing else.
pub(crate) fn proposal(resource: &str, trigger: &str, payload: &Payload) -> Proposal {
    Proposal {
        destination: resource.into(),
        action: resource.into(),
        trigger: Some(trigger.into()),
        policy: None,
        payload_kind: payload.kind(),
        payload_digest: payload.digest(),
        payload_type: payload.payload_type(),
        record_count_claim: None,
        value_usd_micros: None,
        sensitivity_tags: Vec::new(),
        idempotency_key: None,
        on_behalf_of: None,
        expires_in_ms: 3_600_000,
        metadata: None,
        profile: None,
        peer_spelling: false,
    }
}
