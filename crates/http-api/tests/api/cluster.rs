//! Changes of the cluster: who may, what is recorded before what is made, and what is refused.

use gate::join_token;
use gate::log::{Change, ChangeError};
use serde_json::{Value, json};
use types::{LogTime, NodeId};

use crate::support::{Door, Got};

const ROUTES: [&str; 5] = ["promote", "demote", "remove", "transfer-leader", "join-token"];

async fn post(door: &Door, route: &str, key: &str, body: Value) -> Got {
    door.post(&format!("/v1/cluster/{route}"), key, body).await
}

/// What the trail has of the cluster: what happened, and of which node.
async fn recorded(door: &Door) -> Vec<(String, Value)> {
    let got = door.get("/v1/audit/entries?limit=1000", &door.auditor).await.is(200);
    let entries = got.body["entries"].as_array().expect("a list");
    let told = |entry: &Value| {
        let kind = entry["event_type"].as_str().expect("a kind").to_owned();
        let ours = kind.starts_with("node_")
            || ["cluster_change_requested", "join_token_issued"].contains(&kind.as_str());
        ours.then(|| (kind, entry["metadata"].clone()))
    };
    entries.iter().filter_map(told).collect()
}

#[tokio::test]
async fn the_cluster_is_changed_by_those_who_operate_it() {
    let door = Door::open().await;
    let (_, operator) = door.register("olga", "operator").await;
    let (_, worker) = door.register("wim", "worker").await;
    let other = door.post("/v1/namespaces", &door.admin, json!({ "name": "blue" })).await.is(201);
    let elsewhere = other.body["admin"]["apiKey"].as_str().expect("a key");
    for route in ROUTES {
        let body = if route == "join-token" { json!({}) } else { json!({ "node": 2 }) };
        for key in [&door.agent, &door.reviewer, &door.auditor, &worker, elsewhere] {
            let got = post(&door, route, key, body.clone()).await.is(403);
            assert_eq!(got.text("error"), "forbidden", "{route}");
        }
        door.post(&format!("/v1/cluster/{route}"), "", body.clone()).await.is(401);
    }
    assert_eq!(recorded(&door).await, [], "nothing was asked for");
    assert_eq!(door.log.changes.lock().len(), 0);
    for key in [&operator, &door.admin] {
        for route in ROUTES {
            let body = if route == "join-token" { json!({}) } else { json!({ "node": 2 }) };
            post(&door, route, key, body).await.is(200);
        }
    }
}

