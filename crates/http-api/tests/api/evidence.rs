//! Evidence over HTTP: what a decision was about, signed, and shown wherever it is asked for.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use types::Digest;

use crate::support::{BASIC, Door, basic};

const TWO: &str = "destinations: [crm.import]\nauto_approve_under: 10\nrequire_approvals: 2\n";

async fn door() -> Door {
    Door::policed(&[("basic", BASIC), ("two", TWO)]).await
}

/// HMAC-SHA-256 as RFC 2104 writes it, from the hash alone.
fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut block = [0_u8; 64];
    match key.len() {
        0..=64 => block[..key.len()].copy_from_slice(key),
        _ => block[..32].copy_from_slice(&Digest::of(key).0),
    }
    let padded = |with: u8| block.iter().map(|byte| byte ^ with).collect::<Vec<u8>>();
    let inner = Digest::of(&[padded(0x36), message.to_vec()].concat());
    Digest::of(&[padded(0x5c), inner.0.to_vec()].concat()).0
}

/// Checks the signature over the documented fields, as an existing client would.
#[track_caller]
fn verify(door: &Door, evidence: &Value) {
    let text = |name: &str| evidence[name].as_str().unwrap();
    let at: jiff::Timestamp = text("decided_at").parse().unwrap();
    // Sorted by key, no spaces.
    let payload = format!(
        concat!(
            r#"{{"approved_intent_hash":"{}","decided_at":{},"decision":"{}","factor":"{}","#,
            r#""interaction_id":"{}","protocol":"a2h.v1","responds_to":"{}"}}"#
        ),
        text("approved_intent_hash"),
        at.as_millisecond(),
        text("decision"),
        text("factor"),
        text("interaction_id"),
        text("responds_to"),
    );
    let (header, signature) = text("response_jws").split_once("..").unwrap();
    assert_eq!(
        URL_SAFE_NO_PAD.decode(header).unwrap(),
        br#"{"alg":"HS256","typ":"gate-jws","crit":["b64"],"b64":false}"#
    );
    let derived = door.gate.settings().data_key.derived("evidence v1");
    let key = types::hex(&derived[..]);
    let expected = hmac(key.as_bytes(), format!("{header}.{payload}").as_bytes());
    assert_eq!(signature, URL_SAFE_NO_PAD.encode(expected));
}

#[tokio::test]
async fn an_approval_leaves_evidence_that_verifies_everywhere_it_is_shown() {
    let door = door().await;
    let mut body = basic(500);
    body["estimated_value_usd"] = json!(1250.5);
    body["sensitivity_tags"] = json!(["pii"]);
    body["profile"] = json!("crm.import.v1");
    body["metadata"] = json!({ "object_type": "contact", "record_count": 500 });
    let id = door.submit(body).await;
    let row = door.get(&format!("/v1/intents/{id}"), &door.reviewer).await.is(200);
    assert_eq!(row.body["approval_evidence"], Value::Null);
    let path = format!("/v1/intents/{id}/approve");
    let yes = door.post_once(&path, &door.reviewer, "once", &json!({})).await.is(200);
    let mut evidence = yes.body["approvalEvidence"].clone();
    verify(&door, &evidence);
    assert_eq!(
        (&evidence["protocol"], &evidence["decision"]),
        (&json!("a2h.v1"), &json!("APPROVE"))
    );
    assert_eq!(evidence["request_jws"], Value::Null);
    assert_eq!(evidence["factor"], "manual.dashboard.v1");
    assert_eq!(evidence["decided_at"], yes.body["approvedAt"]);
    assert_eq!(evidence["responds_to"], row.body["message_id"]);
    let itx = evidence["interaction_id"].as_str().unwrap();
    assert!(itx.starts_with("itx_") && itx.len() == 28, "{itx}");
    let proof = json!({
        "actor": "rita",
        "profile": { "id": "crm.import.v1", "fields_hash": row.body["profile_fields_hash"] },
        "delegation": null,
        "voted_by": null,
    });
    assert_eq!(evidence["proof"], proof);
    let about = format!(
        concat!(
            r#"{{"action":"crm.import","destination":"crm.import","estimated_value_usd":1250.5,"#,
            r#""intent_id":"{}","message_id":{},"payload_hash":{},"policy_id":"basic","#,
            r#""profile_fields_hash":{},"profile_id":"crm.import.v1","sensitivity_tags":["pii"]}}"#
        ),
        id, row.body["message_id"], row.body["payload_hash"], row.body["profile_fields_hash"],
    );
    assert_eq!(evidence["approved_intent_hash"], Digest::of(about.as_bytes()).to_string());
    for path in ["", "/decision", "/audit"] {
        let shown = door.get(&format!("/v1/intents/{id}{path}"), &door.agent).await.is(200);
        assert_eq!(shown.body["approval_evidence"], evidence, "{path}");
    }
    let order = door.post(&format!("/v1/intents/{id}/execute"), &door.agent, json!({})).await;
    let order = order.is(201);
    let replayed = door.post_once(&path, &door.reviewer, "once", &json!({})).await.is(200);
    assert_eq!(replayed.body, yes.body, "a replay is what was answered");
    evidence["consumed_at"] = order.body["issued_at"].clone();
    assert_eq!(order.body["approval_evidence"], evidence);
    let read = format!("/v1/executions/{}", order.text("executionId"));
    assert_eq!(door.get(&read, &door.agent).await.body["approval_evidence"], evidence);
    let row = door.get(&format!("/v1/intents/{id}"), &door.reviewer).await.is(200);
    assert_eq!(row.body["approval_evidence"], evidence);
    let asked = &row.body["approval_interactions"][0];
    assert_eq!(asked["approvedIntentHash"], evidence["approved_intent_hash"]);
}

