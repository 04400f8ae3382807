//! Redaction: secrets of one call, taken out of everything that is kept of it.
//!
//! A target may repeat what it was sent, and may spell it otherwise: escaped, encoded
//! (`spelling.rs`) or in base64.
//! Invariant: what a redactor returns holds none of the values it has learnt, in any such spelling.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use zeroize::{Zeroize as _, Zeroizing};

use crate::secrets::Revealed;
use crate::spelling::{Found, Spelled};

/// What stands in place of a secret.
pub(crate) const MASK: &str = "[secret]";
/// The base64 of shorter values is too common to be looked for.
const BASE64_BYTES_MIN: usize = 6;
/// A cut text may end within a secret; shorter beginnings tell nothing.
const BEGINNING_BYTES_MIN: usize = 4;

/// What a URL keeps as it is where a secret is a parameter of its query.
pub const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// What a URL keeps as it is where a secret is a part of its path: it may be several segments of
/// it, such as the address of a channel.
pub const PATH: &AsciiSet = &QUERY.remove(b'/');

/// Replaces the secrets it has learnt by `[secret]`.
#[derive(Default)]
pub struct Redactor {
    known: Vec<Zeroizing<String>>,
    /// The values themselves and their base64.
    spelled: Vec<Spelled>,
}

impl Redactor {
    /// One that knows nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Learns every secret that a text was filled in with.
    pub fn learn(&mut self, revealed: &Revealed) {
        for secret in revealed.secrets() {
            if self.known.iter().any(|known| known.as_str() == secret) {
                continue;
            }
            self.known.push(Zeroizing::new(secret.to_owned()));
            self.spelled.push(Spelled::new(secret));
            if secret.len() >= BASE64_BYTES_MIN {
                // A whole request may come back in base64, and in its URL the value is encoded.
                for written in [secret.to_owned(), in_url(secret, PATH), in_url(secret, QUERY)] {
                    let base64 = base64_of(&Zeroizing::new(written));
                    self.spelled.extend(base64.iter().map(|text| Spelled::new(text)));
                }
            }
        }
        self.spelled.retain(|spelled| !spelled.is_empty());
    }

    /// A text without secrets.
    #[must_use]
    pub fn text(&self, text: &str) -> String {
        String::from_utf8_lossy(&self.bytes(text.as_bytes(), false)).into_owned()
    }

    /// A captured body as text without secrets; of a body that was cut, also without the beginning
    /// of a secret at its end.
    #[must_use]
    pub fn body(&self, body: &[u8], cut: bool) -> String {
        String::from_utf8_lossy(&self.bytes(body, cut)).into_owned()
    }

    /// A JSON value without secrets in its strings and keys.
    #[must_use]
    pub fn json(&self, value: Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(&text)),
            Value::Array(items) => items.into_iter().map(|item| self.json(item)).collect(),
            Value::Object(members) => {
                members.into_iter().map(|(key, item)| (self.text(&key), self.json(item))).collect()
            }
            other => other,
        }
    }

    fn bytes(&self, text: &[u8], cut: bool) -> Vec<u8> {
        let mut clean = Vec::with_capacity(text.len());
        let mut rest = text;
        while let Some(first) = rest.first() {
            match self.longest(rest) {
                Found::Whole(length) => {
                    clean.extend_from_slice(MASK.as_bytes());
                    rest = &rest[length..];
                }
                Found::Cut if cut && rest.len() >= BEGINNING_BYTES_MIN => {
                    clean.extend_from_slice(MASK.as_bytes());
                    break;
                }
                Found::Cut | Found::No => {
                    clean.push(*first);
                    rest = &rest[1..];
                }
            }
        }
        clean
    }

    /// The longest of the values that a text begins with, so that none hides a part of another.
    fn longest(&self, rest: &[u8]) -> Found {
        let (mut longest, mut may_go_on) = (0, false);
        for spelled in &self.spelled {
            match spelled.at(rest) {
                Found::Whole(length) => longest = longest.max(length),
                Found::Cut => may_go_on = true,
                Found::No => {}
            }
        }
        match longest {
            0 if may_go_on => Found::Cut,
            0 => Found::No,
            length => Found::Whole(length),
        }
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redactor").finish_non_exhaustive()
    }
}

fn in_url(secret: &str, set: &'static AsciiSet) -> String {
    utf8_percent_encode(secret, set).to_string()
}

/// What stands for a value in the base64 of a longer text that it is a part of.
fn base64_of(secret: &str) -> Vec<Zeroizing<String>> {
    let places = (0..3).flat_map(|lead| [(lead, &STANDARD_NO_PAD), (lead, &URL_SAFE_NO_PAD)]);
    let within = |(lead, engine)| Zeroizing::new(within_base64(secret.as_bytes(), lead, engine));
    places.map(within).collect()
}

