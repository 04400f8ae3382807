//! What targets were made to do, held against the audit log: no effect without its claim, none of
//! what nobody released, and none twice.
//!
//! Invariant: an effect is what the target saw, and a claim is what the log has; neither is asked
//! about the other.

use std::collections::{BTreeMap, BTreeSet};

/// A step in the life of an intent, as the audit log has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Policy or the last vote lets it out.
    Released,
    /// Somebody's vote for it.
    Vote(String),
    /// It must not run: rejected, withdrawn, expired, blocked.
    Refused,
    /// It is to be carried out under this fence.
    Claim(u64),
    /// The one under way succeeded, or failed.
    Outcome {
        /// It was done.
        succeeded: bool,
    },
    /// Nobody knows whether the one under way was done.
    Doubt,
}

/// An intent and its life.
#[derive(Debug, Clone)]
pub struct Life {
    /// The id of the intent.
    pub intent: String,
    /// Distinct people who must let it out.
    pub votes_needed: usize,
    /// In the order of the log.
    pub steps: Vec<Step>,
}

/// What a target did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect {
    /// The id of the intent.
    pub intent: String,
    /// The fence that came with it.
    pub fence: u64,
}

/// What was seen of effects, for people.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// Intents that were carried out.
    pub effects: u64,
    /// Those whose outcome is not known.
    pub in_doubt: u64,
    /// Those that must not run, and did not.
    pub refused: u64,
}

/// The first promise that was broken.
///
/// # Errors
/// What is wrong, for people.
pub fn check(lives: &[Life], effects: &[Effect]) -> Result<Seen, String> {
    let mut done: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for Effect { intent, fence } in effects {
        done.entry(intent).or_default().push(*fence);
    }
    let mut seen = Seen::default();
    let mut known = BTreeSet::new();
    for life in lives {
        if !known.insert(life.intent.as_str()) {
            return Err(format!("{} has two lives", life.intent));
        }
        let fences = done.get(life.intent.as_str()).map_or(&[][..], Vec::as_slice);
        let end = life.walk()?;
        life.hold(fences, &end)?;
        seen.effects += u64::from(!fences.is_empty());
        seen.in_doubt += u64::from(end.is_in_doubt);
        seen.refused += u64::from(end.is_refused);
    }
    match done.keys().find(|intent| !known.contains(*intent)) {
        Some(stranger) => Err(format!("an effect of {stranger}, of which the log knows nothing")),
        None => Ok(seen),
    }
}

/// Where a life has come to.
#[derive(Debug, Default)]
struct End {
    claims: Vec<u64>,
    is_refused: bool,
    is_in_doubt: bool,
    has_succeeded: bool,
}

impl Life {
    /// Whether a claim has no outcome yet.
    #[must_use]
    pub fn is_under_way(&self) -> bool {
        let is_end = |step: &&Step| matches!(step, Step::Outcome { .. } | Step::Doubt);
        let claims = self.steps.iter().filter(|step| matches!(step, Step::Claim(_))).count();
        claims > self.steps.iter().filter(is_end).count()
    }

    /// Goes through the steps: each must have had its reason.
    fn walk(&self) -> Result<End, String> {
        let intent = &self.intent;
        let (mut end, mut votes, mut is_released) = (End::default(), BTreeSet::new(), false);
        let mut is_under_way = false;
        for step in &self.steps {
            match step {
                Step::Vote(by) => {
                    if !votes.insert(by) {
                        return Err(format!("{intent}: {by} counts twice"));
                    }
                }
                Step::Released if votes.len() < self.votes_needed => {
                    let (has, needs) = (votes.len(), self.votes_needed);
                    return Err(format!("{intent} was released with {has} votes of {needs}"));
                }
                Step::Released => is_released = true,
                Step::Refused => end.is_refused = true,
                Step::Claim(fence) => {
                    if !is_released || end.is_refused {
                        return Err(format!("{intent} was claimed and not released"));
                    }
                    if end.has_succeeded || is_under_way {
                        return Err(format!("{intent} was claimed again before or after its end"));
                    }
                    if end.claims.last().is_some_and(|before| before >= fence) {
                        return Err(format!("{intent}: fence {fence} after {:?}", end.claims));
                    }
                    end.claims.push(*fence);
                    (is_under_way, end.is_in_doubt) = (true, false);
                }
                Step::Outcome { .. } | Step::Doubt if !is_under_way => {
                    return Err(format!("{intent} has an outcome without a claim"));
                }
                Step::Outcome { succeeded } => {
                    (is_under_way, end.has_succeeded) = (false, *succeeded);
                }
                Step::Doubt => (is_under_way, end.is_in_doubt) = (false, true),
            }
        }
        if is_under_way {
            return Err(format!("{intent} is still claimed in the end"));
        }
        Ok(end)
    }

