//! The clock of a node, and the leader's, which makes the time that all replicas agree on.
//!
//! The leader's starts at the later of the log's time and the wall clock, advances by the monotonic
//! clock, and is slewed to the wall clock by at most 5 %, so that a jump of the wall clock never
//! becomes a jump of deadlines. Invariant: it never goes back.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bugs::Bug;
use rustix::time::{ClockId, clock_gettime};
use types::LogTime;

/// Of the time that passed, at most one part in this many is added or taken away.
const SLEW_PARTS: u64 = 20;

/// One look at both clocks of a machine, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Since the Unix epoch; may jump.
    pub wall_us: u64,
    /// Since any fixed moment; never goes back.
    pub mono_us: u64,
}

/// Where readings come from; tests and simulation bring their own.
pub trait TimeSource: Send + Sync + 'static {
    /// Looks at both clocks.
    fn read(&self) -> Reading;
}

/// The machine's own clocks. The steady one goes on while the machine sleeps.
#[derive(Debug, Default)]
pub struct MachineTime;

#[cfg(target_os = "linux")]
const STEADY: ClockId = ClockId::Boottime;
#[cfg(not(target_os = "linux"))]
const STEADY: ClockId = ClockId::Monotonic;

impl TimeSource for MachineTime {
    fn read(&self) -> Reading {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let steady = Duration::try_from(clock_gettime(STEADY)).unwrap_or_default();
        let micros = |span: Duration| u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        Reading { wall_us: micros(wall), mono_us: micros(steady) }
    }
}

/// A clock that is further from where it should be does not lead.
pub(crate) const CLOCK_OFF_MAX_US: u64 = 500_000;

/// A moment at which the clock was right, as the others said. From there the steady clock says
/// where it should be: one that has jumped since is wrong, though nobody is there to say so.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Agreed(Option<Reading>);

impl Agreed {
    /// The clock should show this now.
    pub(crate) fn on(now: Reading) -> Self {
        Self(Some(now))
    }

    /// Where the clock should be by now.
    pub(crate) fn expected_us(&self, now: Reading) -> Option<u64> {
        let Self(agreed) = self;
        agreed.map(|at| at.wall_us.saturating_add(now.mono_us.saturating_sub(at.mono_us)))
    }

    /// Whether the clock is somewhere else; nothing where nothing is known.
    pub(crate) fn has_jumped(&self, now: Reading) -> Option<bool> {
        let expected = self.expected_us(now);
        expected.map(|expected| expected.abs_diff(now.wall_us) > CLOCK_OFF_MAX_US)
    }

    /// What the clock shows, or should.
    pub(crate) fn corrected(&self, now: Reading) -> Reading {
        match self.expected_us(now).filter(|_| self.has_jumped(now) == Some(true)) {
            Some(wall_us) => Reading { wall_us, ..now },
            None => now,
        }
    }
}

/// A leader's clock, from the moment it leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaderClock {
    time_us: u64,
    mono_us: u64,
}

impl LeaderClock {
    /// Starts at the later of the log's time and the wall clock.
    #[must_use]
    pub fn start(previous: LogTime, now: Reading) -> Self {
        let previous_us = previous.0.saturating_mul(1_000);
        Self { time_us: now.wall_us.max(previous_us), mono_us: now.mono_us }
    }

    /// Never falls behind what the log already says.
    pub fn raise_to(&mut self, log: LogTime) {
        self.time_us = self.time_us.max(log.0.saturating_mul(1_000));
    }

    /// The time now. Never earlier than any answer before.
    pub fn advance(&mut self, now: Reading) -> LogTime {
        let passed_us = now.mono_us.saturating_sub(self.mono_us);
        let slew_us = passed_us / SLEW_PARTS;
        let earliest = self.time_us.saturating_add(passed_us - slew_us);
        let latest = self.time_us.saturating_add(passed_us).saturating_add(slew_us);
        self.time_us = now.wall_us.clamp(earliest, latest);
        if Bug::LeaderTimeJumps.is_planted() {
            self.time_us = now.wall_us.max(self.time_us);
        }
        self.mono_us = self.mono_us.max(now.mono_us);
        LogTime(self.time_us / 1_000)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reading(wall_ms: u64, mono_ms: u64) -> Reading {
        Reading { wall_us: wall_ms * 1_000, mono_us: mono_ms * 1_000 }
    }

    #[test]
    fn a_clock_that_jumps_is_seen_by_the_steady_one() {
        let agreed = Agreed::on(reading(1_000_000, 500));
        for (now, jumped, shown) in [
            (reading(1_002_000, 2_500), false, 1_002_000),
            (reading(1_002_500, 2_500), false, 1_002_500),
            (reading(1_002_501, 2_500), true, 1_002_000),
            (reading(4_602_000, 2_500), true, 1_002_000),
            (reading(900_000, 2_500), true, 1_002_000),
        ] {
            assert_eq!(agreed.has_jumped(now), Some(jumped), "{now:?}");
            assert_eq!(agreed.corrected(now).wall_us, shown * 1_000, "{now:?}");
            let new = Agreed::default();
            assert!(
                new.has_jumped(now).is_none() && new.corrected(now) == now,
                "nothing is known yet"
            );
        }
    }

    #[test]
    #[rustfmt::skip]
    fn follows_the_monotonic_clock_and_leans_towards_the_wall() {
        type Steps = &'static [(u64, u64)];
        let cases: [(u64, u64, Steps, u64); 9] = [
            // log time, wall at start, (wall, mono since start)…, expected
            (0,      10_000, &[(10_000, 0)],                    10_000),
            (0,      10_000, &[(11_000, 1_000)],                11_000),
            (50_000, 10_000, &[(10_000, 0)],                    50_000),
            (50_000, 10_000, &[(11_000, 1_000)],                50_950), // ahead: slower
            (0,      10_000, &[(99_000, 1_000)],                11_050), // behind: faster
            (0,      10_000, &[(1_000, 1_000)],                 10_950), // wall jumped back
            (0,      10_000, &[(11_020, 1_000)],                11_020), // within 5 %: exact
            (0,      10_000, &[(99_000, 1_000), (99_000, 500)], 11_050), // mono never goes back
            (0,      10_000, &[(20_000, 1_000), (21_000, 2_000), (11_000, 3_000)], 13_050),
        ];
        for (position, (log_ms, wall_ms, steps, expected)) in cases.into_iter().enumerate() {
            let mut clock = LeaderClock::start(LogTime(log_ms), reading(wall_ms, 7));
            let mut time = LogTime(0);
            for (wall_ms, mono_ms) in steps {
                time = clock.advance(reading(*wall_ms, 7 + mono_ms));
            }
            assert_eq!(time, LogTime(expected), "case {position}");
        }
    }

    proptest! {
        /// Whatever the wall clock does, time moves on, and by 95 % to 105 % of what passed.
        #[test]
        fn never_goes_back_and_keeps_its_rate(
            log_ms in 0..1u64 << 42,
            steps in proptest::collection::vec((0..1u64 << 52, 0..10_000_000u64), 1..50),
        ) {
            let start = Reading { wall_us: 1 << 50, mono_us: 0 };
            let mut clock = LeaderClock::start(LogTime(log_ms), start);
            let (mut mono_us, mut last_us) = (0, clock.time_us);
            for (wall_us, passed_us) in steps {
                mono_us += passed_us;
                clock.advance(Reading { wall_us, mono_us });
                let moved_us = clock.time_us - last_us;
                prop_assert!(moved_us.abs_diff(passed_us) <= passed_us / 20);
                last_us = clock.time_us;
            }
        }
    }
}
