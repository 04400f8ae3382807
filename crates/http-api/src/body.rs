//! Bodies: bounded one by one and in sum, complete, and read by the strict JSON reader.
//!
//! Invariant: a body is read only after the caller is known, and never beyond its limit.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use serde_json::Value;
use types::Digest;
use types::limits::{BODY_BYTES_MAX, BODY_WAIT_MS_MAX, INTENT_BATCH_BYTES_MAX};

use crate::bodies::Room;
use crate::finish::RequestId;
use crate::problem::Problem;
use crate::state::App;

/// The header that asks for the digest of the canonical body.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The media type of lines that are JSON each.
pub(crate) const NDJSON: &str = "application/x-ndjson";

/// A JSON object; an absent body is `{}`.
pub(crate) struct JsonBody {
    pub(crate) value: Value,
    pub(crate) bytes: usize,
    /// Of the canonical form; made where the body is parsed, if the request will need it.
    digest: Option<Digest>,
}

impl JsonBody {
    /// A body that was taken apart and put together again.
    pub(crate) fn of(value: Value, bytes: usize) -> Self {
        Self { value, bytes, digest: None }
    }

    /// Takes a member out; what is left is another body.
    pub(crate) fn take(&mut self, name: &str) -> Option<Value> {
        let found = self.value.as_object_mut()?.swap_remove(name)?;
        self.digest = None;
        Some(found)
    }

    /// SHA-256 of the canonical form.
    pub(crate) fn digest(&self) -> Digest {
        self.digest.unwrap_or_else(|| canonical_digest(&self.value))
    }
}

/// NDJSON: lines that are JSON objects, not read yet, and what they keep while they are worked on.
pub(crate) struct LinesBody {
    pub(crate) bytes: Bytes,
    /// The room of the bytes.
    pub(crate) room: Room,
    /// As the answer's `X-Request-Id` will have it.
    pub(crate) request_id: RequestId,
}

/// Any bytes.
pub(crate) struct RawBody(pub(crate) Bytes);

impl FromRequest<App> for JsonBody {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        let declared = request.headers().get(CONTENT_TYPE).cloned();
        let once = request.headers().contains_key(IDEMPOTENCY_KEY);
        let bytes = read(request, app, BODY_BYTES_MAX).await?;
        if bytes.is_empty() {
            return Ok(Self::of(Value::Object(serde_json::Map::new()), 0));
        }
        if declared.is_some_and(|declared| !is_type(&declared, "application/json")) {
            let message = "send JSON, with `Content-Type: application/json` or none";
            return Err(unsupported("Content-Type", message));
        }
        let length = bytes.len();
        let work = move || parse(&bytes, once);
        let (value, digest) = app.gate.beside().run(length, work).await??;
        Ok(Self { value, bytes: length, digest })
    }
}

impl FromRequest<App> for RawBody {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        read(request, app, BODY_BYTES_MAX).await.map(Self)
    }
}

impl FromRequest<App> for LinesBody {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        let declared = request.headers().get(CONTENT_TYPE);
        if declared.is_some_and(|declared| !is_type(declared, NDJSON)) {
            let message = "send one JSON object a line, with `Content-Type: application/x-ndjson` \
                or none";
            return Err(unsupported("Content-Type", message));
        }
        let room = request.extensions().get::<Room>().cloned().unwrap_or_default();
        let request_id = request.extensions().get::<RequestId>().cloned().unwrap_or_default();
        let bytes = read(request, app, INTENT_BATCH_BYTES_MAX).await?;
        Ok(Self { bytes, room, request_id })
    }
}

fn parse(bytes: &[u8], once: bool) -> Result<(Value, Option<Digest>), Problem> {
    let value = policy::json::parse(bytes).map_err(|error| malformed(&error))?;
    if !value.is_object() {
        return Err(Problem::field("$", "expected an object"));
    }
    let digest = once.then(|| canonical_digest(&value));
    Ok((value, digest))
}

fn canonical_digest(value: &Value) -> Digest {
    Digest::of(policy::json::canonical(value).as_bytes())
}

/// This media type, with or without parameters.
fn is_type(declared: &HeaderValue, expected: &str) -> bool {
    let declared = declared.as_bytes();
    let end = declared.iter().position(|byte| *byte == b';').unwrap_or(declared.len());
    declared[..end].trim_ascii().eq_ignore_ascii_case(expected.as_bytes())
}

/// 400 for what is no JSON, with its place.
pub(crate) fn malformed(error: &policy::json::JsonError) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "invalid_request", error.to_string())
        .with("field", error.path.as_str())
        .with("line", error.line)
        .with("column", error.column)
}

async fn read(request: Request, app: &App, bytes_max: usize) -> Result<Bytes, Problem> {
    plainly_coded(request.headers())?;
    let declared = request.headers().get(CONTENT_LENGTH);
    let declared = declared.and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|length| length > bytes_max) {
        return Err(too_large(bytes_max));
    }
    app.bodies.expect(declared.unwrap_or(0))?;
    let room = request.extensions().get::<Room>().cloned().unwrap_or_default();
    let limit = Duration::from_millis(BODY_WAIT_MS_MAX);
    let collecting = collect(request.into_body(), app, &room, bytes_max);
    let collected = tokio::time::timeout(limit, collecting).await;
    collected.unwrap_or_else(|_| {
        Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "invalid_request",
            "the body did not arrive in time",
        ))
    })
}

/// The whole body; room for it is taken as it arrives.
async fn collect(body: Body, app: &App, room: &Room, bytes_max: usize) -> Result<Bytes, Problem> {
    let mut chunks = body.into_data_stream();
    let (mut first, mut rest) = (Bytes::new(), BytesMut::new());
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| Problem::field("body", "the body ended early"))?;
        let length = first.len() + rest.len() + chunk.len();
        if length > bytes_max {
            return Err(too_large(bytes_max));
        }
        app.bodies.take(room, length)?;
        if first.is_empty() && rest.is_empty() {
            first = chunk;
            continue;
        }
        if rest.is_empty() {
            rest.extend_from_slice(&std::mem::take(&mut first));
        }
        rest.extend_from_slice(&chunk);
    }
    Ok(if rest.is_empty() { first } else { rest.freeze() })
}

/// Bodies are UTF-8 and not compressed; what is said to be otherwise would be misread.
fn plainly_coded(headers: &HeaderMap) -> Result<(), Problem> {
    let identity = |value: &[u8]| value.trim_ascii().eq_ignore_ascii_case(b"identity");
    if headers.get_all(CONTENT_ENCODING).iter().any(|coding| !identity(coding.as_bytes())) {
        let message = "send the body as it is, without `Content-Encoding`";
        return Err(unsupported("Content-Encoding", message));
    }
    let declared = headers.get(CONTENT_TYPE).and_then(|declared| declared.to_str().ok());
    let parameters = declared.unwrap_or_default().split(';').skip(1);
    let charsets = parameters.filter_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then_some(value.trim().trim_matches('"'))
    });
    let known = ["utf-8", "utf8", "us-ascii"];
    for charset in charsets {
        if !known.iter().any(|name| charset.eq_ignore_ascii_case(name)) {
            return Err(unsupported("Content-Type", "send the body in UTF-8"));
        }
    }
    Ok(())
}

fn unsupported(header: &str, message: &str) -> Problem {
    let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    Problem::new(status, "invalid_request", message).with("field", header)
}

fn too_large(bytes_max: usize) -> Problem {
    let message = format!("a body has at most {bytes_max} bytes here");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message)
        .with("limit_bytes", bytes_max)
}
