//! Time and order as the log gives them: nothing else in the core knows what time it is.

use core::fmt;

use minicbor::{Decode, Encode};

use crate::ids::NodeId;

/// Log time: Unix milliseconds, never going back along the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode)]
#[cbor(transparent)]
pub struct LogTime(#[n(0)] pub u64);

impl LogTime {
    /// This time plus a span in milliseconds, saturating.
    #[must_use]
    pub fn plus_ms(self, span_ms: u64) -> Self {
        Self(self.0.saturating_add(span_ms))
    }

    /// Milliseconds from `earlier` to this time, 0 if it is not earlier.
    #[must_use]
    pub fn since_ms(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Position of an entry in the Raft log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode)]
#[cbor(transparent)]
pub struct LogIndex(#[n(0)] pub u64);

impl fmt::Display for LogIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The only source of order and time in the core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Raft log index of the entry.
    pub index: LogIndex,
    /// Position of the command inside the entry's batch, from 0.
    pub position: u32,
    /// `max(log time before this entry, the leader's stamp)`.
    pub time: LogTime,
    /// The node that proposed the entry.
    pub proposer: NodeId,
}
