//! What the tests share, those beside the rules and those here: intents in one line, a world that
//! is a map, and tables of what rules say.
#![allow(dead_code, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use policy::{
    Compiled, Context, Engine, Facts, Finding, Judgement, OpenWindow, Payload, SourceFile, Subject,
    World, compile, json, judge,
};
use serde_json::Value;
use types::{AgentId, Digest, LogTime, NamespaceId, Outcome, Proposal};

pub(crate) const NOW: LogTime = LogTime(1_800_000_000_000);
pub(crate) const AGENT: AgentId = AgentId(7);

/// Windows and submit times, newest first.
#[derive(Default)]
pub(crate) struct MapWorld {
    pub(crate) windows: BTreeMap<Digest, OpenWindow>,
    pub(crate) submits: Vec<LogTime>,
}

impl World for MapWorld {
    type Error = Infallible;

    fn nth_last_submit(&self, n: u64) -> Result<Option<LogTime>, Infallible> {
        let index = usize::try_from(n).unwrap().checked_sub(1).expect("n counts from 1");
        Ok(self.submits.get(index).copied())
    }

    fn window(&self, fingerprint: &Digest) -> Result<Option<OpenWindow>, Infallible> {
        Ok(self.windows.get(fingerprint).copied())
    }
}

pub(crate) fn file(name: &str, text: &str) -> SourceFile {
    SourceFile { name: name.into(), bytes: text.as_bytes().to_vec() }
}

pub(crate) fn compiled(files: &[(&str, &str)]) -> Compiled {
    let files: Vec<SourceFile> = files.iter().map(|(name, text)| file(name, text)).collect();
    compile(&files).unwrap_or_else(|problems| {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        panic!("{}", lines.join("\n"))
    })
}

pub(crate) fn engine(files: &[(&str, &str)]) -> Engine {
    Engine::new(Arc::new(compiled(files).set), 1)
}

/// Rules in a gate over everything.
pub(crate) fn gate(rules: &str) -> Engine {
    engine(&[("g.yaml", &format!("gates: [{{name: g, resource: '*', policies: [{rules}]}}]"))])
}

/// Rules in the policy `p`, which requests name.
pub(crate) fn named(rules: &str) -> Engine {
    engine(&[("p.yaml", rules)])
}

/// The lines of every problem of one document.
pub(crate) fn problems(name: &str, text: &str) -> Vec<String> {
    match compile(&[file(name, text)]) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    }
}

/// Documents that have this one problem each, at `line:column`.
#[track_caller]
pub(crate) fn refused(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        assert_eq!(problems("p.yaml", text), [format!("p.yaml:{expected}")], "{text:?}");
    }
}

/// The lines of every warning of one document that loads.
pub(crate) fn warnings(name: &str, text: &str) -> Vec<String> {
    compiled(&[(name, text)]).warnings.iter().map(ToString::to_string).collect()
}

pub(crate) fn fixture(name: &str) -> Vec<u8> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/incident/");
    std::fs::read(format!("{folder}{name}")).unwrap()
}

pub(crate) fn fixture_engine() -> Engine {
    let gates = SourceFile { name: "gates.yaml".into(), bytes: fixture("gates.yaml") };
    Engine::new(Arc::new(compile(&[gates]).unwrap().set), 1)
}

/// An intent under construction.
pub(crate) struct Ask {
    pub(crate) proposal: Proposal,
    pub(crate) payload: Payload,
    pub(crate) metadata: Option<Value>,
    pub(crate) namespace: NamespaceId,
}

impl Ask {
    pub(crate) fn to(destination: &str) -> Self {
        let proposal = Proposal {
            destination: destination.into(),
            action: destination.into(),
            trigger: None,
            policy: None,
            payload_kind: types::PayloadKind::Absent,
            payload_digest: None,
            payload_type: None,
            record_count_claim: None,
            value_usd_micros: None,
            sensitivity_tags: Vec::new(),
            idempotency_key: None,
            on_behalf_of: None,
            expires_in_ms: 0,
            metadata: None,
            profile: None,
            peer_spelling: false,
        };
        Self { proposal, payload: Payload::Absent, metadata: None, namespace: NamespaceId(1) }
    }

