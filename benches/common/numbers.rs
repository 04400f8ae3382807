//! Latencies and quotients, exact until they are printed, and rounded against the gate then.
#![allow(dead_code, reason = "each bench uses its part of it")]

use std::fmt;
use std::time::Duration;

/// Every latency of a phase: quantiles are those of the samples, nothing is estimated.
#[derive(Debug, Default, Clone)]
pub(crate) struct Latencies(Vec<u64>);

impl Latencies {
    pub(crate) fn add(&mut self, latency: Duration) {
        self.0.push(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
    }

    pub(crate) fn append(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Sorts once, for all quantiles.
    pub(crate) fn quantiles(mut self) -> Quantiles {
        self.0.sort_unstable();
        let at = |thousandths: usize| {
            // Nearest rank: the smallest sample with at least this share at or below it.
            let rank = (self.0.len() * thousandths).div_ceil(1_000).max(1);
            self.0.get(rank - 1).copied().unwrap_or_default()
        };
        Quantiles { p50_ns: at(500), p99_ns: at(990), p999_ns: at(999), max_ns: at(1_000) }
    }
}

/// Of one phase, in nanoseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Quantiles {
    pub(crate) p50_ns: u64,
    pub(crate) p99_ns: u64,
    pub(crate) p999_ns: u64,
    pub(crate) max_ns: u64,
}

impl fmt::Display for Quantiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p99, p999, max] =
            [self.p50_ns, self.p99_ns, self.p999_ns, self.max_ns].map(|ns| ns.div_ceil(1_000));
        write!(f, "p50 {p50} us, p99 {p99} us, p99.9 {p999} us, max {max} us")
    }
}

/// The middle one; of an even number the mean of the middle two.
pub(crate) fn median(values: &[u64]) -> u64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => 0,
        odd if odd % 2 == 1 => sorted[middle],
        _ => u64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

/// A quotient of which more is better, cut after two digits; `-` where there is none.
pub(crate) fn quotient_down(dividend: u64, divisor: u64) -> String {
    match u128::from(dividend) * 100 {
        _ if divisor == 0 => "-".into(),
        hundredfold => digits(hundredfold / u128::from(divisor)),
    }
}

/// A quotient of which less is better, rounded up at the second digit; `-` where there is none.
pub(crate) fn quotient_up(dividend: u64, divisor: u64) -> String {
    match u128::from(dividend) * 100 {
        _ if divisor == 0 => "-".into(),
        hundredfold => digits(hundredfold.div_ceil(u128::from(divisor))),
    }
}

fn digits(hundredfold: u128) -> String {
    format!("{}.{:02}", hundredfold / 100, hundredfold % 100)
}
