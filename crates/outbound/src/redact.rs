//! Redaction: secrets of one call, taken out of everything that is kept of it.
//!
//! A target may repeat what it was sent, and may spell it otherwise: escaped in JSON,
//! percent-encoded or in base64.
//! Invariant: what a redactor returns holds none of the values it has learnt, in any such spelling.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use zeroize::{Zeroize as _, Zeroizing};

use crate::secrets::Revealed;

/// What stands in place of a secret.
pub(crate) const MASK: &str = "[secret]";
/// Shorter values are looked for as they are: their other spellings are too common.
const ENCODED_BYTES_MIN: usize = 6;
/// A cut text may end within a secret; shorter beginnings tell nothing.
const BEGINNING_BYTES_MIN: usize = 4;
/// What RFC 3986 leaves as it is.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Replaces the secrets it has learnt by `[secret]`.
#[derive(Default)]
pub struct Redactor {
    /// Longest first, so that no spelling hides a part of another.
    spellings: Vec<Zeroizing<Vec<u8>>>,
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
            for spelling in spellings(secret) {
                if !spelling.is_empty() && !self.spellings.contains(&spelling) {
                    self.spellings.push(spelling);
                }
            }
        }
        self.spellings.sort_by_key(|spelling| std::cmp::Reverse(spelling.len()));
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
            if let Some(found) = self.spellings.iter().find(|spelling| rest.starts_with(spelling)) {
                clean.extend_from_slice(MASK.as_bytes());
                rest = &rest[found.len()..];
            } else if cut && self.may_go_on(rest) {
                clean.extend_from_slice(MASK.as_bytes());
                break;
            } else {
                clean.push(*first);
                rest = &rest[1..];
            }
        }
        clean
    }

    /// The text ends in the midst of a secret.
    fn may_go_on(&self, rest: &[u8]) -> bool {
        rest.len() >= BEGINNING_BYTES_MIN
            && self.spellings.iter().any(|spelling| spelling.starts_with(rest))
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redactor").finish_non_exhaustive()
    }
}

/// A value as it is, and the ways in which others may write it.
fn spellings(secret: &str) -> Vec<Zeroizing<Vec<u8>>> {
    let mut found = vec![Zeroizing::new(secret.as_bytes().to_vec())];
    if secret.len() < ENCODED_BYTES_MIN {
        return found;
    }
    let mut add = |text: String| found.push(Zeroizing::new(text.into_bytes()));
    for escaped in [json_escaped(secret, false), json_escaped(secret, true)] {
        add(escaped.replace('/', "\\/"));
        add(escaped);
    }
    for set in [NON_ALPHANUMERIC, UNRESERVED] {
        let upper = utf8_percent_encode(secret, set).to_string();
        add(lower_hex(&upper));
        add(upper.replace("%20", "+"));
        add(upper);
    }
    for lead in 0..3 {
        for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
            add(within_base64(secret.as_bytes(), lead, engine));
        }
    }
    found
}

/// A JSON string without its quotes, if asked with everything beyond ASCII as `\u` escapes.
fn json_escaped(secret: &str, ascii: bool) -> String {
    let mut text = String::new();
    for character in secret.chars() {
        if ascii && !character.is_ascii() {
            for unit in character.encode_utf16(&mut [0; 2]) {
                text.push_str(&format!("\\u{unit:04x}"));
            }
            continue;
        }
        let quoted = Value::from(character.to_string()).to_string();
        text.push_str(&quoted[1..quoted.len() - 1]);
    }
    text
}

/// `%2F` as `%2f`, and nothing else changed.
fn lower_hex(upper: &str) -> String {
    let mut pieces = upper.split('%');
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (hex, rest) = piece.split_at(piece.len().min(2));
        text.push('%');
        text.push_str(&hex.to_ascii_lowercase());
        text.push_str(rest);
    }
    text
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

    #[test]
    #[rustfmt::skip]
    fn every_spelling_is_taken_out() {
        let cases = [
            format!("Bearer {CANARY}"),
            serde_json::json!({ "echo": CANARY }).to_string(),
            serde_json::json!({ "echo": CANARY }).to_string().replace('/', "\\/"),
            "{\"echo\":\"s3cr/t \\\"\\u00fc\\\\+=end\"}".to_owned(),
            format!("?q={}", encoded(NON_ALPHANUMERIC)),
            format!("?q={}", encoded(UNRESERVED).replace("%20", "+")),
            format!("?q={}", lower_hex(&encoded(NON_ALPHANUMERIC))),
            format!("Basic {}", STANDARD.encode(CANARY)),
            format!("Basic {}", STANDARD.encode(format!("u:{CANARY}"))),
            format!("Basic {}", STANDARD.encode(format!("me:{CANARY}!"))),
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
