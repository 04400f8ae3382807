//! Load from several clients: each asks for one lead after the other, under two keys at a time and
//! through different nodes, and sends each until it has a definite answer.
//!
//! Invariant: a key is sent with one content only, and what it was told is kept with it.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use client::{Client, Error, Request, Verdict};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval};

use super::DEADLINE;
use super::history::{Asked, Listed, Told, key, payload};

/// How many keys are sent again at a time.
const AGAIN_AT_ONCE: usize = 16;

/// Clients at work.
pub struct Load {
    shared: Arc<Shared>,
    first_success: watch::Receiver<Option<Duration>>,
    workers: Vec<JoinHandle<Vec<Asked>>>,
}

struct Shared {
    stop: AtomicBool,
    /// Keys that have their answer.
    answers: AtomicUsize,
    leads: AtomicU64,
    /// From when a success is timed, and since when its key may have been sent.
    since: Mutex<Option<(Instant, Instant)>>,
    success: watch::Sender<Option<Duration>>,
}

impl Load {
    /// Starts a worker for each pair of clients; it asks for a lead whenever the time has passed
    /// and it has its answers.
    pub fn start(pairs: Vec<[Client; 2]>, every: Duration) -> Self {
        let (success, first_success) = watch::channel(None);
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            answers: AtomicUsize::new(0),
            leads: AtomicU64::new(0),
            since: Mutex::new(None),
            success,
        });
        let start = |pair| tokio::spawn(work(shared.clone(), pair, every));
        let workers = pairs.into_iter().map(start).collect();
        Self { shared, first_success, workers }
    }

    /// Waits until so many more keys have their answer.
    pub async fn answers(&self, more: usize) {
        let goal = self.shared.answers.load(Ordering::SeqCst) + more;
        super::node::eventually("the load gets on", || async {
            (self.shared.answers.load(Ordering::SeqCst) >= goal).then_some(())
        })
        .await;
    }

    /// From now on the first new success is waited for: of a key that was not sent before now. Its
    /// time runs from an instant before.
    pub fn mark(&self, from: Instant) {
        self.shared.success.send_replace(None);
        *self.shared.since.lock().expect("no worker panics with it") = Some((from, Instant::now()));
    }

    /// How long it took.
    pub async fn first_success(&mut self) -> Duration {
        let found = self.first_success.wait_for(Option::is_some);
        let found = tokio::time::timeout(DEADLINE, found).await.expect("a success by the deadline");
        found.expect("the load goes on").expect("it is there")
    }

    /// Ends the load, once every key has its answer.
    pub async fn stop(self) -> Vec<Asked> {
        self.shared.stop.store(true, Ordering::SeqCst);
        let mut asked = Vec::new();
        for worker in self.workers {
            asked.extend(worker.await.expect("a worker that ends in order"));
        }
        asked
    }
}

impl Shared {
    fn succeeded(&self, sent: Instant) {
        let mut since = self.since.lock().expect("nobody panics with it");
        if let Some((from, mark)) = *since
            && sent >= mark
        {
            *since = None;
            self.success.send_replace(Some(from.elapsed()));
        }
    }
}

async fn work(shared: Arc<Shared>, pair: [Client; 2], every: Duration) -> Vec<Asked> {
    let mut asked = Vec::new();
    let mut pace = interval(every);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let [first, second] = &pair;
    while !shared.stop.load(Ordering::SeqCst) {
        pace.tick().await;
        let lead = shared.leads.fetch_add(1, Ordering::SeqCst);
        let ask = async |client: &Client, second: bool| {
            let sent = Instant::now();
            let told = ask(client, lead, second).await;
            shared.answers.fetch_add(1, Ordering::SeqCst);
            if matches!(told, Some(Told::Accepted(_))) {
                shared.succeeded(sent);
            }
            Asked { lead, second, told: told.into_iter().collect() }
        };
        let (one, other) = tokio::join!(ask(first, false), ask(second, true));
        asked.extend([one, other]);
    }
    asked
}

/// Sends a key until it has a definite answer; `None` if it gets none.
async fn ask(client: &Client, lead: u64, second: bool) -> Option<Told> {
    let payload: Value = serde_json::from_str(&payload(lead, second)).expect("it is JSON");
    let intent =
        json!({ "resource": "leads.outbound_call", "trigger": "webhook", "payload": payload });
    let ends = Instant::now() + DEADLINE;
    loop {
        let submitted = client.submit(&intent, Some(&key(lead, second))).await;
        return match submitted {
            Ok(submitted) if submitted.verdict == Verdict::Allowed => {
                Some(Told::Accepted(submitted.id))
            }
            Ok(submitted) if submitted.verdict == Verdict::Duplicate => {
                Some(Told::Duplicate(submitted.id))
            }
            Ok(submitted) => Some(Told::Refused(submitted.answer.status)),
            Err(Error::Refused(refusal)) => Some(Told::Refused(refusal.status)),
            Err(Error::Unreachable(_) | Error::NoQuorum(_)) if Instant::now() < ends => continue,
            Err(_) => None,
        };
    }
}

/// Sends keys once more, each as it was, and adds what they are told now.
pub async fn send_again(clients: &[Client], asked: &mut [Asked]) {
    let mut sending: JoinSet<Vec<(usize, Option<Told>)>> = JoinSet::new();
    for lane in 0..AGAIN_AT_ONCE {
        let client = clients[lane % clients.len()].clone();
        let all = asked.iter().enumerate().skip(lane).step_by(AGAIN_AT_ONCE);
        let keys: Vec<_> = all.map(|(place, asked)| (place, asked.lead, asked.second)).collect();
        sending.spawn(async move {
            let mut told = Vec::with_capacity(keys.len());
            for (place, lead, second) in keys {
                told.push((place, ask(&client, lead, second).await));
            }
            told
        });
    }
    while let Some(lane) = sending.join_next().await {
        for (place, told) in lane.expect("a lane that ends in order") {
            match told {
                Some(told) => asked[place].told.push(told),
                None => asked[place].told.clear(),
            }
        }
    }
}

/// Every intent that there is.
pub async fn listed(auditor: &Client) -> Vec<Listed> {
    let mut all = Vec::new();
    let mut before: Option<String> = None;
    loop {
        let request = Request::get(&["v1", "intents"]).query("limit", "1000");
        let page = auditor.send(request.query_if("before", before.clone())).await.expect("a page");
        let rows = page.body["intents"].as_array().expect("intents");
        all.extend(rows.iter().map(|row| {
            let text = |name: &str| row[name].as_str().expect(name).to_owned();
            Listed { id: text("intentId"), payload_hash: text("payload_hash") }
        }));
        before = page.body["next"].as_str().map(str::to_owned);
        if before.is_none() {
            return all;
        }
    }
}
