//! Execution orders from the outside: handed out once, reported once, silence is doubt.
#![cfg(test)]

mod support;

use ledger::*;
use serde_json::json;
use support::{ADMIN, NS, Node, accepted, word};
use types::*;

const GATES: &str = "gates:
  - name: crm
    resource: crm.contacts
    policies:
      - require_approval_over: 2
      - idempotency_key: { window_seconds: 60, key: batch }
";

const TOKEN: Digest = Digest([5; 32]);

struct Setting {
    node: Node,
    agent: KeyId,
    person: KeyId,
    intent: IntentId,
}

fn setting() -> Setting {
    let mut node = Node::with_policies(&[("gates.yaml", GATES)]);
    let agent = node.register("bot", Role::Agent, None);
    let person = node.register("rita", Role::Reviewer, None);
    let request = json!({"resource": "crm.contacts", "payload": {"batch": 1}});
    let intent = accepted(&node.submit(agent, &request));
    Setting { node, agent, person, intent }
}

impl Setting {
    fn issue(&mut self, key: KeyId) -> Reply {
        let execution = ExecutionId(self.node.draw());
        let command = IssueOrder {
            intent: self.intent,
            execution,
            mode: "runner_exec".into(),
            token_hash: TOKEN,
            token_sealed: vec![1, 2, 3],
            facts: None,
        };
        self.node.send(Some(key), Command::IssueOrder(Box::new(command)))
    }

    fn order(&mut self) -> ExecutionId {
        match self.issue(self.agent) {
            Reply::Order(order) => order.id,
            other => panic!("no order: {other:?}"),
        }
    }

    fn report(
        &mut self,
        key: Option<KeyId>,
        execution: ExecutionId,
        token: Option<Digest>,
        succeeded: bool,
        effect: Option<types::Effect>,
    ) -> Reply {
        let result = Some(String::from("{}"));
        let command =
            ReportOrder { execution, token, succeeded, effect, result, executed_at: None };
        self.node.send(key, Command::ReportOrder(Box::new(command)))
    }

    fn phase(&self) -> &'static str {
        self.node.head(self.intent).phase.name()
    }

    fn repeat(&mut self) -> String {
        let request = json!({"resource": "crm.contacts", "payload": {"batch": 1}});
        let reply = self.node.submit(self.agent, &request);
        word(&reply)
    }
}

#[test]
fn an_intent_is_handed_out_once_to_its_own_agent() {
    let mut setting = setting();
    let stranger = setting.node.register("stranger", Role::Agent, None);
    assert_eq!(word(&setting.issue(stranger)), "refused: NotYours");
    let person = setting.person;
    assert_eq!(word(&setting.issue(person)), "refused: NotYours");
    let Reply::Order(order) = setting.issue(setting.agent) else { panic!("an order") };
    assert_eq!(order.fence, LogIndex(setting.node.entries.len() as u64));
    assert_eq!(setting.phase(), "claimed");
    assert_eq!(word(&setting.issue(setting.agent)), "refused: NotAllowed");
    assert_eq!(setting.node.kinds(setting.intent), ["intent_submitted", "execution_requested"]);
}

#[test]
#[rustfmt::skip]
fn a_report_ends_it_and_only_no_effect_releases_the_window() {
    use types::Effect::{None as Nothing, Partial, Unknown};
    let cases: [(bool, Option<types::Effect>, &str, &str); 5] = [
        // succeeded, effect, the phase, a repeat is
        (true,  None,          "succeeded", "duplicate"),
        (false, None,          "failed",    "duplicate"),
        (false, Some(Unknown), "failed",    "duplicate"),
        (false, Some(Partial), "failed",    "duplicate"),
        (false, Some(Nothing), "failed",    "allowed"),
    ];
    for (succeeded, effect, phase, repeat) in cases {
        let mut setting = setting();
        let order = setting.order();
        setting.report(None, order, Some(TOKEN), succeeded, effect);
        assert_eq!(setting.phase(), phase, "{effect:?}");
        assert_eq!(setting.repeat(), repeat, "{effect:?}");
    }
}

