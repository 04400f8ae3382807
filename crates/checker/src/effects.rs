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
    /// It is to be carried out under a fence.
    Claim {
        /// The id of the execution.
        execution: String,
        /// Larger than that of any claim before.
        fence: u64,
    },
    /// What became of an execution.
    Ended(String, Became),
}

/// What became of an execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Became {
    /// It was done.
    Succeeded,
    /// It was not done, or not as it should be.
    Failed,
    /// Nobody knows; one that comes late may say it yet.
    Doubt,
    /// It was not begun, and never will be.
    GivenBack,
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
        seen.in_doubt += u64::from(end.is_in_doubt());
        seen.refused += u64::from(end.is_refused);
    }
    match done.keys().find(|intent| !known.contains(*intent)) {
        Some(stranger) => Err(format!("an effect of {stranger}, of which the log knows nothing")),
        None => Ok(seen),
    }
}

/// An execution, and what became of it so far.
#[derive(Debug)]
struct Claim<'life> {
    execution: &'life str,
    fence: u64,
    became: Option<Became>,
}

/// Where a life has come to.
#[derive(Debug, Default)]
struct End<'life> {
    claims: Vec<Claim<'life>>,
    is_released: bool,
    is_refused: bool,
}

impl End<'_> {
    fn is(&self, became: Option<Became>) -> bool {
        self.claims.iter().any(|claim| claim.became == became)
    }

    fn has_succeeded(&self) -> bool {
        self.is(Some(Became::Succeeded))
    }

    /// Let out, and nobody has begun with it.
    fn is_waiting(&self) -> bool {
        let is_given_back = |claim: &Claim<'_>| claim.became == Some(Became::GivenBack);
        self.is_released && !self.is_refused && self.claims.iter().all(is_given_back)
    }

    fn is_in_doubt(&self) -> bool {
        self.claims.last().is_some_and(|last| last.became == Some(Became::Doubt))
            && !self.has_succeeded()
    }
}

impl Life {
    /// Whether something is yet to come: it was released and is not carried out, or an execution
    /// has no end.
    #[must_use]
    pub fn is_under_way(&self) -> bool {
        self.walk().is_ok_and(|end| end.is_waiting() || end.is(None))
    }

