//! Ids, request ids and salts: drawn by the node that takes a request, carried in its command.

use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use types::ids::{ID_COUNTER_BITS, compose};
use types::{NodeId, Salt};

/// Draws time-ordered ids that this node never draws twice while it runs.
pub struct IdSource {
    node: NodeId,
    last: Mutex<(u64, u64)>,
}

impl IdSource {
    /// A source for one node.
    #[must_use]
    pub fn new(node: NodeId) -> Self {
        Self { node, last: Mutex::new((0, 0)) }
    }

    /// The next id. When a millisecond's numbers are used up, or the clock goes back, it borrows
    /// from the next millisecond; the ledger refuses the rare id that is taken.
    #[must_use]
    pub fn next(&self) -> u64 {
        let now = unix_ms();
        let mut last = self.last.lock();
        let (ms, counter) = *last;
        *last = if now > ms {
            // A random start in the lower half keeps ids of a restarted node, whose clock may stand
            // where it stood before, away from those of its former life.
            (now, u64::from(u16::from_be_bytes(random::<2>()) >> 3))
        } else if counter + 1 < 1 << ID_COUNTER_BITS {
            (ms, counter + 1)
        } else {
            (ms + 1, 0)
        };
        compose(last.0, self.node, last.1)
    }
}

/// Unix milliseconds of this machine's clock.
#[must_use]
pub fn unix_ms() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

/// Bytes from the operating system's source of randomness.
///
/// # Panics
/// If that source fails: nothing safe can be drawn then.
#[must_use]
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

/// A fresh salt for the commitments of one intent.
#[must_use]
pub fn salt() -> Salt {
    Salt(random())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ids_grow_and_never_repeat() {
        let source = IdSource::new(NodeId(3));
        let drawn: Vec<u64> = (0..50_000).map(|_| source.next()).collect();
        assert!(drawn.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!(drawn.iter().collect::<BTreeSet<_>>().len(), drawn.len());
    }
}