#[tokio::test]
async fn a_change_is_recorded_before_it_is_made() {
    let door = Door::open().await;
    *door.log.change_answer.lock() = Ok(1_000);
    let node = NodeId(3);
    #[rustfmt::skip]
    let cases = [
        ("promote", json!({ "node": 3 }), Change::Promote(node), "cluster_change_requested",
         json!({ "change": "promote", "node_id": 3 })),
        ("demote", json!({ "node": "3" }), Change::Demote(node), "cluster_change_requested",
         json!({ "change": "demote", "node_id": 3 })),
        ("remove", json!({ "node": 3 }), Change::Remove(node), "node_removed",
         json!({ "node_id": 3 })),
        ("transfer-leader", json!({ "node": 3 }), Change::TransferLeader(Some(node)),
         "cluster_change_requested", json!({ "change": "transfer_leader", "node_id": 3 })),
        ("transfer-leader", json!({}), Change::TransferLeader(None),
         "cluster_change_requested", json!({ "change": "transfer_leader", "node_id": null })),
    ];
    for (number, (route, body, change, kind, metadata)) in cases.into_iter().enumerate() {
        let before = door.log.applied();
        let got = post(&door, route, &door.admin, body).await.is(200);
        assert_eq!(got.body["change"], route.replace('-', "_"));
        assert_eq!((&got.body["index"], &got.body["leader_id"]), (&json!(1_000), &json!(1)));
        assert_eq!(got.header("gate-index"), "1000", "what was made, too");
        let made = door.log.changes.lock()[number];
        assert_eq!(made, (change, before + 1), "{route}: the ledger has it by then");
        assert_eq!(recorded(&door).await.last(), Some(&(kind.to_owned(), metadata)), "{route}");
    }
    // Nobody sends a body where none is needed.
    let request = axum::http::Request::post("/v1/cluster/transfer-leader")
        .header("Authorization", format!("Bearer {}", door.admin));
    door.send(request.body(axum::body::Body::empty())).await.is(200);
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_and_asked_of_nobody() {
    let door = Door::open().await;
    let cases = [
        ("promote", json!({}), "$.node"),
        ("promote", json!({ "node": 0 }), "$.node"),
        ("promote", json!({ "node": -1 }), "$.node"),
        ("demote", json!({ "node": "two" }), "$.node"),
        ("remove", json!({ "node": [3] }), "$.node"),
        ("remove", json!({ "node": 3, "force": true }), "$.force"),
        ("transfer-leader", json!({ "node": 0 }), "$.node"),
        ("transfer-leader", json!({ "to": 2 }), "$.to"),
        ("join-token", json!({ "valid_seconds": 0 }), "$.valid_seconds"),
        ("join-token", json!({ "valid_seconds": 86_401 }), "$.valid_seconds"),
        ("join-token", json!({ "valid": 60 }), "$.valid"),
    ];
    for (route, body, field) in cases {
        let got = post(&door, route, &door.admin, body.clone()).await.is(400);
        assert_eq!(got.text("field"), field, "{route} {body}");
    }
    assert_eq!(recorded(&door).await, []);
    assert_eq!(door.log.changes.lock().len(), 0);
}

#[tokio::test]
async fn a_change_that_is_not_made_says_so() {
    let door = Door::open().await;
    let refused = ChangeError::Refused("node 3 is 900 entries behind".into());
    let lost = ChangeError::Unknown("the leader did not answer".into());
    let cases = [
        (refused, 409, "cluster_change_refused", Value::Null),
        (ChangeError::NoLeader, 503, "no_quorum", json!("unknown")),
        (lost, 503, "outcome_unknown", json!("unknown")),
    ];
    for (error, status, code, outcome) in cases {
        *door.log.change_answer.lock() = Err(error.clone());
        let got = post(&door, "promote", &door.admin, json!({ "node": 3 })).await.is(status);
        assert_eq!((got.text("error"), &got.body["outcome"]), (code, &outcome));
        assert_eq!(got.text("message"), error.to_string());
    }
    assert_eq!(recorded(&door).await.len(), 3, "each was asked for");
}

#[tokio::test]
async fn no_id_is_used_up_for_a_node_that_cannot_leave() {
    let door = Door::open().await;
    let got = post(&door, "remove", &door.admin, json!({ "node": 9 })).await.is(409);
    assert_eq!(got.text("error"), "cluster_change_refused");
    assert!(got.text("message").contains("node 9 is no member"), "{}", got.body);
    *door.log.voters.lock() = 1;
    let got = post(&door, "remove", &door.admin, json!({ "node": 1 })).await.is(409);
    assert!(got.text("message").contains("the only voter"), "{}", got.body);
    assert_eq!(recorded(&door).await, []);
    assert_eq!(door.log.changes.lock().len(), 0);
    post(&door, "remove", &door.admin, json!({ "node": 2 })).await.is(200);
}

/// The answer to the first may have been lost.
#[tokio::test]
async fn a_node_that_has_left_is_removed_again_without_a_trace() {
    let door = Door::open().await;
    post(&door, "remove", &door.admin, json!({ "node": 3 })).await.is(200);
    // Not made yet, as far as anybody knows.
    post(&door, "remove", &door.admin, json!({ "node": 3 })).await.is(200);
    assert_eq!(door.log.changes.lock().len(), 2);
    *door.log.left.lock() = Some(NodeId(3));
    let again = post(&door, "remove", &door.admin, json!({ "node": 3 })).await.is(200);
    assert_eq!(again.body["index"].as_u64(), Some(door.log.applied()));
    assert_eq!(door.log.changes.lock().len(), 2, "nothing is left to be made");
    assert_eq!(recorded(&door).await.len(), 1);
    post(&door, "remove", &door.agent, json!({ "node": 3 })).await.is(403);
}

#[tokio::test]
async fn a_repeat_is_recorded_once_and_made_until_it_is_so() {
    let door = Door::open().await;
    let send = || {
        let (door, body) = (&door, json!({ "node": 3 }));
        async move { door.post_once("/v1/cluster/promote", &door.admin, "k", &body).await }
    };
    *door.log.change_answer.lock() = Err(ChangeError::NoLeader);
    send().await.is(503);
    *door.log.change_answer.lock() = Ok(50);
    let again = send().await.is(200);
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!(recorded(&door).await.len(), 1);
    assert_eq!(door.log.changes.lock().len(), 2);
    let other = json!({ "node": 2 });
    let got = door.post_once("/v1/cluster/promote", &door.admin, "k", &other).await.is(422);
    assert_eq!(got.text("error"), "idempotency_key_reused");
    assert_eq!(door.log.changes.lock().len(), 2, "and nothing is made");
}

#[tokio::test]
async fn a_join_token_is_signed_for_this_cluster_until_the_end_that_is_recorded() {
    let door = Door::open().await;
    let now = || door.log.leader_ms();
    let cluster = "c".repeat(32);
    let key = door.gate.settings().data_key.clone();
    for (body, valid_ms) in [(json!({}), 3_600_000), (json!({ "valid_seconds": 60 }), 60_000)] {
        let ends = LogTime(now() + valid_ms);
        let got = post(&door, "join-token", &door.admin, body).await.is(200);
        assert_eq!(got.text("cluster_id"), cluster);
        let token = got.text("token");
        assert_eq!(join_token::check(&key, &cluster, token, ends), Ok(()));
        let late = join_token::check(&key, &cluster, token, LogTime(ends.0 + 1));
        assert_eq!(late, Err(join_token::JoinTokenError::Expired));
        let metadata = json!({ "expires_at": got.body["expires_at"] });
        let (kind, told) = recorded(&door).await.pop().expect("a leaf");
        assert_eq!((kind.as_str(), told), ("join_token_issued", metadata));
    }
    let path = "/v1/cluster/join-token";
    let first = door.post_once(path, &door.admin, "t", &json!({})).await.is(200);
    door.log.advance_ms(1_000);
    let again = door.post_once(path, &door.admin, "t", &json!({})).await.is(200);
    assert_eq!(again.text("token"), first.text("token"), "the end is that of the first answer");
    assert_eq!(recorded(&door).await.len(), 3);
}
