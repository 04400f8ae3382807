//! People who let nothing more begin for a while, whatever fails meanwhile.

use std::collections::BTreeSet;
use std::time::Duration;

use checker::freezes::Freeze;
use rand::RngExt as _;
use serde_json::{Value, json};

use crate::cluster::{Cluster, Keys, NODES, TARGET};
use crate::workload::{AGAIN, now};
use crate::{clock, http};

/// What is frozen in turn.
const SCOPES: [(&str, Option<&str>); 5] = [
    ("resource", Some("phone.plain")),
    ("resource", Some("phone.*")),
    ("namespace", None),
    ("destination", Some("phone.keyed")),
    ("resource", Some("crm.*")),
];

/// How long each stands unless somebody ends it.
const STANDS_MS: u64 = 20_000;

/// One freeze after the other: asked for until it is answered, left for a while, and ended.
pub(crate) async fn ask(cluster: &Cluster, keys: &Keys) {
    let mut numbers = cluster.numbers();
    let (_, api_key) = &keys.people[0];
    let mut turn = 0_usize;
    while !cluster.is_over() {
        tokio::time::sleep(Duration::from_millis(numbers.random_range(500..5_000))).await;
        let (scope, matches) = SCOPES[turn % SCOPES.len()];
        turn += 1;
        // The same words give the same freeze, whichever node is asked how often. It ends by
        // itself: what is asked twice may be heard once more after it was ended.
        let asked_at = now();
        let until = clock::shown_ms(asked_at) + STANDS_MS;
        let body = json!({
            "scope": scope, "match": matches, "reason": format!("turn {turn}"), "until": until,
        });
        // Now and then nothing reaches the target for a while, so that calls wait for connections:
        // they are claimed, and have not started.
        let waits = numbers.random_bool(0.5);
        if waits {
            NODES.for_each(|node| turmoil::hold(format!("n{node}"), TARGET));
            tokio::time::sleep(Duration::from_millis(numbers.random_range(0..200))).await;
        }
        let made = until_told(&mut numbers, "PUT", "/v1/freezes", api_key, &body).await;
        let answered = now();
        if waits {
            tokio::time::sleep(Duration::from_millis(numbers.random_range(0..200))).await;
            NODES.for_each(|node| turmoil::release(format!("n{node}"), TARGET));
        }
        let Some(made) = made else { continue };
        let id = text(&made, "id");
        tracing::info!(scope, id, "frozen");
        tokio::time::sleep(Duration::from_millis(numbers.random_range(50..1_500))).await;
        // Log time and this one are not the same; half of it certainly has not passed.
        let end_began = now().min(asked_at + Duration::from_millis(STANDS_MS / 2));
        let running = made["running"].as_array().into_iter().flatten();
        let running: BTreeSet<_> = running.map(|call| text(call, "intent_id")).collect();
        let freeze = Freeze { id: id.clone(), answered, end_began, running };
        cluster.freezes.borrow_mut().push(freeze);
        let path = format!("/v1/freezes/{id}/unfreeze");
        until_told(&mut numbers, "POST", &path, api_key, &json!({})).await;
    }
}

/// Asks nodes until one has a definite answer; none if there is nothing to ask for any more.
async fn until_told(
    numbers: &mut impl rand::Rng,
    method: &'static str,
    path: &str,
    api_key: &str,
    body: &Value,
) -> Option<Value> {
    loop {
        let node = numbers.random_range(NODES);
        match http::send(node, method, path, api_key, None, body).await {
            Ok(answer) if matches!(answer.status, 200 | 201) => return Some(answer.body),
            // Its time is over, or the answer that it has ended was lost.
            Ok(answer) if matches!((method, answer.status), ("PUT", 400) | ("POST", 404)) => {
                return None;
            }
            Ok(answer) => {
                let is_for_later = answer.status == 429 || answer.status > 500;
                assert!(is_for_later, "{method} {path} was told {answer:?}");
            }
            Err(_) => {}
        }
        tokio::time::sleep(AGAIN).await;
    }
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_default().to_owned()
}
