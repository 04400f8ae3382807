//! What clients ask for while nodes fail: calls of leads, notes that people let out or reject, and
//! reads of the audit tree.
//!
//! Invariant: a key is sent with one content only, until it has a definite answer.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};

use checker::effects::{Answer, Heard};
use checker::freezes::Freeze;
use checker::history::{Asked, Call, Found, History, Seen, Told, payload};
use checker::questions::{NOTES_FROM, resource, words};
use client::{Client, Error, Request, Verdict};
use rand::RngExt as _;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::now;
use crate::support::DEADLINE;
use crate::support::node::eventually;
use crate::world::{Keys, client_of};

const SUBMITTERS: u64 = 6;
const NOTERS: u64 = 2;
const READERS: u64 = 4;
/// So many turns of one client make a new lead.
const TURNS: u64 = 2;
/// Leads of which clients draw one, from the newest on: few, so that they meet.
const LEADS: u64 = 8;
/// Of so many turns one asks for a lead of any time before.
const ONE_IN_IS_OLD: u32 = 16;
/// How long people have.
pub(crate) const EXPIRE_AFTER_MS: u64 = 4_000;
/// The rest before something is sent again.
pub(crate) const AGAIN: Duration = Duration::from_millis(20);
/// How long one door may take: a node that is cut off takes as long as it may.
const PATIENCE: Duration = Duration::from_secs(1);
/// Of so many sendings one does not wait for its answer.
const ONE_IN_IS_LEFT: u32 = 16;

/// Everything that was asked and told.
#[derive(Default)]
pub(crate) struct Record {
    pub(crate) history: History,
    /// What nodes showed that were about to leave.
    pub(crate) left: Vec<Seen>,
    pub(crate) heard: Vec<Heard>,
    pub(crate) freezes: Vec<Freeze>,
    /// An intent that a client was just told of.
    newest: Option<String>,
}

/// Clients at work. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Work(Arc<Shared>);

struct Shared {
    keys: Keys,
    stop: AtomicBool,
    answers: AtomicU64,
    reads: AtomicU64,
    /// Answers to keys whose first sending had none.
    lost_replies: AtomicU64,
    doors: RwLock<Vec<String>>,
    record: Mutex<Record>,
}

/// Everybody who asks, until told to stop.
pub(crate) struct Crowd {
    pub(crate) work: Work,
    submitters: JoinSet<()>,
    readers: JoinSet<()>,
}

impl Crowd {
    pub(crate) fn start(keys: Keys, doors: Vec<String>) -> Self {
        let work = Work(Arc::new(Shared {
            keys,
            stop: AtomicBool::new(false),
            answers: AtomicU64::new(0),
            reads: AtomicU64::new(0),
            lost_replies: AtomicU64::new(0),
            doors: RwLock::default(),
            record: Mutex::default(),
        }));
        work.go_to(doors);
        let (mut submitters, mut readers) = (JoinSet::new(), JoinSet::new());
        for number in 0..SUBMITTERS {
            let work = work.clone();
            submitters.spawn(async move { work.submit(number).await });
        }
        for number in 0..NOTERS {
            let work = work.clone();
            submitters.spawn(async move { work.note(number).await });
        }
        let freezing = work.clone();
        submitters.spawn(async move { freezing.freeze().await });
        for _ in 0..READERS {
            let work = work.clone();
            readers.spawn(async move { work.read().await });
        }
        Self { work, submitters, readers }
    }

    /// Ends the work once everything has its definite answer.
    pub(crate) async fn stop(mut self) -> Record {
        self.work.0.stop.store(true, Ordering::SeqCst);
        while let Some(ended) = self.submitters.join_next().await {
            ended.expect("a client that gets its answers");
        }
        while let Some(ended) = self.readers.join_next().await {
            ended.expect("a reader that ends");
        }
        std::mem::take(&mut *self.work.0.record.lock().expect("nobody panics with it"))
    }
}

impl Work {
    /// The nodes that there are now.
    pub(crate) fn go_to(&self, doors: Vec<String>) {
        *self.0.doors.write().expect("nobody panics with it") = doors;
    }

    /// How many definite answers there were.
    pub(crate) fn answered(&self) -> u64 {
        self.0.answers.load(Ordering::SeqCst)
    }

    pub(crate) fn reads(&self) -> u64 {
        self.0.reads.load(Ordering::SeqCst)
    }

    pub(crate) fn lost_replies(&self) -> u64 {
        self.0.lost_replies.load(Ordering::SeqCst)
    }

    /// What a node showed of the audit tree that is about to leave.
    pub(crate) fn leaves(&self, leaves: u64, root: String) {
        let (began, ended) = (now(), now());
        self.with_record(|record| record.left.push(Seen { began, ended, leaves, root }));
    }

