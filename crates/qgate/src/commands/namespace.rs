//! `qgate namespace …`: separate agents, policies, intents and audit views in one cluster.

use clap::{Args, Subcommand};
use client::{Request, Shape};
use serde_json::{Value, json};

use crate::cli::Global;
use crate::failure::{Exit, Outcome};
use crate::output::{Column, note};

const COLUMNS: &[Column] = &[
    ("id", &["id"]),
    ("name", &["name"]),
    ("created", &["created_at"]),
    ("admin", &["/admin/agent_id"]),
    ("admin key", &["/admin/apiKey"]),
];

/// Namespaces.
#[derive(Debug, Subcommand)]
pub(crate) enum NamespaceCommand {
    Create(CreateArgs),
    /// List every namespace of the cluster.
    #[command(after_help = "Example: qgate namespace list")]
    List,
}

/// Make a namespace; the key of its first admin is shown once.
#[derive(Debug, Args)]
#[command(after_help = "Example: qgate namespace create sales")]
pub(crate) struct CreateArgs {
    /// Its name, e.g. sales
    name: String,
}

/// Runs `qgate namespace …`.
pub(crate) async fn run(global: &Global, command: NamespaceCommand) -> Outcome {
    let (client, output) = (global.client()?, global.output());
    match command {
        NamespaceCommand::Create(args) => {
            let body = json!({"name": args.name});
            let request = Request::post(&["v1", "namespaces"], &body);
            let request = request.expecting(&[("id", Shape::Number), ("admin", Shape::Any)]);
            let answer = client.send(request).await?;
            output.fields(&answer.body, COLUMNS);
            match answer.body.pointer("/admin/apiKey").and_then(Value::as_str) {
                Some(_) => note("this key is shown once; keep it now"),
                // The first answer was lost on its way, and the key with it.
                None => note(
                    "the namespace is made, and its admin's key was lost on its way here; make \
                     another namespace under another name",
                ),
            }
        }
        NamespaceCommand::List => {
            let answer = client
                .send(Request::get(&["v1", "namespaces"]).expecting(&[("namespaces", Shape::List)]))
                .await?;
            output.rows(&answer.body, "namespaces", &COLUMNS[..3]);
        }
    }
    Ok(Exit::Done)
}
