//! Approval links over HTTP: who gets one, what it shows, and that it decides once.

use serde_json::{Value, json};

use crate::support::{BASIC, Door, basic};

const TWO: &str = "destinations: [crm.import]\nauto_approve_under: 10\nrequire_approvals: 2\n";

async fn door() -> Door {
    Door::policed(&[("basic", BASIC), ("two", TWO)]).await
}

/// The path of a reviewer's link.
async fn link(door: &Door, id: &str, key: &str) -> String {
    let got = door.get(&format!("/v1/intents/{id}/approval-link"), key).await.is(200);
    let token = got.text("approvalLinkToken");
    assert!(token.starts_with("alk_") && token.len() == 52, "{token}");
    assert_eq!(got.text("path"), format!("/v1/approval-links/{token}"));
    got.text("path").to_owned()
}

#[tokio::test]
async fn a_reviewer_gets_one_link_and_nobody_else_any() {
    let door = door().await;
    let proposed = door.post("/v1/intents", &door.agent, basic(500)).await.is(200);
    assert_eq!(proposed.body["approvalLinkToken"], Value::Null);
    let id = proposed.text("intentId").to_owned();
    let path = format!("/v1/intents/{id}/approval-link");
    for key in [&door.agent, &door.auditor] {
        assert_eq!(door.get(&path, key).await.is(403).text("error"), "forbidden");
    }
    door.get(&path, "").await.is(401);
    let first = link(&door, &id, &door.reviewer).await;
    assert_eq!(link(&door, &id, &door.reviewer).await, first);
    let (_, other) = door.register("rob", "reviewer").await;
    assert_ne!(link(&door, &id, &other).await, first);
    let unknown = door.get("/v1/intents/int_00/approval-link", &door.reviewer).await.is(404);
    assert_eq!(unknown.text("error"), "Intent not found");
    let unknown = "/v1/intents/int_0000000000000001/approval-link";
    let unknown = door.get(unknown, &door.reviewer).await.is(404);
    assert_eq!(unknown.text("error"), "Intent not found");
    let own = door.post("/v1/intents", &door.admin, basic(501)).await.is(200);
    let own = format!("/v1/intents/{}/approval-link", own.text("intentId"));
    assert_eq!(door.get(&own, &door.admin).await.is(403).text("error"), "self_approval");
}

#[tokio::test]
async fn a_link_shows_what_it_decides_and_showing_decides_nothing() {
    let door = door().await;
    let id = door.submit(basic(500)).await;
    let link = link(&door, &id, &door.reviewer).await;
    for _ in 0..2 {
        let shown = door.get(&link, "").await.is(200);
        assert_eq!(shown.text("intentId"), id);
        assert_eq!(shown.text("approvalState"), "waiting_input");
        for name in ["messageId", "destination", "action", "policy", "riskLevel", "expiresAt"] {
            assert!(!shown.text(name).is_empty(), "{name}");
        }
        assert!(shown.body["riskScore"].is_number());
        let row = door.get(&format!("/v1/intents/{id}"), &door.agent).await.is(200);
        assert_eq!(row.text("phase"), "held");
        assert_eq!(row.body["approval_digest"], shown.body["approval_digest"]);
        assert_eq!(row.body["has_approval_link"], true);
        assert_eq!(row.body["approval_link_expires_at"], row.body["expires_at"]);
        assert_eq!(row.body["approval_link_used_at"], Value::Null);
        assert!(!row.body.to_string().contains("alk_"), "no token for the agent");
    }
}

#[tokio::test]
async fn a_decision_through_a_link_is_the_reviewers_and_happens_once() {
    let door = door().await;
    for (verb, status) in [("approve", "approved"), ("reject", "blocked")] {
        let id = door.submit(basic(500)).await;
        let link = link(&door, &id, &door.reviewer).await;
        let digest = door.get(&link, "").await.is(200).text("approval_digest").to_owned();
        let wrong = json!({ "digest": "0".repeat(64) });
        let wrong = door.post(&format!("{link}/{verb}"), "", wrong).await.is(409);
        assert_eq!(wrong.text("error"), "approval_digest_mismatch");
        let nonce = door.get("/v1/nonce", &door.agent).await.is(200).text("nonce").to_owned();
        let body = json!({ "digest": digest, "reason": "seen on the phone", "nonce": nonce });
        let done = door.post(&format!("{link}/{verb}"), "", body.clone()).await.is(200);
        assert_eq!(done.text("status"), status);
        for verb in ["approve", "reject"] {
            let again = door.post(&format!("{link}/{verb}"), "", body.clone()).await.is(410);
            assert_eq!(again.text("error"), "link_already_used");
        }
        assert_eq!(door.get(&link, "").await.is(410).text("error"), "link_already_used");
        let row = door.get(&format!("/v1/intents/{id}"), &door.reviewer).await.is(200);
        assert_eq!(row.body["decided"]["name"], "approval_link");
        assert!(row.text("approval_link_used_at").ends_with('Z'));
        let list = door.get("/v1/intents?limit=1", &door.reviewer).await.is(200);
        assert!(list.body["intents"][0]["approval_link_used_at"].is_u64());
        let trail = door.get(&format!("/v1/audit/{id}"), &door.agent).await.is(200);
        assert!(!trail.body.to_string().contains("alk_"), "no token in the trail");
        let events = trail.body["events"].as_array().unwrap();
        let event = |kind: &str| events.iter().find(|event| event["event_type"] == kind).unwrap();
        assert_eq!(event("approval_link_issued")["actor"], "rita");
        let used = event("approval_link_used");
        assert_eq!(used["actor"], "approval_link");
        assert_eq!(used["metadata"]["issued_to"], row.body["decided"]["by"]);
        let kind = if verb == "approve" { "approved" } else { "rejected" };
        assert_eq!(event(kind)["actor"], "approval_link");
    }
}

