//! The clocks of the simulated machines: each off by some milliseconds, one that jumps, and in
//! some runs one that runs fast or slow.
//!
//! Invariant: of all clocks at most one is wrong, since the time is that of most of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;
use replica::clock::{Reading, TimeSource};

/// When the simulation begins, in microseconds since the Unix epoch: 2026-01-01.
const EPOCH_US: u64 = 1_767_225_600_000_000;

/// In one of so many runs a clock runs at another rate.
const ONE_IN_DRIFTS: u64 = 5;

/// A clock whose rate is wrong, in a whole run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Drift {
    pub(crate) node: u64,
    percent: u64,
}

impl Drift {
    /// What a seed has. Not drawn, so that all else is as it would be without it.
    pub(crate) fn of(seed: u64) -> Option<Self> {
        let turn = (seed % ONE_IN_DRIFTS == ONE_IN_DRIFTS - 1).then_some(seed / ONE_IN_DRIFTS)?;
        Some(Self { node: 1 + turn % 3, percent: if turn % 2 == 0 { 95 } else { 105 } })
    }
}

/// The clock of one machine. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    ahead_us: Arc<AtomicU64>,
    /// Of the right rate.
    percent: u64,
}

/// What a clock that is right shows, in Unix milliseconds.
pub(crate) fn shown_ms(elapsed: Duration) -> u64 {
    (EPOCH_US + micros(elapsed)) / 1_000
}

pub(crate) fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

impl Clock {
    /// Clocks of one cluster differ by some milliseconds.
    pub(crate) fn drawn(plan: &mut StdRng, node: u64, drift: Option<Drift>) -> Self {
        let drift = drift.filter(|drift| drift.node == node);
        Self {
            ahead_us: Arc::new(AtomicU64::new(plan.random_range(0..50_000))),
            percent: drift.map_or(100, |drift| drift.percent),
        }
    }

    /// It jumps ahead by so much, or back.
    pub(crate) fn jump(&self, by: Duration, is_back: bool) {
        if is_back {
            self.ahead_us.fetch_sub(micros(by), Ordering::Relaxed);
        } else {
            self.ahead_us.fetch_add(micros(by), Ordering::Relaxed);
        }
    }

    /// What a node that starts now sees of it.
    pub(crate) fn seen_from_now(&self) -> impl TimeSource {
        Seen { clock: self.clone(), began: tokio::time::Instant::now() }
    }
}

/// A clock, and the moment from which the steady one counts.
struct Seen {
    clock: Clock,
    began: tokio::time::Instant,
}

impl TimeSource for Seen {
    fn read(&self) -> Reading {
        let Clock { ahead_us, percent } = &self.clock;
        let shown = |span: Duration| micros(span) / 100 * percent;
        Reading {
            wall_us: EPOCH_US
                + shown(turmoil::sim_elapsed().unwrap_or_default())
                + ahead_us.load(Ordering::Relaxed),
            mono_us: shown(self.began.elapsed()),
        }
    }
}
