//! What targets were made to do, held against the audit log: no effect without its claim, none of
//! what nobody released, none twice, and each with the content that was asked for.
//!
//! Invariant: an effect is what the target saw, and a claim is what the log has; neither is asked
//! about the other.

use std::collections::{BTreeMap, BTreeSet};

use crate::life::{Life, Step};

/// What a target did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect {
    /// The id of the intent.
    pub intent: String,
    /// The fence that came with it.
    pub fence: u64,
    /// What was to be done.
    pub content: String,
}

/// What was seen of effects, for people.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// Intents that were carried out.
    pub effects: u64,
    /// Those whose outcome is not known.
    pub in_doubt: u64,
    /// Those that somebody rejected: none of them ran.
    pub rejected: u64,
    /// Those whose time was over: none of them ran.
    pub expired: u64,
}

/// What a person was told about a word of theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It counts.
    Counts,
    /// It was decided before.
    Decided,
    /// Its time was over before.
    Late,
}

/// A word of a person about an intent.
#[derive(Debug, Clone)]
pub struct Heard {
    /// The id of the intent.
    pub intent: String,
    /// Whose word it was.
    pub by: String,
    /// No rather than yes.
    pub rejects: bool,
    /// What was said to it.
    pub answer: Answer,
}

/// The first promise that was broken. `contents` has what was asked for, by the id of the intent.
///
/// # Errors
/// What is wrong, for people.
pub fn check(
    lives: &[Life],
    effects: &[Effect],
    heard: &[Heard],
    contents: &BTreeMap<String, String>,
) -> Result<Seen, String> {
    let mut done: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for Effect { intent, fence, content } in effects {
        done.entry(intent).or_default().push(*fence);
        if contents.get(intent).is_some_and(|asked| asked != content) {
            return Err(format!("{intent}: its target was told {content}"));
        }
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
        seen.rejected += u64::from(end.is_rejected);
        seen.expired += u64::from(end.is_expired);
    }
    if let Some(lost) = contents.keys().find(|id| !known.contains(id.as_str())) {
        return Err(format!("{lost}, which was answered, has no life in the log"));
    }
    must_be_heard(lives, heard)?;
    match done.keys().find(|intent| !known.contains(*intent)) {
        Some(stranger) => Err(format!("an effect of {stranger}, of which the log knows nothing")),
        None => Ok(seen),
    }
}

