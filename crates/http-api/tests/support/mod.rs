//! A gate over a log in memory, and a client that calls the router in process.
//!
//! The log keeps nothing on disk and otherwise behaves as promised: a reply comes after its command
//! is applied, effects and progress follow, a fresh read needs a leader.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use futures::FutureExt;
use futures::future::BoxFuture;
use gate::log::{
    Change, ChangeError, Committed, Consistency, HandOver, Log, Member, Progress, ProposeError,
    ReadPoint,
};
use gate::log::{Reach, Seen, Standing, Status, Warning};
use gate::seal::DataKey;
use gate::{DocumentChecks, Gate, Settings};
use http_api::{Exporter, HttpConfig};
use ledger::{BatchHeader, Effect, Fault, MapState, Read, Session, encode_batch};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::{broadcast, oneshot, watch};
use tower::ServiceExt;
use types::{LogIndex, LogTime, NodeId};

const TERM: u64 = 7;

/// One node that always leads, unless a test says otherwise.
pub(crate) struct MemoryLog {
    state: Mutex<(MapState, Progress)>,
    /// What this node still shows until a fresh read makes it catch up.
    old: Mutex<Option<(MapState, Progress)>>,
    effects: broadcast::Sender<Arc<Vec<Effect>>>,
    progress: watch::Sender<Progress>,
    clock_ms: AtomicU64,
    /// No majority: nothing is committed, no fresh read.
    pub(crate) alone: AtomicBool,
    /// The queue takes nothing.
    pub(crate) full: AtomicBool,
    /// The disk is full up to its reserve.
    pub(crate) no_room: AtomicBool,
    /// Commands are applied and their replies lost.
    pub(crate) deaf: AtomicBool,
    /// The next command makes the node panic.
    pub(crate) broken: AtomicBool,
    /// The queue takes so many commands more.
    pub(crate) places: AtomicUsize,
    /// Changes of the cluster that were asked for, with the last entry applied by then.
    pub(crate) changes: Mutex<Vec<(Change, u64)>>,
    /// How many of its nodes vote: those with the smallest ids.
    pub(crate) voters: Mutex<u64>,
    /// The node that is no member any more.
    pub(crate) left: Mutex<Option<NodeId>>,
    /// What the next ones are answered.
    pub(crate) change_answer: Mutex<Result<u64, ChangeError>>,
    /// What waits to be applied, while commands are kept waiting.
    kept: Mutex<Option<VecDeque<Kept>>>,
}

/// A command that is not applied yet, and who waits for it.
type Kept = (Vec<u8>, oneshot::Sender<Result<Committed, ProposeError>>);

impl MemoryLog {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            old: Mutex::default(),
            effects: broadcast::channel(1_024).0,
            progress: watch::channel(Progress::default()).0,
            clock_ms: AtomicU64::new(gate::ids::unix_ms()),
            alone: AtomicBool::new(false),
            full: AtomicBool::new(false),
            no_room: AtomicBool::new(false),
            deaf: AtomicBool::new(false),
            broken: AtomicBool::new(false),
            places: AtomicUsize::new(usize::MAX),
            changes: Mutex::default(),
            voters: Mutex::new(2),
            left: Mutex::new(None),
            change_answer: Mutex::new(Ok(0)),
            kept: Mutex::default(),
        })
    }

    /// Lets log time go on.
    pub(crate) fn advance_ms(&self, span: u64) {
        self.clock_ms.fetch_add(span, Ordering::SeqCst);
    }

    /// Log time as a command would get it now.
    pub(crate) fn leader_ms(&self) -> u64 {
        self.clock_ms.load(Ordering::SeqCst)
    }

    /// Index of the last applied entry.
    pub(crate) fn applied(&self) -> u64 {
        self.state.lock().1.index.0
    }

    /// Falls behind: later entries are not seen here before a fresh read.
    pub(crate) fn fall_behind(&self) {
        *self.old.lock() = Some(self.state.lock().clone());
    }

    /// Applies nothing from here on, except what [`MemoryLog::let_go`] lets go.
    pub(crate) fn keep_waiting(&self) {
        *self.kept.lock() = Some(VecDeque::new());
    }

    /// How many commands wait.
    pub(crate) fn waiting(&self) -> usize {
        self.kept.lock().as_ref().map_or(0, VecDeque::len)
    }

    /// Applies the first so many of the commands that wait.
    pub(crate) fn let_go(&self, count: usize) {
        (0..count).for_each(|_| self.let_one_go(0));
    }

    /// Applies one of the commands that wait, whatever waits before it.
    pub(crate) fn let_one_go(&self, at: usize) {
        let found = self.kept.lock().as_mut().and_then(|kept| kept.remove(at));
        let (command, sender) = found.expect("a command waits");
        // Whoever asked may have left.
        let _ = sender.send(Ok(self.apply(&command)));
    }

    /// Applies all that waits, and what comes from here on.
    pub(crate) fn keep_no_longer(&self) {
        self.let_go(self.waiting());
        *self.kept.lock() = None;
    }

    fn apply(&self, command: &[u8]) -> Committed {
        let mut state = self.state.lock();
        let index = LogIndex(state.1.index.0 + 1);
        let time = LogTime(self.clock_ms.load(Ordering::SeqCst));
        let header = BatchHeader { level: ledger::FEATURE_LEVEL, time, proposer: NodeId(1) };
        let batch = encode_batch(&header, &[command]);
        let mut session = Session::open(&state.0).expect("state is readable");
        let mut replies = session.apply(index, &batch).expect("the batch applies");
        let effects = session.take_effects();
        let writes = session.finish().expect("the writes are made");
        state.0.write(&writes);
        state.1 = Progress { index, time };
        drop(state);
        self.progress.send_replace(Progress { index, time });
        // Nobody may be listening.
        let _ = self.effects.send(Arc::new(effects));
        Committed { index, term: TERM, reply: replies.remove(0) }
    }
}

