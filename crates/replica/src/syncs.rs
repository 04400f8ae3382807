//! How long syncs of the log take, lately, and whether that is much longer than elsewhere.
//!
//! Pure: counters and times come in, a figure goes out. Invariant: a disk is slow only when it is
//! so by itself and beside another node's; of a node without work nothing is known.

use std::collections::VecDeque;
use std::time::Duration;

use store::log::LogStats;

use crate::config::Profile;

/// Looks that are remembered: ten seconds of half a second each.
const LOOKS: usize = 20;
const LOOK_US: u64 = 500_000;
/// Of which so many must have seen a sync.
const LOOKS_MIN: usize = 8;
/// Another node's disk is better if it takes no more than one part in so many.
const BETTER_PARTS: u64 = 4;

/// Syncs that take longer than this are slow, wherever they are.
pub(crate) fn slow_from(profile: Profile) -> Duration {
    Duration::from_millis(match profile {
        Profile::Lan => 100,
        Profile::Regional => 250,
        Profile::Global => 500,
    })
}

/// A sync that has taken so long hangs: no vote and no entry of this node is worth waiting for.
pub(crate) fn stuck_from(profile: Profile) -> Duration {
    Duration::from_secs(match profile {
        Profile::Lan => 5,
        Profile::Regional => 8,
        Profile::Global => 15,
    })
}

/// What recent looks at the log's counters found.
#[derive(Default)]
pub(crate) struct Syncs {
    syncs: u64,
    us_total: u64,
    looks: VecDeque<Option<u64>>,
}

impl Syncs {
    /// One more look. Gives how long a sync usually takes, in microseconds: the median over the
    /// looks that saw one, of the mean of each; `None` while too few did.
    pub(crate) fn look(&mut self, stats: &LogStats, stalled: Duration) -> Option<u64> {
        let syncs = stats.syncs.saturating_sub(self.syncs);
        let us = stats.sync_us_total.saturating_sub(self.us_total);
        (self.syncs, self.us_total) = (stats.syncs, stats.sync_us_total);
        // One that runs says how long it takes at least.
        let stalled = u64::try_from(stalled.as_micros()).unwrap_or(u64::MAX);
        let mean = us.checked_div(syncs);
        let seen = match mean {
            Some(mean) => Some(mean.max(stalled)),
            None if stalled >= LOOK_US => Some(stalled),
            None => None,
        };
        self.looks.push_back(seen);
        if self.looks.len() > LOOKS {
            self.looks.pop_front();
        }
        let mut seen: Vec<u64> = self.looks.iter().filter_map(|look| *look).collect();
        if seen.len() < LOOKS_MIN {
            return None;
        }
        seen.sort_unstable();
        seen.get(seen.len() / 2).copied()
    }
}

/// Another node's disk is the better one.
pub(crate) fn is_better(other_us: u64, own_us: u64) -> bool {
    other_us <= own_us / BETTER_PARTS
}

/// A disk becomes slow when its syncs take long and another node's do not; it is so until they take
/// half of that.
pub(crate) fn is_slow(own_us: Option<u64>, others: &[u64], from: Duration, was_slow: bool) -> bool {
    let from = u64::try_from(from.as_micros()).unwrap_or(u64::MAX);
    own_us.is_some_and(|own| {
        let is_worse = others.iter().any(|other| is_better(*other, own));
        if was_slow { own >= from / 2 } else { own >= from && is_worse }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks that saw so many syncs of so many microseconds each.
    fn after(looks: &[(u64, u64, u64)]) -> Option<u64> {
        let (mut syncs, mut stats, mut last) = (Syncs::default(), LogStats::default(), None);
        for (count, us, stalled) in looks {
            stats.syncs += count;
            stats.sync_us_total += count * us;
            last = syncs.look(&stats, Duration::from_micros(*stalled));
        }
        last
    }

    #[test]
    #[rustfmt::skip]
    fn the_usual_time_is_that_of_most_looks_lately() {
        type Case<'c> = (&'c [(u64, u64, u64)], Option<u64>, &'c str);
        let cases: [Case<'_>; 8] = [
            (&[(5, 100, 0); 7],                                      None,          "too few"),
            (&[(5, 100, 0); 8],                                      Some(100),     "enough"),
            (&[(0, 0, 0); 30],                                       None,          "no work"),
            (&[[(5, 100, 0); 20], [(0, 0, 0); 20]].concat(),         None,          "long ago"),
            (&[[(9, 100, 0); 11].as_slice(), &[(1, 900_000, 0); 9]].concat(),
                                                                     Some(100),     "a burst"),
            (&[[(9, 100, 0); 9].as_slice(), &[(1, 900_000, 0); 11]].concat(),
                                                                     Some(900_000), "it stays"),
            (&[(0, 0, 700_000); 9],                                  Some(700_000), "it hangs"),
            (&[(0, 0, 400_000); 9],                                  None,          "it began"),
        ];
        for (looks, expected, what) in cases {
            assert_eq!(after(looks), expected, "{what}");
        }
    }

    #[test]
    #[rustfmt::skip]
    fn a_disk_is_slow_by_itself_and_beside_another() {
        type Case<'c> = (Option<u64>, &'c [u64], bool, bool, &'c str);
        let cases: [Case<'_>; 8] = [
            // own, others, was slow, is slow
            (None,          &[1],          false, false, "nothing is known"),
            (Some(99_999),  &[1],          false, false, "below the bound"),
            (Some(100_000), &[25_000],     false, true,  "much slower"),
            (Some(100_000), &[25_001],     false, false, "not much slower"),
            (Some(900_000), &[],           false, false, "nobody to compare with"),
            (Some(900_000), &[800_000, 3], false, true,  "one is better"),
            (Some(50_000),  &[],           true,  true,  "it stays so"),
            (Some(49_999),  &[1],          true,  false, "it is over"),
        ];
        for (own, others, was, expected, what) in cases {
            assert_eq!(is_slow(own, others, slow_from(Profile::Lan), was), expected, "{what}");
        }
    }
}
