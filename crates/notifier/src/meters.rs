//! Metrics of the notifier: attempts, how they went, and what was given up.

use std::time::Duration;

use ledger::Receiver;
use meters::{Counter, Gauge, Histogram, number};
use types::limits::DELIVERY_ATTEMPTS_MAX;

/// All of the notifier's metrics.
pub(crate) struct NotifierMeters {
    channel: ReceiverMeters,
    webhook: ReceiverMeters,
    running: Gauge,
    secrets_unavailable: Counter,
}

/// Those of one kind of receiver.
struct ReceiverMeters {
    delivered: Counter,
    failed: Counter,
    given_up: Counter,
    seconds: Histogram,
}

impl ReceiverMeters {
    fn new(receiver: &'static str) -> Self {
        Self {
            delivered: meters::DELIVERY_ATTEMPTS.counter(&[receiver, "delivered"]),
            failed: meters::DELIVERY_ATTEMPTS.counter(&[receiver, "failed"]),
            given_up: meters::DELIVERIES_GIVEN_UP.counter(&[receiver]),
            seconds: meters::DELIVERY_SECONDS.histogram(&[receiver]),
        }
    }
}

impl Default for NotifierMeters {
    fn default() -> Self {
        Self {
            channel: ReceiverMeters::new("channel"),
            webhook: ReceiverMeters::new("webhook"),
            running: meters::DELIVERIES_RUNNING.gauge(&[]),
            secrets_unavailable: meters::SECRETS_UNAVAILABLE.counter(&["notifier"]),
        }
    }
}

impl NotifierMeters {
    /// An attempt ended, after so long.
    pub(crate) fn attempted(&self, to: &Receiver, attempt: u32, is_done: bool, took: Duration) {
        let meters = match to {
            Receiver::Channel(_) => &self.channel,
            Receiver::Webhook(_) => &self.webhook,
        };
        meters.seconds.record(took.as_secs_f64());
        if is_done {
            meters.delivered.increment(1);
            return;
        }
        meters.failed.increment(1);
        if attempt >= DELIVERY_ATTEMPTS_MAX {
            meters.given_up.increment(1);
        }
    }

    /// So many are on their way now.
    pub(crate) fn running(&self, count: usize) {
        self.running.set(number(count as u64));
    }

    /// A secret of a channel was asked for in vain.
    pub(crate) fn secret_unavailable(&self) {
        self.secrets_unavailable.increment(1);
    }
}
