//! What one node pays to apply a submit: judgement, rows, audit leaf, and the write to RocksDB.
//!
//! Entries are what a leader makes of concurrent submits through the gate of duplicate calls; each
//! is another lead with a payload of about 300 bytes. Promise: the memory and the background work
//! of RocksDB are those of a node, on the disk of the working directory; a reply that is not
//! "accepted" makes the run fail.
#![allow(clippy::print_stdout, reason = "its output is what it is for")]

#[path = "common/proposed.rs"]
mod proposed;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ledger::{
    ApplyPolicies, BatchHeader, Bootstrap, Command, Envelope, FirstKey, Reply, RequestKey, Session,
    SourceFile, Submit, encode_batch,
};
use policy::{Engine, Payload, Subject, compile, json};
use store::state::{AppliedMeta, StateStore};
use types::codec::encode;
use types::{
    AgentId, Digest, IntentId, KeyId, LogIndex, LogTime, NamespaceId, NodeId, Phase, Salt,
};

/// The one of the gate.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const GATES: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/incident/gates.yaml");
const KEY: KeyId = KeyId(1);
const START: LogTime = LogTime(1_800_000_000_000);
/// Submits of one run, and those before it that are not counted.
const SUBMITS: u64 = 100_000;
const WARM_UP: u64 = 20_000;
/// Submits in one entry: as many as a node finds waiting under load, and one alone.
const ENTRIES: [u64; 3] = [1, 16, 128];

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            println!("\nfailed: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let bytes = std::fs::read(GATES).map_err(|error| format!("cannot read {GATES}: {error}"))?;
    println!("applying submits on one node: 300 bytes each, three gates, one thread");
    println!("submits      {SUBMITS} after {WARM_UP} of warm-up, of a new state each time\n");
    for with_key in [false, true] {
        for entry in ENTRIES {
            let mut node = Node::new(&bytes)?;
            node.run(WARM_UP, entry, with_key)?;
            let (work, write) = node.run(SUBMITS, entry, with_key)?;
            let header = if with_key { "with Idempotency-Key" } else { "without" };
            println!(
                "  {entry:>4} in an entry, {header:<21} {} us each: {} worked out, {} written",
                micros(work + write),
                micros(work),
                micros(write)
            );
        }
    }
    Ok(())
}

fn is_allowed(reply: &Reply) -> bool {
    matches!(reply, Reply::Submitted(head, _) if head.phase == Phase::Allowed)
}

/// Microseconds of one submit.
fn micros(all: Duration) -> String {
    let nanos = all.as_nanos() / u128::from(SUBMITS);
    format!("{}.{:02}", nanos / 1_000, nanos % 1_000 / 10)
}

/// A node's state.
struct Node {
    _dir: tempfile::TempDir,
    state: StateStore,
    engine: Engine,
    index: u64,
    submits: u64,
}

impl Node {
    /// With an admin and the three gates.
    fn new(gates: &[u8]) -> Result<Self, String> {
        let dir = tempfile::tempdir_in(".").map_err(|error| error.to_string())?;
        let state = StateStore::open(dir.path()).map_err(|error| error.to_string())?;
        let source = || policy::SourceFile { name: "gates.yaml".into(), bytes: gates.to_vec() };
        let compiled = compile(&[source()]).map_err(|_| "the three gates do not compile")?.set;
        let engine = Engine::new(Arc::new(compiled.clone()), 1);
        let mut node = Self { _dir: dir, state, engine, index: 0, submits: 0 };
        let admin =
            FirstKey { agent: AgentId(1), name: "a".into(), key: KEY, key_hash: Digest::of(b"a") };
        let first = Bootstrap { cluster_id: "c".repeat(32), admin, node: None };
        node.apply(&[node.envelope(None, Command::Bootstrap(first))])?;
        let sources = vec![SourceFile { name: source().name, bytes: source().bytes }];
        let policies =
            Box::new(ApplyPolicies { if_version: None, sources, compiled, origin: None });
        node.apply(&[node.envelope(Some(KEY), Command::ApplyPolicies(policies))])?;
        Ok(node)
    }

