//! The disk: the replicated log ([`log`]) and the state it makes ([`state`]), on RocksDB.
//!
//! Promise: what was reported durable is there after a crash, or opening fails and says so.
//! Invariant: two databases that are not atomic together; the state never needs an entry that
//! the log has given up, because the log is purged only behind a flushed state.
#![forbid(unsafe_code)]

pub mod ballast;
pub mod disk;
mod engine;
mod error;
pub mod failpoint;
mod files;
pub mod log;
mod meters;
pub mod state;

#[cfg(feature = "simulated")]
pub use engine::simulated::disk as simulated;
pub use error::{NO_SPACE, StoreError};
