//! The door as clients see it: the router over a real gate and a log in memory.
#![cfg(test)]

#[path = "../support/mod.rs"]
mod support;

mod agents;
mod batch;
mod batches;
mod cluster;
mod decisions;
mod documents;
mod envelope;
mod evidence;
mod executions;
mod exposition;
mod freezes;
mod incidents;
mod links;
mod loads;
mod metrics;
mod nonces;
mod policies;
mod profiles;
mod proposals;
mod reads;
mod replays;
mod serving;
mod settings;
mod trails;
mod webhooks;
