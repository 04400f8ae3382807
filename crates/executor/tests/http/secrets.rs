//! Secrets reach the target and nobody else.

use executor::Outcome;
use executor::connectors::http::{Call, call};
use serde_json::json;
use types::limits;

use crate::support::{Bench, CANARY, answer, why_not_ready};

#[tokio::test]
async fn no_outcome_holds_a_secret() {
    let escaped = CANARY.replace('/', "\\/").replace('é', "\\u00e9").replace('c', "\\u0063");
    let cut = format!("{}{CANARY}", "x".repeat(limits::CAPTURE_BYTES_MAX - 6));
    #[rustfmt::skip]
    let cases = [
        (200, CANARY.to_owned(),                          json!("[secret]")),
        (400, format!("you sent Bearer {CANARY}!"),       json!("you sent Bearer [secret]!")),
        (500, json!({ "echo": [CANARY] }).to_string(),    json!({ "echo": ["[secret]"] })),
        (200, format!("{{\"e\": \"{escaped}\"}}"),        json!({ "e": "[secret]" })),
        (200, json!({ CANARY: 1 }).to_string(),           json!({ "[secret]": 1 })),
        (404, "/x?to=canary-4711%2F%C3%A9".to_owned(),    json!("/x?to=[secret]")),
    ];
    for (status, body, expected) in cases {
        let mut bench = Bench::new().await.header("Authorization", "Bearer ${secret:token}");
        let (outcome, request) = bench.answered(&answer(status, &body)).await;
        assert!(request.contains(&format!("authorization: Bearer {CANARY}\r\n")), "{request}");
        assert!(!format!("{outcome:?}").contains("canary"), "{body}: {outcome:?}");
        let (Outcome::Succeeded { answer, .. }
        | Outcome::Failed { answer: Some(answer), .. }
        | Outcome::Doubt { answer: Some(answer), .. }) = outcome
        else {
            panic!("{body}: {outcome:?}");
        };
        assert_eq!(answer["body"], expected, "{body}");
    }
    let mut bench = Bench::new().await.header("Authorization", "Bearer ${secret:token}");
    let (outcome, _) = bench.answered(&answer(200, &cut)).await;
    assert!(!format!("{outcome:?}").contains("canary"), "the end of a cut answer: {outcome:?}");
}

#[tokio::test]
async fn without_its_secrets_a_call_is_not_ready() {
    #[rustfmt::skip]
    let cases = [
        ("${secret:missing}",   "default", "is not available on this node"),
        ("${secret:unknown}",   "default", "`unknown` is not declared"),
        ("${secret:elsewhere}", "default", "may not be sent to `127.0.0.1`"),
        ("${secret:token}",     "crm",     "not for namespace `crm`"),
    ];
    for (reference, namespace, expected) in cases {
        let bench = Bench::new().await.header("X-Token", reference);
        let crm = Call { namespace, ..bench.call() };
        let outcome = call(&bench.client, &bench.secrets, &crm).await;
        let why = why_not_ready(outcome);
        assert!(why.contains(expected) && !why.contains("canary"), "{reference}: {why}");
    }
    // It is read when it is used, so it may come later.
    let mut bench = Bench::new().await.header("X-Token", "${secret:missing}");
    std::fs::write(bench.folder.path().join("missing"), "there").unwrap();
    let (outcome, request) = bench.answered(&answer(200, "")).await;
    assert!(matches!(outcome, Outcome::Succeeded { .. }), "{outcome:?}");
    assert!(request.contains("x-token: there\r\n"), "{request}");
}
