//! Durable rows of approval links. The rules of [`crate::rows`] hold.

use alloc::vec::Vec;

use minicbor::{Decode, Encode};
use types::{AgentId, Digest, IntentId, KeyId, LogTime, NamespaceId};

/// How a decision came, where it did not come under the person's own key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Factor {
    /// Through an approval link.
    #[n(0)]
    Link,
}

/// Under which name decisions through a link are shown.
pub(crate) const LINK_NAME: &str = "approval_link";

/// An approval link: one reviewer's decision on one intent, carried by a token.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct LinkRow {
    /// SHA-256 of the token.
    #[n(0)]
    pub token_hash: Digest,
    /// The token, sealed with the data key of the nodes.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub token_sealed: Vec<u8>,
    /// Where it is valid.
    #[n(2)]
    pub namespace: NamespaceId,
    /// What it decides.
    #[n(3)]
    pub intent: IntentId,
    /// Whose decision it carries.
    #[n(4)]
    pub reviewer: AgentId,
    /// The key that asked for it.
    #[n(5)]
    pub credential: KeyId,
    /// When it was issued.
    #[n(6)]
    pub issued_at: LogTime,
    /// The end of its intent.
    #[n(7)]
    pub expires_at: LogTime,
    /// When it was used up.
    #[n(8)]
    pub used_at: Option<LogTime>,
}

/// What an intent knows of its links.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct LinkMark {
    /// When one of them was last used up.
    #[n(0)]
    pub used_at: Option<LogTime>,
    /// A decision through one of them rejected the intent.
    #[n(1)]
    pub rejected: bool,
}
