//! Policies: sets, single documents, versions, conditions, simulation.

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

use crate::support::{BASIC, Door, Got, basic, bearer};

async fn put_yaml(door: &Door, id: &str, if_match: &str, yaml: &str) -> Got {
    let mut request = bearer(Request::put(format!("/v1/policies/{id}")), &door.admin);
    if !if_match.is_empty() {
        request = request.header("If-Match", if_match);
    }
    door.send(request.header("Content-Type", "application/yaml").body(Body::from(yaml.to_owned())))
        .await
}

#[tokio::test]
async fn a_document_comes_changes_and_goes() {
    let door = Door::open().await;
    let none = door.get("/v1/policies", &door.agent).await.is(200);
    assert_eq!((&none.body["policies"], &none.body["version"]), (&json!([]), &json!(0)));

    let made = put_yaml(&door, "basic", "", BASIC).await.is(201);
    assert_eq!((made.text("id"), &made.body["version"]), ("basic", &json!(1)));
    assert_eq!(made.text("digest").len(), 64);
    let same = put_yaml(&door, "basic", "", BASIC).await.is(200);
    assert_eq!((&same.body["version"], &same.body["changed"]), (&json!(1), &json!(false)));
    let other = put_yaml(&door, "other", "", "require_approval: always\n").await.is(201);
    assert_eq!(other.body["version"], 2);
    let changed = put_yaml(&door, "basic", "\"2\"", "auto_approve_under: 3\n").await.is(200);
    assert_eq!(changed.body["version"], 3);

    let list = door.get("/v1/policies", &door.agent).await.is(200);
    assert_eq!(list.body["policies"], json!(["basic", "other"]));
    assert_eq!(list.body["version"], 3);
    assert_eq!(list.header("etag"), "\"3\"");
    let read = door.get("/v1/policies/basic", &door.auditor).await.is(200);
    assert_eq!(read.text("yaml"), "auto_approve_under: 3\n");

    let gone = bearer(Request::delete("/v1/policies/other"), &door.admin).body(Body::empty());
    let gone = door.send(gone).await.is(200);
    assert_eq!((&gone.body["deleted"], &gone.body["version"]), (&json!(true), &json!(4)));
    let again = bearer(Request::delete("/v1/policies/other"), &door.admin).body(Body::empty());
    assert_eq!(door.send(again).await.is(404).text("error"), "Policy not found");
    door.get("/v1/policies/other", &door.auditor).await.is(404);

    let history = door.get("/v1/policies/basic/versions", &door.auditor).await.is(200);
    let versions: Vec<&Value> =
        history.body["versions"].as_array().unwrap().iter().map(|row| &row["version"]).collect();
    assert_eq!(versions, [3, 1]);
    let history = door.get("/v1/policies/other/versions", &door.auditor).await.is(200);
    let deleted: Vec<&Value> =
        history.body["versions"].as_array().unwrap().iter().map(|row| &row["deleted"]).collect();
    assert_eq!(deleted, [&json!(true), &json!(false)]);
    let page = door.get("/v1/policies/basic/versions?limit=2", &door.auditor).await.is(200);
    assert_eq!((&page.body["count"], &page.body["next"]), (&json!(1), &json!(3)));
    let rest = door.get("/v1/policies/basic/versions?before=3", &door.auditor).await.is(200);
    assert_eq!(rest.body["versions"][0]["version"], 1);
    door.get("/v1/policies/never/versions", &door.auditor).await.is(404);
}

#[tokio::test]
async fn a_condition_that_does_not_hold_is_a_412() {
    let door = Door::policed(&[("basic", BASIC)]).await;
    for stale in ["0", "\"7\""] {
        let got = put_yaml(&door, "basic", stale, "auto_approve_under: 1\n").await.is(412);
        assert_eq!(got.text("error"), "policy_version_mismatch");
        assert_eq!(got.body["current"], 1);
    }
    let set = bearer(Request::put("/v1/policies"), &door.admin).header("If-Match", "9");
    let set = set.body(Body::from(json!({ "policies": {} }).to_string()));
    assert_eq!(door.send(set).await.is(412).body["current"], 1);
    let got = put_yaml(&door, "basic", "soon", BASIC).await.is(400);
    assert_eq!(got.text("field"), "If-Match");
    put_yaml(&door, "basic", "*", BASIC).await.is(200);
}

