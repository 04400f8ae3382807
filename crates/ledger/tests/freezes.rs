//! Freezes: from one log position on nothing that is covered is claimed, and who asked for one
//! learns what it came too late for.

#![cfg(test)]

mod support;

use ledger::{
    AttemptEnd, Command, Freeze, FreezeRow, Refusal, Reply, Running, SettleFreezes, Settled,
    Unfreeze, query,
};
use support::phone::{GATES, Scene, issue};
use support::{ADMIN, NS, http_destination, word};
use types::*;

const TWO: &str = "gate: {freeze: {persons_to_unfreeze: 2}}\n";

struct Frozen {
    scene: Scene,
}

impl Frozen {
    fn of(on_request: bool) -> Self {
        let scene = if on_request { Scene::on_request() } else { Scene::of(false) };
        Self { scene }
    }

    fn freeze_as(&mut self, key: KeyId, scope: FreezeScope, until: Option<LogTime>) -> Reply {
        let (reason, salt) = (String::from("vendor outage"), Salt([3; 32]));
        let command = Freeze { scope, reason, until, salt };
        self.scene.node.send(Some(key), Command::Freeze(Box::new(command)))
    }

    fn freeze(&mut self, scope: FreezeScope) -> FreezeRow {
        match self.freeze_as(self.scene.person, scope, None) {
            Reply::Freeze(row) => *row,
            other => panic!("no freeze: {other:?}"),
        }
    }

    fn unfreeze(&mut self, key: KeyId, freeze: FreezeId) -> String {
        let command = Unfreeze { freeze, reason: Some("it is back".into()), salt: Salt([4; 32]) };
        match self.scene.node.send(Some(key), Command::Unfreeze(command)) {
            Reply::Unfreeze { row, needed, ended } => {
                format!("{} of {needed}, ended: {ended}", row.votes.len())
            }
            other => word(&other),
        }
    }

    fn settle(&mut self, epoch: LogIndex, settled: Vec<Settled>) -> Reply {
        let command = SettleFreezes { epoch, settled };
        self.scene.node.send(None, Command::SettleFreezes(Box::new(command)))
    }

    fn standing(&self) -> Vec<FreezeRow> {
        query::freezes(&self.scene.node.state, NS, self.scene.node.now).unwrap()
    }

    fn leaves(&self) -> Vec<&'static str> {
        let page = query::leaves(&self.scene.node.state, &[NS, NamespaceId::CLUSTER], None, 1_000)
            .unwrap();
        page.entries.iter().map(|entry| entry.leaf.body.kind()).collect()
    }
}

fn phone() -> FreezeScope {
    FreezeScope::Resource("phone".into())
}

#[test]
fn nothing_is_claimed_under_a_freeze_and_all_of_it_goes_on_after_it() {
    let scopes = |agent: KeyId| {
        [
            (FreezeScope::All, true),
            (FreezeScope::Namespace, true),
            (FreezeScope::Agent(AgentId(agent.0)), true),
            (FreezeScope::Agent(AgentId(1)), false),
            (phone(), true),
            (FreezeScope::Resource("p*".into()), true),
            (FreezeScope::Resource("crm.*".into()), false),
            (FreezeScope::Destination("phone".into()), true),
            (FreezeScope::Environment("production".into()), true),
            (FreezeScope::Environment("staging".into()), false),
        ]
    };
    for (at, (_, covers)) in scopes(KeyId(0)).into_iter().enumerate() {
        let mut frozen = Frozen::of(false);
        let mut declared = http_destination("phone", false);
        declared.environment = Some("production".into());
        declared.digest = Digest::of(b"declared");
        frozen.scene.node.apply_destinations(vec![declared]);
        let (scope, _) = scopes(frozen.scene.agent)[at].clone();
        let shown = format!("{scope:?}");
        let Reply::Freeze(row) = frozen.freeze_as(ADMIN, scope, None) else { panic!("{shown}") };
        assert!(row.settled_at.is_some(), "no claim is open: {shown}");
        let intent = frozen.scene.allowed(1);
        let claimed = frozen.scene.claim(intent);
        if !covers {
            claimed.unwrap();
            continue;
        }
        assert_eq!(claimed, Err("refused: Frozen".into()), "{shown}");
        assert_eq!(
            (frozen.scene.phase(intent), frozen.scene.runnable()),
            ("allowed", vec![intent])
        );
        assert_eq!(frozen.unfreeze(ADMIN, row.id), "1 of 1, ended: true", "{shown}");
        frozen.scene.claim(intent).unwrap();
        assert_eq!(frozen.standing(), []);
    }
}

