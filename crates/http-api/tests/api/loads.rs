//! Large bodies: what they may cost, and who is not kept waiting by them.

use std::pin::pin;

use axum::body::Body;
use axum::http::Request;
use futures::future::{Either, join_all, select};
use gate::beside::places;
use serde_json::{Value, json};
use types::limits::{HITS_MAX, INLINE_BYTES_MAX, LARGE_BODIES_BYTES_MAX};

use crate::support::{BASIC, Door, Got, basic, bearer};

/// The seed's gate for mails, with the template rule.
const MAIL: &str = "\
gates:
  - name: email-template-guard
    trigger: send
    resource: email.batch
    policies:
      - require_approval_if_template_error: { patterns: [\"{{*}}\", \"{%*%}\"] }
";

fn mail(payload: &Value) -> Value {
    json!({ "resource": "email.batch", "trigger": "send", "payload": payload })
}

/// One thread serves the node here. Whenever the large request is about to do work on its body all
/// places for such work are taken: it waits, and everybody else is answered.
#[tokio::test]
async fn a_node_answers_others_at_every_step_of_a_large_submit() {
    let door = Door::policed(&[("basic", BASIC)]).await;
    let take_all = || join_all((0..places()).map(|_| door.gate.beside().place()));
    let mut held = take_all().await;
    let mut body = basic(5);
    body["payload"] = json!("hello ".repeat(INLINE_BYTES_MAX));
    let mut large = pin!(door.post_once("/v1/intents", &door.agent, "k", &body));
    // The body is parsed, its fields are read, and it is judged: nothing comes after that.
    for step in ["parsed", "read", "judged"] {
        assert!(futures::poll!(&mut large).is_pending(), "{step}");
        door.get("/livez", "").await.is(200);
        door.post("/v1/intents", &door.agent, basic(5)).await.is(200);
        assert!(futures::poll!(&mut large).is_pending(), "{step}");
        if step == "judged" {
            break;
        }
        // Who asks for a place first gets it first: the large request, then this test again.
        let mut next = pin!(take_all());
        assert!(futures::poll!(&mut next).is_pending());
        drop(held);
        held = match select(&mut large, next).await {
            Either::Right((taken, _)) => taken,
            Either::Left((got, _)) => panic!("not beside when {step}: {}", got.body),
        };
    }
    drop(held);
    let got = large.await.is(200);
    assert_eq!(got.text("phase"), "allowed");
}

#[tokio::test]
async fn large_bodies_have_so_much_room_and_small_ones_their_own() {
    let door = Door::policed(&[("basic", BASIC)]).await;
    let held = join_all((0..places()).map(|_| door.gate.beside().place())).await;
    let length = LARGE_BODIES_BYTES_MAX / 4;
    // It names no destination, so it ends when it is read.
    let text = format!("{{\"payload\":\"{}\"}}", "x".repeat(length - 20));
    let send = |declared: bool| {
        let request = bearer(Request::post("/v1/intents"), &door.agent);
        let request = if declared { request.header("Content-Length", text.len()) } else { request };
        door.send(request.body(Body::from(text.clone())))
    };
    let mut waiting: Vec<_> = (0..4).map(|_| Box::pin(send(false))).collect();
    for large in &mut waiting {
        assert!(futures::poll!(large).is_pending());
    }
    for declared in [true, false] {
        let got = send(declared).await.is(503);
        assert_eq!((got.text("error"), got.text("outcome")), ("overloaded", "none"));
        assert!(!got.header("retry-after").is_empty());
    }
    door.post("/v1/intents", &door.agent, basic(5)).await.is(200);
    drop(held);
    for got in join_all(waiting).await {
        assert_eq!(got.is(400).text("error"), "destination and policy are required");
    }
    send(true).await.is(400);
}

/// The answer, the stored reasons and the log line of a request are in proportion to the request.
#[tokio::test]
async fn a_small_request_gets_no_large_answer() {
    let door = Door::policed(&[("gates", MAIL)]).await;
    let nested = |depth: usize, key: &str| {
        (0..depth).fold(json!(vec!["{{a}}"; HITS_MAX]), |inside, _| json!({ key: inside }))
    };
    let size = |got: &Got| got.body.to_string().len();
    for key in ["k".repeat(4_096), "é".repeat(2_048), "\u{1}".repeat(4_096)] {
        let got = door.post("/v1/intents", &door.agent, mail(&nested(60, &key))).await.is(200);
        assert_eq!(got.text("phase"), "held");
        let hits = got.body["reasons"][0]["hits"].as_array().expect("hits");
        assert_eq!(hits.len(), HITS_MAX);
        for hit in hits {
            let path = hit["path"].as_str().expect("a path");
            assert!(path.starts_with("$[\"") && path.contains('…') && path.len() <= 256, "{path}");
        }
        assert!(size(&got) < 100_000, "{}", size(&got));
        let path = format!("/v1/intents/{}/decision", got.text("intentId"));
        assert!(size(&door.get(&path, &door.agent).await.is(200)) < 100_000);
    }
    let got = door.post("/v1/intents", &door.agent, mail(&nested(1, &"k".repeat(4_097)))).await;
    let got = got.is(400);
    assert_eq!(got.text("field"), "$.payload");
    assert!(got.text("message").contains("a key is longer than 4096 bytes"), "{}", got.body);
    let many = format!("{{\"payload\":[{}1]}}", "1,".repeat(1_000_000));
    let request = bearer(Request::post("/v1/intents"), &door.agent).body(Body::from(many));
    let got = door.send(request).await.is(400);
    assert!(got.text("message").contains("more than 1000000 values"), "{}", got.body);
    let deep = format!("{{\"payload\":{}", "[".repeat(100));
    let request = bearer(Request::post("/v1/intents"), &door.agent).body(Body::from(deep));
    let got = door.send(request).await.is(400);
    assert!(size(&got) < 600, "{}", got.body);
}
