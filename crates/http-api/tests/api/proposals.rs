//! Proposing: fields, aliases, shapes, and what is refused before anything is judged.

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

use crate::support::{BASIC, Door, basic, bearer};

#[tokio::test]
async fn the_answer_has_every_field_of_existing_clients() {
    let door = Door::policed(&[("basic", BASIC)]).await;
    let cases = [
        (basic(5), "approved", "allowed", Value::Null, "approved_by_policy"),
        (basic(500), "pending_approval", "held", json!("waiting_input"), "manual_review_required"),
        (
            json!({ "destination": "crm.import", "policy": "basic", "recordCount": 5,
                "payload": "we guarantee it" }),
            "blocked",
            "blocked",
            Value::Null,
            "blocked_term_detected",
        ),
    ];
    for (body, status, phase, approval_state, code) in cases {
        let got = door.post("/v1/intents", &door.agent, body).await.is(200);
        assert_eq!(got.text("status"), status);
        assert_eq!(got.text("phase"), phase);
        assert_eq!(got.body["approvalState"], approval_state);
        assert_eq!(got.text("reason_code"), code);
        assert_eq!(got.body["proposalId"], got.body["intentId"]);
        assert_eq!(got.body["intent_id"], got.body["intentId"]);
        assert_eq!(got.text("intentId").len(), 20);
        assert_eq!(got.text("messageId").len(), 28);
        assert_eq!(got.body["approvalLinkToken"], Value::Null);
        let held = phase == "held";
        assert_eq!(got.body["approvalInteractionId"].is_string(), held);
        assert_eq!(got.body["approvalProvider"].is_string(), held);
        assert_eq!(got.body["requiredApprovals"], 1);
        assert_eq!(got.body["blockReason"].is_string(), phase != "allowed", "{}", got.body);
        assert_eq!(got.body["riskScore"], got.body["risk_score"]);
        assert_eq!(got.body["riskLevel"], got.body["risk_level"]);
        assert_eq!(got.body["resource"], "crm.import");
        assert_eq!(got.body["revision"], 1);
        assert_eq!(got.text("approval_digest").len(), 64);
        assert_eq!(got.header("gate-term"), "7");
        assert!(got.header("gate-index").parse::<u64>().unwrap() > 0);
        for name in ["requiredApprovalFactors", "riskFactors", "reasons"] {
            assert!(got.body[name].is_array(), "{name}");
        }
        for name in ["assuranceLevel", "profile", "profileSummary", "standingApprovalId"] {
            assert!(got.body[name].is_null() && got.body.get(name).is_some(), "{name}");
        }
    }
}

#[tokio::test]
async fn a_request_is_refused_with_the_field_that_is_wrong() {
    let door = Door::policed(&[("basic", BASIC)]).await;
    let with = |name: &str, value: Value| {
        let mut body = basic(5);
        body[name] = value;
        body
    };
    let long = "x".repeat(4_097);
    let cases = [
        (with("recordCount", json!(-1)), "$.recordCount"),
        (with("recordCount", json!(1.5)), "$.recordCount"),
        (with("recordCount", json!("1e9")), "$.recordCount"),
        (with("recordCount", json!("")), "$.recordCount"),
        (with("recordCount", json!([5])), "$.recordCount"),
        (with("recordCount", json!("99999999999999999999")), "$.recordCount"),
        (with("estimated_value_usd", json!(-0.01)), "$.estimated_value_usd"),
        (with("estimated_value_usd", json!(1e300)), "$.estimated_value_usd"),
        (with("estimated_value_usd", json!("12")), "$.estimated_value_usd"),
        (with("sensitivity_tags", json!("pii")), "$.sensitivity_tags"),
        (with("sensitivity_tags", json!(["pii", 3])), "$.sensitivity_tags[1]"),
        (with("sensitivity_tags", json!(vec!["x"; 257])), "$.sensitivity_tags"),
        (with("expiresIn", json!("31d")), "$.expiresIn"),
        (with("expiresIn", json!(5)), "$.expiresIn"),
        (with("metadata", json!("text")), "$.metadata"),
        (with("metadata", json!({ "big": "x".repeat(70_000) })), "$.metadata"),
        (with("on_behalf_of", json!(long)), "$.on_behalf_of"),
        (with("destination", json!(7)), "$.destination"),
        (with("resource", json!("crm.export")), "$.resource"),
        (with("trigger", json!({})), "$.trigger"),
        (with("approval_channel", json!("sms")), "$.approval_channel"),
        (with("principal_id", json!(1)), "$.principal_id"),
    ];
    for (body, field) in cases {
        let got = door.post("/v1/intents", &door.agent, body).await.is(400);
        assert_eq!(got.text("error"), "invalid_request", "{field}");
        assert_eq!(got.text("field"), field);
        assert!(got.text("message").starts_with(field), "{}", got.body);
        assert!(got.text("request_id").starts_with("req_"));
    }
}

