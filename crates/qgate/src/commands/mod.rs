//! The commands, one file each.

pub(crate) mod agent;
pub(crate) mod audit;
pub(crate) mod channel;
pub(crate) mod cluster;
pub(crate) mod demo;
pub(crate) mod destination;
pub(crate) mod dev;
pub(crate) mod inspect;
pub(crate) mod intent;
mod intent_submit;
mod intent_view;
pub(crate) mod namespace;
pub(crate) mod policy;
pub(crate) mod serve;
pub(crate) mod setting;
pub(crate) mod simulate;

use std::io::Read;
use std::path::Path;

use serde_json::Value;
use types::limits::BODY_BYTES_MAX;

use crate::failure::Failure;
use crate::files;
use crate::output::{Column, Output};

const REASONS: &[Column] = &[
    ("outcome", &["outcome"]),
    ("by", &["gate", "policy"]),
    ("rule", &["rule"]),
    ("file", &["file"]),
    ("line", &["line"]),
    ("hits", &["hits_total"]),
    ("message", &["message"]),
];

/// Prints the reasons of a decision for people, if there are any.
pub(crate) fn reasons(output: Output, body: &Value) {
    let some = body.get("reasons").and_then(Value::as_array).is_some_and(|list| !list.is_empty());
    if some && !output.is_json() {
        output.say("");
        output.rows(body, "reasons", REASONS);
    }
}

/// Reads JSON from a file, or from standard input if the name is `-`.
///
/// # Errors
/// A usage failure that names file, line and column.
pub(crate) fn read_json(path: &Path) -> Result<Value, Failure> {
    let (name, bytes) = if path == Path::new("-") {
        let mut bytes = Vec::new();
        let limit = u64::try_from(BODY_BYTES_MAX).unwrap_or(u64::MAX);
        std::io::stdin()
            .lock()
            .take(limit)
            .read_to_end(&mut bytes)
            .map_err(|error| Failure::usage(format!("standard input: {error}")))?;
        ("standard input".to_owned(), bytes)
    } else {
        let bytes =
            files::read(path, BODY_BYTES_MAX).map_err(|error| Failure::usage(error.to_string()))?;
        (path.display().to_string(), bytes)
    };
    ::policy::json::parse(&bytes).map_err(|error| {
        let (line, column) = (error.line, error.column);
        Failure::usage(format!("{name}:{line}:{column}: {} at {}", error.message, error.path))
    })
}
