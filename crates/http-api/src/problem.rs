//! Problems: why a request got no answer of the kind it asked for, in one JSON shape.
//!
//! `{"error", "message", "request_id", …}`. `error` is a code; where existing clients know an exact
//! sentence it is that sentence, and the code stands in `code`. The request id is put in by the
//! outermost layer, so a problem travels as a value until then.

use std::borrow::Cow;
use std::sync::Arc;

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use gate::GateError;
use gate::log::{ChangeError, ProposeError, ReadPoint};
use serde_json::{Map, Value, json};
use types::LogIndex;

use crate::answer::put_point;

/// A problem on its way out: one pointer, so that results stay small.
#[derive(Debug, Clone)]
pub(crate) struct Problem(Box<Details>);

#[derive(Debug, Clone)]
struct Details {
    status: StatusCode,
    error: Cow<'static, str>,
    code: &'static str,
    message: String,
    more: Map<String, Value>,
    retry_after_s: Option<u32>,
    at: Option<ReadPoint>,
    /// What only this node's log says.
    cause: Option<String>,
}

impl Problem {
    /// A problem whose `error` is its code.
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        debug_assert!(gate::CODES.contains(&code), "{code} has no page");
        Self(Box::new(Details {
            status,
            error: Cow::Borrowed(code),
            code,
            message: message.into(),
            more: Map::new(),
            retry_after_s: None,
            at: None,
            cause: None,
        }))
    }

    /// Gives `error` the words that existing clients know.
    pub(crate) fn says(mut self, error: impl Into<Cow<'static, str>>) -> Self {
        self.0.error = error.into();
        self
    }

    /// Says when to ask again.
    pub(crate) fn retry_after(mut self, seconds: u32) -> Self {
        self.0.retry_after_s = Some(seconds);
        self
    }

    /// Adds a member to the body.
    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.more.insert(name.to_owned(), value.into());
        self
    }

    /// Says at which point of the log it was found.
    pub(crate) fn at(mut self, point: ReadPoint) -> Self {
        self.0.at = Some(point);
        self
    }

    /// Says where in the log the refusal stands.
    pub(crate) fn committed(self, answer: &gate::Answer) -> Self {
        self.at(ReadPoint { index: answer.index, term: answer.term })
    }

    /// 400 about one field, named by its JSON path, header or query parameter.
    pub(crate) fn field(field: impl Into<String>, message: impl Into<String>) -> Self {
        let field = field.into();
        let message = format!("{field}: {}", message.into());
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", message).with("field", field)
    }

    /// What it says to people, where there is no HTTP.
    pub(crate) fn into_message(self) -> String {
        self.0.message
    }

    /// 404 in the words of one route.
    pub(crate) fn not_found(error: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message).says(error)
    }

    /// Puts the words of a route in place of another route's, if this is a 404.
    pub(crate) fn instead_of_unknown(self, error: &'static str) -> Self {
        if self.0.status == StatusCode::NOT_FOUND { self.says(error) } else { self }
    }

    /// 403.
    pub(crate) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", message)
    }

    /// 401 without a usable header.
    pub(crate) fn no_key() -> Self {
        let message = GateError::NoKey.to_string();
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
            .says("Missing or invalid Authorization header")
    }

    /// 401 for a key that is not known.
    pub(crate) fn unknown_key() -> Self {
        let message = GateError::UnknownKey.to_string();
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", message).says("Invalid API key")
    }

    /// 403 for a principal that was stopped.
    pub(crate) fn inactive(status: &'static str) -> Self {
        let message = GateError::Inactive(status).to_string();
        Self::new(StatusCode::FORBIDDEN, "agent_inactive", message).with("status", status)
    }

    /// 429: this key has too much in flight.
    pub(crate) fn too_many_requests(message: impl Into<String>) -> Self {
        let mut problem = Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", message);
        problem.0.retry_after_s = Some(1);
        problem
    }

    /// 429: the ledger remembers as many `Idempotency-Key`s as it can.
    pub(crate) fn too_many_keys(message: impl Into<String>) -> Self {
        let status = StatusCode::TOO_MANY_REQUESTS;
        let mut problem = Self::new(status, "too_many_idempotency_keys", message);
        problem.0.retry_after_s = Some(60);
        problem
    }

    /// 500 without details; they are in this node's log under the request id.
    pub(crate) fn internal() -> Self {
        let message = "this node failed; its log has the details under the request id";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
    }

    /// Keeps what went wrong for this node's log; callers never see it.
    pub(crate) fn because(mut self, cause: &impl ToString) -> Self {
        self.0.cause = Some(cause.to_string());
        self
    }

    /// What only this node's log says.
    pub(crate) fn cause(&self) -> Option<&str> {
        self.0.cause.as_deref()
    }

    /// 503: `outcome` says whether anything may have happened.
    fn unavailable(code: &'static str, message: impl Into<String>, outcome: &str) -> Self {
        let mut problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, code, message);
        problem.0.retry_after_s = Some(1);
        problem.with("outcome", outcome)
    }

    /// 503: this node takes nothing more for the moment; nothing happened.
    pub(crate) fn overloaded(message: impl Into<String>) -> Self {
        Self::unavailable("overloaded", message, "none")
    }

    /// A read that could not be confirmed: nothing happened, whatever the log says.
    pub(crate) fn unconfirmed_read() -> Self {
        Self::unavailable("no_quorum", ProposeError::NoLeader.to_string(), "none")
    }

    /// 401: the credential is missing or unknown.
    pub(crate) fn is_unauthorized(&self) -> bool {
        self.0.status == StatusCode::UNAUTHORIZED
    }

    /// Writes the problem as a line of a batch's answer: what its headers would say stands beside
    /// the body, and which line it is.
    pub(crate) fn write_line(&self, request_id: &str, number: usize, line: &mut Vec<u8>) {
        let mut body = Map::new();
        body.insert("status".into(), json!(self.0.status.as_u16()));
        if let Some(seconds) = self.0.retry_after_s {
            body.insert("retry_after".into(), json!(seconds));
        }
        if let Some(ReadPoint { index: LogIndex(index), term }) = self.0.at {
            body.insert("gate_index".into(), json!(index));
            body.insert("gate_term".into(), json!(term));
        }
        for (name, value) in self.members(request_id) {
            let name = if name == "status" { "answer_status".into() } else { name };
            body.insert(name, value);
        }
        body.insert("line".into(), json!(number));
        // A map of JSON values has string keys only and cannot fail otherwise.
        let _ = serde_json::to_writer(&mut *line, &body);
        line.push(b'\n');
    }

    /// The members of the body.
    fn members(&self, request_id: &str) -> Map<String, Value> {
        let mut body = Map::new();
        body.insert("error".into(), json!(self.0.error));
        if self.0.error != self.0.code {
            body.insert("code".into(), json!(self.0.code));
        }
        body.insert("message".into(), json!(self.0.message));
        body.insert("request_id".into(), json!(request_id));
        for (name, value) in &self.0.more {
            body.insert(name.clone(), value.clone());
        }
        body
    }

    /// The body with this request id.
    pub(crate) fn render(&self, request_id: &str) -> Response {
        let text = Value::Object(self.members(request_id)).to_string();
        let mut response = (self.0.status, text).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(seconds) = self.0.retry_after_s {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(point) = self.0.at {
            put_point(headers, point);
        }
        if self.0.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.0.status.into_response();
        response.extensions_mut().insert(Arc::new(self));
        response
    }
}