#[tokio::test]
async fn bodies_that_are_no_good_json_are_refused_with_their_place() {
    let door = Door::policed(&[("basic", BASIC)]).await;
    let deep = format!("{{\"payload\":{}{}}}", "[".repeat(80), "]".repeat(80));
    let cases: [(&[u8], &str); 7] = [
        (b"{\"destination\": \"crm.import\",,}", "$"),
        (b"[1,2]", "$"),
        (b"\"text\"", "$"),
        (b"{\"a\":{\"b\":1,\"b\":2}}", "$.a.b"),
        (b"{\"payload\":\"nul \\u0000\"}", "$.payload"),
        (b"{\"payload\":\"\xff\"}", "$"),
        (deep.as_bytes(), "$.payload"),
    ];
    for (bytes, field) in cases {
        let request = bearer(Request::post("/v1/intents"), &door.agent);
        let got = door.send(request.body(Body::from(bytes.to_vec()))).await.is(400);
        assert_eq!(got.text("error"), "invalid_request");
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(40)]);
        assert!(got.text("field").starts_with(field), "{shown}: {}", got.body);
        assert!(!got.text("message").contains("private"), "{shown}");
    }
    let request = bearer(Request::post("/v1/intents"), &door.agent);
    let got = door.send(request.body(Body::from("{\n  \"a\": x}"))).await.is(400);
    assert_eq!((&got.body["line"], got.body["column"].is_u64()), (&json!(2), true));
}

#[tokio::test]
async fn null_is_accepted_for_every_optional_field() {
    let door = Door::policed(&[("basic", BASIC)]).await;
    let mut body = json!({ "destination": "crm.import", "policy": "basic" });
    for name in [
        "payload",
        "recordCount",
        "estimated_value_usd",
        "sensitivity_tags",
        "idempotency_key",
        "on_behalf_of",
        "expiresIn",
        "metadata",
        "profile",
        "principal_id",
        "approval_provider",
        "approval_channel",
        "assurance",
        "runId",
        "action",
        "resource",
        "trigger",
    ] {
        body[name] = Value::Null;
    }
    let got = door.post("/v1/intents", &door.agent, body).await.is(200);
    assert_eq!(got.text("phase"), "held");
}

#[tokio::test]
async fn aliases_belong_to_the_newer_spelling() {
    let door = Door::policed(&[("basic", BASIC)]).await;
    let aliased = json!({ "action": "crm.import", "policy_id": "basic", "estimated_records": "5" });
    let got = door.post("/v1/intents", &door.agent, aliased.clone()).await.is(200);
    assert_eq!(got.text("phase"), "allowed");
    let got = door.post("/v1/propose", &door.agent, aliased).await.is(400);
    assert_eq!(got.text("error"), "destination and policy are required");
    let named = json!({ "resource": "crm.import", "policy": "basic", "recordCount": 5 });
    for path in ["/v1/intents", "/v1/propose"] {
        let got = door.post(path, &door.agent, named.clone()).await.is(200);
        assert_eq!(got.text("phase"), "allowed", "{path}");
    }
}

