//! Approve, reject, cancel: who may, in which order of checks, with which words.

use serde_json::{Value, json};

use crate::support::{BASIC, Door, basic};

/// Two approvals above ten records.
const TWO: &str = "destinations: [crm.import]\nauto_approve_under: 10\nrequire_approvals: 2\n";

async fn door() -> Door {
    Door::policed(&[("basic", BASIC), ("two", TWO)]).await
}

#[tokio::test]
async fn an_approval_allows_and_a_second_one_is_told_so() {
    let door = door().await;
    let id = door.submit(basic(500)).await;
    let path = format!("/v1/intents/{id}/approve");
    let yes = door.post(&path, &door.reviewer, json!({})).await.is(200);
    assert_eq!(yes.text("status"), "approved");
    assert_eq!(yes.text("approvalState"), "answered");
    assert_eq!(yes.text("intentId"), id);
    assert_eq!(yes.body["autoDeliver"], false);
    assert_eq!(yes.body["gate_exec"], false);
    assert_eq!(yes.body["approvalEvidence"]["decision"], "APPROVE");
    assert!(yes.body.get("deliveryToken").is_none());
    let again = door.post("/v1/approve", &door.reviewer, json!({ "proposalId": id })).await.is(200);
    assert_eq!(again.body["approvedAt"], yes.body["approvedAt"]);
    assert!(again.body.get("approvalEvidence").is_none());
}

#[tokio::test]
async fn votes_add_up_and_count_people_not_requests() {
    let door = door().await;
    let (_, other) = door.register("rob", "reviewer").await;
    let mut body = basic(500);
    body["policy"] = json!("two");
    let id = door.submit(body).await;
    let path = format!("/v1/intents/{id}/approve");
    for _ in 0..2 {
        let vote = door.post(&path, &door.reviewer, json!({})).await.is(200);
        assert_eq!(vote.text("status"), "pending_approval");
        assert_eq!(vote.text("approvalState"), "waiting_input");
        assert_eq!((&vote.body["votes"], &vote.body["requiredApprovals"]), (&json!(1), &json!(2)));
        assert_eq!(vote.body["votedBy"], json!(["rita"]));
    }
    let yes = door.post(&path, &other, json!({})).await.is(200);
    assert_eq!(yes.text("status"), "approved");
}

#[tokio::test]
async fn a_rejection_ends_it_with_the_persons_words() {
    let door = door().await;
    let id = door.submit(basic(500)).await;
    let no = json!({ "proposalId": id, "reason": "bad data" });
    let no = door.post("/v1/reject", &door.reviewer, no).await.is(200);
    assert_eq!((no.text("status"), no.text("phase")), ("blocked", "rejected"));
    assert_eq!((no.text("approvalState"), no.text("reason")), ("answered", "bad data"));
    let read = door.get(&format!("/v1/intents/{id}"), &door.agent).await.is(200);
    assert_eq!(read.text("block_reason"), "bad data");
    assert_eq!(read.text("status"), "blocked");

    let id = door.submit(basic(500)).await;
    let no =
        door.post(&format!("/v1/intents/{id}/reject"), &door.reviewer, json!({})).await.is(200);
    assert!(no.body.get("reason").is_none());
    let read = door.get(&format!("/v1/intents/{id}"), &door.agent).await.is(200);
    assert_eq!(read.text("block_reason"), "Rejected by reviewer");
}

#[tokio::test]
async fn a_cancellation_is_its_own_end() {
    let door = door().await;
    let id = door.submit(basic(500)).await;
    let path = format!("/v1/intents/{id}/cancel-approval");
    let got = door.post(&path, &door.reviewer, json!({})).await.is(200);
    assert_eq!((got.text("status"), got.text("phase")), ("blocked", "cancelled"));
    assert_eq!(got.text("approvalState"), "cancelled");
    assert_eq!(got.body.get("reason"), Some(&Value::Null));
    let again = door.post(&path, &door.reviewer, json!({})).await.is(409);
    assert_eq!(again.text("error"), "cannot_cancel");
    assert_eq!(again.text("approvalState"), "cancelled");
    let none = door.post("/v1/intents/int_00/cancel-approval", &door.reviewer, json!({})).await;
    assert_eq!(none.is(404).text("error"), "Intent not found");
}

