//! Payloads as they were sent, and as the rules see them.
//!
//! A string that parses as a JSON object or list, or line by line as objects, is judged as JSON,
//! and a `data:` URI as what it holds.
//! A file reference is one word that ends like a file; the gate never opens it.
//! Invariant: what cannot be read is never taken for harmless: it has no count and no text.

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::Value;
use types::{Digest, NamespaceId, PayloadKind};

use crate::engine::Subject;
use crate::json;
use crate::text::{path, walk};

/// What an agent sent.
#[derive(Debug, Clone, PartialEq)]
pub enum Payload {
    /// Nothing.
    Absent,
    /// A string.
    Text(String),
    /// A JSON value.
    Json(Value),
    /// A string that names a file.
    Reference(String),
}

/// Bytes of a media type: two names of 127 characters and the slash.
const MEDIA_TYPE_BYTES_MAX: usize = 255;

/// Endings that make a word the name of a file.
const FILE_TYPES: [&str; 7] = ["csv", "json", "txt", "pdf", "xml", "xlsx", "jsonl"];

impl Payload {
    /// A string payload: a reference if it is one word that ends like a file, else text.
    #[must_use]
    pub fn of_text(text: String) -> Self {
        if file_type(&text).is_some() { Self::Reference(text) } else { Self::Text(text) }
    }

    /// How it was sent.
    #[must_use]
    pub fn kind(&self) -> PayloadKind {
        match self {
            Self::Absent => PayloadKind::Absent,
            Self::Text(_) => PayloadKind::Text,
            Self::Json(_) => PayloadKind::Json,
            Self::Reference(_) => PayloadKind::Reference,
        }
    }

    /// Extension of a reference or type of a `data:` URI, lower case.
    #[must_use]
    pub fn payload_type(&self) -> Option<String> {
        match self {
            Self::Reference(name) => file_type(name).map(Into::into),
            Self::Text(text) => DataUri::of(text)?.short_type(),
            Self::Json(Value::String(text)) => DataUri::of(text)?.short_type(),
            Self::Absent | Self::Json(_) => None,
        }
    }

    /// A text's bytes as sent, a JSON value's canonical form.
    #[must_use]
    pub fn canonical_bytes(&self) -> Option<Cow<'_, [u8]>> {
        match self {
            Self::Absent => None,
            Self::Text(text) | Self::Reference(text) => Some(Cow::Borrowed(text.as_bytes())),
            Self::Json(value) => Some(Cow::Owned(json::canonical(value).into_bytes())),
        }
    }

    /// SHA-256 of the canonical bytes.
    #[must_use]
    pub fn digest(&self) -> Option<Digest> {
        self.canonical_bytes().map(|bytes| Digest::of(&bytes))
    }
}

fn file_type(text: &str) -> Option<&'static str> {
    let word = text.trim();
    if word.contains(char::is_whitespace) || DataUri::of(word).is_some() {
        return None;
    }
    let (_, ending) = word.rsplit_once('.')?;
    FILE_TYPES.into_iter().find(|known| ending.eq_ignore_ascii_case(known))
}

/// A payload as rules see it.
pub(crate) struct View<'a> {
    pub(crate) namespace: NamespaceId,
    pub(crate) destination: &'a str,
    pub(crate) profile: Option<&'a str>,
    pub(crate) content: Content<'a>,
    pub(crate) payload_type: Option<String>,
    /// Of a `data:` URI, lower case.
    pub(crate) media_type: Option<String>,
    pub(crate) metadata: Option<&'a Value>,
    /// Records counted, where there is something to count.
    pub(crate) count: Option<u64>,
    /// Why a text that looks like JSON must not be judged as mere text.
    pub(crate) fault: Option<String>,
}

