//! Answers: a status, a JSON body, and where in the log the answer stands.

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use gate::log::ReadPoint;
use serde::Serialize;
use types::LogIndex;

/// Where the log stood.
pub(crate) const GATE_INDEX: HeaderName = HeaderName::from_static("gate-index");
/// In which term.
pub(crate) const GATE_TERM: HeaderName = HeaderName::from_static("gate-term");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// An answer that is not a problem.
pub(crate) struct Answer {
    status: StatusCode,
    body: Vec<u8>,
    at: Option<ReadPoint>,
    replayed: bool,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Answer {
    /// 200 with this body.
    pub(crate) fn ok(body: &impl Serialize) -> Self {
        Self::new(StatusCode::OK, body)
    }

    /// Any status with this body.
    pub(crate) fn new(status: StatusCode, body: &impl Serialize) -> Self {
        // Wire types have string keys only and cannot fail otherwise.
        let body = serde_json::to_vec(body).unwrap_or_default();
        Self::bytes(status, body)
    }

    /// Any status with JSON that is text already.
    pub(crate) fn bytes(status: StatusCode, body: Vec<u8>) -> Self {
        Self { status, body, at: None, replayed: false, headers: Vec::new() }
    }

    /// Says where in the log the answer stands.
    pub(crate) fn at(mut self, point: ReadPoint) -> Self {
        self.at = Some(point);
        self
    }

    /// Says where in the log a command stands.
    pub(crate) fn committed(self, answer: &gate::Answer) -> Self {
        self.at(ReadPoint { index: answer.index, term: answer.term })
    }

    /// Marks an answer that was given before.
    pub(crate) fn replayed(mut self, replayed: bool) -> Self {
        self.replayed = replayed;
        self
    }

    /// Adds a header.
    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Writes the answer as a line of a batch's answer: status and headers stand beside the body.
    pub(crate) fn write_line(&self, line: &mut Vec<u8>) {
        line.extend_from_slice(b"{\"status\":");
        line.extend_from_slice(self.status.as_str().as_bytes());
        if self.replayed {
            line.extend_from_slice(b",\"idempotency_replayed\":true");
        }
        if let Some(ReadPoint { index: LogIndex(index), term }) = self.at {
            line.extend_from_slice(b",\"gate_index\":");
            line.extend_from_slice(index.to_string().as_bytes());
            line.extend_from_slice(b",\"gate_term\":");
            line.extend_from_slice(term.to_string().as_bytes());
        }
        // The body of a submit's answer is an object with members.
        line.push(b',');
        line.extend_from_slice(self.body.get(1..).unwrap_or(b"}"));
        line.push(b'\n');
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.replayed {
            headers.insert(REPLAYED, HeaderValue::from_static("true"));
        }
        if let Some(point) = self.at {
            put_point(headers, point);
        }
        headers.extend(self.headers);
        response
    }
}

/// Puts `Gate-Index` and `Gate-Term`.
pub(crate) fn put_point(headers: &mut axum::http::HeaderMap, point: ReadPoint) {
    let LogIndex(index) = point.index;
    headers.insert(GATE_INDEX, HeaderValue::from(index));
    headers.insert(GATE_TERM, HeaderValue::from(point.term));
}
