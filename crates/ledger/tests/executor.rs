//! The executor's claims: committed before a call, of one epoch, repeated only where the promise
//! allows it, and never of what people have not seen.

#![cfg(test)]

mod support;

use ledger::{AttemptEnd, Command, OrderStatus, Refusal, Reply, query};
use serde_json::json;
use support::phone::{Scene, issue_with};
use support::{NS, Node, accepted, http_destination, word};
use types::limits::{EXECUTOR_ATTEMPTS_MAX, ORDER_MS, TAKE_OVER_ROWS_MAX};
use types::*;

#[test]
fn what_is_allowed_is_claimed_once_and_ends_as_reported() {
    #[rustfmt::skip]
    let cases = [
        (AttemptEnd::Succeeded,               "succeeded", None),
        (AttemptEnd::Failed(Effect::None),    "failed",    Some(Effect::None)),
        (AttemptEnd::Failed(Effect::Unknown), "failed",    Some(Effect::Unknown)),
        (AttemptEnd::InDoubt,                 "in_doubt",  None),
    ];
    for (ended, phase, effect) in cases {
        let mut scene = Scene::of(false);
        let intent = scene.allowed(1);
        assert_eq!(scene.runnable(), [intent]);
        let order = scene.claim(intent).unwrap();
        assert_eq!(scene.phase(intent), "claimed");
        assert_eq!((scene.runnable(), scene.open_claims()), (vec![], 1));
        assert_eq!(scene.claim(intent), Err("refused: NotAllowed".into()), "only once");
        scene.node.report_attempt(order.id, ended);
        assert_eq!(scene.phase(intent), phase);
        assert_eq!(scene.node.head(intent).effect, effect);
        assert_eq!((scene.runnable(), scene.open_claims()), (vec![], 0), "{phase}");
        let fences = order.fence.0 > scene.epoch.0;
        assert!(fences, "the fence is the index of the claim, behind the epoch's");
    }
}

#[test]
fn a_claim_that_called_nobody_is_given_back_unless_an_earlier_one_did() {
    let mut scene = Scene::of(true);
    let intent = scene.allowed(1);
    let order = scene.claim(intent).unwrap();
    scene.node.report_attempt(order.id, AttemptEnd::NotStarted);
    assert_eq!((scene.phase(intent), scene.runnable()), ("allowed", vec![intent]));
    assert_eq!(scene.open_claims(), 0);
    let stored = query::order(&scene.node.state, NS, order.id).unwrap().unwrap();
    assert_eq!(stored.status, OrderStatus::GivenBack);
    assert_eq!(word(&scene.submit(1, 1)), "duplicate", "it will still run");
    let order = scene.claim(intent).unwrap();
    assert_eq!(order.attempt, 1, "what called nobody is no attempt");
    scene.node.report_attempt(order.id, AttemptEnd::InDoubt);
    let order = scene.claim(intent).unwrap();
    scene.node.report_attempt(order.id, AttemptEnd::NotStarted);
    assert_eq!((scene.phase(intent), scene.runnable()), ("in_doubt", vec![intent]));
}

#[test]
fn no_later_attempt_proves_that_an_earlier_one_did_nothing() {
    #[rustfmt::skip]
    let cases = [
        // the later attempt,                 the intent is then
        (AttemptEnd::Failed(Effect::None),    "in_doubt"),
        (AttemptEnd::Failed(Effect::Partial), "in_doubt"),
        (AttemptEnd::Failed(Effect::Unknown), "failed"),
        (AttemptEnd::NotStarted,              "in_doubt"),
        (AttemptEnd::InDoubt,                 "in_doubt"),
        (AttemptEnd::Succeeded,               "succeeded"),
    ];
    for (later, phase) in cases {
        for taken_over in [false, true] {
            let mut scene = Scene::of(true);
            let intent = scene.allowed(1);
            let first = scene.claim(intent).unwrap();
            scene.node.report_attempt(first.id, AttemptEnd::InDoubt);
            let second = scene.claim(intent).unwrap();
            if taken_over {
                scene.epoch = scene.node.take_over();
            }
            scene.node.report_attempt(second.id, later);
            let shown = format!("{later:?}, taken over: {taken_over}");
            assert_eq!(scene.phase(intent), phase, "{shown}");
            assert_eq!(scene.open_claims(), 0, "{shown}");
            assert_eq!(word(&scene.submit(1, 1)), "duplicate", "{shown}");
            if phase == "in_doubt" {
                assert_eq!(scene.runnable(), [intent], "the promise allows another try: {shown}");
                let resolve = ledger::Resolve {
                    intent,
                    succeeded: false,
                    effect: Some(Effect::None),
                    reason: "the line's own list shows no call".into(),
                };
                scene.node.send(Some(scene.person), Command::Resolve(resolve));
                assert_eq!(word(&scene.submit(1, 1)), "allowed", "a person knows: {shown}");
            }
        }
    }
}

