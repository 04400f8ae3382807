//! Batches as they go on: which line leaves when, what is sent again, who holds what meanwhile.

use std::pin::{Pin, pin};
use std::sync::atomic::Ordering;

use axum::response::Response;
use futures::future::join_all;
use futures::{StreamExt, poll};
use gate::beside::{Place, places};
use serde_json::{Value, json};

use crate::batch::{begin, lines_of, ndjson, parsed, send};
use crate::metrics::scrape;
use crate::support::{BASIC, Door, basic};

/// Lets everything go on that can go on now.
async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

async fn until_waiting(door: &Door, commands: usize) {
    while door.log.waiting() < commands {
        tokio::task::yield_now().await;
    }
    settle().await;
    assert_eq!(door.log.waiting(), commands);
}

async fn all_places(door: &Door) -> Vec<Place> {
    join_all((0..places()).map(|_| door.gate.beside().place())).await
}

fn many(count: usize) -> String {
    ndjson(&vec![basic(5); count])
}

/// Takes the turn of work beside that comes after the one that waits.
async fn next_turn(door: &Door, held: Vec<Place>) -> Vec<Place> {
    let mut next = pin!(all_places(door));
    assert!(poll!(&mut next).is_pending());
    drop(held);
    next.await
}

#[tokio::test]
async fn a_line_leaves_once_it_is_applied_and_all_before_it_have_left() {
    let door = Door::policed(&[("basic", BASIC)]).await;
    door.log.keep_waiting();
    let items = [basic(5), json!({}), basic(500), basic(5)];
    let response = begin(&door, &door.agent, ndjson(&items)).await;
    assert_eq!(response.status(), 200);
    let mut body = response.into_body().into_data_stream();
    until_waiting(&door, 3).await;
    assert!(poll!(body.next()).is_pending(), "nothing is durable");
    door.log.let_one_go(1);
    settle().await;
    assert!(poll!(body.next()).is_pending(), "the third line waits for the first");
    door.log.let_one_go(0);
    settle().await;
    let chunk = body.next().await.expect("lines").expect("no error");
    let lines = parsed(&chunk);
    assert_eq!(lines.len(), 3, "and the bad one between them");
    assert_eq!((&lines[1]["status"], &lines[2]["phase"]), (&json!(400), &json!("held")));
    assert!(poll!(body.next()).is_pending());
    door.log.let_one_go(0);
    settle().await;
    let chunk = body.next().await.expect("lines").expect("no error");
    assert_eq!(parsed(&chunk).len(), 1);
    assert!(body.next().await.is_none());
}

/// Polls until so many commands wait.
async fn until_queued<F: Future>(door: &Door, mut asking: Pin<&mut F>, commands: usize) {
    while door.log.waiting() < commands {
        assert!(poll!(&mut asking).is_pending());
        tokio::task::yield_now().await;
    }
}

fn stricter() -> Value {
    let strict = BASIC.replace("auto_approve_under: 10", "auto_approve_under: 2");
    json!({ "policies": { "basic": strict } })
}

/// Facts that were made for the policies before are made again, all in one round and in order.
#[tokio::test]
async fn a_policy_that_changes_meanwhile_judges_what_comes_after_it() {
    let door = Door::policed(&[("basic", BASIC)]).await;
    door.log.keep_waiting();
    let mut changing = pin!(door.put("/v1/policies", &door.admin, stricter()));
    until_queued(&door, changing.as_mut(), 1).await;
    let mut keyed = basic(5);
    keyed["idempotency_key"] = json!("once");
    let items = [basic(1), keyed.clone(), json!({}), keyed];
    let response = begin(&door, &door.agent, ndjson(&items)).await;
    until_waiting(&door, 4).await;
    door.log.let_go(4);
    until_waiting(&door, 3).await;
    door.log.keep_no_longer();
    changing.await.is(200);
    let lines = lines_of(response).await;
    let told: Vec<_> = lines.iter().map(|line| (&line["status"], &line["phase"])).collect();
    let (ok, held) = (json!(200), json!("held"));
    assert_eq!(told[0], (&ok, &json!("allowed")));
    assert_eq!(told[1], (&ok, &held), "by the new policy");
    assert_eq!(told[2], (&json!(400), &Value::Null));
    assert_eq!(told[3], (&json!(409), &held), "still after the line that it repeats");
    assert_eq!(lines[0]["policy_version"], 2);
}

/// Between two pieces others are answered. What was judged before a policy changed stays; what was
/// not is made again, after all others have their answer.
#[tokio::test]
async fn pieces_are_made_one_by_one_beside() {
    let door = Door::policed(&[("basic", BASIC)]).await;
    let held = all_places(&door).await;
    let before = door.log.applied();
    let response = begin(&door, &door.agent, many(70)).await;
    settle().await;
    assert_eq!(door.log.applied(), before, "all places are taken, so nothing is made ready");
    door.post("/v1/intents", &door.agent, basic(5)).await.is(200);
    let held = next_turn(&door, held).await;
    settle().await;
    assert_eq!(door.log.applied(), before + 1 + 64);
    door.log.keep_waiting();
    drop(held);
    until_waiting(&door, 6).await;
    let mut changing = pin!(door.put("/v1/policies", &door.admin, stricter()));
    until_queued(&door, changing.as_mut(), 7).await;
    door.log.let_go(2);
    door.log.let_one_go(4);
    door.log.keep_no_longer();
    changing.await.is(200);
    let lines = lines_of(response).await;
    let phases: Vec<_> = lines.iter().map(|line| line["phase"].as_str().unwrap_or("")).collect();
    assert_eq!(phases, [vec!["allowed"; 66], vec!["held"; 4]].concat());
    let again = r#"gate_commands_total{command="submit",outcome="again"}"#;
    assert_eq!(scrape(&door).await.value(again), 4.0);
}

