//! Reading: rows, lists, cursors, waits, freshness, and who sees what.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use crate::support::{BASIC, Door, basic};

#[tokio::test]
async fn a_row_has_every_field_of_existing_clients_and_no_server_path() {
    let door = Door::policed(&[("basic", BASIC)]).await;
    let mut body = basic(500);
    body["metadata"] = json!({ "b": 1, "a": "x" });
    body["sensitivity_tags"] = json!(["pii"]);
    body["on_behalf_of"] = json!("ann");
    let id = door.submit(body).await;
    let row = door.get(&format!("/v1/intents/{id}"), &door.agent).await.is(200);
    for name in [
        "id",
        "sender_agent_id",
        "payload_path",
        "payload_hash",
        "payload_type",
        "destination",
        "policy_id",
        "status",
        "block_reason",
        "created_at",
        "expires_at",
        "on_behalf_of",
        "idempotency_key",
        "risk_score",
        "risk_level",
        "sensitivity_tags",
        "estimated_records",
        "estimated_value_usd",
        "action",
        "approved_at",
        "message_id",
        "approval_state",
        "approval_link_expires_at",
        "approval_link_used_at",
        "profile_id",
        "profile_fields_hash",
        "required_approvals",
        "standing_approval_id",
        "has_approval_link",
        "manifest",
        "approval_evidence",
        "approval_interactions",
        "auditTrail",
        "phase",
        "reasons",
        "reason_code",
        "reason_detail",
        "revision",
        "approval_digest",
        "payload",
        "resource",
        "trigger",
        "metadata",
    ] {
        assert!(row.body.get(name).is_some(), "{name} is missing");
    }
    assert_eq!(row.body["payload"], "hello");
    assert_eq!(row.body["payload_path"], Value::Null);
    assert_eq!(
        row.text("payload_hash"),
        "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
    );
    assert_eq!(row.body["metadata"], json!({ "a": "x", "b": 1 }));
    assert_eq!(row.text("sensitivity_tags"), "[\"pii\"]");
    assert_eq!(row.body["estimated_records"], 500);
    assert_eq!(row.body["has_approval_link"], false);
    assert_eq!(row.body["approval_interactions"][0]["state"], "waiting_input");
    assert_eq!(row.body["auditTrail"].as_array().unwrap().len(), 4);
}

#[tokio::test]
async fn payloads_come_back_as_they_were_sent() {
    let door = Door::policed(&[("basic", BASIC)]).await;
    let cases = [
        (json!("plain text"), json!("plain text"), Value::Null),
        (json!("{\"a\": 1}"), json!("{\"a\": 1}"), Value::Null),
        (json!("export/leads.csv"), json!("export/leads.csv"), json!("export/leads.csv")),
        (json!({ "z": [1, 2.50], "a": null }), json!({ "a": null, "z": [1, 2.50] }), Value::Null),
        (Value::Null, Value::Null, Value::Null),
    ];
    for (sent, read, reference) in cases {
        let mut body = basic(500);
        body["payload"] = sent.clone();
        let id = door.submit(body).await;
        let row = door.get(&format!("/v1/intents/{id}"), &door.reviewer).await.is(200);
        assert_eq!(row.body["payload"], read, "{sent}");
        assert_eq!(row.body["payload_path"], reference, "{sent}");
        let hashed = row.body["payload_hash"].is_string();
        assert_eq!(hashed, reference.is_null() && !sent.is_null(), "{sent}");
    }
}

#[tokio::test]
async fn lists_are_newest_first_with_filters_and_a_cursor() {
    let door = Door::policed(&[("basic", BASIC)]).await;
    let mut ids = Vec::new();
    for records in [5, 500, 6, 501, 502] {
        ids.push(door.submit(basic(records)).await);
    }
    ids.reverse();
    let listed = |got: &Value| -> Vec<String> {
        let rows = got["intents"].as_array().unwrap();
        rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
    };
    let all = door.get("/v1/intents", &door.agent).await.is(200);
    assert_eq!(listed(&all.body), ids);
    assert_eq!((&all.body["count"], &all.body["next"]), (&json!(5), &Value::Null));
    assert_eq!(all.body["intents"][0]["agent_name"], "crm-bot");
    assert_eq!(all.body["intents"][0]["intentId"], all.body["intents"][0]["id"]);

    let held = door.get("/v1/intents?status=pending_approval&limit=2", &door.reviewer).await;
    assert_eq!(listed(&held.body), [ids[0].clone(), ids[1].clone()]);
    let next = held.text("next");
    let rest = format!("/v1/intents?status=pending_approval&limit=2&before={next}");
    let rest = door.get(&rest, &door.reviewer).await.is(200);
    assert_eq!(listed(&rest.body), [ids[3].clone()]);
    assert_eq!(rest.body["next"], Value::Null);

    let counts = [
        ("?phase=allowed", 2),
        ("?status=approved&phase=held", 0),
        ("?status=blocked&phase=held", 0),
        ("?status=pending_approval&phase=held", 3),
        ("?status=duplicate_blocked", 0),
        ("?status=all", 5),
        ("?limit=0", 0),
    ];
    for (query, count) in counts {
        let got = door.get(&format!("/v1/intents{query}"), &door.reviewer).await.is(200);
        assert_eq!(got.body["count"], count, "{query}");
    }
    let older = door.get("/v1/proposals?limit=1", &door.reviewer).await.is(200);
    assert!(older.body["proposals"][0].get("intentId").is_none());
}

