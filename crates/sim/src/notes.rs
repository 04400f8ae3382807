//! Notes, which people let out or reject while nodes fail, or leave alone until their time is over.

use std::time::Duration;

use checker::effects::{Answer, Heard};
use checker::history::Asked;
use checker::questions::{NOTES_FROM, words};
use rand::RngExt as _;
use serde_json::json;

use crate::cluster::{Cluster, Keys, NODES};
use crate::http;
use crate::workload::{AGAIN, submit};

/// How long people have.
pub(crate) const EXPIRE_AFTER_MS: u64 = 2_000;
/// Whose leads are those of one asker.
const STEP: u64 = 1_000_000;

/// One note after the other, each with what people say to it.
pub(crate) async fn ask(cluster: &Cluster, keys: &Keys, asker: u64) {
    let mut numbers = cluster.numbers();
    let mut turn = 0;
    while !cluster.is_over() {
        turn += 1;
        let (key, lead) = (format!("n{asker}-{turn}"), NOTES_FROM + asker * STEP + turn);
        let asked = Asked { key: key.clone(), lead, calls: Vec::new() };
        let intent = json!({ "resource": "crm.note", "expiresIn": "2s" });
        let Some(id) = submit(cluster, &mut numbers, &keys.agent, asked, intent, 0).await else {
            continue;
        };
        let said = words(turn).iter().enumerate().map(|(word, (who, rejects))| {
            let key = format!("{key}-{word}");
            let verb = if *rejects { "reject" } else { "approve" };
            decide(cluster, &keys.people[*who], &id, key, verb)
        });
        futures::future::join_all(said).await;
    }
}

/// A person's word, some time later, until it is heard or comes too late.
async fn decide(
    cluster: &Cluster,
    (by, api_key): &(String, String),
    intent: &str,
    key: String,
    verb: &str,
) {
    let mut numbers = cluster.numbers();
    // One in a few comes when the time is just over.
    tokio::time::sleep(Duration::from_millis(match numbers.random_range(0..4) {
        0 => numbers.random_range(1_800..2_400),
        _ => numbers.random_range(0..300),
    }))
    .await;
    let (path, body) = (format!("/v1/intents/{intent}/{verb}"), json!({ "reason": key }));
    loop {
        let node = numbers.random_range(NODES);
        let sent = http::send(node, "POST", &path, api_key, Some(&key), &body).await;
        tracing::info!(intent, by, verb, node, status = ?sent.as_ref().map(|a| a.status), "said");
        match sent {
            Ok(answer) if matches!(answer.status, 200 | 409 | 410) => {
                let answer = match answer.status {
                    // A yes to what is out already is none.
                    200 if !answer.body["approvalState"].is_null() => Answer::Counts,
                    410 => Answer::Late,
                    _ => Answer::Decided,
                };
                cluster.count(|counts| counts.votes += u64::from(answer == Answer::Counts));
                let (intent, by) = (intent.to_owned(), by.clone());
                let rejects = verb == "reject";
                cluster.heard.borrow_mut().push(Heard { intent, by, rejects, answer });
                return;
            }
            Ok(answer) => {
                let is_for_later = answer.status == 429 || answer.status > 500;
                assert!(is_for_later, "{verb} of {intent} was told {answer:?}");
            }
            Err(_) => {}
        }
        tokio::time::sleep(AGAIN).await;
    }
}