    /// To `r`, naming the set's policy if it has one.
    pub(crate) fn under(engine: &Engine) -> Self {
        let mut ask = Self::to("r");
        ask.proposal.policy = engine.set().named.first().map(|policy| policy.id.clone());
        ask
    }

    /// The body of a request, as the fixtures have it.
    pub(crate) fn of_fixture(name: &str) -> Self {
        let body = json::parse(&fixture(name)).unwrap();
        let mut ask = Self::to(body["resource"].as_str().unwrap());
        ask.proposal.trigger = body["trigger"].as_str().map(Into::into);
        ask.payload = Payload::Json(body["payload"].clone());
        ask
    }

    pub(crate) fn trigger(mut self, trigger: &str) -> Self {
        self.proposal.trigger = Some(trigger.into());
        self
    }

    pub(crate) fn policy(mut self, policy: &str) -> Self {
        self.proposal.policy = Some(policy.into());
        self
    }

    pub(crate) fn claim(mut self, count: u64) -> Self {
        self.proposal.record_count_claim = Some(count);
        self
    }

    pub(crate) fn text(mut self, text: &str) -> Self {
        self.payload = Payload::of_text(text.into());
        self
    }

    pub(crate) fn json(mut self, text: &str) -> Self {
        self.payload = Payload::Json(json::parse_str(text).unwrap());
        self
    }

    pub(crate) fn metadata(mut self, text: &str) -> Self {
        self.metadata = Some(json::parse_str(text).unwrap());
        self
    }

    pub(crate) fn subject(&self) -> Subject<'_> {
        Subject {
            namespace: self.namespace,
            proposal: &self.proposal,
            payload: &self.payload,
            metadata: self.metadata.as_ref(),
        }
    }

    pub(crate) fn facts(&self, engine: &Engine) -> Facts {
        engine.facts(&self.subject())
    }

    /// What the first rule of the first scope found.
    pub(crate) fn finding(&self, engine: &Engine) -> Finding {
        self.facts(engine).findings.remove(0).findings.remove(0)
    }

    pub(crate) fn judged(&self, engine: &Engine) -> Judgement {
        self.judged_in(engine, &MapWorld::default())
    }

    pub(crate) fn judged_in(&self, engine: &Engine, world: &MapWorld) -> Judgement {
        judged(&self.facts(engine), engine, world)
    }
}

pub(crate) fn judged(facts: &Facts, engine: &Engine, world: &MapWorld) -> Judgement {
    let context = Context { now: NOW, agent: AGENT };
    match judge(facts, engine.set(), &context, world) {
        Ok(judgement) => judgement,
    }
}

/// The outcome and the most severe message, for tables.
pub(crate) fn verdict(judgement: &Judgement) -> (Outcome, &str) {
    let message = judgement.reasons.first().map_or("", |reason| reason.message.as_str());
    (judgement.outcome, message)
}

/// What is said of payloads: payload, outcome, the most severe message.
#[track_caller]
pub(crate) fn says(engine: &Engine, cases: &[(&str, Outcome, &str)]) {
    for (payload, outcome, message) in cases {
        let judgement = Ask::under(engine).text(payload).judged(engine);
        assert_eq!(verdict(&judgement), (*outcome, *message), "{payload}");
    }
}

/// What is said of payloads and of the count that was sent with them.
#[track_caller]
pub(crate) fn says_of_counts(engine: &Engine, cases: &[(&str, Option<u64>, Outcome, &str)]) {
    for (payload, claim, outcome, message) in cases {
        let mut ask = Ask::under(engine).text(payload);
        ask.proposal.record_count_claim = *claim;
        assert_eq!(verdict(&ask.judged(engine)), (*outcome, *message), "{payload} {claim:?}");
    }
}
