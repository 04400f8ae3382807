//! What `qgate destination …` and `qgate channel …` have in common: documents by name.
//!
//! Invariant: what is sent was read here first by the code that the gate reads it with, so that a
//! mistake names the caller's own file, line and column.

use std::io::Read;
use std::path::Path;

use client::{Client, Method, Request, Shape};
use policy::Problem;
use types::limits::SETTING_BYTES_MAX;

use crate::cli::Global;
use crate::failure::{Exit, Failure, Outcome};
use crate::files;
use crate::output::{Column, harmless, json as print_json, line, note};
use crate::policy_files::shown;

/// One kind of document.
pub(crate) struct Kind {
    /// The route's last fixed segment, which is also the member of a list.
    pub(crate) route: &'static str,
    /// What a list shows.
    pub(crate) rows: &'static [Column],
    /// What a change shows.
    pub(crate) changed: &'static [Column],
    /// Every problem of a document.
    pub(crate) problems: fn(&str, &[u8]) -> Vec<Problem>,
}

/// Lists the documents in force.
pub(crate) async fn list(global: &Global, kind: &Kind) -> Outcome {
    let request = Request::get(&["v1", kind.route]);
    let request = request.expecting(&[(kind.route, Shape::List), ("version", Shape::Number)]);
    let answer = global.client()?.send(request).await?;
    let output = global.output();
    output.rows(&answer.body, kind.route, kind.rows);
    output.say(&format!("\nversion {}, for --if-version", answer.body["version"]));
    Ok(Exit::Done)
}

/// Shows one document as it was put.
pub(crate) async fn show(global: &Global, kind: &Kind, name: &str) -> Outcome {
    let request = Request::get(&["v1", kind.route, name]);
    let request = request.expecting(&[("name", Shape::Text), ("yaml", Shape::Text)]);
    let answer = global.client()?.send(request).await.map_err(|error| unknown(kind, error))?;
    match answer.text("yaml") {
        Some(yaml) if !global.output().is_json() => {
            if let Some(promise) = answer.text("promise") {
                note(&format!("promise: {}", harmless(promise)));
            }
            yaml.lines().for_each(|text| line(&harmless(text)));
        }
        _ => print_json(&answer.body),
    }
    Ok(Exit::Done)
}

/// Says which command lists the documents, where one is not there.
fn unknown(kind: &Kind, error: client::Error) -> Failure {
    let noun = kind.route.trim_end_matches('s');
    Failure::from(error).next_if_unknown(format!("see which there are with `qgate {noun} list`"))
}

/// Puts one document.
pub(crate) async fn put(
    global: &Global,
    kind: &Kind,
    name: &str,
    file: &Path,
    if_version: Option<u64>,
) -> Outcome {
    let yaml = read(file)?;
    let mut problems = (kind.problems)(name, &yaml);
    if !problems.is_empty() {
        for problem in &mut problems {
            problem.file = file.display().to_string();
            note(&shown(problem));
        }
        let count = problems.len();
        return Err(Failure::refused(format!("{count} problem(s); nothing was put"))
            .next("correct the lines above, then put it again"));
    }
    let request = Request::new(Method::Put, &["v1", kind.route, name]).yaml(yaml);
    let sent = send(&global.client()?, global, kind, request, if_version).await;
    sent.map_err(|failure| in_file(failure, name, file))
}

/// A node knows the document's name alone; its caller looks for the place in a file.
fn in_file(mut failure: Failure, name: &str, file: &Path) -> Failure {
    let called = format!("{name}.yaml:");
    if let Some(at) = failure.what.find(&called) {
        let place = format!("{}:", file.display());
        failure.what.replace_range(at..at + called.len(), &place);
    }
    failure
}

/// Deletes one document.
pub(crate) async fn delete(
    global: &Global,
    kind: &Kind,
    name: &str,
    if_version: Option<u64>,
) -> Outcome {
    let request = Request::delete(&["v1", kind.route, name]);
    send(&global.client()?, global, kind, request, if_version).await
}

async fn send(
    client: &Client,
    global: &Global,
    kind: &Kind,
    mut request: Request,
    if_version: Option<u64>,
) -> Outcome {
    if let Some(version) = if_version {
        request = request.header("If-Match", version.to_string());
    }
    let request = request.expecting(&[("name", Shape::Text), ("version", Shape::Number)]);
    let answer = client.send(request).await.map_err(|error| unknown(kind, error))?;
    global.output().fields(&answer.body, kind.changed);
    Ok(Exit::Done)
}

/// One byte more than is allowed and no more, so that the reader of documents says it with a line.
fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    if file != Path::new("-") {
        return files::read_start(file, SETTING_BYTES_MAX + 1)
            .map_err(|error| unread(&error.to_string()));
    }
    let mut bytes = Vec::new();
    let limit = u64::try_from(SETTING_BYTES_MAX + 1).unwrap_or(u64::MAX);
    std::io::stdin()
        .lock()
        .take(limit)
        .read_to_end(&mut bytes)
        .map_err(|error| unread(&format!("standard input: {error}")))?;
    Ok(bytes)
}

fn unread(what: &str) -> Failure {
    Failure::usage(what).next("name a YAML file that can be read, or - for standard input")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_shown_in_the_callers_own_file() {
        let cases = [
            (
                "400 invalid_destination: a.x.yaml:3:1: no",
                "400 invalid_destination: f/p.yaml:3:1: no",
            ),
            ("b.yaml:1:1: no", "b.yaml:1:1: no"),
            ("nobody answers", "nobody answers"),
        ];
        for (what, expected) in cases {
            let failure = in_file(Failure::refused(what), "a.x", Path::new("f/p.yaml"));
            assert_eq!(failure.what, expected);
        }
    }
}
