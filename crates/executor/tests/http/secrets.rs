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
        ("${secret:missing}",   "default", "secret_unavailable"),
        ("${secret:unknown}",   "default", "secret_undeclared"),
        ("${secret:elsewhere}", "default", "secret_not_permitted"),
        ("${secret:token}",     "crm",     "secret_not_permitted"),
    ];
    for (reference, namespace, expected) in cases {
        let bench = Bench::new().await.header("X-Token", reference);
        let crm = Call { namespace, ..bench.call() };
        let outcome = call(&bench.client, &bench.secrets, &crm).await;
        let why = why_not_ready(outcome);
        assert_eq!(why, expected, "{reference}: agents read no name and no path");
    }
    // It is read when it is used, so it may come later.
    let mut bench = Bench::new().await.header("X-Token", "${secret:missing}");
    std::fs::write(bench.folder.path().join("missing"), "there").unwrap();
    let (outcome, request) = bench.answered(&answer(200, "")).await;
    assert!(matches!(outcome, Outcome::Succeeded { .. }), "{outcome:?}");
    assert!(request.contains("x-token: there\r\n"), "{request}");
}

#[tokio::test]
async fn an_echo_of_the_whole_request_shows_no_secret() {
    const SECRETS: [&str; 4] =
        ["canary/b+c d", "canary\"q\\%2F&<é>", "canary:/?#[]@!$&'()*,;=", "canary~-._"];
    let base64 = |text: &str| {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(text)
    };
    // Of a request line, which is where values are encoded.
    let lower = |text: &str| {
        let (line, rest) = text.split_once("\r\n").unwrap();
        format!("{}\r\n{rest}", line.replace("%2F", "%2f").replace("%2B", "%2b"))
    };
    for secret in SECRETS {
        let mut bench = Bench::new().await.header("Authorization", "Bearer ${secret:token}");
        std::fs::write(bench.folder.path().join("token"), secret).unwrap();
        bench.target.url = format!("{}/of/${{secret:token}}/x?q=${{secret:token}}", bench.base);
        bench.target.body =
            Some("{\"plain\": {{ payload }}, \"token\": \"${secret:token}\"}".into());
        let (_, request) = bench.answered(&answer(200, "")).await;
        assert!(request.contains("canary"), "{request}");
        let quoted = json!({ "request": request }).to_string();
        let echoes = [
            request.clone(),
            lower(&request),
            quoted.clone(),
            quoted.replace('/', "\\/"),
            json!({ "again": quoted }).to_string(),
            format!("<p>{}</p>", request.replace('&', "&amp;").replace('"', "&quot;")),
            percent_encoding::utf8_percent_encode(&request, percent_encoding::NON_ALPHANUMERIC)
                .to_string(),
            format!("x{}", base64(&request)),
            base64(&format!("user:{secret}")),
        ];
        for echo in echoes {
            let (outcome, _) = bench.answered(&answer(200, &echo)).await;
            let shown = format!("{outcome:?}");
            let Outcome::Succeeded { answer, .. } = outcome else { panic!("{secret}: {shown}") };
            let body = answer["body"].to_string();
            assert!(body.contains("[secret]") && !body.contains("canary"), "{secret}: {body}");
            let rest = secret.trim_start_matches("canary");
            assert!(!body.contains(rest), "{secret}: {body}");
            assert!(!body.contains(base64("canary").trim_end_matches('=')), "{secret}: {body}");
        }
    }
}