#[test]
fn an_only_attempt_that_did_nothing_ends_the_doubt_about_itself() {
    let mut scene = Scene::of(true);
    let intent = scene.allowed(1);
    let order = scene.claim(intent).unwrap();
    scene.epoch = scene.node.take_over();
    assert_eq!(scene.phase(intent), "in_doubt");
    scene.node.report_attempt(order.id, AttemptEnd::Failed(Effect::None));
    assert_eq!(scene.phase(intent), "failed");
    assert_eq!(word(&scene.submit(1, 1)), "allowed");
}

#[test]
fn the_window_stays_open_while_a_connector_will_run_it() {
    let mut scene = Scene::of(false);
    let intent = scene.allowed(7);
    scene.node.wait_ms(120_000);
    scene.node.tick();
    assert_eq!(word(&scene.submit(7, 1)), "duplicate", "allowed, and about to be run");
    let order = scene.claim(intent).unwrap();
    scene.node.report_attempt(order.id, AttemptEnd::Succeeded);
    assert_eq!(word(&scene.submit(7, 1)), "duplicate", "the span runs from the claim");
    scene.node.wait_ms(60_000);
    assert_eq!(word(&scene.submit(7, 1)), "allowed");
}

#[test]
fn another_executor_finds_a_doubt_where_a_claim_was_open() {
    for honours in [false, true] {
        let mut scene = Scene::of(honours);
        let intent = scene.allowed(1);
        let order = scene.claim(intent).unwrap();
        let old = scene.epoch;
        scene.epoch = scene.node.take_over();
        assert_eq!(scene.phase(intent), "in_doubt");
        let stored = query::order(&scene.node.state, NS, order.id).unwrap().unwrap();
        assert_eq!(stored.status, OrderStatus::InDoubt);
        // The one before it may still tell what it knows, and claim nothing any more.
        let other = scene.allowed(2);
        let late = scene.node.claim(old, other);
        assert_eq!(word(&late), "refused: EpochOver");
        if honours {
            assert_eq!(scene.runnable(), [intent, other]);
            let again = scene.claim(intent).unwrap();
            assert_eq!((again.attempt, again.fence > order.fence), (2, true));
            let late = scene.node.report_attempt(order.id, AttemptEnd::Failed(Effect::None));
            assert_eq!(word(&late), "refused: NotAllowed", "a newer attempt runs");
            scene.node.report_attempt(again.id, AttemptEnd::Succeeded);
        } else {
            assert_eq!(scene.runnable(), [other]);
            scene.node.report_attempt(order.id, AttemptEnd::Succeeded);
        }
        assert_eq!(scene.phase(intent), "succeeded");
    }
}

#[test]
fn what_is_runnable_is_read_piece_by_piece() {
    let mut scene = Scene::of(false);
    let all: Vec<IntentId> = (0..5).map(|lead| scene.allowed(lead)).collect();
    for size in 1..=6 {
        let (mut read, mut after) = (Vec::new(), None);
        loop {
            let piece = query::runnable(&scene.node.state, after, size).unwrap();
            read.extend(piece.iter().map(|(_, intent)| *intent));
            after = piece.last().copied();
            if piece.len() < size {
                break;
            }
        }
        assert_eq!(read, all, "in pieces of {size}");
    }
}

