//! Consensus: one replicated log of command batches, and the state it makes on every node.
//!
//! [`Replica`] is the node's part in it and implements [`gate::log::Log`]. Promise: a reply comes
//! after its command is fsynced on a majority and applied here; a lost reply is said to be lost.
//! Invariant: Raft's own types stay inside this crate, and what it stores has our own encoding.
#![forbid(unsafe_code)]

mod ahead;
mod apply;
mod begin;
pub mod clock;
mod codec;
mod config;
mod convert;
mod disk;
mod distance;
mod forward;
mod gather;
mod hand_over;
mod held;
mod join;
mod log_store;
mod members;
mod meters;
mod network;
mod node;
mod outstanding;
mod peer_meters;
mod peers;
mod probe;
mod propose;
mod queue;
pub mod raft;
mod reads;
mod receive_snapshot;
mod replay;
mod responder;
mod route;
mod send_snapshot;
mod server;
mod state_machine;
mod status;
mod strain;
mod syncs;
mod transport;
mod turns;
mod upkeep;
mod verdict;

pub use ahead::Ahead;
pub use begin::StartError;
pub use config::{Begin, Config, Profile};
pub use disk::DiskLimits;
pub use join::JoinPlan;
pub use log_store::RaftLog;
pub use node::Replica;
pub use replay::{ReplayError, ReplayReport, ReplayVerdict, replay};
pub use state_machine::{Listeners, SnapshotBuilder, SnapshotDir, StateMachine};