impl Log for MemoryLog {
    fn propose(
        &self,
        command: Vec<u8>,
        _reach: Reach,
    ) -> Result<oneshot::Receiver<Result<Committed, ProposeError>>, ProposeError> {
        assert!(!self.broken.load(Ordering::SeqCst), "broken on purpose");
        if self.full.load(Ordering::SeqCst) {
            return Err(ProposeError::QueueFull);
        }
        if self.alone.load(Ordering::SeqCst) {
            return Err(ProposeError::NoLeader);
        }
        let took = |left: usize| left.checked_sub(1);
        if self.places.fetch_update(Ordering::SeqCst, Ordering::SeqCst, took).is_err() {
            return Err(ProposeError::QueueFull);
        }
        let (sender, receiver) = oneshot::channel();
        if let Some(kept) = &mut *self.kept.lock() {
            kept.push_back((command, sender));
            return Ok(receiver);
        }
        let committed = self.apply(&command);
        let lost = self.deaf.load(Ordering::SeqCst);
        let _ = sender.send(if lost { Err(ProposeError::Unknown) } else { Ok(committed) });
        Ok(receiver)
    }

    fn read_point(
        &self,
        consistency: Consistency,
        min_index: LogIndex,
    ) -> BoxFuture<'_, Result<ReadPoint, ProposeError>> {
        async move {
            if self.alone.load(Ordering::SeqCst) && consistency != Consistency::Stale {
                return Err(ProposeError::NoLeader);
            }
            if consistency != Consistency::Stale {
                *self.old.lock() = None;
            }
            let mut progress = self.progress.subscribe();
            let applied = progress.wait_for(|progress| progress.index >= min_index).await;
            let index = applied.map_err(|_| ProposeError::Stopping)?.index;
            Ok(ReadPoint { index, term: TERM })
        }
        .boxed()
    }

    fn with_state(&self, read: &mut dyn FnMut(&dyn Read, Progress)) -> Result<(), Fault> {
        match &*self.old.lock() {
            Some((state, progress)) => read(state, *progress),
            None => {
                let state = self.state.lock();
                read(&state.0, state.1);
            }
        }
        Ok(())
    }

    fn standing(&self) -> Standing {
        let shown = self.old.lock().as_ref().map(|(_, progress)| *progress);
        let Progress { index, time } = shown.unwrap_or_else(|| self.state.lock().1);
        Standing { changed: index, time }
    }

    fn effects(&self) -> broadcast::Receiver<Arc<Vec<Effect>>> {
        self.effects.subscribe()
    }

    fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    fn leader_time(&self) -> Option<LogTime> {
        Some(LogTime(self.clock_ms.load(Ordering::SeqCst)))
    }

    fn has_room(&self) -> bool {
        !self.no_room.load(Ordering::SeqCst)
    }

    fn status(&self) -> Status {
        let applied = self.state.lock().1.index;
        let voters = *self.voters.lock();
        let member = |node, matched| Member {
            node: NodeId(node),
            voter: node <= voters,
            http: format!("127.0.0.1:{}", 4_000 + 10 * node),
            peer: format!("127.0.0.1:{}", 4_002 + 10 * node),
            region: "eu".into(),
            incarnation: [u8::try_from(node).expect("a small id"); 16],
            priority: 0,
            seen: None,
            matched,
        };
        let left = *self.left.lock();
        let mut members = vec![member(1, Some(applied)), member(2, Some(applied)), member(3, None)];
        members.retain(|member| Some(member.node) != left);
        Status {
            node: NodeId(1),
            cluster_id: "c".repeat(32),
            leader: (!self.alone.load(Ordering::SeqCst)).then_some(NodeId(1)),
            term: TERM,
            committed: applied,
            applied,
            members,
            changing: false,
            healthy: true,
            has_room: !self.no_room.load(Ordering::SeqCst),
            own: Some(own(applied)),
            profile: "lan",
            given_away: Some(HandOver {
                why: "slow_disk",
                to: Some(NodeId(2)),
                ago: Duration::from_secs(9),
            }),
            warnings: vec![Warning {
                code: "disk_full",
                is_only_advice: false,
                node: Some(NodeId(1)),
                message: "it is full".into(),
            }],
        }
    }

    fn change(&self, change: Change) -> BoxFuture<'_, Result<LogIndex, ChangeError>> {
        self.changes.lock().push((change, self.applied()));
        let answer = self.change_answer.lock().clone();
        async move { answer.map(LogIndex) }.boxed()
    }
}

