//! Every event of a run, as one hash: what nodes and clients log, with the simulated time.

use std::fmt::{Debug, Write as _};
use std::io::Write as _;
use std::sync::Arc;

use parking_lot::Mutex;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::Registry;
use twox_hash::XxHash3_128;

/// Whose detailed events count; of all others those that people read.
const DETAILED: [&str; 10] = [
    "executor",
    "faulty_target",
    "gate",
    "http_api",
    "ledger",
    "outbound",
    "qgate_sim",
    "replica",
    "store",
    "turmoil",
];

/// What happened so far.
#[derive(Clone)]
pub(crate) struct Trace(Arc<Mutex<Kept>>);

struct Kept {
    hash: XxHash3_128,
    events: u64,
    is_shown: bool,
}

impl Trace {
    /// From now on every event counts.
    pub(crate) fn start(is_shown: bool) -> Self {
        let kept = Kept { hash: XxHash3_128::new(), events: 0, is_shown };
        let trace = Self(Arc::new(Mutex::new(kept)));
        let wanted = DETAILED.map(|target| (target, LevelFilter::DEBUG));
        let wanted = Targets::new().with_default(LevelFilter::INFO).with_targets(wanted);
        let registry = Registry::default().with(trace.clone().with_filter(wanted));
        tracing::subscriber::set_global_default(registry).expect("nobody else listens");
        trace
    }

    pub(crate) fn hash(&self) -> String {
        format!("{:032x}", self.0.lock().hash.finish_128())
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.lock().events
    }
}

impl<S: Subscriber> Layer<S> for Trace {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let time = turmoil::sim_elapsed().unwrap_or_default();
        let target = event.metadata().target();
        let mut text = Text(format!("{:>12} {target}", time.as_micros()));
        event.record(&mut text);
        let mut kept = self.0.lock();
        kept.hash.write(text.0.as_bytes());
        kept.events += 1;
        if kept.is_shown {
            _ = writeln!(std::io::stdout(), "{}", text.0);
        }
    }
}

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        _ = write!(self.0, " {}={value:?}", field.name());
    }
}
