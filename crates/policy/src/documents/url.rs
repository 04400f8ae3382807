//! Urls of outgoing calls: scheme, host and port stand in the document, what follows them may be
//! filled in at the moment of use.
//!
//! Invariant: no agent chooses by a payload whom the gate calls.

use core::net::{Ipv4Addr, Ipv6Addr};

/// Longest name that a host can have.
const HOST_CHARS_MAX: usize = 253;
/// Longest label of a host's name.
const LABEL_CHARS_MAX: usize = 63;

/// Tags of templates, as they open and close.
const TAGS: [(&str, &str); 3] = [("{{", "}}"), ("{%", "%}"), ("{#", "#}")];

/// Why a url, with templates in it or not, cannot be called.
pub(super) fn fault(url: &str) -> Option<String> {
    let after = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let Some(after) = after else {
        return Some("a url begins with `https://` or `http://`, written out".into());
    };
    let (authority, rest) = after.split_at(after.find(['/', '?', '#']).unwrap_or(after.len()));
    authority_fault(authority).or_else(|| rest_fault(rest))
}

/// Whether anything in a text is filled in from a payload.
pub(super) fn has_template(text: &str) -> bool {
    TAGS.iter().any(|(open, _)| text.contains(open))
}

fn authority_fault(authority: &str) -> Option<String> {
    if authority.contains('@') {
        return Some("a url holds no user and no password; send a header instead".into());
    }
    if authority.contains(['{', '}', '$']) {
        let message = "host and port stand in the url as they are, without template or secret";
        return Some(message.into());
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(inside) => {
            let Some((address, after)) = inside.split_once(']') else {
                return Some("the address in `[` has no `]`".into());
            };
            if address.parse::<Ipv6Addr>().is_err() {
                return Some(format!("`{address}` is no IPv6 address"));
            }
            (None, after)
        }
        None => {
            let end = authority.find(':').unwrap_or(authority.len());
            (Some(&authority[..end]), &authority[end..])
        }
    };
    host.and_then(host_fault).or_else(|| port_fault(port))
}

fn host_fault(host: &str) -> Option<String> {
    if host.is_empty() {
        return Some("the url has no host".into());
    }
    let label_fits = |label: &str| {
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        !label.is_empty() && label.len() <= LABEL_CHARS_MAX && label.bytes().all(letter)
    };
    // A dot at the end says that the name is complete.
    let name = host.strip_suffix('.').unwrap_or(host);
    if name.len() > HOST_CHARS_MAX || !name.split('.').all(label_fits) {
        return Some(format!(
            "`{host}` is no host; a name has letters, digits, `-` and `.`, other scripts in their \
             `xn--` form"
        ));
    }
    let last = name.rsplit('.').next().unwrap_or_default();
    // Libraries read `0x7f.1` and `2130706433` as addresses, and not all alike.
    let numeric = last.starts_with(|letter: char| letter.is_ascii_digit())
        && (last.bytes().all(|byte| byte.is_ascii_digit()) || last.starts_with("0x"));
    (numeric && host.parse::<Ipv4Addr>().is_err())
        .then(|| format!("`{host}` is no IPv4 address of four decimal numbers"))
}

/// `port` is empty or begins with its colon.
fn port_fault(port: &str) -> Option<String> {
    if port.is_empty() {
        return None;
    }
    let digits = port.strip_prefix(':').unwrap_or_default();
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number = digits.parse::<u16>().ok().filter(|number| plain && *number > 0);
    number.is_none().then(|| format!("`{port}` is no port; write `:` and a number up to 65535"))
}

fn rest_fault(rest: &str) -> Option<String> {
    let literal = without_tags(rest);
    if literal.contains('#') {
        return Some("a url that is called has no fragment (`#`)".into());
    }
    let refused = |letter: char| letter.is_whitespace() || letter.is_control() || letter == '\\';
    literal.contains(refused).then(|| {
        "a url has neither blanks nor backslashes; write `%20` and `%5C` where they are meant"
            .into()
    })
}

/// What stands outside of templates. A tag that is never closed reaches to the end.
fn without_tags(text: &str) -> String {
    let mut literal = String::with_capacity(text.len());
    let mut rest = text;
    loop {
        let tags = TAGS.iter().filter_map(|tag| Some((rest.find(tag.0)?, tag.1)));
        let Some((at, close)) = tags.min() else {
            literal.push_str(rest);
            return literal;
        };
        literal.push_str(&rest[..at]);
        let inside = &rest[at + 2..];
        let Some(end) = inside.find(close) else {
            return literal;
        };
        rest = &inside[end + close.len()..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_its_host_itself() {
        let good = [
            "https://phone.example/calls",
            "http://127.0.0.1:4010/hook?x={{ payload.id }}",
            "http://[::1]:80",
            "https://a.example?q={{ payload['#'] }}",
            "https://a.example./x/{% if metadata.a %}b{% endif %}/{# why #}${secret:path}",
            "http://localhost:65535",
        ];
        for url in good {
            assert_eq!(fault(url), None, "{url}");
        }
        let bad = [
            ("ftp://a.example", "begins with"),
            ("HTTPS://a.example", "begins with"),
            ("${secret:scheme}://a.example", "begins with"),
            ("https:a.example", "begins with"),
            ("https://{{ payload.host }}/x", "without template or secret"),
            ("https://a.example{{ payload.x }}", "without template or secret"),
            ("https://${secret:host}/x", "without template or secret"),
            ("https://a.example:${secret:port}/x", "without template or secret"),
            ("https://me:word@a.example/", "no user and no password"),
            ("https:///x", "has no host"),
            ("https://:80/x", "has no host"),
            ("https://a..b/", "is no host"),
            ("https://a b/", "is no host"),
            ("https://a\\b/", "is no host"),
            ("https://bücher.example/", "is no host"),
            ("https://0x7f.1/", "is no IPv4 address"),
            ("https://2130706433/", "is no IPv4 address"),
            ("https://127.0.0.1./", "is no IPv4 address"),
            ("https://[::1/", "has no `]`"),
            ("https://[a]/", "is no IPv6 address"),
            ("https://[::1]x/", "is no port"),
            ("https://a:/", "is no port"),
            ("https://a:0/", "is no port"),
            ("https://a:+8/", "is no port"),
            ("https://a:65536/", "is no port"),
            ("https://a/x#y", "no fragment"),
            ("https://a#y", "no fragment"),
            ("https://a/x y", "neither blanks"),
            ("https://a/x\\y", "neither blanks"),
            ("https://a/\u{7f}", "neither blanks"),
        ];
        for (url, expected) in bad {
            let found = fault(url).unwrap_or_default();
            assert!(found.contains(expected), "{url}: {found}");
        }
    }
}
