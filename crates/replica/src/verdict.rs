//! What a node concludes from what the others say: whose state differs, and whose clock.
//!
//! Pure. Invariant: a node takes itself out of service only when a majority of the voters says so,
//! or can no longer say anything.

use crate::clock::CLOCK_OFF_MAX_US;

/// What the states of the voters say about one's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// A majority has the same, or could still have.
    Same,
    /// A majority has another one.
    Differs,
    /// No majority has the same one, whatever the silent ones have.
    NoMajority,
}

/// Compares the own hash with those of other voters after the same entry.
pub(crate) fn of_hashes<H: PartialEq>(own: &H, others: &[H], voters: usize) -> Verdict {
    let majority = voters / 2 + 1;
    let silent = voters.saturating_sub(1 + others.len());
    let having =
        |hash: &H| usize::from(hash == own) + others.iter().filter(|other| *other == hash).count();
    if others.iter().any(|other| other != own && having(other) >= majority) {
        return Verdict::Differs;
    }
    let most = others.iter().map(having).chain([having(own)]).max().unwrap_or(0);
    if most + silent < majority { Verdict::NoMajority } else { Verdict::Same }
}

/// What the clocks of the voters say about one's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Clocks {
    /// How far the middle of all clocks is ahead of the own one, in microseconds; 0 while none is
    /// in the middle.
    pub(crate) offset_us: i64,
    /// The own one is too far from the others to lead.
    pub(crate) is_off: bool,
    /// Nothing was heard yet that says whether it is right.
    pub(crate) is_unknown: bool,
    /// It is ahead of the only other one that answers, and either may be wrong.
    pub(crate) is_ahead: bool,
}

impl Clocks {
    /// After another look, with the offsets of those other voters that answer, whether the own
    /// clock has jumped since it was last known to be right, and how far the time of the log is
    /// ahead of it. One that has jumped is not right, but where it should be is known, and a leader
    /// goes by that.
    pub(crate) fn heard(
        self,
        others: &[i64],
        voters: usize,
        has_jumped: Option<bool>,
        log_ahead_us: i64,
    ) -> Self {
        if let Some(offset_us) = median(others) {
            let is_off = offset_us.unsigned_abs() > CLOCK_OFF_MAX_US;
            return Self { offset_us, is_off, is_unknown: false, is_ahead: false };
        }
        if clock_is_told(others, voters) || has_jumped == Some(false) {
            return Self::default();
        }
        // Of two that differ either may be wrong: what was known before stays. What the middle was
        // says nothing of a clock that has moved since. The one that is ahead does not lead: time
        // that goes on too late ends no window too early. But one that is behind the log is wrong
        // for certain, and says nothing of others.
        let off_max = CLOCK_OFF_MAX_US.cast_signed();
        let is_ahead = match others {
            [other] if has_jumped.is_none() => {
                *other < -off_max && *other >= log_ahead_us.saturating_sub(off_max)
            }
            [] => self.is_ahead,
            _ => false,
        };
        Self { offset_us: 0, is_ahead, ..self }
    }
}

/// Whether the others say where the own clock should be. Who votes alone is right.
pub(crate) fn clock_is_told(others: &[i64], voters: usize) -> bool {
    match others {
        [] => voters <= 1,
        [other] => other.unsigned_abs() <= CLOCK_OFF_MAX_US,
        _ => true,
    }
}

