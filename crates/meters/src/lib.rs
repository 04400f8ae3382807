//! Every metric of the gate in one table: name, kind, unit, labels and meaning.
//!
//! Crates ask a [`Metric`] for a handle when they start and keep it; recording through a handle
//! looks nothing up. A handle belongs to the recorder that was in force on its thread when it was
//! made; without one it does nothing. Invariant: labels take values from small fixed sets or are
//! ids of the cluster's nodes, never an id, a name or any word of a caller; docs/metrics.md says
//! the same, a test compares.

mod table;

pub use metrics::{Counter, Gauge, Histogram};
use metrics::{Key, Label, Level, Metadata, Recorder, Unit as Described, with_recorder};
pub use table::*;

/// Prometheus wants to know nothing about a source; this stands where the facade asks for one.
const SOURCE: Metadata<'static> = Metadata::new("gate", Level::INFO, None);

/// What a metric does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows while the process runs.
    Counter,
    /// Goes up and down.
    Gauge,
    /// How many observations fell below each bound, their sum and their number.
    Histogram,
}

impl Kind {
    /// The word of the exposition format.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// What a metric is measured in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Things.
    Count,
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
}

impl Unit {
    /// The word in the documentation.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Seconds => "seconds",
            Self::Bytes => "bytes",
        }
    }
}

/// One metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Metric {
    /// As it is scraped.
    pub name: &'static str,
    /// What it does.
    pub kind: Kind,
    /// What it is measured in.
    pub unit: Unit,
    /// Names of its labels, in order.
    pub labels: &'static [&'static str],
    /// Upper bounds of a histogram's buckets; empty for the other kinds.
    pub buckets: &'static [f64],
    meaning: &'static str,
}

impl Metric {
    /// What it says, in a sentence.
    #[must_use]
    pub fn meaning(&self) -> &'static str {
        self.meaning.trim_start()
    }

    /// A handle on the counter with these values of its labels, in order.
    pub fn counter(&self, values: &[&'static str]) -> Counter {
        debug_assert_eq!(self.kind, Kind::Counter, "{}", self.name);
        with_recorder(|recorder| recorder.register_counter(&self.key(values), &SOURCE))
    }

    /// A handle on the gauge with these values of its labels, in order.
    pub fn gauge(&self, values: &[&'static str]) -> Gauge {
        debug_assert_eq!(self.kind, Kind::Gauge, "{}", self.name);
        with_recorder(|recorder| recorder.register_gauge(&self.key(values), &SOURCE))
    }

    /// A handle on the histogram with these values of its labels, in order.
    pub fn histogram(&self, values: &[&'static str]) -> Histogram {
        debug_assert_eq!(self.kind, Kind::Histogram, "{}", self.name);
        with_recorder(|recorder| recorder.register_histogram(&self.key(values), &SOURCE))
    }

    /// A handle on the counter of something that comes and goes, such as a node of the cluster.
    /// For a recorder that is thrown away after one scrape: nothing takes such a series out again.
    pub fn passing_counter(&self, values: &[String]) -> Counter {
        debug_assert_eq!(self.kind, Kind::Counter, "{}", self.name);
        with_recorder(|recorder| recorder.register_counter(&self.passing_key(values), &SOURCE))
    }

    /// A handle on the gauge of something that comes and goes; see [`Metric::passing_counter`].
    pub fn passing_gauge(&self, values: &[String]) -> Gauge {
        debug_assert_eq!(self.kind, Kind::Gauge, "{}", self.name);
        with_recorder(|recorder| recorder.register_gauge(&self.passing_key(values), &SOURCE))
    }

    fn passing_key(&self, values: &[String]) -> Key {
        debug_assert_eq!(self.labels.len(), values.len(), "{}", self.name);
        let pairs = self.labels.iter().zip(values);
        let labels: Vec<Label> =
            pairs.map(|(label, value)| Label::new(*label, value.clone())).collect();
        Key::from_parts(self.name, labels)
    }

    fn key(&self, values: &[&'static str]) -> Key {
        debug_assert_eq!(self.labels.len(), values.len(), "{}", self.name);
        let pairs = self.labels.iter().zip(values);
        let labels: Vec<Label> =
            pairs.map(|(label, value)| Label::from_static_parts(label, value)).collect();
        Key::from_parts(self.name, labels)
    }
}

/// Tells a recorder what every metric means.
pub fn describe(recorder: &dyn Recorder) {
    for metric in ALL {
        let unit = Some(match metric.unit {
            Unit::Count => Described::Count,
            Unit::Seconds => Described::Seconds,
            Unit::Bytes => Described::Bytes,
        });
        let (name, meaning) = (metric.name.into(), metric.meaning().into());
        match metric.kind {
            Kind::Counter => recorder.describe_counter(name, unit, meaning),
            Kind::Gauge => recorder.describe_gauge(name, unit, meaning),
            Kind::Histogram => recorder.describe_histogram(name, unit, meaning),
        }
    }
}

/// A count as a gauge takes it; exact up to 2^53.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "gauges are floating point")]
pub fn number(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const PAGE: &str = include_str!("../../../docs/metrics.md");

    #[test]
    fn the_page_says_what_the_table_says() {
        let rows = PAGE.lines().filter(|line| line.starts_with("| `gate_"));
        let listed: Vec<String> = ALL
            .iter()
            .map(|metric| {
                let labels: Vec<_> = metric.labels.iter().map(|name| format!("`{name}`")).collect();
                let labels = match labels.is_empty() {
                    true => String::from(" "),
                    false => format!(" {} ", labels.join(", ")),
                };
                let (kind, unit) = (metric.kind.name(), metric.unit.name());
                format!("| `{}` | {kind} | {unit} |{labels}| {} |", metric.name, metric.meaning())
            })
            .collect();
        assert_eq!(rows.collect::<Vec<_>>(), listed);
    }

    #[test]
    fn names_are_unique_and_end_in_their_unit() {
        let names: BTreeSet<&str> = ALL.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), ALL.len());
        for metric in ALL {
            let name = metric.name;
            assert!(name.starts_with("gate_"), "{name}");
            let plain = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
            assert!(plain, "{name}");
            let is_counter = metric.kind == Kind::Counter;
            assert_eq!(name.ends_with("_total"), is_counter, "{name}");
            let stem = name.trim_end_matches("_total");
            assert_eq!(stem.ends_with("_seconds"), metric.unit == Unit::Seconds, "{name}");
            assert_eq!(stem.ends_with("_bytes"), metric.unit == Unit::Bytes, "{name}");
            let is_histogram = metric.kind == Kind::Histogram;
            assert_eq!(!metric.buckets.is_empty(), is_histogram, "{name}");
            assert!(metric.buckets.is_sorted_by(|lower, upper| lower < upper), "{name}");
            assert!(metric.meaning().ends_with('.'), "{name}");
        }
    }
}
