//! Walks over a JSON value: its strings, its records, and the hits found on the way.
//!
//! Recursion is bounded: payloads nest at most [`types::limits::JSON_DEPTH_MAX`] deep.

use serde_json::{Map, Value};
use types::Hit;
use types::limits::HITS_MAX;

use super::excerpt;
use super::path::Path;
use crate::facts::Found;

/// Where there is one hit there are often several.
const HITS_USUAL: usize = 16;

/// Hits so far: all are counted, the first are kept.
#[derive(Default)]
pub(crate) struct Hits {
    kept: Vec<Hit>,
    pub(crate) total: u64,
}

impl Hits {
    pub(crate) fn add(&mut self, path: &Path<'_>, text: &str) {
        self.total += 1;
        if self.kept.is_empty() {
            self.kept.reserve(HITS_USUAL);
        }
        if self.kept.len() < HITS_MAX {
            self.kept.push(Hit { path: path.shown(), excerpt: excerpt(text) });
        }
    }

    pub(crate) fn first_excerpt(&self) -> Option<&str> {
        self.kept.first().map(|hit| hit.excerpt.as_str())
    }

    pub(crate) fn found(self, message: String) -> Found {
        Found { message, hits: self.kept, total: self.total }
    }
}

impl Found {
    /// An objection without hits.
    pub(crate) fn saying(message: String) -> Self {
        Self { message, hits: Vec::new(), total: 0 }
    }
}

/// Visits the members of an object or the items of a list.
pub(crate) fn children<'v>(
    value: &'v Value,
    path: &Path<'_>,
    visit: &mut dyn FnMut(&'v Value, &Path<'_>),
) {
    match value {
        Value::Object(members) => {
            for (name, child) in members {
                visit(child, &path.key(name));
            }
        }
        Value::Array(items) => {
            for (index, child) in items.iter().enumerate() {
                visit(child, &path.item(index));
            }
        }
        _ => {}
    }
}

/// Visits every string value at any depth; keys are not visited.
pub(crate) fn strings(value: &Value, visit: &mut dyn FnMut(&str, &Path<'_>)) {
    strings_below(value, &Path::Root, visit);
}

fn strings_below(value: &Value, path: &Path<'_>, visit: &mut dyn FnMut(&str, &Path<'_>)) {
    match value {
        Value::String(text) => visit(text, path),
        Value::Array(_) | Value::Object(_) => {
            children(value, path, &mut |child, path| strings_below(child, path, visit));
        }
        _ => {}
    }
}

/// Records of a payload: the length of the longest list with an object in it, at any depth; 1 if
/// there is none.
pub(crate) fn record_count(value: &Value) -> u64 {
    let longest = longest_list(value).map_or(1, <[Value]>::len);
    u64::try_from(longest).unwrap_or(u64::MAX)
}

/// Visits the objects of that list, or the payload itself if it is an object without one.
pub(crate) fn records(value: &Value, visit: &mut dyn FnMut(&Map<String, Value>, &Path<'_>)) {
    records_or_self(value, &mut |record, path| {
        if let Value::Object(record) = record {
            visit(record, path);
        }
    });
}

/// As [`records`], but an item that is no object is visited too, and so is any other payload.
pub(crate) fn records_or_self(value: &Value, visit: &mut dyn FnMut(&Value, &Path<'_>)) {
    match longest_list(value) {
        None => visit(value, &Path::Root),
        Some(longest) => {
            visit_list(value, longest, &Path::Root, visit);
        }
    }
}

/// The first of the longest lists that hold an object.
fn longest_list(value: &Value) -> Option<&[Value]> {
    let below: &mut dyn Iterator<Item = &Value> = match value {
        Value::Object(members) => &mut members.values(),
        Value::Array(items) => &mut items.iter(),
        _ => return None,
    };
    let mut longest: Option<&[Value]> = match value {
        Value::Array(items) if items.iter().any(Value::is_object) => Some(items),
        _ => None,
    };
    for child in below {
        let Some(list) = longest_list(child) else {
            continue;
        };
        if longest.is_none_or(|longest| list.len() > longest.len()) {
            longest = Some(list);
        }
    }
    longest
}

/// Finds the way to a list that is known to be there, and visits its items with their paths.
fn visit_list(
    value: &Value,
    list: &[Value],
    path: &Path<'_>,
    visit: &mut dyn FnMut(&Value, &Path<'_>),
) -> bool {
    if let Value::Array(items) = value
        && core::ptr::eq(items.as_slice(), list)
    {
        children(value, path, &mut |child, path| visit(child, path));
        return true;
    }
    let mut found = false;
    children(value, path, &mut |child, path| {
        found = found || visit_list(child, list, path, visit);
    });
    found
}
