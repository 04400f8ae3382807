//! Nonces and clocks over HTTP: issued to anybody with a key, good for one decision.

use serde_json::{Value, json};

use crate::support::{BASIC, Door, basic};

const FIVE_MINUTES_MS: u64 = 300_000;

async fn door() -> Door {
    Door::policed(&[("basic", BASIC)]).await
}

async fn nonce(door: &Door) -> String {
    door.get("/v1/nonce", &door.reviewer).await.is(200).text("nonce").to_owned()
}

#[tokio::test]
async fn a_nonce_is_good_for_one_decision_by_anybody() {
    let door = door().await;
    let got = door.get("/v1/nonce", &door.agent).await.is(200);
    let nonce = got.text("nonce").to_owned();
    assert!(nonce.starts_with("non_") && nonce.len() == 36, "{nonce}");
    assert!(got.text("expiresAt").ends_with('Z'));
    door.get("/v1/nonce", "").await.is(401);
    let ids = [door.submit(basic(500)).await, door.submit(basic(501)).await];
    let body = json!({ "nonce": nonce, "decided_at": gate::ids::unix_ms() });
    let path = format!("/v1/intents/{}/approve", ids[0]);
    door.post(&path, &door.reviewer, body.clone()).await.is(200);
    // The intent stands approved: existing clients are told so before anything else is looked at.
    door.post(&path, &door.reviewer, body.clone()).await.is(200);
    for verb in ["approve", "reject", "cancel-approval"] {
        let path = format!("/v1/intents/{}/{verb}", ids[1]);
        let got = door.post(&path, &door.reviewer, body.clone()).await.is(409);
        assert_eq!(got.text("error"), "replay_rejected", "{verb}");
        assert_eq!(got.text("reason"), "nonce_already_used", "{verb}");
    }
    let body = json!({ "proposalId": ids[1], "nonce": self::nonce(&door).await });
    door.post("/v1/reject", &door.reviewer, body).await.is(200);
}

#[tokio::test]
async fn each_reason_has_its_word() {
    let door = door().await;
    let id = door.submit(basic(500)).await;
    let stale = nonce(&door).await;
    let now = gate::ids::unix_ms();
    let cases = [
        (json!({ "nonce": "" }), "nonce_required"),
        (json!({ "nonce": null }), "nonce_required"),
        (json!({ "nonce": "non_1" }), "nonce_unknown"),
        (json!({ "nonce": format!("non_{}", "0".repeat(32)) }), "nonce_unknown"),
        (json!({ "decided_at": "yesterday" }), "timestamp_invalid"),
        (json!({ "decided_at": true }), "timestamp_invalid"),
        (json!({ "decided_at": "2001-01-01" }), "timestamp_out_of_tolerance"),
        (json!({ "decided_at": now + 2 * FIVE_MINUTES_MS }), "timestamp_out_of_tolerance"),
    ];
    for verb in ["approve", "reject"] {
        let path = format!("/v1/intents/{id}/{verb}");
        for (body, reason) in &cases {
            let got = door.post(&path, &door.reviewer, body.clone()).await.is(409);
            assert_eq!((got.text("error"), got.text("reason")), ("replay_rejected", *reason));
        }
        let typed = door.post(&path, &door.reviewer, json!({ "nonce": 7 })).await.is(400);
        assert_eq!(typed.text("field"), "$.nonce");
    }
    door.log.advance_ms(FIVE_MINUTES_MS + 1_000);
    let path = format!("/v1/intents/{id}/approve");
    let got = door.post(&path, &door.reviewer, json!({ "nonce": stale })).await.is(409);
    assert_eq!(got.text("reason"), "nonce_expired");
    let absent = json!({ "decided_at": Value::Null });
    door.post(&path, &door.reviewer, absent).await.is(200);
}

#[tokio::test]
async fn a_decision_that_fails_otherwise_burns_no_nonce() {
    let door = door().await;
    let id = door.submit(basic(500)).await;
    let path = format!("/v1/intents/{id}/approve");
    let nonce = nonce(&door).await;
    let late = json!({ "nonce": nonce, "decided_at": 1 });
    let got = door.post(&path, &door.reviewer, late).await.is(409);
    assert_eq!(got.text("reason"), "timestamp_out_of_tolerance");
    let wrong = json!({ "nonce": nonce, "digest": "0" });
    let got = door.post(&path, &door.reviewer, wrong).await.is(409);
    assert_eq!(got.text("error"), "approval_digest_mismatch");
    let for_other = json!({ "nonce": nonce, "on_behalf_of_principal": "cfo" });
    let got = door.post(&path, &door.reviewer, for_other).await.is(403);
    assert_eq!(got.text("error"), "delegation_not_found");
    door.post(&path, &door.reviewer, json!({ "nonce": nonce })).await.is(200);
}
