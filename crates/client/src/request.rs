//! Requests, before they are sent.
//!
//! Invariant: every POST has an `Idempotency-Key` from the moment it is made, or each of its lines
//! has one.

use std::time::Duration;

use serde_json::Value;

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Reads.
    Get,
    /// Makes or decides something.
    Post,
    /// Puts a document.
    Put,
    /// Removes a document.
    Delete,
}

/// What a member of a good answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A string.
    Text,
    /// A number that is not negative.
    Number,
    /// True or false.
    Truth,
    /// A list.
    List,
    /// There, and anything, null too.
    Any,
}

impl Shape {
    fn fits(self, value: &Value) -> bool {
        match self {
            Self::Text => value.is_string(),
            Self::Number => value.is_u64(),
            Self::Truth => value.is_boolean(),
            Self::List => value.is_array(),
            Self::Any => true,
        }
    }
}

/// The body of a request.
#[derive(Debug, Clone)]
pub(crate) enum Body {
    None,
    Json(Vec<u8>),
    Yaml(Vec<u8>),
    Lines(Vec<u8>),
}

/// One request. Tries of it over several endpoints are the same request.
#[derive(Debug, Clone)]
pub struct Request {
    pub(crate) method: Method,
    pub(crate) segments: Vec<String>,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Body,
    pub(crate) idempotency_key: Option<String>,
    pub(crate) patience: Duration,
    pub(crate) anonymous: bool,
    pub(crate) expected: Vec<(&'static str, Shape)>,
}

impl Request {
    /// A request for a path, segment by segment: `["v1", "intents", id]`.
    #[must_use]
    pub fn new(method: Method, segments: &[&str]) -> Self {
        Self {
            method,
            segments: segments.iter().map(|&segment| segment.to_owned()).collect(),
            query: Vec::new(),
            headers: Vec::new(),
            body: Body::None,
            idempotency_key: (method == Method::Post).then(fresh_key),
            patience: Duration::ZERO,
            anonymous: false,
            expected: Vec::new(),
        }
    }

    /// A GET.
    #[must_use]
    pub fn get(segments: &[&str]) -> Self {
        Self::new(Method::Get, segments)
    }

    /// A POST with a JSON body.
    #[must_use]
    pub fn post(segments: &[&str], body: &Value) -> Self {
        Self::new(Method::Post, segments).json(body)
    }

    /// A PUT with a JSON body.
    #[must_use]
    pub fn put(segments: &[&str], body: &Value) -> Self {
        Self::new(Method::Put, segments).json(body)
    }

    /// A DELETE.
    #[must_use]
    pub fn delete(segments: &[&str]) -> Self {
        Self::new(Method::Delete, segments)
    }

    /// With a body that is JSON as it stands, for those that send one text many times.
    #[must_use]
    pub fn json_text(mut self, text: String) -> Self {
        self.body = Body::Json(text.into_bytes());
        self
    }

    /// With this JSON body.
    #[must_use]
    pub fn json(mut self, body: &Value) -> Self {
        self.body = Body::Json(body.to_string().into_bytes());
        self
    }

    /// With this YAML document as the body.
    #[must_use]
    pub fn yaml(mut self, document: Vec<u8>) -> Self {
        self.body = Body::Yaml(document);
        self
    }

    /// With JSON objects as the body, one a line. Each has a `request_key` of its own, so that the
    /// request as a whole has none.
    #[must_use]
    pub(crate) fn lines(mut self, lines: Vec<u8>) -> Self {
        self.body = Body::Lines(lines);
        self.idempotency_key = None;
        self
    }

    /// With one more query parameter.
    #[must_use]
    pub fn query(mut self, name: &str, value: impl Into<String>) -> Self {
        self.query.push((name.to_owned(), value.into()));
        self
    }

    /// With one more query parameter, if there is a value.
    #[must_use]
    pub fn query_if(self, name: &str, value: Option<impl Into<String>>) -> Self {
        match value {
            Some(value) => self.query(name, value),
            None => self,
        }
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// With the caller's own `Idempotency-Key`, so that a later run of the program is a retry too.
    #[must_use]
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.idempotency_key = Some(key.into());
        self
    }

    /// The server may take this much longer than usual: a long poll.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// A good answer has these members; what has not is no gate's.
    #[must_use]
    pub fn expecting(mut self, members: &[(&'static str, Shape)]) -> Self {
        self.expected.extend_from_slice(members);
        self
    }

    /// Without the `Authorization` header, for routes that are open.
    #[must_use]
    pub fn anonymous(mut self) -> Self {
        self.anonymous = true;
        self
    }
}

/// The first member that a good answer would have and this body has not.
pub(crate) fn missing(expected: &[(&'static str, Shape)], body: &Value) -> Option<&'static str> {
    let fits = |(name, shape): &&(&'static str, Shape)| {
        body.get(name).is_some_and(|value| shape.fits(value))
    };
    expected.iter().find(|member| !fits(member)).map(|(name, _)| *name)
}

/// A random `Idempotency-Key` or request id: 32 hex digits.
///
/// # Panics
/// If the operating system gives no random bytes: no request is safe to retry then.
#[must_use]
pub fn fresh_key() -> String {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_posts_get_a_key_and_each_its_own() {
        let keys: Vec<_> = (0..100)
            .map(|_| Request::post(&["v1", "intents"], &Value::Null).idempotency_key)
            .collect();
        assert!(keys.iter().all(|key| key.as_ref().is_some_and(|key| key.len() == 32)));
        assert_eq!(keys.iter().collect::<std::collections::BTreeSet<_>>().len(), 100);
        for method in [Method::Get, Method::Put, Method::Delete] {
            assert_eq!(Request::new(method, &["x"]).idempotency_key, None, "{method:?}");
        }
    }
}
