//! `qgate policy …`: check, apply, read and try policies.
//!
//! Invariant: what `lint` passes is what `apply` sends; both compile with the same code, and the
//! gate compiles it again.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use client::{Answer, Client, Request, Shape};
use policy::Problem;
use serde_json::json;

use crate::cli::{Global, PolicyDirectory};
use crate::commands::simulate::{self, SimulateArgs};
use crate::failure::{Exit, Failure, Outcome};
use crate::output::{Column, Output, harmless, json as print_json, line, note};
use crate::policy_files::{Sources, as_json, shown};

const APPLIED: &[Column] = &[
    ("version", &["version"]),
    ("changed", &["changed"]),
    ("digest", &["digest"]),
    ("gates", &["gates"]),
    ("policies", &["policies"]),
];

const IN_FORCE: &[Column] = &[
    ("version", &["version"]),
    ("policies", &["policies"]),
    ("gates", &["gates"]),
    ("digest", &["digest"]),
    ("applied", &["applied_at"]),
    ("by", &["applied_by"]),
    ("from", &["origin"]),
];

/// Policies.
#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    Lint(LintArgs),
    Apply(ApplyArgs),
    /// List the policies in force.
    #[command(after_help = "Example: qgate policy list")]
    List,
    Show(ShowArgs),
    Simulate(SimulateArgs),
}

/// Check policies offline; each problem is printed as file:line:column: message.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    qgate policy lint policies\n  \
    qgate policy lint gates.yaml crm.yaml")]
pub(crate) struct LintArgs {
    /// Directories or files; files of one directory are judged together, e.g. policies
    #[arg(value_name = "DIR|FILE", required = true)]
    paths: Vec<PathBuf>,
}

/// Bring a directory of policies into force as one set, in the place of all others.
#[derive(Debug, Args)]
#[command(after_help = "Example: qgate policy apply policies --if-version 3")]
pub(crate) struct ApplyArgs {
    #[command(flatten)]
    policies: PolicyDirectory,
    /// Only if this version is in force, e.g. 3
    #[arg(long, value_name = "N")]
    if_version: Option<u64>,
}

/// Show one policy document as it was applied.
#[derive(Debug, Args)]
#[command(after_help = "Example: qgate policy show gates")]
pub(crate) struct ShowArgs {
    /// Its id: the file name without the ending, e.g. gates
    id: String,
}

/// Runs `qgate policy …`.
pub(crate) async fn run(global: &Global, command: PolicyCommand) -> Outcome {
    match command {
        PolicyCommand::Lint(args) => lint(global.output(), &args),
        PolicyCommand::Apply(args) => apply(global, &args).await,
        PolicyCommand::List => list(global).await,
        PolicyCommand::Show(args) => show(global, &args).await,
        PolicyCommand::Simulate(args) => simulate::run(global, args).await,
    }
}

fn lint(output: Output, args: &LintArgs) -> Outcome {
    let (mut problems, mut warnings, mut files) = (Vec::new(), Vec::new(), 0);
    for sources in Sources::of_paths(&args.paths)? {
        files += sources.files.len();
        match sources.compile() {
            Ok(mut compiled) => warnings.append(&mut compiled.warnings),
            Err(mut found) => problems.append(&mut found),
        }
    }
    if output.is_json() {
        let list = |problems: &[Problem]| problems.iter().map(as_json).collect::<Vec<_>>();
        print_json(&json!({"problems": list(&problems), "warnings": list(&warnings)}));
    } else {
        problems.iter().for_each(|problem| line(&shown(problem)));
        warnings.iter().for_each(|warning| line(&format!("warning: {}", shown(warning))));
    }
    if problems.is_empty() {
        output.say(&format!("{files} file(s), no problems"));
        return Ok(Exit::Done);
    }
    Err(Failure::refused(format!("{} problem(s) in {files} file(s)", problems.len()))
        .next("correct the lines above, then lint again"))
}

/// Compiles a directory and says what is wrong with it.
///
/// # Errors
/// A failure with every problem already printed on stderr.
pub(crate) fn checked(sources: &Sources) -> Result<policy::Compiled, Failure> {
    sources.compile().map_err(|problems| {
        problems.iter().for_each(|problem| note(&shown(problem)));
        let place = sources.directory.display();
        Failure::refused(format!("{} problem(s) in {place}; nothing was applied", problems.len()))
            .next(format!("correct the lines above, then run `qgate policy lint {place}`"))
    })
}

/// Applies a set that was checked.
///
/// # Errors
/// What the gate says.
pub(crate) async fn apply_set(
    client: &Client,
    sources: &Sources,
    if_version: Option<u64>,
) -> Result<Answer, Failure> {
    let body = json!({"policies": sources.documents()?});
    let mut request = Request::put(&["v1", "policies"], &body);
    if let Some(version) = if_version {
        request = request.header("If-Match", version.to_string());
    }
    let members = [("version", Shape::Number), ("digest", Shape::Text)];
    Ok(client.send(request.expecting(&members)).await?)
}

async fn apply(global: &Global, args: &ApplyArgs) -> Outcome {
    let sources = Sources::of_directory(&args.policies.directory)?;
    let compiled = checked(&sources)?;
    compiled.warnings.iter().for_each(|warning| note(&format!("warning: {}", shown(warning))));
    let answer = apply_set(&global.client()?, &sources, args.if_version).await?;
    global.output().fields(&answer.body, APPLIED);
    Ok(Exit::Done)
}

async fn list(global: &Global) -> Outcome {
    let request = Request::get(&["v1", "policies"]);
    let request = request.expecting(&[("policies", Shape::List), ("version", Shape::Number)]);
    let answer = global.client()?.send(request).await?;
    global.output().fields(&answer.body, IN_FORCE);
    Ok(Exit::Done)
}

async fn show(global: &Global, args: &ShowArgs) -> Outcome {
    let request = Request::get(&["v1", "policies", &args.id]);
    let answer = global.client()?.send(request.expecting(&[("yaml", Shape::Text)])).await;
    let answer = answer.map_err(|error| {
        Failure::from(error).next_if_unknown("see which there are with `qgate policy list`")
    })?;
    match answer.text("yaml") {
        Some(yaml) if !global.output().is_json() => {
            yaml.lines().for_each(|text| line(&harmless(text)));
        }
        _ => print_json(&answer.body),
    }
    Ok(Exit::Done)
}