    /// Goes through the steps: each must have had its reason.
    fn walk(&self) -> Result<End<'_>, String> {
        let wrong = |what: String| Err(format!("{}: {what} in {:?}", self.intent, self.steps));
        let (mut end, mut votes) = (End::default(), BTreeSet::new());
        for step in &self.steps {
            match step {
                Step::Vote(by) => {
                    if !votes.insert(by) {
                        return wrong(format!("{by} counts twice"));
                    }
                }
                Step::Released if votes.len() < self.votes_needed => {
                    let (has, needs) = (votes.len(), self.votes_needed);
                    return wrong(format!("released with {has} votes of {needs}"));
                }
                Step::Released => end.is_released = true,
                Step::Refused => end.is_refused = true,
                Step::Claim { execution, fence } => {
                    if !end.is_released || end.is_refused {
                        return wrong("claimed and not released".to_owned());
                    }
                    if end.has_succeeded() || end.is(None) {
                        return wrong("claimed again before or after its end".to_owned());
                    }
                    let newest = end.claims.last().map(|claim| claim.fence);
                    if let Some(newest) = newest.filter(|newest| newest >= fence) {
                        return wrong(format!("fence {fence} after {newest}"));
                    }
                    end.claims.push(Claim { execution, fence: *fence, became: None });
                }
                Step::Ended(execution, became) => {
                    let mut claims = end.claims.iter_mut();
                    let claim = claims.find(|claim| claim.execution == execution);
                    let is_late = |claim: &Claim<'_>| {
                        let knows = matches!(became, Became::Succeeded | Became::Failed);
                        claim.became == Some(Became::Doubt) && knows
                    };
                    match claim {
                        Some(claim) if claim.became.is_none() || is_late(claim) => {
                            claim.became = Some(*became);
                        }
                        _ => return wrong(format!("an end of {execution} without its claim")),
                    }
                }
            }
        }
        Ok(end)
    }

    /// Holds what the target did against where the life came to.
    fn hold(&self, fences: &[u64], end: &End<'_>) -> Result<(), String> {
        let wrong = |what: String| Err(format!("{}: {what}, {:?}", self.intent, self.steps));
        let may = |fence: &u64| {
            let mut claims = end.claims.iter();
            claims.any(|claim| claim.fence == *fence && claim.became != Some(Became::GivenBack))
        };
        if end.is(None) {
            return wrong("still claimed in the end".to_owned());
        }
        if end.is_waiting() {
            return wrong("released and left alone".to_owned());
        }
        if let Some(fence) = fences.iter().find(|fence| !may(fence)) {
            return wrong(format!("carried out under {fence}, which nobody claimed"));
        }
        if fences.len() > 1 {
            return wrong(format!("carried out {} times: {fences:?}", fences.len()));
        }
        if end.has_succeeded() && fences.is_empty() {
            return wrong("succeeded, and its target did nothing".to_owned());
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

    fn claim(execution: &str, fence: u64) -> Step {
        Step::Claim { execution: execution.to_owned(), fence }
    }

    fn ended(execution: &str, became: Became) -> Step {
        Step::Ended(execution.to_owned(), became)
    }

    fn vote(by: &str) -> Step {
        Step::Vote(by.to_owned())
    }

    /// One let out by policy, one by two people and done at the second claim, one rejected, one
    /// in doubt that was done and one that was not, and one that is known to be done late.
    fn sound() -> (Vec<Life>, Vec<Effect>) {
        use Became::{Doubt, Succeeded};
        let lives = vec![
            life("a", 0, &[Step::Released, claim("a1", 3), ended("a1", Succeeded)]),
            life(
                "b",
                2,
                &[
                    vote("x"),
                    vote("y"),
                    Step::Released,
                    claim("b1", 5),
                    ended("b1", Doubt),
                    claim("b2", 8),
                    ended("b2", Succeeded),
                ],
            ),
            life("c", 1, &[Step::Refused]),
            life("d", 0, &[Step::Released, claim("d1", 9), ended("d1", Doubt)]),
            life("e", 0, &[Step::Released, claim("e1", 10), ended("e1", Doubt)]),
            life(
                "f",
                0,
                &[Step::Released, claim("f1", 11), ended("f1", Doubt), ended("f1", Succeeded)],
            ),
        ];
        (lives, vec![effect("a", 3), effect("b", 8), effect("d", 9), effect("f", 11)])
    }

    #[test]
    fn what_is_as_promised_is_counted() {
        let (lives, effects) = sound();
        assert_eq!(check(&lives, &effects), Ok(Seen { effects: 4, in_doubt: 2, refused: 1 }));
    }

    #[test]
    #[rustfmt::skip]
    fn each_broken_promise_is_seen() {
        type Harm = fn(&mut Vec<Life>, &mut Vec<Effect>);
        let cases: [(&str, Harm); 17] = [
            ("a: carried out 2 times", |_, effects| effects.push(effect("a", 3))),
            ("b: carried out 2 times", |_, effects| effects.push(effect("b", 5))),
            ("b: carried out under 7, which nobody claimed", |_, effects| effects[1].fence = 7),
            ("d: carried out under 9, which nobody claimed", |lives, _| {
                let more = [claim("d2", 12), ended("d2", Became::Doubt)];
                lives[3].steps[2] = ended("d1", Became::GivenBack);
                lives[3].steps.extend(more);
            }),
            ("d: released and left alone", |lives, effects| {
                lives[3].steps.truncate(1);
                effects.remove(2);
            }),
            ("c: carried out under 4", |_, effects| effects.push(effect("c", 4))),
            ("the log knows nothing", |_, effects| effects.push(effect("z", 4))),
            ("a: succeeded, and its target did nothing", |_, effects| drop(effects.remove(0))),
            ("b: released with 1 votes of 2", |lives, _| drop(lives[1].steps.remove(0))),
            ("b: y counts twice", |lives, _| lives[1].steps[0] = vote("y")),
            ("c: claimed and not released", |lives, _| lives[2].steps.push(claim("c1", 4))),
            ("b: fence 4 after 5", |lives, _| lives[1].steps[5] = claim("b2", 4)),
            ("a: claimed again", |lives, _| lives[0].steps.push(claim("a2", 11))),
            ("b: claimed again", |lives, _| drop(lives[1].steps.remove(4))),
            ("d: still claimed", |lives, _| drop(lives[3].steps.pop())),
            ("f: an end of f1 without its claim", |lives, _| {
                lives[5].steps.push(ended("f1", Became::Failed));
            }),
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