#[test]
fn a_token_reports_once_and_says_the_same_again_at_will() {
    let mut setting = setting();
    let order = setting.order();
    let wrong = setting.report(None, order, Some(Digest([6; 32])), true, None);
    assert_eq!(word(&wrong), "refused: InvalidKey");
    let stranger = setting.node.register("stranger", Role::Agent, None);
    let theirs = setting.report(Some(stranger), order, None, true, None);
    assert_eq!(word(&theirs), "refused: NotYours");
    let first = setting.report(None, order, Some(TOKEN), true, None);
    assert_eq!(setting.report(None, order, Some(TOKEN), true, None), first);
    let other = setting.report(Some(ADMIN), order, None, false, None);
    assert_eq!(word(&other), "refused: AlreadyReported");
    assert_eq!(setting.phase(), "succeeded");
}

#[test]
fn silence_is_doubt_and_the_token_may_still_speak() {
    let mut setting = setting();
    let order = setting.order();
    setting.node.wait_ms(15 * 60_000 - 1);
    setting.node.tick();
    assert_eq!(setting.phase(), "claimed");
    setting.node.wait_ms(1);
    setting.node.tick();
    assert_eq!(setting.phase(), "in_doubt");
    let row = query::order(&setting.node.state, NS, order).unwrap().unwrap();
    assert_eq!(row.status, OrderStatus::Expired);
    assert_eq!(setting.repeat(), "duplicate", "doubt keeps the window, however long");
    setting.report(None, order, Some(TOKEN), true, None);
    assert_eq!(setting.phase(), "succeeded");
}

#[test]
fn a_person_ends_the_doubt_and_not_the_one_who_asked() {
    let mut setting = setting();
    let resolve = |intent| {
        Command::Resolve(Resolve {
            intent,
            succeeded: false,
            effect: Some(types::Effect::None),
            reason: "the CRM shows nothing".into(),
        })
    };
    let (intent, person, agent) = (setting.intent, setting.person, setting.agent);
    assert_eq!(word(&setting.node.send(Some(person), resolve(intent))), "refused: NotInDoubt");
    let order = setting.order();
    setting.node.wait_ms(15 * 60_000);
    setting.node.tick();
    assert_eq!(word(&setting.node.send(Some(agent), resolve(intent))), "refused: Role");
    assert_eq!(word(&setting.node.send(Some(person), resolve(intent))), "failed");
    assert_eq!(setting.repeat(), "allowed");
    let late = setting.report(None, order, Some(TOKEN), true, None);
    assert_eq!(word(&late), "refused: NotAllowed", "the first committed word stands");
    assert_eq!(
        setting.node.kinds(intent),
        [
            "intent_submitted",
            "execution_requested",
            "execution_in_doubt",
            "execution_resolved",
            "duplicate_refused"
        ][..4]
    );
}

#[test]
fn an_expired_intent_is_never_handed_out() {
    let mut setting = setting();
    setting.node.wait_ms(3_600_000);
    assert_eq!(word(&setting.issue(setting.agent)), "refused: Expired", "before any tick");
    assert_eq!(setting.phase(), "expired");
    assert_eq!(word(&setting.issue(setting.agent)), "refused: Expired");
}

#[test]
fn a_stricter_policy_takes_an_allowed_intent_back_before_it_is_handed_out() {
    let mut setting = setting();
    let strict = GATES.replace("require_approval_over: 2", "require_approval: always");
    setting.node.apply_policies(&[("gates.yaml", &strict)]);
    let Reply::FactsNeeded { version: 2 } = setting.issue(setting.agent) else {
        panic!("fresh facts are asked for");
    };
    let facts = setting.node.facts_of(setting.intent);
    let command = IssueOrder {
        intent: setting.intent,
        execution: ExecutionId(9),
        mode: "runner_exec".into(),
        token_hash: TOKEN,
        token_sealed: vec![],
        facts: Some(facts),
    };
    let reply = setting.node.send(Some(setting.agent), Command::IssueOrder(Box::new(command)));
    assert_eq!(word(&reply), "policy changed");
    assert_eq!(setting.phase(), "held");
    let listed = query::intents(
        &setting.node.state,
        NS,
        query::IntentFilter { phases: &[Phase::Held], limit: 9, ..Default::default() },
    );
    assert_eq!(listed.unwrap().heads.len(), 1);
    let digest = setting.node.head(setting.intent).approval.digest;
    assert_eq!(
        word(&setting.node.approve(setting.person, setting.intent, Some(digest))),
        "approved"
    );
    assert!(matches!(setting.issue(setting.agent), Reply::Order(_)));
}