#[tokio::test]
async fn bad_queries_are_refused_by_name() {
    let door = Door::policed(&[("basic", BASIC)]).await;
    let id = door.submit(basic(5)).await;
    let one = format!("/v1/intents/{id}");
    let cases = [
        ("/v1/intents?limit=1001", "limit"),
        ("/v1/intents?limit=-1", "limit"),
        ("/v1/intents?limit=abc", "limit"),
        ("/v1/intents?limit=1&limit=2", "limit"),
        ("/v1/intents?status=unheard", "status"),
        ("/v1/intents?phase=unheard", "phase"),
        ("/v1/intents?before=x", "before"),
        ("/v1/intents?agent=x", "agent"),
        ("/v1/intents?consistency=eventual", "consistency"),
        ("/v1/intents?min_index=-3", "min_index"),
        (&format!("{one}?wait=soon"), "wait"),
        (&format!("{one}?wait=61s"), "wait"),
        (&format!("{one}?until=later"), "until"),
        ("/v1/agents?limit=1001", "limit"),
        ("/v1/metrics?consistency=none", "consistency"),
        ("/v1/intents?limt=1", "limt"),
        (&format!("{one}/audit?before=3"), "before"),
        ("/v1/agents?x=1", "x"),
    ];
    for (path, field) in cases {
        let got = door.get(path, &door.reviewer).await.is(400);
        assert_eq!((got.text("error"), got.text("field")), ("invalid_request", field), "{path}");
    }
    let got = door.get("/v1/intents?limt=1", &door.reviewer).await.is(400);
    assert!(got.text("message").contains("did you mean `limit`?"), "{}", got.body);
    let got = door.get("/v1/intents?resource=crm", &door.reviewer).await.is(400);
    let message = "resource: no such query parameter; there are status, phase, agent, limit, \
                   before, consistency, min_index";
    assert_eq!(got.text("message"), message);
    door.get("/readyz?from=probe", "").await.is(200);
}

#[tokio::test]
async fn an_agent_sees_its_own_and_nothing_of_others() {
    let door = Door::policed(&[("basic", BASIC)]).await;
    let id = door.submit(basic(500)).await;
    let (other_id, other) = door.register("other", "agent").await;
    let one = format!("/v1/intents/{id}");
    let older = format!("/v1/proposals/{id}");
    let audit = format!("/v1/audit/{id}");
    let paths = [&one, &older, &audit, &format!("{one}/audit"), &format!("{one}/decision")];
    for path in paths {
        let got = door.get(path, &other).await.is(403);
        assert_eq!(got.text("message"), "Cannot access intents from other agents", "{path}");
        for key in [&door.agent, &door.reviewer, &door.auditor, &door.admin] {
            door.get(path, key).await.is(200);
        }
    }
    assert_eq!(door.get("/v1/intents", &other).await.body["count"], 0);
    let theirs = door.get(&format!("/v1/intents?agent={other_id}"), &door.agent).await.is(403);
    assert_eq!(theirs.text("error"), "forbidden");
    let waiting = door.get(&format!("{one}?wait=60s"), &other).await;
    waiting.is(403);
}