#[test]
fn no_order_is_handed_out_begun_or_tried_again_under_a_freeze() {
    let mut frozen = Frozen::of(true);
    let (waits, asked_later) = (frozen.scene.allowed(1), frozen.scene.allowed(2));
    let order = frozen.scene.ask(waits);
    let row = frozen.freeze(phone());
    assert!(row.settled_at.is_some(), "an order that waits was not begun");
    assert_eq!(frozen.scene.begin(&order), "refused: Frozen");
    let agent = frozen.scene.agent;
    let reply = frozen.scene.node.send(Some(agent), issue(asked_later));
    assert_eq!(word(&reply), "refused: Frozen");
    let Reply::Refused(Refusal::Frozen { reason, until, .. }) = reply else { panic!("{reply:?}") };
    assert_eq!((reason.as_str(), until), ("vendor outage", None));
    frozen.unfreeze(ADMIN, row.id);
    assert_eq!(frozen.scene.begin(&order), "claimed");

    let mut frozen = Frozen { scene: Scene::of(true) };
    let intent = frozen.scene.allowed(1);
    let order = frozen.scene.claim(intent).unwrap();
    frozen.scene.node.report_attempt(order.id, AttemptEnd::InDoubt);
    frozen.freeze(phone());
    assert_eq!(
        frozen.scene.claim(intent),
        Err("refused: Frozen".into()),
        "its target honours keys"
    );
}

#[test]
fn a_freeze_is_settled_by_the_executor_that_holds_claims_and_by_no_other() {
    let mut frozen = Frozen::of(false);
    let intent = frozen.scene.allowed(1);
    let order = frozen.scene.claim(intent).unwrap();
    assert!(frozen.freeze(FreezeScope::Resource("crm".into())).settled_at.is_some());
    let row = frozen.freeze(phone());
    assert_eq!(row.settled_at, None, "a claim is open that may not have started");
    let state = &frozen.scene.node.state;
    let epoch = frozen.scene.epoch;
    let mut unsettled = query::unsettled_freezes(state, epoch).unwrap();
    let call = Running { execution: order.id, intent };
    assert_eq!(
        unsettled,
        [Settled { home: NS, freeze: row.id, running: vec![call] }],
        "what it may have come too late for"
    );
    let other_epoch = query::unsettled_freezes(state, LogIndex(1)).unwrap();
    assert_eq!(other_epoch[0].running, [], "another's claims are in doubt by then");

    let newer = frozen.scene.node.take_over();
    assert_eq!(word(&frozen.settle(epoch, unsettled.clone())), "refused: EpochOver");
    assert_eq!(frozen.standing()[1].settled_at, None);
    unsettled[0].running.clear();
    assert_eq!(frozen.settle(newer, unsettled.clone()), Reply::Done);
    let settled = frozen.standing().remove(1);
    assert!(settled.settled_at.is_some() && settled.running.is_empty());
    let found = query::running_under(&frozen.scene.node.state, &settled, 10, 10).unwrap();
    assert_eq!(found, (vec![call], false), "it is in doubt");
    let leaves = frozen.leaves().len();
    frozen.settle(newer, unsettled);
    assert_eq!(frozen.leaves().len(), leaves, "said twice, it counts once");
}

#[test]
fn what_runs_under_a_freeze_is_what_started_and_what_workers_hold() {
    let mut frozen = Frozen::of(false);
    let (started, not_started) = (frozen.scene.allowed(1), frozen.scene.allowed(2));
    let one = frozen.scene.claim(started).unwrap();
    let two = frozen.scene.claim(not_started).unwrap();
    let row = frozen.freeze(FreezeScope::Namespace);
    let call = Running { execution: one.id, intent: started };
    let settled = Settled { home: row.home(), freeze: row.id, running: vec![call] };
    frozen.settle(frozen.scene.epoch, vec![settled]);
    let row = frozen.standing().remove(0);
    let state = &frozen.scene.node.state;
    assert_eq!(query::running_under(state, &row, 10, 10).unwrap(), (vec![call], false));
    assert_eq!(query::running_under(state, &row, 0, 10).unwrap(), (vec![], true));
    frozen.scene.node.report_attempt(two.id, AttemptEnd::NotStarted);
    frozen.scene.node.report_attempt(one.id, AttemptEnd::Succeeded);
    let state = &frozen.scene.node.state;
    assert_eq!(query::running_under(state, &row, 10, 10).unwrap(), (vec![], false));
    assert_eq!(frozen.scene.runnable(), [not_started], "given back, and frozen");
}

#[test]
fn an_earlier_attempt_in_doubt_runs_though_the_next_one_is_taken_back() {
    let mut frozen = Frozen { scene: Scene::of(true) };
    let intent = frozen.scene.allowed(1);
    let first = frozen.scene.claim(intent).unwrap();
    frozen.scene.node.report_attempt(first.id, AttemptEnd::InDoubt);
    let second = frozen.scene.claim(intent).unwrap();
    let row = frozen.freeze(phone());
    let settled = Settled { home: row.home(), freeze: row.id, running: vec![] };
    frozen.settle(frozen.scene.epoch, vec![settled]);
    let call = Running { execution: second.id, intent };
    for phase in ["claimed", "in_doubt"] {
        assert_eq!(frozen.scene.phase(intent), phase);
        let row = frozen.standing().remove(0);
        let found = query::running_under(&frozen.scene.node.state, &row, 10, 10).unwrap();
        assert_eq!(found, (vec![call], false), "{phase}: the first one may come late");
        frozen.scene.node.report_attempt(second.id, AttemptEnd::NotStarted);
    }
}