#[tokio::test]
async fn a_bad_document_is_answered_with_every_problem_and_changes_nothing() {
    let door = Door::policed(&[("basic", BASIC)]).await;
    let bad = "destinations: [a]\nrequire_aproval_over: 5\nauto_approve_under: -1\n";
    let got = put_yaml(&door, "new", "", bad).await.is(400);
    assert_eq!(got.text("error"), "invalid_policy");
    assert_eq!((got.text("file"), &got.body["line"]), ("new.yaml", &json!(2)));
    assert!(got.body["column"].is_u64());
    assert_eq!(got.text("nearest"), "require_approval_over");
    assert_eq!(got.body["problems"].as_array().unwrap().len(), 2);
    let bad_set = json!({ "policies": { "a": "]", "b": BASIC } });
    let got = door.put("/v1/policies", &door.admin, bad_set).await.is(400);
    assert_eq!(got.text("file"), "a.yaml");
    let cases = [json!({}), json!({ "policies": [] }), json!({ "policies": { "a": 1 } })];
    for body in cases {
        let got = door.put("/v1/policies", &door.admin, body.clone()).await.is(400);
        assert_eq!(got.text("error"), "invalid_request", "{body}");
    }
    let list = door.get("/v1/policies", &door.agent).await;
    assert_eq!((&list.body["policies"], &list.body["version"]), (&json!(["basic"]), &json!(1)));
}

#[tokio::test]
async fn rules_are_read_by_readers_and_changed_by_admins() {
    let door = Door::policed(&[("basic", BASIC)]).await;
    for (key, status) in [(&door.agent, 403), (&door.reviewer, 200), (&door.auditor, 200)] {
        door.get("/v1/policies/basic", key).await.is(status);
        door.get("/v1/policies/basic/versions", key).await.is(status);
    }
    for key in [&door.agent, &door.reviewer, &door.auditor] {
        let set = json!({ "policies": {} });
        let got = door.put("/v1/policies", key, set).await.is(403);
        assert_eq!(got.text("error"), "forbidden");
        let put = bearer(Request::put("/v1/policies/basic"), key).body(Body::from("a: 1"));
        door.send(put).await.is(403);
        let gone = bearer(Request::delete("/v1/policies/basic"), key).body(Body::empty());
        door.send(gone).await.is(403);
    }
}

#[tokio::test]
async fn a_simulation_explains_and_stores_nothing() {
    let door = Door::policed(&[("basic", BASIC)]).await;
    let before = door.get("/v1/audit/checkpoint", &door.auditor).await;
    for (records, outcome) in [(5, "allow"), (500, "hold")] {
        let got = door.post("/v1/policies/simulate", &door.agent, basic(records)).await.is(200);
        assert_eq!(got.text("outcome"), outcome);
        assert_eq!(got.body["policy_version"], 1);
        assert_eq!(got.body["reasons"][0]["policy"], "basic");
        assert_eq!(got.body["reasons"][0]["file"], "basic.yaml");
        assert_eq!(got.body["not_consulted"], json!(["windows", "rates", "agent_scope"]));
        assert!(got.text("note").contains("nothing was stored"));
    }
    let mut tried = basic(500);
    tried["policies"] = json!({ "basic": "auto_approve_under: 1000\n" });
    let got = door.post("/v1/policies/simulate", &door.reviewer, tried.clone()).await.is(200);
    assert_eq!((got.text("outcome"), &got.body["policy_version"]), ("allow", &Value::Null));
    door.post("/v1/policies/simulate", &door.agent, tried.clone()).await.is(403);
    tried["policies"] = json!({ "basic": "auto_aprove_under: 1000\n" });
    let got = door.post("/v1/policies/simulate", &door.reviewer, tried).await.is(400);
    assert_eq!((got.text("error"), got.text("nearest")), ("invalid_policy", "auto_approve_under"));
    let uncovered = json!({ "destination": "erp.orders" });
    let got = door.post("/v1/policies/simulate", &door.agent, uncovered).await.is(200);
    assert_eq!((got.text("outcome"), &got.body["covered"]), ("hold", &json!(false)));
    assert_eq!(door.get("/v1/intents", &door.admin).await.body["count"], 0);
    let after = door.get("/v1/audit/checkpoint", &door.auditor).await;
    assert_eq!(after.body["size"], before.body["size"]);
}
