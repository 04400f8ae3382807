//! Commands of what goes outward: destinations, channels, the executor's and the notifier's.
//! The rules for numbers are those of [`crate::command`].

use alloc::string::String;
use alloc::vec::Vec;

use minicbor::{Decode, Encode};
use policy::Facts;
use types::{
    Channel, DeliveryId, Destination, Effect, ExecutionId, IntentId, LogIndex, NodeId, WebhookId,
};

/// See [`crate::Command::ApplyDestinations`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ApplyDestinations {
    /// Refused unless this version is in force (0: none yet).
    #[n(0)]
    pub if_version: Option<u64>,
    /// The whole set.
    #[n(1)]
    pub destinations: Vec<Destination>,
}

/// See [`crate::Command::ApplyChannels`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ApplyChannels {
    /// Refused unless this version is in force (0: none yet).
    #[n(0)]
    pub if_version: Option<u64>,
    /// The whole set.
    #[n(1)]
    pub channels: Vec<Channel>,
}

/// See [`crate::Command::TakeOver`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct TakeOver {
    /// Where it runs.
    #[n(0)]
    pub node: NodeId,
    /// The epoch that it began already, to go on with what was left open; `None` begins one.
    #[n(1)]
    pub epoch: Option<LogIndex>,
}

/// See [`crate::Command::Claim`].
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct Claim {
    /// Which intent.
    #[n(0)]
    pub intent: IntentId,
    /// Drawn by the node.
    #[n(1)]
    pub execution: ExecutionId,
    /// The executor's own epoch; refused once another one began.
    #[n(2)]
    pub epoch: LogIndex,
    /// Facts for the version in force, if it is not the one the intent was judged by.
    #[n(3)]
    pub facts: Option<Facts>,
}

/// See [`crate::Command::ReportAttempt`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ReportAttempt {
    /// Which order.
    #[n(0)]
    pub execution: ExecutionId,
    /// How it ended.
    #[n(1)]
    pub ended: AttemptEnd,
    /// What the target answered, canonical JSON text, secrets already taken out.
    #[n(2)]
    pub result: Option<String>,
    /// Why, where it did not succeed.
    #[n(3)]
    pub why: Option<String>,
}

/// How an attempt of the executor ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum AttemptEnd {
    /// The target said so.
    #[n(0)]
    Succeeded,
    /// It is known what was done, or that nothing was.
    #[n(1)]
    Failed(#[n(0)] Effect),
    /// Nobody knows.
    #[n(2)]
    InDoubt,
    /// Nothing was sent, and it can be tried later.
    #[n(3)]
    NotStarted,
}

/// See [`crate::Command::RegisterWebhook`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct RegisterWebhook {
    /// Which intent.
    #[n(0)]
    pub intent: IntentId,
    /// Drawn by the node; an intent that has one keeps it.
    #[n(1)]
    pub webhook: WebhookId,
    /// Where to send.
    #[n(2)]
    pub url: String,
    /// Signs what is sent, sealed with the data key of the nodes; empty if there is none.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub secret_sealed: Vec<u8>,
}

/// See [`crate::Command::ReportDelivery`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ReportDelivery {
    /// Which.
    #[n(0)]
    pub delivery: DeliveryId,
    /// Number of the attempt, from 1.
    #[n(1)]
    pub attempt: u32,
    /// Why it failed; `None` if it was delivered.
    #[n(2)]
    pub error: Option<String>,
}
