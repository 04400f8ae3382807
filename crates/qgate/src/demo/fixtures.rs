//! The three incidents and their policies, part of the binary, so that the demo runs anywhere.

use std::path::Path;

use serde_json::{Map, Value};

use crate::failure::Failure;
use crate::files::{self, Readable};

const GATES: &str = include_str!("../../../../tests/fixtures/incident/gates.yaml");
const GATE: &str = include_str!("../../../../tests/fixtures/incident/gate.yaml");
const CRM: &str = include_str!("../../../../tests/fixtures/incident/crm-before.json");
const BULK: &str = include_str!("../../../../tests/fixtures/incident/bulk-overwrite.json");
const CALL: &str = include_str!("../../../../tests/fixtures/incident/duplicate-call.json");
const BATCH: &str = include_str!("../../../../tests/fixtures/incident/broken-template.json");

/// What the template of the batch left in place of a name.
pub(crate) const TOKEN: &str = "{{customer_name}}";

/// Writes the policies into a directory of their own.
///
/// # Errors
/// Whatever the file system says.
pub(crate) fn write_policies(directory: &Path) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::refused(error.to_string());
    files::make_private_dir(directory).map_err(failed)?;
    for (name, text) in [("gates.yaml", GATES), ("gate.yaml", GATE)] {
        files::replace(&directory.join(name), text.as_bytes(), Readable::All).map_err(failed)?;
    }
    Ok(())
}

/// The rows that the CRM holds before anything happens.
pub(crate) fn crm_rows() -> Vec<Map<String, Value>> {
    let rows = json(CRM).get("rows").and_then(Value::as_array).cloned().unwrap_or_default();
    rows.into_iter().filter_map(|row| row.as_object().cloned()).collect()
}

/// Records that an enrichment agent would write after half an answer of its upstream.
pub(crate) fn bulk_overwrite() -> Value {
    json(BULK)
}

/// A call to a lead.
pub(crate) fn call() -> Value {
    json(CALL)
}

/// Messages of which some still hold a token of their template.
pub(crate) fn broken_batch() -> Value {
    json(BATCH)
}

/// The same messages with words in place of the tokens.
pub(crate) fn mended_batch() -> Value {
    json(&BATCH.replace(TOKEN, "there"))
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("a fixture in the binary is JSON")
}
