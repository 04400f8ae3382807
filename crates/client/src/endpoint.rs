//! Endpoints: where a gate answers.
//!
//! Invariant: a parsed endpoint has a scheme that this build speaks, a host, and nothing behind.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use reqwest::Url;

/// The base address of one node.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint(Url);

/// Why a text is no endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// Not an address at all.
    #[error("`{0}` is no address; write it like http://127.0.0.1:4000")]
    NoAddress(String),
    /// A scheme that this build does not speak.
    #[error("`{address}`: this build speaks http, not {scheme}")]
    Scheme {
        /// As written.
        address: String,
        /// The part before the colon.
        scheme: String,
    },
    /// User or password before the host. They are not shown.
    #[error("an endpoint has no user and no password; use the key")]
    Credentials,
    /// Something behind host and port.
    #[error("`{0}` must end after host and port")]
    NotBare(String),
    /// A list without a single address.
    #[error("no endpoint is named; write one like http://127.0.0.1:4000")]
    Empty,
}

impl Endpoint {
    /// Reads a list like `http://a:4000,http://b:4000`.
    ///
    /// # Errors
    /// The first part that is no endpoint; an empty list.
    pub fn list(text: &str) -> Result<Vec<Self>, EndpointError> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let list = parts.map(str::parse).collect::<Result<Vec<Self>, _>>()?;
        if list.is_empty() { Err(EndpointError::Empty) } else { Ok(list) }
    }

    /// Whether it is on this machine and nowhere else: a loopback address, or `localhost`.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        let host = self.0.host_str().unwrap_or_default();
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        match address.map(|address| address.to_canonical()) {
            Ok(address) => address.is_loopback(),
            Err(_) => host == "localhost",
        }
    }

    /// The address of a path below this endpoint. Each segment is escaped.
    pub(crate) fn url(&self, segments: &[String], query: &[(String, String)]) -> Url {
        let mut url = self.0.clone();
        url.path_segments_mut()
            .expect("an endpoint with a host can have a path")
            .clear()
            .extend(segments);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let url = Url::parse(text).map_err(|_| EndpointError::NoAddress(text.to_owned()))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(EndpointError::Credentials);
        }
        // The one place to change when this build learns TLS (see also `send::transport`).
        if url.scheme() != "http" {
            // `localhost:4000` seems to have the scheme `localhost`.
            if !text.contains("://") {
                return Err(EndpointError::NoAddress(text.to_owned()));
            }
            let scheme = url.scheme().to_owned();
            return Err(EndpointError::Scheme { address: text.to_owned(), scheme });
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err(EndpointError::NoAddress(text.to_owned()));
        }
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return Err(EndpointError::NotBare(text.to_owned()));
        }
        Ok(Self(url))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_and_faults_named() {
        let no_address = "is no address; write it like http://127.0.0.1:4000";
        let cases = [
            ("http://127.0.0.1:4000", "[http://127.0.0.1:4000]"),
            ("http://a:1, http://b:2/,", "[http://a:1, http://b:2]"),
            ("http://[::1]:4000", "[http://[::1]:4000]"),
            ("", "no endpoint is named; write one like http://127.0.0.1:4000"),
            ("localhost:4000", &format!("`localhost:4000` {no_address}")),
            ("127.0.0.1:4000", &format!("`127.0.0.1:4000` {no_address}")),
            ("https://a:1", "`https://a:1`: this build speaks http, not https"),
            ("http://a:1/v1", "`http://a:1/v1` must end after host and port"),
            ("http://user:word@a:1", "an endpoint has no user and no password; use the key"),
        ];
        for (text, expected) in cases {
            let shown = match Endpoint::list(text) {
                Ok(list) => format!("{list:?}"),
                Err(error) => error.to_string(),
            };
            assert_eq!(shown, expected, "{text}");
        }
    }

    #[test]
    fn this_machine_is_told_from_others() {
        let cases = [
            ("http://127.0.0.1:4000", true),
            ("http://127.9.9.9", true),
            ("http://[::1]:4000", true),
            ("http://[::ffff:127.0.0.1]:1", true),
            ("http://LOCALHOST:1", true),
            ("http://10.0.0.1:4000", false),
            ("http://[::]:1", false),
            ("http://localhost.example:1", false),
            ("http://127.0.0.1.example", false),
        ];
        for (text, expected) in cases {
            let endpoint: Endpoint = text.parse().expect("an address");
            assert_eq!(endpoint.is_loopback(), expected, "{text}");
        }
    }

    #[test]
    fn segments_are_escaped() {
        let endpoint: Endpoint = "http://a:1".parse().expect("an address");
        let segments = ["v1", "policies", "a/b ?#", "..x"].map(String::from);
        let query = [("wait".to_owned(), "30s&x=1".to_owned())];
        let url = endpoint.url(&segments, &query);
        assert_eq!(url.as_str(), "http://a:1/v1/policies/a%2Fb%20%3F%23/..x?wait=30s%26x%3D1");
        assert_eq!(endpoint.url(&segments[..1], &[]).as_str(), "http://a:1/v1");
    }
}
