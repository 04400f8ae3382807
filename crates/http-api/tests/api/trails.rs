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
async fn a_long_trail_is_read_to_its_end_by_its_cursor() {
    let door = Door::policed(&[("basic", BASIC)]).await;
    let mut body = basic(5);
    body["idempotency_key"] = json!("once");
    let id = door.submit(body.clone()).await;
    for _ in 0..7 {
        door.post("/v1/intents", &door.agent, body.clone()).await.is(409);
    }
    door.post(&format!("/v1/intents/{id}/execute"), &door.agent, json!({})).await.is(201);
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let path = format!("/v1/intents/{id}/audit?limit=4{after}");
        let page = door.get(&path, &door.auditor).await.is(200);
        for event in page.body["events"].as_array().unwrap() {
            seen.push(event["event_type"].as_str().unwrap().to_owned());
        }
        assert_eq!(page.body["truncated"], !page.body["next"].is_null());
        match page.body["next"].as_u64() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!(seen.len(), 3 + 7 + 1);
    assert_eq!(seen.last().map(String::as_str), Some("execution_requested"));
    let whole = door.get(&format!("/v1/intents/{id}"), &door.auditor).await.is(200);
    assert_eq!(whole.body["audit_next"], Value::Null);
}

#[tokio::test]
async fn what_belongs_to_no_intent_is_read_from_the_log_itself() {
    let door = Door::policed(&[("basic", BASIC)]).await;
    let (id, _) = door.register("gone", "agent").await;
    door.post(&format!("/v1/agents/{id}/revoke"), &door.admin, json!({})).await.is(200);
    let made = door.post("/v1/namespaces", &door.admin, json!({ "name": "team-b" })).await.is(201);
    let stranger = made.body["admin"]["apiKey"].as_str().unwrap().to_owned();
    door.submit(basic(5)).await;

    let all = door.get("/v1/audit/entries?limit=1000", &door.auditor).await.is(200);
    let entries = all.body["entries"].as_array().unwrap();
    let kinds: Vec<&str> = entries.iter().map(|e| e["event_type"].as_str().unwrap()).collect();
    for kind in ["cluster_initialised", "policies_applied", "agent_revoked", "intent_submitted"] {
        assert!(kinds.contains(&kind), "{kind} in {kinds:?}");
    }
    let revoked = entries.iter().find(|entry| entry["event_type"] == "agent_revoked").unwrap();
    assert_eq!(revoked["metadata"]["agent_id"], id.as_str());
    assert_eq!((&all.body["count"], &all.body["next"]), (&json!(entries.len()), &Value::Null));

    let first = door.get("/v1/audit/entries?limit=2", &door.auditor).await.is(200);
    let next = first.body["next"].as_u64().unwrap();
    let rest = format!("/v1/audit/entries?limit=1000&after={next}");
    let rest = door.get(&rest, &door.auditor).await.is(200);
    assert_eq!(rest.body["entries"].as_array().unwrap()[..], entries[2..]);

    let theirs = door.get("/v1/audit/entries", &stranger).await.is(200);
    let theirs = theirs.body["entries"].as_array().unwrap();
    assert_eq!(theirs.len(), 1, "{theirs:?}");
    assert_eq!(theirs[0]["event_type"], "namespace_created");
    door.get("/v1/audit/entries", &door.agent).await.is(403);
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
