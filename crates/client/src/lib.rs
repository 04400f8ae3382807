//! A small HTTP client of the gate: several endpoints, safe retries, errors that say what next.
//!
//! A request goes to one endpoint after the other until one answers or the deadline is over. Every
//! POST carries an `Idempotency-Key`, or one in each of its lines, and each try the same, so that a
//! retry whose first answer was lost is answered, never done twice.
//! Invariant: a key leaves this process only in the `Authorization` header; no error shows it.

mod answer;
mod backoff;
mod batch;
mod endpoint;
mod error;
mod intents;
mod request;
mod send;

pub use answer::Answer;
pub use backoff::Backoff;
pub use batch::BatchLine;
pub use endpoint::{Endpoint, EndpointError};
pub use error::{Error, Refusal, Trouble};
pub use intents::{Decision, Resolution, Submitted, Verdict};
pub use request::{Method, Request, Shape, fresh_key};
pub use send::{Client, Settings};