#[tokio::test]
async fn an_intent_is_withdrawn_by_its_agent_or_who_decides() {
    let door = door().await;
    let (_, stranger) = door.register("stranger", "agent").await;
    for key in [&door.agent, &door.reviewer] {
        for approved in [false, true] {
            let id = door.submit(basic(500)).await;
            let at = |verb: &str| format!("/v1/intents/{id}/{verb}");
            if approved {
                door.post(&at("approve"), &door.reviewer, json!({})).await.is(200);
            }
            for other in [&stranger, &door.auditor] {
                let got = door.post(&at("cancel"), other, json!({})).await.is(403);
                assert_eq!(got.text("error"), "forbidden");
            }
            let got = door.post(&at("cancel"), key, json!({ "reason": "late" })).await.is(200);
            assert_eq!((got.text("status"), got.text("phase")), ("blocked", "cancelled"));
            assert_eq!((got.text("approvalState"), got.text("reason")), ("cancelled", "late"));
            let again = door.post(&at("cancel"), key, json!({})).await.is(409);
            assert_eq!((again.text("error"), again.text("phase")), ("cannot_cancel", "cancelled"));
            let read = door.get(&at("")[..at("").len() - 1], key).await.is(200);
            assert_eq!(read.body["approved_at"].is_string(), approved);
            let trail = read.body["auditTrail"].as_array().unwrap();
            let last = &trail[trail.len() - 1];
            let kind = if approved { "cancelled" } else { "approval_cancelled" };
            assert_eq!(
                (&last["event_type"], &last["metadata"]["reason"]),
                (&json!(kind), &json!("late"))
            );
            let run = door.post(&at("execute"), &door.agent, json!({})).await.is(409);
            assert_eq!(run.text("phase"), "cancelled");
        }
    }
    let none = door.post("/v1/intents/int_00/cancel", &door.reviewer, json!({})).await.is(404);
    assert_eq!(none.text("error"), "Intent not found");
}

#[tokio::test]
async fn what_a_stopped_agent_asked_for_is_shown_as_held_back() {
    let door = door().await;
    let (agent, key) = door.register("bot", "agent").await;
    let id = door.post("/v1/intents", &key, basic(500)).await.is(200).text("intentId").to_owned();
    let shown = format!("/v1/intents/{id}");
    let cases = [
        ("suspend", json!("submitter_suspended")),
        ("resume", Value::Null),
        ("revoke", json!("submitter_revoked")),
    ];
    for (verb, held_back) in cases {
        door.post(&format!("/v1/agents/{agent}/{verb}"), &door.admin, json!({})).await.is(200);
        let read = door.get(&shown, &door.reviewer).await.is(200);
        assert_eq!(read.body["held_back"], held_back, "{verb}");
    }
    let refused = door.post(&format!("{shown}/approve"), &door.reviewer, json!({})).await.is(409);
    assert_eq!(refused.text("error"), "submitter_inactive");
    assert_eq!(refused.text("agent_status"), "revoked");
    door.post(&format!("{shown}/cancel"), &door.reviewer, json!({})).await.is(200);
    let read = door.get(&shown, &door.reviewer).await.is(200);
    assert_eq!(read.body["held_back"], Value::Null, "it is over");
}