#[tokio::test]
async fn the_reviewer_and_the_link_are_one_voter() {
    let door = door().await;
    let mut body = basic(500);
    body["policy"] = json!("two");
    let id = door.submit(body).await;
    let link = link(&door, &id, &door.reviewer).await;
    let vote = door.post(&format!("{link}/approve"), "", json!({})).await.is(200);
    assert_eq!(
        (&vote.body["votes"], &vote.body["votedBy"]),
        (&json!(1), &json!(["approval_link"]))
    );
    let path = format!("/v1/intents/{id}/approve");
    let vote = door.post(&path, &door.reviewer, json!({})).await.is(200);
    assert_eq!((vote.text("status"), &vote.body["votes"]), ("pending_approval", &json!(1)));
    let row = door.get(&format!("/v1/intents/{id}"), &door.reviewer).await.is(200);
    assert_eq!(row.body["votes"][0]["factor"], "link.single_use.v1");
}

#[tokio::test]
async fn a_link_that_is_no_good_says_which_way() {
    let door = door().await;
    for token in ["nonsense", "alk_", &format!("alk_{}", "0".repeat(48))] {
        for tail in ["", "/approve", "/reject"] {
            let path = format!("/v1/approval-links/{token}{tail}");
            let got = match tail {
                "" => door.get(&path, "").await,
                _ => door.post(&path, "", json!({})).await,
            };
            assert_eq!(got.is(404).text("error"), "invalid_link", "{path}");
        }
    }
    let id = door.submit(basic(500)).await;
    let (person, key) = door.register("rob", "reviewer").await;
    let theirs = link(&door, &id, &key).await;
    let suspend = format!("/v1/agents/{person}/suspend");
    door.post(&suspend, &door.admin, json!({})).await.is(200);
    assert_eq!(door.get(&theirs, "").await.is(403).text("error"), "agent_inactive");
    let got = door.post(&format!("{theirs}/approve"), "", json!({})).await.is(403);
    assert_eq!(got.text("error"), "agent_inactive");
    let mine = link(&door, &id, &door.reviewer).await;
    let got = door.post(&format!("{mine}/approve"), "", json!({ "reson": "x" })).await.is(400);
    assert_eq!(got.text("field"), "$.reson");
    let got = json!({ "on_behalf_of_principal": "cfo" });
    let got = door.post(&format!("{mine}/approve"), "", got).await.is(403);
    assert_eq!(got.text("error"), "delegation_not_found");
    door.log.advance_ms(3_600_000);
    door.tick().await;
    assert_eq!(door.get(&mine, "").await.is(410).text("error"), "link_expired");
    let got = door.post(&format!("{mine}/approve"), "", json!({})).await.is(410);
    assert_eq!(got.text("error"), "link_expired");
}

#[tokio::test]
async fn after_another_persons_decision_a_link_answers_as_the_key_would() {
    let door = door().await;
    let (approved, rejected) = (door.submit(basic(500)).await, door.submit(basic(501)).await);
    let links = [
        link(&door, &approved, &door.reviewer).await,
        link(&door, &rejected, &door.reviewer).await,
    ];
    let (_, other) = door.register("rob", "reviewer").await;
    door.post(&format!("/v1/intents/{approved}/approve"), &other, json!({})).await.is(200);
    door.post(&format!("/v1/intents/{rejected}/reject"), &other, json!({})).await.is(200);
    let late = door.post(&format!("{}/approve", links[0]), "", json!({})).await.is(200);
    assert_eq!(late.text("status"), "approved");
    let late = door.post(&format!("{}/reject", links[0]), "", json!({})).await.is(409);
    assert_eq!((late.text("error"), late.text("decision")), ("already_answered", "APPROVE"));
    let late = door.post(&format!("{}/approve", links[1]), "", json!({})).await.is(409);
    assert_eq!(late.text("error"), "Cannot approve a blocked proposal");
    let shown = door.get(&links[1], "").await.is(200);
    assert_eq!(shown.text("approvalState"), "answered");
}