/// A count that is read under one name only would be missing in silence under the other.
#[tokio::test]
async fn every_field_is_read_in_both_spellings() {
    let door = Door::policed(&[("basic", BASIC)]).await;
    for path in ["/v1/intents", "/v1/propose"] {
        for name in ["recordCount", "record_count"] {
            let mut body = json!({ "destination": "crm.import", "policy": "basic" });
            body[name] = json!(847);
            let got = door.post(path, &door.agent, body).await.is(200);
            assert_eq!(got.text("phase"), "held", "{name}");
        }
    }
    let other = json!({
        "destination": "crm.import", "policyId": "basic", "estimatedRecords": "5",
        "estimatedValueUsd": 12.5, "sensitivityTags": ["pii"], "idempotencyKey": "once",
        "onBehalfOf": "p", "expires_in": "5m", "principalId": "x", "approvalProvider": "dashboard",
        "run_id": "r",
    });
    let got = door.post("/v1/intents", &door.agent, other).await.is(200);
    assert_eq!(got.text("phase"), "allowed");
    let read = door.get(&format!("/v1/intents/{}", got.text("intentId")), &door.agent).await;
    assert_eq!(read.body["estimated_value_usd"], json!(12.5));
    let again =
        json!({ "destination": "crm.import", "policy": "basic", "idempotency_key": "once" });
    door.post("/v1/intents", &door.agent, again).await.is(409);

    let with = |more: Value| {
        let mut body = basic(5);
        more.as_object().unwrap().iter().for_each(|(name, value)| body[name] = value.clone());
        body
    };
    for (more, field, message) in [
        (json!({ "record_count": 6 }), "$.record_count", "says something else than $.recordCount"),
        (json!({ "estimated_records": 6 }), "$.estimated_records", "than $.recordCount"),
        (json!({ "policy_id": "other" }), "$.policy_id", "says something else than $.policy"),
        (json!({ "recordCount": null, "record_count": -1 }), "$.record_count", "a whole number"),
        (json!({ "expires_in": 5 }), "$.expires_in", "expected a string"),
        (json!({ "recordcount": 847 }), "$.recordcount", "did you mean `recordCount`?"),
        (json!({ "reccord_count": 847 }), "$.reccord_count", "did you mean `recordCount`?"),
        (json!({ "Payload": "x" }), "$.Payload", "did you mean `payload`?"),
        (json!({ "metadatas": {} }), "$.metadatas", "did you mean `metadata`?"),
    ] {
        let got = door.post("/v1/intents", &door.agent, with(more)).await.is(400);
        assert_eq!((got.text("error"), got.text("field")), ("invalid_request", field));
        assert!(got.text("message").contains(message), "{}", got.body);
    }
    for more in [
        json!({ "record_count": "5" }),
        json!({ "record_count": null }),
        json!({ "recordcount": null }),
        json!({ "source": "enrichment", "correlation_id": 7, "tags": [], "x": {} }),
    ] {
        door.post("/v1/intents", &door.agent, with(more)).await.is(200);
    }
}

/// Whoever asks for more than there is must not get less without a word.
#[tokio::test]
async fn an_approval_of_another_kind_is_refused_whatever_policy_would_say() {
    let door = Door::policed(&[("basic", BASIC)]).await;
    let factors = |list: Value| json!({ "assurance": { "required_factors": list } });
    let phone = json!({ "type": "sms", "address": "+15550001234" });
    let cases = [
        (json!({ "approval_provider": "kaicalls" }), "invalid_provider", "$.approval_provider"),
        (json!({ "approvalProvider": "noop" }), "invalid_provider", "$.approvalProvider"),
        (json!({ "principal_id": "cfo@example.com" }), "invalid_principal", "$.principal_id"),
        (json!({ "principalId": "+1 555 000 1234" }), "invalid_principal", "$.principalId"),
        (
            json!({ "approval_channel": { "address": "+15550001234" } }),
            "invalid_principal",
            "$.approval_channel",
        ),
        (json!({ "approval_channel": phone }), "invalid_channel", "$.approval_channel"),
        (json!({ "approvalChannel": { "type": "sms" } }), "invalid_channel", "$.approvalChannel"),
        (json!({ "approval_channel": {} }), "invalid_channel", "$.approval_channel"),
        (factors(json!(["voice.ivr.v1"])), "unsupported_factor", "$.assurance.required_factors"),
        (
            factors(json!(["manual.dashboard.v1"])),
            "unsupported_factor",
            "$.assurance.required_factors",
        ),
        (factors(json!("passkey")), "unsupported_factor", "$.assurance.required_factors"),
        (json!({ "assurance": { "level": "HIGH" } }), "unsupported_factor", "$.assurance.level"),
        (
            json!({ "assurance": { "requiredFactors": ["sms.otp.v1"] } }),
            "unsupported_factor",
            "$.assurance.requiredFactors",
        ),
    ];
    for (more, code, field) in cases {
        // Held, allowed, and blocked by policy.
        for (path, count, payload) in [
            ("/v1/intents", 500, "x"),
            ("/v1/propose", 5, "x"),
            ("/v1/policies/simulate", 5, "we guarantee it"),
        ] {
            let mut body = basic(count);
            body["payload"] = json!(payload);
            more.as_object().unwrap().iter().for_each(|(name, value)| body[name] = value.clone());
            let got = door.post(path, &door.agent, body).await.is(400);
            assert_eq!((got.text("error"), got.text("field")), (code, field), "{more}");
            assert!(got.text("message").starts_with(field), "{}", got.body);
            if code == "unsupported_factor" {
                assert_eq!(got.text("provider"), "dashboard");
                assert!(got.body["capabilities"].is_array(), "{}", got.body);
            }
            assert_eq!(got.body["messages"].is_array(), code == "invalid_principal");
        }
    }
    assert_eq!(door.get("/v1/intents", &door.reviewer).await.body["count"], 0);
    for more in [
        json!({ "approval_provider": "dashboard", "approval_channel": null }),
        json!({ "principal_id": "cfo-1" }),
        json!({ "approval_provider": "", "principal_id": "", "assurance": {} }),
        json!({ "assurance": { "level": null, "required_factors": [] } }),
    ] {
        let mut body = basic(500);
        more.as_object().unwrap().iter().for_each(|(name, value)| body[name] = value.clone());
        let got = door.post("/v1/intents", &door.agent, body).await.is(200);
        assert_eq!((got.text("phase"), got.text("approvalProvider")), ("held", "dashboard"));
    }
}