    fn envelope(&self, credential: Option<KeyId>, command: Command) -> Envelope {
        let mut request = [0; 16];
        request.copy_from_slice(&Digest::of(&(self.index + self.submits).to_be_bytes()).0[..16]);
        let namespace = NamespaceId::DEFAULT;
        Envelope { request, credential, namespace, request_key: None, command }
    }

    /// Applies so many submits, and says how long that took: to work them out, and to write them.
    fn run(
        &mut self,
        submits: u64,
        in_entry: u64,
        with_key: bool,
    ) -> Result<(Duration, Duration), String> {
        let mut took = (Duration::ZERO, Duration::ZERO);
        let mut left = submits;
        while left > 0 {
            let count = in_entry.min(left);
            left -= count;
            let envelopes: Vec<_> = (0..count).map(|_| self.submit(with_key)).collect();
            let (work, write, replies) = self.apply(&envelopes)?;
            took.0 += work;
            took.1 += write;
            if let Some(other) = replies.iter().find(|reply| !is_allowed(reply)) {
                return Err(format!("a submit was answered {other:?}"));
            }
        }
        Ok(took)
    }

    fn submit(&mut self, with_key: bool) -> Envelope {
        self.submits += 1;
        let lead = format!("lead-{:012}", self.submits);
        let payload = format!(
            "{{\"lead_id\":\"{lead}\",\"phone\":\"+1-555-010-2233\",\"notes\":\"{}\"}}",
            "Asked for a demo on Thursday after four. ".repeat(6)
        );
        let payload = json::parse(payload.as_bytes()).map_or(Payload::Absent, Payload::Json);
        let proposal = proposed::proposal("leads.outbound_call", "webhook", &payload);
        let namespace = NamespaceId::DEFAULT;
        let subject = Subject { namespace, proposal: &proposal, payload: &payload, metadata: None };
        let number = self.submits;
        // Ids of one node grow with time, and so do these.
        let submit = Submit {
            intent: IntentId((number << 23) | (1 << 14)),
            request_digest: Digest::of(&number.to_be_bytes()),
            salt: Salt([7; 32]),
            payload: payload.canonical_bytes().map(std::borrow::Cow::into_owned),
            facts: self.engine.facts(&subject),
            proposal,
        };
        let mut envelope = self.envelope(Some(KEY), Command::Submit(Box::new(submit)));
        envelope.request_key = with_key
            .then(|| RequestKey { digest: Digest::of(lead.as_bytes()), body: Digest::of(b"body") });
        envelope
    }

    /// Applies one entry.
    fn apply(
        &mut self,
        envelopes: &[Envelope],
    ) -> Result<(Duration, Duration, Vec<Reply>), String> {
        self.index += 1;
        let commands: Vec<_> = envelopes.iter().map(encode).collect();
        let time = START.plus_ms(self.submits / 10);
        let header = BatchHeader { level: 1, time, proposer: NodeId(1) };
        let batch = encode_batch(&header, &commands);
        let began = Instant::now();
        let (replies, writes) = self
            .state
            .with_live(|base| {
                let mut session = Session::open(base)?;
                let replies = session.apply(LogIndex(self.index), &batch)?;
                Ok::<_, ledger::Fault>((replies, session.finish()?))
            })
            .map_err(|fault| fault.to_string())?;
        let work = began.elapsed();
        let meta = AppliedMeta { index: self.index, applied: vec![0; 16], membership: vec![0; 16] };
        let began = Instant::now();
        self.state.write(&writes, &meta).map_err(|error| error.to_string())?;
        drop(writes);
        let write = began.elapsed();
        if self.state.needs_flush() {
            self.state.flush().map_err(|error| error.to_string())?;
        }
        Ok((work, write, replies))
    }
}
