//! People who let nothing more begin for a while, whatever fails meanwhile.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use checker::freezes::Freeze;
use client::{Error, Request};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::now;
use crate::support::DEADLINE;
use crate::work::{AGAIN, Doors, Work, is_for_later};

/// What is frozen in turn.
const SCOPES: [(&str, Option<&str>); 5] = [
    ("resource", Some("phone.plain")),
    ("resource", Some("phone.*")),
    ("namespace", None),
    ("destination", Some("phone.keyed")),
    ("resource", Some("crm.*")),
];
/// How long each stands unless somebody ends it: what is asked twice may be heard once more after
/// it was ended.
const STANDS: Duration = Duration::from_secs(120);

impl Work {
    /// One freeze after the other: asked for until it is answered, left for a while, and ended.
    pub(crate) async fn freeze(&self) {
        let mut doors = Doors::of(self, &self.keys().reviewers[0].1);
        let mut turn = 0_usize;
        while !self.is_over() {
            sleep(Duration::from_millis(rand::random_range(500..5_000))).await;
            let (scope, matches) = SCOPES[turn % SCOPES.len()];
            turn += 1;
            let (asked_at, until) = (now(), jiff::Timestamp::now() + STANDS);
            let body = json!({
                "scope": scope, "match": matches, "reason": format!("turn {turn}"),
                "until": until.to_string(),
            });
            let request = Request::put(&["v1", "freezes"], &body);
            let Some(made) = until_told(&mut doors, &request).await else { continue };
            let answered = now();
            let id = made["id"].as_str().expect("an id").to_owned();
            sleep(Duration::from_millis(rand::random_range(50..1_000))).await;
            // By the clocks of the nodes half of its time has certainly not passed.
            let end_began = now().min(asked_at + STANDS / 2);
            let running: BTreeSet<_> = made["running"]
                .as_array()
                .expect("a list")
                .iter()
                .map(|call| call["intent_id"].as_str().expect("an id").to_owned())
                .collect();
            let freeze = Freeze { id: id.clone(), answered, end_began, running };
            self.with_record(|record| record.freezes.push(freeze));
            let request = Request::post(&["v1", "freezes", &id, "unfreeze"], &json!({}));
            until_told(&mut doors, &request).await;
        }
    }
}

/// Asks until there is a definite answer; none if there is nothing to ask for any more.
async fn until_told(doors: &mut Doors, request: &Request) -> Option<Value> {
    let ends = Instant::now() + DEADLINE;
    loop {
        match doors.any().send(request.clone()).await {
            Ok(answer) => return Some(answer.body),
            // Its time is over, or the answer that it has ended was lost.
            Err(Error::Refused(refusal)) if matches!(refusal.status, 400 | 404) => return None,
            Err(Error::Refused(refusal)) if !is_for_later(refusal.status) => {
                panic!("violation: {request:?}: {refusal}");
            }
            Err(_) => {}
        }
        assert!(Instant::now() < ends, "violation: {request:?} has no answer");
        sleep(AGAIN).await;
    }
}