    /// Holds what the target did against where the life came to.
    fn hold(&self, fences: &[u64], end: &End) -> Result<(), String> {
        let intent = &self.intent;
        if let Some(fence) = fences.iter().find(|fence| !end.claims.contains(fence)) {
            return Err(format!("{intent} was carried out under {fence}, which nobody claimed"));
        }
        if fences.len() > 1 {
            return Err(format!("{intent} was carried out {} times: {fences:?}", fences.len()));
        }
        if end.has_succeeded && fences.is_empty() {
            return Err(format!("{intent} succeeded, and its target did nothing"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn life(intent: &str, votes_needed: usize, steps: &[Step]) -> Life {
        Life { intent: intent.to_owned(), votes_needed, steps: steps.to_vec() }
    }

    fn effect(intent: &str, fence: u64) -> Effect {
        Effect { intent: intent.to_owned(), fence }
    }

    /// One let out by policy, one by two people and done at the second claim, one rejected, one
    /// in doubt that was done and one that was not.
    fn sound() -> (Vec<Life>, Vec<Effect>) {
        let vote = |by: &str| Step::Vote(by.to_owned());
        let done = Step::Outcome { succeeded: true };
        let lives = vec![
            life("a", 0, &[Step::Released, Step::Claim(3), done.clone()]),
            life(
                "b",
                2,
                &[
                    vote("x"),
                    vote("y"),
                    Step::Released,
                    Step::Claim(5),
                    Step::Doubt,
                    Step::Claim(8),
                    done,
                ],
            ),
            life("c", 1, &[Step::Refused]),
            life("d", 0, &[Step::Released, Step::Claim(9), Step::Doubt]),
            life("e", 0, &[Step::Released, Step::Claim(10), Step::Doubt]),
        ];
        (lives, vec![effect("a", 3), effect("b", 8), effect("d", 9)])
    }

    #[test]
    fn what_is_as_promised_is_counted() {
        let (lives, effects) = sound();
        assert_eq!(check(&lives, &effects), Ok(Seen { effects: 3, in_doubt: 2, refused: 1 }));
    }

    #[test]
    #[rustfmt::skip]
    fn each_broken_promise_is_seen() {
        type Harm = fn(&mut Vec<Life>, &mut Vec<Effect>);
        let cases: [(&str, Harm); 14] = [
            ("a was carried out 2 times", |_, effects| effects.push(effect("a", 3))),
            ("b was carried out 2 times", |_, effects| effects.push(effect("b", 5))),
            ("under 7, which nobody claimed", |_, effects| effects[1].fence = 7),
            ("c was carried out under 4", |_, effects| effects.push(effect("c", 4))),
            ("the log knows nothing", |_, effects| effects.push(effect("z", 4))),
            ("a succeeded, and its target did nothing", |_, effects| drop(effects.remove(0))),
            ("b was released with 1 votes of 2", |lives, _| drop(lives[1].steps.remove(0))),
            ("b: y counts twice", |lives, _| lives[1].steps[0] = Step::Vote("y".to_owned())),
            ("c was claimed and not released", |lives, _| lives[2].steps.push(Step::Claim(4))),
            ("b: fence 4 after [5]", |lives, _| lives[1].steps[5] = Step::Claim(4)),
            ("a was claimed again", |lives, _| lives[0].steps.push(Step::Claim(11))),
            ("d is still claimed", |lives, _| drop(lives[3].steps.pop())),
            ("d has an outcome without a claim", |lives, _| lives[3].steps.push(Step::Doubt)),
            ("a has two lives", |lives, _| lives[1].intent = "a".to_owned()),
        ];
        for (expected, harm) in cases {
            let (mut lives, mut effects) = sound();
            harm(&mut lives, &mut effects);
            let what = check(&lives, &effects).expect_err(expected);
            assert!(what.contains(expected), "{expected}: {what}");
        }
    }
}
