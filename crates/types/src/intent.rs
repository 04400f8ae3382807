//! Intents: what an agent proposes, and the phases it goes through.

use alloc::string::String;
use alloc::vec::Vec;

use minicbor::{Decode, Encode};

use crate::digest::Digest;

/// How the payload was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum PayloadKind {
    /// None was sent.
    #[n(0)]
    Absent,
    /// A string; judged as JSON where it parses as JSON.
    #[n(1)]
    Text,
    /// A JSON value.
    #[n(2)]
    Json,
    /// A string that names a file (`….csv`); the gate never opens it.
    #[n(3)]
    Reference,
}

/// What an agent asked for, without the payload's bytes (those have a row of their own).
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Proposal {
    /// The resource, such as `crm.contacts`.
    #[n(0)]
    pub destination: String,
    /// A label; `destination` if the agent gave none.
    #[n(1)]
    pub action: String,
    /// `write`, `webhook`, `send` or another word of the agent's.
    #[n(2)]
    pub trigger: Option<String>,
    /// The named policy, if one was named.
    #[n(3)]
    pub policy: Option<String>,
    /// How the payload was sent.
    #[n(4)]
    pub payload_kind: PayloadKind,
    /// SHA-256 of the payload's bytes as sent (a text's UTF-8, a JSON value's canonical form).
    #[n(5)]
    pub payload_digest: Option<Digest>,
    /// Extension of a reference or type of a `data:` URI, lower case.
    #[n(6)]
    pub payload_type: Option<String>,
    /// The agent's own count, absent if it sent none or 0.
    #[n(7)]
    pub record_count_claim: Option<u64>,
    /// The agent's estimate in millionths of a US dollar.
    #[n(8)]
    pub value_usd_micros: Option<u64>,
    /// Tags such as `pii`.
    #[n(9)]
    pub sensitivity_tags: Vec<String>,
    /// The body's `idempotency_key`.
    #[n(10)]
    pub idempotency_key: Option<String>,
    /// For whom the agent acts, in its own words.
    #[n(11)]
    pub on_behalf_of: Option<String>,
    /// How long the intent may wait, in milliseconds.
    #[n(12)]
    pub expires_in_ms: u64,
    /// The agent's metadata as canonical JSON text.
    #[n(13)]
    pub metadata: Option<String>,
    /// Typed action profile.
    #[n(14)]
    pub profile: Option<String>,
    /// True if neither `resource` nor `trigger` was sent: the spelling of existing clients.
    #[n(15)]
    pub peer_spelling: bool,
}

/// How risky existing clients are told an intent is. It informs and decides nothing.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Risk {
    /// 0 to 100.
    #[n(0)]
    pub score_hundredths: u8,
    /// The level, taken before rounding.
    #[n(1)]
    pub level: RiskLevel,
    /// Names of the factors that applied.
    #[n(2)]
    pub factors: Vec<String>,
}

/// Bands of the risk score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum RiskLevel {
    /// Below 0.25.
    #[n(0)]
    Low,
    /// From 0.25.
    #[n(1)]
    Medium,
    /// From 0.50.
    #[n(2)]
    High,
    /// From 0.75.
    #[n(3)]
    Critical,
}

impl RiskLevel {
    /// The word used on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// What a failed intent is known to have done. Only [`Effect::None`] releases windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Effect {
    /// Nothing.
    #[n(0)]
    None,
    /// Some of it.
    #[n(1)]
    Partial,
    /// Nobody can say.
    #[n(2)]
    Unknown,
}

impl Effect {
    /// The word used on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Partial => "partial",
            Self::Unknown => "unknown",
        }
    }
}

/// Where an intent stands. Terminal phases never change; the first committed decision wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Phase {
    /// Waits for people.
    #[n(0)]
    Held,
    /// May run.
    #[n(1)]
    Allowed,
    /// An order is out, or the executor runs it.
    #[n(2)]
    Claimed,
    /// Called, and nobody knows the outcome.
    #[n(3)]
    InDoubt,
    /// Done.
    #[n(4)]
    Succeeded,
    /// Done through the download route of existing clients.
    #[n(5)]
    Delivered,
    /// Not done, or not wholly; see [`Effect`].
    #[n(6)]
    Failed,
    /// Policy forbade it.
    #[n(7)]
    Blocked,
    /// A person forbade it.
    #[n(8)]
    Rejected,
    /// Withdrawn.
    #[n(9)]
    Cancelled,
    /// Replaced by another intent.
    #[n(10)]
    Superseded,
    /// Nobody decided, or nobody ran it, in time.
    #[n(11)]
    Expired,
}

impl Phase {
    /// Every phase.
    pub const ALL: [Self; 12] = [
        Self::Held,
        Self::Allowed,
        Self::Claimed,
        Self::InDoubt,
        Self::Succeeded,
        Self::Delivered,
        Self::Failed,
        Self::Blocked,
        Self::Rejected,
        Self::Cancelled,
        Self::Superseded,
        Self::Expired,
    ];

    /// The precise word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Allowed => "allowed",
            Self::Claimed => "claimed",
            Self::InDoubt => "in_doubt",
            Self::Succeeded => "succeeded",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::Blocked => "blocked",
            Self::Rejected => "rejected",
            Self::Cancelled => "cancelled",
            Self::Superseded => "superseded",
            Self::Expired => "expired",
        }
    }

    /// The word existing clients know.
    #[must_use]
    pub fn status(self) -> &'static str {
        match self {
            Self::Held => "pending_approval",
            Self::Allowed => "approved",
            Self::Claimed => "scheduled",
            Self::InDoubt => "in_doubt",
            Self::Succeeded | Self::Delivered => "succeeded",
            Self::Failed => "failed",
            Self::Blocked | Self::Rejected | Self::Cancelled | Self::Superseded => "blocked",
            Self::Expired => "expired",
        }
    }

    /// No phase follows.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        !matches!(self, Self::Held | Self::Allowed | Self::Claimed | Self::InDoubt)
    }
}