#[test]
fn a_take_over_ends_however_many_orders_are_asked_for_meanwhile() {
    let mut scene = Scene::of(false);
    let taking_over = |scene: &mut Scene, epoch| {
        let command = Command::TakeOver(ledger::TakeOver { node: NodeId(1), epoch });
        match scene.node.send(None, command) {
            Reply::TookOver { epoch, more } => (epoch, more),
            other => panic!("no epoch: {other:?}"),
        }
    };
    let (epoch, _) = taking_over(&mut scene, None);
    let mut waiting = Vec::new();
    for lead in 0..=TAKE_OVER_ROWS_MAX as u64 {
        let intent = scene.allowed(lead);
        waiting.push(scene.ask(intent).id);
    }
    assert_eq!(taking_over(&mut scene, Some(epoch)), (epoch, false));
    scene.epoch = epoch;
    for lead in 0..=TAKE_OVER_ROWS_MAX as u64 {
        let intent = scene.allowed(1_000_000 + lead);
        scene.claim(intent).unwrap();
    }
    let (newer, more) = taking_over(&mut scene, None);
    assert!(more, "these are an older one's now, and one command is not enough");
    assert_eq!((taking_over(&mut scene, Some(newer)), scene.open_claims()), ((newer, false), 0));
    assert_eq!(scene.waiting(), waiting, "what nobody began waits for whoever runs");
}

#[test]
fn an_order_that_waited_before_it_was_begun_is_doubted_once() {
    let mut scene = Scene::of(false);
    let intent = scene.allowed(1);
    let asked = scene.ask(intent);
    scene.node.wait_ms(1_000);
    let begun = scene.node.claim_as(scene.epoch, intent, asked.id);
    let Reply::Claimed(begun, _) = begun else { panic!("{begun:?}") };
    assert_ne!(begun.expires_at, asked.expires_at, "it was due at two times");
    // Nobody looked at the schedule until both had passed.
    scene.node.wait_ms(24 * 3_600_000);
    while scene.node.tick() != (Reply::Ticked { more: false }) {}
    assert_eq!(scene.phase(intent), "in_doubt");
    let kinds = scene.node.kinds(intent);
    assert_eq!(kinds.iter().filter(|kind| **kind == "execution_in_doubt").count(), 1, "{kinds:?}");
    let counts = query::phase_counts(&scene.node.state, NS).unwrap();
    assert!(counts.contains(&(Phase::InDoubt, 1)), "{counts:?}");
}

#[test]
fn a_call_is_made_again_only_so_often_and_only_as_the_same_document_says() {
    let mut scene = Scene::of(true);
    let intent = scene.allowed(1);
    for attempt in 1..=EXECUTOR_ATTEMPTS_MAX {
        let order = scene.claim(intent).unwrap();
        assert_eq!(order.attempt, attempt);
        scene.node.report_attempt(order.id, AttemptEnd::InDoubt);
    }
    assert!(scene.runnable().is_empty());
    assert_eq!(scene.claim(intent), Err("refused: NotAllowed".into()));
    assert_eq!(scene.phase(intent), "in_doubt");

    let other = scene.allowed(2);
    let order = scene.claim(other).unwrap();
    scene.node.report_attempt(order.id, AttemptEnd::InDoubt);
    let mut changed = http_destination("phone", true);
    changed.digest = Digest::of(b"another document");
    scene.node.apply_destinations(vec![changed]);
    assert_eq!(scene.claim(other), Err("refused: NotAllowed".into()));
    assert!(scene.runnable().is_empty(), "it is left to people");
    assert_eq!(scene.phase(other), "in_doubt");
}

#[test]
fn what_a_person_approved_is_not_run_by_another_document() {
    let mut scene = Scene::of(false);
    let intent = accepted(&scene.submit(1, 3));
    assert_eq!(scene.phase(intent), "held");
    assert!(scene.runnable().is_empty());
    let seen = scene.node.head(intent).approval.digest;
    assert_eq!(word(&scene.node.approve(scene.person, intent, Some(seen))), "approved");
    assert_eq!(scene.runnable(), [intent]);
    let mut changed = http_destination("phone", false);
    changed.digest = Digest::of(b"another address");
    scene.node.apply_destinations(vec![changed]);
    assert_eq!(scene.claim(intent), Err("policy changed".into()));
    assert_eq!(scene.phase(intent), "held");
    assert!(scene.runnable().is_empty());
    let reply = scene.node.approve(scene.person, intent, Some(seen));
    assert_eq!(word(&reply), "refused: DigestMismatch");
    let now = scene.node.head(intent).approval.digest;
    assert_eq!(word(&scene.node.approve(scene.person, intent, Some(now))), "approved");
    assert!(scene.claim(intent).is_ok());
}

