//! Targets: a URL, taken apart and checked before anything else happens.
//!
//! Invariant: a target is http or https, has a host and nothing secret in its host part, and reads
//! the same for every parser: what some drop or turn around (white space, backslashes) is refused.

use std::net::{IpAddr, Ipv4Addr};

use types::limits;
use url::{Host, Position, Url};

use crate::address::AddressRule;

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) tls: bool,
    /// A name to be looked up, or the text of an address.
    pub(crate) host: String,
    /// Set if the URL names an address.
    pub(crate) address: Option<IpAddr>,
    pub(crate) port: u16,
    /// For the `Host` header.
    pub(crate) authority: String,
    /// For the request line.
    pub(crate) path_and_query: String,
}

impl Target {
    /// Reads a URL. Errors never repeat it, since its path may hold a secret.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.len() > limits::URL_BYTES_MAX {
            return Err(format!("the URL is longer than {} bytes", limits::URL_BYTES_MAX));
        }
        if text.bytes().any(|byte| byte <= b' ' || byte == 0x7f || byte == b'\\') {
            return Err("the URL has white space, a control character or a backslash".into());
        }
        let url = Url::parse(text).map_err(|error| format!("the URL cannot be read: {error}"))?;
        let tls = match url.scheme() {
            "https" => true,
            "http" => false,
            other => {
                return Err(format!("the URL's scheme is {other}; only http and https are sent"));
            }
        };
        // The parser drops an empty user, so the text itself is asked too.
        let after_scheme = text.split_once("//").map_or("", |(_, rest)| rest);
        let written = after_scheme.split(['/', '?', '#']).next().unwrap_or_default();
        if !url.username().is_empty() || url.password().is_some() || written.contains('@') {
            return Err("the URL names a user; send credentials in a header".into());
        }
        let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else {
            return Err("the URL has no host".into());
        };
        let address = match host {
            Host::Domain(_) => None,
            Host::Ipv4(address) => Some(IpAddr::V4(address)),
            Host::Ipv6(address) => Some(IpAddr::V6(address)),
        };
        let host = match (&host, address) {
            (Host::Domain(name), _) => (*name).to_owned(),
            (_, Some(address)) => address.to_string(),
            (_, None) => return Err("the URL has no host".into()),
        };
        Ok(Self {
            tls,
            host,
            address,
            port,
            authority: url[Position::BeforeHost..Position::AfterPort].to_owned(),
            path_and_query: url[Position::BeforePath..Position::AfterQuery].to_owned(),
        })
    }
}

/// The host that a URL names, as the hosts of secrets are compared.
///
/// # Errors
/// Why it is no URL that could be sent to; the URL itself is never repeated.
pub fn host_of(url: &str) -> Result<String, String> {
    Target::parse(url).map(|target| target.host)
}

/// Refuses a URL that could never be sent to under a rule, before anything is looked up: one that
/// cannot be read, or that names an address which the rule forbids. What a name stands for is seen
/// when something is sent; only `localhost` stands for this machine everywhere.
///
/// # Errors
/// What is wrong; the URL itself is never repeated.
pub fn check_url(url: &str, addresses: &AddressRule) -> Result<(), String> {
    let target = Target::parse(url)?;
    let name = target.host.trim_end_matches('.');
    let is_local = name == "localhost" || name.ends_with(".localhost");
    let named = target.address.or(is_local.then_some(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    named.map_or(Ok(()), |address| addresses.check(address).map_err(|error| error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[rustfmt::skip]
    fn urls_are_taken_apart() {
        let cases = [
            // url, tls, host, port, authority, path and query
            ("https://a.example",           true,  "a.example", 443, "a.example",    "/"),
            ("http://A.example:80/x?y=1#z", false, "a.example", 80,  "a.example",    "/x?y=1"),
            ("http://a.example:81/",        false, "a.example", 81,  "a.example:81", "/"),
            ("http://127.0.0.1/x",          false, "127.0.0.1", 80,  "127.0.0.1",    "/x"),
            ("http://0x7f.1/",              false, "127.0.0.1", 80,  "127.0.0.1",    "/"),
            ("http://2130706433/",          false, "127.0.0.1", 80,  "127.0.0.1",    "/"),
            ("https://[::1]:9/x",           true,  "::1",       9,   "[::1]:9",      "/x"),
            ("http://a.example/%2F?%26",    false, "a.example", 80,  "a.example",    "/%2F?%26"),
        ];
        for (text, tls, host, port, authority, path) in cases {
            let target = Target::parse(text).unwrap();
            let found = (target.tls, &*target.host, target.port, &*target.authority,
                         &*target.path_and_query);
            assert_eq!(found, (tls, host, port, authority, path), "{text}");
            assert_eq!(target.address.is_some(), host.contains("::") || host.starts_with("127"));
        }
    }

    #[test]
    #[rustfmt::skip]
    fn addresses_that_a_rule_forbids_are_seen_in_the_url() {
        let cases = [
            ("https://a.example/x",            None),
            ("http://8.8.8.8/x",               None),
            ("http://10.1.2.3/x",              None),
            ("http://127.0.0.1:4000/x",        Some("loopback")),
            ("http://0x7f.1/x",                Some("loopback")),
            ("http://[::ffff:127.0.0.1]/x",    Some("loopback")),
            ("http://[::1]/x",                 Some("loopback")),
            ("http://LOCALHOST:80/x",          Some("loopback")),
            ("http://api.localhost./x",        Some("loopback")),
            ("http://169.254.169.254/latest",  Some("link-local")),
            ("http://10.2.0.1/canary",         Some("private")),
            ("http://a.example\\@b.example/", Some("backslash")),
        ];
        let rule = AddressRule::new(&["10.1.0.0/16"]).unwrap();
        for (url, refused) in cases {
            match (check_url(url, &rule), refused) {
                (Ok(()), None) => {}
                (Err(why), Some(expected)) => {
                    assert!(why.contains(expected) && !why.contains("canary"), "{url}: {why}");
                }
                (other, _) => panic!("{url}: {other:?}"),
            }
        }
    }

    #[test]
    #[rustfmt::skip]
    fn other_urls_are_refused() {
        let cases = [
            ("",                               "cannot be read"),
            ("a.example/x",                    "cannot be read"),
            ("ftp://a.example/",               "scheme is ftp"),
            ("file:///etc/passwd",             "scheme is file"),
            ("http://user@a.example/",         "names a user"),
            ("http://user:word@a.example/",    "names a user"),
            ("http://@a.example/",             "names a user"),
            ("http://:@a.example/",            "names a user"),
            ("http://a.example\\@b.example/",  "backslash"),
            ("http://a.example/x y",           "white space"),
            ("http://a.example/x\r\nHost: b",  "white space"),
            ("http://a.example:99999/",        "cannot be read"),
            ("http:///x?canary",               "host"),
        ];
        for (text, expected) in cases {
            match Target::parse(text) {
                Err(why) => {
                    assert!(why.contains(expected) && !why.contains("canary"), "{text:?}: {why}");
                }
                // The parser takes the first segment as the host, as browsers do.
                Ok(target) => assert_eq!((text, &*target.host), ("http:///x?canary", "x")),
            }
        }
        let long = format!("http://a.example/{}", "x".repeat(limits::URL_BYTES_MAX));
        assert!(Target::parse(&long).unwrap_err().contains("longer than"));
    }
}
