//! Errors: who could not be reached, who refused, and what the refusal said.
//!
//! Invariant: no error contains the API key.

use std::fmt;

use serde_json::Value;

use crate::answer::Answer;
use crate::endpoint::EndpointError;

/// Why a request has no good answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No endpoint answered before the deadline.
    #[error("no endpoint answered: {}", shown(.0))]
    Unreachable(Vec<Trouble>),
    /// Every endpoint that answered said that it cannot serve now (503).
    #[error("the cluster cannot answer now: {0}")]
    NoQuorum(Box<Refusal>),
    /// An endpoint refused the request.
    #[error("{0}")]
    Refused(Box<Refusal>),
    /// What answered is no gate, or broke off.
    #[error("{endpoint} gave an answer that is none of a gate: {what}")]
    NotAGate {
        /// Who answered.
        endpoint: String,
        /// What is wrong with it.
        what: String,
    },
    /// The settings cannot make a request.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// The key has characters that no header can carry.
    #[error("the API key has characters that no key has; copy it again")]
    BadKey,
    /// The HTTP library could not start.
    #[error("the HTTP client cannot start: {0}")]
    Setup(String),
}

/// One endpoint that did not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// As it was written.
    pub endpoint: String,
    /// What went wrong.
    pub what: String,
}

/// An answer that says no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Who said it.
    pub endpoint: String,
    /// HTTP status.
    pub status: u16,
    /// Machine code: `code`, or `error` where that is no sentence.
    pub code: Option<String>,
    /// For people.
    pub message: String,
    /// The server's id of the request.
    pub request_id: Option<String>,
    /// The whole body.
    pub body: Value,
}

impl Refusal {
    /// Reads the problem shape `{"error", "code", "message", "reason", "request_id", …}`.
    #[must_use]
    pub fn of(answer: &Answer) -> Self {
        let field = |name: &str| answer.text(name).map(str::to_owned);
        let error = field("error");
        let code = field("code").or_else(|| error.clone().filter(|text| is_code(text)));
        let message = field("message")
            .or_else(|| error.filter(|text| !is_code(text)))
            .or_else(|| field("blockReason"))
            .or_else(|| field("reason"))
            .or_else(|| code.as_deref().map(|code| code.replace('_', " ")))
            .unwrap_or_else(|| format!("the server answered {} without a reason", answer.status));
        Self {
            endpoint: answer.endpoint.clone(),
            status: answer.status,
            code,
            message,
            request_id: field("request_id")
                .or_else(|| answer.header("x-request-id").map(str::to_owned)),
            body: answer.body.clone(),
        }
    }

    /// The refusal has this code.
    #[must_use]
    pub fn is(&self, code: &str) -> bool {
        self.code.as_deref() == Some(code)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}", self.message, self.status)?;
        match &self.code {
            Some(code) => write!(f, " {code})"),
            None => f.write_str(")"),
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.endpoint, self.what)
    }
}

/// Codes are one lower-case word with underscores; sentences are not.
fn is_code(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

fn shown(troubles: &[Trouble]) -> String {
    troubles.iter().map(Trouble::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderMap;
    use serde_json::json;

    use super::*;

    fn refusal(status: u16, body: Value) -> Refusal {
        let endpoint = "http://a:1".to_owned();
        Refusal::of(&Answer { status, body, endpoint, headers: HeaderMap::new() })
    }

    #[test]
    #[rustfmt::skip]
    fn every_shape_of_a_problem_is_read() {
        let cases = [
            (json!({"error": "forbidden", "message": "Reviewer API key required"}),
                "Reviewer API key required (409 forbidden)"),
            (json!({"error": "Proposal not found"}),             "Proposal not found (409)"),
            (json!({"error": "Proposal not found", "code": "not_found"}),
                "Proposal not found (409 not_found)"),
            (json!({"error": "replay_rejected", "reason": "nonce_unknown"}),
                "nonce_unknown (409 replay_rejected)"),
            (json!({"status": "duplicate_blocked", "blockReason": "one call"}), "one call (409)"),
            (json!({"error": "no_quorum"}),                      "no quorum (409 no_quorum)"),
            (json!([1]),            "the server answered 409 without a reason (409)"),
        ];
        for (body, expected) in cases {
            assert_eq!(refusal(409, body.clone()).to_string(), expected, "{body}");
        }
    }
}