/// How far the middle of all clocks is ahead of the own one, which is among them with 0; `None`
/// with fewer than three, of which none is in the middle.
fn median(others: &[i64]) -> Option<i64> {
    let mut all: Vec<i64> = others.iter().copied().chain([0]).collect();
    if all.len() < 3 {
        return None;
    }
    all.sort_unstable();
    let middle = all.len() / 2;
    let upper = all.get(middle).copied()?;
    if all.len() % 2 == 1 {
        return Some(upper);
    }
    let lower = all.get(middle - 1).copied()?;
    Some(lower.midpoint(upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[rustfmt::skip]
    fn the_minority_differs_and_without_a_majority_nobody_is_right() {
        use Verdict::{Differs, NoMajority, Same};
        let cases: [(u8, &[u8], usize, Verdict); 14] = [
            // own, others heard, voters
            (1, &[],           1, Same),
            (1, &[],           3, Same),
            (1, &[1],          3, Same),
            (1, &[2],          3, Same),       // the third decides
            (1, &[1, 2],       3, Same),
            (1, &[2, 2],       3, Differs),
            (1, &[2, 3],       3, NoMajority),
            (1, &[2],          2, NoMajority),
            (1, &[1],          2, Same),
            (1, &[2, 2],       5, Same),
            (1, &[2, 2, 2],    5, Differs),
            (1, &[2, 2, 1],    5, Same),       // one is silent
            (1, &[2, 2, 1, 3], 5, NoMajority),
            (1, &[2, 3, 4],    5, NoMajority),
        ];
        for (row, (own, others, voters, expected)) in cases.into_iter().enumerate() {
            assert_eq!(of_hashes(&own, others, voters), expected, "row {row}");
        }
    }

    #[test]
    fn the_median_is_that_of_all_clocks() {
        for (others, expected) in [
            (&[][..], None),
            (&[700], None),
            (&[-20, 40], Some(0)),
            (&[900, 1_000], Some(900)),
            (&[-5, 3_600_000_000], Some(0)),
            (&[100, 200, 300], Some(150)),
            (&[i64::MIN, i64::MAX, i64::MAX], Some(i64::MAX / 2)),
        ] {
            assert_eq!(median(others), expected, "{others:?}");
        }
    }

    #[test]
    #[rustfmt::skip]
    fn a_clock_leads_once_it_was_compared_and_old_offsets_end() {
        const HOUR: i64 = 3_600_000_000;
        let clocks = |offset_us, is_off, is_unknown| Clocks {
            offset_us, is_off, is_unknown, is_ahead: false,
        };
        let new = clocks(0, false, true);
        let off = clocks(HOUR, true, false);
        let cases: [(Clocks, &[i64], usize, Clocks); 12] = [
            // before, others heard, voters, after
            (new, &[],              3, new),
            (new, &[20],            3, clocks(0, false, false)),
            (new, &[HOUR],          3, new),                     // either may be wrong
            (new, &[HOUR, HOUR],    3, off),
            (new, &[10, 30],        3, clocks(10, false, false)),
            (new, &[],              1, clocks(0, false, false)),
            (clocks(9, false, false), &[],   3, clocks(0, false, false)),
            (clocks(9, false, false), &[40], 3, clocks(0, false, false)),
            (off, &[HOUR],          3, clocks(0, true, false)),
            (off, &[],              3, clocks(0, true, false)),
            (off, &[7],             2, clocks(0, false, false)), // it was set right
            (off, &[],              1, clocks(0, false, false)),
        ];
        for (row, (before, others, voters, after)) in cases.into_iter().enumerate() {
            for jumped in [None, Some(true)] {
                assert_eq!(before.heard(others, voters, jumped, 0), after, "row {row}");
            }
            let told = clock_is_told(others, voters);
            let is_right = before.heard(others, voters, Some(false), 0);
            assert_eq!(is_right, if told { after } else { Clocks::default() }, "row {row}");
        }
    }

    #[test]
    #[rustfmt::skip]
    fn of_two_clocks_that_differ_the_one_that_is_ahead_does_not_lead() {
        const HOUR: i64 = 3_600_000_000;
        let new = Clocks { is_unknown: true, ..Clocks::default() };
        let ahead = Clocks { is_ahead: true, ..new };
        type Case = (Clocks, &'static [i64], Option<bool>, i64, bool);
        let cases: [Case; 12] = [
            // before, others heard, jumped, the log is ahead by, is ahead
            (new,   &[-HOUR],        None,        -9 * HOUR, true),
            (new,   &[-HOUR],        None,        -HOUR,     true),
            (new,   &[HOUR],         None,        -9 * HOUR, false), // the other one is ahead
            (new,   &[-20],          None,        -9 * HOUR, false),
            (new,   &[-HOUR],        None,        0,         false), // it is behind the log
            (new,   &[-HOUR],        Some(false), -9 * HOUR, false), // it is known to be right
            (new,   &[-HOUR],        Some(true),  -9 * HOUR, false), // and here where it should be
            (ahead, &[],             None,        -9 * HOUR, true),  // nobody else says anything
            (ahead, &[20],           None,        -9 * HOUR, false),
            (ahead, &[HOUR],         None,        -9 * HOUR, false),
            (ahead, &[-HOUR, -HOUR], None,        -9 * HOUR, false), // it is off, which says more
            (ahead, &[0, -HOUR],     None,        -9 * HOUR, false),
        ];
        for (row, (before, others, jumped, log_us, is_ahead)) in cases.into_iter().enumerate() {
            let after = before.heard(others, 3, jumped, log_us);
            assert_eq!(after.is_ahead, is_ahead, "row {row}");
        }
    }
}
