//! How many bytes of bodies this node holds at a time, from their first byte to their answer.
//!
//! A body costs several times its bytes while it is parsed and judged, so the sum has a limit, and
//! small bodies have one of their own: large ones cannot take their room.
//! Invariant: what was taken is given back when its request ends, however it ends.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use types::limits::{INLINE_BYTES_MAX, LARGE_BODIES_BYTES_MAX, SMALL_BODIES_BYTES_MAX};

use crate::problem::Problem;

/// The room for bodies.
pub(crate) struct Bodies {
    small: Arc<Semaphore>,
    large: Arc<Semaphore>,
}

/// The room that one request's body takes. The outermost layer keeps it until the answer is made.
#[derive(Clone, Default)]
pub(crate) struct Room(Arc<Mutex<Taken>>);

#[derive(Default)]
struct Taken {
    bytes: usize,
    permit: Option<OwnedSemaphorePermit>,
}

impl Default for Bodies {
    fn default() -> Self {
        Self {
            small: Arc::new(Semaphore::new(SMALL_BODIES_BYTES_MAX)),
            large: Arc::new(Semaphore::new(LARGE_BODIES_BYTES_MAX)),
        }
    }
}

impl Bodies {
    /// Refuses a body that has no room before any of it is read.
    ///
    /// # Errors
    /// 503.
    pub(crate) fn expect(&self, bytes: usize) -> Result<(), Problem> {
        if self.budget(bytes).available_permits() < bytes { Err(full()) } else { Ok(()) }
    }

    /// Takes room until the request has this many bytes of it.
    ///
    /// # Errors
    /// 503; what was taken before stays taken.
    pub(crate) fn take(&self, room: &Room, bytes: usize) -> Result<(), Problem> {
        let mut taken = room.0.lock();
        let stays = taken.bytes > INLINE_BYTES_MAX || bytes <= INLINE_BYTES_MAX;
        let more = if stays { bytes.saturating_sub(taken.bytes) } else { bytes };
        let more = u32::try_from(more).map_err(|_| full())?;
        let found = self.budget(bytes).clone().try_acquire_many_owned(more).map_err(|_| full())?;
        match &mut taken.permit {
            Some(permit) if stays => permit.merge(found),
            permit => *permit = Some(found),
        }
        taken.bytes = bytes;
        Ok(())
    }

    fn budget(&self, bytes: usize) -> &Arc<Semaphore> {
        if bytes > INLINE_BYTES_MAX { &self.large } else { &self.small }
    }
}

fn full() -> Problem {
    Problem::overloaded("this node holds as many bytes of bodies as it may; send it again")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1024 * 1024;

    #[test]
    fn room_is_bounded_grows_with_its_body_and_comes_back() {
        let bodies = Bodies::default();
        let free =
            |bodies: &Bodies| (bodies.small.available_permits(), bodies.large.available_permits());
        let empty = free(&bodies);
        let room = Room::default();
        assert!(bodies.take(&room, 1_000).is_ok() && bodies.take(&room, INLINE_BYTES_MAX).is_ok());
        assert_eq!(free(&bodies), (empty.0 - INLINE_BYTES_MAX, empty.1));
        assert!(bodies.take(&room, 5 * MIB).is_ok() && bodies.take(&room, 6 * MIB).is_ok());
        assert_eq!(free(&bodies), (empty.0, empty.1 - 6 * MIB));

        let other = Room::default();
        assert!(bodies.expect(58 * MIB).is_ok() && bodies.expect(59 * MIB).is_err());
        assert!(bodies.take(&other, 58 * MIB).is_ok());
        assert!(bodies.take(&other, 58 * MIB + 1).is_err(), "all large room is taken");
        assert!(bodies.take(&Room::default(), 10).is_ok(), "small bodies have their own");
        drop(other);
        assert!(bodies.take(&room, 64 * MIB).is_ok());
        drop(room);
        assert_eq!(free(&bodies), empty);
    }
}
