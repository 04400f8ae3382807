//! What a bench prints: one table for people, one object for programs, with the same figures.
//!
//! Invariant: `sent` is the sum of `answers`, `refused` and `unanswered`.

use std::time::Duration;

use client::Verdict;
use serde_json::{Value, json};

use crate::bench::load::{End, Load, Ran, per_second};
use crate::bench::preflight::{Cluster, Node};
use crate::bench::tally::{Quantiles, Tally, Undecided};
use crate::bench::wal::Work;
use crate::failure::{Exit, Failure, Outcome};
use crate::output::{self, Output, harmless, note};

/// More than this of one core, and the generator is what was measured.
const GENERATOR_PERCENT_MAX: u64 = 90;

/// One run and all that is known of it.
pub(crate) struct Report<'a> {
    pub(crate) run: &'a str,
    pub(crate) file: String,
    pub(crate) vary: &'a [String],
    pub(crate) nodes: &'a [Node],
    pub(crate) cluster: Option<&'a Cluster>,
    pub(crate) load: &'a Load,
    pub(crate) ran: Ran,
    pub(crate) tally: &'a Tally,
    /// Intents sent alone before the load.
    pub(crate) probes: u64,
    /// What the log did while the load ran, if metrics ports were named.
    pub(crate) work: Option<Work>,
    /// Decisions while the load ran.
    pub(crate) decided: u64,
    /// Processor time of this process while the load ran, in per cent of one core.
    pub(crate) generator_percent: Option<u64>,
}

impl Report<'_> {
    /// Prints all of it, and says how the command ends.
    pub(crate) fn print(&self, output: Output) -> Outcome {
        if output.is_json() {
            output::json(&self.to_json());
            return self.outcome();
        }
        for (title, text) in self.rows() {
            output.say(&format!("{title:<13}{}", harmless(&text)));
        }
        self.warn();
        self.outcome()
    }

    fn sent(&self) -> u64 {
        self.probes + self.ran.sent
    }

    fn unanswered(&self) -> u64 {
        self.sent().saturating_sub(self.tally.answers())
    }

    fn throughput(&self) -> u64 {
        per_second(self.tally.measured(), self.ran.measured_for)
    }

    fn to_json(&self) -> Value {
        let (load, tally) = (self.load, self.tally);
        let nodes = self.nodes.iter().map(|node| {
            json!({ "endpoint": node.endpoint, "version": node.version, "node_id": node.id })
        });
        let (ended, sustained) = match self.ran.end {
            End::Done => ("done", None),
            End::Behind { sustained_per_second } => ("behind", Some(sustained_per_second)),
            End::Stopped(_) => ("stopped", None),
        };
        let latency = tally.quantiles().map(|found| {
            json!({
                "p50": found.p50, "p90": found.p90, "p99": found.p99, "p99_9": found.p99_9,
                "max": found.max,
            })
        });
        json!({
            "run": self.run,
            "version": env!("CARGO_PKG_VERSION"),
            "intent": self.file,
            "intent_bytes": load.bodies.body(0).len(),
            "vary": self.vary,
            "nodes": nodes.collect::<Value>(),
            "cluster": self.cluster.map(Cluster::to_json),
            "mode": if load.rate.is_some() { "open" } else { "closed" },
            "hides_waiting": load.rate.is_none(),
            "rate": load.rate,
            "connections": load.clients.len(),
            "warm_up_seconds": load.warm_up.as_secs(),
            "seconds": load.measured.as_secs(),
            "ended": ended,
            "sustained_per_second": sustained,
            "sent": self.sent(),
            "answers": tally.decisions(),
            "refused": tally.refused(),
            "unanswered": self.unanswered(),
            "replayed": tally.replayed(),
            "measured": tally.measured(),
            "measured_ms": millis(self.ran.measured_for),
            "throughput_per_second": self.throughput(),
            "latency_us": latency,
            "log": self.work.as_ref().map(|work| work.to_json(self.decided)),
            "generator_percent_of_core": self.generator_percent,
        })
    }

    /// The rows of the table.
    fn rows(&self) -> Vec<(&'static str, String)> {
        let (load, tally) = (self.load, self.tally);
        let bytes = load.bodies.body(0).len();
        let differ = match self.vary {
            [] => "the same each time".to_owned(),
            places => format!("each its own at {}", places.join(", ")),
        };
        let nodes: Vec<String> = self.nodes.iter().map(shown).collect();
        let mut rows = vec![
            ("intent", format!("{}, {bytes} bytes, {differ}", self.file)),
            ("nodes", nodes.join(", ")),
            ("cluster", self.cluster.map_or_else(hidden, cluster)),
            ("load", self.loop_and_times()),
            ("sent", format!("{}, {} of them measured", self.sent(), tally.measured())),
            ("answers", counts(tally.decisions().as_object().into_iter().flatten())),
        ];
        if !tally.refused().is_empty() {
            rows.push(("refused", counts(tally.refused().iter())));
        }
        if self.unanswered() > 0 {
            rows.push(("unanswered", self.unanswered().to_string()));
        }
        if tally.replayed() > 0 {
            rows.push(("sent twice", format!("{} whose first answer was lost", tally.replayed())));
        }
        match tally.quantiles() {
            None => rows.push(("throughput", "nothing was measured".to_owned())),
            Some(Quantiles { p50, p90, p99, p99_9, max }) => {
                rows.push(("throughput", format!("{}/s", self.throughput())));
                let shown = format!("p50 {p50}, p90 {p90}, p99 {p99}, p99.9 {p99_9}, max {max}");
                rows.push(("latency, us", shown));
            }
        }
        if let Some(work) = &self.work {
            rows.push(("log", log(&work.to_json(self.decided))));
        }
        if let Some(percent) = self.generator_percent {
            rows.push(("generator", format!("{percent} % of a core")));
        }
        rows
    }

    fn loop_and_times(&self) -> String {
        let load = self.load;
        let kind = match load.rate {
            Some(rate) => format!("open loop at {rate}/s"),
            None => "closed loop, which hides waiting".to_owned(),
        };
        let (warm_up, seconds) = (load.warm_up.as_secs(), load.measured.as_secs());
        let connections = load.clients.len();
        format!("{kind}; {connections} connections, {seconds} s after {warm_up} s of warm-up")
    }

    /// What makes the figures mean something else than they seem to.
    fn warn(&self) {
        if self.load.rate.is_none() {
            note(
                "note: in a closed loop nothing is sent while the gate stalls, so its waiting is \
                 hidden; measure latencies with --rate",
            );
        }
        if self.generator_percent.is_some_and(|percent| percent > GENERATOR_PERCENT_MAX) {
            note("warning: the generator was busy all the time; these figures are its own");
        }
        let duplicates = self.tally.count(Verdict::Duplicate);
        if duplicates > 0 && !self.vary.is_empty() {
            note(&format!("warning: {duplicates} intents were duplicates although they differ"));
        }
    }

    fn outcome(&self) -> Outcome {
        match self.ran.end {
            End::Done => self.all_decided(),
            End::Stopped(signal) => {
                let seconds = self.ran.took.as_secs();
                let what = format!("{signal} after {seconds} s: these are the figures so far");
                Err(Failure::refused(what))
            }
            End::Behind { sustained_per_second } => {
                let rate = self.load.rate.unwrap_or_default();
                let waited = self.load.backlog.as_secs();
                let what = format!(
                    "{rate}/s is more than it takes: intents waited more than {waited} s for one \
                     of {} connections; highest sustained {sustained_per_second}/s",
                    self.load.clients.len()
                );
                Err(Failure::refused(what).next(match sustained_per_second * 9 / 10 {
                    0 => "see whether it answers at all with `qgate cluster status`".to_owned(),
                    lower => format!("try --rate {lower}, or more --connections"),
                }))
            }
        }
    }

    fn all_decided(&self) -> Outcome {
        let exit = match self.tally.undecided() {
            None => return Ok(Exit::Done),
            Some(Undecided::NoQuorum) => Exit::NoQuorum,
            Some(Undecided::Unreachable) => Exit::Unreachable,
            Some(Undecided::Refused) => Exit::Refused,
        };
        let (refusals, sent) = (self.tally.refusals(), self.sent());
        let codes = harmless(&counts(self.tally.refused().iter()));
        let what = format!("{refusals} of {sent} intents got no decision: {codes}");
        let failure = Failure::refused(what).next("see which nodes are away, and what they log");
        Err(Failure { exit, ..failure })
    }
}

