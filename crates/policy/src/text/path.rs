//! Paths: dot paths of documents into JSON, and JSON paths of hits out of it.

use serde_json::Value;
use types::limits::PATH_BYTES_MAX;

use super::decimal::Decimal;
use crate::json;
use crate::json::place::{self, Step};

/// Payloads seldom nest deeper.
const STEPS_USUAL: usize = 8;

/// Where a walk stands; lives on the stack and costs nothing until it is printed.
pub(crate) enum Path<'a> {
    Root,
    Key(&'a Path<'a>, &'a str),
    Item(&'a Path<'a>, usize),
}

impl<'a> Path<'a> {
    pub(crate) fn key(&'a self, name: &'a str) -> Path<'a> {
        Path::Key(self, name)
    }

    pub(crate) fn item(&'a self, index: usize) -> Path<'a> {
        Path::Item(self, index)
    }

    /// For people, at most [`PATH_BYTES_MAX`] bytes: keys are the agent's, and a rule may name one
    /// path for every record.
    pub(crate) fn shown(&self) -> String {
        let depth = self.depth();
        let (mut few, mut many) = ([Step::Item(0); STEPS_USUAL], Vec::new());
        let steps = if depth <= STEPS_USUAL {
            &mut few[..depth]
        } else {
            many.resize(depth, Step::Item(0));
            many.as_mut_slice()
        };
        let mut at = self;
        for step in steps.iter_mut().rev() {
            (at, *step) = match at {
                Path::Root => break,
                Path::Key(parent, name) => (*parent, Step::Key(name)),
                Path::Item(parent, index) => (*parent, Step::Item(*index)),
            };
        }
        place::text(steps, PATH_BYTES_MAX)
    }

    fn depth(&self) -> usize {
        let (mut depth, mut at) = (0, self);
        while let Path::Key(parent, _) | Path::Item(parent, _) = at {
            (depth, at) = (depth + 1, *parent);
        }
        depth
    }

    /// True if the names along this path, list positions left out, contain those of a dot path one
    /// after the other.
    pub(crate) fn is_at_or_below(&self, dot_path: &str) -> bool {
        let mut names = Vec::new();
        let mut at = self;
        loop {
            match at {
                Path::Root => break,
                Path::Key(parent, name) => {
                    names.push(*name);
                    at = parent;
                }
                Path::Item(parent, _) => at = parent,
            }
        }
        names.reverse();
        let wanted: Vec<&str> = dot_path.split('.').collect();
        names.windows(wanted.len()).any(|some| some == wanted)
    }
}

/// The value at a dot path; digits index lists.
pub(crate) fn lookup<'v>(value: &'v Value, dot_path: &str) -> Option<&'v Value> {
    dot_path.split('.').try_fold(value, |value, name| match value {
        Value::Object(members) => members.get(name),
        Value::Array(items) => items.get(name.parse::<usize>().ok()?),
        _ => None,
    })
}

/// Null and "" are as good as absent.
pub(crate) fn is_missing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}

/// What a value counts: a list its items, a whole number (or a string of digits) itself.
pub(crate) fn count_of(value: &Value) -> Option<u64> {
    match value {
        Value::Array(items) => u64::try_from(items.len()).ok(),
        Value::Number(number) => Decimal::parse(&number.to_string())?.whole_text()?.parse().ok(),
        Value::String(text) if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) => {
            text.parse().ok()
        }
        _ => None,
    }
}

/// The form of a value that windows compare: a number equals the string of its digits.
pub(crate) fn canonical_key(value: &Value) -> String {
    match value {
        Value::String(text) => format!("s{text}"),
        Value::Number(number) => {
            let written = number.to_string();
            let whole = Decimal::parse(&written).and_then(|number| number.whole_text());
            format!("s{}", whole.unwrap_or(written))
        }
        other => format!("j{}", json::canonical(other)),
    }
}

/// A value as reasons show it.
pub(crate) fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => json::canonical(other),
    }
}
