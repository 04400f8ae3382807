//! Principals: registration, lists, status, roles, keys.

use serde_json::{Value, json};

use crate::support::Door;

#[tokio::test]
async fn a_registration_shows_the_key_once_in_the_shape_of_existing_clients() {
    let door = Door::open().await;
    let body = json!({
        "name": "crm-bot", "owner": "team-a", "framework": "langgraph",
        "allowed_policies": ["basic"], "allowed_destinations": ["crm.import"],
        "riskTier": "high", "metadata": { "b": 2, "a": 1 },
    });
    let got = door.post("/v1/agents/register", &door.admin, body).await.is(201);
    let id = got.text("agent_id").to_owned();
    assert_eq!(got.body["agentId"], id.as_str());
    assert_eq!((got.text("status"), got.text("role")), ("active", "agent"));
    let key = got.text("apiKey").to_owned();
    assert!(key.starts_with("gate_sk_") && key.len() == 56);
    let own = door.get(&format!("/v1/agents/{id}"), &key).await.is(200);
    for (name, value) in [
        ("id", json!(id)),
        ("name", json!("crm-bot")),
        ("owner", json!("team-a")),
        ("risk_tier", json!("high")),
        ("framework", json!("langgraph")),
        ("allowed_policies", json!(["basic"])),
        ("metadata", json!({ "a": 1, "b": 2 })),
    ] {
        assert_eq!(own.body[name], value, "{name}");
    }
    assert!(!own.body.to_string().contains(&key));
}

#[tokio::test]
async fn registration_needs_an_admin_and_a_name() {
    let door = Door::open().await;
    let path = "/v1/agents/register";
    let cases = [
        (door.admin.as_str(), json!({}), 400, "name is required"),
        (&door.admin, json!({ "name": "" }), 400, "name is required"),
        (&door.admin, json!({ "name": 5 }), 400, "invalid_request"),
        (&door.admin, json!({ "name": "x", "role": "king" }), 400, "invalid_request"),
        (&door.agent, json!({ "name": "x" }), 403, "forbidden"),
        (&door.reviewer, json!({ "name": "x" }), 403, "forbidden"),
        ("", json!({ "name": "x" }), 401, "Missing or invalid Authorization header"),
    ];
    for (key, body, status, error) in cases {
        let got = door.post(path, key, body.clone()).await.is(status);
        assert_eq!(got.text("error"), error, "{body}");
    }
}

/// A restriction under a name that is not read would be none.
#[tokio::test]
async fn a_registration_reads_both_spellings_and_drops_nothing() {
    let door = Door::open().await;
    let path = "/v1/agents/register";
    let body = json!({
        "name": "q", "allowedDestinations": ["crm.x"], "allowedPolicies": ["basic"],
        "risk_tier": "high", "owner": null,
    });
    let made = door.post(path, &door.admin, body).await.is(201);
    assert_eq!(made.body["allowed_destinations"], json!(["crm.x"]));
    assert_eq!(made.body["allowed_policies"], json!(["basic"]));
    assert_eq!(made.text("risk_tier"), "high");
    for (more, field, message) in [
        (
            json!({ "allowed_destinations": ["a"], "allowedDestinations": ["b"] }),
            "$.allowedDestinations",
            "says something else than $.allowed_destinations",
        ),
        (
            json!({ "allowed_policies": ["a"], "allowedPolicies": [] }),
            "$.allowedPolicies",
            "says something else",
        ),
        (json!({ "riskTier": "low", "risk_tier": "high" }), "$.risk_tier", "something else"),
        (
            json!({ "allowed_destination": ["crm.x"] }),
            "$.allowed_destination",
            "did you mean `allowed_destinations`?",
        ),
        (
            json!({ "AllowedPolices": ["a"] }),
            "$.AllowedPolices",
            "did you mean `allowed_policies`?",
        ),
        (json!({ "roll": "agent" }), "$.roll", "did you mean `role`?"),
        (
            json!({ "scopes": ["crm.x"] }),
            "$.scopes",
            "no such field; this request takes name, role, metadata, owner, framework, riskTier, \
             allowed_policies, allowed_destinations",
        ),
    ] {
        let mut body = json!({ "name": "q" });
        more.as_object().unwrap().iter().for_each(|(name, value)| body[name] = value.clone());
        let got = door.post(path, &door.admin, body).await.is(400);
        assert_eq!((got.text("error"), got.text("field")), ("invalid_request", field));
        assert!(got.text("message").contains(message), "{}", got.body);
    }
    assert_eq!(door.get("/v1/agents", &door.admin).await.body["count"], 5);
}

#[tokio::test]
async fn open_registration_makes_agents_and_nothing_else() {
    let door = Door::with(true).await;
    let body = json!({ "name": "x", "role": "admin" });
    let got = door.post("/v1/agents/register", "", body).await.is(201);
    assert_eq!(got.text("role"), "agent");
    let bad = door.post("/v1/agents/register", "gate_sk_wrong", json!({ "name": "y" })).await;
    assert_eq!(bad.is(401).text("error"), "Invalid API key");
}

#[tokio::test]
async fn lists_and_rows_of_others_are_for_those_who_may_read_all() {
    let door = Door::open().await;
    for key in [&door.reviewer, &door.auditor, &door.admin] {
        let got = door.get("/v1/agents", key).await.is(200);
        assert_eq!(got.body["agents"].as_array().unwrap().len(), 4);
    }
    assert_eq!(door.get("/v1/agents", &door.agent).await.is(403).text("error"), "forbidden");
    let first = door.get("/v1/agents?limit=3", &door.admin).await.is(200);
    let rest = format!("/v1/agents?limit=3&after={}", first.text("next"));
    assert_eq!(door.get(&rest, &door.admin).await.body["count"], 1);
    let other = first.body["agents"][0]["id"].as_str().unwrap();
    let got = door.get(&format!("/v1/agents/{other}"), &door.agent).await.is(403);
    assert_eq!(got.text("message"), "Cannot access other agents");
    for id in ["agt_0000000000000001", "nobody"] {
        let got = door.get(&format!("/v1/agents/{id}"), &door.reviewer).await.is(404);
        assert_eq!(got.text("error"), "Agent not found");
    }
}

