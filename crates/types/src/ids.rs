//! Ids: 64 bits, time-ordered, made by the node that takes the request, printed with the
//! prefixes that existing clients know.
//!
//! Layout, high bits first: 41 bits milliseconds since 2025-01-01T00:00:00Z, 9 bits node,
//! 14 bits counter. Invariant: an id says nothing about content, so an id that is taken by
//! another request is refused and drawn again.

use core::fmt;
use core::str::FromStr;

use minicbor::{Decode, Encode};

/// 2025-01-01T00:00:00Z in Unix milliseconds; the first bit of an id's clock.
pub const ID_EPOCH_MS: u64 = 1_735_689_600_000;
/// Bits of the counter inside one millisecond of one node.
pub const ID_COUNTER_BITS: u32 = 14;
/// Bits of the node id.
pub const ID_NODE_BITS: u32 = 9;
/// The largest node id that fits an id.
pub const NODE_ID_MAX: u64 = (1 << ID_NODE_BITS) - 1;

/// Composes an id from Unix milliseconds, a node and a counter; each part is cut to its bits.
#[must_use]
pub fn compose(unix_ms: u64, node: NodeId, counter: u64) -> u64 {
    let clock = unix_ms.saturating_sub(ID_EPOCH_MS) & ((1 << 41) - 1);
    let node = node.0 & NODE_ID_MAX;
    let counter = counter & ((1 << ID_COUNTER_BITS) - 1);
    (clock << (ID_NODE_BITS + ID_COUNTER_BITS)) | (node << ID_COUNTER_BITS) | counter
}

/// The Unix milliseconds that an id carries.
#[must_use]
pub fn unix_ms_of(id: u64) -> u64 {
    (id >> (ID_NODE_BITS + ID_COUNTER_BITS)) + ID_EPOCH_MS
}

/// A string was no id of the wanted kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParseIdError {
    /// The prefix that was expected, such as `int_`.
    pub expected: &'static str,
}

impl fmt::Display for ParseIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not an id: expected {} and 16 lower-case hex digits", self.expected)
    }
}

impl core::error::Error for ParseIdError {}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
        #[cbor(transparent)]
        pub struct $name(#[n(0)] pub u64);

        impl $name {
            /// The prefix of the printed form.
            pub const PREFIX: &'static str = $prefix;
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{:016x}"), self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                parse_hex(text, $prefix).map(Self).ok_or(ParseIdError { expected: $prefix })
            }
        }
    };
}

fn parse_hex(text: &str, prefix: &str) -> Option<u64> {
    let digits = text.strip_prefix(prefix)?;
    let well_formed =
        digits.len() == 16 && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if !well_formed {
        return None;
    }
    u64::from_str_radix(digits, 16).ok()
}

id!(
    /// An intent: what an agent asked for.
    IntentId,
    "int_"
);
id!(
    /// A principal: an agent, a worker, a person or an operator.
    AgentId,
    "agt_"
);
id!(
    /// One API key of a principal. Not the key itself.
    KeyId,
    "key_"
);
id!(
    /// One execution order.
    ExecutionId,
    "exe_"
);
id!(
    /// One freeze.
    FreezeId,
    "frz_"
);
id!(
    /// One registration of a webhook for one intent.
    WebhookId,
    "whk_"
);
id!(
    /// One notification on its way to one receiver; the same on every attempt.
    DeliveryId,
    "del_"
);

/// A namespace, numbered by the log. 0 is the cluster's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct NamespaceId(#[n(0)] pub u32);

impl NamespaceId {
    /// Rows of the cluster itself: settings, keys, schedules.
    pub const CLUSTER: Self = Self(0);
    /// The namespace named `default`, made with the cluster.
    pub const DEFAULT: Self = Self(1);
}

/// A node of the cluster, numbered from 1, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct NodeId(#[n(0)] pub u64);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn ids_round_trip_and_refuse_other_spellings() {
        let id = IntentId(0x2c28_46ca_c307_1a90);
        assert_eq!(id.to_string(), "int_2c2846cac3071a90");
        assert_eq!("int_2c2846cac3071a90".parse(), Ok(id));
        for bad in
            ["", "int_", "agt_2c2846cac3071a90", "int_2C2846CAC3071A90", "int_2c2846cac3071a9"]
        {
            assert!(bad.parse::<IntentId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn parts_come_back_and_later_ids_are_larger() {
        let early = compose(1_800_000_000_000, NodeId(511), 16_383);
        let late = compose(1_800_000_000_001, NodeId(1), 0);
        assert_eq!(unix_ms_of(early), 1_800_000_000_000);
        assert!(late > early);
    }
}
