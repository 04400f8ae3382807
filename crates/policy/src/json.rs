//! Strict JSON in, canonical JSON out.
//!
//! Refused: nesting beyond [`types::limits::JSON_DEPTH_MAX`], more values than
//! [`types::limits::JSON_VALUES_MAX`], keys longer than [`types::limits::JSON_KEY_BYTES_MAX`], the
//! same key twice in one object, NUL in strings, invalid UTF-8, and the key under which the JSON
//! library hides its numbers. Numbers keep the digits they were written with; only an exponent is
//! spelled one way, `1e+5`.
//! Invariant: a text that another parser could read differently is refused, not guessed at.

pub(crate) mod place;
mod read;

use core::fmt::{self, Write as _};

use serde_json::{Map, Value};

pub use read::{parse, parse_str};

/// Why a text is not JSON that the gate judges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonError {
    /// Where in the value, such as `$.a[3].b`; a long path is cut in its middle.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
    /// The text may well be JSON for another parser: it breaks a rule of ours, not the grammar.
    pub strictness: bool,
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, message, line, column, .. } = self;
        write!(f, "{message} at {path}, line {line}, column {column}")
    }
}

impl std::error::Error for JsonError {}

/// The one form of a value: keys sorted by code point, no spaces, numbers with the digits they were
/// written with.
#[must_use]
pub fn canonical(value: &Value) -> String {
    let mut text = String::new();
    write_value(&mut text, value);
    text
}

fn write_value(text: &mut String, value: &Value) {
    match value {
        Value::Null => text.push_str("null"),
        Value::Bool(true) => text.push_str("true"),
        Value::Bool(false) => text.push_str("false"),
        Value::Number(number) => {
            let _ = write!(text, "{number}");
        }
        Value::String(string) => write_string(text, string),
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                write_value(text, item);
            }
            text.push(']');
        }
        Value::Object(members) => write_object(text, members),
    }
}

fn write_object(text: &mut String, members: &Map<String, Value>) {
    // UTF-8 bytes sort as code points do.
    let mut sorted: Vec<(&String, &Value)> = members.iter().collect();
    sorted.sort_unstable_by_key(|(key, _)| key.as_bytes());
    text.push('{');
    for (index, (key, value)) in sorted.into_iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        write_string(text, key);
        text.push(':');
        write_value(text, value);
    }
    text.push('}');
}

/// Quotes, backslashes and control characters are escaped, nothing else is.
fn write_string(text: &mut String, string: &str) {
    text.push('"');
    for character in string.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '\u{8}' => text.push_str("\\b"),
            '\u{c}' => text.push_str("\\f"),
            control if control < ' ' => {
                let _ = write!(text, "\\u{:04x}", u32::from(control));
            }
            other => text.push(other),
        }
    }
    text.push('"');
}
