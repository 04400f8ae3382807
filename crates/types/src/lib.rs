//! The words of the gate: ids, time, intents, phases, decisions, roles, limits.
//!
//! Pure and `no_std`: no clock, no randomness, no IO. Every type that can reach the disk derives
//! its CBOR form here with explicit field numbers; a field is added, never renumbered.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod agent;
pub mod channel;
pub mod codec;
pub mod decision;
pub mod destination;
pub mod digest;
pub mod freeze;
pub mod glob;
pub mod ids;
pub mod intent;
pub mod limits;
pub mod time;

pub use agent::{AgentStatus, Role};
pub use channel::{Channel, ChannelKind, Notice};
pub use decision::{Hit, Outcome, Place, Reason, RuleSource};
pub use destination::{Connector, Destination, ExecuteWhen, HttpTarget, StatusRange};
pub use digest::{Digest, Salt, hex};
pub use freeze::{FREEZE_SCOPES, Freezable, FreezeScope};
pub use ids::{
    AgentId, DeliveryId, ExecutionId, FreezeId, IntentId, KeyId, NamespaceId, NodeId, ParseIdError,
    WebhookId,
};
pub use intent::{Effect, PayloadKind, Phase, Proposal, Risk, RiskLevel};
pub use time::{LogIndex, LogTime, Stamp};
