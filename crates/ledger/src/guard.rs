//! Guards of a decision against being sent twice or late: a nonce that serves once, and the time
//! that the sender's own clock shows.
//!
//! Only a node can tell whether a nonce is genuine, since it has the key; only the log can tell
//! whether it was used. Invariant: a nonce is used up by a decision that was admitted, and by no
//! other.

use alloc::vec::Vec;

use minicbor::{Decode, Encode};
use types::limits::DECISION_CLOCK_MS_MAX;
use types::{Digest, LogTime};

use crate::event::Event;
use crate::read::Read;
use crate::reply::Refusal;
use crate::table;
use crate::transition::Stop;

/// What came with a decision against replay. What is absent is not checked.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct ReplayGuard {
    /// The nonce, as the node that took the request found it.
    #[n(0)]
    pub nonce: Option<NonceClaim>,
    /// When the sender says it decided.
    #[n(1)]
    pub decided_at: Option<ClaimedTime>,
}

/// A nonce as a node found it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum NonceClaim {
    /// The field is there and holds nothing.
    #[n(0)]
    Missing,
    /// No node of this cluster issued it.
    #[n(1)]
    Unknown,
    /// Issued by a node of this cluster.
    #[n(2)]
    Genuine {
        /// SHA-256 of its text.
        #[n(0)]
        digest: Digest,
        /// From then on it is refused.
        #[n(1)]
        expires_at: LogTime,
    },
}

/// A time as a sender wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum ClaimedTime {
    /// No time at all.
    #[n(0)]
    Invalid,
    /// Unix milliseconds.
    #[n(1)]
    At(#[n(0)] u64),
}

/// Why a decision was taken for a replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum ReplayReason {
    /// The nonce is empty.
    #[n(0)]
    NonceRequired,
    /// No node issued it.
    #[n(1)]
    NonceUnknown,
    /// It has served.
    #[n(2)]
    NonceAlreadyUsed,
    /// Its time is over.
    #[n(3)]
    NonceExpired,
    /// The time cannot be read.
    #[n(4)]
    TimestampInvalid,
    /// The time is too far from log time, either way.
    #[n(5)]
    TimestampOutOfTolerance,
}

impl ReplayReason {
    /// Every reason.
    pub const ALL: [Self; 6] = [
        Self::NonceRequired,
        Self::NonceUnknown,
        Self::NonceAlreadyUsed,
        Self::NonceExpired,
        Self::TimestampInvalid,
        Self::TimestampOutOfTolerance,
    ];

    /// The word used on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NonceRequired => "nonce_required",
            Self::NonceUnknown => "nonce_unknown",
            Self::NonceAlreadyUsed => "nonce_already_used",
            Self::NonceExpired => "nonce_expired",
            Self::TimestampInvalid => "timestamp_invalid",
            Self::TimestampOutOfTolerance => "timestamp_out_of_tolerance",
        }
    }
}

/// Passes a decision that is neither a repeat nor late. Uses nothing up yet.
pub(crate) fn check(
    ledger: &impl Read,
    now: LogTime,
    guard: Option<&ReplayGuard>,
) -> Result<(), Stop> {
    let Some(guard) = guard else { return Ok(()) };
    let objection = match guard.nonce {
        None => None,
        Some(NonceClaim::Missing) => Some(ReplayReason::NonceRequired),
        Some(NonceClaim::Unknown) => Some(ReplayReason::NonceUnknown),
        Some(NonceClaim::Genuine { digest, expires_at }) => {
            if ledger.get(&table::used_nonce(&digest))?.is_some() {
                Some(ReplayReason::NonceAlreadyUsed)
            } else {
                (now >= expires_at).then_some(ReplayReason::NonceExpired)
            }
        }
    };
    match objection.or_else(|| untimely(now, guard.decided_at)) {
        None => Ok(()),
        Some(reason) => Err(Refusal::Replay { reason }.into()),
    }
}

fn untimely(now: LogTime, claimed: Option<ClaimedTime>) -> Option<ReplayReason> {
    match claimed? {
        ClaimedTime::Invalid => Some(ReplayReason::TimestampInvalid),
        ClaimedTime::At(ms) => (now.0.abs_diff(ms) > DECISION_CLOCK_MS_MAX)
            .then_some(ReplayReason::TimestampOutOfTolerance),
    }
}

/// Puts the use of the nonce before what an admitted decision causes.
pub(crate) fn use_up(guard: Option<&ReplayGuard>, events: &mut Vec<Event>) {
    if let Some(ReplayGuard { nonce: Some(NonceClaim::Genuine { digest, expires_at }), .. }) = guard
    {
        events.insert(0, Event::NonceUsed { digest: *digest, until: *expires_at });
    }
}
