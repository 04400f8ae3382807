//! What this gate can do, for clients that ask before they act. Only what is true.

use axum::extract::State;
use axum::http::header::ACCESS_CONTROL_ALLOW_ORIGIN;
use axum::http::{HeaderValue, StatusCode};
use gate::Freshness;
use gate::log::Consistency;
use ledger::query;
use serde_json::json;
use types::limits::{IDEMPOTENCY_KEY_KEPT_MS, REQUEST_KEY_KEPT_MS};
use types::{LogIndex, NamespaceId};

use crate::answer::Answer;
use crate::openapi;
use crate::problem::Problem;
use crate::state::App;

/// The rules that documents may use, by their keys.
const POLICY_FEATURES: &[&str] = &[
    "require_approval",
    "auto_approve_under",
    "require_approval_over",
    "require_approval_for",
    "require_approvals",
    "destination_allowlist",
    "payload_type_allowlist",
    "block_if_terms",
    "rate_limits",
    "field_checks",
    "environment_overrides",
    "idempotency_key",
    "require_approval_if_template_error",
    "require_approval_if_clears",
];

/// `GET /.well-known/gate`.
pub(crate) async fn well_known(State(app): State<App>) -> Result<Answer, Problem> {
    let freshness = Freshness { consistency: Consistency::Stale, min_index: LogIndex(0) };
    let counted = app.gate.read(freshness, |state, _| {
        match query::policy_head(state, NamespaceId::DEFAULT)? {
            Some(head) => Ok(state.compiled(NamespaceId::DEFAULT, head.version)?.documents.len()),
            None => Ok(0),
        }
    });
    let (available, _) = counted.await?;
    let body = json!({
        "gate_supported": ["1.0"],
        "auth": { "methods": ["api_key"] },
        "approval_channels": [],
        "approval_providers": ["dashboard"],
        "approval_provider_capabilities": { "dashboard": [] },
        "evidence_factors": [],
        "max_execution_ttl_sec": null,
        "replay_protection": {
            "idempotency_window_sec": IDEMPOTENCY_KEY_KEPT_MS / 1_000,
            "idempotency_header": "Idempotency-Key",
            "idempotency_header_window_sec": REQUEST_KEY_KEPT_MS / 1_000,
            "timestamp_tolerance_sec": null,
            "nonce_endpoint": null,
            "nonce_ttl_sec": null,
            "single_use_approval_links": false,
        },
        "webhooks": { "supported": false },
        "approval_callback_endpoint": null,
        "policy_features": POLICY_FEATURES,
        "policies_available": available,
    });
    let anyone = HeaderValue::from_static("*");
    Ok(Answer::ok(&body).header(ACCESS_CONTROL_ALLOW_ORIGIN, anyone))
}

/// `GET /openapi.json`.
pub(crate) async fn openapi(State(app): State<App>) -> Answer {
    Answer::bytes(StatusCode::OK, openapi::document(app.config.version))
}
