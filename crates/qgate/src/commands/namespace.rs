//! `qgate namespace …`: separate agents, policies, intents and audit views in one cluster.

use clap::{Args, Subcommand};
use serde_json::json;

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
            let answer = client.post(&["v1", "namespaces"], &body).await?;
            output.fields(&answer.body, COLUMNS);
            note("this key is shown once; keep it now");
        }
        NamespaceCommand::List => {
            let answer = client.get(&["v1", "namespaces"]).await?;
            output.rows(&answer.body, "namespaces", &COLUMNS[..3]);
        }
    }
    Ok(Exit::Done)
}
