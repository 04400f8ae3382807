//! Facts and judgement of one intent by the three gates of the incident, in memory.
//!
//! What the gate adds to an intent besides durability: the payload is parsed already, nothing is
//! read from a disk. Promise: quantiles are those of all samples, by nearest rank; every sample
//! includes two looks at the clock; an outcome that is not the expected one makes the run fail.
#![allow(clippy::print_stdout, reason = "its output is what it is for")]

#[path = "common/proposed.rs"]
mod proposed;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use policy::{
    Context, Engine, OpenWindow, Payload, SourceFile, Subject, World, compile, json, judge,
};
use types::{AgentId, Digest, IntentId, LogTime, NamespaceId, Outcome, Proposal};

/// The one of the gate.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const GATES: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/incident/gates.yaml");
const SAMPLES: usize = 200_000;
const WARM_UP: usize = 20_000;
const PAYLOAD_BYTES: usize = 1_024;
const NOW: LogTime = LogTime(1_800_000_000_000);
/// The median that a submit may spend here.
const MEDIAN_NS_MAX: u64 = 5_000;

/// Open windows, as the ledger would look them up.
struct Windows(BTreeMap<Digest, OpenWindow>);

impl World for Windows {
    type Error = Infallible;

    fn nth_last_submit(&self, _: u64) -> Result<Option<LogTime>, Infallible> {
        Ok(None)
    }

    fn window(&self, fingerprint: &Digest) -> Result<Option<OpenWindow>, Infallible> {
        Ok(self.0.get(fingerprint).copied())
    }
}

/// One kind of intent and what the gates must say of it.
struct Case {
    name: &'static str,
    proposal: Proposal,
    payload: Payload,
    expected: Outcome,
}

fn main() -> ExitCode {
    let bytes = match std::fs::read(GATES) {
        Ok(bytes) => bytes,
        Err(error) => return failed(&format!("cannot read {GATES}: {error}")),
    };
    let Ok(compiled) = compile(&[SourceFile { name: "gates.yaml".into(), bytes }]) else {
        return failed("the three gates do not compile");
    };
    let engine = Engine::new(Arc::new(compiled.set), 1);
    println!("facts and judgement by the three gates of the incident, payload parsed, 1 KB");
    println!("machine      {}", machine());
    println!("samples      {SAMPLES} each after {WARM_UP} of warm-up, one thread\n");
    let mut slowest_ns = 0;
    for case in cases() {
        match measure(&engine, &case) {
            Ok(median_ns) => slowest_ns = slowest_ns.max(median_ns),
            Err(found) => {
                return failed(&format!("{}: {found:?}, not {:?}", case.name, case.expected));
            }
        }
    }
    let word = if slowest_ns < MEDIAN_NS_MAX { "below" } else { "NOT below" };
    println!("\nthe slowest median is {} us: {word} 5 us", micros(slowest_ns));
    ExitCode::SUCCESS
}

fn failed(why: &str) -> ExitCode {
    println!("\nfailed: {why}");
    ExitCode::FAILURE
}

/// Runs one case and prints its quantiles; returns the median, or an unexpected outcome.
fn measure(engine: &Engine, case: &Case) -> Result<u64, Outcome> {
    let mut world = Windows(BTreeMap::new());
    if case.expected == Outcome::Duplicate {
        let facts = engine.facts(&subject(case));
        let context = Context { now: NOW, agent: AgentId(7) };
        let Ok(first) = judge(&facts, engine.set(), &context, &world);
        let open = OpenWindow { first: IntentId(5), ends_at: Some(NOW.plus_ms(1)) };
        world.0.extend(first.windows.iter().map(|window| (window.fingerprint, open)));
    }
    let mut nanos = Vec::with_capacity(SAMPLES);
    for number in 0..WARM_UP + SAMPLES {
        let began = Instant::now();
        let facts = engine.facts(black_box(&subject(case)));
        let context = Context { now: NOW, agent: AgentId(7) };
        let Ok(judgement) = judge(&facts, engine.set(), &context, &world);
        let judgement = black_box(judgement);
        let took = began.elapsed();
        if judgement.outcome != case.expected {
            return Err(judgement.outcome);
        }
        if number >= WARM_UP {
            nanos.push(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
        }
    }
    nanos.sort_unstable();
    let quantile = |percent: usize| {
        let rank = (nanos.len() * percent).div_ceil(100).max(1);
        nanos.get(rank - 1).copied().unwrap_or(u64::MAX)
    };
    let (median, p99) = (quantile(50), quantile(99));
    println!("  {:<44} p50 {} us, p99 {} us", case.name, micros(median), micros(p99));
    Ok(median)
}

fn subject(case: &Case) -> Subject<'_> {
    Subject {
        namespace: NamespaceId(1),
        proposal: &case.proposal,
        payload: &case.payload,
        metadata: None,
    }
}

fn cases() -> Vec<Case> {
    let call = || {
        let notes = "speaks for a team of thirty and uses a spreadsheet today; ";
        filled(r#"{"lead_id":"lead-20931","phone":"+1-555-010-2233","notes":""#, notes, "\"}")
    };
    let record = r#"{"id":"c-1","set":{"lead_score":71,"owner":"rep-7","tier":"b"}},"#;
    let message = r#"{"to":"a@example.com","body":"Hello Jean, your demo is on Thursday."},"#;
    let broken = r#"{"to":"a@example.com","body":"Hello {{customer_name}}, see you there."},"#;
    let crm = || filled(r#"{"records":["#, record, r#"{"id":"c-2"}]}"#);
    let mail = |one| filled(r#"{"messages":["#, one, r#"{"body":"Hello."}]}"#);
    vec![
        case("records below the limit", "crm.contacts", "write", &crm(), Outcome::Allow),
        case("a new call", "leads.outbound_call", "webhook", &call(), Outcome::Allow),
        case("the same call again", "leads.outbound_call", "webhook", &call(), Outcome::Duplicate),
        case("clean messages", "email.batch", "send", &mail(message), Outcome::Allow),
        case("messages with template errors", "email.batch", "send", &mail(broken), Outcome::Hold),
    ]
}

fn case(
    name: &'static str,
    resource: &str,
    trigger: &str,
    payload: &str,
    expected: Outcome,
) -> Case {
    let payload = json::parse(payload.as_bytes()).map_or(Payload::Absent, Payload::Json);
    let proposal = proposed::proposal(resource, trigger, &payload);
    Case { name, proposal, payload, expected }
}

/// A document of about 1 KB: one part as often as it fits.
fn filled(begin: &str, part: &str, end: &str) -> String {
    let times = (PAYLOAD_BYTES - begin.len() - end.len()) / part.len();
    [begin, &part.repeat(times), end].concat()
}

fn micros(nanos: u64) -> String {
    format!("{}.{:02}", nanos / 1_000, nanos % 1_000 / 10)
}

/// Cores and processor, as Linux names them.
fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.and_then(|rest| rest.split_once(':')).map_or("unknown", |(_, name)| name);
    format!("{cores} cores, {}", model.trim())
}
