//! Typed profiles: what a proposal must say for one, and where its summary and hash are shown.

use serde_json::{Value, json};

use crate::support::{BASIC, Door};

const IMPORT: &str = "require_profile: crm.import.v1\nauto_approve_under: 10\n";

fn import(policy: &str, profile: &Value, metadata: &Value) -> Value {
    json!({
        "destination": "crm.import", "policy": policy, "payload": "x", "recordCount": 5,
        "profile": profile, "metadata": metadata,
    })
}

#[tokio::test]
async fn what_does_not_fit_its_profile_is_a_400_that_stores_nothing() {
    let door = Door::policed(&[("basic", BASIC), ("import", IMPORT)]).await;
    let fits = json!({ "object_type": "contact", "record_count": 5 });
    let cases = [
        ("import", Value::Null, fits.clone(), "profile_required"),
        ("import", json!("email.send.v1"), json!({}), "profile_mismatch"),
        ("import", json!("crm.import.v1"), json!({ "object_type": "" }), "invalid_profile_payload"),
        ("basic", json!("email.send.v1"), fits.clone(), "invalid_profile_payload"),
        ("basic", json!("no.such.v1"), fits.clone(), "invalid_profile_payload"),
        ("basic", json!("crm.import.v1"), Value::Null, "invalid_profile_payload"),
    ];
    for (policy, profile, metadata, error) in cases {
        let mut body = import(policy, &profile, &metadata);
        body["idempotency_key"] = json!("k");
        for path in ["/v1/intents", "/v1/propose", "/v1/policies/simulate"] {
            let got = door.post(path, &door.agent, body.clone()).await.is(400);
            assert_eq!(got.text("error"), error, "{path} {body}");
            assert!(!got.text("message").is_empty());
            if error == "invalid_profile_payload" {
                assert!(!got.body["messages"].as_array().unwrap().is_empty(), "{body}");
                assert_eq!(got.body["profile"], profile);
            }
        }
    }
    let none = door.get("/v1/intents", &door.agent).await.is(200);
    assert_eq!(none.body["count"], 0);
    // A 400 does not use up the key.
    let mut body = import("import", &json!("crm.import.v1"), &fits);
    body["idempotency_key"] = json!("k");
    door.post("/v1/intents", &door.agent, body).await.is(200);
}

#[tokio::test]
async fn summary_and_hash_are_shown_where_existing_clients_look() {
    let door = Door::policed(&[("import", IMPORT)]).await;
    let fits = json!({ "record_count": 5, "object_type": "contact", "note": "n" });
    let body = import("import", &json!("crm.import.v1"), &fits);
    let got = door.post("/v1/intents", &door.agent, body).await.is(200);
    assert_eq!((got.text("status"), got.text("profile")), ("approved", "crm.import.v1"));
    assert_eq!(got.text("profileSummary"), "Import 5 contact record(s)");
    let path = format!("/v1/intents/{}", got.text("intentId"));
    let row = door.get(&path, &door.agent).await.is(200);
    assert_eq!(row.text("profile_id"), "crm.import.v1");
    assert_eq!(row.text("profileSummary"), "Import 5 contact record(s)");
    let hash = types::Digest::of(br#"{"object_type":"contact","record_count":5}"#).to_string();
    assert_eq!(row.text("profile_fields_hash"), hash);
    let list = door.get("/v1/intents", &door.agent).await.is(200);
    assert_eq!(list.body["intents"][0]["profile_fields_hash"], json!(hash));
}
