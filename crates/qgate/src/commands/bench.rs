//! `qgate bench`: real intents at a rate, and what the gate makes of it.
//!
//! Promise: it asks what such intents would set off before it sends one, and goes on against
//! people, targets or another machine only with `--yes`.

use std::cell::RefCell;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use client::{Client, Endpoint, fresh_key};
use procfs::process::Process;
use serde_json::Value;
use types::limits::IN_FLIGHT_PER_KEY_MAX;

use crate::bench::load::Load;
use crate::bench::preflight::{Cluster, Node, concerns, look, probe};
use crate::bench::report::Report;
use crate::bench::tally::Tally;
use crate::bench::varied::Varied;
use crate::bench::wal::{Ports, Seen, Work};
use crate::cli::Global;
use crate::commands::read_json;
use crate::failure::{Failure, Outcome};
use crate::output::note;
use crate::signals::StopSignals;

/// Higher rates are not reached by one process.
const RATE_MAX: u64 = 10_000_000;
/// A day.
const SECONDS_MAX: u64 = 24 * 60 * 60;
const BACKLOG_SECONDS_MAX: u64 = 600;
/// Digits of a run's id: enough that no two runs of one dedup window share one.
const RUN_DIGITS: usize = 12;

/// Load a gate with real intents, and measure what it makes of them.
///
/// Each intent is written, judged and audited as any other: use a gate, or a resource, of which you
/// want nothing else. Intents are due at even times, and a latency runs from when its intent was
/// due, whether a connection was free or not: a gate that stalls cannot hide it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    qgate bench --intent call.json --vary /payload/lead_id --rate 200\n  \
    qgate bench --intent call.json --vary /payload/lead_id --rate 2000 --seconds 60 \\\n      \
    --connections 64 --metrics http://127.0.0.1:4003\n  \
    qgate bench --intent call.json --duplicates --closed     how fast repeats are refused\n\n\
    With `qgate dev --policies examples/policies` take as call.json the file\n\
    tests/fixtures/incident/duplicate-call.json; dev.json names the keys and metrics ports.\n\
    Several endpoints share the connections.\n\n\
    Exits with 1 if the rate is more than it takes, if it is stopped, or if an intent was\n\
    refused; with 3 or 4 if one got no answer. docs/benchmarks.md says what figures mean.")]
pub(crate) struct BenchArgs {
    /// JSON file with the intent, as `qgate intent submit` takes it, e.g. call.json
    #[arg(long, value_name = "FILE")]
    intent: PathBuf,
    /// Where a text differs in each intent, as a JSON pointer, repeatable, e.g. /payload/lead_id
    #[arg(long, value_name = "POINTER")]
    vary: Vec<String>,
    /// Send the same intent again and again, and measure how that is refused
    #[arg(long, conflicts_with = "vary")]
    duplicates: bool,
    /// Intents per second that are due, e.g. 2000
    #[arg(long, value_name = "N", required_unless_present = "closed",
        value_parser = clap::value_parser!(u64).range(1..=RATE_MAX))]
    rate: Option<u64>,
    /// Send again as soon as answered, on every connection, at no rate; this hides waiting
    #[arg(long, conflicts_with = "rate")]
    closed: bool,
    /// How long it measures, in seconds, e.g. 60
    #[arg(long, value_name = "S", default_value_t = 10,
        value_parser = clap::value_parser!(u64).range(1..=SECONDS_MAX))]
    seconds: u64,
    /// Connections, each with one request at a time, e.g. 64
    #[arg(long, value_name = "C", default_value_t = 16,
        value_parser = clap::value_parser!(u64).range(1..=IN_FLIGHT_PER_KEY_MAX as u64))]
    connections: u64,
    /// How long it runs before it measures, in seconds, e.g. 5
    #[arg(long, value_name = "S", default_value_t = 2,
        value_parser = clap::value_parser!(u64).range(0..=SECONDS_MAX))]
    warm_up: u64,
    /// The rate is too high once an intent waits longer than this to be sent, in seconds, e.g. 5
    #[arg(long, value_name = "S", default_value_t = 5,
        value_parser = clap::value_parser!(u64).range(1..=BACKLOG_SECONDS_MAX))]
    backlog: u64,
    /// Metrics port of a node, repeatable, one for each node, e.g. http://127.0.0.1:4003
    #[arg(long, value_name = "URL")]
    metrics: Vec<Endpoint>,
    /// Go on although it is another machine, or people would be asked, or targets would be called
    #[arg(long)]
    yes: bool,
}

