//! URLs of templates: where a request goes is the document's word, never the payload's.
//!
//! Scheme, host and port stand literally at the beginning of the template. Values come in
//! percent-encoded, so they stay within their segment or parameter; those that would still change
//! the path (`..`, or nothing where a segment is expected) are refused.
//! Invariant: a rendered URL differs from its template only inside of segments and parameters.

use outbound::{PATH, QUERY};
use percent_encoding::{AsciiSet, percent_decode_str};
use url::Url;

use crate::marks::{OPENING, pieces};

/// The literal beginning of a URL template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    /// As written: scheme, host and port.
    text: String,
    /// As URLs are compared.
    url: Url,
    /// Segments that are empty in the template itself.
    empty_segments: usize,
}

impl Origin {
    /// Reads the beginning of a template.
    ///
    /// # Errors
    /// A template that leaves scheme or host to its values, or is no URL.
    pub(crate) fn of(template: &str) -> Result<Self, String> {
        let Some((scheme, rest)) = template.split_once("://") else {
            return Err("it does not begin with http:// or https://".into());
        };
        if !matches!(scheme.to_ascii_lowercase().as_str(), "http" | "https") {
            return Err("it does not begin with http:// or https://".into());
        }
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if authority.contains(['{', '}', '$']) {
            return Err("scheme, host and port must be literal, without {{ }} and secrets".into());
        }
        if authority.contains(['@', '\\']) || authority.contains(char::is_whitespace) {
            return Err("its host part has a user, a backslash or white space".into());
        }
        if template.contains(['\n', '\r', '\t']) || template.ends_with(' ') {
            return Err("it has line ends or white space around it".into());
        }
        let text = format!("{scheme}://{authority}");
        let url = Url::parse(&text).map_err(|error| format!("it cannot be read: {error}"))?;
        let origin = Self { empty_segments: empty_segments(&template[text.len()..]), text, url };
        origin.check(&skeleton(template))?;
        Ok(origin)
    }

    /// The host, as secrets and connections know it.
    pub(crate) fn host(&self) -> &str {
        let host = self.url.host_str().unwrap_or_default();
        // Addresses of IPv6 stand in brackets in URLs alone.
        host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
    }

    /// Looks at a URL of this template after rendering, and again with its secrets in it.
    ///
    /// # Errors
    /// What the values changed; never the values.
    pub(crate) fn check(&self, rendered: &str) -> Result<(), String> {
        let url = Url::parse(rendered).map_err(|error| format!("it cannot be read: {error}"))?;
        let same = url.scheme() == self.url.scheme()
            && url.host() == self.url.host()
            && url.port_or_known_default() == self.url.port_or_known_default()
            && url.username().is_empty()
            && url.password().is_none();
        let Some(rest) = rendered.strip_prefix(&self.text).filter(|_| same) else {
            return Err("the values change its scheme, host or port".into());
        };
        let path = path_of(rest);
        let steps = path.split('/').any(|segment| {
            matches!(&*percent_decode_str(segment).collect::<Vec<u8>>(), b"." | b"..")
        });
        if steps {
            return Err("a segment of its path is `.` or `..`".into());
        }
        if empty_segments(rest) > self.empty_segments {
            return Err("a segment of its path is empty, so it would name something else".into());
        }
        Ok(())
    }
}

/// How a secret is written at this point of a URL: `before` is what stands before it. What answers
/// are searched for follows the same sets.
pub(crate) fn encoding_after(before: &str) -> &'static AsciiSet {
    if before.contains(['?', '#']) { QUERY } else { PATH }
}

/// What stands between the host and the query.
fn path_of(rest: &str) -> &str {
    rest.split(['?', '#']).next().unwrap_or_default()
}

/// Segments without content; in a template a value counts as content.
fn empty_segments(rest: &str) -> usize {
    let rest = skeleton(rest);
    path_of(&rest).split('/').skip(1).filter(|segment| segment.is_empty()).count()
}

/// A template with a letter in place of each value and each secret.
fn skeleton(template: &str) -> String {
    let mut text = String::new();
    for (is_literal, piece) in pieces(template) {
        if !is_literal {
            text.push_str(if piece.starts_with("{{") { "x" } else { "" });
            continue;
        }
        let mut rest = piece;
        while let Some((before, after)) = rest.split_once(OPENING) {
            let Some((_, after)) = after.split_once('}') else { break };
            text.push_str(before);
            text.push('x');
            rest = after;
        }
        text.push_str(rest);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[rustfmt::skip]
    fn where_a_request_goes_is_literal() {
        let cases = [
            ("https://a.example",                          Ok("a.example")),
            ("HTTPS://A.example:8443/x",                   Ok("a.example")),
            ("http://[::1]:80/{{ payload.id }}",           Ok("::1")),
            ("https://a.example?q={{ payload.q }}",        Ok("a.example")),
            ("https://a.example/${secret:path}",           Ok("a.example")),
            ("{{ payload.url }}",                          Err("does not begin with")),
            ("ftp://a.example/",                           Err("does not begin with")),
            ("a.example/x",                                Err("does not begin with")),
            ("{{ payload.s }}://a.example/",               Err("does not begin with")),
            ("https://{{ payload.host }}/",                Err("must be literal")),
            ("https://a.example{{ payload.host }}/",       Err("must be literal")),
            ("https://a.example:{{ payload.port }}/",      Err("must be literal")),
            ("https://{% if payload %}a{% endif %}.example/", Err("must be literal")),
            ("https://${secret:host}/",                    Err("must be literal")),
            ("https://me:word@a.example/",                 Err("has a user")),
            ("https://a.example\\@b.example/",             Err("backslash")),
            ("https://a.example/x\n",                      Err("line ends")),
            ("https://a.example/../x",                     Err("`..`")),
            ("https://a.example/%2e%2E/x",                 Err("`..`")),
            ("https://",                                   Err("cannot be read")),
        ];
        for (template, expected) in cases {
            match (Origin::of(template), expected) {
                (Ok(origin), Ok(host)) => assert_eq!(origin.host(), host, "{template}"),
                (Err(why), Err(expected)) => assert!(why.contains(expected), "{template}: {why}"),
                (other, _) => panic!("{template}: {other:?}"),
            }
        }
    }

    #[test]
    #[rustfmt::skip]
    fn values_stay_in_their_place() {
        let template = "https://a.example/calls//{{ intent.id }}/x{{ payload.y }}?q={{ intent.q }}";
        let cases = [
            ("https://a.example/calls//7/x?q=",            None),
            ("https://a.example/calls//%2E%2E/x?q=",       Some("`..`")),
            ("https://a.example/calls//../x?q=",           Some("`..`")),
            ("https://a.example/calls///x?q=",             Some("is empty")),
            ("https://a.example/calls//7/x?q=../..",       None),
            ("https://b.example/calls//7/x",               Some("scheme, host or port")),
            ("http://a.example/calls//7/x",                Some("scheme, host or port")),
            ("https://a.example.evil/calls",               Some("scheme, host or port")),
            ("https://a.example:444/calls",                Some("scheme, host or port")),
            ("https://a.example@b.example/",               Some("scheme, host or port")),
        ];
        let origin = Origin::of(template).unwrap();
        for (rendered, expected) in cases {
            match (origin.check(rendered), expected) {
                (Ok(()), None) => {}
                (Err(why), Some(expected)) => assert!(why.contains(expected), "{rendered}: {why}"),
                (other, _) => panic!("{rendered}: {other:?}"),
            }
        }
    }
}