#[tokio::test]
async fn a_decision_that_comes_too_late_says_what_happened() {
    let door = door().await;
    let ended = |verb: &'static str| {
        let door = &door;
        async move {
            let id = door.submit(basic(500)).await;
            door.post(&format!("/v1/intents/{id}/{verb}"), &door.reviewer, json!({})).await.is(200);
            id
        }
    };
    let (approved, rejected) = (ended("approve").await, ended("reject").await);
    let cancelled = ended("cancel-approval").await;
    let blocked = door
        .submit(json!({ "destination": "elsewhere", "policy": "basic", "recordCount": 1 }))
        .await;
    let cases = [
        (&rejected, "approve", 409, "Cannot approve a blocked proposal", "already_answered"),
        (&cancelled, "approve", 409, "Cannot approve a blocked proposal", "approval_cancelled"),
        (&blocked, "approve", 409, "Cannot approve a blocked proposal", "policy_blocks"),
        (
            &rejected,
            "reject",
            409,
            "Cannot reject proposal with status: blocked",
            "already_answered",
        ),
        (&approved, "reject", 409, "already_answered", ""),
        (&approved, "cancel-approval", 409, "cannot_cancel", "already_answered"),
    ];
    for (id, verb, status, error, code) in cases {
        let path = format!("/v1/intents/{id}/{verb}");
        let got = door.post(&path, &door.reviewer, json!({})).await.is(status);
        assert_eq!((got.text("error"), got.text("code")), (error, code), "{verb}");
        assert!(!got.header("gate-index").is_empty());
    }
    let got = door.post(&format!("/v1/intents/{approved}/reject"), &door.reviewer, json!({})).await;
    assert_eq!(got.text("decision"), "APPROVE");
}

#[tokio::test]
async fn after_its_time_an_intent_can_only_expire() {
    let door = door().await;
    let mut body = basic(500);
    body["expiresIn"] = json!("60s");
    let id = door.submit(body).await;
    door.log.advance_ms(60_000);
    let path = format!("/v1/intents/{id}/approve");
    let late = door.post(&path, &door.reviewer, json!({})).await.is(410);
    assert_eq!(late.text("error"), "Proposal has expired");
    let later = door.post(&path, &door.reviewer, json!({})).await.is(410);
    assert_eq!(later.text("error"), "approval_expired");
    let reject = format!("/v1/intents/{id}/reject");
    let reject = door.post(&reject, &door.reviewer, json!({})).await.is(409);
    assert_eq!(reject.text("error"), "Cannot reject proposal with status: expired");
    let read = door.get(&format!("/v1/intents/{id}"), &door.agent).await.is(200);
    assert_eq!((read.text("status"), read.text("approval_state")), ("expired", "expired"));
}

#[tokio::test]
async fn only_a_reviewer_who_did_not_ask_decides() {
    let door = door().await;
    let id = door.submit(basic(500)).await;
    for verb in ["approve", "reject", "cancel-approval"] {
        for key in [&door.agent, &door.auditor] {
            let path = format!("/v1/intents/{id}/{verb}");
            let got = door.post(&path, key, json!({})).await.is(403);
            assert_eq!(got.text("error"), "forbidden");
            assert_eq!(got.text("message"), "Reviewer API key required for approvals");
        }
    }
    let mut body = basic(500);
    body["payload"] = json!("asked by the admin");
    let own = door.post("/v1/intents", &door.admin, body).await.is(200);
    let path = format!("/v1/intents/{}/approve", own.text("intentId"));
    let got = door.post(&path, &door.admin, json!({})).await.is(403);
    assert_eq!(got.text("error"), "self_approval");
}

#[tokio::test]
async fn a_decision_is_bound_to_what_was_shown() {
    let door = door().await;
    let id = door.submit(basic(500)).await;
    let shown = door.get(&format!("/v1/intents/{id}"), &door.reviewer).await;
    let digest = shown.text("approval_digest");
    let path = format!("/v1/intents/{id}/approve");
    for wrong in ["0".repeat(64), "nonsense".into()] {
        let got = door.post(&path, &door.reviewer, json!({ "digest": wrong })).await.is(409);
        assert_eq!(got.text("error"), "approval_digest_mismatch");
        assert_eq!(got.text("approval_digest"), digest);
        // Nothing has changed here: it must not say so.
        let said = format!(
            "this is not the digest of what is to be decided now: read {id} again, then decide on \
             digest {digest}"
        );
        assert_eq!(got.text("message"), said);
    }
    let right = json!({ "digest": digest });
    door.post(&path, &door.reviewer, right).await.is(200);
}

