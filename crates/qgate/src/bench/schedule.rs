//! When intents are due in the open loop: computed from their numbers alone, so that nothing that
//! happens during a run moves it.

use std::time::Duration;

const NANOS_PER_SECOND: u128 = 1_000_000_000;

/// Even times at a rate, from the start of a run to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Schedule {
    per_second: u64,
    ends: Duration,
}

impl Schedule {
    /// At this rate, above 0, for so long.
    pub(crate) fn new(per_second: u64, ends: Duration) -> Self {
        Self { per_second: per_second.max(1), ends }
    }

    /// When this number is due, from the start; the first one has number 0 and is due at once.
    pub(crate) fn due(self, number: u64) -> Duration {
        let nanos = u128::from(number) * NANOS_PER_SECOND / u128::from(self.per_second);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// How many are due before the end.
    pub(crate) fn all(self) -> u64 {
        self.before(self.ends.as_nanos())
    }

    /// How many are due once so much time is over.
    pub(crate) fn due_by(self, elapsed: Duration) -> u64 {
        self.before(elapsed.as_nanos() + 1).min(self.all())
    }

    /// How many are due before a time in nanoseconds: number `n` is if `n / rate` is less.
    fn before(self, nanos: u128) -> u64 {
        let count = (nanos * u128::from(self.per_second)).div_ceil(NANOS_PER_SECOND);
        u64::try_from(count).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_even_and_come_from_the_number() {
        let cases = [
            // a second, number, due after nanoseconds
            (1, 0, 0),
            (1, 7, 7_000_000_000),
            (3, 1, 333_333_333),
            (3, 2, 666_666_666),
            (3, 3, 1_000_000_000),
            (2_000, 20_000, 10_000_000_000),
            (1_000_000, 1, 1_000),
            (10_000_000, 864_000_000_000, 86_400_000_000_000),
        ];
        for (per_second, number, nanos) in cases {
            let schedule = Schedule::new(per_second, Duration::from_secs(86_400));
            assert_eq!(schedule.due(number), Duration::from_nanos(nanos), "{per_second} {number}");
        }
    }

    #[test]
    fn a_run_has_as_many_as_its_rate_says() {
        for per_second in [1, 3, 7, 999, 2_000, 1_000_000] {
            for seconds in [1, 2, 10] {
                let schedule = Schedule::new(per_second, Duration::from_secs(seconds));
                assert_eq!(schedule.all(), per_second * seconds);
            }
        }
        assert_eq!(Schedule::new(5, Duration::ZERO).all(), 0);
    }

    /// At every moment exactly those numbers are due whose time has come.
    #[test]
    fn what_is_due_by_a_time_agrees_with_when_each_is_due() {
        for per_second in [1, 3, 7, 1_000, 333_333] {
            let schedule = Schedule::new(per_second, Duration::from_secs(1));
            for number in (0..schedule.all()).take(1_000) {
                let due = schedule.due(number);
                assert_eq!(schedule.due_by(due), number + 1, "{per_second}/s, {number}");
                if let Some(before) = due.checked_sub(Duration::from_nanos(1)) {
                    assert_eq!(schedule.due_by(before), number, "{per_second}/s, {number}");
                }
            }
            assert_eq!(schedule.due_by(Duration::from_secs(60)), schedule.all());
        }
    }
}