    /// Waits until there are so many more.
    pub(crate) async fn answers(&self, more: u64) {
        let goal = self.answered() + more;
        eventually("the work gets on", || async { (self.answered() >= goal).then_some(()) }).await;
    }

    pub(crate) fn is_over(&self) -> bool {
        self.0.stop.load(Ordering::SeqCst)
    }

    pub(crate) fn keys(&self) -> &Keys {
        &self.0.keys
    }

    pub(crate) fn with_record(&self, change: impl FnOnce(&mut Record)) {
        change(&mut self.0.record.lock().expect("nobody panics with it"));
    }

    /// Any of the doors.
    fn door(&self) -> String {
        let doors = self.0.doors.read().expect("nobody panics with it");
        doors[rand::random_range(0..doors.len())].clone()
    }

    /// One call of a lead after the other.
    async fn submit(&self, number: u64) {
        let mut doors = Doors::of(self, &self.0.keys.agent);
        let mut turn = 0;
        while !self.is_over() {
            let (rest, lead, more) = {
                let mut numbers = rand::rng();
                let rest = Duration::from_millis(numbers.random_range(1..30));
                let newest = turn / TURNS + numbers.random_range(0..LEADS);
                let is_old = numbers.random_ratio(1, ONE_IN_IS_OLD);
                let lead = if is_old { numbers.random_range(0..=newest) } else { newest };
                (rest, lead, numbers.random_range(0..4_u32) / 3)
            };
            sleep(rest).await;
            turn += 1;
            let intent = json!({ "resource": resource(lead) });
            _ = self.ask(&mut doors, format!("c{number}-{turn}"), lead, intent, more).await;
        }
    }

    /// Sends a key until its answer is definite, and so often again after that. Gives the intent
    /// that came of it.
    async fn ask(
        &self,
        doors: &mut Doors,
        key: String,
        lead: u64,
        mut intent: Value,
        mut more: u32,
    ) -> Option<String> {
        intent["payload"] = serde_json::from_str(&payload(&key, lead)).expect("it is JSON");
        let mut asked = Asked { key, lead, calls: Vec::new() };
        let (mut accepted, mut is_answered) = (None, false);
        let ends = Instant::now() + DEADLINE;
        loop {
            let began = now();
            let told = doors.submit(&intent, &asked.key).await;
            asked.calls.push(Call { began, ended: now(), told: told.clone() });
            if told != Told::Nothing {
                if !is_answered && asked.calls.len() > 1 {
                    self.0.lost_replies.fetch_add(1, Ordering::SeqCst);
                }
                is_answered = true;
                self.0.answers.fetch_add(1, Ordering::SeqCst);
                if let Told::Accepted(id) = told {
                    self.with_record(|record| record.newest = Some(id.clone()));
                    accepted = Some(id);
                }
                match more.checked_sub(1) {
                    Some(less) => more = less,
                    None => break,
                }
            }
            assert!(Instant::now() < ends, "violation: key {} has no answer", asked.key);
            sleep(AGAIN).await;
        }
        self.with_record(|record| record.history.asked.push(asked));
        accepted
    }

    /// One note after the other, each with what people say to it.
    async fn note(&self, number: u64) {
        let mut doors = Doors::of(self, &self.0.keys.agent);
        let people = &self.0.keys.reviewers;
        let mut turn = 0;
        while !self.is_over() {
            turn += 1;
            let lead = NOTES_FROM + turn * NOTERS + number;
            let key = format!("n{number}-{turn}");
            let intent = json!({ "resource": "crm.note", "expiresIn": "4s" });
            let asked = self.ask(&mut doors, key.clone(), lead, intent, 0).await;
            let id = asked.unwrap_or_else(|| panic!("violation: note {key} is no intent"));
            let said = words(turn).iter().enumerate().map(|(word, (who, rejects))| {
                let key = format!("{key}-{word}");
                self.decide(&people[*who], &id, key, *rejects)
            });
            futures::future::join_all(said).await;
        }
    }