#[tokio::test]
async fn a_stopped_principal_is_turned_away_until_it_is_resumed() {
    let door = Door::open().await;
    let (id, key) = door.register("bot", "agent").await;
    let path = |verb: &str| format!("/v1/agents/{id}/{verb}");
    let got = door.post(&path("suspend"), &door.reviewer, json!({})).await.is(200);
    assert_eq!((got.text("agent_id"), got.text("status")), (id.as_str(), "suspended"));
    let got = door.get("/v1/intents", &key).await.is(403);
    assert_eq!((got.text("error"), got.text("status")), ("agent_inactive", "suspended"));
    assert!(got.text("message").contains("can resume it"), "{}", got.body);
    door.post(&path("resume"), &door.admin, Value::Null).await.is(200);
    door.get("/v1/intents", &key).await.is(200);
    door.post(&path("revoke"), &door.admin, json!({})).await.is(200);
    let got = door.get("/v1/intents", &key).await.is(403);
    assert_eq!(got.text("status"), "revoked");
    assert!(got.text("message").contains("revoked for ever"), "{}", got.body);
    let got = door.post(&path("resume"), &door.admin, json!({})).await.is(409);
    assert_eq!(got.text("error"), "revoked");
    let got = door.post(&path("suspend"), &door.agent, json!({})).await.is(403);
    assert_eq!(got.text("error"), "forbidden");
    let unknown = "/v1/agents/agt_0000000000000001/suspend";
    let got = door.post(unknown, &door.admin, json!({})).await.is(404);
    assert_eq!(got.text("error"), "Agent not found");
}

#[tokio::test]
async fn roles_are_given_by_admins_and_the_last_admin_stays() {
    let door = Door::open().await;
    let (id, key) = door.register("pat", "agent").await;
    let path = format!("/v1/agents/{id}/role");
    let got = door.post(&path, &door.reviewer, json!({ "role": "admin" })).await.is(403);
    assert_eq!(got.text("error"), "forbidden");
    for bad in [json!({}), json!({ "role": "boss" }), json!({ "role": 1 })] {
        let got = door.post(&path, &door.admin, bad).await.is(400);
        assert_eq!(got.text("field"), "$.role");
    }
    let got = door.post(&path, &door.admin, json!({ "role": "reviewer" })).await.is(200);
    assert_eq!((got.text("agent_id"), got.text("role")), (id.as_str(), "reviewer"));
    door.get("/v1/agents", &key).await.is(200);

    let list = door.get("/v1/agents", &door.admin).await;
    let rows = list.body["agents"].as_array().unwrap();
    let admin = rows.iter().find(|row| row["role"] == "admin").unwrap()["id"].as_str().unwrap();
    let path = format!("/v1/agents/{admin}/role");
    let got = door.post(&path, &door.admin, json!({ "role": "agent" })).await.is(409);
    assert_eq!(got.text("error"), "last_admin");
}

#[tokio::test]
async fn a_node_that_is_behind_turns_nobody_away_and_lets_nobody_in() {
    let door = Door::open().await;
    let (id, early) = door.register("early", "agent").await;
    let change = |verb: &str| format!("/v1/agents/{id}/{verb}");

    door.log.fall_behind();
    let (_, late) = door.register("late", "agent").await;
    door.get("/v1/intents", &late).await.is(200);

    door.log.fall_behind();
    let reviewer = json!({ "role": "reviewer" });
    door.post(&change("role"), &door.admin, reviewer).await.is(200);
    let got = door.post("/v1/approve", &early, json!({})).await.is(400);
    assert_eq!(got.text("error"), "proposalId required");

    door.log.fall_behind();
    door.post(&change("suspend"), &door.admin, json!({})).await.is(200);
    door.get("/v1/agents?consistency=stale", &early).await.is(200);
    let got = door.get("/v1/agents", &early).await.is(403);
    assert_eq!(got.text("error"), "agent_inactive");
}

#[tokio::test]
async fn a_rotated_key_ends_at_once_or_after_the_overlap() {
    let door = Door::open().await;
    let (id, key) = door.register("bot", "agent").await;
    let path = format!("/v1/agents/{id}/rotate-key");
    let soft = door.post(&path, &key, json!({ "overlap_seconds": 3_600 })).await.is(201);
    for key in [key.as_str(), soft.text("apiKey")] {
        door.get("/v1/intents", key).await.is(200);
    }
    let hard = door.post(&path, &door.admin, json!({})).await.is(201);
    door.get("/v1/intents", hard.text("apiKey")).await.is(200);
    for old in [key.as_str(), soft.text("apiKey")] {
        let got = door.get("/v1/intents", old).await.is(401);
        assert_eq!(got.text("error"), "Invalid API key");
    }
    let got = door.post(&path, &door.reviewer, json!({})).await.is(403);
    assert_eq!(got.text("error"), "forbidden");
    let soft = door.post(&path, &door.admin, json!({ "overlapSeconds": 60 })).await.is(201);
    assert_eq!(soft.body["overlap_seconds"], 60);
    let far = json!({ "overlap_seconds": 99_999_999 });
    let got = door.post(&path, &door.admin, far).await.is(400);
    assert_eq!(got.text("field"), "$.overlap_seconds");
}