/// What a run is made of.
struct Plan {
    run: String,
    endpoints: Vec<Endpoint>,
    load: Load,
    ports: Ports,
}

/// Runs `qgate bench`.
pub(crate) async fn run(global: &Global, args: BenchArgs) -> Outcome {
    let mut stop = StopSignals::new()?;
    let plan = plan(global, &args)?;
    let mut tally = Tally::new();
    let ready = tokio::select! {
        ready = prepare(global, &args, &plan, &mut tally) => ready?,
        signal = stop.wait() => {
            return Err(Failure::refused(format!("{signal}: stopped before the load began")));
        }
    };
    let decided_before = tally.decided();
    let tally = RefCell::new(tally);
    let clock = Processor::start();
    let ran = plan.load.run(&tally, ready.probes, &mut stop).await?;
    let generator_percent = clock.percent();
    let work = plan.work(&ready.before).await;
    let tally = tally.into_inner();
    let report = Report {
        run: &plan.run,
        file: args.intent.display().to_string(),
        vary: &args.vary,
        nodes: &ready.nodes,
        cluster: ready.cluster.as_ref(),
        load: &plan.load,
        ran,
        tally: &tally,
        probes: ready.probes,
        work,
        decided: tally.decided() - decided_before,
        generator_percent,
    };
    report.print(global.output())
}

/// Reads what was asked for; nothing leaves this machine.
fn plan(global: &Global, args: &BenchArgs) -> Result<Plan, Failure> {
    if args.vary.is_empty() && !args.duplicates {
        return Err(Failure::usage("every intent would be the same, and refused as a duplicate")
            .next(
                "name the text that is to differ with --vary /payload/lead_id, or measure \
                 refusals with --duplicates",
            ));
    }
    let endpoints = global.endpoints()?;
    if let Some(away) =
        endpoints.iter().find(|endpoint| !endpoint.is_loopback()).filter(|_| !args.yes)
    {
        let what = format!("{away} is another machine, and a bench writes real intents there");
        return Err(Failure::usage(what).next("say that you mean it with --yes"));
    }
    let intent = read_json(&args.intent)?;
    check(&intent, &args.intent.display().to_string())?;
    let run: String = fresh_key().chars().take(RUN_DIGITS).collect();
    let bodies = Varied::of(&intent, &args.vary, &run)?;
    let [warm_up, measured, backlog] =
        [args.warm_up, args.seconds, args.backlog].map(Duration::from_secs);
    let clients = clients(global, &endpoints, args.connections)?;
    let load = Load { clients, bodies, rate: args.rate, warm_up, measured, backlog };
    Ok(Plan { run, endpoints, load, ports: Ports::of(&args.metrics)? })
}

/// What a bench sets itself must not stand in the file.
fn check(intent: &Value, file: &str) -> Result<(), Failure> {
    let Value::Object(fields) = intent else {
        return Err(Failure::usage(format!("{file}: no JSON object"))
            .next("write it as `qgate intent submit` takes it"));
    };
    let keys = ["request_key", "requestKey"];
    match keys.into_iter().find(|key| fields.contains_key(*key)) {
        None => Ok(()),
        Some(key) => {
            let what = format!("{file}: with its `{key}` all intents would get one answer");
            Err(Failure::usage(what).next("leave it out: each intent gets a key of its own"))
        }
    }
}

/// A client for each connection; they begin with the endpoints in turn, and go on to the others
/// where one does not answer.
fn clients(global: &Global, endpoints: &[Endpoint], count: u64) -> Result<Vec<Client>, Failure> {
    let mut order = endpoints.to_vec();
    let mut made = Vec::new();
    for _ in 0..count {
        made.push(global.client_of(order.clone())?);
        order.rotate_left(1);
    }
    Ok(made)
}

