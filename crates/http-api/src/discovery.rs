//! What this gate can do, for clients that ask before they act. Only what is true.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use axum::extract::State;
use axum::http::header::ACCESS_CONTROL_ALLOW_ORIGIN;
use axum::http::{HeaderValue, StatusCode};
use gate::Freshness;
use gate::log::Consistency;
use ledger::{Factor, query};
use policy::PolicySet;
use serde_json::json;
use types::limits::{
    DECISION_CLOCK_MS_MAX, DELIVERY_ATTEMPTS_MAX, DELIVERY_TIMEOUT_MS, IDEMPOTENCY_KEY_KEPT_MS,
    NONCE_MS, ORDER_MS, REQUEST_KEY_KEPT_MS,
};
use types::{LogIndex, NamespaceId};

use crate::answer::Answer;
use crate::approval_asks::PROVIDER;
use crate::openapi;
use crate::problem::Problem;
use crate::routes::routes;
use crate::state::App;
use crate::view::factor;

/// What existing clients, and ours, call the rules; by the rules' keys in documents.
const FEATURES: &[(&str, &str)] = &[
    ("destinations", "destination_allowlist"),
    ("allowed_types", "payload_type_allowlist"),
    ("require_approval", "require_approval"),
    ("auto_approve_under", "auto_approve_under"),
    ("require_approval_over", "require_approval_over"),
    ("block_if_terms", "block_if_terms"),
    ("rate_limits", "rate_limits"),
    ("field_checks", "field_checks"),
    ("environments", "environment_overrides"),
    ("require_approval_for", "require_approval_for"),
    ("require_approvals", "require_approvals"),
    ("idempotency_key", "idempotency_key"),
    ("require_approval_if_template_error", "require_approval_if_template_error"),
    ("require_approval_if_clears", "require_approval_if_clears"),
    ("require_profile", "require_profile"),
];

/// True once this door lets webhooks be registered.
static WEBHOOKS: LazyLock<bool> =
    LazyLock::new(|| routes().iter().any(|route| route.path == "/v1/webhooks/register"));

/// `GET /.well-known/gate`: as of the policies in force in namespace `default` on this node.
pub(crate) async fn well_known(State(app): State<App>) -> Result<Answer, Problem> {
    let freshness = Freshness { consistency: Consistency::Stale, min_index: LogIndex(0) };
    let read = app.gate.read(freshness, |state, _| {
        match query::policy_head(state, NamespaceId::DEFAULT)? {
            Some(head) => Ok(Some(state.compiled(NamespaceId::DEFAULT, head.version)?)),
            None => Ok(None),
        }
    });
    let (set, _) = read.await?;
    let channels: &[&str] = match *WEBHOOKS {
        true => &["webhook", "approval_link", "dashboard"],
        false => &["approval_link", "dashboard"],
    };
    let factors = [factor(None), factor(Some(Factor::Link))];
    let body = json!({
        "gate_supported": ["1.0"],
        "auth": { "methods": ["api_key"] },
        "approval_channels": channels,
        "approval_providers": [PROVIDER],
        "approval_provider_capabilities": { PROVIDER: [factor(None)] },
        "evidence_factors": factors,
        "max_execution_ttl_sec": ORDER_MS / 1_000,
        "replay_protection": {
            "idempotency_window_sec": IDEMPOTENCY_KEY_KEPT_MS / 1_000,
            "idempotency_header": "Idempotency-Key",
            "idempotency_header_window_sec": REQUEST_KEY_KEPT_MS / 1_000,
            "timestamp_tolerance_sec": DECISION_CLOCK_MS_MAX / 1_000,
            "nonce_endpoint": "/v1/nonce",
            "nonce_ttl_sec": NONCE_MS / 1_000,
            "single_use_approval_links": true,
        },
        "webhooks": {
            "supported": *WEBHOOKS,
            "retry_attempts": DELIVERY_ATTEMPTS_MAX,
            "timeout_sec": DELIVERY_TIMEOUT_MS / 1_000,
        },
        "approval_callback_endpoint": null,
        "policy_features": set.as_deref().map(features).unwrap_or_default(),
        "policies_available": set.map_or(0, |set| set.documents.len()),
        "action_profiles": policy::profiles::IDS,
    });
    let anyone = HeaderValue::from_static("*");
    Ok(Answer::ok(&body).header(ACCESS_CONTROL_ALLOW_ORIGIN, anyone))
}

/// The features that the documents of a set make use of.
fn features(set: &PolicySet) -> Vec<&'static str> {
    let gates = set.gates.iter().map(|gate| &gate.rules);
    let entries = set.resources.iter().map(|entry| &entry.rules);
    let named = set.named.iter().map(|policy| &policy.rules);
    let mut used = BTreeSet::new();
    for list in gates.chain(entries).chain(named).chain(&set.default_policy) {
        used.extend(list.rules.iter().map(|rule| rule.kind.key()));
        for environment in &list.environments {
            used.insert("environments");
            used.extend(environment.rules.iter().map(|rule| rule.kind.key()));
        }
    }
    let used = FEATURES.iter().filter(|(key, _)| used.contains(key));
    used.map(|(_, feature)| *feature).collect()
}

/// `GET /openapi.json`.
pub(crate) async fn openapi(State(app): State<App>) -> Answer {
    Answer::bytes(StatusCode::OK, openapi::document(app.config.version))
}
