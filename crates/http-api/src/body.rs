//! Bodies: bounded, complete, and read by the strict JSON reader.
//!
//! Invariant: a body is read only after the caller is known, and never beyond its limit.

use std::time::Duration;

use axum::body::to_bytes;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use bytes::Bytes;
use serde_json::Value;
use types::limits::{BODY_BYTES_MAX, BODY_WAIT_MS_MAX};

use crate::problem::Problem;
use crate::state::App;

/// More than this is parsed and printed away from the threads that serve small requests.
pub(crate) const INLINE_BYTES_MAX: usize = 64 * 1024;

/// A JSON object; an absent body is `{}`.
pub(crate) struct JsonBody {
    pub(crate) value: Value,
    pub(crate) bytes: usize,
}

/// Any bytes.
pub(crate) struct RawBody(pub(crate) Bytes);

impl FromRequest<App> for JsonBody {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &App) -> Result<Self, Problem> {
        let declared = request.headers().get(CONTENT_TYPE).cloned();
        let bytes = read(request).await?;
        if bytes.is_empty() {
            return Ok(Self { value: Value::Object(serde_json::Map::new()), bytes: 0 });
        }
        if let Some(declared) = declared
            && !is_json(declared.as_bytes())
        {
            let message = "send JSON, with `Content-Type: application/json` or none";
            let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            return Err(
                Problem::new(status, "invalid_request", message).with("field", "Content-Type")
            );
        }
        let (value, bytes) = parse(bytes).await?;
        if !value.is_object() {
            return Err(Problem::field("$", "expected an object"));
        }
        Ok(Self { value, bytes })
    }
}

impl FromRequest<App> for RawBody {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &App) -> Result<Self, Problem> {
        read(request).await.map(Self)
    }
}

/// The value and how many bytes it had. A large body is parsed on a thread of its own, so that it
/// holds up no small ones.
async fn parse(bytes: Bytes) -> Result<(Value, usize), Problem> {
    let length = bytes.len();
    let parsed = if length <= INLINE_BYTES_MAX {
        policy::json::parse(&bytes)
    } else {
        let parsing = tokio::task::spawn_blocking(move || policy::json::parse(&bytes));
        parsing.await.map_err(|error| Problem::internal().because(&error))?
    };
    Ok((parsed.map_err(|error| malformed(&error))?, length))
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

async fn read(request: Request) -> Result<Bytes, Problem> {
    let declared = request.headers().get(CONTENT_LENGTH);
    let declared = declared.and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|length| length > BODY_BYTES_MAX) {
        return Err(too_large());
    }
    let limit = Duration::from_millis(BODY_WAIT_MS_MAX);
    let body = to_bytes(request.into_body(), BODY_BYTES_MAX);
    match tokio::time::timeout(limit, body).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) if is_length(&error) => Err(too_large()),
        Ok(Err(_)) => Err(Problem::field("body", "the body ended early")),
        Err(_) => Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "invalid_request",
            "the body did not arrive in time",
        )),
    }
}

fn too_large() -> Problem {
    let message = format!("a body has at most {BODY_BYTES_MAX} bytes");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message)
        .with("limit_bytes", BODY_BYTES_MAX)
}

fn is_length(error: &axum::Error) -> bool {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        if error.to_string().contains("length limit exceeded") {
            return true;
        }
        cause = error.source();
    }
    false
}