/// What is known before the load begins.
struct Ready {
    nodes: Vec<Node>,
    cluster: Option<Cluster>,
    /// Intents that were sent alone.
    probes: u64,
    /// The counters of the nodes.
    before: Vec<Seen>,
}

/// Looks at the gate, asks what such intents set off, sends the first, and reads the counters.
async fn prepare(
    global: &Global,
    args: &BenchArgs,
    plan: &Plan,
    tally: &mut Tally,
) -> Result<Ready, Failure> {
    let (nodes, cluster) = look(global, &plan.endpoints).await?;
    // Wrong ports are told before anything is stored.
    plan.ports.look().await?;
    let known = concerns(&global.client()?, &plan.load.bodies.body(0)).await?;
    for concern in &known {
        weigh(concern, "nothing was sent", args.yes)?;
    }
    let (probes, concern) = probe(&plan.load, tally, args.duplicates).await?;
    if let Some(concern) = concern.filter(|concern| !known.iter().any(|said| said == concern)) {
        weigh(concern, &format!("{probes} sent"), args.yes)?;
    }
    Ok(Ready { nodes, cluster, probes, before: plan.ports.look().await? })
}

/// Warns, and goes on only if that was asked for.
fn weigh(concern: &str, so_far: &str, yes: bool) -> Result<(), Failure> {
    if yes {
        note(&format!("warning: of such an intent: {concern}"));
        return Ok(());
    }
    Err(Failure::refused(format!("of such an intent: {concern}; {so_far}"))
        .next("take an intent of another resource, or go on all the same with --yes"))
}

impl Plan {
    /// What the log did since; that it cannot be told does not spoil the other figures.
    async fn work(&self, before: &[Seen]) -> Option<Work> {
        if before.is_empty() {
            return None;
        }
        match self.ports.look().await {
            Ok(after) => Some(self.ports.between(before, &after)),
            Err(failure) => {
                note(&format!("warning: no figures of the log: {}", failure.what));
                None
            }
        }
    }
}

/// Processor time of this process.
struct Processor {
    began: Instant,
    ticks: Option<u64>,
}

impl Processor {
    fn start() -> Self {
        Self { began: Instant::now(), ticks: ticks() }
    }

    /// In per cent of one core, since the start.
    fn percent(&self) -> Option<u64> {
        let ticks = u128::from(ticks()?.checked_sub(self.ticks?)?);
        let micros = ticks * 1_000_000 / u128::from(procfs::ticks_per_second().max(1));
        u64::try_from(micros * 100 / self.began.elapsed().as_micros().max(1)).ok()
    }
}

fn ticks() -> Option<u64> {
    let stat = Process::myself().and_then(|process| process.stat()).ok()?;
    Some(stat.utime + stat.stime)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::failure::Exit;

    #[test]
    fn what_a_bench_sets_itself_is_not_taken_from_the_file() {
        let cases = [
            (json!({"resource": "r", "idempotency_key": "k"}), None),
            (json!([1]), Some("x.json: no JSON object")),
            (json!({"requestKey": "k"}), Some("x.json: with its `requestKey`")),
            (json!({"request_key": null}), Some("x.json: with its `request_key`")),
        ];
        for (intent, expected) in cases {
            let found = check(&intent, "x.json").err();
            assert_eq!(found.is_some(), expected.is_some(), "{intent}");
            if let (Some(failure), Some(expected)) = (found, expected) {
                assert_eq!(failure.exit, Exit::Usage, "{intent}");
                assert!(failure.what.starts_with(expected), "{failure}");
                assert!(failure.next.is_some(), "{failure}");
            }
        }
    }

    #[test]
    fn a_concern_ends_it_unless_somebody_said_yes() {
        assert!(weigh("each is a call", "nothing was sent", true).is_ok());
        let failure = weigh("each is a call", "nothing was sent", false).unwrap_err();
        assert_eq!(failure.exit, Exit::Refused);
        assert!(failure.what.contains("each is a call; nothing was sent"), "{failure}");
        assert!(failure.next.unwrap_or_default().contains("--yes"));
    }
}
