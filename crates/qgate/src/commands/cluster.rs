//! `qgate cluster …`: who leads, how far the log goes, which node is away.

use clap::Subcommand;
use client::{Request, Shape};

use crate::cli::Global;
use crate::commands::cluster_certificates::{self, CertificatesArgs};
use crate::failure::{Exit, Outcome};
use crate::output::Column;

const CLUSTER: &[Column] = &[
    ("cluster", &["cluster_id"]),
    ("asked node", &["node_id"]),
    ("leader", &["leader_id"]),
    ("term", &["term"]),
    ("committed", &["committed_index"]),
    ("applied", &["applied_index"]),
];

const NODES: &[Column] = &[
    ("node", &["id"]),
    ("role", &["role"]),
    ("region", &["region"]),
    ("http", &["http"]),
    ("peer", &["peer"]),
    ("matched", &["matched_index"]),
    ("healthy", &["healthy"]),
];

/// The cluster.
#[derive(Debug, Subcommand)]
pub(crate) enum ClusterCommand {
    /// Show the cluster as the asked node knows it; works without a quorum too.
    #[command(after_help = "Example: qgate cluster status --endpoint http://127.0.0.1:4000")]
    Status,
    Certificates(CertificatesArgs),
}

/// Runs `qgate cluster …`.
pub(crate) async fn run(global: &Global, command: ClusterCommand) -> Outcome {
    let output = global.output();
    match command {
        ClusterCommand::Certificates(args) => cluster_certificates::run(output, &args)?,
        ClusterCommand::Status => {
            let client = global.client()?;
            let answer = client
                .send(Request::get(&["v1", "cluster"]).expecting(&[
                    ("cluster_id", Shape::Text),
                    ("term", Shape::Number),
                    ("nodes", Shape::List),
                ]))
                .await?;
            output.fields(&answer.body, CLUSTER);
            if !output.is_json() {
                output.say("");
                output.rows(&answer.body, "nodes", NODES);
            }
        }
    }
    Ok(Exit::Done)
}