#[test]
fn a_vote_on_a_held_intent_meets_the_document_that_stands_now() {
    let mut scene = Scene::of(false);
    let intent = accepted(&scene.submit(1, 3));
    let mut changed = http_destination("phone", false);
    changed.digest = Digest::of(b"another address");
    scene.node.apply_destinations(vec![changed, http_destination("mail", false)]);
    let seen = scene.node.head(intent).approval.digest;
    assert_eq!(word(&scene.node.approve(scene.person, intent, Some(seen))), "policy changed");
    // A document of another resource is nothing to it.
    let mut changed = http_destination("phone", false);
    changed.digest = Digest::of(b"another address");
    scene.node.apply_destinations(vec![changed]);
    let now = scene.node.head(intent).approval.digest;
    assert_eq!(word(&scene.node.approve(scene.person, intent, Some(now))), "approved");
}

#[test]
fn what_no_connector_serves_any_more_is_left_to_people() {
    let mut scene = Scene::of(false);
    let intent = scene.allowed(1);
    scene.node.apply_destinations(vec![]);
    assert_eq!(scene.claim(intent), Err("refused: NotAllowed".into()));
    assert_eq!((scene.phase(intent), scene.runnable()), ("allowed", vec![]));
    let facts = scene.node.facts_of(intent);
    let order = scene.node.send(Some(scene.agent), issue_with(intent, Some(facts)));
    let Reply::Order(order) = order else { panic!("{order:?}") };
    assert_eq!((order.mode.as_str(), order.executor), ("runner_exec", None));
}

#[test]
fn expired_is_expired_and_denied_is_denied() {
    let mut scene = Scene::of(true);
    let intent = scene.allowed(1);
    scene.node.wait_ms(3_600_000);
    assert_eq!(scene.claim(intent), Err("refused: Expired".into()));
    assert_eq!((scene.phase(intent), scene.runnable()), ("expired", vec![]));

    let doubtful = scene.allowed(2);
    let order = scene.claim(doubtful).unwrap();
    scene.node.report_attempt(order.id, AttemptEnd::InDoubt);
    scene.node.wait_ms(3_600_000);
    assert_eq!(scene.claim(doubtful), Err("refused: NotAllowed".into()));
    assert!(scene.runnable().is_empty(), "its time is over: no more calls");

    let held = accepted(&scene.submit(3, 3));
    assert_eq!(scene.claim(held), Err("refused: NotAllowed".into()));
    scene.node.reject(scene.person, held);
    assert_eq!(scene.claim(held), Err("refused: NotAllowed".into()));
}

#[test]
fn a_claim_that_nobody_reports_is_in_doubt_in_the_end() {
    let mut scene = Scene::of(false);
    let intent = scene.allowed(1);
    scene.claim(intent).unwrap();
    scene.node.wait_ms(ORDER_MS);
    scene.node.tick();
    assert_eq!((scene.phase(intent), scene.open_claims()), ("in_doubt", 0));
}

#[test]
fn a_declared_environment_needs_facts_of_the_same_destinations() {
    let mut scene = Scene::of(false);
    let request = json!({"resource": "phone", "payload": {"lead": 1}});
    let submit = scene.node.submission(&request);
    let mut declared = http_destination("phone", false);
    declared.environment = Some("production".into());
    declared.digest = Digest::of(b"production");
    scene.node.apply_destinations(vec![declared]);
    let reply = scene.node.send(Some(scene.agent), Command::Submit(Box::new(submit)));
    assert!(matches!(reply, Reply::FactsNeeded { .. }), "{reply:?}");
}

#[test]
fn a_version_comes_into_force_once_and_only_where_it_was_expected() {
    let mut node = Node::new();
    let set = vec![http_destination("phone", false)];
    let version = |reply: Reply| match reply {
        Reply::Policies { version, changed, .. } => (version, changed),
        other => panic!("{other:?}"),
    };
    assert_eq!(version(node.apply_destinations(set.clone())), (1, true));
    assert_eq!(version(node.apply_destinations(set.clone())), (1, false));
    assert_eq!(version(node.apply_destinations(vec![])), (2, true));
    let stale = ledger::ApplyDestinations { if_version: Some(1), destinations: set.clone() };
    let reply = node.send(Some(support::ADMIN), Command::ApplyDestinations(Box::new(stale)));
    assert!(matches!(reply, Reply::Refused(Refusal::VersionMismatch { current: 2 })), "{reply:?}");
    let agent = node.register("bot", Role::Agent, None);
    let apply = ledger::ApplyDestinations { if_version: None, destinations: set };
    let reply = node.send(Some(agent), Command::ApplyDestinations(Box::new(apply)));
    assert_eq!(word(&reply), "refused: Role");
}
