//! The life of one intent as the audit log has it: each step must have had its reason.
//!
//! Invariant: what a step needs stands before it in the log.

use std::collections::BTreeSet;

/// A step in the life of an intent, as the audit log has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Policy or the last vote lets it out.
    Released,
    /// Somebody's vote for it.
    Vote(String),
    /// Somebody's no: it must not run.
    Refused(String),
    /// Its time was over before it ran.
    Expired,
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
    /// What is in doubt may be tried again: its target does it once all the same.
    pub may_repeat: bool,
    /// From when on it must not be let out, nor begun, in milliseconds of the log's time.
    pub expires_ms: Option<u64>,
    /// In the order of the log, each with its time there in milliseconds.
    pub steps: Vec<(u64, Step)>,
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
pub(crate) struct End<'life> {
    claims: Vec<Claim<'life>>,
    pub(crate) is_released: bool,
    pub(crate) is_rejected: bool,
    pub(crate) is_expired: bool,
}

impl End<'_> {
    fn is(&self, became: Option<Became>) -> bool {
        self.claims.iter().any(|claim| claim.became == became)
    }

    fn has_succeeded(&self) -> bool {
        self.is(Some(Became::Succeeded))
    }

    fn is_refused(&self) -> bool {
        self.is_rejected || self.is_expired
    }

    /// Nobody has called its target for it.
    fn is_untouched(&self) -> bool {
        self.claims.iter().all(|claim| claim.became == Some(Became::GivenBack))
    }

    /// Whether the last claim, if there was one, leaves room for another.
    fn may_be_claimed(&self, may_repeat: bool) -> bool {
        let last = self.claims.last().map(|claim| claim.became);
        match last {
            None | Some(Some(Became::GivenBack)) => true,
            Some(Some(Became::Doubt)) => may_repeat && !self.has_succeeded(),
            Some(_) => false,
        }
    }

    pub(crate) fn is_in_doubt(&self) -> bool {
        self.claims.last().is_some_and(|last| last.became == Some(Became::Doubt))
            && !self.has_succeeded()
    }
}

impl Life {
    /// Whether something is yet to come: nobody has decided, it was released and is not carried
    /// out, or an execution has no end.
    #[must_use]
    pub fn is_under_way(&self) -> bool {
        self.walk().is_ok_and(|end| !end.is_refused() && end.is_untouched() || end.is(None))
    }

    /// Goes through the steps: each must have had its reason.
    pub(crate) fn walk(&self) -> Result<End<'_>, String> {
        let wrong = |what: String| Err(format!("{}: {what} in {:?}", self.intent, self.steps));
        let (mut end, mut votes, mut last_ms) = (End::default(), BTreeSet::new(), 0);
        for (at_ms, step) in &self.steps {
            if *at_ms < last_ms {
                return wrong(format!("{step:?} at {at_ms} ms, after {last_ms} ms"));
            }
            last_ms = *at_ms;
            let is_over = self.expires_ms.is_some_and(|expires_ms| *at_ms >= expires_ms);
            match step {
                Step::Vote(_) | Step::Released | Step::Claim { .. } if is_over => {
                    return wrong(format!("{step:?} at {at_ms} ms, when its time was over"));
                }
                Step::Expired if !is_over => {
                    return wrong(format!("expired at {at_ms} ms, before its time"));
                }
                _ => {}
            }
            match step {
                Step::Vote(_) | Step::Released if end.is_released || end.is_refused() => {
                    return wrong(format!("{step:?} when it was decided"));
                }
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
                Step::Refused(_) | Step::Expired if end.is_refused() || !end.is_untouched() => {
                    return wrong(format!("{step:?} when it had ended or was begun"));
                }
                Step::Refused(_) => end.is_rejected = true,
                Step::Expired => end.is_expired = true,
                Step::Claim { execution, fence } => {
                    if !end.is_released || end.is_refused() {
                        return wrong("claimed and not released".to_owned());
                    }
                    if !end.may_be_claimed(self.may_repeat) {
                        return wrong("claimed again, and must not be".to_owned());
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

    /// Whether it has a step.
    pub(crate) fn has(&self, step: &Step) -> bool {
        self.steps.iter().any(|(_, had)| had == step)
    }

    /// Holds what the target did against where the life came to.
    pub(crate) fn hold(&self, fences: &[u64], end: &End<'_>) -> Result<(), String> {
        let wrong = |what: String| Err(format!("{}: {what}, {:?}", self.intent, self.steps));
        let may = |fence: &u64| {
            let none = [Some(Became::GivenBack), Some(Became::Failed)];
            let mut claims = end.claims.iter();
            claims.any(|claim| claim.fence == *fence && !none.contains(&claim.became))
        };
        if end.is(None) {
            return wrong("still claimed in the end".to_owned());
        }
        if !end.is_refused() && !end.is_released {
            return wrong("neither let out nor refused in the end".to_owned());
        }
        if !end.is_refused() && end.is_untouched() {
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
