//! A small HTTP server on loopback that stands for a target: it takes JSON and keeps count.
//!
//! Invariant: whoever waits for a request is woken by it; nobody looks again and again.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::http::request::Parts;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use types::limits::BODY_BYTES_MAX;

use crate::failure::Failure;

/// How long a request that must come may take.
pub(crate) const COMES_WITHIN: Duration = Duration::from_secs(30);

/// One request.
#[derive(Debug)]
pub(crate) struct Received {
    head: Parts,
    /// Its body.
    pub(crate) body: Value,
}

impl Received {
    #[cfg(test)]
    pub(crate) fn of(request: Request<Value>) -> Self {
        let (head, body) = request.into_parts();
        Self { head, body }
    }

    /// A header as text.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        self.head.headers.get(name)?.to_str().ok().map(str::to_owned)
    }
}

/// What a target does with what it receives.
pub(crate) trait Target: Send + Sync + 'static {
    /// Does it, and gives what is answered.
    fn take(&mut self, request: &Received) -> Value;
}

/// A running target. It ends when it is dropped.
pub(crate) struct Server<T> {
    address: SocketAddr,
    target: Arc<watch::Sender<T>>,
    accepting: JoinHandle<()>,
}

impl<T: Target> Server<T> {
    /// Starts on a free port of this machine.
    ///
    /// # Errors
    /// Whatever the operating system says.
    pub(crate) async fn start(target: T) -> Result<Self, Failure> {
        let failed =
            |error: io::Error| Failure::refused(format!("a local target cannot start: {error}"));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let target = Arc::new(watch::Sender::new(target));
        let accepting = tokio::spawn(accept(listener, target.clone()));
        Ok(Self { address, target, accepting })
    }

    /// The URL of a path that begins with `/`.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Looks at what it has kept.
    pub(crate) fn seen<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        look(&self.target.borrow())
    }

    /// Waits until it has what is waited for.
    ///
    /// # Errors
    /// When that does not come.
    pub(crate) async fn until(
        &self,
        what: &str,
        mut reached: impl FnMut(&T) -> bool,
    ) -> Result<(), Failure> {
        let mut changes = self.target.subscribe();
        let came = tokio::time::timeout(COMES_WITHIN, changes.wait_for(|target| reached(target)));
        if matches!(came.await, Ok(Ok(_))) {
            return Ok(());
        }
        let seconds = COMES_WITHIN.as_secs();
        Err(Failure::refused(format!("{what} did not come within {seconds} s")))
    }
}

impl<T> Drop for Server<T> {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Serves every connection that comes; all of them end with this task.
async fn accept<T: Target>(listener: TcpListener, target: Arc<watch::Sender<T>>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(serve(stream, target.clone()));
        while connections.try_join_next().is_some() {}
    }
}

async fn serve<T: Target>(stream: TcpStream, target: Arc<watch::Sender<T>>) {
    let service = service_fn(|request| answer(request, &target));
    // A connection that breaks is the caller's to notice.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn answer<T: Target>(
    request: Request<Incoming>,
    target: &watch::Sender<T>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    if head.method != Method::POST {
        return Ok(said(StatusCode::METHOD_NOT_ALLOWED, &json!({"error": "send it with POST"})));
    }
    let read = Limited::new(body, BODY_BYTES_MAX).collect().await.map(|body| body.to_bytes());
    let parsed = read.ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let Some(body) = parsed else {
        return Ok(said(StatusCode::BAD_REQUEST, &json!({"error": "the body is no JSON"})));
    };
    let received = Received { head, body };
    let mut answer = Value::Null;
    target.send_modify(|target| answer = target.take(&received));
    Ok(said(StatusCode::OK, &answer))
}

fn said(status: StatusCode, body: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
    *response.status_mut() = status;
    let json = hyper::header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}