#[tokio::test]
async fn a_stricter_policy_voids_votes_and_asks_for_the_new_digest() {
    let door = door().await;
    let id = door.submit(basic(500)).await;
    let stricter = format!("{BASIC}require_approvals: 2\n");
    let set = json!({ "policies": { "basic": stricter } });
    door.put("/v1/policies", &door.admin, set).await.is(200);
    let path = format!("/v1/intents/{id}/approve");
    let got = door.post(&path, &door.reviewer, json!({})).await.is(409);
    assert_eq!(got.text("error"), "policy_changed");
    let current = got.text("approval_digest").to_owned();
    let got = door.post(&path, &door.reviewer, json!({})).await.is(409);
    assert_eq!((got.text("error"), got.text("approval_digest")), ("digest_required", &*current));
    let vote = door.post(&path, &door.reviewer, json!({ "digest": current })).await.is(200);
    assert_eq!(vote.body["requiredApprovals"], 2);
}

#[tokio::test]
async fn what_names_no_intent_is_refused_in_the_usual_order() {
    let door = door().await;
    let unknown = "int_0000000000000001";
    let cases = [
        ("/v1/approve", json!({}), &door.agent, 403, "forbidden"),
        ("/v1/approve", json!({}), &door.reviewer, 400, "proposalId required"),
        (
            "/v1/approve",
            json!({ "proposalId": unknown }),
            &door.reviewer,
            404,
            "Proposal not found",
        ),
        ("/v1/reject", json!({ "proposalId": "x" }), &door.reviewer, 404, "Proposal not found"),
        ("/v1/approve", json!({ "proposalId": 7 }), &door.reviewer, 400, "invalid_request"),
    ];
    for (path, body, key, status, error) in cases {
        let got = door.post(path, key, body.clone()).await.is(status);
        assert_eq!(got.text("error"), error, "{path} {body}");
    }
    let id = door.submit(basic(500)).await;
    let path = format!("/v1/intents/{id}/approve");
    let cases = [
        (json!({ "nonce": "non_1" }), 409, "replay_rejected"),
        (json!({ "on_behalf_of_principal": "p-1" }), 403, "delegation_not_found"),
        (json!({ "reason": 5 }), 400, "invalid_request"),
    ];
    for (body, status, error) in cases {
        let got = door.post(&path, &door.reviewer, body).await.is(status);
        assert_eq!(got.text("error"), error);
    }
}

#[tokio::test]
async fn null_counts_as_absent_in_every_decision() {
    let door = door().await;
    let nulls = json!({
        "reason": null, "digest": null, "decided_at": null, "principal_id": null,
        "on_behalf_of_principal": null, "proposalId": null, "intentId": null,
    });
    for verb in ["approve", "reject", "cancel-approval"] {
        let id = door.submit(basic(500)).await;
        let path = format!("/v1/intents/{id}/{verb}");
        door.post(&path, &door.reviewer, nulls.clone()).await.is(200);
    }
}

#[tokio::test]
async fn a_delegation_is_asked_for_last() {
    let door = door().await;
    let mut body = basic(500);
    body["expiresIn"] = json!("60s");
    let id = door.submit(body).await;
    let path = format!("/v1/intents/{id}/approve");
    let other = json!({ "on_behalf_of_principal": "cfo", "decided_at": 1 });
    let got = door.post(&path, &door.reviewer, other.clone()).await.is(409);
    assert_eq!(got.text("error"), "replay_rejected");
    door.log.advance_ms(60_000);
    let other = json!({ "on_behalf_of_principal": "cfo" });
    let got = door.post(&path, &door.reviewer, other.clone()).await.is(410);
    assert_eq!(got.text("error"), "Proposal has expired");
    let got = door.post(&path, &door.reviewer, other).await.is(410);
    assert_eq!(got.text("error"), "approval_expired");
}

#[tokio::test]
async fn a_misspelled_field_is_refused_so_that_no_digest_is_lost() {
    let door = door().await;
    let id = door.submit(basic(500)).await;
    for verb in ["approve", "reject", "cancel-approval"] {
        let path = format!("/v1/intents/{id}/{verb}");
        let got = door.post(&path, &door.reviewer, json!({ "digst": "x" })).await.is(400);
        assert_eq!((got.text("error"), got.text("field")), ("invalid_request", "$.digst"));
    }
    let known = json!({ "principal_id": "p", "decided_at": null, "reason": null });
    let path = format!("/v1/intents/{id}/approve");
    door.post(&path, &door.reviewer, known).await.is(200);
}
