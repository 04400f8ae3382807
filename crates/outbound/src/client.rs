//! The HTTP client: one request, one connection, one answer, and certainty about what was sent.
//!
//! Each request has a connection of its own that ends with it. A connection from a pool may have
//! been closed by the target already; a client then has to guess whether the request arrived, or
//! sends it again by itself. Here it is never sent twice, and every failure before the first byte
//! is told apart from every failure after it by the step it happens in, not by reading errors.
//! No redirect is followed, no proxy of the environment is used, no cookie is kept.
//! Invariant: [`SendError::NotSent`] and [`SendError::NotConnected`] prove that nothing of the
//! request left the node; every other failure is [`SendError::Lost`].

use std::fmt;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, timeout_at};
use types::limits;

use crate::address::{AddressRefused, AddressRule};
use crate::connect::{Connector, Roots, Stream, connect_deadline};
use crate::target::Target;

/// Headers that say how a message travels: they are the client's own.
const OWN_HEADERS: [&str; 8] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// One request. Its debug form shows no header, no body and no URL, since each may hold secrets.
#[derive(Clone)]
pub struct OutboundRequest {
    /// Such as `POST`.
    pub method: String,
    /// http or https.
    pub url: String,
    /// Names and values, sent in this order.
    pub headers: Vec<(String, String)>,
    /// Empty for none.
    pub body: Bytes,
    /// For the whole exchange, connecting included.
    pub timeout: Duration,
}

/// What the target answered. Its debug form shows neither headers nor body.
pub struct OutboundAnswer {
    /// Any status: a redirect is an answer like another.
    pub status: u16,
    /// The first [`limits::CAPTURE_BYTES_MAX`] bytes of the body.
    pub body: Vec<u8>,
    /// The body was longer than what is kept of it.
    pub truncated: bool,
    headers: HeaderMap,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// Nothing left the node, and trying again changes nothing.
    #[error("nothing was sent: {0}")]
    NotSent(#[from] NotSent),
    /// No connection came to stand, so nothing of the request was sent.
    #[error("no connection: {to}: {what}{detail}")]
    NotConnected {
        /// Host and port.
        to: String,
        /// What went wrong, without a name or an address.
        what: &'static str,
        /// More of it for this node's log, or nothing.
        detail: String,
    },
    /// The request may have been sent, in part or whole, and there is no whole answer: nobody knows
    /// what it did.
    #[error("the answer was lost: {0}")]
    Lost(String),
}

impl SendError {
    /// What everybody may know of it: no address, no host and no port, since whoever chose the URL
    /// could find out with them what this node reaches. The whole is for this node's log.
    #[must_use]
    pub fn public(&self) -> String {
        match self {
            Self::NotSent(NotSent::Refused(_)) => {
                "nothing was sent: this node's configuration does not let it connect there".into()
            }
            Self::NotSent(NotSent::Url(_)) => {
                "nothing was sent: the URL is none that can be sent to".into()
            }
            Self::NotSent(NotSent::Request(_) | NotSent::TakenBack) | Self::Lost(_) => {
                self.to_string()
            }
            Self::NotConnected { what, .. } => format!("no connection: {what}"),
        }
    }
}

/// Why a request was not sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotSent {
    /// The address rule forbids it.
    #[error(transparent)]
    Refused(#[from] AddressRefused),
    /// The URL is none that can be sent to.
    #[error("{0}")]
    Url(String),
    /// Method, headers or body cannot be sent.
    #[error("{0}")]
    Request(String),
    /// The caller took the request back right before it would have been written.
    #[error("it was taken back before it was written")]
    TakenBack,
}

/// Sends requests. One serves a whole node; it keeps no connection.
pub struct Client {
    connector: Connector,
}

impl Client {
    /// A client that connects to what the rule permits and believes certificates of the roots.
    #[must_use]
    pub fn new(addresses: AddressRule, roots: Roots) -> Self {
        Self { connector: Connector::new(addresses, roots) }
    }

    /// Sends one request and waits for its answer.
    ///
    /// # Errors
    /// See [`SendError`]: it says whether something may have been sent.
    pub async fn send(&self, request: OutboundRequest) -> Result<OutboundAnswer, SendError> {
        self.send_if(request, &|| true).await
    }

