//! A ledger in memory, driven with real commands, real policies and real facts.
#![allow(dead_code, unreachable_pub, reason = "each test uses its part of it")]

pub mod crm;
pub mod phone;

use std::sync::Arc;

use ledger::*;
use policy::{Engine, Payload, Subject};
use serde_json::Value;
use types::codec::encode;
use types::*;

/// The `default` namespace, where everything here happens.
pub const NS: NamespaceId = NamespaceId::DEFAULT;
/// The admin's key.
pub const ADMIN: KeyId = KeyId(1);
/// Where log time begins.
pub const START: LogTime = LogTime(1_800_000_000_000);

/// One node's state with a log that remembers every entry.
pub struct Node {
    pub state: MapState,
    pub entries: Vec<Vec<u8>>,
    pub now: LogTime,
    next: u64,
}

impl Node {
    /// A cluster with its first admin.
    pub fn new() -> Self {
        Self::made_by(None)
    }

    /// A cluster that this node made.
    pub fn made_by(first: Option<NewNode>) -> Self {
        let mut node =
            Self { state: MapState::default(), entries: Vec::new(), now: START, next: 100 };
        let admin = FirstKey {
            agent: AgentId(1),
            name: "admin".into(),
            key: ADMIN,
            key_hash: Digest::of(b"admin"),
        };
        let command =
            Command::Bootstrap(Bootstrap { cluster_id: "c".repeat(32), admin, node: first });
        assert_eq!(node.send(None, command), Reply::Done);
        node
    }

    /// A cluster with these policies in force.
    pub fn with_policies(files: &[(&str, &str)]) -> Self {
        let mut node = Self::new();
        node.apply_policies(files);
        node
    }

