//! Orders that somebody asks for and the executor runs: they wait for room, are begun by a claim of
//! their own, and are given back where nobody was called. And what a stopped agent asked for.

#![cfg(test)]

mod support;

use ledger::{AttemptEnd, Command, Reply, query};
use serde_json::json;
use support::phone::{GATES, Scene, issue, issue_as};
use support::{NS, Node, accepted, http_destination, word};
use types::limits::ORDER_MS;
use types::*;

#[test]
fn on_request_the_executor_gets_an_order_that_no_token_opens() {
    let mut scene = Scene::on_request();
    let intent = scene.allowed(1);
    assert!(scene.runnable().is_empty());
    let order = scene.ask(intent);
    assert_eq!(order.mode, "gate_exec");
    assert!(order.token_sealed.is_empty());
    assert_eq!(order.executor.map(|claim| claim.epoch), Some(scene.epoch));
    assert_eq!((scene.waiting(), scene.open_claims()), (vec![order.id], 0));
    let report = |token| {
        Command::ReportOrder(Box::new(ledger::ReportOrder {
            execution: order.id,
            token,
            succeeded: true,
            effect: None,
            result: None,
            executed_at: None,
        }))
    };
    let by_token = scene.node.send(None, report(Some(Digest([0; 32]))));
    assert_eq!(word(&by_token), "refused: InvalidKey");
    let by_owner = scene.node.send(Some(scene.agent), report(None));
    assert_eq!(word(&by_owner), "refused: RunByGate");
    let early = scene.node.report_attempt(order.id, AttemptEnd::Succeeded);
    assert_eq!(word(&early), "refused: NotAllowed", "nobody has begun it");
    assert_eq!(scene.begin(&order), "claimed");
    assert_eq!(scene.begin(&order), "refused: NotAllowed", "once");
    assert_eq!((scene.waiting(), scene.open_claims()), (vec![], 1));
    scene.node.report_attempt(order.id, AttemptEnd::Succeeded);
    assert_eq!((scene.phase(intent), scene.open_claims()), ("succeeded", 0));
    assert_eq!(
        scene.node.kinds(intent),
        ["intent_submitted", "execution_requested", "execution_claimed", "execution_succeeded"]
    );
}

#[test]
fn an_order_that_nobody_began_is_given_back_and_never_in_doubt() {
    let mut scene = Scene::on_request();
    let intent = scene.allowed(1);
    let order = scene.ask(intent);
    scene.node.wait_ms(ORDER_MS - 1);
    scene.node.tick();
    assert_eq!((scene.phase(intent), scene.waiting()), ("claimed", vec![order.id]));
    scene.node.wait_ms(1);
    scene.node.tick();
    assert_eq!((scene.phase(intent), scene.waiting()), ("allowed", vec![]));
    assert_eq!(
        (scene.status(&order), scene.begin(&order)),
        ("given_back", "refused: NotAllowed".into())
    );
    let again = scene.node.send(Some(scene.agent), issue_as(intent, ExecutionId(77)));
    let Reply::Order(again) = again else { panic!("{again:?}") };
    assert_eq!(again.attempt, 1, "it may be asked for again");
    // Begun late, it has all of its time from then on.
    scene.node.wait_ms(ORDER_MS - 1);
    assert_eq!(scene.begin(&again), "claimed");
    scene.node.wait_ms(ORDER_MS - 1);
    scene.node.tick();
    assert_eq!(scene.phase(intent), "claimed");
    scene.node.wait_ms(1);
    scene.node.tick();
    assert_eq!(scene.phase(intent), "in_doubt", "somebody may have been called");
    let doubts = scene.node.kinds(intent).into_iter().filter(|kind| *kind == "execution_in_doubt");
    assert_eq!(doubts.count(), 1);
}

#[test]
fn an_order_waits_for_whichever_executor_runs() {
    let mut scene = Scene::on_request();
    let intent = scene.allowed(1);
    let order = scene.ask(intent);
    let old = scene.epoch;
    scene.epoch = scene.node.take_over();
    assert_eq!((scene.phase(intent), scene.waiting()), ("claimed", vec![order.id]));
    assert_eq!(word(&scene.node.claim_as(old, intent, order.id)), "refused: EpochOver");
    assert_eq!(scene.begin(&order), "claimed");
    let row = query::order(&scene.node.state, NS, order.id).unwrap().unwrap();
    assert_eq!(row.executor.unwrap().epoch, scene.epoch);
    scene.epoch = scene.node.take_over();
    assert_eq!(scene.phase(intent), "in_doubt", "this one was begun");
}

#[test]
fn the_window_runs_from_where_an_order_begins() {
    let mut scene = Scene::on_request();
    let intent = scene.allowed(1);
    let order = scene.ask(intent);
    scene.node.wait_ms(120_000);
    scene.begin(&order);
    scene.node.report_attempt(order.id, AttemptEnd::Succeeded);
    scene.node.wait_ms(59_999);
    scene.node.tick();
    assert_eq!(word(&scene.submit(1, 1)), "duplicate");
    scene.node.wait_ms(1);
    assert_eq!(word(&scene.submit(1, 1)), "allowed");
}