/// The characters that stand for a value inside of a longer base64 text, whatever stands around it:
/// `lead` says how many bytes before it share its first group.
fn within_base64(secret: &[u8], lead: usize, engine: &base64::engine::GeneralPurpose) -> String {
    let mut bytes = vec![0; lead];
    bytes.extend_from_slice(secret);
    let encoded = engine.encode(&bytes);
    bytes.zeroize();
    // Characters that mix bits of the value with bits of its neighbours are left out.
    let first = [0, 2, 3][lead];
    let last = encoded.len() - usize::from(!(lead + secret.len()).is_multiple_of(3));
    encoded[first..last].to_owned()
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;

    use super::*;

    const CANARY: &str = "s3cr/t \"ü\\+=end";

    fn redactor(secret: &str) -> Redactor {
        let mut redactor = Redactor::new();
        redactor.learn(&Revealed::of(secret.to_owned()));
        redactor
    }

    fn encoded(set: &'static AsciiSet) -> String {
        utf8_percent_encode(CANARY, set).to_string()
    }

    /// `%2F` as `%2f`, and nothing else changed.
    fn lower_hex(upper: &str) -> String {
        let mut pieces = upper.split('%');
        let first = pieces.next().unwrap_or_default().to_owned();
        pieces.fold(first, |text, piece| {
            format!("{text}%{}{}", piece[..2].to_ascii_lowercase(), &piece[2..])
        })
    }

    #[test]
    #[rustfmt::skip]
    fn every_spelling_is_taken_out() {
        let cases = [
            format!("Bearer {CANARY}"),
            serde_json::json!({ "echo": CANARY }).to_string(),
            serde_json::json!({ "echo": CANARY }).to_string().replace('/', "\\/"),
            "{\"echo\":\"s3cr/t \\\"\\u00fc\\\\+=end\"}".to_owned(),
            format!("?q={}", encoded(NON_ALPHANUMERIC)),
            format!("?q={}", encoded(NON_ALPHANUMERIC).replace("%20", "+")),
            format!("/{}", encoded(PATH)),
            format!("/{}", lower_hex(&encoded(PATH))),
            format!("<p>{}</p>", CANARY.replace('"', "&quot;").replace('+', "&#43;")),
            format!("?q={}", lower_hex(&encoded(NON_ALPHANUMERIC))),
            format!("Basic {}", STANDARD.encode(CANARY)),
            format!("Basic {}", STANDARD.encode(format!("u:{CANARY}"))),
            format!("Basic {}", STANDARD.encode(format!("me:{CANARY}!"))),
            format!("request {}", STANDARD.encode(format!("GET /{} HTTP/1.1", encoded(PATH)))),
            format!("request {}", STANDARD.encode(format!("GET /?q={}&a", encoded(QUERY)))),
            format!("token {}", URL_SAFE_NO_PAD.encode(format!("abc{CANARY}"))),
        ];
        let redactor = redactor(CANARY);
        for text in cases {
            let clean = redactor.text(&text);
            assert!(clean.contains(MASK), "{text} became {clean}");
            assert!(!clean.contains("s3cr") && !clean.contains("end"), "{text} became {clean}");
        }
        assert_eq!(redactor.text("nothing of it"), "nothing of it");
    }

    #[test]
    fn a_cut_body_keeps_no_beginning_of_a_secret() {
        let redactor = redactor("correct-horse");
        assert_eq!(redactor.body(b"token=correct-ho", true), "token=[secret]");
        assert_eq!(redactor.body(b"token=correct-ho", false), "token=correct-ho");
        assert_eq!(redactor.body(b"token=cor", true), "token=cor", "too short to tell");
        assert_eq!(redactor.body(b"\xff correct-horse", false), "\u{fffd} [secret]");
    }

    #[test]
    fn of_overlapping_secrets_the_longest_goes() {
        let mut redactor = redactor("abc");
        redactor.learn(&Revealed::of("abcdef".into()));
        redactor.learn(&Revealed::of("e".into()));
        assert_eq!(redactor.text("abcdef abc e"), "[secret] [secret] [secret]");
        assert_eq!(format!("{redactor:?}"), "Redactor { .. }");
    }

    #[test]
    fn short_secrets_are_found_encoded_too() {
        let redactor = redactor("a/ b");
        for text in ["x=a/ b", "x=a/%20b", "x=a%2f+b", "x=a\\/ b"] {
            assert_eq!(redactor.text(text), "x=[secret]", "{text}");
        }
    }

    #[test]
    fn json_is_searched_behind_its_escapes() {
        let value = serde_json::json!({ "k correct-horse": ["correct-horse", 1, null] });
        let clean = redactor("correct-horse").json(value);
        assert_eq!(clean, serde_json::json!({ "k [secret]": ["[secret]", 1, null] }));
    }

    proptest! {
        /// Whatever stands around a secret, base64 of it all gives nothing away.
        #[test]
        fn base64_is_found_wherever_it_stands(before in "[ -~]{0,9}", after in "[ -~]{0,9}") {
            let redactor = redactor("correct-horse");
            let text = STANDARD.encode(format!("{before}correct-horse{after}"));
            let clean = redactor.text(&text);
            prop_assert!(clean.contains(MASK), "{} became {}", text, clean);
        }
    }
}
