//! Work in proportion to a large body, done beside the threads that serve requests.
//!
//! A node may have one thread for requests, consensus and effects, so nothing large runs on it.
//! Small work is done where it is asked for: a hand-over would cost more than the work.
//! Invariant: at most [`places`] pieces of large work run at a time, however many are asked for, so
//! that the machine has room for the rest.

use std::num::NonZero;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use types::limits::INLINE_BYTES_MAX;

/// A piece of large work panicked; the panic is in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Panicked;

/// Where large work is done.
#[derive(Debug, Clone)]
pub struct Beside(Arc<Semaphore>);

/// The right to do one piece of large work.
#[derive(Debug)]
pub struct Place {
    _permit: OwnedSemaphorePermit,
}

impl Default for Beside {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(places())))
    }
}

/// How many pieces of large work run at a time: one per core, but one core less than there are.
#[must_use]
pub fn places() -> usize {
    if machine::IS_SIMULATED {
        // The machine that it runs on is no part of a run.
        return 1;
    }
    std::thread::available_parallelism().map_or(1, NonZero::get).saturating_sub(1).max(1)
}

impl Beside {
    /// Does work whose cost grows with these bytes: here if they are few, else beside.
    ///
    /// # Errors
    /// [`Panicked`].
    pub async fn run<T: Send + 'static>(
        &self,
        bytes: usize,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Panicked> {
        if bytes <= INLINE_BYTES_MAX { Ok(work()) } else { self.large(work).await }
    }

    /// Does large work beside.
    ///
    /// # Errors
    /// [`Panicked`].
    pub async fn large<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Panicked> {
        let place = self.place().await;
        // The place goes along and comes back with what was done: where the caller has left, work
        // goes on, and the place is free when it ends.
        let running = machine::blocking(move || (work(), place));
        let (done, _place) = running.await.map_err(|_| Panicked)?;
        Ok(done)
    }

    /// Waits for a place.
    pub async fn place(&self) -> Place {
        let permit = self.0.clone().acquire_owned().await;
        Place { _permit: permit.expect("the semaphore is never closed") }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().build().expect("a runtime")
    }

    #[test]
    fn small_work_stays_and_large_work_leaves_the_thread() {
        runtime().block_on(async {
            let (beside, here) = (Beside::default(), thread::current().id());
            let at = |bytes| beside.run(bytes, || thread::current().id());
            assert_eq!(at(INLINE_BYTES_MAX).await, Ok(here));
            assert_ne!(at(INLINE_BYTES_MAX + 1).await, Ok(here));
            assert_eq!(beside.large(|| panic!("on purpose")).await, Err::<(), _>(Panicked));
        });
    }

    /// One thread, and every place taken: large work waits, small work does not.
    #[test]
    fn large_work_waits_for_a_place_and_small_work_for_nothing() {
        runtime().block_on(async {
            let beside = Beside::default();
            let mut taken = Vec::new();
            for _ in 0..places() {
                taken.push(beside.place().await);
            }
            let large = beside.run(INLINE_BYTES_MAX + 1, || "large");
            tokio::pin!(large);
            assert!(futures::poll!(&mut large).is_pending());
            assert_eq!(beside.run(1, || "small").await, Ok("small"));
            assert!(futures::poll!(&mut large).is_pending());
            taken.clear();
            assert_eq!(large.await, Ok("large"));
        });
    }
}