/// What can be looked into.
pub(crate) enum Content<'a> {
    Absent,
    Json(Cow<'a, Value>),
    Text(Cow<'a, str>),
    /// The text is elsewhere, or cannot be decoded; only its name or raw form is here.
    Opaque(&'a str),
}

impl<'a> View<'a> {
    pub(crate) fn of(subject: &Subject<'a>) -> Self {
        let mut view = Self {
            namespace: subject.namespace,
            destination: &subject.proposal.destination,
            profile: subject.proposal.profile.as_deref(),
            content: Content::Absent,
            payload_type: subject.payload.payload_type(),
            media_type: None,
            metadata: subject.metadata,
            count: None,
            fault: None,
        };
        match subject.payload {
            Payload::Absent => {}
            Payload::Reference(name) => view.content = Content::Opaque(name),
            Payload::Text(text) | Payload::Json(Value::String(text)) => view.take_text(text),
            Payload::Json(value) => view.content = Content::Json(Cow::Borrowed(value)),
        }
        view.count = match &view.content {
            Content::Json(value) => Some(walk::record_count(value)),
            Content::Text(text) if view.media_type.as_deref() == Some("text/csv") => {
                Some(csv_rows(text))
            }
            Content::Text(_) => Some(1),
            Content::Absent | Content::Opaque(_) => None,
        };
        view
    }

    /// The value at a dot path of the payload, else of metadata; null and "" are no values.
    pub(crate) fn lookup(&self, dot_path: &str) -> Option<&Value> {
        let in_payload = match &self.content {
            Content::Json(value) => path::lookup(value, dot_path),
            _ => None,
        };
        let present = |value: &&Value| !path::is_missing(value);
        in_payload
            .filter(present)
            .or_else(|| path::lookup(self.metadata?, dot_path).filter(present))
    }

    fn take_text(&mut self, text: &'a str) {
        let text = match DataUri::of(text) {
            None => Cow::Borrowed(text),
            Some(uri) => {
                self.media_type = Some(uri.media_type.clone());
                match uri.decode() {
                    Some(decoded) => Cow::Owned(decoded),
                    None => {
                        self.content = Content::Opaque(text);
                        return;
                    }
                }
            }
        };
        match read_json(&text) {
            Ok(Some(value)) => self.content = Content::Json(Cow::Owned(value)),
            Ok(None) => self.content = Content::Text(text),
            Err(error) => {
                self.fault = Some(error.to_string());
                self.content = Content::Text(text);
            }
        }
    }
}

/// The object or list that a text is, if it is one; lines that are objects each are a list of them.
///
/// # Errors
/// Why a text that another parser would take for JSON is neither JSON nor mere text here.
fn read_json(text: &str) -> Result<Option<Value>, json::JsonError> {
    // A byte order mark hides nothing: readers of JSON skip it.
    let blank = |character: char| character.is_whitespace() || character == '\u{feff}';
    let body = text.trim_start_matches(blank);
    if !body.starts_with(['{', '[']) {
        return Ok(None);
    }
    match json::parse_str(body) {
        Ok(value) => return Ok(Some(value)),
        Err(error) if error.strictness => return Err(error),
        Err(_) => {}
    }
    let mut rows = Vec::new();
    for line in body.lines().filter(|line| !line.trim().is_empty()) {
        match json::parse_str(line) {
            Ok(row @ Value::Object(_)) => rows.push(row),
            Ok(_) => return Ok(None),
            Err(error) if error.strictness => return Err(error),
            Err(_) => return Ok(None),
        }
    }
    Ok(Some(Value::Array(rows)))
}

/// `data:[<media type>][;base64],<data>`.
struct DataUri<'a> {
    media_type: String,
    base64: bool,
    data: &'a str,
}

impl<'a> DataUri<'a> {
    fn of(text: &'a str) -> Option<Self> {
        let text = text.trim();
        let scheme = text.get(..5)?;
        if !scheme.eq_ignore_ascii_case("data:") {
            return None;
        }
        let (head, data) = text[5..].split_once(',')?;
        let mut parts = head.split(';').map(str::trim);
        let media_type = parts.next().unwrap_or_default().to_ascii_lowercase();
        let media_type = shortened(media_type);
        // `data: hello, world` is a sentence, not a URI.
        let is_media = media_type.is_empty() || media_type.contains('/');
        if !is_media || head.contains(' ') {
            return None;
        }
        let base64 = parts.any(|part| part.eq_ignore_ascii_case("base64"));
        let media_type = if media_type.is_empty() { "text/plain".into() } else { media_type };
        Some(Self { media_type, base64, data })
    }

    /// Plain text has no type, wherever it stands.
    fn short_type(&self) -> Option<String> {
        let (_, name) = self.media_type.split_once('/').unwrap_or(("", &self.media_type));
        let short = match name {
            "plain" => return None,
            "vnd.openxmlformats-officedocument.spreadsheetml.sheet" => "xlsx",
            "x-ndjson" | "jsonlines" => "jsonl",
            other => other,
        };
        Some(short.to_owned())
    }

    fn decode(&self) -> Option<String> {
        let bytes = percent_decoded(self.data)?;
        let bytes = if self.base64 {
            let config = GeneralPurposeConfig::new()
                .with_decode_padding_mode(DecodePaddingMode::Indifferent)
                .with_decode_allow_trailing_bits(true);
            let dense: Vec<u8> =
                bytes.into_iter().filter(|byte| !byte.is_ascii_whitespace()).collect();
            GeneralPurpose::new(&STANDARD, config).decode(dense).ok()?
        } else {
            bytes
        };
        String::from_utf8(bytes).ok()
    }
}

/// No registered type is longer; reasons and the stored intent repeat it. A cut one shows as `…`,
/// so it is none that a rule allows by its name.
fn shortened(mut media_type: String) -> String {
    if media_type.len() > MEDIA_TYPE_BYTES_MAX {
        let mut end = MEDIA_TYPE_BYTES_MAX;
        while !media_type.is_char_boundary(end) {
            end -= 1;
        }
        media_type.truncate(end);
        media_type.push('…');
    }
    media_type
}

fn percent_decoded(data: &str) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(data.len());
    let mut bytes = data.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let high = char::from(bytes.next()?).to_digit(16)?;
        let low = char::from(bytes.next()?).to_digit(16)?;
        decoded.push(u8::try_from(high * 16 + low).ok()?);
    }
    Some(decoded)
}