fn shown(node: &Node) -> String {
    let Some(version) = &node.version else { return format!("{} (no answer)", node.endpoint) };
    match node.id {
        Some(id) => format!("{} (node {id}, version {version})", node.endpoint),
        None => format!("{} (version {version})", node.endpoint),
    }
}

fn cluster(cluster: &Cluster) -> String {
    let Cluster { id, leader, term, voters, learners } = cluster;
    let leader = leader.map_or("nobody leads".to_owned(), |node| format!("node {node} leads"));
    format!("{id}: voters {voters}, learners {learners}, {leader} in term {term}")
}

fn hidden() -> String {
    "not shown to this key; operators, auditors and admins may read it".to_owned()
}

fn counts(counted: impl Iterator<Item = (impl AsRef<str>, impl ToString)>) -> String {
    let shown = counted.map(|(name, count)| format!("{} {}", name.as_ref(), count.to_string()));
    shown.collect::<Vec<_>>().join(", ")
}

fn log(work: &Value) -> String {
    let changes = match work["leader_changes"].as_u64() {
        Some(count) => format!("leader changes {count}"),
        None => "every node was started again meanwhile".to_owned(),
    };
    let figures = match work["leader"].as_str() {
        Some(port) => format!(
            "{} syncs and {} bytes per intent at the leader, {port}",
            work["syncs_per_intent"], work["bytes_per_intent"]
        ),
        None => "none of these nodes led all the time".to_owned(),
    };
    format!("{figures}; {changes}")
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
