//! The HTTP door: requests in, JSON out. It parses, asks the gate, and prints what the gate said.
//!
//! Wire shapes are this crate's own and are converted by hand; bodies are read by the strict JSON
//! reader, so that no field means two things. Every answer is JSON and carries `X-Request-Id`.
//! Invariant: nothing is decided here; what the role check at this edge lets through is checked
//! again where it counts, by the ledger at apply or at the read index.

mod agents;
mod answer;
mod approval_asks;
mod audit;
mod batch;
mod bodies;
mod body;
mod call;
mod cluster;
mod cluster_changes;
mod decide;
mod decision;
mod deliveries;
mod discovery;
mod entries;
mod evidence;
mod executions;
mod exporter;
mod fields;
mod finish;
mod freezes;
mod health;
mod intent_view;
mod intents;
mod links;
mod listing;
mod meters;
mod money;
mod namespaces;
mod nonces;
mod openapi;
mod policies;
mod policy_changes;
mod problem;
mod propose;
mod propose_answer;
mod query_names;
mod read_intent;
mod refusals;
mod request_key;
mod routes;
mod schemas;
mod serve;
mod setting_changes;
mod setting_view;
mod settings;
mod simulate;
mod spans;
mod spellings;
mod state;
mod times;
mod trail;
mod turns;
mod view;
mod webhooks;

use std::sync::Arc;

use gate::Gate;

pub use exporter::{Exporter, Sampler, Samplers};
pub use read_intent::read_intent;
pub use serve::serve;

/// What the node's configuration says about this door.
#[derive(Debug, Clone, Copy)]
pub struct HttpConfig {
    /// Version of the build, as `/health` shows it.
    pub version: &'static str,
}

/// Every route of the door, ready to be served or called in process.
pub fn router(gate: Arc<Gate>, config: HttpConfig) -> axum::Router {
    routes::router(state::App::new(gate, config))
}
