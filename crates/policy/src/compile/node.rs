//! YAML as a tree whose nodes know their line and column.
//!
//! The library reads the grammar, expands anchors within a budget and refuses duplicate keys.
//! Numbers keep the text they were written with.

use core::fmt;

use serde::de::{self, Deserialize, MapAccess, SeqAccess, Visitor};
use serde_yaml::budget::BudgetBreach;
use serde_yaml::{Error, Location, Spanned};
use types::limits::{POLICY_DEPTH_MAX, POLICY_NODES_MAX};

use super::problem::Problem;
use crate::text::excerpt;

/// One node.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) line: u32,
    pub(crate) column: u32,
    value: Value,
}

#[derive(Debug, Clone)]
enum Value {
    Null,
    Flag(bool),
    /// As written; a real number as its span in the source until [`Node::resolve`].
    Number(String),
    Real {
        start: u64,
        length: u64,
        rough: String,
    },
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
}

impl Node {
    pub(crate) fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    pub(crate) fn is_map(&self) -> bool {
        matches!(self.value, Value::Map(_))
    }

    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn number(&self) -> Option<&str> {
        match &self.value {
            Value::Number(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn flag(&self) -> Option<bool> {
        match self.value {
            Value::Flag(flag) => Some(flag),
            _ => None,
        }
    }

    pub(crate) fn list(&self) -> Option<&[Node]> {
        match &self.value {
            Value::List(items) => Some(items),
            _ => None,
        }
    }

    pub(crate) fn map(&self) -> Option<&[(Node, Node)]> {
        match &self.value {
            Value::Map(members) => Some(members),
            _ => None,
        }
    }

    /// What it is, for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Flag(_) => "true or false",
            Value::Number(_) | Value::Real { .. } => "a number",
            Value::Text(_) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }

    /// A mapping made of some members of another one.
    pub(crate) fn mapping_at(place: &Self, members: Vec<(Self, Self)>) -> Self {
        Self { line: place.line, column: place.column, value: Value::Map(members) }
    }

    /// Nothing, in the place of another node.
    pub(crate) fn null_at(place: &Self) -> Self {
        Self { line: place.line, column: place.column, value: Value::Null }
    }

    /// Text, in the place of another node.
    pub(crate) fn text_at(place: &Self, text: &str) -> Self {
        Self { line: place.line, column: place.column, value: Value::Text(text.into()) }
    }

    fn resolve(&mut self, source: &str) {
        match &mut self.value {
            Value::Real { start, length, rough } => {
                let start = usize::try_from(*start).unwrap_or(usize::MAX);
                let end = start.saturating_add(usize::try_from(*length).unwrap_or(0));
                let written = source.get(start..end).filter(|text| !text.is_empty());
                self.value = Value::Number(written.unwrap_or(rough).trim().to_owned());
            }
            Value::List(items) => items.iter_mut().for_each(|item| item.resolve(source)),
            Value::Map(members) => {
                for (key, value) in members {
                    key.resolve(source);
                    value.resolve(source);
                }
            }
            _ => {}
        }
    }
}

/// Reads a document of at most `bytes_max` bytes.
///
/// # Errors
/// The one problem that stopped the reading.
pub(crate) fn read(file: &str, bytes: &[u8], bytes_max: usize) -> Result<Node, Problem> {
    let problem = |line: u32, column: u32, message: String| Problem {
        file: file.to_owned(),
        line,
        column,
        message,
        nearest: None,
    };
    if let Some(crossing) = bytes.get(..=bytes_max) {
        let (line, column) = position(crossing, bytes_max);
        let message = format!("the document is longer than {bytes_max} bytes");
        return Err(problem(line, column, message));
    }
    let source = core::str::from_utf8(bytes).map_err(|error| {
        let (line, column) = position(bytes, error.valid_up_to());
        problem(line, column, "invalid UTF-8".into())
    })?;
    if let Some(at) = source.find('\0') {
        let (line, column) = position(bytes, at);
        return Err(problem(line, column, "NUL in the document".into()));
    }
    let parsed = serde_yaml::from_str_with_options::<Node>(source, options());
    let mut node = parsed.map_err(|error| {
        let error = error.without_snippet();
        let (line, column) = match error.location() {
            Some(place) if place != Location::UNKNOWN => line_and_column(place),
            _ => (1, 1),
        };
        problem(line, column, message_of(error))
    })?;
    node.resolve(source);
    Ok(node)
}

fn options() -> serde_yaml::Options {
    serde_yaml::options! {
        budget: serde_yaml::budget! {
            max_nodes: POLICY_NODES_MAX,
            max_depth: POLICY_DEPTH_MAX,
            max_documents: 1,
            max_aliases: POLICY_NODES_MAX,
        },
        alias_limits: serde_yaml::alias_limits! {
            max_total_replayed_events: 4 * POLICY_NODES_MAX,
        },
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        reject_unsupported_tags: true,
        with_snippet: false,
    }
}

/// What stopped the library, on one line and without its position.
fn message_of(mut error: &Error) -> String {
    while let Error::AliasError { error: inner, .. } | Error::WithSnippet { error: inner, .. } =
        error
    {
        error = inner;
    }
    match error {
        Error::Budget { breach, .. } => match breach {
            BudgetBreach::Nodes { .. } => {
                format!("the document has more than {POLICY_NODES_MAX} nodes, anchors expanded")
            }
            BudgetBreach::Depth { .. } => format!("nested deeper than {POLICY_DEPTH_MAX}"),
            BudgetBreach::Documents { .. } => "more than one document in a file".into(),
            _ => "the document expands beyond the limits".into(),
        },
        Error::AliasReplayLimitExceeded { .. } => "anchors expand beyond the limits".into(),
        Error::DuplicateMappingKey { key: Some(key), .. } => {
            format!("the key `{}` stands here twice", excerpt(key))
        }
        Error::DuplicateMappingKey { key: None, .. } => "a key stands here twice".into(),
        other => {
            let text = other.to_string();
            let first = text.lines().next().unwrap_or_default();
            let cut = first.find(" at line ").or_else(|| first.find(" (line "));
            in_plain_words(first[..cut.unwrap_or(first.len())].trim_end())
        }
    }
}

/// What the library says, in the words of somebody who looks at the line; unknown words stay.
#[rustfmt::skip]
const PLAIN_WORDS: [(&str, &str); 5] = [
    ("did not find expected '-' indicator",
     "the line belongs to no entry of the list above: indent it like the entry, or begin it with \
      `-`"),
    ("did not find expected key",
     "the line belongs to no mapping above: keys of one mapping stand in one column"),
    ("tabs disallowed", "a tab cannot indent; use spaces"),
    ("mapping values are not allowed",
     "a `:` where no key can stand: check the indentation, or put the text in quotes"),
    ("invalid indentation", "the indentation fits nothing above"),
];

fn in_plain_words(said: &str) -> String {
    if said.contains("non-finite float") {
        let number = said.split('`').nth(1).unwrap_or_default();
        return format!("`{}` is no number that can be used", excerpt(number));
    }
    if said.contains("recursion limit") {
        return format!("nested deeper than {POLICY_DEPTH_MAX}");
    }
    let known = PLAIN_WORDS.iter().find(|(library, _)| said.contains(library));
    known.map_or_else(|| excerpt(said), |(_, plain)| (*plain).to_owned())
}

fn line_and_column(place: Location) -> (u32, u32) {
    let narrow = |number: u64| u32::try_from(number).unwrap_or(u32::MAX).max(1);
    (narrow(place.line()), narrow(place.column()))
}

/// Line and column of a byte, both from 1.
pub(crate) fn position(bytes: &[u8], at: usize) -> (u32, u32) {
    let before = &bytes[..at];
    let line = before.iter().filter(|byte| **byte == b'\n').count();
    let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |found| found + 1);
    let column = String::from_utf8_lossy(&before[line_start..]).chars().count();
    let narrow = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    (narrow(line + 1), narrow(column + 1))
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Raw>::deserialize(deserializer)?;
        let (line, column) = line_and_column(spanned.referenced);
        let value = match spanned.value.0 {
            Value::Real { rough, .. } => {
                let span = spanned.defined.span();
                let (start, length) =
                    (span.byte_offset().unwrap_or(0), span.byte_len().unwrap_or(0));
                Value::Real { start, length, rough }
            }
            value => value,
        };
        Ok(Self { line, column, value })
    }
}

