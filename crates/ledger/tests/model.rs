//! The ledger beside a small model of it that is written differently: the model keeps nothing but
//! what was said and when, and works out each answer from all of it.
//!
//! It knows submits with dedup windows and bound keys, approvals by people of whom some are one
//! person, rejections, withdrawals and expiry. A tick follows each step of time, as with a leader.

#![cfg(test)]

mod support;

use ledger::{Cancel, Command, Reply, query};
use proptest::prelude::*;
use serde_json::json;
use support::{NS, Node, word};
use types::*;

const WINDOW_MS: u64 = 60_000;
const EXPIRES_MS: u64 = 90_000;
const APPROVALS: usize = 2;
const GATES: &str = "gates:
  - name: now
    resource: call.now
    policies:
      - idempotency_key: { window_seconds: 60, key: lead }
  - name: held
    resource: call.held
    policies:
      - require_approval: always
      - require_approvals: 2
      - idempotency_key: { window_seconds: 60, key: lead }
";

/// Reviewers with whoever answers for them, the last two of whom is one of the agents.
const PEOPLE: [(&str, Option<&str>); 4] =
    [("rita", None), ("sam", Some("finance")), ("sue", Some("finance")), ("bob", Some("bot-0"))];
const AGENTS: usize = 2;

#[derive(Debug, Clone)]
enum Step {
    Submit { agent: usize, lead: u8, is_held: bool, key: Option<u8> },
    Approve { person: usize, nth: usize },
    Reject { person: usize, nth: usize },
    Cancel { who: Who, nth: usize, withdraws: bool },
    Wait { ms: u64 },
}

#[derive(Debug, Clone, Copy)]
enum Who {
    Agent(usize),
    Person(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let (agent, person, nth) = (0..AGENTS, 0..PEOPLE.len(), 0..12_usize);
    let who =
        prop_oneof![agent.clone().prop_map(Who::Agent), person.clone().prop_map(Who::Person),];
    prop_oneof![
        6 => (agent, 0..3_u8, any::<bool>(), prop::option::weighted(0.3, 0..3_u8))
            .prop_map(|(agent, lead, is_held, key)| Step::Submit { agent, lead, is_held, key }),
        6 => (person.clone(), nth.clone()).prop_map(|(person, nth)| Step::Approve { person, nth }),
        1 => (person, nth.clone()).prop_map(|(person, nth)| Step::Reject { person, nth }),
        2 => (who, nth, any::<bool>())
            .prop_map(|(who, nth, withdraws)| Step::Cancel { who, nth, withdraws }),
        2 => (0..45_000_u64).prop_map(|ms| Step::Wait { ms }),
        // So that it is asked at the very end of a span.
        2 => (0..4_u64).prop_map(|quarter| Step::Wait { ms: quarter * WINDOW_MS / 4 }),
    ]
}

/// An intent that was accepted, and all that was said of it.
struct Intent {
    id: IntentId,
    agent: usize,
    lead: u8,
    is_held: bool,
    key: Option<u8>,
    at: u64,
    /// Who said yes and was heard, and when.
    yes: Vec<(usize, u64)>,
    /// Who ended it, and when.
    end: Option<(Phase, u64)>,
}

impl Intent {
    /// When it was allowed, if it ever was.
    fn allowed_at(&self) -> Option<u64> {
        match self.is_held {
            false => Some(self.at),
            true => self.yes.get(APPROVALS - 1).map(|(_, at)| *at),
        }
    }

    fn phase(&self, now: u64) -> Phase {
        match self.end {
            Some((phase, _)) => phase,
            None if now >= self.at + EXPIRES_MS => Phase::Expired,
            None if self.allowed_at().is_some() => Phase::Allowed,
            None => Phase::Held,
        }
    }

    /// Whether it keeps others of its lead out.
    fn holds_its_window(&self, now: u64) -> bool {
        match self.allowed_at() {
            Some(allowed) => now < allowed + WINDOW_MS,
            None => self.phase(now) == Phase::Held,
        }
    }
}

/// Two reviewers are one person where somebody answers for both.
fn is_same(one: usize, other: usize) -> bool {
    let owner = |person: usize| PEOPLE[person].1;
    one == other || (owner(one).is_some() && owner(one) == owner(other))
}

/// A reviewer for whom the agent answers asked for what it asked for.
fn asked(person: usize, agent: usize) -> bool {
    PEOPLE[person].1 == Some(&format!("bot-{agent}"))
}

/// What was said, in its order.
#[derive(Default)]
struct Model {
    intents: Vec<Intent>,
    now: u64,
}

impl Model {
    /// The answer to a submit: the intent that was first, or nothing if it is accepted.
    fn first(&self, agent: usize, lead: u8, is_held: bool, key: Option<u8>) -> Option<IntentId> {
        let by_key = key.and_then(|_| {
            let mut bound = self.intents.iter();
            bound.find(|intent| intent.agent == agent && intent.key == key)
        });
        let by_window = || {
            let mut of_lead =
                self.intents.iter().filter(|one| one.lead == lead && one.is_held == is_held);
            of_lead.find(|intent| intent.holds_its_window(self.now))
        };
        by_key.or_else(by_window).map(|intent| intent.id)
    }