    pub fn draw(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Commits one entry of envelopes.
    pub fn commit(&mut self, envelopes: &[Envelope]) -> Vec<Reply> {
        let commands: Vec<Vec<u8>> = envelopes.iter().map(encode).collect();
        let header = BatchHeader { level: 1, time: self.now, proposer: NodeId(1) };
        self.entries.push(encode_batch(&header, &commands));
        let index = LogIndex(self.entries.len() as u64);
        let mut session = Session::open(&self.state).unwrap();
        let replies = session.apply(index, self.entries.last().unwrap()).unwrap();
        let writes = session.finish().unwrap();
        self.state.write(&writes);
        replies
    }

    pub fn envelope(&mut self, key: Option<KeyId>, command: Command) -> Envelope {
        let mut request = [0; 16];
        request[8..].copy_from_slice(&self.draw().to_be_bytes());
        Envelope { request, credential: key, namespace: NS, request_key: None, command }
    }

    pub fn send(&mut self, key: Option<KeyId>, command: Command) -> Reply {
        let envelope = self.envelope(key, command);
        self.commit(&[envelope]).remove(0)
    }

    /// Registers a principal whose key has the same number as its id.
    pub fn register(&mut self, name: &str, role: Role, owner: Option<&str>) -> KeyId {
        let id = self.draw();
        let first = FirstKey {
            agent: AgentId(id),
            name: name.into(),
            key: KeyId(id),
            key_hash: Digest::of(name.as_bytes()),
        };
        let command = Command::RegisterAgent(Box::new(RegisterAgent {
            first,
            owner: owner.map(Into::into),
            framework: None,
            risk_tier: "standard".into(),
            role,
            allowed_policies: vec![],
            allowed_destinations: vec![],
            metadata: None,
            open: false,
        }));
        assert!(matches!(self.send(Some(ADMIN), command), Reply::Agent(_)));
        KeyId(id)
    }

    pub fn apply_policies(&mut self, files: &[(&str, &str)]) -> Reply {
        let sources: Vec<policy::SourceFile> = files
            .iter()
            .map(|(name, text)| policy::SourceFile {
                name: (*name).into(),
                bytes: text.as_bytes().to_vec(),
            })
            .collect();
        let compiled = policy::compile(&sources).unwrap().set;
        let sources =
            sources.into_iter().map(|f| SourceFile { name: f.name, bytes: f.bytes }).collect();
        let command = Command::ApplyPolicies(Box::new(ApplyPolicies {
            if_version: None,
            sources,
            compiled,
            origin: None,
        }));
        self.send(Some(ADMIN), command)
    }

    pub fn engine(&self) -> Engine {
        let head = query::policy_head(&self.state, NS).unwrap();
        match head {
            Some(head) => Engine::new(self.state.compiled(NS, head.version).unwrap(), head.version),
            None => Engine::new(Arc::new(PolicySet::empty()), 0),
        }
    }

    /// A submit of `{resource, payload, …}` with facts for the version in force.
    pub fn submission(&mut self, request: &Value) -> Submit {
        let payload = Payload::Json(request["payload"].clone());
        let text = |field: &str| request[field].as_str().map(str::to_owned);
        let proposal = Proposal {
            destination: text("resource").unwrap(),
            action: text("resource").unwrap(),
            trigger: text("trigger"),
            policy: text("policy"),
            payload_kind: payload.kind(),
            payload_digest: payload.digest(),
            payload_type: None,
            record_count_claim: request["recordCount"].as_u64(),
            value_usd_micros: None,
            sensitivity_tags: vec![],
            idempotency_key: text("idempotency_key"),
            on_behalf_of: None,
            expires_in_ms: request["expires_in_ms"].as_u64().unwrap_or(3_600_000),
            metadata: None,
            profile: None,
            peer_spelling: false,
        };
        let id = self.draw();
        Submit {
            intent: IntentId(id),
            request_digest: Digest::of(&id.to_be_bytes()),
            salt: Salt([7; 32]),
            payload: payload.canonical_bytes().map(|bytes| bytes.into_owned()),
            facts: self.facts(&proposal, &payload),
            proposal,
        }
    }

    pub fn submit(&mut self, key: KeyId, request: &Value) -> Reply {
        let submit = self.submission(request);
        self.send(Some(key), Command::Submit(Box::new(submit)))
    }

    /// Approves with fresh facts when they are asked for, as the gate does.
    pub fn approve(&mut self, key: KeyId, intent: IntentId, digest: Option<Digest>) -> Reply {
        self.approve_with(key, intent, digest, None)
    }

    pub fn approve_with(
        &mut self,
        key: KeyId,
        intent: IntentId,
        digest: Option<Digest>,
        guard: Option<&ReplayGuard>,
    ) -> Reply {
        let command = |facts| {
            Command::Approve(Box::new(Approve {
                intent,
                digest,
                facts,
                reason: None,
                guard: guard.cloned(),
                on_behalf_of: None,
            }))
        };
        let reply = self.send(Some(key), command(None));
        if !matches!(reply, Reply::FactsNeeded { .. }) {
            return reply;
        }
        let facts = self.facts_of(intent);
        self.send(Some(key), command(Some(facts)))
    }

    /// Facts of a stored intent for the version in force.
    pub fn facts_of(&self, intent: IntentId) -> policy::Facts {
        let head = self.head(intent);
        let content = query::content(&self.state, NS, intent, head.revision).unwrap();
        let bytes = query::payload(&self.state, NS, intent, head.revision).unwrap();
        let payload = Payload::Json(serde_json::from_slice(&bytes.unwrap()).unwrap());
        self.facts(&content.proposal, &payload)
    }

    fn facts(&self, proposal: &Proposal, payload: &Payload) -> policy::Facts {
        let subject = Subject { namespace: NS, proposal, payload, metadata: None };
        let settings = query::settings_head(&self.state, NS).unwrap();
        let version = settings.destinations.map(|head| head.version);
        let set = version.map(|version| self.state.destinations(NS, version).unwrap());
        let serving = set.as_ref().and_then(|set| destination::serving(set, &proposal.destination));
        let declared = serving.and_then(|found| found.environment.clone());
        let mut facts = self.engine().facts_in(&subject, declared.as_deref());
        facts.destinations_version = version;
        facts
    }

    /// Brings destinations into force.
    pub fn apply_destinations(&mut self, destinations: Vec<Destination>) -> Reply {
        let command = ApplyDestinations { if_version: None, destinations };
        self.send(Some(ADMIN), Command::ApplyDestinations(Box::new(command)))
    }

    /// Brings channels into force.
    pub fn apply_channels(&mut self, channels: Vec<Channel>) -> Reply {
        let command = ApplyChannels { if_version: None, channels };
        self.send(Some(ADMIN), Command::ApplyChannels(Box::new(command)))
    }

    /// An executor begins, and works off what another left open.
    pub fn take_over(&mut self) -> LogIndex {
        let mut begun = None;
        loop {
            let command = Command::TakeOver(TakeOver { node: NodeId(1), epoch: begun });
            match self.send(None, command) {
                Reply::TookOver { epoch, more: true } => begun = Some(epoch),
                Reply::TookOver { epoch, .. } => return epoch,
                other => panic!("no epoch: {other:?}"),
            }
        }
    }

    /// The executor claims, with fresh facts when they are asked for.
    pub fn claim(&mut self, epoch: LogIndex, intent: IntentId) -> Reply {
        let execution = ExecutionId(self.draw());
        self.claim_as(epoch, intent, execution)
    }

    /// The executor claims under this id; that of an order that waits begins it.
    pub fn claim_as(&mut self, epoch: LogIndex, intent: IntentId, execution: ExecutionId) -> Reply {
        let command = |facts| Command::Claim(Box::new(Claim { intent, execution, epoch, facts }));
        let reply = self.send(None, command(None));
        if !matches!(reply, Reply::FactsNeeded { .. }) {
            return reply;
        }
        let facts = self.facts_of(intent);
        self.send(None, command(Some(facts)))
    }

    /// The executor says how an attempt ended.
    pub fn report_attempt(&mut self, execution: ExecutionId, ended: AttemptEnd) -> Reply {
        let why = (ended != AttemptEnd::Succeeded).then(|| "why".into());
        let report = ReportAttempt { execution, ended, result: Some("{}".into()), why };
        self.send(None, Command::ReportAttempt(Box::new(report)))
    }

    pub fn set_status(&mut self, agent: KeyId, status: AgentStatus) {
        let command = SetAgentStatus { agent: AgentId(agent.0), status };
        let reply = self.send(Some(ADMIN), Command::SetAgentStatus(command));
        assert!(matches!(reply, Reply::Agent(_)), "{reply:?}");
    }

    pub fn reject(&mut self, key: KeyId, intent: IntentId) -> Reply {
        let reason = Some("bad data".into());
        self.send(Some(key), Command::Reject(Reject { intent, digest: None, reason, guard: None }))
    }

    pub fn tick(&mut self) -> Reply {
        self.send(None, Command::Tick)
    }

    pub fn wait_ms(&mut self, span: u64) {
        self.now = self.now.plus_ms(span);
    }

    pub fn head(&self, intent: IntentId) -> Head {
        query::head(&self.state, NS, intent).unwrap().unwrap()
    }

    pub fn kinds(&self, intent: IntentId) -> Vec<&'static str> {
        let trail = query::trail(&self.state, NS, intent, None, 1_000).unwrap();
        trail.entries.iter().map(|(leaf, _)| leaf.body.kind()).collect()
    }
}