/// Whoever was told that a word counts finds it in the log, and who was told that it comes too late
/// finds why.
fn must_be_heard(lives: &[Life], heard: &[Heard]) -> Result<(), String> {
    let by_id: BTreeMap<&str, &Life> =
        lives.iter().map(|life| (life.intent.as_str(), life)).collect();
    for Heard { intent, by, rejects, answer } in heard {
        let Some(life) = by_id.get(intent.as_str()) else {
            return Err(format!("{intent} is lost"));
        };
        let (step, what) = match rejects {
            true => (Step::Refused(by.clone()), "no"),
            false => (Step::Vote(by.clone()), "yes"),
        };
        let end = life.walk()?;
        let is_so = match answer {
            Answer::Counts => life.has(&step),
            Answer::Decided => end.is_released || end.is_rejected || (*rejects && end.is_expired),
            Answer::Late => end.is_expired,
        };
        if !is_so {
            return Err(match answer {
                Answer::Counts => format!("{intent}: the {what} of {by} is lost"),
                _ => format!("{intent}: the {what} of {by} was told {answer:?}, and it was not"),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::life::Became;

    /// Steps of every tenth millisecond.
    fn life(intent: &str, votes_needed: usize, steps: &[Step]) -> Life {
        let steps = (10..).step_by(10).zip(steps.iter().cloned()).collect();
        let intent = intent.to_owned();
        Life { intent, votes_needed, may_repeat: false, expires_ms: None, steps }
    }

    fn effect(intent: &str, fence: u64) -> Effect {
        let content = format!("content of {intent}");
        Effect { intent: intent.to_owned(), fence, content }
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
    /// in doubt that was done and one that was not, one that is known to be done late, and one
    /// whose time was over.
    fn sound() -> Story {
        use Became::{Doubt, Succeeded};
        let mut lives = vec![
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
            life("c", 1, &[Step::Refused("x".to_owned())]),
            life("d", 0, &[Step::Released, claim("d1", 9), ended("d1", Doubt)]),
            life("e", 0, &[Step::Released, claim("e1", 10), ended("e1", Doubt)]),
            life(
                "f",
                0,
                &[Step::Released, claim("f1", 11), ended("f1", Doubt), ended("f1", Succeeded)],
            ),
            life("g", 2, &[vote("x"), Step::Expired]),
        ];
        lives[6].expires_ms = Some(20);
        lives[1].may_repeat = true;
        let effects = vec![effect("a", 3), effect("b", 8), effect("d", 9), effect("f", 11)];
        let word = |intent: &str, by: &str, rejects| Heard {
            intent: intent.to_owned(),
            by: by.to_owned(),
            rejects,
            answer: Answer::Counts,
        };
        let late = |answer, word| Heard { answer, ..word };
        let heard = vec![
            word("b", "y", false),
            word("c", "x", true),
            word("g", "x", false),
            late(Answer::Decided, word("b", "z", false)),
            late(Answer::Late, word("g", "z", false)),
            late(Answer::Decided, word("g", "y", true)),
        ];
        let content = |intent: &str| (intent.to_owned(), format!("content of {intent}"));
        let contents = ["a", "b", "c", "d", "e", "f", "g"].map(content).into();
        Story { lives, effects, heard, contents }
    }

    struct Story {
        lives: Vec<Life>,
        effects: Vec<Effect>,
        heard: Vec<Heard>,
        contents: BTreeMap<String, String>,
    }

    impl Story {
        fn check(&self) -> Result<Seen, String> {
            check(&self.lives, &self.effects, &self.heard, &self.contents)
        }
    }

    #[test]
    fn what_is_as_promised_is_counted() {
        assert_eq!(sound().check(), Ok(Seen { effects: 4, in_doubt: 2, rejected: 1, expired: 1 }));
    }

    #[test]
    #[rustfmt::skip]
    fn each_broken_promise_is_seen() {
        type Harm = fn(&mut Story);
        let cases: [(&str, Harm); 36] = [
            ("a: carried out 2 times", |s| s.effects.push(effect("a", 3))),
            ("b: carried out 2 times", |s| s.effects.push(effect("b", 5))),
            ("b: carried out under 7, which nobody claimed", |s| s.effects[1].fence = 7),
            ("f: carried out under 11, which nobody claimed", |s| {
                s.lives[5].steps[3].1 = ended("f1", Became::Failed);
            }),
            ("d: claimed again, and must not be", |s| {
                s.lives[3].steps.push((40, claim("d2", 12)));
            }),
            ("e: claimed again, and must not be", |s| {
                s.lives[4].may_repeat = true;
                s.lives[4].steps[2].1 = ended("e1", Became::Failed);
                s.lives[4].steps.push((40, claim("e2", 12)));
            }),
            ("g: neither let out nor refused", |s| drop(s.lives[6].steps.pop())),
            ("c: Vote(\"y\") when it was decided", |s| s.lives[2].steps.push((20, vote("y")))),
            ("c: Released when it was decided", |s| s.lives[2].steps.push((20, Step::Released))),
            ("a: Refused(\"x\") when it had ended", |s| {
                s.lives[0].steps.push((40, Step::Refused("x".to_owned())));
            }),
            ("c, which was answered, has no life", |s| drop(s.lives.remove(2))),
            ("d: carried out under 9, which nobody claimed", |s| {
                s.lives[3].steps[2].1 = ended("d1", Became::GivenBack);
                s.lives[3].steps.push((40, claim("d2", 12)));
                s.lives[3].steps.push((50, ended("d2", Became::Doubt)));
            }),
            ("d: released and left alone", |s| {
                s.lives[3].steps.truncate(1);
                s.effects.remove(2);
            }),
            ("c: carried out under 4", |s| s.effects.push(effect("c", 4))),
            ("the log knows nothing", |s| s.effects.push(effect("z", 4))),
            ("a: its target was told b", |s| s.effects[0].content = "b".to_owned()),
            ("a: succeeded, and its target did nothing", |s| drop(s.effects.remove(0))),
            ("b: released with 1 votes of 2", |s| drop(s.lives[1].steps.remove(0))),
            ("b: y counts twice", |s| s.lives[1].steps[0].1 = vote("y")),
            ("c: claimed and not released", |s| s.lives[2].steps.push((20, claim("c1", 4)))),
            ("b: fence 4 after 5", |s| s.lives[1].steps[5].1 = claim("b2", 4)),
            ("a: claimed again", |s| s.lives[0].steps.push((40, claim("a2", 12)))),
            ("b: claimed again", |s| drop(s.lives[1].steps.remove(4))),
            ("d: still claimed", |s| drop(s.lives[3].steps.pop())),
            ("f: an end of f1 without its claim", |s| {
                s.lives[5].steps.push((50, ended("f1", Became::Failed)));
            }),
            ("a has two lives", |s| {
                let more = s.lives[0].clone();
                s.lives.push(Life { steps: Vec::new(), ..more });
            }),
            ("g: Vote(\"x\") at 10 ms, when its time was over", |s| {
                s.lives[6].expires_ms = Some(10);
            }),
            ("a: Released at 10 ms, when its time was over", |s| s.lives[0].expires_ms = Some(10)),
            ("a: Claim { execution: \"a1\", fence: 3 } at 20 ms", |s| {
                s.lives[0].expires_ms = Some(11);
            }),
            ("g: expired at 20 ms, before its time", |s| s.lives[6].expires_ms = Some(21)),
            ("g: expired at 20 ms, before its time", |s| s.lives[6].expires_ms = None),
            ("b: Vote(\"y\") at 20 ms, after 30 ms", |s| s.lives[1].steps[0].0 = 30),
            ("c: the no of x is lost", |s| {
                s.lives[2].steps[0].1 = Step::Refused("y".to_owned());
            }),
            ("b: the yes of z was told Late", |s| s.heard[3].answer = Answer::Late),
            ("g: the yes of z was told Decided", |s| s.heard[4].answer = Answer::Decided),
            ("b: the yes of z is lost", |s| s.heard[0].by = "z".to_owned()),
        ];
        for (expected, harm) in cases {
            let mut story = sound();
            harm(&mut story);
            let what = story.check().expect_err(expected);
            assert!(what.contains(expected), "{expected}: {what}");
        }
        let mut story = sound();
        story.heard[0].intent = "z".to_owned();
        assert_eq!(story.check(), Err("z is lost".to_owned()));
    }
}