#[tokio::test]
async fn what_nothing_covers_is_a_400_in_the_older_spelling_and_held_in_ours() {
    let door = Door::policed(&[("basic", BASIC)]).await;
    for body in [json!({}), json!({ "destination": "erp.orders" }), json!({ "policy": "basic" })] {
        let got = door.post("/v1/intents", &door.agent, body).await.is(400);
        assert_eq!(got.text("error"), "destination and policy are required");
        assert_eq!(got.text("code"), "invalid_request");
    }
    for ours in [
        json!({ "resource": "erp.orders", "trigger": "write" }),
        json!({ "resource": "erp.orders" }),
        json!({ "destination": "erp.orders", "trigger": "write" }),
    ] {
        let got = door.post("/v1/intents", &door.agent, ours).await.is(200);
        assert_eq!((got.text("phase"), got.text("reason_code")), ("held", "no_policy"));
    }
    let missing = json!({ "destination": "crm.import", "policy": "no-such" });
    let got = door.post("/v1/intents", &door.agent, missing).await.is(200);
    assert_eq!((got.text("status"), got.text("reason_code")), ("blocked", "policy_not_found"));
}

#[tokio::test]
async fn counts_and_money_are_taken_exactly() {
    let door = Door::policed(&[("basic", BASIC)]).await;
    let cases = [
        (json!("10"), json!(1250.5), "allowed", json!(1250.5)),
        (json!(10), json!(0), "allowed", json!(0)),
        (json!(11), json!(0.000_001), "held", json!(0.000_001)),
        (json!(0), json!(1e3), "held", json!(1000)),
    ];
    for (count, value, phase, shown) in cases {
        let mut body = basic(0);
        body["recordCount"] = count.clone();
        body["estimated_value_usd"] = value;
        body["payload"] = Value::Null;
        let got = door.post("/v1/intents", &door.agent, body).await.is(200);
        assert_eq!(got.text("phase"), phase, "{count}");
        let path = format!("/v1/intents/{}", got.text("intentId"));
        let read = door.get(&path, &door.agent).await.is(200);
        let number = |value: &Value| value.to_string().parse::<f64>().unwrap();
        let (read, shown) = (number(&read.body["estimated_value_usd"]), number(&shown));
        assert!((read - shown).abs() < 1e-12, "{read} {shown}");
    }
}

#[tokio::test]
async fn only_those_who_may_submit_submit() {
    let door = Door::policed(&[("basic", BASIC)]).await;
    for (key, status) in [(&door.agent, 200), (&door.admin, 200), (&door.reviewer, 403)] {
        let got = door.post("/v1/intents", key, basic(5)).await.is(status);
        assert_eq!(got.text("error"), if status == 403 { "forbidden" } else { "" });
    }
}