/// Rows that are not blank, the header too: nobody can tell it from data. A line break inside
/// quotes is no row, unless the quotes do not balance.
fn csv_rows(text: &str) -> u64 {
    let balanced = text.bytes().filter(|byte| *byte == b'"').count() % 2 == 0;
    let (mut rows, mut blank, mut quoted) = (0, true, false);
    for byte in text.bytes() {
        match byte {
            b'\n' | b'\r' if !quoted => {
                rows += u64::from(!blank);
                blank = true;
            }
            b'"' if balanced => {
                quoted = !quoted;
                blank = false;
            }
            other => blank &= other.is_ascii_whitespace(),
        }
    }
    rows + u64::from(!blank)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_word_that_ends_like_a_file_is_a_reference() {
        let cases = [
            ("leads.csv", PayloadKind::Reference, Some("csv")),
            ("  ./Export.JSONL \n", PayloadKind::Reference, Some("jsonl")),
            ("refund guaranteed, see terms.txt", PayloadKind::Text, None),
            ("data:text/csv,a%2Cb.csv", PayloadKind::Text, Some("csv")),
            ("data:,hello", PayloadKind::Text, None),
            ("DATA:application/json;base64,e30=", PayloadKind::Text, Some("json")),
            ("data: hello, world", PayloadKind::Text, None),
            ("csv", PayloadKind::Text, None),
            ("", PayloadKind::Text, None),
        ];
        for (text, kind, payload_type) in cases {
            let payload = Payload::of_text(text.into());
            assert_eq!(payload.kind(), kind, "{text:?}");
            assert_eq!(payload.payload_type().as_deref(), payload_type, "{text:?}");
        }
    }

    #[test]
    fn a_type_without_end_is_cut_and_matches_nothing() {
        let payload = Payload::of_text(format!("data:text/{},x", "é".repeat(1_000_000)));
        let shown = payload.payload_type().expect("a type");
        assert!(shown.len() <= MEDIA_TYPE_BYTES_MAX && shown.ends_with('…'), "{shown}");
    }

    #[test]
    fn rows_are_counted_as_a_spreadsheet_would() {
        let cases = [
            ("", 0),
            ("a,b", 1),
            ("a,b\r\n1,2\r\n", 2),
            ("a\n\n \nb\n", 2),
            ("a,\"two\nlines\"\nb", 2),
            ("a,\"broken\nb\nc", 3),
        ];
        for (text, rows) in cases {
            assert_eq!(csv_rows(text), rows, "{text:?}");
        }
    }
}
