//! Pauses between tries: doubling, bounded, and never in step with other clients.

use std::time::Duration;

/// The first pause.
const FIRST_MS: u64 = 100;
/// The longest pause, unless the server asks for a longer one.
const LONGEST_MS: u64 = 2_000;

/// Counts rounds over all endpoints and says how long to wait after each.
#[derive(Debug, Default)]
pub struct Backoff {
    rounds: u32,
}

impl Backoff {
    /// The pause after the next round: between half of the bound and the bound.
    #[must_use]
    pub fn pause(&mut self) -> Duration {
        let mut byte = [0_u8; 1];
        // Without randomness the pause is the full one: slower, not wrong.
        let drawn = getrandom::fill(&mut byte).map_or(u8::MAX, |()| byte[0]);
        self.pause_drawn(drawn)
    }

    fn pause_drawn(&mut self, drawn: u8) -> Duration {
        let doubled = FIRST_MS.saturating_mul(1 << self.rounds.min(10));
        self.rounds = self.rounds.saturating_add(1);
        let bound = doubled.min(LONGEST_MS);
        Duration::from_millis(bound / 2 + bound / 2 * u64::from(drawn) / u64::from(u8::MAX))
    }

    /// Rounds so far.
    #[must_use]
    pub fn rounds(&self) -> u32 {
        self.rounds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_bound() {
        for (drawn, expected) in [
            (0, [50, 100, 200, 400, 800, 1_000, 1_000]),
            (u8::MAX, [100, 200, 400, 800, 1_600, 2_000, 2_000]),
        ] {
            let mut backoff = Backoff::default();
            let pauses = [(); 7].map(|()| backoff.pause_drawn(drawn).as_millis());
            assert_eq!(pauses, expected, "{drawn}");
        }
        let mut long = Backoff { rounds: u32::MAX - 1 };
        assert_eq!(long.pause_drawn(0), long.pause_drawn(0));
    }
}
