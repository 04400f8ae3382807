//! Answers: status, headers and a JSON body.

use reqwest::header::HeaderMap;
use serde_json::Value;

/// What an endpoint answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The body; null if there was none.
    pub body: Value,
    /// Who answered, as the endpoint was written.
    pub endpoint: String,
    pub(crate) headers: HeaderMap,
}

impl Answer {
    /// A header as text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// A text field of the body.
    #[must_use]
    pub fn text(&self, field: &str) -> Option<&str> {
        self.body.get(field)?.as_str()
    }

    /// The log index that the answer is as fresh as.
    #[must_use]
    pub fn index(&self) -> Option<u64> {
        self.header("Gate-Index")?.parse().ok()
    }

    /// The server replayed the answer of an earlier try.
    #[must_use]
    pub fn is_replayed(&self) -> bool {
        self.header("Idempotency-Replayed") == Some("true")
    }

    /// A 2xx status.
    #[must_use]
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}
