//! What each end of a call is taken for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use executor::Outcome;
use executor::connectors::http::{Patience, call_if};
use outbound::{AddressRule, Client, Roots};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket};
use types::{Effect, limits};

use crate::support::{Bench, answer, request_of, serve, why_not, why_not_ready};

#[tokio::test]
#[rustfmt::skip]
async fn only_listed_statuses_prove_anything() {
    let cases = [
        (200, "succeeded"), (299, "succeeded"), (204, "succeeded"),
        (400, "failed"),    (409, "failed"),    (422, "failed"),
        (404, "doubt"),     (300, "doubt"),     (302, "doubt"), (401, "doubt"),
        (500, "doubt"),     (503, "doubt"),     (599, "doubt"),
    ];
    for (status, expected) in cases {
        let mut bench = Bench::new().await;
        let body = if status == 204 { "" } else { "no" };
        let (outcome, _) = bench.answered(&answer(status, body)).await;
        let found = match &outcome {
            Outcome::Succeeded { .. } => "succeeded",
            Outcome::Failed { effect: Effect::None, answer: Some(_), .. } => "failed",
            Outcome::Doubt { answer: Some(_), .. } => "doubt",
            _ => "another",
        };
        assert_eq!(found, expected, "{status}: {outcome:?}");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = elsewhere.local_addr().unwrap();
    let mut bench = Bench::new().await;
    let redirect = format!("HTTP/1.1 307 X\r\nLocation: http://{to}/\r\nContent-Length: 0\r\n\r\n");
    let (outcome, _) = bench.answered(redirect.as_bytes()).await;
    assert!(matches!(outcome, Outcome::Doubt { .. }), "{outcome:?}");
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(elsewhere.poll_accept(&mut context).is_pending());
}

#[tokio::test]
async fn what_was_written_and_not_answered_is_in_doubt() {
    for (what, bytes) in [
        ("reset", &b""[..]),
        ("half an answer", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"),
        ("no HTTP", b"what?\r\n\r\n"),
    ] {
        let (outcome, request) = Bench::new().await.answered(bytes).await;
        assert!(request.ends_with("0.10}"), "{what}: {request}");
        assert!(matches!(&outcome, Outcome::Doubt { answer: None, .. }), "{what}: {outcome:?}");
    }
}

#[tokio::test]
async fn an_answer_that_never_ends_is_in_doubt() {
    let mut bench = Bench::new().await;
    bench.target.timeout_ms = 1_000;
    let listener = bench.listener.take().unwrap();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        request_of(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf").await.unwrap();
        // Until the client gives up.
        while stream.read_u8().await.is_ok() {}
    });
    match bench.run().await {
        Outcome::Doubt { why, answer: None } => assert!(why.contains("in time"), "{why}"),
        other => panic!("{other:?}"),
    }
    server.await.unwrap();
}

/// The target is bound and does not listen: connections are refused, and no other test can get the
/// port meanwhile.
fn nobody_listens(bench: &mut Bench) -> TcpSocket {
    let before = bench.listener.take().unwrap().local_addr().unwrap();
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let now = socket.local_addr().unwrap();
    bench.target.url = bench.target.url.replace(&before.to_string(), &now.to_string());
    socket
}

#[tokio::test]
async fn a_refused_connection_is_tried_again_and_then_failed() {
    let mut bench = Bench::new().await;
    let _socket = nobody_listens(&mut bench);
    let patience = Patience { first_pause: Duration::from_millis(1), ..Patience::default() };
    let call = bench.call();
    let outcome = call_if(&bench.client, &bench.secrets, &call, patience, &|| true).await;
    assert!(why_not(outcome).contains("connection refused"));
    // Taken back between two tries it has not failed: it may be called later.
    let outcome = call_if(&bench.client, &bench.secrets, &call, patience, &|| false).await;
    assert!(why_not_ready(outcome).contains("taken back"));
    // No time for a second try.
    let hasty = Patience { within: Duration::ZERO, ..Patience::default() };
    let outcome = call_if(&bench.client, &bench.secrets, &call, hasty, &|| true).await;
    assert!(why_not(outcome).contains("connection refused"));
}

#[tokio::test]
async fn connections_are_tried_a_bounded_number_of_times() {
    let mut bench = Bench::new().await;
    bench.target.url = bench.target.url.replace("http://", "https://");
    let listener = bench.listener.take().unwrap();
    let connections = Arc::new(AtomicU32::new(0));
    let counted = connections.clone();
    let server = tokio::spawn(async move {
        // Whoever connects is sent away before TLS is agreed on.
        while listener.accept().await.is_ok() {
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    let patience = Patience { first_pause: Duration::from_millis(1), ..Patience::default() };
    let call = bench.call();
    let outcome = call_if(&bench.client, &bench.secrets, &call, patience, &|| true).await;
    assert!(why_not(outcome).contains("TLS"));
    assert_eq!(connections.load(Ordering::Relaxed), 1 + limits::CONNECT_TRIES_MAX);
    server.abort();
}

#[tokio::test]
async fn a_target_that_comes_back_in_between_is_called_once() {
    let mut bench = Bench::new().await;
    let socket = nobody_listens(&mut bench);
    let patience =
        Patience { tries_max: 1_000, first_pause: Duration::from_millis(1), ..Patience::default() };
    let server = async {
        // The first try, at least, meets nobody: this task begins after it.
        let listener = socket.listen(8).unwrap();
        serve(listener, answer(200, "")).await.unwrap()
    };
    let call = bench.call();
    let calling = call_if(&bench.client, &bench.secrets, &call, patience, &|| true);
    let (outcome, (_, request)) = tokio::join!(calling, server);
    assert!(matches!(outcome, Outcome::Succeeded { status: 200, .. }), "{outcome:?}");
    assert!(request.ends_with("0.10}"), "{request}");
}

#[tokio::test]
async fn a_call_that_is_taken_back_is_not_written() {
    let mut bench = Bench::new().await;
    let server = serve(bench.listener.take().unwrap(), Vec::new());
    let call = bench.call();
    let patience = Patience::default();
    let outcome = call_if(&bench.client, &bench.secrets, &call, patience, &|| false).await;
    assert!(why_not_ready(outcome).contains("taken back"));
    assert_eq!(server.await.unwrap().1, "");
}

#[tokio::test]
async fn long_answers_are_kept_in_part() {
    for (length, kept, truncated) in [
        (limits::CAPTURE_BYTES_MAX, limits::CAPTURE_BYTES_MAX, false),
        (limits::ANSWER_BYTES_MAX * 4, limits::CAPTURE_BYTES_MAX, true),
    ] {
        let (outcome, _) = Bench::new().await.answered(&answer(200, &"x".repeat(length))).await;
        let Outcome::Succeeded { answer, .. } = outcome else { panic!("{length}: {outcome:?}") };
        assert_eq!(answer["truncated"], truncated);
        assert_eq!(answer["body"].as_str().unwrap().len(), kept);
    }
}

#[tokio::test]
async fn addresses_need_permission() {
    let mut bench = Bench::new().await;
    bench.client = Client::new(AddressRule::public_only(), Roots::none());
    let why = why_not(bench.unsent().await);
    assert!(why.contains("nothing was sent") && why.contains("configuration"), "{why}");
    assert!(!why.contains("127.0.0.1"), "agents read it: {why}");
}