#[test]
fn a_claim_holds_the_window_and_its_span_runs_from_the_claim() {
    let mut setting = setting();
    setting.node.wait_ms(50_000);
    let order = setting.order();
    setting.node.wait_ms(30_000);
    setting.node.tick();
    assert_eq!(setting.repeat(), "duplicate", "claimed");
    setting.report(None, order, Some(TOKEN), true, None);
    setting.node.wait_ms(29_999);
    setting.node.tick();
    assert_eq!(setting.repeat(), "duplicate", "60 s from the claim");
    setting.node.wait_ms(1);
    assert_eq!(setting.repeat(), "allowed");
}

#[test]
fn a_claim_after_the_window_was_swept_opens_it_again() {
    for sweep in [false, true] {
        let mut setting = setting();
        setting.node.wait_ms(60_000);
        if sweep {
            setting.node.tick();
        }
        setting.order();
        setting.node.wait_ms(100_000);
        setting.node.tick();
        assert_eq!(setting.repeat(), "duplicate", "swept: {sweep}");
    }
}

#[test]
fn a_claim_waits_for_a_later_intent_that_holds_the_window() {
    let mut setting = setting();
    setting.node.wait_ms(60_000);
    assert_eq!(setting.repeat(), "allowed");
    assert_eq!(word(&setting.issue(setting.agent)), "refused: WindowHeld");
    assert_eq!(setting.phase(), "allowed");
    setting.node.wait_ms(60_000);
    assert!(matches!(setting.issue(setting.agent), Reply::Order(_)));
}

#[test]
fn a_header_key_does_not_replay_a_policy_that_changed() {
    let mut setting = setting();
    let strict = GATES.replace("require_approval_over: 2", "require_approval: always");
    setting.node.apply_policies(&[("gates.yaml", &strict)]);
    let issue = |setting: &mut Setting| {
        let command = IssueOrder {
            intent: setting.intent,
            execution: ExecutionId(setting.node.draw()),
            mode: "runner_exec".into(),
            token_hash: TOKEN,
            token_sealed: vec![],
            facts: Some(setting.node.facts_of(setting.intent)),
        };
        let command = Command::IssueOrder(Box::new(command));
        let mut envelope = setting.node.envelope(Some(setting.agent), command);
        envelope.request_key =
            Some(RequestKey { digest: Digest::of(b"x1"), body: Digest::of(b"{}") });
        setting.node.commit(&[envelope]).remove(0)
    };
    assert_eq!(word(&issue(&mut setting)), "policy changed");
    let digest = setting.node.head(setting.intent).approval.digest;
    setting.node.approve(setting.person, setting.intent, Some(digest));
    let Reply::Order(first) = issue(&mut setting) else { panic!("an order") };
    assert_eq!(issue(&mut setting), Reply::Replayed(Box::new(Reply::Order(first))));
}

#[test]
fn an_order_id_that_is_taken_is_drawn_again() {
    let mut setting = setting();
    let taken = setting.order();
    let agent = setting.agent;
    let request = json!({"resource": "crm.contacts", "payload": {"batch": 2}});
    setting.intent = accepted(&setting.node.submit(agent, &request));
    let command = IssueOrder {
        intent: setting.intent,
        execution: taken,
        mode: "runner_exec".into(),
        token_hash: TOKEN,
        token_sealed: vec![],
        facts: None,
    };
    let reply = setting.node.send(Some(agent), Command::IssueOrder(Box::new(command)));
    assert_eq!(reply, Reply::IdTaken);
}
