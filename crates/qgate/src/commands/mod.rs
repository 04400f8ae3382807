//! The commands, one file each.

pub(crate) mod agent;
pub(crate) mod audit;
pub(crate) mod channel;
pub(crate) mod cluster;
mod cluster_certificates;
pub(crate) mod demo;
pub(crate) mod destination;
pub(crate) mod dev;
pub(crate) mod inspect;
pub(crate) mod intent;
mod intent_batch;
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
    let (name, bytes) = read_bytes(path, BODY_BYTES_MAX)?;
    ::policy::json::parse(&bytes).map_err(|error| {
        let (line, column) = (error.line, error.column);
        Failure::usage(format!("{name}:{line}:{column}: {} at {}", error.message, error.path))
    })
}

/// Reads a file, or standard input if the name is `-`; with the name for people.
///
/// # Errors
/// A usage failure, also for more bytes than so many.
fn read_bytes(path: &Path, bytes_max: usize) -> Result<(String, Vec<u8>), Failure> {
    if path != Path::new("-") {
        let bytes =
            files::read(path, bytes_max).map_err(|error| Failure::usage(error.to_string()))?;
        return Ok((path.display().to_string(), bytes));
    }
    let name = "standard input".to_owned();
    let mut bytes = Vec::new();
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    let read = std::io::stdin().lock().take(limit).read_to_end(&mut bytes);
    read.map_err(|error| Failure::usage(format!("{name}: {error}")))?;
    if bytes.len() > bytes_max {
        return Err(Failure::usage(format!("{name}: more than {bytes_max} bytes")));
    }
    Ok((name, bytes))
}
