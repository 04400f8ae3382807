//! What the gate answered, counted, and how long it took.
//!
//! Invariant: the counts of decisions and refusals are together the answers; memory does not grow
//! with a run.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use client::{Error, Submitted, Verdict};
use hdrhistogram::Histogram;
use serde_json::{Value, json};

/// Longer ones count as this long, one hour; the longest is kept as it was.
const LATENCY_US_MAX: u64 = 3_600_000_000;
/// Quantiles are right to one in a thousand, and rounded up.
const DIGITS: u8 = 3;
/// Kinds of refusals that are told apart; what answers may be no gate.
const REFUSALS_MAX: usize = 64;

/// The decisions, by the `status` of their answers.
const VERDICTS: [(Verdict, &str); 4] = [
    (Verdict::Allowed, "approved"),
    (Verdict::Held, "pending_approval"),
    (Verdict::Blocked, "blocked"),
    (Verdict::Duplicate, "duplicate_blocked"),
];

/// Counts and latencies of one run.
pub(crate) struct Tally {
    decisions: [u64; VERDICTS.len()],
    refused: BTreeMap<String, u64>,
    /// Nobody answered; the cluster could not decide; anything else that is no decision.
    undecided: [u64; 3],
    replayed: u64,
    latencies_us: Histogram<u64>,
    longest_us: u64,
    last_measured: Option<Instant>,
}

/// Why intents have no decision, the worst kind that there was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Undecided {
    Unreachable,
    NoQuorum,
    Refused,
}

/// Latencies in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Quantiles {
    pub(crate) p50: u64,
    pub(crate) p90: u64,
    pub(crate) p99: u64,
    pub(crate) p99_9: u64,
    pub(crate) max: u64,
}

impl Tally {
    pub(crate) fn new() -> Self {
        let latencies_us = Histogram::new_with_bounds(1, LATENCY_US_MAX, DIGITS);
        Self {
            decisions: [0; VERDICTS.len()],
            refused: BTreeMap::new(),
            undecided: [0; 3],
            replayed: 0,
            latencies_us: latencies_us.expect("these bounds are ones of a histogram"),
            longest_us: 0,
            last_measured: None,
        }
    }

    /// Counts one answer; with its latency if it is measured. Only decisions have a latency: a
    /// refusal is quick for reasons of its own.
    pub(crate) fn add(&mut self, answer: &Result<Submitted, Error>, latency: Option<Duration>) {
        let submitted = match answer {
            Ok(submitted) => submitted,
            Err(error) => return self.refuse(error),
        };
        let place = VERDICTS.iter().position(|(verdict, _)| *verdict == submitted.verdict);
        if let Some(count) = place.and_then(|place| self.decisions.get_mut(place)) {
            *count += 1;
        }
        self.replayed += u64::from(submitted.answer.is_replayed());
        if let Some(latency) = latency {
            let micros = u64::try_from(latency.as_nanos().div_ceil(1_000)).unwrap_or(u64::MAX);
            self.latencies_us.saturating_record(micros);
            self.longest_us = self.longest_us.max(micros);
            self.last_measured = Some(Instant::now());
        }
    }

    fn refuse(&mut self, error: &Error) {
        let (kind, code) = match error {
            Error::Unreachable(_) => (Undecided::Unreachable, "unreachable".to_owned()),
            Error::NoQuorum(refusal) => (Undecided::NoQuorum, code_of(refusal)),
            Error::Refused(refusal) => (Undecided::Refused, code_of(refusal)),
            Error::NotAGate { .. } => (Undecided::Refused, "not_a_gate".to_owned()),
            Error::Endpoint(_) | Error::BadKey | Error::Setup(_) => {
                (Undecided::Refused, "client".to_owned())
            }
        };
        self.undecided[kind as usize] += 1;
        let is_new = !self.refused.contains_key(&code);
        let full = is_new && self.refused.len() >= REFUSALS_MAX;
        *self.refused.entry(if full { "other".to_owned() } else { code }).or_default() += 1;
    }

    /// Answers, refusals included.
    pub(crate) fn answers(&self) -> u64 {
        self.decided() + self.refusals()
    }

    /// Answers that are decisions.
    pub(crate) fn decided(&self) -> u64 {
        self.decisions.iter().sum()
    }

    /// Intents that got no decision.
    pub(crate) fn refusals(&self) -> u64 {
        self.undecided.iter().sum()
    }