impl From<gate::beside::Panicked> for Problem {
    fn from(panicked: gate::beside::Panicked) -> Self {
        GateError::from(panicked).into()
    }
}

impl From<GateError> for Problem {
    fn from(error: GateError) -> Self {
        match error {
            GateError::Log(
                ProposeError::QueueFull | ProposeError::Slow | ProposeError::Stopping,
            ) => Self::unavailable("overloaded", error.to_string(), "none"),
            GateError::Log(ProposeError::NoLeader) => {
                Self::unavailable("no_quorum", error.to_string(), "none")
            }
            GateError::Log(ProposeError::Behind) => {
                Self::unavailable("not_yet_applied", error.to_string(), "none")
            }
            GateError::Log(ProposeError::DiskFull) => {
                let status = StatusCode::INSUFFICIENT_STORAGE;
                let problem = Self::new(status, "disk_quota", error.to_string());
                problem.retry_after(60).with("outcome", "none")
            }
            GateError::Log(ProposeError::Unknown) => {
                Self::unavailable("outcome_unknown", error.to_string(), "unknown")
            }
            GateError::Change(ChangeError::Refused(message)) => {
                Self::new(StatusCode::CONFLICT, "cluster_change_refused", message)
            }
            // It was recorded, and a part of it may have been made.
            GateError::Change(ChangeError::NoLeader) => {
                Self::unavailable("no_quorum", error.to_string(), "unknown")
            }
            GateError::Change(ChangeError::Unknown(_)) => {
                Self::unavailable("outcome_unknown", error.to_string(), "unknown")
            }
            GateError::NoFreeId => Self::internal().because(&error),
            GateError::PolicyMoving => {
                Self::unavailable("policy_moving", error.to_string(), "none")
            }
            GateError::SettingsMoving => {
                Self::unavailable("settings_moving", error.to_string(), "none")
            }
            GateError::Unsettled(freeze) => {
                Self::unavailable("freeze_unsettled", error.to_string(), "unknown")
                    .with("freeze_id", freeze.to_string())
            }
            GateError::Fault(fault) => Self::internal().because(&fault),
            GateError::NoKey => Self::no_key(),
            GateError::UnknownKey => Self::unknown_key(),
            GateError::Inactive(status) => Self::inactive(status),
            GateError::Forbidden(message) => Self::forbidden(message),
            GateError::TooManyRecords => Self::field("$.payload", error.to_string()),
            GateError::InvalidPolicy(problems) => invalid("invalid_policy", &problems),
            GateError::InvalidDestination(problems) => invalid("invalid_destination", &problems),
            GateError::InvalidChannel(problems) => invalid("invalid_channel", &problems),
            GateError::NotFound(message) => Self::not_found("not_found", message),
        }
    }
}

/// 400: nothing says who judges the request, in the words of existing clients.
pub(crate) fn uncovered(message: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "invalid_request", message)
        .says("destination and policy are required")
}

/// 400: the first problem at the top, all of them in the list.
fn invalid(code: &'static str, problems: &[policy::Problem]) -> Problem {
    let message = match problems.first() {
        Some(first) => first.to_string(),
        None => "the documents are not valid".into(),
    };
    let problem = Problem::new(StatusCode::BAD_REQUEST, code, message);
    let problem = match problems.first() {
        Some(first) => problem
            .with("file", first.file.as_str())
            .with("line", first.line)
            .with("column", first.column)
            .with("nearest", json!(first.nearest)),
        None => problem,
    };
    problem.with("problems", places(problems))
}

/// Problems or warnings of documents as JSON.
pub(crate) fn places(problems: &[policy::Problem]) -> Vec<Value> {
    let place = |problem: &policy::Problem| {
        json!({
            "file": problem.file,
            "line": problem.line,
            "column": problem.column,
            "message": problem.message,
            "nearest": problem.nearest,
        })
    };
    problems.iter().map(place).collect()
}
