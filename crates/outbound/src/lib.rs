//! Everything that leaves a node: the address rule, secrets by reference, a checked HTTP client.
//!
//! Whoever sends something to another system sends it through here, so that the rules stand in one
//! place: only permitted addresses are connected to, secrets are filled in at the moment of use and
//! never shown, and a caller is told with certainty whether something may have been sent.
//! Invariant: no other crate of the gate opens a connection to a target, a webhook or a channel.
#![forbid(unsafe_code)]

mod address;
mod client;
mod connect;
mod redact;
mod secrets;
mod source;
mod spelling;
mod target;

pub use address::{AddressRefused, AddressRule, BadNetwork};
pub use client::{Client, NotSent, OutboundAnswer, OutboundRequest, SendError};
pub use connect::Roots;
pub use redact::{PATH, QUERY, Redactor};
pub use secrets::{BadDeclaration, Revealed, SecretDeclaration, SecretError, Secrets};
pub use source::SecretSource;
pub use target::{check_url, host_of};
