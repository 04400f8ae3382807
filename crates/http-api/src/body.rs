//! Bodies: bounded one by one and in sum, complete, and read by the strict JSON reader.
//!
//! Invariant: a body is read only after the caller is known, and never beyond its limit.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use serde_json::Value;
use types::Digest;
use types::limits::{BODY_BYTES_MAX, BODY_WAIT_MS_MAX};

use crate::bodies::Room;
use crate::problem::Problem;
use crate::state::App;

/// The header that asks for the digest of the canonical body.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

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

    /// SHA-256 of the canonical form.
    pub(crate) fn digest(&self) -> Digest {
        self.digest.unwrap_or_else(|| canonical_digest(&self.value))
    }
}

/// Any bytes.
pub(crate) struct RawBody(pub(crate) Bytes);

impl FromRequest<App> for JsonBody {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        let declared = request.headers().get(CONTENT_TYPE).cloned();
        let once = request.headers().contains_key(IDEMPOTENCY_KEY);
        let bytes = read(request, app).await?;
        if bytes.is_empty() {
            return Ok(Self::of(Value::Object(serde_json::Map::new()), 0));
        }
        if let Some(declared) = declared
            && !is_json(declared.as_bytes())
        {
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
        read(request, app).await.map(Self)
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

/// `application/json`, with or without parameters.
fn is_json(declared: &[u8]) -> bool {
    let end = declared.iter().position(|byte| *byte == b';').unwrap_or(declared.len());
    declared[..end].trim_ascii().eq_ignore_ascii_case(b"application/json")
}

fn malformed(error: &policy::json::JsonError) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "invalid_request", error.to_string())
        .with("field", error.path.as_str())
        .with("line", error.line)
        .with("column", error.column)
}

async fn read(request: Request, app: &App) -> Result<Bytes, Problem> {
    plainly_coded(request.headers())?;
    let declared = request.headers().get(CONTENT_LENGTH);
    let declared = declared.and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|length| length > BODY_BYTES_MAX) {
        return Err(too_large());
    }
    app.bodies.expect(declared.unwrap_or(0))?;
    let room = request.extensions().get::<Room>().cloned().unwrap_or_default();
    let limit = Duration::from_millis(BODY_WAIT_MS_MAX);
    let collected = tokio::time::timeout(limit, collect(request.into_body(), app, &room)).await;
    collected.unwrap_or_else(|_| {
        Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "invalid_request",
            "the body did not arrive in time",
        ))
    })
}

/// The whole body; room for it is taken as it arrives.
async fn collect(body: Body, app: &App, room: &Room) -> Result<Bytes, Problem> {
    let mut chunks = body.into_data_stream();
    let (mut first, mut rest) = (Bytes::new(), BytesMut::new());
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| Problem::field("body", "the body ended early"))?;
        let length = first.len() + rest.len() + chunk.len();
        if length > BODY_BYTES_MAX {
            return Err(too_large());
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

fn too_large() -> Problem {
    let message = format!("a body has at most {BODY_BYTES_MAX} bytes");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message)
        .with("limit_bytes", BODY_BYTES_MAX)
}
