//! The commands, one file each.

pub(crate) mod agent;
pub(crate) mod audit;
pub(crate) mod bench;
pub(crate) mod channel;
pub(crate) mod cluster;
mod cluster_certificates;
pub(crate) mod demo;
pub(crate) mod destination;
pub(crate) mod dev;
pub(crate) mod freeze;
pub(crate) mod health;
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
use types::limits::{BODY_BYTES_MAX, HITS_MAX};

use crate::failure::Failure;
use crate::files;
use crate::output::{Column, Output, harmless};

/// Hits of a reason that people are shown.
const HITS_SHOWN: usize = 3;

const REASONS: &[Column] = &[
    ("outcome", &["outcome"]),
    ("by", &["gate", "policy"]),
    ("rule", &["rule"]),
    ("file", &["file"]),
    ("line", &["line"]),
    ("hits", &["hits_total"]),
    ("message", &["message"]),
];

/// Prints the reasons of a decision for people, if there are any, with the first places of each.
pub(crate) fn reasons(output: Output, body: &Value) {
    let reasons = body.get("reasons").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if reasons.is_empty() || output.is_json() {
        return;
    }
    output.say("");
    output.rows(body, "reasons", REASONS);
    let lines = hit_lines(reasons);
    if !lines.is_empty() {
        output.say("");
        lines.iter().for_each(|line| output.say(line));
    }
}

/// Where the reasons found what they object to, and what stands there.
fn hit_lines(reasons: &[Value]) -> Vec<String> {
    let mut lines = Vec::new();
    for reason in reasons {
        let hits = reason["hits"].as_array().map_or(&[][..], Vec::as_slice);
        if hits.is_empty() {
            continue;
        }
        let text = |value: &Value, name: &str| value[name].as_str().unwrap_or("-").to_owned();
        let by = if reason["gate"].is_string() { "gate" } else { "policy" };
        lines.push(format!("hits of {} by {}", text(reason, "rule"), text(reason, by)));
        let shown = hits.iter().take(HITS_SHOWN);
        lines.extend(shown.map(|hit| format!("  {}: {}", text(hit, "path"), text(hit, "excerpt"))));
        let all = reason["hits_total"].as_u64().unwrap_or(0);
        let rest = all.saturating_sub(hits.len().min(HITS_SHOWN) as u64);
        if rest > 0 {
            lines.push(format!("  ... {rest} more; --output json names up to {HITS_MAX}"));
        }
    }
    lines.iter().map(|line| harmless(line)).collect()
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
            .next("correct the JSON there, then run the command again")
    })
}

/// Reads a file, or standard input if the name is `-`; with the name for people.
///
/// # Errors
/// A usage failure, also for more bytes than so many.
fn read_bytes(path: &Path, bytes_max: usize) -> Result<(String, Vec<u8>), Failure> {
    let unread = |what: String| {
        Failure::usage(what).next("name a JSON file that can be read, or - for standard input")
    };
    if path != Path::new("-") {
        let bytes = files::read(path, bytes_max).map_err(|error| unread(error.to_string()))?;
        return Ok((path.display().to_string(), bytes));
    }
    let name = "standard input".to_owned();
    let mut bytes = Vec::new();
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    let read = std::io::stdin().lock().take(limit).read_to_end(&mut bytes);
    read.map_err(|error| unread(format!("{name}: {error}")))?;
    if bytes.len() > bytes_max {
        return Err(Failure::usage(format!("{name}: more than {bytes_max} bytes")));
    }
    Ok((name, bytes))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_first_hits_of_a_reason_are_shown_with_their_places() {
        let hit = |number: u32| json!({"path": format!("$.m[{number}]"), "excerpt": "{{name}}\n"});
        let hits: Vec<Value> = (0..9).map(hit).collect();
        let reasons = [
            json!({"gate": "mail", "rule": "templates", "hits": hits, "hits_total": 104}),
            json!({"policy": "p", "rule": "over", "hits": [], "hits_total": 0}),
            json!({"policy": "p", "rule": "terms", "hits": [hit(7)], "hits_total": 1}),
        ];
        let expected = "\
hits of templates by mail
  $.m[0]: {{name}}\\u{a}
  $.m[1]: {{name}}\\u{a}
  $.m[2]: {{name}}\\u{a}
  ... 101 more; --output json names up to 100
hits of terms by p
  $.m[7]: {{name}}\\u{a}";
        assert_eq!(hit_lines(&reasons).join("\n"), expected);
        assert!(hit_lines(&[]).is_empty());
    }
}
