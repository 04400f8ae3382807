//! A target on loopback for each test, and what a call to it needs.

use std::time::Duration;

use executor::connectors::http::{Call, call};
use executor::{Material, Outcome, Payload};
use outbound::{AddressRule, Client, Roots, SecretDeclaration, SecretSource, Secrets};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use types::{Effect, HttpTarget, IntentId, LogIndex, StatusRange};

/// A value that must show up nowhere but on the wire.
pub(crate) const CANARY: &str = "canary-4711/é";

/// A target on loopback and all that a call needs.
pub(crate) struct Bench {
    pub(crate) listener: Option<TcpListener>,
    pub(crate) base: String,
    pub(crate) target: HttpTarget,
    pub(crate) material: Material,
    pub(crate) client: Client,
    pub(crate) secrets: Secrets,
    pub(crate) folder: tempfile::TempDir,
}

impl Bench {
    pub(crate) async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("token"), CANARY).unwrap();
        std::fs::write(folder.path().join("broken"), "canary\r\nX: y").unwrap();
        let declared = |name: &str, host: &str| SecretDeclaration {
            name: name.into(),
            source: SecretSource::File(folder.path().join(name)),
            namespaces: vec!["default".into()],
            hosts: vec![host.into()],
        };
        let secrets = Secrets::new(vec![
            declared("token", "127.0.0.1"),
            declared("broken", "127.0.0.1"),
            declared("missing", "127.0.0.1"),
            declared("elsewhere", "phone.example"),
        ]);
        Self {
            target: HttpTarget {
                method: "POST".into(),
                url: format!("{base}/calls"),
                headers: Vec::new(),
                body: Some("{{ payload }}".into()),
                timeout_ms: 20_000,
                honours_idempotency_key: false,
                success: vec![StatusRange { first: 200, last: 299 }],
                failed_without_effect: vec![
                    StatusRange { first: 400, last: 400 },
                    StatusRange { first: 409, last: 422 },
                ],
            },
            material: Material {
                payload: Payload::Json(r#"{"lead_id":7,"price":0.10}"#.into()),
                metadata: json!({ "region": "eu" }),
                intent: json!({ "id": "int_2c2846cac3071a90" }),
            },
            client: Client::new(AddressRule::new(&["127.0.0.0/8"]).unwrap(), Roots::none()),
            secrets: secrets.unwrap(),
            listener: Some(listener),
            base,
            folder,
        }
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.target.headers.push((name.into(), value.into()));
        self
    }

    pub(crate) fn call(&self) -> Call<'_> {
        Call {
            target: &self.target,
            namespace: "default",
            intent: IntentId(0x2c28_46ca_c307_1a90),
            fence: LogIndex(42),
            attempt: 1,
            material: &self.material,
        }
    }

    pub(crate) async fn run(&self) -> Outcome {
        call(&self.client, &self.secrets, &self.call()).await
    }

    /// Serves one request with this answer: the outcome, and the request as it came.
    pub(crate) async fn answered(&mut self, answer: &[u8]) -> (Outcome, String) {
        let server = serve(self.listener.take().unwrap(), answer.to_vec());
        let outcome = self.run().await;
        let served = tokio::time::timeout(Duration::from_secs(10), server).await;
        let served = served.unwrap_or_else(|_| panic!("nobody called: {outcome:?}"));
        let (listener, request) = served.unwrap();
        self.listener = Some(listener);
        (outcome, request)
    }

    /// Makes a call that must end without anybody having connected.
    pub(crate) async fn unsent(&self) -> Outcome {
        let outcome = self.run().await;
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let listener = self.listener.as_ref().unwrap();
        assert!(listener.poll_accept(&mut context).is_pending(), "{outcome:?}");
        outcome
    }
}

/// Answers one request; an empty answer resets the connection.
pub(crate) fn serve(listener: TcpListener, answer: Vec<u8>) -> JoinHandle<(TcpListener, String)> {
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let request = request_of(&mut stream).await;
        if answer.is_empty() {
            stream.set_zero_linger().unwrap();
        } else {
            // The client may hang up within a long answer.
            let _ = stream.write_all(&answer).await;
        }
        (listener, request)
    })
}

/// Head and body of one request.
pub(crate) async fn request_of(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                return text;
            }
        }
        if stream.read_buf(&mut bytes).await.unwrap() == 0 {
            return text;
        }
    }
}

pub(crate) fn answer(status: u16, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

#[track_caller]
pub(crate) fn why_not(outcome: Outcome) -> String {
    match outcome {
        Outcome::Failed { effect: Effect::None, why, answer: None } => why,
        other => panic!("not a failure without effect: {other:?}"),
    }
}

#[track_caller]
pub(crate) fn why_not_ready(outcome: Outcome) -> String {
    match outcome {
        Outcome::NotReady { why } => why,
        other => panic!("not unready: {other:?}"),
    }
}