    /// A person's word, until it is heard or comes too late.
    async fn decide(&self, (by, own): &(String, String), id: &str, key: String, rejects: bool) {
        let mut doors = Doors::of(self, own);
        // One in a few comes when the time is just over.
        let waits = match rand::random_range(0..4) {
            0 => rand::random_range(3_800..4_400),
            _ => rand::random_range(0..100),
        };
        sleep(Duration::from_millis(waits)).await;
        let verb = if rejects { "reject" } else { "approve" };
        let body = json!({ "reason": key });
        let request = Request::post(&["v1", "intents", id, verb], &body).idempotency_key(key);
        let ends = Instant::now() + DEADLINE;
        loop {
            let answer = match doors.any().send(request.clone()).await {
                // The third yes finds that the note is out, and is none.
                Ok(answer) if answer.body["approvalState"].is_null() => Some(Answer::Decided),
                Ok(_) => {
                    self.0.answers.fetch_add(1, Ordering::SeqCst);
                    Some(Answer::Counts)
                }
                Err(Error::Refused(refusal)) if refusal.status == 409 => Some(Answer::Decided),
                Err(Error::Refused(refusal)) if refusal.status == 410 => Some(Answer::Late),
                Err(Error::Refused(refusal)) if !is_for_later(refusal.status) => {
                    panic!("violation: {verb} of {id}: {refusal}");
                }
                Err(_) => None,
            };
            if let Some(answer) = answer {
                let (intent, by) = (id.to_owned(), by.to_owned());
                let heard = Heard { intent, by, rejects, answer };
                return self.with_record(|record| record.heard.push(heard));
            }
            assert!(Instant::now() < ends, "violation: {verb} of {id} has no answer");
            sleep(AGAIN).await;
        }
    }

    /// Looks through any node at the audit tree, or at what a client was just told of.
    async fn read(&self) {
        let mut doors = Doors::of(self, &self.0.keys.admin);
        while !self.is_over() {
            let consistency = if rand::random_bool(0.3) { "lease" } else { "linearizable" };
            let newest = self.0.record.lock().expect("nobody panics with it").newest.clone();
            match newest.filter(|_| rand::random_bool(0.3)) {
                Some(intent) => self.find(&mut doors, consistency, intent).await,
                None => self.see(&mut doors, consistency).await,
            }
            sleep(Duration::from_millis(10)).await;
        }
    }

    async fn find(&self, doors: &mut Doors, consistency: &str, intent: String) {
        let began = now();
        let request = Request::get(&["v1", "intents", &intent]).query("consistency", consistency);
        let shown = match doors.any().send(request).await {
            Ok(answer) => Some(answer.text("payload_hash").expect("a digest").to_owned()),
            Err(Error::Refused(refusal)) if refusal.status == 404 => None,
            Err(_) => return,
        };
        let found = Found { began, intent, shown };
        self.with_record(|record| record.history.found.push(found));
        self.0.reads.fetch_add(1, Ordering::SeqCst);
    }

    async fn see(&self, doors: &mut Doors, consistency: &str) {
        let began = now();
        let request = Request::get(&["v1", "audit", "checkpoint"]);
        let answer = doors.any().send(request.query("consistency", consistency)).await;
        let ended = now();
        if let Ok(answer) = answer {
            let leaves = answer.body["size"].as_u64().expect("a size");
            let root = answer.text("root").expect("a root").to_owned();
            let seen = Seen { began, ended, leaves, root };
            self.with_record(|record| record.history.seen.push(seen));
            self.0.reads.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// Whether an answer says that the same may be sent again. 500 does not: something broke.
pub(crate) fn is_for_later(status: u16) -> bool {
    status == 429 || status > 500
}

/// One client for each door that one asker has gone to.
pub(crate) struct Doors {
    work: Work,
    key: String,
    known: BTreeMap<String, Client>,
}

impl Doors {
    pub(crate) fn of(work: &Work, key: &str) -> Self {
        Self { work: work.clone(), key: key.to_owned(), known: BTreeMap::new() }
    }

    pub(crate) fn any(&mut self) -> &Client {
        let door = self.work.door();
        let Self { key, known, .. } = self;
        known.entry(door.clone()).or_insert_with(|| client_of(&[door], key, PATIENCE))
    }

    async fn submit(&mut self, intent: &Value, key: &str) -> Told {
        let is_left = rand::random_ratio(1, ONE_IN_IS_LEFT);
        let waits = Duration::from_millis(rand::random_range(0..8));
        let sending = self.any().submit(intent, Some(key));
        let sent = if is_left {
            // The reply is lost, before or after the commit.
            match timeout(waits, sending).await {
                Ok(sent) => sent,
                Err(_) => return Told::Nothing,
            }
        } else {
            sending.await
        };
        match sent {
            Ok(submitted) => match submitted.verdict {
                Verdict::Allowed | Verdict::Held => Told::Accepted(submitted.id),
                Verdict::Duplicate => Told::Duplicate(submitted.id),
                Verdict::Blocked => Told::Refused(submitted.answer.status),
            },
            Err(Error::Refused(refusal)) if !is_for_later(refusal.status) => {
                Told::Refused(refusal.status)
            }
            Err(_) => Told::Nothing,
        }
    }
}