#[test]
fn what_changed_while_an_order_waited_is_given_back_or_judged_again() {
    let mut scene = Scene::on_request();
    let intent = scene.allowed(1);
    let order = scene.ask(intent);
    let mut changed = http_destination("phone", false);
    changed.execute = ExecuteWhen::OnRequest;
    changed.digest = Digest::of(b"another address");
    scene.node.apply_destinations(vec![changed]);
    assert_eq!(scene.begin(&order), "refused: NotAllowed");
    assert_eq!((scene.phase(intent), scene.status(&order)), ("allowed", "given_back"));

    let mut scene = Scene::on_request();
    let intent = scene.allowed(1);
    let order = scene.ask(intent);
    let strict = GATES.replace("require_approval_over: 2", "require_approval: always");
    scene.node.apply_policies(&[("gates.yaml", &strict)]);
    assert_eq!(scene.begin(&order), "policy changed");
    assert_eq!((scene.phase(intent), scene.status(&order)), ("held", "given_back"));
    assert!(scene.waiting().is_empty());
}

#[test]
fn what_is_given_back_after_its_time_expires_and_says_so() {
    for on_request in [false, true] {
        let mut scene = if on_request { Scene::on_request() } else { Scene::of(false) };
        scene.node.apply_channels(vec![support::channel("ops", &[Notice::Expired], &[])]);
        let request = json!({"resource": "phone", "payload": {"lead": 1}, "expires_in_ms": 5_000});
        let intent = accepted(&scene.node.submit(scene.agent, &request));
        let order = if on_request { scene.ask(intent) } else { scene.claim(intent).unwrap() };
        scene.node.wait_ms(5_000);
        scene.node.tick();
        assert_eq!(scene.phase(intent), "claimed");
        if on_request {
            assert_eq!(scene.begin(&order), "refused: NotAllowed");
        } else {
            scene.node.report_attempt(order.id, AttemptEnd::NotStarted);
        }
        assert_eq!((scene.phase(intent), scene.status(&order)), ("expired", "given_back"));
        assert!(scene.runnable().is_empty() && scene.waiting().is_empty());
        let told = query::pending_deliveries(&scene.node.state, LogTime(0), 9).unwrap();
        assert_eq!(told.len(), 1, "who wants to know is told");
    }
}

#[test]
fn nothing_begins_that_a_stopped_agent_asked_for() {
    use AgentStatus::{Active, Revoked, Suspended};
    let inactive = || String::from("refused: SubmitterInactive");
    let mut scene = Scene::of(true);
    let held = accepted(&scene.submit(1, 3));
    let intent = scene.allowed(2);
    let doubtful = scene.allowed(3);
    let order = scene.claim(doubtful).unwrap();
    scene.node.report_attempt(order.id, AttemptEnd::InDoubt);
    scene.node.set_status(scene.agent, Suspended);
    for id in [intent, doubtful] {
        assert_eq!(scene.claim(id), Err(inactive()));
        assert!(scene.runnable().contains(&id), "it may go on");
    }
    assert_eq!(word(&scene.node.send(Some(support::ADMIN), issue(intent))), inactive());
    assert_eq!(word(&scene.node.approve(scene.person, held, None)), "approved", "for later");
    assert_eq!(scene.claim(held), Err(inactive()));
    scene.node.set_status(scene.agent, Active);
    assert!(scene.claim(held).is_ok() && scene.claim(doubtful).is_ok());

    let held = accepted(&scene.submit(4, 3));
    scene.node.set_status(scene.agent, Revoked);
    assert_eq!(word(&scene.node.approve(scene.person, held, None)), inactive());
    assert_eq!(scene.claim(intent), Err(inactive()));
    assert_eq!((scene.phase(intent), scene.runnable()), ("allowed", vec![]), "left to people");
}

#[test]
fn an_order_of_a_stopped_agent_is_not_begun() {
    let mut scene = Scene::on_request();
    let intent = scene.allowed(1);
    let order = scene.ask(intent);
    scene.node.set_status(scene.agent, AgentStatus::Suspended);
    assert_eq!(scene.begin(&order), "refused: SubmitterInactive");
    assert_eq!(scene.waiting(), [order.id]);
    scene.node.set_status(scene.agent, AgentStatus::Active);
    assert_eq!(scene.begin(&order), "claimed");

    let other = scene.allowed(2);
    let order = scene.ask(other);
    scene.node.set_status(scene.agent, AgentStatus::Revoked);
    assert_eq!(scene.begin(&order), "refused: SubmitterInactive");
    assert_eq!((scene.phase(other), scene.waiting()), ("allowed", vec![]), "never to be begun");
    assert_eq!(scene.status(&order), "given_back");
}

