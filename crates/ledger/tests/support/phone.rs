//! A phone line that the gate's own executor calls, and what is asked of it.

use ledger::{Command, IssueOrder, Reply, query};
use serde_json::{Value, json};
use types::*;

use super::{NS, Node, accepted, http_destination, word};

pub const GATES: &str = "gates:
  - name: calls
    resource: phone
    policies:
      - require_approval_over: 2
      - idempotency_key: { window_seconds: 60, key: lead }
";

pub struct Scene {
    pub node: Node,
    pub agent: KeyId,
    pub person: KeyId,
    pub epoch: LogIndex,
}

impl Scene {
    /// A phone line that takes the same call twice without harm, or does not.
    pub fn of(honours_idempotency_key: bool) -> Self {
        let mut node = Node::with_policies(&[("gates.yaml", GATES)]);
        let agent = node.register("bot", Role::Agent, None);
        let person = node.register("rita", Role::Reviewer, None);
        node.apply_destinations(vec![http_destination("phone", honours_idempotency_key)]);
        let epoch = node.take_over();
        Self { node, agent, person, epoch }
    }

    pub fn submit(&mut self, lead: u64, records: usize) -> Reply {
        let records: Vec<Value> = (0..records).map(|id| json!({"id": id})).collect();
        let request = json!({
            "resource": "phone",
            "payload": {"lead": lead, "records": records},
            "expires_in_ms": 3_600_000,
        });
        self.node.submit(self.agent, &request)
    }

    pub fn allowed(&mut self, lead: u64) -> IntentId {
        let reply = self.submit(lead, 1);
        assert_eq!(word(&reply), "allowed");
        accepted(&reply)
    }

    pub fn claim(&mut self, intent: IntentId) -> Result<ledger::OrderRow, String> {
        match self.node.claim(self.epoch, intent) {
            Reply::Claimed(order, _) => Ok(*order),
            other => Err(word(&other)),
        }
    }

    pub fn runnable(&self) -> Vec<IntentId> {
        let rows = query::runnable(&self.node.state, None, 100).unwrap();
        rows.into_iter().map(|(_, id)| id).collect()
    }

    pub fn open_claims(&self) -> usize {
        query::executor_claims(&self.node.state, 100).unwrap().len()
    }

    /// Its agent asks for its execution.
    pub fn ask(&mut self, intent: IntentId) -> ledger::OrderRow {
        match self.node.send(Some(self.agent), issue(intent)) {
            Reply::Order(order) => *order,
            other => panic!("no order: {other:?}"),
        }
    }

    pub fn waiting(&self) -> Vec<ExecutionId> {
        let rows = query::waiting_orders(&self.node.state, None, 10_000).unwrap();
        rows.into_iter().map(|(id, ..)| id).collect()
    }

    /// Runs only what it is asked for.
    pub fn on_request() -> Self {
        let mut scene = Self::of(false);
        let mut on_request = http_destination("phone", false);
        on_request.execute = ExecuteWhen::OnRequest;
        on_request.digest = Digest::of(b"on request");
        scene.node.apply_destinations(vec![on_request]);
        scene
    }

    pub fn begin(&mut self, order: &ledger::OrderRow) -> String {
        match self.node.claim_as(self.epoch, order.intent, order.id) {
            Reply::Claimed(begun, _) => {
                assert_eq!((begun.id, begun.attempt, begun.waits()), (order.id, 1, false));
                "claimed".into()
            }
            other => word(&other),
        }
    }

    pub fn status(&self, order: &ledger::OrderRow) -> &'static str {
        query::order(&self.node.state, NS, order.id).unwrap().unwrap().status.name()
    }

    pub fn phase(&self, intent: IntentId) -> &'static str {
        self.node.head(intent).phase.name()
    }
}

pub fn issue(intent: IntentId) -> Command {
    issue_with(intent, None)
}

pub fn issue_with(intent: IntentId, facts: Option<policy::Facts>) -> Command {
    issue_order(intent, ExecutionId(900_000 + intent.0), facts)
}

pub fn issue_as(intent: IntentId, execution: ExecutionId) -> Command {
    issue_order(intent, execution, None)
}

pub fn issue_order(
    intent: IntentId,
    execution: ExecutionId,
    facts: Option<policy::Facts>,
) -> Command {
    Command::IssueOrder(Box::new(IssueOrder {
        intent,
        execution,
        mode: "runner_exec".into(),
        token_hash: Digest::of(b"token"),
        token_sealed: vec![1],
        facts,
    }))
}
