//! Destinations and channels: single documents, sets, conditions, what is refused and who may.

use std::sync::atomic::Ordering;

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

use crate::support::{Door, Got, basic, bearer};

const PHONE: &str = "\
kind: http
request: {url: 'https://phone.example/calls', headers: {Authorization: 'Bearer ${secret:known_a}'}}
idempotency: header
failed_without_effect: [400, 404]
";
const CRM: &str = "kind: http\nexecute: on_request\nrequest: {url: 'https://crm.example/x'}\n";
const OPS: &str = "\
kind: webhook
url: https://hooks.example/in?token=${secret:known_in}
secret: ${secret:known_sign}
events: [held, in_doubt]
resources: [crm.*]
";
/// `crm.*` as clients escape it.
const CRM_ALL: &str = "/v1/destinations/crm.%2A";

async fn put_yaml(door: &Door, path: &str, if_match: &str, yaml: &str) -> Got {
    put_as(door, &door.admin, path, if_match, yaml).await
}

async fn put_as(door: &Door, key: &str, path: &str, if_match: &str, yaml: &str) -> Got {
    let mut request = bearer(Request::put(path), key);
    if !if_match.is_empty() {
        request = request.header("If-Match", if_match);
    }
    door.send(request.header("Content-Type", "application/yaml").body(Body::from(yaml.to_owned())))
        .await
}

async fn delete(door: &Door, key: &str, path: &str) -> Got {
    door.send(bearer(Request::delete(path), key).body(Body::empty())).await
}

fn column(got: &Got, list: &str, name: &str) -> Vec<Value> {
    got.body[list].as_array().unwrap().iter().map(|row| row[name].clone()).collect()
}

#[tokio::test]
async fn an_intent_says_what_its_approval_sets_off_to_those_who_read_destinations() {
    let door = Door::policed(&[("basic", crate::support::BASIC)]).await;
    let id = door.submit(basic(500)).await;
    let path = format!("/v1/intents/{id}");
    let before = door.get(&path, &door.reviewer).await.is(200);
    assert_eq!(before.body["carried_out_by"], Value::Null);
    put_yaml(&door, CRM_ALL, "", CRM).await.is(201);
    let shown = door.get(&path, &door.reviewer).await.is(200);
    let expected = json!({
        "name": "crm.*", "kind": "http", "execute": "on_request", "method": "POST",
        "url": "https://crm.example/x", "promise": "at most once; doubt is shown",
    });
    assert_eq!(shown.body["carried_out_by"], expected);
    let own = door.get(&path, &door.agent).await.is(200);
    assert_eq!(own.body["carried_out_by"], Value::Null);
}

#[tokio::test]
async fn the_deliveries_of_a_channel_that_nobody_knows_are_not_found() {
    let door = Door::open().await;
    let path = "/v1/channels/ops/deliveries";
    let got = door.get(path, &door.auditor).await.is(404);
    assert_eq!(got.text("error"), "Channel not found");
    put_yaml(&door, "/v1/channels/ops", "", OPS).await.is(201);
    assert_eq!(door.get(path, &door.auditor).await.is(200).body["count"], 0);
}

/// A destination's word on the environment overrules the agent's, for real and when it is tried.
#[tokio::test]
async fn a_declared_environment_is_judged_and_simulated() {
    const POLICY: &str = "require_approval_over: 1000
auto_approve_under: 1000
environments:
  production:
    auto_approve_under: 1
    require_approval_over: 1
";
    let door = Door::policed(&[("basic", POLICY)]).await;
    let mut body = basic(50);
    body["metadata"] = json!({"environment": "sandbox"});
    let outcomes = async |expected: &str| {
        let tried = door.post("/v1/policies/simulate", &door.agent, body.clone()).await.is(200);
        let real = door.post("/v1/intents", &door.agent, body.clone()).await.is(200);
        assert_eq!((tried.text("status"), real.text("status")), (expected, expected));
        tried.body["carried_out"].clone()
    };
    assert_eq!(outcomes("approved").await, json!(null));
    let yaml = "kind: worker\nenvironment: production\n";
    let path = format!("/v1/destinations/{}", body["destination"].as_str().unwrap());
    put_yaml(&door, &path, "", yaml).await.is(201);
    let worker = json!({"kind": "worker", "execute": null});
    assert_eq!(outcomes("pending_approval").await, worker);
    put_yaml(&door, &path, "", PHONE).await.is(200);
    let by_the_gate = json!({"kind": "http", "execute": "on_approval"});
    assert_eq!(outcomes("approved").await, by_the_gate);
}

