//! Durable rows of what goes outward: destinations and channels in force, the executor, webhooks,
//! notifications. The rules for fields are those of [`crate::rows`].

use alloc::string::String;
use alloc::vec::Vec;

use minicbor::{Decode, Encode};
use types::{AgentId, DeliveryId, Digest, IntentId, LogIndex, LogTime, NodeId, Notice, WebhookId};

/// The version of a set of destinations or channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct SetHead {
    /// From 1.
    #[n(0)]
    pub version: u64,
    /// Over the names and bytes of its documents.
    #[n(1)]
    pub digest: Digest,
    /// When it was applied.
    #[n(2)]
    pub applied_at: LogTime,
    /// By whom.
    #[n(3)]
    pub by: AgentId,
}

/// The sets in force in a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
pub struct SettingsHead {
    /// Destinations; `None` before the first set.
    #[n(0)]
    pub destinations: Option<SetHead>,
    /// Channels; `None` before the first set.
    #[n(1)]
    pub channels: Option<SetHead>,
}

/// The executor that runs now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct ExecutorRow {
    /// Log index at which it began.
    #[n(0)]
    pub epoch: LogIndex,
    /// Where it runs.
    #[n(1)]
    pub node: NodeId,
}

/// Who is told how one intent is decided.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct WebhookRow {
    /// Its id.
    #[n(0)]
    pub id: WebhookId,
    /// Where to send.
    #[n(1)]
    pub url: String,
    /// Signs what is sent, sealed with the data key of the nodes; empty if there is none.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub secret_sealed: Vec<u8>,
    /// Who registered it last.
    #[n(3)]
    pub by: AgentId,
    /// When.
    #[n(4)]
    pub at: LogTime,
}

/// One notification to one receiver.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct DeliveryRow {
    /// Its id.
    #[n(0)]
    pub id: DeliveryId,
    /// To whom.
    #[n(1)]
    pub to: Receiver,
    /// About which intent.
    #[n(2)]
    pub intent: IntentId,
    /// What happened to it.
    #[n(3)]
    pub notice: Notice,
    /// When it happened.
    #[n(4)]
    pub fired_at: LogTime,
    /// Who did it: a name at that time, or `system`.
    #[n(5)]
    pub actor: String,
    /// Their words.
    #[n(6)]
    pub reason: Option<String>,
    /// Attempts so far.
    #[n(7)]
    pub attempts: u32,
    /// How it stands.
    #[n(8)]
    pub status: DeliveryStatus,
    /// When it is tried next, or when it ended.
    #[n(9)]
    pub at: LogTime,
    /// Why the newest attempt failed.
    #[n(10)]
    pub error: Option<String>,
}

/// To whom a notification goes.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Receiver {
    /// A channel, by name.
    #[n(0)]
    Channel(#[n(0)] String),
    /// The webhook of the intent.
    #[n(1)]
    Webhook(#[n(0)] WebhookId),
}

/// How a notification stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum DeliveryStatus {
    /// It will be tried.
    #[n(0)]
    Pending,
    /// The receiver took it.
    #[n(1)]
    Delivered,
    /// The last attempt failed.
    #[n(2)]
    Failed,
}

impl DeliveryStatus {
    /// The word used on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
        }
    }
}