    /// The worst reason why intents got no decision.
    pub(crate) fn undecided(&self) -> Option<Undecided> {
        let kinds = [Undecided::NoQuorum, Undecided::Unreachable, Undecided::Refused];
        kinds.into_iter().find(|kind| self.undecided[*kind as usize] > 0)
    }

    /// Decisions of this kind.
    pub(crate) fn count(&self, wanted: Verdict) -> u64 {
        let mut counted = VERDICTS.iter().zip(self.decisions);
        counted.find(|((verdict, _), _)| *verdict == wanted).map_or(0, |(_, count)| count)
    }

    /// Answers that a repeated request got, since the first one was lost on its way.
    pub(crate) fn replayed(&self) -> u64 {
        self.replayed
    }

    /// Decisions by their status.
    pub(crate) fn decisions(&self) -> Value {
        let counted = VERDICTS.iter().zip(self.decisions);
        counted.map(|((_, status), count)| ((*status).to_owned(), json!(count))).collect()
    }

    /// Intents without a decision, by what was said instead.
    pub(crate) fn refused(&self) -> &BTreeMap<String, u64> {
        &self.refused
    }

    /// Answers with a latency.
    pub(crate) fn measured(&self) -> u64 {
        self.latencies_us.len()
    }

    /// When the last of them came.
    pub(crate) fn last_measured(&self) -> Option<Instant> {
        self.last_measured
    }

    /// Their quantiles, if there are any.
    pub(crate) fn quantiles(&self) -> Option<Quantiles> {
        if self.latencies_us.is_empty() {
            return None;
        }
        // A bucket's upper end may lie above everything that is in it.
        let at = |quantile| self.latencies_us.value_at_quantile(quantile).min(self.longest_us);
        Some(Quantiles {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
            max: self.longest_us,
        })
    }
}

fn code_of(refusal: &client::Refusal) -> String {
    refusal.code.clone().unwrap_or_else(|| format!("status_{}", refusal.status))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, code: Option<&str>) -> Box<client::Refusal> {
        Box::new(client::Refusal {
            endpoint: "http://a:1".into(),
            status,
            code: code.map(str::to_owned),
            message: "why".into(),
            request_id: None,
            body: Value::Null,
        })
    }

    #[test]
    fn what_is_no_decision_is_counted_by_its_code_and_the_worst_is_told() {
        let mut tally = Tally::new();
        assert_eq!(tally.undecided(), None);
        let steps = [
            (Error::Refused(refused(403, Some("agent_inactive"))), Undecided::Refused),
            (Error::Refused(refused(418, None)), Undecided::Refused),
            (Error::Unreachable(Vec::new()), Undecided::Unreachable),
            (Error::NoQuorum(refused(503, Some("no_quorum"))), Undecided::NoQuorum),
            (Error::Refused(refused(403, Some("agent_inactive"))), Undecided::NoQuorum),
        ];
        for (error, worst) in steps {
            tally.add(&Err(error), Some(Duration::from_secs(1)));
            assert_eq!(tally.undecided(), Some(worst));
        }
        let counted: Vec<_> = tally.refused().iter().map(|(code, n)| (code.as_str(), *n)).collect();
        let expected =
            [("agent_inactive", 2), ("no_quorum", 1), ("status_418", 1), ("unreachable", 1)];
        assert_eq!(counted, expected);
        assert_eq!((tally.answers(), tally.decided(), tally.measured()), (5, 0, 0));
        assert_eq!(tally.quantiles(), None);
    }

    #[test]
    fn codes_that_never_end_are_counted_together() {
        let mut tally = Tally::new();
        for number in 0..1_000 {
            tally.add(&Err(Error::Refused(refused(400, Some(&format!("c{number}"))))), None);
        }
        assert_eq!(tally.refused().len(), REFUSALS_MAX + 1);
        assert_eq!(tally.refused()["other"], 1_000 - REFUSALS_MAX as u64);
    }

    #[test]
    fn quantiles_are_those_of_the_samples_rounded_up_and_never_above_the_longest() {
        let mut tally = Tally::new();
        for micros in 1..=1_000 {
            tally.latencies_us.saturating_record(micros);
        }
        tally.latencies_us.saturating_record(5_000_001);
        tally.longest_us = 5_000_001;
        let found = tally.quantiles().unwrap();
        assert_eq!((found.p50, found.p90, found.p99, found.p99_9), (501, 901, 991, 1_000));
        assert_eq!(found.max, 5_000_001);
        let mut one = Tally::new();
        one.latencies_us.saturating_record(1_000_003);
        one.longest_us = 1_000_003;
        assert_eq!(one.quantiles().unwrap().p50, 1_000_003);
    }
}
