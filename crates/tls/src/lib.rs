//! Identities of nodes: who is at the other end of a connection between nodes, and nobody else.
//!
//! A node's certificate names one node of one cluster; both sides of a connection show theirs and
//! verify the other's, with TLS 1.3 alone. Files that are replaced come into force without a
//! restart, and files that cannot be used leave the old ones in force.
//! Invariant: a connection is handed out only after both certificates were verified in this very
//! handshake, by the authorities in force when it began, and the name of the other is known.
#![forbid(unsafe_code)]

pub mod authority;
mod certificate;
mod credentials;
mod error;
mod identity;
mod name;
mod session;
mod watch;

pub use credentials::Files;
pub use error::TlsError;
pub use identity::{Identity, TlsStream};
pub use name::{BadName, NodeName};