/// A node's value before its place is known.
struct Raw(Value);

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Raw, E> {
        Ok(Raw(Value::Null))
    }

    fn visit_bool<E: de::Error>(self, flag: bool) -> Result<Raw, E> {
        Ok(Raw(Value::Flag(flag)))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Raw, E> {
        Ok(Raw(Value::Number(number.to_string())))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Raw, E> {
        Ok(Raw(Value::Number(number.to_string())))
    }

    fn visit_u128<E: de::Error>(self, number: u128) -> Result<Raw, E> {
        Ok(Raw(Value::Number(number.to_string())))
    }

    fn visit_i128<E: de::Error>(self, number: i128) -> Result<Raw, E> {
        Ok(Raw(Value::Number(number.to_string())))
    }

    /// The float is never used: the text is taken from the source.
    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Raw, E> {
        Ok(Raw(Value::Real { start: 0, length: 0, rough: number.to_string() }))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Raw, E> {
        Ok(Raw(Value::Text(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Raw, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element::<Node>()? {
            list.push(item);
        }
        Ok(Raw(Value::List(list)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Raw, A::Error> {
        let mut map = Vec::new();
        while let Some(member) = members.next_entry::<Node, Node>()? {
            map.push(member);
        }
        Ok(Raw(Value::Map(map)))
    }
}
