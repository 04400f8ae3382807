//! Ids, request ids and salts: drawn by the node that takes a request, carried in its command.

use std::cell::RefCell;
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

/// Bytes that one call to the operating system draws; a submit needs some seventy.
const DRAWN_BYTES: usize = 1_024;

/// Random bytes that were drawn and not yet given out. What was given out is zero.
struct Drawn {
    bytes: [u8; DRAWN_BYTES],
    given: usize,
}

thread_local! {
    static DRAWN: RefCell<Drawn> =
        const { RefCell::new(Drawn { bytes: [0; DRAWN_BYTES], given: DRAWN_BYTES }) };
}

/// Bytes from the operating system's source of randomness, drawn many at a time.
///
/// # Panics
/// If that source fails: nothing safe can be drawn then.
#[must_use]
pub fn random<const N: usize>() -> [u8; N] {
    const { assert!(N <= DRAWN_BYTES) };
    DRAWN.with_borrow_mut(|drawn| {
        if drawn.given + N > DRAWN_BYTES {
            getrandom::fill(&mut drawn.bytes).expect("the operating system gives random bytes");
            drawn.given = 0;
        }
        let from = &mut drawn.bytes[drawn.given..drawn.given + N];
        let mut bytes = [0; N];
        bytes.copy_from_slice(from);
        from.fill(0);
        drawn.given += N;
        bytes
    })
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
    fn random_bytes_are_given_out_once() {
        let drawn: BTreeSet<[u8; 16]> = (0..1_000).map(|_| random()).collect();
        assert_eq!(drawn.len(), 1_000);
        assert!(drawn.iter().all(|bytes| *bytes != [0; 16]));
    }

    #[test]
    fn ids_grow_and_never_repeat() {
        let source = IdSource::new(NodeId(3));
        let drawn: Vec<u64> = (0..50_000).map(|_| source.next()).collect();
        assert!(drawn.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!(drawn.iter().collect::<BTreeSet<_>>().len(), drawn.len());
    }
}