/// A node with a full disk.
fn own(applied: LogIndex) -> Seen {
    Seen {
        round_trip: Duration::ZERO,
        clock_offset_us: 0,
        applied,
        disk_free_bytes: 1,
        disk_size_bytes: 2,
        feature_level: 1,
        healthy: true,
        has_room: false,
        sync_us: Some(1_500),
        slow_disk: false,
        profile: Some("lan"),
        may_lead: true,
    }
}

/// The door with its admin, and keys of the usual people.
pub(crate) struct Door {
    pub(crate) log: Arc<MemoryLog>,
    pub(crate) router: Router,
    pub(crate) gate: Arc<Gate>,
    /// Where this door's metrics are, apart from those of other tests.
    pub(crate) exporter: Exporter,
    pub(crate) admin: String,
    pub(crate) agent: String,
    pub(crate) reviewer: String,
    pub(crate) auditor: String,
}

/// A request and its answer.
#[derive(Debug, Clone)]
pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Got {
    /// A member of the body as text, empty if it is none.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.body[name].as_str().unwrap_or_default()
    }

    /// A header as text, empty if it is missing.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap_or_default())
    }

    /// Passes the answer on if it has this status.
    #[track_caller]
    pub(crate) fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.body);
        self
    }
}

impl Door {
    /// A cluster with one of each, without policies.
    pub(crate) async fn open() -> Self {
        Self::with(false).await
    }

    /// A cluster with one of each, where anybody may register or not.
    pub(crate) async fn with(open_registration: bool) -> Self {
        let log = MemoryLog::new();
        let documents = DocumentChecks {
            secret_declared: Arc::new(|name, namespace| {
                name.starts_with("known_") && namespace == "default"
            }),
            check_destination: Some(Arc::new(|destination| {
                let open = destination.texts().any(|text| text.ends_with("{{"));
                if open { Err("request.body: a template is never closed".into()) } else { Ok(()) }
            })),
            check_webhook: Some(Arc::new(|url| {
                let private = url.contains("//10.");
                if private { Err("10.0.0.7 is a private address".into()) } else { Ok(()) }
            })),
            ..DocumentChecks::default()
        };
        let settings = Settings { open_registration, data_key: DataKey::draw(), documents };
        let exporter = Exporter::new().expect("every histogram has buckets");
        let gate = exporter.within(|| Gate::new(log.clone(), NodeId(1), settings));
        tokio::spawn(gate.clone().run_watch());
        let admin = gate::keys::ApiKey::draw();
        let made = gate.bootstrap(&"c".repeat(32), &admin).await;
        assert!(made.expect("bootstrap is answered"), "the first admin gets a key");
        let config = HttpConfig { version: "0.0.0-test" };
        let router = exporter.within(|| http_api::router(gate.clone(), config));
        let mut door = Self {
            log,
            router,
            gate,
            exporter,
            admin: admin.reveal().to_owned(),
            agent: String::new(),
            reviewer: String::new(),
            auditor: String::new(),
        };
        door.agent = door.register("crm-bot", "agent").await.1;
        door.reviewer = door.register("rita", "reviewer").await.1;
        door.auditor = door.register("otto", "auditor").await.1;
        door
    }