#[tokio::test]
async fn a_destination_comes_changes_and_goes() {
    let door = Door::open().await;
    let none = door.get("/v1/destinations", &door.auditor).await.is(200);
    assert_eq!((&none.body["destinations"], &none.body["version"]), (&json!([]), &json!(0)));

    let made = put_yaml(&door, "/v1/destinations/leads.outbound_call", "", PHONE).await.is(201);
    assert_eq!((made.text("name"), made.text("kind")), ("leads.outbound_call", "http"));
    assert_eq!((&made.body["version"], &made.body["changed"]), (&json!(1), &json!(true)));
    assert!(made.text("promise").starts_with("at least once"), "{}", made.body);
    let same = put_yaml(&door, "/v1/destinations/leads.outbound_call", "", PHONE).await.is(200);
    assert_eq!((&same.body["version"], &same.body["changed"]), (&json!(1), &json!(false)));
    let crm = put_yaml(&door, CRM_ALL, "\"1\"", CRM).await.is(201);
    assert_eq!((crm.text("name"), &crm.body["version"]), ("crm.*", &json!(2)));
    assert_eq!(crm.text("promise"), "at most once; doubt is shown");
    let worker = put_yaml(&door, CRM_ALL, "", "kind: worker\n").await.is(200);
    assert_eq!(worker.body["version"], 3);
    assert!(worker.text("promise").starts_with("worker orders"), "{}", worker.body);
    assert_ne!(worker.text("digest"), worker.text("set_digest"));

    let list = door.get("/v1/destinations", &door.reviewer).await.is(200);
    assert_eq!(column(&list, "destinations", "name"), ["crm.*", "leads.outbound_call"]);
    assert_eq!(column(&list, "destinations", "execute"), [json!(null), json!("on_approval")]);
    assert_eq!(column(&list, "destinations", "idempotency"), [json!(null), json!("header")]);
    assert_eq!((&list.body["version"], list.header("etag")), (&json!(3), "\"3\""));
    assert_eq!(list.text("digest"), worker.text("set_digest"));

    let gone = delete(&door, &door.admin, CRM_ALL).await.is(200);
    assert_eq!((&gone.body["deleted"], &gone.body["version"]), (&json!(true), &json!(4)));
    let again = delete(&door, &door.admin, CRM_ALL).await.is(404);
    assert_eq!(again.text("error"), "Destination not found");
    door.get(CRM_ALL, &door.auditor).await.is(404);
}

#[tokio::test]
async fn a_destination_is_shown_as_written_and_as_compiled() {
    let door = Door::open().await;
    let path = "/v1/destinations/leads.outbound_call";
    let made = put_yaml(&door, path, "", PHONE).await.is(201);
    let got = door.get(path, &door.auditor).await.is(200);
    assert_eq!((got.text("yaml"), got.text("digest")), (PHONE, made.text("digest")));
    assert_eq!(got.header("etag"), "\"1\"");
    let expected = json!({
        "kind": "http",
        "environment": null,
        "execute": "on_approval",
        "request": {
            "method": "POST",
            "url": "https://phone.example/calls",
            "headers": { "Authorization": "Bearer ${secret:known_a}" },
            "body": "{{ payload }}",
            "timeout_ms": 10_000,
        },
        "idempotency": "header",
        "success": ["200-299"],
        "failed_without_effect": [400, 404],
        "concurrency": 16,
    });
    assert_eq!(got.body["compiled"], expected);
}

#[tokio::test]
async fn a_channel_comes_changes_and_goes() {
    let door = Door::open().await;
    let made = put_yaml(&door, "/v1/channels/ops", "", OPS).await.is(201);
    assert_eq!((made.text("name"), made.text("kind")), ("ops", "webhook"));
    let slack = "kind: slack\nurl: ${secret:known_slack}\nevents: [failed]\n";
    put_yaml(&door, "/v1/channels/chat", "", slack).await.is(201);
    let list = door.get("/v1/channels", &door.auditor).await.is(200);
    assert_eq!(column(&list, "channels", "name"), ["chat", "ops"]);
    assert_eq!(column(&list, "channels", "signed"), [false, true]);
    let got = door.get("/v1/channels/ops", &door.auditor).await.is(200);
    assert_eq!(got.text("yaml"), OPS);
    assert_eq!(got.body["compiled"]["events"], json!(["held", "in_doubt"]));
    assert_eq!(got.body["compiled"]["resources"], json!(["crm.*"]));
    let changed = put_yaml(&door, "/v1/channels/ops", "2", slack).await.is(200);
    assert_eq!((changed.text("kind"), &changed.body["version"]), ("slack", &json!(3)));
    delete(&door, &door.admin, "/v1/channels/ops").await.is(200);
    let again = delete(&door, &door.admin, "/v1/channels/ops").await.is(404);
    assert_eq!(again.text("error"), "Channel not found");
    // The two kinds have versions of their own.
    assert_eq!(door.get("/v1/destinations", &door.auditor).await.body["version"], 0);
}

