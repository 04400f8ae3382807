//! Audit leaves as they stand in the tree: one leaf is one entry, whether or not it belongs to an
//! intent.
//!
//! Invariant: an entry says what its leaf says and no more; `leaf` is the bytes that the tree
//! hashes.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ledger::LeafBody;
use ledger::query::LeafEntry;
use serde_json::{Value, json};

use crate::times::iso;

/// The entries of a page.
pub(crate) fn entry_rows(entries: &[LeafEntry]) -> Vec<Value> {
    entries.iter().map(entry).collect()
}

fn entry(entry: &LeafEntry) -> Value {
    let LeafEntry { leaf, detail, bytes } = entry;
    json!({
        "sequence": leaf.sequence,
        "event_type": leaf.body.kind(),
        "created_at": iso(leaf.time),
        "index": leaf.index.0,
        "namespace": leaf.namespace.0,
        "actor": detail.actor_name,
        "actor_id": leaf.actor.map(|id| id.to_string()),
        "intent_id": leaf.intent.map(|id| id.to_string()),
        "reason": detail.reason,
        "metadata": metadata(&leaf.body),
        "leaf": BASE64_STANDARD.encode(bytes),
    })
}

/// What a leaf names, its commitments aside.
fn metadata(body: &LeafBody) -> Value {
    match body {
        LeafBody::Bootstrapped { cluster_id, admin, key, node } => json!({
            "cluster_id": cluster_id, "agent_id": admin.to_string(), "key_id": key.to_string(),
            "node_id": node.map(|node| node.0),
        }),
        LeafBody::Submitted { phase, destination, policy, policy_version, .. } => json!({
            "phase": phase.name(), "destination": destination, "policy": policy,
            "policy_version": policy_version,
        }),
        LeafBody::DuplicateRefused { gate, .. } => json!({ "gate": gate }),
        LeafBody::Approved { digest, votes, required, .. } => json!({
            "approval_digest": digest.to_string(), "votes": votes, "required": required,
        }),
        LeafBody::Ended { phase, .. } => json!({ "phase": phase.name() }),
        LeafBody::PolicyChanged { policy_version, outcome, approval_digest, .. } => json!({
            "policy_version": policy_version, "outcome": outcome.name(),
            "approval_digest": approval_digest.to_string(),
        }),
        LeafBody::NamespaceCreated { name, admin } => {
            json!({ "name": name, "agent_id": admin.to_string() })
        }
        LeafBody::PoliciesApplied { version, digest }
        | LeafBody::DestinationsApplied { version, digest }
        | LeafBody::ChannelsApplied { version, digest } => {
            json!({ "version": version, "digest": digest.to_string() })
        }
        LeafBody::FeatureLevelRaised { level } => json!({ "level": level }),
        LeafBody::ExecutorTookOver { epoch, node } => {
            json!({ "epoch": epoch.0, "node_id": node.0 })
        }
        LeafBody::WebhookRegistered { webhook, .. } => json!({ "webhookId": webhook.to_string() }),
        LeafBody::DeliveryReported { delivery, channel, notice, attempts, .. } => json!({
            "deliveryId": delivery.to_string(), "channel": channel, "event": notice.name(),
            "attempts": attempts,
        }),
        LeafBody::LinkIssued { expires_at } => json!({ "expires_at": iso(*expires_at) }),
        LeafBody::LinkUsed { credential } => json!({ "key_id": credential.to_string() }),
        LeafBody::NodeAdmitted { node, incarnation } => {
            json!({ "node_id": node.0, "incarnation": types::hex(incarnation) })
        }
        LeafBody::NodeRemoved { node } => json!({ "node_id": node.0 }),
        LeafBody::ClusterChangeRequested { change, node } => {
            json!({ "change": change.name(), "node_id": node.map(|node| node.0) })
        }
        LeafBody::JoinTokenIssued { expires_at } => json!({ "expires_at": iso(*expires_at) }),
        LeafBody::Allowed | LeafBody::LeftToPeople => json!({}),
        LeafBody::AgentRegistered { .. }
        | LeafBody::AgentStatusChanged { .. }
        | LeafBody::KeyRotated { .. }
        | LeafBody::RoleChanged { .. } => of_a_principal(body),
        LeafBody::OrderIssued { .. }
        | LeafBody::OrderBegun { .. }
        | LeafBody::Reported { .. }
        | LeafBody::DoubtBegan { .. }
        | LeafBody::Resolved { .. }
        | LeafBody::GivenBack { .. } => of_an_execution(body),
        LeafBody::Frozen { .. }
        | LeafBody::FreezeSettled { .. }
        | LeafBody::UnfreezeVoted { .. }
        | LeafBody::Unfrozen { .. } => of_a_freeze(body),
    }
}

fn of_a_principal(body: &LeafBody) -> Value {
    match body {
        LeafBody::AgentRegistered { agent, role, key } => json!({
            "agent_id": agent.to_string(), "role": role.name(), "key_id": key.to_string(),
        }),
        LeafBody::AgentStatusChanged { agent, status } => {
            json!({ "agent_id": agent.to_string(), "status": status.name() })
        }
        LeafBody::KeyRotated { agent, key, ends_at } => json!({
            "agent_id": agent.to_string(), "key_id": key.to_string(), "older_end": iso(*ends_at),
        }),
        LeafBody::RoleChanged { agent, role } => {
            json!({ "agent_id": agent.to_string(), "role": role.name() })
        }
        _ => json!({}),
    }
}

fn of_a_freeze(body: &LeafBody) -> Value {
    match body {
        LeafBody::Frozen { freeze, scope, until, persons, settled, .. } => json!({
            "freeze_id": freeze.to_string(), "scope": scope.name(), "match": scope.matches(),
            "until": until.map(iso), "persons_to_unfreeze": persons, "settled": settled,
        }),
        LeafBody::FreezeSettled { freeze, running } => {
            let running = running.iter().map(|call| {
                json!({
                    "execution_id": call.execution.to_string(),
                    "intent_id": call.intent.to_string(),
                })
            });
            let running: Vec<Value> = running.collect();
            json!({ "freeze_id": freeze.to_string(), "running": running })
        }
        LeafBody::UnfreezeVoted { freeze, votes, needed, .. }
        | LeafBody::Unfrozen { freeze, votes, needed, .. } => json!({
            "freeze_id": freeze.to_string(), "votes": votes, "required": needed,
        }),
        _ => json!({}),
    }
}

fn of_an_execution(body: &LeafBody) -> Value {
    let effect = |effect: &Option<types::Effect>| effect.map(types::Effect::name);
    match body {
        LeafBody::OrderIssued { execution, attempt, fence, mode, expires_at } => json!({
            "executionId": execution.to_string(), "attempt": attempt, "fence": fence.0,
            "mode": mode, "expires_at": iso(*expires_at),
        }),
        LeafBody::OrderBegun { execution, epoch, expires_at } => json!({
            "executionId": execution.to_string(), "epoch": epoch.0, "expires_at": iso(*expires_at),
        }),
        LeafBody::Reported { execution, phase, effect: did, .. } => json!({
            "executionId": execution.to_string(), "outcome": phase.name(), "effect": effect(did),
        }),
        LeafBody::DoubtBegan { execution, .. } | LeafBody::GivenBack { execution, .. } => {
            json!({ "executionId": execution.to_string() })
        }
        LeafBody::Resolved { phase, effect: did, .. } => {
            json!({ "outcome": phase.name(), "effect": effect(did) })
        }
        _ => json!({}),
    }
}