#[test]
fn policy_says_how_many_people_end_a_freeze() {
    let mut frozen = Frozen::of(false);
    frozen.scene.node.apply_policies(&[("gates.yaml", GATES), ("freeze.yaml", TWO)]);
    let twin = frozen.scene.node.register("rita's script", Role::Reviewer, Some("rita"));
    let other = frozen.scene.node.register("olga", Role::Operator, None);
    let (rita, agent) = (frozen.scene.person, frozen.scene.agent);
    let row = frozen.freeze(phone());
    assert_eq!(row.persons, 2);
    // A policy that asks for fewer ends no older freeze sooner.
    frozen.scene.node.apply_policies(&[("gates.yaml", GATES)]);
    #[rustfmt::skip]
    let steps = [
        (agent, "refused: Role"),
        (rita,  "1 of 2, ended: false"),
        (rita,  "1 of 2, ended: false"),
        (twin,  "1 of 2, ended: false"),
        (other, "2 of 2, ended: true"),
        (rita,  "refused: UnknownFreeze"),
    ];
    for (key, expected) in steps {
        assert_eq!(frozen.unfreeze(key, row.id), expected, "{key:?}");
    }
    let leaves = frozen.leaves();
    let of_freezes: Vec<_> = leaves.into_iter().filter(|kind| kind.contains("fr")).collect();
    assert_eq!(of_freezes, ["frozen", "unfreeze_vote_recorded", "unfrozen"]);
}

#[test]
fn time_ends_a_freeze_in_every_command_and_the_tick_says_so() {
    let mut frozen = Frozen::of(false);
    let intent = frozen.scene.allowed(1);
    let until = frozen.scene.node.now.plus_ms(60_000);
    let person = frozen.scene.person;
    assert!(matches!(frozen.freeze_as(person, phone(), Some(until)), Reply::Freeze(_)));
    frozen.scene.node.wait_ms(59_999);
    assert_eq!(frozen.scene.claim(intent), Err("refused: Frozen".into()));
    frozen.scene.node.wait_ms(1);
    assert_eq!(frozen.standing(), [], "over, though nobody has said so");
    frozen.scene.claim(intent).unwrap();
    frozen.scene.node.tick();
    assert_eq!(query::freeze_marks(&frozen.scene.node.state).unwrap(), []);
    assert!(frozen.leaves().contains(&"unfrozen"));
    let over = frozen.scene.node.now;
    let reply = frozen.freeze_as(person, phone(), Some(over));
    assert_eq!(word(&reply), "refused: FreezeOver");
}

#[test]
fn who_may_freeze_what() {
    let mut frozen = Frozen::of(false);
    let auditor = frozen.scene.node.register("ada", Role::Auditor, None);
    let operator = frozen.scene.node.register("olga", Role::Operator, None);
    let unknown = FreezeScope::Agent(AgentId(999_999));
    #[rustfmt::skip]
    let cases = [
        (frozen.scene.agent,  phone(),                "refused: Role"),
        (auditor,             phone(),                "refused: Role"),
        (frozen.scene.person, FreezeScope::All,       "refused: Role"),
        (frozen.scene.person, unknown,                "refused: UnknownAgent"),
        (operator,            FreezeScope::All,       "freeze"),
        (operator,            FreezeScope::Namespace, "freeze"),
    ];
    for (key, scope, expected) in cases {
        let shown = format!("{key:?} {scope:?}");
        let said = match frozen.freeze_as(key, scope, None) {
            Reply::Freeze(_) => "freeze".into(),
            other => word(&other),
        };
        assert_eq!(said, expected, "{shown}");
    }
    let everywhere = frozen.standing().remove(0);
    assert_eq!(frozen.unfreeze(frozen.scene.person, everywhere.id), "refused: Role");
    assert_eq!(frozen.unfreeze(ADMIN, everywhere.id), "1 of 1, ended: true");
}

#[test]
fn asked_for_twice_it_is_one_freeze_and_there_are_only_so_many() {
    let mut frozen = Frozen::of(false);
    let first = frozen.freeze(phone());
    assert_eq!(frozen.freeze(phone()).id, first.id);
    assert_eq!(frozen.standing().len(), 1);
    for number in 1..limits::FREEZES_MAX {
        frozen.freeze(FreezeScope::Resource(format!("r{number}")));
    }
    let reply = frozen.freeze_as(frozen.scene.person, FreezeScope::Namespace, None);
    assert_eq!(word(&reply), "refused: FreezesFull");
    assert_eq!(frozen.freeze(phone()).id, first.id, "it stands already");
    assert_eq!(frozen.unfreeze(ADMIN, first.id), "1 of 1, ended: true");
    assert_ne!(frozen.freeze(phone()).id, first.id, "no freeze has the id of an ended one");
}