#[test]
fn an_agent_withdraws_its_own_and_who_decides_any_before_it_runs() {
    let cancel = |intent| {
        let reason = Some("not needed".into());
        Command::Cancel(ledger::Cancel { intent, reason, guard: None, withdraws: Some(true) })
    };
    // Existing clients withdraw the question, which is theirs while it waits for its answer.
    let question = |intent| {
        Command::Cancel(ledger::Cancel { intent, reason: None, guard: None, withdraws: None })
    };
    let mut scene = Scene::of(true);
    let stranger = scene.node.register("stranger", Role::Agent, None);
    let (agent, person) = (scene.agent, scene.person);
    #[rustfmt::skip]
    let cases = [
        // who,           held,            allowed
        (stranger,        "refused: Role", "refused: Role"),
        (agent,           "cancelled",     "cancelled"),
        (person,          "cancelled",     "cancelled"),
        (support::ADMIN,  "cancelled",     "cancelled"),
    ];
    for (number, (who, held, allowed)) in (0_u64..).zip(cases) {
        let waits = accepted(&scene.submit(10 + number, 3));
        assert_eq!(word(&scene.node.send(Some(agent), question(waits))), "refused: Role");
        assert_eq!(word(&scene.node.send(Some(who), cancel(waits))), held);
        let runs = scene.allowed(20 + number);
        assert_eq!(word(&scene.node.send(Some(person), question(runs))), "refused: NotHeld");
        assert_eq!(word(&scene.node.send(Some(who), cancel(runs))), allowed);
        if who == stranger {
            continue;
        }
        assert_eq!((scene.phase(runs), scene.runnable().contains(&runs)), ("cancelled", false));
        assert_eq!(scene.claim(runs), Err("refused: NotAllowed".into()), "it never runs");
        assert_eq!(word(&scene.node.send(Some(who), cancel(runs))), "refused: NotHeld");
        assert_eq!(scene.node.kinds(runs), ["intent_submitted", "cancelled"]);
        let repeat = word(&scene.submit(10 + number, 3));
        assert_eq!(repeat, "held", "nobody was told that it may run");
        assert_eq!(word(&scene.submit(20 + number, 1)), "duplicate", "somebody was told");
    }
    assert_eq!(word(&scene.node.send(Some(stranger), cancel(IntentId(9)))), "refused: Role");
    assert_eq!(word(&scene.node.send(Some(person), cancel(IntentId(9)))), "refused: UnknownIntent");
}

#[test]
fn what_is_claimed_or_asked_for_is_not_withdrawn() {
    for on_request in [false, true] {
        let mut scene = if on_request { Scene::on_request() } else { Scene::of(false) };
        let intent = scene.allowed(1);
        if on_request {
            scene.ask(intent);
        } else {
            scene.claim(intent).unwrap();
        }
        let withdraws = Some(true);
        let cancel = ledger::Cancel { intent, reason: None, guard: None, withdraws };
        for who in [scene.agent, scene.person] {
            let reply = scene.node.send(Some(who), Command::Cancel(cancel.clone()));
            assert_eq!(word(&reply), "refused: NotHeld");
        }
        assert_eq!(scene.phase(intent), "claimed");
    }
}

#[test]
fn when_it_was_allowed_stays_known_whatever_ends_it() {
    let mut scene = Scene::of(false);
    let at = |scene: &Scene, intent| scene.node.head(intent).allowed_at;
    let held = accepted(&scene.submit(1, 3));
    assert_eq!(at(&scene, held), None);
    scene.node.wait_ms(1_000);
    scene.node.approve(scene.person, held, None);
    let approved = Some(scene.node.now);
    assert_eq!(at(&scene, held), approved);
    let order = scene.claim(held).unwrap();
    scene.node.report_attempt(order.id, AttemptEnd::InDoubt);
    scene.node.wait_ms(1_000);
    let (succeeded, effect, reason) = (true, None, "it rang".into());
    let resolve = ledger::Resolve { intent: held, succeeded, effect, reason };
    scene.node.send(Some(scene.person), Command::Resolve(resolve));
    assert_eq!((scene.phase(held), at(&scene, held)), ("succeeded", approved));

    let expires = scene.allowed(2);
    let approved = Some(scene.node.now);
    scene.node.wait_ms(3_600_000);
    scene.node.tick();
    assert_eq!((scene.phase(expires), at(&scene, expires)), ("expired", approved));

    let again = scene.allowed(3);
    let strict = GATES.replace("require_approval_over: 2", "require_approval: always");
    scene.node.apply_policies(&[("gates.yaml", &strict)]);
    assert_eq!(scene.claim(again), Err("policy changed".into()));
    assert_eq!(at(&scene, again), None, "it waits for people again");
}

#[test]
fn without_an_executor_nothing_is_handed_to_one() {
    let mut node = Node::with_policies(&[("gates.yaml", GATES)]);
    let agent = node.register("bot", Role::Agent, None);
    node.apply_destinations(vec![http_destination("phone", false)]);
    let request = json!({"resource": "phone", "payload": {"lead": 1}});
    let intent = accepted(&node.submit(agent, &request));
    assert_eq!(word(&node.send(Some(agent), issue(intent))), "refused: NoExecutor");
    assert_eq!(word(&node.claim(LogIndex(0), intent)), "refused: EpochOver");
}
