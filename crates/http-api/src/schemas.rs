//! Schemas of the main bodies, for `/openapi.json`.

use serde_json::{Map, Value, json};

/// Members of an object: name and type; a type that ends in `?` may be null.
type Members = &'static [(&'static str, &'static str)];

/// An intent as it is submitted.
#[rustfmt::skip]
const PROPOSE: Members = &[
    ("destination", "string?"), ("resource", "string?"), ("policy", "string?"),
    ("trigger", "string?"), ("action", "string?"), ("payload", "any"),
    ("recordCount", "integer?"), ("record_count", "integer?"),
    ("estimated_value_usd", "number?"),
    ("sensitivity_tags", "strings"), ("idempotency_key", "string?"),
    ("on_behalf_of", "string?"), ("expiresIn", "string?"), ("metadata", "object?"),
    ("profile", "string?"), ("request_key", "string?"),
    ("principal_id", "string?"), ("approval_provider", "string?"),
    ("approval_channel", "object?"), ("assurance", "object?")];

#[rustfmt::skip]
const OBJECTS: &[(&str, Members)] = &[
    ("Problem", &[("error", "string"), ("code", "string"), ("message", "string"),
        ("request_id", "string"), ("field", "string"), ("outcome", "string")]),
    ("Propose", PROPOSE),
    // The same, one a line.
    ("ProposeLine", PROPOSE),
    ("ProposeAnswer", &[("proposalId", "string"), ("intentId", "string"), ("messageId", "string"),
        ("status", "string"), ("phase", "string"), ("approvalState", "string?"),
        ("approvalLinkToken", "string?"), ("profile", "string?"),
        ("profileSummary", "string?"), ("requiredApprovals", "integer"),
        ("blockReason", "string?"), ("expiresAt", "string"), ("riskScore", "number"),
        ("riskLevel", "string"), ("riskFactors", "strings"), ("reasons", "Reason[]"),
        ("reason_code", "string"), ("reason_detail", "string?"), ("revision", "integer"),
        ("approval_digest", "string"), ("resource", "string"), ("trigger", "string?")]),
    ("ProposeLineAnswer", &[("status", "integer"), ("idempotency_replayed", "boolean"),
        ("gate_index", "integer"), ("gate_term", "integer"), ("retry_after", "integer"),
        ("line", "integer"), ("answer_status", "string"), ("intentId", "string"),
        ("phase", "string"), ("reason_code", "string"), ("reasons", "Reason[]"),
        ("blockReason", "string?"), ("approval_digest", "string"), ("existingStatus", "string"),
        ("error", "string"), ("code", "string"), ("message", "string"), ("field", "string"),
        ("outcome", "string"), ("request_id", "string")]),
    ("DuplicateAnswer", &[("proposalId", "string"), ("intentId", "string"), ("status", "string"),
        ("blockReason", "string"), ("existingStatus", "string"), ("phase", "string"),
        ("gate", "string?"), ("rule", "string"), ("windowEndsAt", "string?")]),
    ("Reason", &[("gate", "string?"), ("policy", "string?"), ("rule", "string"),
        ("outcome", "string"), ("message", "string"), ("file", "string?"), ("line", "integer?"),
        ("hits", "Hit[]"), ("hits_total", "integer")]),
    ("Hit", &[("path", "string"), ("excerpt", "string")]),
    ("Intent", &[("id", "string"), ("intentId", "string"), ("sender_agent_id", "string"),
        ("status", "string"), ("phase", "string"), ("destination", "string"),
        ("resource", "string"), ("trigger", "string?"), ("policy_id", "string?"),
        ("payload", "any"), ("payload_hash", "string?"), ("metadata", "object?"),
        ("profile", "string?"), ("profileSummary", "string?"), ("profile_id", "string?"),
        ("profile_fields_hash", "string?"), ("block_reason", "string?"), ("reasons", "Reason[]"),
        ("revision", "integer"),
        ("approval_digest", "string"), ("required_approvals", "integer"),
        ("created_at", "string"), ("expires_at", "string"), ("auditTrail", "AuditEvent[]"),
        ("audit_next", "integer?"),
        ("execution_id", "string?"), ("attempts", "integer"), ("carried_out_by", "object?"),
        ("approval_evidence", "Evidence"), ("has_approval_link", "boolean"),
        ("approval_link_expires_at", "string?"), ("approval_link_used_at", "string?"),
        ("approval_interactions", "objects")]),
    ("IntentList", &[("intents", "Intent[]"), ("proposals", "Intent[]"), ("count", "integer"),
        ("next", "string?")]),
    ("Decision", &[("id", "string"), ("intent_id", "string"), ("status", "string"),
        ("outcome", "string"), ("reason_code", "string"), ("reason_detail", "string?"),
        ("reasons", "Reason[]"), ("policy_version", "integer"), ("policy_digest", "string?"),
        ("required_approvals", "integer"), ("evaluated_at", "string"),
        ("approval_evidence", "Evidence")]),
    ("AuditEvent", &[("id", "string"), ("proposal_id", "string"), ("event_type", "string"),
        ("actor", "string"), ("metadata", "object"), ("created_at", "string"),
        ("sequence", "integer"), ("index", "integer")]),
    ("AuditTrail", &[("proposalId", "string"), ("events", "AuditEvent[]"), ("count", "integer"),
        ("truncated", "boolean"), ("next", "integer?"), ("approval_evidence", "Evidence")]),
    ("AuditEntries", &[("entries", "AuditEntry[]"), ("count", "integer"), ("next", "integer?"),
        ("index", "integer")]),
    ("AuditEntry", &[("sequence", "integer"), ("event_type", "string"), ("created_at", "string"),
        ("index", "integer"), ("namespace", "integer"), ("actor", "string?"),
        ("actor_id", "string?"), ("intent_id", "string?"), ("reason", "string?"),
        ("metadata", "object"), ("leaf", "string")]),
    ("Decide", &[("digest", "string?"), ("reason", "string?"), ("proposalId", "string?"),
        ("nonce", "string"), ("decided_at", "any")]),
    ("ApprovalLink", &[("approvalLinkToken", "string"), ("intentId", "string"),
        ("expiresAt", "string"), ("path", "string")]),
    ("LinkView", &[("intentId", "string"), ("messageId", "string"), ("destination", "string"),
        ("action", "string"), ("policy", "string?"), ("riskScore", "number"),
        ("riskLevel", "string"), ("approvalState", "string"), ("expiresAt", "string"),
        ("approval_digest", "string")]),
    ("Nonce", &[("nonce", "string"), ("expiresAt", "string"), ("expires_at", "string")]),
    ("DecideAnswer", &[("status", "string"), ("phase", "string"), ("approvalState", "string"),
        ("intentId", "string"), ("approvedAt", "string"), ("votes", "integer"),
        ("requiredApprovals", "integer"), ("votedBy", "strings"), ("reason", "string?"),
        ("approvalEvidence", "Evidence")]),
    ("Evidence", &[("protocol", "string"), ("interaction_id", "string"),
        ("request_jws", "string?"), ("response_jws", "string"), ("responds_to", "string"),
        ("decision", "string"), ("decided_at", "string"), ("factor", "string"),
        ("proof", "object"), ("approved_intent_hash", "string"), ("consumed_at", "string?")]),
    ("Execute", &[("mode", "string?")]),
    ("Report", &[("status", "string"), ("effect", "string?"), ("result", "object?"),
        ("executed_at", "string?")]),
    ("Resolve", &[("outcome", "string"), ("effect", "string?"), ("reason", "string")]),
    ("Webhook", &[("intentId", "string?"), ("proposalId", "string?"), ("url", "string"),
        ("secret", "string?")]),
    ("Order", &[("executionId", "string"), ("execution_id", "string"), ("intent_id", "string"),
        ("mode", "string"), ("destination", "string"), ("action", "string"),
        ("payload_ref", "string"), ("payload_hash", "string?"), ("execution_token", "string?"),
        ("status", "string"), ("issued_at", "string"), ("expires_at", "string"),
        ("executed_at", "string?"), ("result", "object?"), ("attempt", "integer"),
        ("fence", "integer"), ("approval_evidence", "Evidence")]),
    ("Register", &[("name", "string"), ("role", "string?"), ("owner", "string?"),
        ("framework", "string?"), ("riskTier", "string?"), ("allowed_policies", "strings"),
        ("allowed_destinations", "strings"), ("metadata", "object?")]),
    ("Registered", &[("agent_id", "string"), ("agentId", "string"), ("name", "string"),
        ("role", "string"), ("status", "string"), ("apiKey", "string?"),
        ("created_at", "string")]),
    ("Agent", &[("id", "string"), ("name", "string"), ("owner", "string?"), ("role", "string"),
        ("status", "string"), ("risk_tier", "string"), ("created_at", "string"),
        ("metadata", "object")]),
    ("AgentList", &[("agents", "Agent[]"), ("count", "integer"), ("next", "string?")]),
    ("GiveRole", &[("role", "string")]),
    ("RotateKey", &[("overlap_seconds", "integer?")]),
    ("PolicySet", &[("policies", "object"), ("origin", "string?")]),
    ("DestinationSet", &[("destinations", "object")]),
    ("DestinationList", &[("destinations", "DestinationRow[]"), ("count", "integer"),
        ("version", "integer"), ("digest", "string?"), ("applied_at", "string?"),
        ("applied_by", "string?")]),
    ("DestinationRow", &[("name", "string"), ("kind", "string"), ("execute", "string?"),
        ("environment", "string?"), ("idempotency", "string?"), ("promise", "string"),
        ("digest", "string"), ("version", "integer")]),
    ("Destination", &[("name", "string"), ("kind", "string"), ("yaml", "string"),
        ("promise", "string"), ("compiled", "object"), ("version", "integer"),
        ("digest", "string"), ("applied_at", "string"), ("applied_by", "string")]),
    ("PutDestination", &[("name", "string"), ("kind", "string"), ("promise", "string"),
        ("version", "integer"), ("digest", "string"), ("set_digest", "string"),
        ("changed", "boolean")]),
    ("ChannelSet", &[("channels", "object")]),
    ("ChannelList", &[("channels", "ChannelRow[]"), ("count", "integer"),
        ("version", "integer"), ("digest", "string?"), ("applied_at", "string?"),
        ("applied_by", "string?")]),
    ("ChannelRow", &[("name", "string"), ("kind", "string"), ("url", "string"),
        ("signed", "boolean"), ("events", "strings"), ("resources", "strings"),
        ("digest", "string"), ("version", "integer")]),
    ("Channel", &[("name", "string"), ("kind", "string"), ("yaml", "string"),
        ("compiled", "object"), ("version", "integer"), ("digest", "string"),
        ("applied_at", "string"), ("applied_by", "string")]),
    ("PutChannel", &[("name", "string"), ("kind", "string"), ("version", "integer"),
        ("digest", "string"), ("set_digest", "string"), ("changed", "boolean")]),
    ("NewFreeze", &[("scope", "string"), ("match", "string?"), ("reason", "string"),
        ("until", "string?")]),
    ("Unfreeze", &[("reason", "string?")]),
    ("Freeze", &[("id", "string"), ("scope", "string"), ("match", "string?"),
        ("reason", "string"), ("by", "string"), ("by_name", "string"), ("since", "string"),
        ("until", "string?"), ("index", "integer"), ("settled", "boolean"),
        ("persons_to_unfreeze", "integer"), ("votes", "objects"), ("running", "objects"),
        ("running_more", "boolean"), ("ended", "boolean")]),
    ("FreezeList", &[("freezes", "Freeze[]"), ("count", "integer")]),
    ("NewNamespace", &[("name", "string")]),
    ("Cluster", &[("cluster_id", "string"), ("node_id", "integer"), ("leader_id", "integer?"),
        ("term", "integer"), ("committed_index", "integer"), ("applied_index", "integer"),
        ("changing", "boolean"), ("profile", "string"), ("nodes", "objects"),
        ("lead_given_away", "object?"), ("warnings", "objects")]),
    ("NodeRef", &[("node", "integer")]),
    ("TransferLeader", &[("node", "integer?")]),
    ("ChangedCluster", &[("change", "string"), ("node", "integer?"), ("leader_id", "integer?"),
        ("index", "integer")]),
    ("NewJoinToken", &[("valid_seconds", "integer?")]),
    ("JoinToken", &[("token", "string"), ("expires_at", "string"), ("cluster_id", "string"),
        ("index", "integer")]),
    ("Object", &[]),
];

/// Schemas by name.
pub(crate) fn schemas() -> Map<String, Value> {
    let mut schemas = Map::new();
    for (name, members) in OBJECTS {
        let properties: Map<String, Value> =
            members.iter().map(|(member, kind)| ((*member).to_owned(), schema(kind))).collect();
        schemas.insert((*name).to_owned(), json!({ "type": "object", "properties": properties }));
    }
    schemas.insert("Yaml".into(), json!({ "type": "string" }));
    schemas
}

fn schema(kind: &str) -> Value {
    if let Some(kind) = kind.strip_suffix('?') {
        return json!({ "type": [kind, "null"] });
    }
    if let Some(item) = kind.strip_suffix("[]") {
        let item = json!({ "$ref": format!("#/components/schemas/{item}") });
        return json!({ "type": "array", "items": item });
    }
    match kind {
        "any" => json!({}),
        "strings" => json!({ "type": "array", "items": { "type": "string" } }),
        "objects" => json!({ "type": "array", "items": { "type": "object" } }),
        "Evidence" => {
            let evidence = json!({ "$ref": "#/components/schemas/Evidence" });
            json!({ "anyOf": [evidence, { "type": "null" }] })
        }
        kind => json!({ "type": kind }),
    }
}