#[tokio::test]
async fn policies_that_never_rest_are_told_line_by_line() {
    let door = Door::policed(&[("basic", BASIC)]).await;
    door.log.keep_waiting();
    let mut changing = pin!(door.put("/v1/policies", &door.admin, stricter()));
    until_queued(&door, changing.as_mut(), 1).await;
    // What this node shows stays old, so that no facts that it makes are good.
    door.log.fall_behind();
    door.log.keep_no_longer();
    let lines = send(&door, many(2)).await;
    let told: Vec<_> = lines.iter().map(|line| (&line["status"], &line["error"])).collect();
    assert_eq!(told, [(&json!(503), &json!("policy_moving")); 2], "{lines:?}");
    assert_eq!((&lines[1]["outcome"], &lines[1]["line"]), (&json!("none"), &json!(2)));
    let again = r#"gate_commands_total{command="submit",outcome="again"}"#;
    assert_eq!(scrape(&door).await.value(again), 16.0);
}

/// A caller who reads nothing holds neither room nor places: answers wait in the batch alone.
#[tokio::test]
async fn a_caller_who_reads_slowly_keeps_nobody_waiting() {
    let door = Door::policed(&[("basic", BASIC)]).await;
    let before = door.log.applied();
    let mut unread: Vec<Response> = Vec::new();
    for batches in 1..=5 {
        unread.push(begin(&door, &door.agent, many(1_000)).await);
        while door.log.applied() < before + 1_000 * batches {
            tokio::task::yield_now().await;
        }
        settle().await;
    }
    for response in unread {
        assert_eq!(lines_of(response).await.len(), 1_000);
    }
}

#[tokio::test]
async fn every_line_counts_as_a_request_in_flight() {
    let door = Door::policed(&[("basic", BASIC)]).await;
    door.log.keep_waiting();
    let mut open = Vec::new();
    for batches in 1..=4 {
        open.push(begin(&door, &door.agent, many(1_000)).await);
        until_waiting(&door, 1_000 * batches).await;
    }
    let got = begin(&door, &door.agent, many(97)).await;
    assert_eq!((got.status().as_u16(), got.headers()["retry-after"].as_bytes()), (429, &b"1"[..]));
    assert_eq!(door.log.waiting(), 4_000, "nothing of it was submitted");
    open.push(begin(&door, &door.agent, many(96)).await);
    until_waiting(&door, 4_096).await;
    assert_eq!(begin(&door, &door.agent, many(1)).await.status(), 429);
    door.log.keep_no_longer();
    for response in open {
        assert!(lines_of(response).await.iter().all(|line| line["status"] == 200));
    }
    assert_eq!(send(&door, many(1_000)).await.len(), 1_000, "places come back");
}

#[tokio::test]
async fn what_is_not_queued_when_the_caller_leaves_is_not_submitted() {
    let door = Door::policed(&[("basic", BASIC)]).await;
    door.log.keep_waiting();
    let held = all_places(&door).await;
    let response = begin(&door, &door.agent, many(200)).await;
    settle().await;
    let held = next_turn(&door, held).await;
    until_waiting(&door, 64).await;
    drop(response);
    drop(held);
    settle().await;
    assert_eq!(door.log.waiting(), 64);
    door.log.keep_no_longer();
    // Places and room are free again: all places of the key, to the last.
    for _ in 0..4 {
        assert_eq!(send(&door, many(1_000)).await.len(), 1_000);
    }
    let found = scrape(&door).await;
    let route = r#"route="/v1/intents/batch",method="POST""#;
    assert_eq!(found.value(&format!(r#"gate_http_requests_total{{{route},status="gone"}}"#)), 1.0);
    assert_eq!(found.value(&format!(r#"gate_http_requests_total{{{route},status="2xx"}}"#)), 4.0);
}

#[tokio::test]
async fn commands_are_counted_by_item_and_the_request_to_its_last_line() {
    let door = Door::policed(&[("basic", BASIC)]).await;
    door.log.keep_waiting();
    let response = begin(&door, &door.agent, ndjson(&[basic(5), json!({}), basic(500)])).await;
    until_waiting(&door, 2).await;
    let in_flight = "gate_http_requests_in_flight";
    assert_eq!(scrape(&door).await.value(in_flight), 1.0);
    door.log.keep_no_longer();
    assert_eq!(lines_of(response).await.len(), 3);
    let found = scrape(&door).await;
    assert_eq!(found.value(in_flight), 0.0);
    let done = r#"gate_commands_total{command="submit",outcome="done"}"#;
    assert_eq!(found.value(done), 2.0);
    let seconds = r#"gate_http_request_seconds_count{route="/v1/intents/batch",method="POST"}"#;
    assert_eq!(found.value(seconds), 1.0);
}

/// An answer that is cut off must not look like a whole one.
#[tokio::test]
async fn a_batch_that_breaks_off_ends_with_an_error() {
    let door = Door::policed(&[("basic", BASIC)]).await;
    door.log.broken.store(true, Ordering::SeqCst);
    let response = begin(&door, &door.agent, many(2)).await;
    let mut body = response.into_body().into_data_stream();
    assert!(body.next().await.expect("an end").is_err());
    assert!(body.next().await.is_none());
}
