//! The notifier: tells people and programs what happens to intents.
//!
//! What is to be told stands in the ledger as rows; this sends it and says how that went. A restart
//! or another leader goes on where the rows stand, so a receiver may be told twice, under one id.
//! Invariant: whether a receiver answers changes nothing about an intent.
#![forbid(unsafe_code)]

mod message;
mod meters;
mod run;
mod send;
mod slack;
mod webhook;

pub use run::{Means, run};
pub use webhook::signature;