#[tokio::test]
async fn unknown_ids_and_other_namespaces_are_404() {
    let door = Door::policed(&[("basic", BASIC)]).await;
    let id = door.submit(basic(500)).await;
    let made = door.post("/v1/namespaces", &door.admin, json!({ "name": "team-b" })).await.is(201);
    let stranger = made.body["admin"]["apiKey"].as_str().unwrap().to_owned();
    for (id, key) in [(id.as_str(), &stranger), ("int_00ff", &door.admin)] {
        let cases = [
            (format!("/v1/intents/{id}"), "Proposal not found"),
            (format!("/v1/intents/{id}/audit"), "Proposal not found"),
            (format!("/v1/audit/{id}"), "Proposal not found"),
            (format!("/v1/intents/{id}/decision"), "No decision found for this intent"),
        ];
        for (path, error) in cases {
            let got = door.get(&path, key).await.is(404);
            assert_eq!((got.text("error"), got.text("code")), (error, "not_found"), "{path}");
        }
        let got = door.post(&format!("/v1/intents/{id}/approve"), key, json!({})).await.is(404);
        assert_eq!(got.text("error"), "Proposal not found");
    }
    assert_eq!(door.get("/v1/intents", &stranger).await.body["count"], 0);
    let own = door.get("/v1/namespaces", &stranger).await.is(200);
    assert_eq!(own.body["namespaces"][0]["name"], "team-b");
    let all = door.get("/v1/namespaces", &door.admin).await.is(200);
    assert_eq!(all.body["count"], 2);
    let cases = [("team-b", 409, "namespace_exists"), ("Team B", 400, "invalid_request")];
    for (name, status, error) in cases {
        let got = door.post("/v1/namespaces", &door.admin, json!({ "name": name })).await;
        assert_eq!(got.is(status).text("error"), error);
    }
    let got = door.post("/v1/namespaces", &stranger, json!({ "name": "c" })).await.is(403);
    assert_eq!(got.text("error"), "forbidden");
}

#[tokio::test]
async fn a_long_poll_answers_when_the_intent_is_decided() {
    let door = Door::policed(&[("basic", BASIC)]).await;
    let id = door.submit(basic(500)).await;
    let path = format!("/v1/intents/{id}?wait=60s");
    let waiting = door.get(&path, &door.agent);
    let approving = async {
        tokio::task::yield_now().await;
        door.post(&format!("/v1/intents/{id}/approve"), &door.reviewer, json!({})).await.is(200)
    };
    let (waited, _) = tokio::join!(waiting, approving);
    assert_eq!(waited.is(200).text("phase"), "allowed");
    let now = door.get(&format!("/v1/intents/{id}?wait=20ms&until=done"), &door.agent).await;
    assert_eq!(now.is(200).text("phase"), "allowed");
    door.get("/v1/intents/int_0000000000000001?wait=60s", &door.admin).await.is(404);
}

#[tokio::test(start_paused = true)]
async fn a_read_that_asks_for_a_later_entry_waits_for_it_or_fails() {
    let door = Door::policed(&[("basic", BASIC)]).await;
    let got = door.get("/v1/intents", &door.agent).await;
    let index: u64 = got.header("gate-index").parse().unwrap();
    let path = format!("/v1/intents?min_index={}", index + 1);
    let (waited, _) = tokio::join!(door.get(&path, &door.agent), door.submit(basic(5)));
    assert_eq!(waited.is(200).body["count"], 1);
    let far = door.get("/v1/intents?min_index=1000000", &door.agent).await.is(503);
    assert_eq!((far.text("error"), far.text("outcome")), ("no_quorum", "none"));
}

#[tokio::test]
async fn without_a_majority_only_stale_reads_are_answered() {
    let door = Door::policed(&[("basic", BASIC)]).await;
    let id = door.submit(basic(500)).await;
    door.log.alone.store(true, Ordering::SeqCst);
    for consistency in ["linearizable", "lease"] {
        let path = format!("/v1/intents/{id}?consistency={consistency}");
        let got = door.get(&path, &door.agent).await.is(503);
        assert_eq!((got.text("error"), got.text("outcome")), ("no_quorum", "none"));
        assert!(!got.header("retry-after").is_empty());
    }
    door.get(&format!("/v1/intents/{id}?consistency=stale"), &door.agent).await.is(200);
    door.get(&format!("/v1/intents/{id}?wait=60s"), &door.agent).await.is(503);
    let cluster = door.get("/v1/cluster", &door.admin).await.is(200);
    assert_eq!(cluster.body["leader_id"], Value::Null);
    door.get("/livez", "").await.is(200);
    let ready = door.get("/readyz?verbose", "").await.is(503);
    assert_eq!(ready.body["checks"][1]["name"], "leader_known");
    assert_eq!(ready.body["checks"][1]["ok"], false);
}
