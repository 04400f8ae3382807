//! `qgate destination …`: how allowed intents are carried out, target by target.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use policy::Problem;
use types::Connector;

use crate::cli::Global;
use crate::commands::setting::{self, Kind};
use crate::failure::Outcome;

const KIND: Kind = Kind {
    route: "destinations",
    rows: &[
        ("name", &["name"]),
        ("kind", &["kind"]),
        ("execute", &["execute"]),
        ("environment", &["environment"]),
        ("idempotency", &["idempotency"]),
        ("promise", &["promise"]),
    ],
    changed: &[
        ("name", &["name"]),
        ("kind", &["kind"]),
        ("promise", &["promise"]),
        ("deleted", &["deleted"]),
        ("version", &["version"]),
        ("changed", &["changed"]),
        ("digest", &["digest"]),
    ],
    problems,
};

/// What the gate would say of a document, templates included; which secrets are declared is known
/// to nodes alone.
fn problems(name: &str, source: &[u8]) -> Vec<Problem> {
    let destination = match policy::documents::destination(name, source) {
        Ok(destination) => destination,
        Err(problems) => return problems,
    };
    let checked = match &destination.connector {
        Connector::Http(target) => executor::connectors::http::check(target),
        Connector::Worker => Ok(()),
    };
    let problem = |message: String| {
        let field = message.split_once(": ").map_or("", |(field, _)| field).to_owned();
        policy::documents::problem_in(name, source, &field, message)
    };
    checked.err().map(problem).into_iter().collect()
}

/// Destinations.
#[derive(Debug, Subcommand)]
pub(crate) enum DestinationCommand {
    /// List the destinations in force.
    #[command(after_help = "Example: qgate destination list")]
    List,
    Show(ShowArgs),
    Put(PutArgs),
    Delete(DeleteArgs),
}

/// Show one destination as it was put.
#[derive(Debug, Args)]
#[command(after_help = "Example: qgate destination show crm.contacts")]
pub(crate) struct ShowArgs {
    /// Its name, e.g. crm.contacts
    name: String,
}

/// Put one destination, in the place of an earlier one of that name.
#[derive(Debug, Args)]
#[command(after_help = "Example: qgate destination put crm.contacts crm.yaml --if-version 3")]
pub(crate) struct PutArgs {
    /// The resource that it serves, or a pattern over resources, e.g. crm.*
    name: String,
    /// Its YAML document, - reads standard input, e.g. crm.yaml
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Only if this version of the destinations is in force, e.g. 3
    #[arg(long, value_name = "N")]
    if_version: Option<u64>,
}

/// Delete one destination.
#[derive(Debug, Args)]
#[command(after_help = "Example: qgate destination delete crm.contacts")]
pub(crate) struct DeleteArgs {
    /// Its name, e.g. crm.contacts
    name: String,
    /// Only if this version of the destinations is in force, e.g. 3
    #[arg(long, value_name = "N")]
    if_version: Option<u64>,
}

/// Runs `qgate destination …`.
pub(crate) async fn run(global: &Global, command: DestinationCommand) -> Outcome {
    match command {
        DestinationCommand::List => setting::list(global, &KIND).await,
        DestinationCommand::Show(args) => setting::show(global, &KIND, &args.name).await,
        DestinationCommand::Put(args) => {
            setting::put(global, &KIND, &args.name, &args.file, args.if_version).await
        }
        DestinationCommand::Delete(args) => {
            setting::delete(global, &KIND, &args.name, args.if_version).await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_that_is_never_closed_is_found_before_it_is_sent() {
        let document = |body: &str| {
            format!("kind: http\nrequest:\n  url: https://a.example/\n  body: \"{body}\"\n")
        };
        assert_eq!(problems("t.x", document("{{ payload }}").as_bytes()), []);
        let found = problems("t.x", document("{{ payload ").as_bytes());
        let [problem] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!((problem.line, problem.column), (4, 9));
        assert!(problem.message.starts_with("request.body: "), "{problem}");
    }
}