    /// As [`Door::open`], with these documents in force.
    pub(crate) async fn policed(documents: &[(&str, &str)]) -> Self {
        let door = Self::open().await;
        let set: serde_json::Map<String, Value> =
            documents.iter().map(|(id, yaml)| ((*id).to_owned(), json!(yaml))).collect();
        door.put("/v1/policies", &door.admin, json!({ "policies": set })).await.is(200);
        door
    }

    /// Works off what is due, as the leader does.
    pub(crate) async fn tick(&self) {
        let tick = ledger::Envelope {
            request: gate::ids::random(),
            credential: None,
            namespace: types::NamespaceId::CLUSTER,
            request_key: None,
            command: ledger::Command::Tick,
        };
        let receiver =
            self.log.propose(types::codec::encode(&tick), Reach::Leader).expect("the log takes it");
        receiver.await.expect("an answer").expect("a tick");
    }

    /// Registers somebody: id and key.
    pub(crate) async fn register(&self, name: &str, role: &str) -> (String, String) {
        let body = json!({ "name": name, "role": role });
        let got = self.post("/v1/agents/register", &self.admin, body).await.is(201);
        (got.text("agent_id").to_owned(), got.text("apiKey").to_owned())
    }

    pub(crate) async fn get(&self, path: &str, key: &str) -> Got {
        self.send(bearer(Request::get(path), key).body(Body::empty())).await
    }

    pub(crate) async fn post(&self, path: &str, key: &str, body: Value) -> Got {
        let request = bearer(Request::post(path), key).header("Content-Type", "application/json");
        self.send(request.body(Body::from(body.to_string()))).await
    }

    pub(crate) async fn put(&self, path: &str, key: &str, body: Value) -> Got {
        let request = bearer(Request::put(path), key).header("Content-Type", "application/json");
        self.send(request.body(Body::from(body.to_string()))).await
    }

    /// A POST with an `Idempotency-Key`.
    pub(crate) async fn post_once(&self, path: &str, key: &str, once: &str, body: &Value) -> Got {
        let request = bearer(Request::post(path), key)
            .header("Content-Type", "application/json")
            .header("Idempotency-Key", once);
        self.send(request.body(Body::from(body.to_string()))).await
    }

    pub(crate) async fn send(&self, request: Result<Request<Body>, axum::http::Error>) -> Got {
        let request = request.expect("the request is well formed");
        let response = self.router.clone().oneshot(request).await.expect("the router answers");
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = to_bytes(response.into_body(), usize::MAX).await.expect("the body arrives");
        assert!(headers.contains_key("x-request-id"), "{status}");
        let parsed = |text: &[u8]| serde_json::from_slice(text).expect("the body is JSON");
        let body = match headers.get("content-type").map(|value| value.as_bytes()) {
            Some(b"application/json") if bytes.is_empty() => Value::Null,
            Some(b"application/json") => parsed(&bytes),
            Some(b"application/x-ndjson") => {
                let lines = bytes.strip_suffix(b"\n").expect("the last line is whole");
                lines.split(|byte| *byte == b'\n').map(parsed).collect()
            }
            other => panic!("{status}: {other:?}"),
        };
        Got { status: StatusCode::as_u16(&status), headers, body }
    }

    /// Submits and gives the id.
    pub(crate) async fn submit(&self, body: Value) -> String {
        self.post("/v1/intents", &self.agent, body).await.is(200).text("intentId").to_owned()
    }
}

/// A request with a key; an empty key is none.
pub(crate) fn bearer(
    request: axum::http::request::Builder,
    key: &str,
) -> axum::http::request::Builder {
    if key.is_empty() { request } else { request.header("Authorization", format!("Bearer {key}")) }
}

/// A named policy that approves up to ten records and needs people above.
pub(crate) const BASIC: &str = "\
destinations: [crm.import]
require_approval_over: 100
auto_approve_under: 10
block_if_terms: [guarantee]
";

/// An intent under [`BASIC`] with this many records.
pub(crate) fn basic(records: u64) -> Value {
    json!({
        "destination": "crm.import", "policy": "basic", "payload": "hello", "recordCount": records,
    })
}