/// A destination with a connector of its own.
pub fn http_destination(name: &str, honours_idempotency_key: bool) -> Destination {
    Destination {
        name: name.into(),
        environment: None,
        connector: Connector::Http(Box::new(HttpTarget {
            method: "POST".into(),
            url: "http://127.0.0.1:1/".into(),
            headers: vec![("X-One".into(), "two".into())],
            body: Some("{{ payload }}".into()),
            timeout_ms: 1_000,
            honours_idempotency_key,
            success: vec![StatusRange { first: 200, last: 299 }],
            failed_without_effect: vec![StatusRange { first: 400, last: 400 }],
        })),
        execute: ExecuteWhen::OnApproval,
        concurrency: 1,
        digest: Digest::of(&[u8::from(honours_idempotency_key)]),
        source: b"kind: http".to_vec(),
    }
}

/// A channel that is told of these things.
pub fn channel(name: &str, events: &[Notice], resources: &[&str]) -> Channel {
    Channel {
        name: name.into(),
        kind: ChannelKind::Webhook,
        url: "http://127.0.0.1:1/".into(),
        secret: Some("${secret:hook}".into()),
        events: events.to_vec(),
        resources: resources.iter().map(|one| (*one).into()).collect(),
        digest: Digest::of(name.as_bytes()),
        source: b"kind: webhook".to_vec(),
    }
}

/// The id of an accepted intent.
pub fn accepted(reply: &Reply) -> IntentId {
    match reply {
        Reply::Submitted(head, _) => head.id,
        other => panic!("not accepted: {other:?}"),
    }
}

/// One word per reply.
pub fn word(reply: &Reply) -> String {
    match reply {
        Reply::Submitted(head, _) => head.phase.name().into(),
        Reply::Duplicate(_) => "duplicate".into(),
        Reply::VoteRecorded { votes, required, .. } => format!("vote {votes} of {required}"),
        Reply::Approved { already, .. } => if *already { "already" } else { "approved" }.into(),
        Reply::Ended { phase, .. } => phase.name().into(),
        Reply::Refused(refusal) => format!("refused: {}", name_of(refusal)),
        Reply::Replayed(first) => format!("replayed {}", word(first)),
        Reply::PolicyChanged { .. } => "policy changed".into(),
        other => format!("{other:?}"),
    }
}

fn name_of(refusal: &Refusal) -> String {
    let debug = format!("{refusal:?}");
    debug.split([' ', '{', '(']).next().unwrap_or_default().to_owned()
}

/// Windows are released by `failed` without effect only if no attempt was ever in doubt, but for
/// one that says itself that it did nothing, or if a person said so.
pub fn untrue_no_effect(node: &Node, head: &Head) -> Option<String> {
    if head.phase != Phase::Failed || head.effect != Some(types::Effect::None) {
        return None;
    }
    let trail = query::trail(&node.state, NS, head.id, None, 10_000).unwrap();
    let mut doubts = Vec::new();
    for (leaf, _) in trail.entries {
        match leaf.body {
            LeafBody::DoubtBegan { execution, .. } => doubts.push(execution),
            LeafBody::Resolved { .. } => return None,
            LeafBody::Reported { execution, .. } => doubts.retain(|other| *other != execution),
            _ => {}
        }
    }
    (!doubts.is_empty()).then(|| format!("{} did nothing, and {doubts:?} are in doubt", head.id))
}
