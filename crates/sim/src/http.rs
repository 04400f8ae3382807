//! Requests of clients over simulated sockets.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use machine::net::TcpStream;
use serde_json::Value;

use crate::cluster::HTTP_PORT;

/// How long a client waits for an answer.
const WAIT: Duration = Duration::from_secs(15);

/// How long it waits for a node that may be gone.
const CONNECT_WAIT: Duration = Duration::from_millis(200);

/// An answer: its status, the term in which it was made, and its body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) term: Option<u64>,
    pub(crate) body: Value,
}

/// Sends one request to a node; `Err` if no answer came.
pub(crate) async fn send(
    node: u64,
    method: &str,
    path: &str,
    key: &str,
    idempotency_key: Option<&str>,
    body: &Value,
) -> Result<Answer, String> {
    let exchange = async {
        let connecting = TcpStream::connect((format!("n{node}"), HTTP_PORT));
        let stream = tokio::time::timeout(CONNECT_WAIT, connecting).await??;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let running = tokio::spawn(connection);
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "gate")
            .header("authorization", format!("Bearer {key}"));
        if let Some(key) = idempotency_key {
            request = request.header("idempotency-key", key);
        }
        // A text is a document.
        let (bytes, kind) = match body {
            Value::Null => (Vec::new(), None),
            Value::String(text) => (text.clone().into_bytes(), Some("application/yaml")),
            json => (json.to_string().into_bytes(), Some("application/json")),
        };
        if let Some(kind) = kind {
            request = request.header("content-type", kind);
        }
        let request = request.body(Full::new(Bytes::from(bytes)))?;
        let response = sender.send_request(request).await?;
        let status = response.status().as_u16();
        let term = response.headers().get("gate-term");
        let term = term.and_then(|term| term.to_str().ok()?.parse().ok());
        let bytes = response.into_body().collect().await?.to_bytes();
        running.abort();
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(Answer { status, term, body })
    };
    match tokio::time::timeout(WAIT, exchange).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("no answer in time".to_owned()),
    }
}
