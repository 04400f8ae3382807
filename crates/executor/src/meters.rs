//! Metrics of the executor: what calls came to, what runs, and what cannot run.
//!
//! Handles are made once; each executor of a process adds to the same numbers.

use std::time::Duration;

use meters::{Counter, Gauge, Histogram, number};
use types::LogIndex;

/// The kinds of destinations that the gate itself calls.
const KIND: &str = "http";

/// All of the executor's metrics.
pub(crate) struct ExecutorMeters {
    succeeded: Counter,
    failed: Counter,
    in_doubt: Counter,
    not_started: Counter,
    seconds: Histogram,
    running: Gauge,
    epoch: Gauge,
    fence_rejections: Counter,
    without_secret: Gauge,
    secrets_unavailable: Counter,
}

/// How a call ended, as it is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counted {
    Succeeded,
    Failed,
    InDoubt,
    NotStarted,
}

impl Default for ExecutorMeters {
    fn default() -> Self {
        let ended = |outcome| meters::EXECUTIONS.counter(&[KIND, outcome]);
        Self {
            succeeded: ended("succeeded"),
            failed: ended("failed"),
            in_doubt: ended("in_doubt"),
            not_started: ended("not_started"),
            seconds: meters::EXECUTION_SECONDS.histogram(&[KIND]),
            running: meters::EXECUTIONS_RUNNING.gauge(&[]),
            epoch: meters::EXECUTOR_EPOCH.gauge(&[]),
            fence_rejections: meters::FENCE_REJECTIONS.counter(&[]),
            without_secret: meters::EXECUTIONS_WITHOUT_SECRET.gauge(&[]),
            secrets_unavailable: meters::SECRETS_UNAVAILABLE.counter(&["executor"]),
        }
    }
}

impl ExecutorMeters {
    /// A call ended, after so long.
    pub(crate) fn ended(&self, how: Counted, took: Duration) {
        let counter = match how {
            Counted::Succeeded => &self.succeeded,
            Counted::Failed => &self.failed,
            Counted::InDoubt => &self.in_doubt,
            Counted::NotStarted => &self.not_started,
        };
        counter.increment(1);
        self.seconds.record(took.as_secs_f64());
    }

    /// So many intents are claimed, called or reported now.
    pub(crate) fn running(&self, count: usize) {
        self.running.set(number(count as u64));
    }

    /// A reign began, or none is here any more.
    pub(crate) fn reign(&self, epoch: Option<LogIndex>) {
        self.epoch.set(number(epoch.map_or(0, |epoch| epoch.0)));
        if epoch.is_none() {
            self.running.set(0.0);
            self.without_secret.set(0.0);
        }
    }

    /// A claim was refused, since another executor had begun.
    pub(crate) fn fenced_off(&self) {
        self.fence_rejections.increment(1);
    }

    /// A secret was asked for in vain.
    pub(crate) fn secret_unavailable(&self) {
        self.secrets_unavailable.increment(1);
    }

    /// So many intents wait for a secret.
    pub(crate) fn without_secret(&self, count: usize) {
        self.without_secret.set(number(count as u64));
    }
}