    /// Sends one request if the caller still wants it sent: it is asked once the connection stands,
    /// right before the first byte of the request is written.
    ///
    /// # Errors
    /// As [`Client::send`], and [`NotSent::TakenBack`].
    pub async fn send_if(
        &self,
        request: OutboundRequest,
        still_wanted: &(dyn Fn() -> bool + Send + Sync),
    ) -> Result<OutboundAnswer, SendError> {
        let deadline = Instant::now() + request.timeout;
        let target = Target::parse(&request.url).map_err(NotSent::Url)?;
        let message = message(request, &target).map_err(NotSent::Request)?;
        let stream = self.connector.connect(&target, connect_deadline(deadline)).await?;
        if !still_wanted() {
            return Err(NotSent::TakenBack.into());
        }
        // From here on bytes may be on their way, whatever happens.
        match timeout_at(deadline, exchange(stream, message)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(SendError::Lost(innermost(&error))),
            Err(_) => Err(SendError::Lost("the answer was not complete in time".into())),
        }
    }
}

impl OutboundAnswer {
    /// A header as text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// The message as it is written. Errors name a header, never its value.
fn message(request: OutboundRequest, target: &Target) -> Result<Request<Full<Bytes>>, String> {
    let OutboundRequest { method, url: _, headers, body, timeout: _ } = request;
    let method = match Method::from_bytes(method.as_bytes()) {
        Ok(method) if method != Method::CONNECT => method,
        _ => return Err("the method is none that can be sent".into()),
    };
    if body.len() > limits::OUTBOUND_BYTES_MAX {
        return Err(format!("the body is longer than {} bytes", limits::OUTBOUND_BYTES_MAX));
    }
    let mut message = Request::new(Full::new(body));
    *message.method_mut() = method;
    *message.uri_mut() = target
        .path_and_query
        .parse()
        .map_err(|_| "the URL has a character that a request line cannot hold".to_owned())?;
    let host = HeaderValue::from_str(&target.authority)
        .map_err(|_| "the URL's host cannot be sent".to_owned())?;
    message.headers_mut().insert(HOST, host);
    message.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    for (name, value) in headers {
        let known = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| format!("{name:?} is no header name"))?;
        if OWN_HEADERS.contains(&known.as_str()) {
            return Err(format!("the header {known} is the client's own"));
        }
        if value.len() > limits::HEADER_BYTES_MAX {
            return Err(format!(
                "the header {known} is longer than {} bytes",
                limits::HEADER_BYTES_MAX
            ));
        }
        // Text may be beyond ASCII, but a control character would begin another line.
        if value.chars().any(char::is_control) {
            return Err(format!("the header {known} has a control character"));
        }
        let mut value = HeaderValue::from_bytes(value.as_bytes())
            .map_err(|_| format!("the header {known} cannot be sent"))?;
        value.set_sensitive(true);
        message.headers_mut().append(known, value);
    }
    Ok(message)
}

/// Writes the message and reads the answer on one connection, which ends with it.
async fn exchange(
    stream: Box<dyn Stream>,
    message: Request<Full<Bytes>>,
) -> Result<OutboundAnswer, hyper::Error> {
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(limits::ANSWER_HEAD_BYTES_MAX)
        .handshake(TokioIo::new(stream))
        .await?;
    let mut connection = pin!(connection);
    let mut answer = pin!(async move { read(sender.send_request(message).await?).await });
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        // The connection may end while what it has read still waits to be taken.
        _ = &mut connection => answer.await,
    }
}

/// Reads an answer up to the limit, and keeps its beginning.
async fn read(response: Response<Incoming>) -> Result<OutboundAnswer, hyper::Error> {
    let (head, mut incoming) = response.into_parts();
    let (mut body, mut total) = (Vec::new(), 0_usize);
    while let Some(frame) = incoming.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        let room = limits::CAPTURE_BYTES_MAX.saturating_sub(body.len());
        body.extend_from_slice(&data[..data.len().min(room)]);
        total = total.saturating_add(data.len());
        if total > limits::ANSWER_BYTES_MAX {
            break;
        }
    }
    let truncated = total > body.len();
    Ok(OutboundAnswer { status: head.status.as_u16(), body, truncated, headers: head.headers })
}

/// The cause that says most: hyper's own words are general.
fn innermost(error: &hyper::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

impl fmt::Debug for OutboundRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutboundRequest").field("method", &self.method).finish_non_exhaustive()
    }
}

impl fmt::Debug for OutboundAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { status, truncated, .. } = self;
        f.debug_struct("OutboundAnswer")
            .field("status", status)
            .field("truncated", truncated)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}
