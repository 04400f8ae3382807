//! Freezes over HTTP: who may, in which words, answered only once nothing covered can start.

use futures::poll;
use gate::Claimed;
use serde_json::{Value, json};
use types::{IntentId, LogIndex, NamespaceId};

use crate::support::{BASIC, Door, Got, basic};

const CALLED: &str = "kind: http\nrequest: {url: \"http://127.0.0.1:1/\"}\n";

async fn door() -> Door {
    Door::policed(&[("basic", BASIC)]).await
}

async fn freeze(door: &Door, key: &str, body: Value) -> Got {
    door.put("/v1/freezes", key, body).await
}

fn all_there_is() -> Value {
    json!({ "scope": "namespace", "reason": "vendor outage" })
}

#[tokio::test]
async fn a_freeze_stops_orders_and_is_seen_where_people_look() {
    let door = door().await;
    let id = door.submit(basic(1)).await;
    let made = freeze(&door, &door.reviewer, all_there_is()).await.is(201);
    let freeze_id = made.text("id").to_owned();
    assert!(freeze_id.starts_with("frz_"), "{freeze_id}");
    let shown = json!({
        "id": freeze_id, "scope": "namespace", "match": null, "reason": "vendor outage",
        "by": made.body["by"], "by_name": "rita", "since": made.body["since"], "until": null,
        "index": made.body["index"], "settled": true, "persons_to_unfreeze": 1, "votes": [],
        "running": [], "running_more": false,
    });
    assert_eq!(made.body, shown);
    let again = freeze(&door, &door.reviewer, all_there_is()).await.is(200);
    assert_eq!(again.text("id"), freeze_id, "asked for twice it is one");
    let path = format!("/v1/freezes/{freeze_id}");
    assert_eq!(door.get(&path, &door.auditor).await.is(200).body, shown);
    let listed = door.get("/v1/freezes", &door.agent).await.is(200);
    assert_eq!(listed.body["count"], 1, "agents may know why nothing happens");
    assert!(listed.body["freezes"][0].get("running").is_none());

    let got = door.post(&format!("/v1/intents/{id}/execute"), &door.agent, json!({})).await;
    let got = got.is(409);
    assert_eq!((got.text("error"), got.text("freeze_id")), ("frozen", &*freeze_id));
    assert!(got.text("message").contains("vendor outage"), "{}", got.body);
    let read = door.get(&format!("/v1/intents/{id}"), &door.agent).await;
    assert_eq!((read.text("held_back"), read.text("frozen_by")), ("frozen", &*freeze_id));

    let path = format!("{path}/unfreeze");
    let ended = door.post(&path, &door.admin, json!({ "reason": "it is back" })).await.is(200);
    assert_eq!(
        (&ended.body["ended"], &ended.body["persons_to_unfreeze"]),
        (&json!(true), &json!(1))
    );
    assert_eq!(
        door.post(&path, &door.admin, json!({})).await.is(404).text("error"),
        "Freeze not found"
    );
    door.post(&format!("/v1/intents/{id}/execute"), &door.agent, json!({})).await.is(201);
    let entries = door.get("/v1/audit/entries?limit=1000", &door.auditor).await.is(200);
    let of_freezes: Vec<_> = entries.body["entries"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|entry| entry["metadata"]["freeze_id"] == json!(freeze_id))
        .collect();
    let words = of_freezes.iter().map(|entry| {
        let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
        (text("event_type"), text("actor"), text("reason"))
    });
    let word = |kind: &str, who: &str, why: &str| (kind.to_owned(), who.to_owned(), why.to_owned());
    assert_eq!(
        words.collect::<Vec<_>>(),
        [word("frozen", "rita", "vendor outage"), word("unfrozen", "admin", "it is back"),]
    );
}

