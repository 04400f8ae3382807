//! Whether the profile fits how far the other voters are, by what round trips take.
//!
//! Pure. An election time-out of less than ten round trips ends reigns for nothing; one of a
//! hundred times as many leaves a cluster without its leader for longer than it needs to be.
//! Invariant: nothing is changed by it; it is said.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::config::Profile;

/// Looks at a node that are remembered: ten seconds of half a second each.
const LOOKS: usize = 20;
/// Fewer say nothing.
const LOOKS_MIN: usize = 8;
/// A time-out must be so many round trips long.
const ROUND_TRIPS: u32 = 10;
/// A less patient profile is named only where round trips take one part of its longest in so many.
const ROOM_PARTS: u32 = 7;

/// The longest round trip that a profile is for.
pub(crate) fn longest(profile: Profile) -> Duration {
    let (_, election_min_ms, _) = profile.times_ms();
    Duration::from_millis(election_min_ms) / ROUND_TRIPS
}

/// What is wrong with the profile.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Misfit {
    /// Voters that are too far, with what a round trip to them takes.
    pub(crate) too_far: BTreeMap<u64, Duration>,
    /// A less patient one would do for all of them.
    pub(crate) could_be: Option<Profile>,
}

impl Misfit {
    /// The first profile that is patient enough, if any is.
    pub(crate) fn wanted(&self) -> Option<Profile> {
        let far = self.too_far.values().max()?;
        Profile::ALL.into_iter().find(|profile| longest(*profile) >= *far)
    }
}

/// Round trips to other voters, lately.
#[derive(Default)]
pub(crate) struct Distances {
    seen: BTreeMap<u64, VecDeque<Duration>>,
    misfit: Misfit,
}

impl Distances {
    /// One more look at all other voters; those that were not seen are left out.
    pub(crate) fn look(&mut self, profile: Profile, voters: &[(u64, Option<Duration>)]) -> &Misfit {
        self.seen.retain(|node, _| voters.iter().any(|(voter, _)| voter == node));
        for (node, round_trip) in voters {
            let looks = self.seen.entry(*node).or_default();
            match round_trip {
                Some(round_trip) => looks.push_back(*round_trip),
                // What was seen before it fell silent says nothing of later.
                None => looks.clear(),
            }
            if looks.len() > LOOKS {
                looks.pop_front();
            }
        }
        let usual: BTreeMap<u64, Duration> =
            self.seen.iter().filter_map(|(node, looks)| Some((*node, median(looks)?))).collect();
        let longest_here = longest(profile);
        let too_far: BTreeMap<u64, Duration> = usual
            .iter()
            .filter(|(node, usual)| {
                let was = self.misfit.too_far.contains_key(node);
                // At the edge it stays what it was.
                **usual > if was { longest_here * 4 / 5 } else { longest_here }
            })
            .map(|(node, usual)| (*node, *usual))
            .collect();
        let all_are_known = !voters.is_empty() && usual.len() == voters.len();
        let farthest = usual.values().max().filter(|_| all_are_known);
        let less = Profile::ALL.into_iter().filter(|less| *less < profile);
        let could_be = farthest.and_then(|farthest| {
            less.into_iter().find(|less| *farthest <= longest(*less) / ROOM_PARTS)
        });
        self.misfit = Misfit { too_far, could_be };
        &self.misfit
    }

    pub(crate) fn misfit(&self) -> &Misfit {
        &self.misfit
    }
}

fn median(looks: &VecDeque<Duration>) -> Option<Duration> {
    let mut all: Vec<Duration> = looks.iter().copied().collect();
    if all.len() < LOOKS_MIN {
        return None;
    }
    all.sort_unstable();
    all.get(all.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(profile: Profile, looks: usize, voters: &[(u64, Option<u64>)]) -> Misfit {
        let mut distances = Distances::default();
        let micros = |us: &Option<u64>| us.map(Duration::from_micros);
        let voters: Vec<_> = voters.iter().map(|(node, us)| (*node, micros(us))).collect();
        for _ in 0..looks {
            distances.look(profile, &voters);
        }
        distances.misfit().clone()
    }

    #[test]
    #[rustfmt::skip]
    fn a_profile_fits_between_too_far_and_much_nearer() {
        use Profile::{Global, Lan, Regional};
        type Voters<'c> = &'c [(u64, Option<u64>)];
        type Case<'c> = (Profile, Voters<'c>, &'c [u64], Option<Profile>, Option<Profile>);
        let cases: [Case<'_>; 10] = [
            // profile, round trips in µs; too far, one that is patient enough, one that would do
            (Lan,      &[(2, Some(300))],                      &[],     None,           None),
            (Lan,      &[(2, Some(15_000)), (3, Some(1))],     &[],     None,           None),
            (Lan,      &[(2, Some(15_001)), (3, Some(1))],     &[2],    Some(Regional), None),
            (Lan,      &[(2, Some(90_000)), (3, Some(201_000))], &[2, 3], Some(Global), None),
            (Regional, &[(2, Some(20_000)), (3, Some(30_000))], &[],    None,           None),
            (Regional, &[(2, Some(2_000)), (3, Some(1_000))],  &[],     None,           Some(Lan)),
            (Global,   &[(2, Some(2_000)), (3, Some(1_000))],  &[],     None,           Some(Lan)),
            (Global,   &[(2, Some(2_000)), (3, Some(20_000))], &[],     None,      Some(Regional)),
            (Global,   &[(2, Some(2_000)), (3, None)],         &[],     None,           None),
            (Global,   &[],                                    &[],     None,           None),
        ];
        for (profile, voters, too_far, wanted, could_be) in cases {
            let found = after(profile, LOOKS_MIN, voters);
            assert_eq!(found.too_far.keys().copied().collect::<Vec<_>>(), too_far, "{voters:?}");
            assert_eq!((found.wanted(), found.could_be), (wanted, could_be), "{voters:?}");
            assert_eq!(after(profile, LOOKS_MIN - 1, voters), Misfit::default(), "too few looks");
        }
        assert_eq!(after(Global, 9, &[(2, Some(600_000))]).wanted(), None, "nothing is so far");
    }

    #[test]
    fn at_the_edge_it_stays_what_it_was_and_silence_says_nothing() {
        let mut distances = Distances::default();
        let mut far = |us: Option<u64>| {
            let mut misfit = Misfit::default();
            for _ in 0..=LOOKS {
                let seen = [(2, us.map(Duration::from_micros))];
                misfit = distances.look(Profile::Lan, &seen).clone();
            }
            !misfit.too_far.is_empty()
        };
        let looks = [Some(14_000), Some(16_000), Some(14_000), Some(12_000), Some(14_000)];
        assert_eq!(looks.map(&mut far), [false, true, true, false, false]);
        assert!(far(Some(16_000)) && !far(None) && !far(Some(14_000)));
    }
}
