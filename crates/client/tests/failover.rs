//! The client against endpoints that fail in every way: what it asks again, and what it gives up.
//!
//! Each endpoint here is a socket with a script: the k-th connection gets the k-th answer.
#![cfg(test)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use client::{Client, Endpoint, Error, Request, Settings, Shape, Verdict};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What an endpoint does with one connection.
#[derive(Clone)]
enum Act {
    /// Answers with this status and body.
    Answer(u16, &'static str),
    /// Answers 200 with lines of JSON.
    Lines(&'static str),
    /// Answers 503, and asks to wait for longer than there is time.
    Later,
    /// Promises a body and breaks off inside it.
    BreakOff,
    /// Closes without a word.
    Close,
}

/// An endpoint and the requests that it saw.
struct Scripted {
    endpoint: Endpoint,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Scripted {
    async fn start(acts: Vec<Act>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = seen.clone();
        tokio::spawn(async move {
            let last = acts.last().cloned().unwrap();
            let mut acts = acts.into_iter();
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let act = acts.next().unwrap_or(last.clone());
                serve(socket, act, &log).await;
            }
        });
        Self { endpoint, seen }
    }

    /// The values of one header over all requests seen.
    fn header(&self, name: &str) -> Vec<String> {
        let wanted = format!("{name}: ");
        let seen = self.seen.lock().unwrap();
        let lines = seen.iter().flat_map(|request| request.lines());
        lines.filter_map(|line| line.strip_prefix(&wanted).map(str::to_owned)).collect()
    }

    fn requests(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

async fn serve(mut socket: TcpStream, act: Act, log: &Mutex<Vec<String>>) {
    let mut request = Vec::new();
    let mut buffer = [0_u8; 4096];
    loop {
        let read = socket.read(&mut buffer).await.unwrap();
        request.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&request);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if body.len() >= length.map_or(0, |text| text.parse().unwrap()) || read == 0 {
            break;
        }
    }
    log.lock().unwrap().push(String::from_utf8(request).unwrap());
    let answer = match act {
        Act::Close => return,
        Act::Later => format!(
            "HTTP/1.1 503 X\r\nretry-after: {}\r\ncontent-length: 2\r\n\
             connection: close\r\n\r\n{{}}",
            u64::MAX
        ),
        Act::BreakOff => "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{".to_owned(),
        Act::Lines(body) => format!(
            "HTTP/1.1 200 X\r\ncontent-type: application/x-ndjson\r\ncontent-length: {}\r\n\
             connection: close\r\n\r\n{body}",
            body.len()
        ),
        Act::Answer(status, body) => format!(
            "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        ),
    };
    socket.write_all(answer.as_bytes()).await.unwrap();
}

/// An address where nobody listens.
async fn dead() -> Endpoint {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap()).parse().unwrap()
}

fn client(endpoints: Vec<Endpoint>, deadline_ms: u64) -> Client {
    let mut settings = Settings::new(endpoints).with_key("gate_sk_secret");
    settings.deadline = Duration::from_millis(deadline_ms);
    Client::new(settings).unwrap()
}

const DONE: Act = Act::Answer(200, r#"{"intentId":"int_1","status":"approved"}"#);
const AWAY: Act = Act::Answer(503, r#"{"error":"no_quorum","message":"no leader"}"#);

#[tokio::test]
async fn every_kind_of_failure_goes_on_with_the_same_keys() {
    for act in [Act::Close, Act::BreakOff, AWAY] {
        let bad = Scripted::start(vec![act.clone()]).await;
        let good = Scripted::start(vec![DONE]).await;
        let endpoints = vec![dead().await, bad.endpoint.clone(), good.endpoint.clone()];
        let submitted = client(endpoints, 60_000).submit(&json!({"a": 1}), None).await.unwrap();
        assert_eq!((submitted.verdict, submitted.id.as_str()), (Verdict::Allowed, "int_1"));
        assert_eq!(good.requests(), 1);
        for header in ["idempotency-key", "x-request-id", "authorization"] {
            let (before, after) = (bad.header(header), good.header(header));
            assert!(!before.is_empty(), "{header}");
            assert!(before.iter().all(|value| *value == after[0]), "{header}: {before:?}");
        }
        assert_eq!(good.header("authorization"), ["Bearer gate_sk_secret"]);
    }
}

#[tokio::test]
async fn a_round_of_503_is_followed_by_another() {
    let node = Scripted::start(vec![AWAY, AWAY, DONE]).await;
    let submitted =
        client(vec![node.endpoint.clone()], 60_000).submit(&json!({}), Some("mine")).await.unwrap();
    assert_eq!(submitted.verdict, Verdict::Allowed);
    assert_eq!(node.header("idempotency-key"), ["mine", "mine", "mine"]);
}

#[tokio::test]
async fn what_is_left_at_the_end_is_told_apart() {
    let away = Scripted::start(vec![AWAY]).await;
    let refuses =
        Scripted::start(vec![Act::Answer(403, r#"{"error":"forbidden","message":"no"}"#)]).await;
    let page = Scripted::start(vec![Act::Answer(200, "<html>")]).await;
    let cases = [
        (vec![dead().await], "no endpoint answered: "),
        (vec![dead().await, away.endpoint.clone()], "the cluster cannot answer now: no leader"),
        (vec![refuses.endpoint.clone()], "no (403 forbidden)"),
        (vec![page.endpoint.clone()], "gave an answer that is none of a gate: status 200"),
    ];
    for (endpoints, expected) in cases {
        let error = client(endpoints, 500).get(&["v1", "intents"]).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains(expected), "{text}");
        assert!(!format!("{text}{error:?}").contains("gate_sk_secret"), "{text}");
    }
    assert_eq!(refuses.requests(), 1, "a refusal is final");
}

#[tokio::test]
async fn a_duplicate_is_an_answer_and_other_conflicts_are_errors() {
    let duplicate = r#"{"intentId":"int_1","status":"duplicate_blocked","blockReason":"once"}"#;
    let conflict = r#"{"error":"already_answered","intentId":"int_1"}"#;
    let node = Scripted::start(vec![Act::Answer(409, duplicate), Act::Answer(409, conflict)]).await;
    let client = client(vec![node.endpoint.clone()], 60_000);
    let submitted = client.submit(&json!({}), None).await.unwrap();
    assert_eq!(submitted.verdict, Verdict::Duplicate);
    let error = client.submit(&json!({}), None).await.unwrap_err();
    assert!(matches!(error, Error::Refused(refusal) if refusal.is("already_answered")));
}

#[tokio::test]
async fn an_open_route_gets_no_key() {
    let node = Scripted::start(vec![Act::Answer(200, "")]).await;
    let client = client(vec![node.endpoint.clone()], 60_000);
    client.send(Request::get(&["readyz"]).anonymous()).await.unwrap();
    assert_eq!(node.header("authorization"), [""; 0]);
}

#[tokio::test]
async fn text_is_read_once_and_without_the_key() {
    let metrics = Scripted::start(vec![Act::Answer(200, "gate_is_leader 1\n")]).await;
    let endpoints = vec![metrics.endpoint.clone(), dead().await];
    let text = client(endpoints, 60_000).text(&["metrics"]).await.unwrap();
    assert_eq!((text.as_str(), metrics.requests()), ("gate_is_leader 1\n", 1));
    assert!(metrics.header("authorization").is_empty());

    let door = Scripted::start(vec![Act::Answer(404, "{}")]).await;
    let error = client(vec![door.endpoint.clone()], 60_000).text(&["metrics"]).await.unwrap_err();
    assert!(matches!(&error, Error::NotAGate { .. }), "{error}");
    for silent in [dead().await, Scripted::start(vec![Act::BreakOff]).await.endpoint] {
        let error = client(vec![silent], 60_000).text(&["metrics"]).await.unwrap_err();
        assert!(matches!(&error, Error::Unreachable(_)), "{error}");
    }
}

#[tokio::test]
async fn a_retry_after_beyond_all_times_ends_the_request() {
    let endpoint = Scripted::start(vec![Act::Later]).await;
    let client = client(vec![endpoint.endpoint.clone()], 60_000);
    let error = client.get(&["v1", "cluster"]).await.unwrap_err();
    assert!(matches!(error, Error::NoQuorum(_)), "{error:?}");
}

#[tokio::test]
async fn an_answer_without_what_was_asked_for_is_no_gates() {
    let answers = [r#"{"ok":true}"#, "[]", r#"{"intentId":"int_1","status":"splendid"}"#];
    for body in answers {
        let endpoint = Scripted::start(vec![Act::Answer(200, body)]).await;
        let client = client(vec![endpoint.endpoint.clone()], 60_000);
        let decision = client::Decision::default();
        let resolution =
            client::Resolution { succeeded: true, effect: None, reason: "seen".into() };
        let listed = Request::get(&["v1", "intents"]).expecting(&[("intents", Shape::List)]);
        let tried = [
            ("show", client.intent("int_1").await),
            ("approve", client.approve("int_1", &decision).await),
            ("reject", client.reject("int_1", &decision).await),
            ("cancel", client.cancel("int_1", &decision).await),
            ("execute", client.execute("int_1", None).await),
            ("resolve", client.resolve("int_1", &resolution).await),
            ("list", client.send(listed).await),
        ];
        for (verb, result) in tried {
            assert!(matches!(result, Err(Error::NotAGate { .. })), "{verb} {body}: {result:?}");
        }
    }
}

/// A batch whose answer was lost goes out again with the same key in each line, and none as a
/// whole.
#[tokio::test]
async fn a_batch_is_sent_again_as_it_was() {
    let lines = "{\"status\":200,\"answer_status\":\"approved\",\"intentId\":\"int_1\"}\n\
        {\"status\":400,\"error\":\"invalid_request\",\"line\":2}\n";
    let server = Scripted::start(vec![Act::BreakOff, Act::Lines(lines)]).await;
    let client = Client::new(Settings::new(vec![server.endpoint.clone()])).unwrap();
    let found = client.submit_batch("{\"resource\":\"a\"}\n[1]\n\n").await.unwrap();
    let told: Vec<_> = found.iter().map(|line| (line.status(), line.verdict)).collect();
    assert_eq!(told, [(200, Some(Verdict::Allowed)), (400, None)]);
    assert!(server.header("idempotency-key").is_empty());
    assert_eq!(server.header("content-type"), ["application/x-ndjson"; 2]);
    let seen = server.seen.lock().unwrap().clone();
    let bodies: Vec<_> = seen.iter().map(|text| text.split_once("\r\n\r\n").unwrap().1).collect();
    assert_eq!(bodies[0], bodies[1]);
    let (first, rest) = bodies[0].split_once('\n').unwrap();
    assert!(first.starts_with("{\"request_key\":\"") && rest == "[1]", "{bodies:?}");

    let short = lines.lines().next().map(|line| format!("{line}\n").leak() as &str).unwrap();
    let server = Scripted::start(vec![Act::Lines(short)]).await;
    let client = Client::new(Settings::new(vec![server.endpoint.clone()])).unwrap();
    let error = client.submit_batch("{}\n{}").await.unwrap_err();
    assert!(matches!(error, Error::NotAGate { .. }), "{error}");
}