#[tokio::test]
async fn a_set_comes_into_force_at_once() {
    let door = Door::open().await;
    let set = json!({ "destinations": { "crm.*": CRM, "a": "kind: worker\n" } });
    let got = door.put("/v1/destinations", &door.admin, set.clone()).await.is(200);
    assert_eq!(got.body["destinations"], json!(["a", "crm.*"]));
    let same = door.put("/v1/destinations", &door.admin, set).await.is(200);
    assert_eq!((&same.body["version"], &same.body["changed"]), (&json!(1), &json!(false)));
    assert_eq!(same.text("digest"), got.text("digest"));
    let other = json!({ "destinations": { "b": "kind: worker\n" } });
    door.put("/v1/destinations", &door.admin, other).await.is(200);
    let list = door.get("/v1/destinations", &door.auditor).await;
    assert_eq!(column(&list, "destinations", "name"), ["b"]);
    let channels = json!({ "channels": { "ops": OPS } });
    let got = door.put("/v1/channels", &door.admin, channels).await.is(200);
    assert_eq!(got.body["channels"], json!(["ops"]));

    let bad = json!({ "destinations": { "a": "kind: htpp\n", "b": "]", "c": CRM } });
    let got = door.put("/v1/destinations", &door.admin, bad).await.is(400);
    assert_eq!(got.body["problems"].as_array().unwrap().len(), 2);
    assert_eq!((got.text("file"), got.text("nearest")), ("a.yaml", "http"));
    for body in [json!({}), json!({ "destinations": [] }), json!({ "destinations": { "a": 1 } })] {
        let got = door.put("/v1/destinations", &door.admin, body.clone()).await.is(400);
        assert_eq!(got.text("error"), "invalid_request", "{body}");
    }
    let many: serde_json::Map<String, Value> =
        (0..257).map(|number| (format!("r{number}"), json!("kind: worker\n"))).collect();
    let many = json!({ "destinations": many });
    let got = door.put("/v1/destinations", &door.admin, many).await.is(409);
    assert_eq!(got.text("error"), "settings_full");
    let list = door.get("/v1/destinations", &door.auditor).await;
    assert_eq!(column(&list, "destinations", "name"), ["b"]);
}

#[tokio::test]
async fn a_condition_that_does_not_hold_is_a_412() {
    let door = Door::open().await;
    put_yaml(&door, CRM_ALL, "0", CRM).await.is(201);
    for stale in ["0", "\"7\""] {
        let got = put_yaml(&door, CRM_ALL, stale, "kind: worker\n").await.is(412);
        assert_eq!(got.text("error"), "settings_version_mismatch");
        assert_eq!(got.body["current"], 1);
    }
    let gone = bearer(Request::delete(CRM_ALL), &door.admin).header("If-Match", "9");
    door.send(gone.body(Body::empty())).await.is(412);
    let got = put_yaml(&door, CRM_ALL, "soon", CRM).await.is(400);
    assert_eq!(got.text("field"), "If-Match");
    put_yaml(&door, CRM_ALL, "*", CRM).await.is(200);
    let got = door.get(CRM_ALL, &door.auditor).await.is(200);
    assert_eq!((got.text("yaml"), &got.body["version"]), (CRM, &json!(1)));
}

