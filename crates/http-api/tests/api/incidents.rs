//! The three incidents that the gate exists for, with the documents as their author gave them.

use serde_json::{Value, json};

use crate::support::Door;

const GATES: &str = include_str!("../../../../tests/fixtures/incident/gates.yaml");
const BULK: &str = include_str!("../../../../tests/fixtures/incident/bulk-overwrite.json");
const CALL: &str = include_str!("../../../../tests/fixtures/incident/duplicate-call.json");
const TEMPLATE: &str = include_str!("../../../../tests/fixtures/incident/broken-template.json");

fn intent(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[tokio::test]
async fn a_bulk_overwrite_is_held_and_the_reason_names_file_and_line() {
    let door = Door::policed(&[("gates", GATES)]).await;
    let got = door.post("/v1/intents", &door.agent, intent(BULK)).await.is(200);
    assert_eq!((got.text("status"), got.text("phase")), ("pending_approval", "held"));
    assert_eq!(got.body["record_count"], 847);
    let reason = &got.body["reasons"][0];
    assert_eq!(reason["gate"], "crm-enrichment-guard");
    assert_eq!(reason["rule"], "require_approval_over");
    assert_eq!(reason["outcome"], "hold");
    assert_eq!(reason["file"], "gates.yaml");
    let line = reason["line"].as_u64().unwrap();
    let rule = GATES.lines().nth(usize::try_from(line).unwrap() - 1).unwrap();
    assert!(rule.contains("require_approval_over: 100"), "line {line} is {rule}");
    assert!(got.text("reason_detail").contains("847"), "{}", got.body);
    assert_eq!(got.body["blockReason"], got.body["block_reason"]);
    assert_eq!(got.body["reason_detail"], reason["message"]);
}

#[tokio::test]
async fn a_second_call_is_a_409_that_names_the_first() {
    let door = Door::policed(&[("gates", GATES)]).await;
    let first = door.post("/v1/intents", &door.agent, intent(CALL)).await.is(200);
    assert_eq!(first.text("status"), "approved");
    let (_, other) = door.register("other-bot", "agent").await;
    let second = door.post("/v1/propose", &other, intent(CALL)).await.is(409);
    assert_eq!(second.text("status"), "duplicate_blocked");
    assert_eq!(second.body["intentId"], first.body["intentId"]);
    assert_eq!(second.body["proposalId"], first.body["intentId"]);
    assert_eq!(second.text("existingStatus"), "approved");
    assert_eq!(second.text("phase"), "allowed");
    assert_eq!(second.text("gate"), "outbound-call-dedup");
    assert_eq!(second.text("rule"), "idempotency_key");
    assert!(second.text("windowEndsAt").ends_with('Z'), "{}", second.body);
    assert!(!second.text("blockReason").is_empty());

    door.log.advance_ms(300_001);
    let later = door.post("/v1/intents", &door.agent, intent(CALL)).await.is(200);
    assert_ne!(later.body["intentId"], first.body["intentId"]);
}

#[tokio::test]
async fn a_broken_template_is_held_with_every_hit_counted() {
    let door = Door::policed(&[("gates", GATES)]).await;
    let got = door.post("/v1/intents", &door.agent, intent(TEMPLATE)).await.is(200);
    assert_eq!(got.text("phase"), "held");
    let reason = &got.body["reasons"][0];
    assert_eq!(reason["rule"], "require_approval_if_template_error");
    assert_eq!(reason["hits_total"], 104);
    assert_eq!(reason["hits"].as_array().unwrap().len(), 100);
    assert_eq!(reason["hits"][0]["path"], "$.messages[0].body");
    assert!(reason["hits"][0]["excerpt"].as_str().unwrap().contains("{{customer_name}}"));
    assert_eq!(got.text("reason_code"), "require_approval_if_template_error");

    let path = format!("/v1/intents/{}", got.text("intentId"));
    for path in [path.clone(), format!("{path}/decision")] {
        let read = door.get(&path, &door.reviewer).await.is(200);
        assert_eq!(read.body["reasons"], got.body["reasons"], "{path}");
        assert_eq!(read.body["block_reason"], got.body["block_reason"], "{path}");
    }
    let sent = intent(TEMPLATE);
    let read = door.get(&path, &door.reviewer).await;
    assert_eq!(read.body["payload"], sent["payload"]);
    assert_eq!(read.body["trigger"], json!("send"));
}
