//! The log: every request can be found by its id, and no secret ever gets there.
//!
//! A process of its own: what is logged is caught for the whole process, and other tests would
//! decide for it what is worth catching.
#![cfg(test)]

#[path = "support/mod.rs"]
#[allow(dead_code, reason = "shared with the tests of the door")]
mod support;

use std::io;
use std::sync::Arc;

use http_api::HttpConfig;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tracing_subscriber::fmt::MakeWriter;

use support::{BASIC, Door, basic};

/// Everything that was logged.
#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Captured {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

impl Captured {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().clone()).unwrap()
    }
}

/// A request over a socket: status and body.
async fn call(
    address: std::net::SocketAddr,
    line: &str,
    authorization: &str,
    request_id: &str,
    body: &Value,
) -> (u16, Value) {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let head = format!(
        "{line} HTTP/1.1\r\nHost: gate\r\nConnection: close\r\nX-Request-Id: {request_id}\r\n\
         Authorization: {authorization}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap())
}

/// Requests of every kind, with secrets in every place where one may stand. Gives the secrets,
/// and an intent that was submitted and executed.
async fn drive(door: &Door, address: std::net::SocketAddr) -> (Vec<String>, String) {
    let bearer = |key: &str| format!("Bearer {key}");
    let (admin, agent) = (bearer(&door.admin), bearer(&door.agent));
    let stranger = format!("gate_sk_{}", "5ec2e7".repeat(8));
    let none = Value::Null;
    let said = "pay-5ec2e7-load";
    let mut asked = basic(5);
    asked["payload"] = json!(said);
    let (status, body) = call(address, "POST /v1/intents", &agent, "r-submit", &asked).await;
    assert_eq!(status, 200);
    let intent = body["intentId"].as_str().unwrap().to_owned();
    let execute = format!("POST /v1/intents/{intent}/execute");
    let (status, order) = call(address, &execute, &agent, "r-execute", &none).await;
    assert_eq!(status, 201, "{order}");
    let token = order["execution_token"].as_str().unwrap().to_owned();
    assert!(token.starts_with(gate::TOKEN_PREFIX));
    let report = format!("POST /v1/executions/{}/report", order["execution_id"].as_str().unwrap());
    let done = json!({ "status": "succeeded" });
    let wrong = format!("Bearer {}{}", gate::TOKEN_PREFIX, "5ec2e7".repeat(6));
    assert_eq!(call(address, &report, &wrong, "r-wrong", &done).await.0, 401);
    assert_eq!(call(address, &report, &bearer(&token), "r-report", &done).await.0, 200);
    let new = json!({ "name": "new", "role": "agent" });
    let (status, made) = call(address, "POST /v1/agents/register", &admin, "r-new", &new).await;
    assert_eq!(status, 201);
    let rotate = format!("POST /v1/agents/{}/rotate-key", made["agent_id"].as_str().unwrap());
    let (status, rotated) = call(address, &rotate, &admin, "r-rotate", &json!({})).await;
    assert_eq!(status, 201);
    assert_eq!(call(address, "GET /v1/intents", &bearer(&stranger), "r-who", &none).await.0, 401);
    assert_eq!(
        call(address, "GET /v1/intents", "Basic NWVjMmU3Og==", "r-basic", &none).await.0,
        401
    );
    let query = format!("GET /v1/intents?key={stranger}");
    assert_eq!(call(address, &query, &agent, "r-query", &none).await.0, 400);
    let path = format!("GET /v1/{stranger}");
    assert_eq!(call(address, &path, &agent, "r-path", &none).await.0, 404);
    door.log.broken.store(true, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(call(address, "POST /v1/intents", &agent, "r-broken", &asked).await.0, 500);
    door.log.broken.store(false, std::sync::atomic::Ordering::SeqCst);
    let keys = [&made["apiKey"], &rotated["apiKey"]].map(|key| key.as_str().unwrap().to_owned());
    let mut secrets = vec![
        door.admin.clone(),
        door.agent.clone(),
        door.reviewer.clone(),
        token,
        stranger,
        "5ec2e7".to_owned(),
        "NWVjMmU3Og".to_owned(),
        "Bearer".to_owned(),
        gate::TOKEN_PREFIX.to_owned(),
        gate::keys::PREFIX.to_owned(),
        said.to_owned(),
    ];
    secrets.extend(keys);
    (secrets, intent)
}

#[tokio::test]
async fn requests_are_found_by_their_id_and_secrets_never() {
    let captured = Captured::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(captured.clone())
        .with_ansi(false)
        .finish();
    tracing::subscriber::set_global_default(subscriber).expect("this is the only test");
    let door = Door::policed(&[("basic", BASIC)]).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let config = HttpConfig { version: "0.0.0-test" };
    let serving = tokio::spawn(http_api::serve(listener, door.gate.clone(), config, async move {
        let _ = stopped.await;
    }));
    let (secrets, intent) = drive(&door, address).await;
    stop.send(()).unwrap();
    serving.await.unwrap().unwrap();

    let log = captured.text();
    let answered = |id: &str| {
        let field = format!("request_id=\"{id}\"");
        let mut lines = log.lines().filter(|line| line.contains(&field));
        lines.find(|line| line.contains("answered")).unwrap_or_else(|| panic!("{id}: {log}"))
    };
    for id in ["r-new", "r-who", "r-basic", "r-query", "r-path", "r-wrong"] {
        assert!(!answered(id).contains("intent="), "{id}");
    }
    for id in ["r-submit", "r-execute", "r-report"] {
        assert!(answered(id).contains(&format!("intent={intent}")), "{id}: {}", answered(id));
    }
    assert!(answered("r-execute").contains("route=\"/v1/intents/{id}/execute\""));
    assert!(answered("r-path").contains("route=\"other\""));
    let panicked = log.lines().find(|line| line.contains("a request panicked")).unwrap();
    assert!(panicked.contains("request_id=\"r-broken\"") && panicked.contains("intent=int_"));
    for secret in secrets {
        assert!(!log.contains(&secret), "{secret} is in the log:\n{log}");
    }
}