    fn approve(&mut self, person: usize, nth: usize) -> String {
        let now = self.now;
        let intent = &mut self.intents[nth];
        match intent.phase(now) {
            Phase::Allowed => return "already".into(),
            Phase::Held if !asked(person, intent.agent) => {}
            _ => return "refused".into(),
        }
        if !intent.yes.iter().any(|(other, _)| is_same(person, *other)) {
            intent.yes.push((person, now));
        }
        match intent.yes.len() {
            APPROVALS => "approved".into(),
            votes => format!("vote {votes} of {APPROVALS}"),
        }
    }

    fn end(
        &mut self,
        nth: usize,
        as_phase: Phase,
        may: impl FnOnce(&Intent, Phase) -> bool,
    ) -> String {
        let now = self.now;
        let intent = &mut self.intents[nth];
        let phase = intent.phase(now);
        if !may(intent, phase) {
            return "refused".into();
        }
        intent.end = Some((as_phase, now));
        as_phase.name().into()
    }
}

/// A reply in the model's words: it does not say why something is refused.
fn said(reply: &Reply) -> String {
    let word = word(reply);
    if word.starts_with("refused") { "refused".into() } else { word }
}

/// Does a step to both. Says what each answered.
fn both(
    node: &mut Node,
    model: &mut Model,
    (agents, people): (&[KeyId], &[KeyId]),
    step: &Step,
) -> Option<(String, String)> {
    let count = model.intents.len();
    match *step {
        Step::Submit { agent, lead, is_held, key } => {
            let mut request = json!({
                "resource": if is_held { "call.held" } else { "call.now" },
                "payload": { "lead": format!("lead-{lead}") },
                "expires_in_ms": EXPIRES_MS,
            });
            if let Some(key) = key {
                request["idempotency_key"] = json!(format!("key-{key}"));
            }
            let expected = match model.first(agent, lead, is_held, key) {
                Some(first) => format!("duplicate of {first}"),
                None if is_held => "held".into(),
                None => "allowed".into(),
            };
            let reply = node.submit(agents[agent], &request);
            let found = match &reply {
                Reply::Duplicate(duplicate) => format!("duplicate of {}", duplicate.first),
                other => said(other),
            };
            if let Reply::Submitted(head, _) = &reply {
                let (id, at) = (head.id, model.now);
                let (yes, end) = (Vec::new(), None);
                model.intents.push(Intent { id, agent, lead, is_held, key, at, yes, end });
            }
            Some((found, expected))
        }
        Step::Wait { ms } => {
            node.wait_ms(ms);
            model.now += ms;
            node.tick();
            None
        }
        _ if count == 0 => None,
        Step::Approve { person, nth } => {
            let (nth, key) = (nth % count, people[person]);
            let reply = node.approve(key, model.intents[nth].id, None);
            Some((said(&reply), model.approve(person, nth)))
        }
        Step::Reject { person, nth } => {
            let (nth, key) = (nth % count, people[person]);
            let reply = node.reject(key, model.intents[nth].id);
            let expected = model.end(nth, Phase::Rejected, |_, phase| phase == Phase::Held);
            Some((said(&reply), expected))
        }
        Step::Cancel { who, nth, withdraws } => {
            let nth = nth % count;
            let key = match who {
                Who::Agent(agent) => agents[agent],
                Who::Person(person) => people[person],
            };
            let intent = model.intents[nth].id;
            let cancel = Cancel { intent, reason: None, guard: None, withdraws: Some(withdraws) };
            let reply = node.send(Some(key), Command::Cancel(cancel));
            let expected = model.end(nth, Phase::Cancelled, |intent, phase| {
                let may = match who {
                    Who::Person(_) => true,
                    Who::Agent(agent) => withdraws && agent == intent.agent,
                };
                may && (phase == Phase::Held || (withdraws && phase == Phase::Allowed))
            });
            Some((said(&reply), expected))
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn it_answers_as_the_model_does(steps in prop::collection::vec(step(), 1..60)) {
        let mut node = Node::with_policies(&[("gates.yaml", GATES)]);
        let agents: Vec<KeyId> = (0..AGENTS)
            .map(|agent| node.register(&format!("bot-{agent}"), Role::Agent, None))
            .collect();
        let people: Vec<KeyId> = PEOPLE
            .iter()
            .map(|(name, owner)| node.register(name, Role::Reviewer, *owner))
            .collect();
        let mut model = Model::default();
        for (number, step) in steps.iter().enumerate() {
            if let Some((found, expected)) = both(&mut node, &mut model, (&agents, &people), step) {
                prop_assert_eq!(found, expected, "step {}: {:?}", number, step);
            }
            for intent in &model.intents {
                let (found, expected) = (node.head(intent.id).phase, intent.phase(model.now));
                prop_assert_eq!(found, expected, "{} after step {}: {:?}", intent.id, number, step);
            }
        }
        let filter = query::IntentFilter { limit: 1_000, ..Default::default() };
        let listed = query::intents(&node.state, NS, filter).unwrap().heads;
        let mut known: Vec<IntentId> = model.intents.iter().map(|intent| intent.id).collect();
        known.reverse();
        prop_assert_eq!(listed.iter().map(|head| head.id).collect::<Vec<_>>(), known);
    }
}
