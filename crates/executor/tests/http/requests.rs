//! What is sent, and what values can and cannot do to it.

use executor::connectors::http::check;
use executor::{Outcome, Payload};
use serde_json::{Value, json};
use types::HttpTarget;

use crate::support::{Bench, CANARY, answer, why_not};

#[tokio::test]
async fn a_call_is_sent_whole_and_succeeds() {
    let mut bench = Bench::new().await;
    bench.target.url = format!(
        "{}/leads/{{{{ payload.lead_id }}}}?region={{{{ metadata.region }}}}&to=${{secret:token}}",
        bench.base
    );
    bench.target.honours_idempotency_key = true;
    bench = bench.header("Authorization", "Bearer ${secret:token}").header("Gate-Fence", "1");
    let (outcome, request) = bench.answered(&answer(201, r#"{"id": 12345678901234567890}"#)).await;
    let body: Value = serde_json::from_str(r#"{"id": 12345678901234567890}"#).unwrap();
    let expected = json!({ "http_status": 201, "body": body, "truncated": false });
    assert_eq!(outcome, Outcome::Succeeded { status: 201, answer: expected });
    let expected = format!(
        "POST /leads/7?region=eu&to=canary-4711%2F%C3%A9 HTTP/1.1\r\nhost: {}\r\n\
         connection: close\r\ngate-intent: int_2c2846cac3071a90\r\ngate-fence: 42\r\n\
         idempotency-key: int_2c2846cac3071a90\r\nuser-agent: quorum-gate/{}\r\n\
         authorization: Bearer {CANARY}\r\ncontent-type: application/json\r\n\
         content-length: 26\r\n\r\n{{\"lead_id\":7,\"price\":0.10}}",
        bench.base.trim_start_matches("http://"),
        env!("CARGO_PKG_VERSION"),
    );
    assert_eq!(request, expected);
}

#[tokio::test]
async fn documents_may_set_type_and_agent() {
    let mut bench =
        Bench::new().await.header("content-type", "text/plain").header("USER-AGENT", "me");
    bench.target.method = "PUT".into();
    let (_, request) = bench.answered(&answer(200, "")).await;
    assert!(request.contains("content-type: text/plain\r\nuser-agent: me\r\n"), "{request}");
    assert!(!request.contains("json\r\n") && !request.contains("quorum-gate"), "{request}");
    assert!(!request.contains("idempotency-key"), "{request}");
    // Text that is no JSON gets no type; no body at all gets no length.
    let mut bench = Bench::new().await;
    bench.target.body = None;
    bench.target.method = "GET".into();
    let (_, request) = bench.answered(&answer(200, "")).await;
    assert!(request.starts_with("GET /calls HTTP/1.1\r\n"), "{request}");
    assert!(!request.contains("content-"), "{request}");
}

#[tokio::test]
async fn a_payload_that_spells_a_reference_stays_a_payload() {
    let mut bench = Bench::new().await.header("X-Name", "{{ payload.name }} ${secret:token}");
    bench.target.url = format!("{}/{{{{ payload.name }}}}", bench.base);
    bench.material.payload = Payload::Json(r#"{"name":"${secret:token}"}"#.into());
    let (outcome, request) = bench.answered(&answer(200, "")).await;
    assert!(matches!(outcome, Outcome::Succeeded { .. }), "{outcome:?}");
    assert!(request.contains(&format!("x-name: ${{secret:token}} {CANARY}\r\n")), "{request}");
    assert!(request.starts_with("POST /%24%7Bsecret%3Atoken%7D HTTP/1.1\r\n"), "{request}");
    assert!(request.ends_with(r#"{"name":"${secret:token}"}"#), "{request}");
}

#[tokio::test]
async fn values_cannot_bend_a_request() {
    type Change = fn(&mut Bench);
    #[rustfmt::skip]
    let cases: [(&str, &str, Change); 8] = [
        ("\r\nX: y",   "control character",   |bench| header(bench, "{{ payload.v }}")),
        ("a\nb",       "control character",   |bench| header(bench, "{{ payload.v }}")),
        ("a\0b",       "control character",   |bench| header(bench, "{{ payload.v }}")),
        ("..",         "`..`",                |bench| bench.target.url += "/{{ payload.v }}/x"),
        ("",           "is empty",            |bench| bench.target.url += "/{{ payload.v }}"),
        ("x.example",  "must be literal",     |bench| bench.target.url = url("{{ payload.v }}")),
        ("v",          "undefined",           |bench| bench.target.url += "/{{ payload.w }}"),
        ("v",          "body: line 2",        |bench| bench.target.body = Some("\n{{ x }}".into())),
    ];
    for (value, expected, change) in cases {
        let mut bench = Bench::new().await;
        change(&mut bench);
        bench.material.payload = Payload::Json(json!({ "v": value }).to_string());
        let why = why_not(bench.unsent().await);
        assert!(why.contains(expected), "{value:?}: {why}");
    }
    // What the payload spoils does not wait for a secret.
    let mut bench = Bench::new().await.header("X-Token", "${secret:missing}");
    bench.target.url += "/{{ payload.v }}";
    bench.material.payload = Payload::Json(json!({ "v": ".." }).to_string());
    assert!(why_not(bench.unsent().await).contains("`..`"));
    let bench = Bench::new().await.header("X-Broken", "${secret:broken}");
    let why = why_not(bench.unsent().await);
    assert!(why.contains("control character") && !why.contains("canary"), "{why}");
}

fn url(host: &str) -> String {
    format!("http://{host}/")
}

fn header(bench: &mut Bench, value: &str) {
    bench.target.headers.push(("X-Value".into(), value.into()));
}

#[tokio::test]
async fn values_in_urls_stay_in_their_segment() {
    let mut bench = Bench::new().await;
    bench.target.url = format!("{}/leads/{{{{ payload.v }}}}/call?by=gate", bench.base);
    let value = "7/../../admin?x=1&by=me#@evil.example\\ é";
    bench.material.payload = Payload::Json(json!({ "v": value }).to_string());
    let (_, request) = bench.answered(&answer(200, "")).await;
    let line = "POST /leads/7%2F..%2F..%2Fadmin%3Fx%3D1%26by%3Dme%23%40evil.example%5C%20%C3%A9\
                /call?by=gate HTTP/1.1\r\n";
    assert!(request.starts_with(line), "{request}");
}

#[tokio::test]
async fn numbers_keep_their_digits() {
    let payload = r#"{"big":12345678901234567890123456789012345678901,"price":0.10,"e":1e+400}"#;
    let mut bench = Bench::new().await;
    bench.target.body = Some("{{ payload }};{{ payload.big }};{{ payload | tojson }}".into());
    bench.material.payload = Payload::Json(payload.into());
    let (_, request) = bench.answered(&answer(200, "")).await;
    let big = "12345678901234567890123456789012345678901";
    assert!(request.ends_with(&format!("{payload};{big};{payload}")), "{request}");
}

#[tokio::test]
async fn broken_documents_are_found_before_any_intent() {
    type Change = fn(&mut HttpTarget);
    #[rustfmt::skip]
    let cases: [(&str, Change); 8] = [
        ("ok",                               |_| {}),
        ("ok",                               |to| to.url += "/{{ payload.id }}?k=${secret:any}"),
        ("request.url: line 1: syntax",      |to| to.url += "/{{ payload"),
        ("request.url: scheme, host and",    |to| to.url = url("{{ payload.h }}")),
        ("request.headers.X-A: line 1: syn", |to| to.headers[0].1 = "{% x %}".into()),
        ("request.headers.X-A: a secret",    |to| to.headers[0].1 = "{{ '${secret:a}' }}".into()),
        ("request.body: line 2: syntax",     |to| to.body = Some("\n{{ }}".into())),
        ("request.body: there is no",        |to| to.body = Some("{{ lead.id }}".into())),
    ];
    for (expected, change) in cases {
        let mut target = Bench::new().await.header("X-A", "a").target;
        change(&mut target);
        let found = check(&target).map_or_else(|why| why, |()| "ok".into());
        assert!(found.starts_with(expected), "{expected}: {found}");
    }
}