#[tokio::test]
async fn the_answer_waits_until_the_executor_has_said_what_is_on_its_way() {
    let door = door().await;
    let yaml = json!({ "destinations": { "crm.import": CALLED } });
    door.put("/v1/destinations", &door.admin, yaml).await.is(200);
    let epoch = door.gate.take_over().await.unwrap();
    let intent: IntentId = door.submit(basic(1)).await.parse().unwrap();
    let claimed = door.gate.claim(epoch, NamespaceId::DEFAULT, intent).await.unwrap();
    let Claimed::Run(order, _) = claimed else { panic!("{claimed:?}") };
    let mut asked = Box::pin(freeze(&door, &door.reviewer, all_there_is()));
    assert!(poll!(&mut asked).is_pending(), "the claim may still start");
    let settled = door.gate.unsettled_freezes(epoch).unwrap();
    assert!(!door.gate.settle_freezes(LogIndex(1), settled.clone()).await.unwrap());
    assert!(poll!(&mut asked).is_pending(), "another executor knows nothing of it");
    assert!(door.gate.settle_freezes(epoch, settled).await.unwrap());
    let made = asked.await.is(201);
    let call = json!({ "execution_id": order.id.to_string(), "intent_id": intent.to_string() });
    assert_eq!((&made.body["settled"], &made.body["running"]), (&json!(true), &json!([call])));
}

#[tokio::test(start_paused = true)]
async fn a_freeze_that_nobody_settles_stands_and_its_answer_says_what_is_unknown() {
    let door = door().await;
    let yaml = json!({ "destinations": { "crm.import": CALLED } });
    door.put("/v1/destinations", &door.admin, yaml).await.is(200);
    let epoch = door.gate.take_over().await.unwrap();
    let intent: IntentId = door.submit(basic(1)).await.parse().unwrap();
    door.gate.claim(epoch, NamespaceId::DEFAULT, intent).await.unwrap();
    let got = freeze(&door, &door.reviewer, all_there_is()).await.is(503);
    assert_eq!((got.text("error"), got.text("outcome")), ("freeze_unsettled", "unknown"));
    let path = format!("/v1/freezes/{}", got.text("freeze_id"));
    let read = door.get(&path, &door.reviewer).await.is(200);
    assert_eq!(read.body["settled"], json!(false));
    let next = door.submit(basic(2)).await.parse().unwrap();
    let claimed = door.gate.claim(epoch, NamespaceId::DEFAULT, next).await.unwrap();
    assert!(matches!(claimed, Claimed::Frozen(_)), "{claimed:?}");
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_by_field() {
    let door = door().await;
    let agent = "agt_0000000000000009";
    #[rustfmt::skip]
    let cases = [
        (json!({"reason": "x"}),                                       "$.scope"),
        (json!({"scope": "namespaces", "reason": "x"}),                "$.scope"),
        (json!({"scope": "namespace", "match": "a", "reason": "x"}),   "$.match"),
        (json!({"scope": "resource", "reason": "x"}),                  "$.match"),
        (json!({"scope": "resource", "match": "é".repeat(257), "reason": "x"}), "$.match"),
        (json!({"scope": "environment", "match": "e".repeat(65), "reason": "x"}), "$.match"),
        (json!({"scope": "agent", "match": "bot", "reason": "x"}),     "$.match"),
        (json!({"scope": "namespace"}),                                "$.reason"),
        (json!({"scope": "namespace", "reason": "x", "until": "soon"}), "$.until"),
        (json!({"scope": "namespace", "reason": "x", "until": "2024-01-01T00:00:00Z"}), "$.until"),
        (json!({"scope": "namespace", "reason": "x", "until": "2999-01-01T00:00:00Z"}), "$.until"),
        (json!({"scope": "namespace", "reason": "x", "untill": null}), "$.untill"),
    ];
    for (body, field) in cases {
        let got = freeze(&door, &door.reviewer, body.clone()).await.is(400);
        assert_eq!((got.text("error"), got.text("field")), ("invalid_request", field), "{body}");
    }
    let unknown = json!({"scope": "agent", "match": agent, "reason": "x"});
    freeze(&door, &door.reviewer, unknown).await.is(404);
    let everywhere = json!({"scope": "all", "reason": "x"});
    freeze(&door, &door.reviewer, everywhere.clone()).await.is(403);
    freeze(&door, &door.admin, everywhere).await.is(201);
    for key in [&door.agent, &door.auditor] {
        freeze(&door, key, all_there_is()).await.is(403);
    }
    door.get("/v1/freezes/frz_1", &door.admin).await.is(404);
    door.get("/v1/freezes/frz_0000000000000001", &door.admin).await.is(404);
}