#[tokio::test]
#[rustfmt::skip]
async fn a_bad_document_is_answered_with_its_place_and_changes_nothing() {
    let door = Door::open().await;
    let cases = [
        ("/v1/destinations/a", "kind: http\nrequst: {}\n", "invalid_destination",
         "a.yaml", 2, 1, "unknown key `requst`"),
        ("/v1/destinations/a", "kind: rest\n", "invalid_destination",
         "a.yaml", 1, 7, "not built in yet"),
        ("/v1/destinations/a", "kind: http\nrequest:\n  url: https://a/${secret:other}\n",
         "invalid_destination", "a.yaml", 3, 18, "the secret `other` is not declared"),
        ("/v1/destinations/a", "kind: http\nrequest: {url: 'https://a/', body: '{{'}\n",
         "invalid_destination", "a.yaml", 2, 36, "a template is never closed"),
        ("/v1/destinations/a%0A", "kind: worker\n", "invalid_destination",
         "destination.yaml", 1, 1, "no control characters"),
        ("/v1/channels/a", "kind: slack\nurl: ${secret:other}\nevents: [held]\n",
         "invalid_channel", "a.yaml", 2, 6, "the secret `other` is not declared"),
        ("/v1/channels/a", "kind: slack\nurl: https://a/\nevents: [hold]\n",
         "invalid_channel", "a.yaml", 3, 10, "`events` is held"),
        ("/v1/channels/a%20b", OPS, "invalid_channel", "channel.yaml", 1, 1, "a channel's name"),
    ];
    for (path, yaml, code, file, line, column, message) in cases {
        let got = put_yaml(&door, path, "", yaml).await.is(400);
        assert_eq!((got.text("error"), got.text("file")), (code, file), "{}", got.body);
        assert_eq!((&got.body["line"], &got.body["column"]), (&json!(line), &json!(column)), "{}",
                   got.body);
        assert!(got.text("message").contains(message), "{}", got.body);
    }
    for list in ["/v1/destinations", "/v1/channels"] {
        assert_eq!(door.get(list, &door.auditor).await.body["version"], 0);
    }
}

/// Another node may have changed the set a moment ago.
#[tokio::test]
async fn a_node_that_is_behind_changes_what_is_in_force() {
    let door = Door::open().await;
    let elsewhere = async |change: &str| {
        let body = json!({ "destinations": { "a": change, "b": CRM } });
        door.log.fall_behind();
        door.put("/v1/destinations", &door.admin, body).await.is(200);
    };
    elsewhere(CRM).await;
    let made = put_yaml(&door, "/v1/destinations/b", "", "kind: worker\n").await.is(200);
    assert_eq!(made.body["version"], 2, "it was there before, and was put at the first try");
    elsewhere("kind: worker\n").await;
    delete(&door, &door.admin, "/v1/destinations/b").await.is(200);
    let list = door.get("/v1/destinations", &door.auditor).await;
    assert_eq!(column(&list, "destinations", "name"), ["a"]);
    door.log.alone.store(true, Ordering::SeqCst);
    let got = put_yaml(&door, "/v1/destinations/b", "", CRM).await.is(503);
    assert_eq!((got.text("error"), got.text("outcome")), ("no_quorum", "none"));
}

/// A secret belongs to the namespaces that the configuration names.
#[tokio::test]
async fn another_namespace_has_other_secrets_and_sees_nothing() {
    let door = Door::open().await;
    put_yaml(&door, "/v1/destinations/a", "", PHONE).await.is(201);
    let made = door.post("/v1/namespaces", &door.admin, json!({ "name": "sales" })).await.is(201);
    let other = made.body["admin"]["apiKey"].as_str().unwrap();
    door.get("/v1/destinations/a", other).await.is(404);
    let got = put_as(&door, other, "/v1/destinations/a", "", PHONE).await.is(400);
    assert!(got.text("message").contains("for the namespace `sales`"), "{}", got.body);
    put_as(&door, other, "/v1/destinations/a", "", CRM).await.is(201);
    assert_eq!(door.get("/v1/destinations/a", &door.auditor).await.text("yaml"), PHONE);
}

#[tokio::test]
async fn documents_are_read_by_readers_and_changed_by_admins() {
    let door = Door::open().await;
    put_yaml(&door, "/v1/destinations/a", "", CRM).await.is(201);
    put_yaml(&door, "/v1/channels/a", "", OPS).await.is(201);
    let operator = door.register("olga", "operator").await.1;
    let paths = ["/v1/destinations", "/v1/destinations/a", "/v1/channels", "/v1/channels/a"];
    for path in paths {
        for key in [&door.reviewer, &door.auditor, &operator, &door.admin] {
            door.get(path, key).await.is(200);
        }
        door.get(path, &door.agent).await.is(403);
        door.get(path, "").await.is(401);
    }
    for key in [&door.agent, &door.reviewer, &door.auditor, &operator] {
        for path in ["/v1/destinations/a", "/v1/channels/a"] {
            put_as(&door, key, path, "", "kind: worker\n").await.is(403);
            delete(&door, key, path).await.is(403);
        }
        for (path, body) in [
            ("/v1/destinations", json!({ "destinations": {} })),
            ("/v1/channels", json!({ "channels": {} })),
        ] {
            assert_eq!(door.put(path, key, body).await.is(403).text("error"), "forbidden");
        }
    }
}
