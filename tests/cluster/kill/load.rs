//! The load: every kind of write that people and agents make, each sent until it has its answer.
//!
//! Invariant: a request that got no answer is sent again as it was, under the same key, so that
//! what was answered is what the ledger has said once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use client::{Answer, Client, Error, Method, Request};
use serde_json::{Value, json};

use crate::support::LOOK_EVERY;

/// Answers between two changes of the policies, so that others get on between them.
const ANSWERS_PER_CHANGE: usize = 15;

/// What one kind of worker does over and over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Story {
    /// An intent that policy allows.
    Call,
    /// One that is held and that a person allows.
    Approved,
    /// One that a person forbids.
    Rejected,
    /// One that is withdrawn.
    Cancelled,
    /// One that is held, with a webhook.
    Hooked,
    /// A change of a policy document.
    Policy,
    /// A new principal.
    Agent,
}

/// What was answered, as it must be found again.
pub(crate) enum Answered {
    /// An intent with its payload and what else was said of it.
    Intent { story: Story, id: String, key: String, payload: Value, webhook: Option<String> },
    /// A version of the policies that changed this document, and its text.
    Policy { id: String, version: u64, yaml: String },
    /// A principal.
    Agent { id: String, name: String },
}

impl Story {
    /// The `status` that its intents end with.
    pub(crate) fn status(self) -> &'static str {
        match self {
            Self::Call | Self::Approved => "approved",
            Self::Rejected | Self::Cancelled => "blocked",
            Self::Hooked => "pending_approval",
            Self::Policy | Self::Agent => unreachable!("not a story of an intent"),
        }
    }
}

/// The clients that a worker needs.
#[derive(Clone)]
pub(crate) struct Clients {
    pub(crate) agent: Client,
    pub(crate) reviewer: Client,
    pub(crate) admin: Client,
}

/// When to stop, and how far everybody is.
#[derive(Clone, Default)]
pub(crate) struct Progress {
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) answers: Arc<AtomicUsize>,
}

/// Tells one story again and again until told to stop.
pub(crate) async fn work(
    clients: Clients,
    worker: usize,
    story: Story,
    progress: Progress,
) -> Vec<Answered> {
    let mut answered = Vec::new();
    for number in 0.. {
        if progress.stop.load(Ordering::SeqCst) {
            break;
        }
        answered.push(once(&clients, story, &format!("{worker}-{number}"), number).await);
        let before = progress.answers.fetch_add(1, Ordering::SeqCst);
        while story == Story::Policy
            && !progress.stop.load(Ordering::SeqCst)
            && progress.answers.load(Ordering::SeqCst) < before + ANSWERS_PER_CHANGE
        {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
    answered
}

/// Tells one story once.
pub(crate) async fn once(clients: &Clients, story: Story, key: &str, number: usize) -> Answered {
    match story {
        Story::Policy => policy(clients, key, number).await,
        Story::Agent => agent(clients, key).await,
        _ => intent(clients, story, key, number).await,
    }
}

async fn intent(clients: &Clients, story: Story, key: &str, number: usize) -> Answered {
    let Clients { agent, reviewer, .. } = clients;
    let payload = json!({ "lead_id": key, "note": "x".repeat(number % 500) });
    let mut asked = json!({ "idempotency_key": key, "payload": payload });
    if story == Story::Call {
        asked["resource"] = "leads.outbound_call".into();
        asked["trigger"] = "webhook".into();
    } else {
        asked["resource"] = "crm.contacts".into();
        asked["trigger"] = "write".into();
        asked["recordCount"] = 500.into();
    }
    let submit = Request::post(&["v1", "intents"], &asked).idempotency_key(format!("submit-{key}"));
    let submitted = answer(agent, submit).await;
    let first = if story == Story::Call { "approved" } else { "pending_approval" };
    assert_eq!(submitted.text("status"), Some(first), "{key} is new: {}", submitted.body);
    let id = submitted.text("intentId").expect("an id").to_owned();
    let decide = async |verb: &str| {
        let body = json!({ "reason": format!("because of {key}") });
        let decide = Request::post(&["v1", "intents", &id, verb], &body);
        answer(reviewer, decide.idempotency_key(format!("{verb}-{key}"))).await
    };
    let mut webhook = None;
    match story {
        Story::Approved => drop(decide("approve").await),
        Story::Rejected => drop(decide("reject").await),
        Story::Cancelled => drop(decide("cancel-approval").await),
        Story::Hooked => {
            let url = format!("http://127.0.0.1:9/{key}");
            let body = json!({ "intentId": id, "url": url, "secret": "s" });
            let hook = Request::post(&["v1", "webhooks", "register"], &body);
            let hooked = answer(agent, hook.idempotency_key(format!("hook-{key}"))).await;
            webhook = hooked.text("webhookId").map(str::to_owned);
            assert!(webhook.is_some(), "{}", hooked.body);
        }
        _ => {}
    }
    Answered::Intent { story, id, key: key.to_owned(), payload, webhook }
}

async fn policy(clients: &Clients, key: &str, number: usize) -> Answered {
    let worker = key.split('-').next().unwrap_or_default();
    let id = format!("extra{worker}");
    let yaml = format!(
        "gates:\n  - name: {id}\n    resource: nothing.{id}\n    policies:\n      \
         - require_approval_over: {}\n",
        number + 1
    );
    let put = Request::new(Method::Put, &["v1", "policies", &id]).yaml(yaml.clone().into_bytes());
    let put = answer(&clients.admin, put).await;
    let version = put.body["version"].as_u64().expect("a version");
    Answered::Policy { id, version, yaml }
}

async fn agent(clients: &Clients, key: &str) -> Answered {
    let name = format!("agent-{key}");
    let body = json!({ "name": name, "role": "agent" });
    let register = Request::post(&["v1", "agents", "register"], &body);
    let made = answer(&clients.admin, register.idempotency_key(format!("register-{key}"))).await;
    let id = made.text("agentId").expect("an id").to_owned();
    Answered::Agent { id, name }
}

/// Sends a request until it is answered: the node may be being started again.
async fn answer(client: &Client, request: Request) -> Answer {
    loop {
        match client.send(request.clone()).await {
            Ok(answer) => return answer,
            Err(Error::Refused(refusal)) => panic!("{request:?}: {refusal:?}"),
            Err(_) => {}
        }
    }
}
