//! Documents of their own: one YAML file each for a destination and for a channel.
//!
//! They are read by the same means as policies: unknown keys are errors, and every problem has
//! file, line, column and, where a word is near, the word that was probably meant.
//! Invariant: what is read here refers only to secrets whose names can be declared, and calls only
//! hosts that stand in the document.

mod channel;
mod destination;
mod secret;
mod url;

use types::limits::{
    CHANNEL_NAME_CHARS_MAX, DESTINATION_NAME_CHARS_MAX, POLICY_PROBLEMS_MAX, SETTING_BYTES_MAX,
};
use types::{Channel, Destination, Digest};

use crate::compile::{Node, Problem, Report, position, read_tree};

/// Reads the document of a destination. The name is the resource that it serves, or a glob.
///
/// # Errors
/// Every problem found, in order of lines; of a document that is no YAML only the first.
pub fn destination(name: &str, source: &[u8]) -> Result<Destination, Vec<Problem>> {
    if let Some(fault) = resource_fault(name) {
        return Err(vec![name_problem("destination", fault)]);
    }
    let (parts, digest) = read(name, source, destination::read)?;
    Ok(Destination {
        name: name.to_owned(),
        environment: parts.environment,
        connector: parts.connector,
        execute: parts.execute,
        concurrency: parts.concurrency,
        digest,
        source: source.to_vec(),
    })
}

/// Reads the document of a channel.
///
/// # Errors
/// Every problem found, in order of lines; of a document that is no YAML only the first.
pub fn channel(name: &str, source: &[u8]) -> Result<Channel, Vec<Problem>> {
    if !is_word(name, CHANNEL_NAME_CHARS_MAX) {
        let fault = format!(
            "a channel's name has letters, digits, `.`, `_` and `-`, at most \
             {CHANNEL_NAME_CHARS_MAX}"
        );
        return Err(vec![name_problem("channel", fault)]);
    }
    let (parts, digest) = read(name, source, channel::read)?;
    Ok(Channel {
        name: name.to_owned(),
        kind: parts.kind,
        url: parts.url,
        secret: parts.secret,
        events: parts.events,
        resources: parts.resources,
        digest,
        source: source.to_vec(),
    })
}

/// A problem that only the gate can find, in the place where a text first stands in the document.
#[must_use]
pub fn problem_at(name: &str, source: &[u8], text: &str, message: String) -> Problem {
    let (line, column) = match String::from_utf8_lossy(source).find(text) {
        Some(at) => position(source, at),
        None => (1, 1),
    };
    Problem { file: file_of(name), line, column, message, nearest: None }
}

/// A problem that only the gate can find, in the place of a field such as `request.body`; where
/// that is not there, in the place of what should hold it.
#[must_use]
pub fn problem_in(name: &str, source: &[u8], field: &str, message: String) -> Problem {
    let file = file_of(name);
    let (mut line, mut column) = (1, 1);
    if let Ok(root) = read_tree(&file, source, SETTING_BYTES_MAX) {
        let (mut at, mut rest) = (&root, field);
        while let Some((value, below)) = member(at, rest) {
            (at, rest) = (value, below);
        }
        (line, column) = (at.line, at.column);
    }
    Problem { file, line, column, message, nearest: None }
}

/// The member that a dot path begins with, and what is left of the path. The name of a header may
/// have dots of its own, and any case.
fn member<'n, 'p>(node: &'n Node, path: &'p str) -> Option<(&'n Node, &'p str)> {
    node.map()?.iter().find_map(|(key, value)| {
        let name = key.text()?;
        let head = path.get(..name.len())?;
        let below = &path[name.len()..];
        let ends = below.is_empty() || below.starts_with('.');
        let found = ends && !name.is_empty() && head.eq_ignore_ascii_case(name);
        found.then(|| (value, below.trim_start_matches('.')))
    })
}

/// The name by which problems call the document.
fn file_of(name: &str) -> String {
    format!("{name}.yaml")
}

/// A name that cannot be one is not made the name of a file either.
fn name_problem(what: &str, message: String) -> Problem {
    Problem { file: format!("{what}.yaml"), line: 1, column: 1, message, nearest: None }
}

fn read<T>(
    name: &str,
    source: &[u8],
    parts: impl FnOnce(&Node, &mut Report<'_>) -> Option<T>,
) -> Result<(T, Digest), Vec<Problem>> {
    let file = file_of(name);
    let root = read_tree(&file, source, SETTING_BYTES_MAX).map_err(|problem| vec![problem])?;
    let mut report = Report::new(&file);
    let mut found = None;
    if root.is_map() {
        found = parts(&root, &mut report);
    } else if root.is_null() {
        report.error(&root, "the document is empty");
    } else {
        let message = format!("expected a mapping at the top, found {}", root.kind());
        report.error(&root, &message);
    }
    let mut problems = report.problems;
    match found {
        Some(found) if problems.is_empty() => Ok((found, Digest::of(source))),
        _ => {
            debug_assert!(!problems.is_empty(), "refused without a reason");
            problems.sort_by_key(|problem| (problem.line, problem.column));
            problems.truncate(POLICY_PROBLEMS_MAX);
            Err(problems)
        }
    }
}

/// Why a text cannot name resources.
fn resource_fault(name: &str) -> Option<String> {
    let characters = name.chars().count();
    if characters == 0 || characters > DESTINATION_NAME_CHARS_MAX {
        let found = if characters == 0 { "none" } else { "more" };
        return Some(format!(
            "a resource's name has 1 to {DESTINATION_NAME_CHARS_MAX} characters, found {found}"
        ));
    }
    if name.chars().any(char::is_control) {
        return Some("a resource's name has no control characters".into());
    }
    (name.trim() != name).then(|| "a resource's name neither begins nor ends with a blank".into())
}

/// Letters, digits, `.`, `_` and `-`, at least one and at most `max` of them.
fn is_word(text: &str, max: usize) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    !text.is_empty() && text.len() <= max && text.bytes().all(allowed)
}

/// The key of a member, to point at it.
fn key_node<'n>(root: &'n Node, name: &str) -> Option<&'n Node> {
    let members = root.map().unwrap_or_default();
    members.iter().find(|(key, _)| key.text() == Some(name)).map(|(key, _)| key)
}
