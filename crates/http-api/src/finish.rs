//! The outermost layer: request ids, the request's span in the log, metrics, panics, problems.
//!
//! The span has the request id, the route as the table has it, and the intent once it is known;
//! never a header, a query or a body. Invariant: every answer carries `X-Request-Id`, and is JSON
//! unless its route says otherwise; a panic is a 500 without details.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::X_CONTENT_TYPE_OPTIONS;
use axum::http::{HeaderName, HeaderValue, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use tracing::Instrument;
use tracing::field::Empty;
use types::limits::REQUEST_ID_CHARS_MAX;

use crate::bodies::Room;
use crate::meters::Meters;
use crate::problem::Problem;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Runs a request and finishes its answer.
pub(crate) async fn finish(
    State(meters): State<Arc<Meters>>,
    mut request: Request,
    next: Next,
) -> Response {
    let room = Room::default();
    request.extensions_mut().insert(room.clone());
    let id = request_id(&request);
    request.extensions_mut().insert(id.clone());
    let watched = meters.begin(&request);
    let span = tracing::info_span!(
        "request",
        request_id = id.text(),
        method = %request.method(),
        route = watched.route(),
        intent = Empty,
    );
    let running = AssertUnwindSafe(next.run(request)).catch_unwind();
    let answered = running.instrument(span.clone()).await;
    drop(room);
    let _in_span = span.enter();
    let mut response = answered.unwrap_or_else(|_| {
        tracing::error!("a request panicked");
        Problem::internal().into_response()
    });
    if let Some(problem) = response.extensions_mut().remove::<Arc<Problem>>() {
        response = problem.render(id.text());
        if let Some(cause) = problem.cause() {
            tracing::error!(cause, "a request failed");
        }
    }
    tracing::debug!(status = response.status().as_u16(), "answered");
    if response.extensions_mut().remove::<StillMade>().is_some() {
        response = response.map(|body| watched.until_end(body));
    } else {
        watched.answered(response.status());
    }
    let headers = response.headers_mut();
    headers.insert(X_REQUEST_ID, id.0);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// 404 in the shape of existing clients.
pub(crate) async fn unknown_route(uri: Uri) -> Problem {
    no_such_route(&uri)
}

/// The same for a handler whose path takes in more than it knows.
pub(crate) fn no_such_route(uri: &Uri) -> Problem {
    Problem::not_found("Not found", "no such route; /openapi.json lists all of them")
        .with("path", uri.path())
}

/// 405.
pub(crate) async fn unknown_method(uri: Uri) -> Problem {
    let message = "this route does not take this method; /openapi.json lists what it takes";
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "invalid_request", message)
        .says("Method not allowed")
        .with("path", uri.path())
}

/// What the answer's `X-Request-Id` says.
#[derive(Clone)]
pub(crate) struct RequestId(HeaderValue);

impl Default for RequestId {
    fn default() -> Self {
        Self(HeaderValue::from_static(""))
    }
}

/// Stands in the extensions of an answer whose body is still being made after its head.
#[derive(Clone, Copy)]
pub(crate) struct StillMade;

impl RequestId {
    pub(crate) fn text(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

/// The client's own id if it is usable, else a new one.
fn request_id(request: &Request) -> RequestId {
    if let Some(sent) = request.headers().get(X_REQUEST_ID)
        && (1..=REQUEST_ID_CHARS_MAX).contains(&sent.len())
        && sent.as_bytes().iter().all(u8::is_ascii_graphic)
    {
        return RequestId(sent.clone());
    }
    let drawn = u64::from_be_bytes(gate::ids::random());
    let text = HeaderValue::from_str(&format!("req_{drawn:016x}"));
    RequestId(text.unwrap_or_else(|_| HeaderValue::from_static("req_0000000000000000")))
}
