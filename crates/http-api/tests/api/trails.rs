//! Audit: one leaf, one or more rows, in the names and order of existing clients.

use serde_json::{Value, json};

use crate::support::{BASIC, Door, basic};

async fn events(door: &Door, id: &str) -> Vec<Value> {
    let got = door.get(&format!("/v1/intents/{id}/audit"), &door.auditor).await.is(200);
    assert_eq!(got.text("proposalId"), id);
    let events = got.body["events"].as_array().unwrap().clone();
    assert_eq!(got.body["count"], events.len());
    events
}

fn names(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["event_type"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn every_way_through_the_gate_reads_as_existing_clients_know_it() {
    let two = format!("{BASIC}require_approvals: 2\n");
    let door = Door::policed(&[("basic", BASIC), ("two", &two)]).await;
    let held = ["approval_state_changed", "approval_state_changed", "proposed", "policy_checked"];
    let allowed = door.submit(basic(5)).await;
    assert_eq!(names(&events(&door, &allowed).await), ["proposed", "policy_checked", "approved"]);
    let blocked = json!({ "destination": "elsewhere", "policy": "basic" });
    let blocked = door.submit(blocked).await;
    assert_eq!(names(&events(&door, &blocked).await), ["proposed", "policy_checked", "blocked"]);

    let ends = [
        ("approve", &["approval_state_changed", "approved"][..]),
        ("reject", &["approval_state_changed", "rejected"]),
        ("cancel-approval", &["approval_state_changed", "approval_cancelled"]),
    ];
    for (verb, end) in ends {
        let id = door.submit(basic(500)).await;
        let reason = json!({ "reason": "because" });
        door.post(&format!("/v1/intents/{id}/{verb}"), &door.reviewer, reason).await.is(200);
        let events = events(&door, &id).await;
        assert_eq!(names(&events), [&held[..], end].concat(), "{verb}");
        for event in &events[4..] {
            assert_eq!(event["actor"], "rita", "{verb}");
            let (name, said) = match event["event_type"].as_str().unwrap() {
                "approved" => ("approver", "rita"),
                _ => ("reason", "because"),
            };
            assert_eq!(event["metadata"][name], said, "{verb}");
        }
    }
}

#[tokio::test]
async fn a_quorum_and_a_duplicate_leave_their_rows() {
    let two = format!("{BASIC}require_approvals: 2\n");
    let door = Door::policed(&[("two", &two)]).await;
    let (_, other) = door.register("rob", "reviewer").await;
    let mut body = basic(500);
    body["policy"] = json!("two");
    body["idempotency_key"] = json!("once");
    let id = door.submit(body.clone()).await;
    door.post("/v1/intents", &door.agent, body).await.is(409);
    for key in [&door.reviewer, &other] {
        door.post(&format!("/v1/intents/{id}/approve"), key, json!({})).await.is(200);
    }
    let events = events(&door, &id).await;
    let expected = [
        "duplicate_refused",
        "approval_vote_recorded",
        "approval_vote_recorded",
        "approval_quorum_reached",
        "approval_state_changed",
        "approved",
    ];
    assert_eq!(names(&events)[4..], expected);
    assert_eq!(events[4]["actor"], "crm-bot");
    let votes: Vec<&Value> = events[5..7].iter().map(|event| &event["metadata"]["votes"]).collect();
    assert_eq!(votes, [1, 2]);
    assert_eq!(events[9]["metadata"]["approver"], "rob");
}

#[tokio::test]
async fn rows_have_ids_places_and_metadata() {
    let door = Door::policed(&[("basic", BASIC)]).await;
    let mut body = basic(500);
    body["on_behalf_of"] = json!("ann");
    let id = door.submit(body).await;
    let events = events(&door, &id).await;
    let mut seen = std::collections::BTreeSet::new();
    for event in &events {
        let event_id = event["id"].as_str().unwrap();
        assert!(event_id.starts_with("evt_") && event_id.len() == 20, "{event_id}");
        assert!(seen.insert(event_id.to_owned()), "{event_id} twice");
        assert_eq!(event["proposal_id"], id.as_str());
        assert!(event["created_at"].as_str().unwrap().ends_with('Z'));
        assert!(event["sequence"].is_u64() && event["index"].is_u64());
    }
    let proposed = &events[2]["metadata"];
    assert_eq!(proposed["destination"], "crm.import");
    assert_eq!(proposed["policy"], "basic");
    assert_eq!(proposed["on_behalf_of"], "ann");
    assert_eq!(events[2]["actor"], "crm-bot");
    assert_eq!(events[3]["metadata"]["result"], "pending_approval");
    assert!(events[3]["metadata"]["reason"].as_str().unwrap().contains("500"));
    assert_eq!(events[3]["actor"], "system");

    let page = door.get(&format!("/v1/audit/{id}?limit=0"), &door.auditor).await.is(200);
    assert_eq!((&page.body["count"], &page.body["truncated"]), (&json!(0), &json!(true)));
}

#[tokio::test]
async fn the_tree_head_grows_with_every_leaf() {
    let door = Door::policed(&[("basic", BASIC)]).await;
    let before = door.get("/v1/audit/checkpoint", &door.auditor).await.is(200);
    door.submit(basic(500)).await;
    let after = door.get("/v1/audit/checkpoint", &door.auditor).await.is(200);
    assert_eq!(after.body["size"].as_u64(), before.body["size"].as_u64().map(|size| size + 1));
    assert_ne!(after.body["root"], before.body["root"]);
    assert_eq!(after.text("root").len(), 64);
}