#[tokio::test]
async fn evidence_outlasts_what_comes_after_the_approval() {
    let door = door().await;
    let id = door.submit(basic(500)).await;
    let yes = door.post(&format!("/v1/intents/{id}/approve"), &door.reviewer, json!({})).await;
    let mut evidence = yes.is(200).body["approvalEvidence"].clone();
    let order = door.post(&format!("/v1/intents/{id}/execute"), &door.agent, json!({})).await;
    evidence["consumed_at"] = order.is(201).body["issued_at"].clone();
    door.log.advance_ms(15 * 60 * 1_000);
    door.tick().await;
    let word = json!({ "outcome": "failed", "effect": "none", "reason": "looked" });
    door.post(&format!("/v1/intents/{id}/resolve"), &door.admin, word).await.is(200);
    let row = door.get(&format!("/v1/intents/{id}"), &door.reviewer).await.is(200);
    assert_eq!(row.body["decided"]["name"], "admin");
    assert_eq!(row.body["approval_evidence"], evidence);
}

#[tokio::test]
async fn rejections_votes_and_links_have_theirs_and_policy_has_none() {
    let door = door().await;
    let id = door.submit(basic(500)).await;
    let no = door.post(&format!("/v1/intents/{id}/reject"), &door.reviewer, json!({})).await;
    let evidence = no.is(200).body["approvalEvidence"].clone();
    verify(&door, &evidence);
    assert_eq!(
        (&evidence["decision"], &evidence["proof"]["actor"]),
        (&json!("REJECT"), &json!("rita"))
    );
    assert_eq!(evidence["consumed_at"], Value::Null);

    let (_, other) = door.register("rob", "reviewer").await;
    let mut body = basic(500);
    body["policy"] = json!("two");
    let id = door.submit(body).await;
    let path = format!("/v1/intents/{id}");
    let vote = door.post(&format!("{path}/approve"), &door.reviewer, json!({})).await.is(200);
    assert!(vote.body.get("approvalEvidence").is_none());
    assert_eq!(door.get(&path, &door.agent).await.body["approval_evidence"], Value::Null);
    let link = door.get(&format!("{path}/approval-link"), &other).await.is(200);
    let link = format!("{}/approve", link.text("path"));
    let evidence = door.post(&link, "", json!({})).await.is(200).body["approvalEvidence"].clone();
    verify(&door, &evidence);
    assert_eq!(evidence["factor"], "link.single_use.v1");
    assert_eq!(evidence["proof"]["actor"], "approval_link");
    assert_eq!(evidence["proof"]["voted_by"], json!(["rita", "approval_link"]));

    let id = door.submit(basic(501)).await;
    let link = door.get(&format!("/v1/intents/{id}/approval-link"), &other).await.is(200);
    let link = format!("{}/reject", link.text("path"));
    let evidence = door.post(&link, "", json!({})).await.is(200).body["approvalEvidence"].clone();
    verify(&door, &evidence);
    assert_eq!(
        (&evidence["decision"], &evidence["factor"]),
        (&json!("REJECT"), &json!("link.single_use.v1"))
    );

    let auto = door.submit(basic(1)).await;
    let blocked = door.submit(json!({ "destination": "x", "policy": "basic" })).await;
    let cancelled = door.submit(basic(502)).await;
    let path = format!("/v1/intents/{cancelled}/cancel-approval");
    let got = door.post(&path, &door.reviewer, json!({})).await.is(200);
    assert!(got.body.get("approvalEvidence").is_none());
    let order = door.post(&format!("/v1/intents/{auto}/execute"), &door.agent, json!({})).await;
    assert_eq!(order.is(201).body["approval_evidence"], Value::Null);
    for id in [auto, blocked, cancelled] {
        let row = door.get(&format!("/v1/intents/{id}"), &door.reviewer).await.is(200);
        assert_eq!(row.body["approval_evidence"], Value::Null, "{id}");
    }
}
