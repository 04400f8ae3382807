//! Channels: whom the gate tells what happens to intents, compiled from a YAML document.

use alloc::string::String;
use alloc::vec::Vec;

use minicbor::{Decode, Encode};

use crate::digest::Digest;
use crate::glob;

/// One channel.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Channel {
    /// Its name.
    #[n(0)]
    pub name: String,
    /// What it is sent.
    #[n(1)]
    pub kind: ChannelKind,
    /// Where it is sent; may hold `${secret:NAME}`.
    #[n(2)]
    pub url: String,
    /// Signs what is sent; may hold `${secret:NAME}`.
    #[n(3)]
    pub secret: Option<String>,
    /// What it is told of.
    #[n(4)]
    pub events: Vec<Notice>,
    /// Globs over resources; empty means all.
    #[n(5)]
    pub resources: Vec<String>,
    /// SHA-256 of the document as written.
    #[n(6)]
    pub digest: Digest,
    /// The document as written.
    #[cbor(n(7), with = "minicbor::bytes")]
    pub source: Vec<u8>,
}

impl Channel {
    /// Whether it is told of this happening to an intent of this resource.
    #[must_use]
    pub fn wants(&self, notice: Notice, resource: &str) -> bool {
        let listed = |pattern: &String| glob::matches(pattern, resource);
        self.events.contains(&notice)
            && (self.resources.is_empty() || self.resources.iter().any(listed))
    }
}

/// What a channel is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum ChannelKind {
    /// The signed JSON that existing receivers know.
    #[n(0)]
    Webhook,
    /// Slack's incoming-webhook format.
    #[n(1)]
    Slack,
}

impl ChannelKind {
    /// The word of the document.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Slack => "slack",
        }
    }
}

/// What people can be told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Notice {
    /// It waits for people.
    #[n(0)]
    Held,
    /// It may run, by a person's word.
    #[n(1)]
    Approved,
    /// A person forbade it.
    #[n(2)]
    Rejected,
    /// It was withdrawn.
    #[n(3)]
    Cancelled,
    /// Its time ended.
    #[n(4)]
    Expired,
    /// It was done.
    #[n(5)]
    Executed,
    /// It was not done, or not wholly.
    #[n(6)]
    Failed,
    /// Nobody knows whether it was done.
    #[n(7)]
    InDoubt,
}

impl Notice {
    /// Every notice, in the order of the documentation.
    pub const ALL: [Self; 8] = [
        Self::Held,
        Self::Approved,
        Self::Rejected,
        Self::Cancelled,
        Self::Expired,
        Self::Executed,
        Self::Failed,
        Self::InDoubt,
    ];

    /// The word of a channel's document.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
            Self::Executed => "executed",
            Self::Failed => "failed",
            Self::InDoubt => "in_doubt",
        }
    }
}
