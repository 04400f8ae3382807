//! `qgate cluster …`: who leads, how far the log goes, which node is away; and who belongs to the
//! cluster, votes and leads.

use std::time::Duration;

use clap::{Args, Subcommand};
use client::{Request, Shape};
use serde_json::{Value, json};
use types::limits::CLUSTER_CHANGE_MS_MAX;

use crate::cli::Global;
use crate::commands::agent::seconds;
use crate::commands::cluster_certificates::{self, CertificatesArgs};
use crate::failure::{Exit, Outcome};
use crate::output::{Column, harmless, line, note};

const CLUSTER: &[Column] = &[
    ("cluster", &["cluster_id"]),
    ("asked node", &["node_id"]),
    ("leader", &["leader_id"]),
    ("term", &["term"]),
    ("changing", &["changing"]),
    ("profile", &["profile"]),
    ("committed", &["committed_index"]),
    ("applied", &["applied_index"]),
];

const NODES: &[Column] = &[
    ("node", &["id"]),
    ("role", &["role"]),
    ("region", &["region"]),
    ("priority", &["priority"]),
    ("http", &["http"]),
    ("peer", &["peer"]),
    ("applied", &["applied_index"]),
    ("lag", &["lag"]),
    ("rtt us", &["round_trip_us"]),
    ("clock us", &["clock_offset_us"]),
    ("healthy", &["healthy"]),
    ("disk free", &["disk_free_bytes"]),
    ("disk full", &["disk_full"]),
    ("sync us", &["sync_us"]),
    ("level", &["feature_level"]),
];

const CHANGED: &[Column] = &[
    ("change", &["change"]),
    ("node", &["node"]),
    ("leader", &["leader_id"]),
    ("index", &["index"]),
];

/// The cluster.
#[derive(Debug, Subcommand)]
pub(crate) enum ClusterCommand {
    /// Show the cluster as the asked node knows it; works without a quorum too.
    #[command(after_help = "Example: qgate cluster status --endpoint http://127.0.0.1:4000")]
    Status,
    /// Print a token with which a new node joins, alone, so that it can go into a file.
    #[command(after_help = "Example: qgate cluster token --valid 15m > join.token")]
    Token(TokenArgs),
    /// Let a learner vote, also one that was demoted.
    #[command(after_help = "Example: qgate cluster promote 4")]
    Promote(NodeArgs),
    /// Let a voter only learn, until it is promoted.
    #[command(after_help = "Example: qgate cluster demote 4")]
    Demote(NodeArgs),
    /// Remove a node for ever: its id is never used again.
    #[command(after_help = "Example: qgate cluster remove 4 && qgate cluster status")]
    Remove(NodeArgs),
    /// Let another voter lead: the one that is named, or the best there is.
    #[command(after_help = "Example: qgate cluster transfer-leader 2")]
    TransferLeader(TransferArgs),
    Certificates(CertificatesArgs),
}

/// A node of the cluster.
#[derive(Debug, Args)]
pub(crate) struct NodeArgs {
    /// Id of the node, e.g. 4
    #[arg(value_name = "NODE", value_parser = clap::value_parser!(u64).range(1..))]
    node: u64,
}

/// Who shall lead.
#[derive(Debug, Args)]
pub(crate) struct TransferArgs {
    /// Id of the voter that shall lead, the best there is without it, e.g. 2
    #[arg(value_name = "NODE", value_parser = clap::value_parser!(u64).range(1..))]
    node: Option<u64>,
}

/// How long a token counts.
#[derive(Debug, Args)]
pub(crate) struct TokenArgs {
    /// How long it counts, at most 24h, e.g. 1h
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = seconds)]
    valid: u64,
}

/// Runs `qgate cluster …`.
pub(crate) async fn run(global: &Global, command: ClusterCommand) -> Outcome {
    match command {
        ClusterCommand::Status => status(global).await,
        ClusterCommand::Certificates(args) => {
            cluster_certificates::run(global.output(), &args)?;
            Ok(Exit::Done)
        }
        ClusterCommand::Token(args) => token(global, args.valid).await,
        ClusterCommand::Promote(args) => {
            change(global, "promote", &json!({ "node": args.node })).await
        }
        ClusterCommand::Demote(args) => {
            change(global, "demote", &json!({ "node": args.node })).await
        }
        ClusterCommand::Remove(args) => {
            change(global, "remove", &json!({ "node": args.node })).await
        }
        ClusterCommand::TransferLeader(args) => {
            let body = args.node.map_or_else(|| json!({}), |node| json!({ "node": node }));
            change(global, "transfer-leader", &body).await
        }
    }
}

async fn status(global: &Global) -> Outcome {
    let (client, output) = (global.client()?, global.output());
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
        say_more(&answer.body);
    }
    Ok(Exit::Done)
}

/// What the asked node would have somebody look at.
fn say_more(body: &Value) {
    let text = |value: &Value, name: &str| harmless(value[name].as_str().unwrap_or_default());
    if let Some(over) = body.get("lead_given_away").filter(|over| !over.is_null()) {
        let (why, ago) = (text(over, "why"), &over["seconds_ago"]);
        line(&format!("\nthe asked node gave the lead away {ago} s ago: {why}"));
    }
    for warning in body["warnings"].as_array().into_iter().flatten() {
        let node = warning["node"].as_u64().map_or_else(String::new, |id| format!(" node {id}:"));
        let (level, message) = (text(warning, "level"), text(warning, "message"));
        line(&format!("\n{level}:{node} {message} ({})", text(warning, "code")));
    }
}

async fn change(global: &Global, verb: &str, body: &Value) -> Outcome {
    let request = Request::post(&["v1", "cluster", verb], body)
        // A node that is to vote catches up first.
        .patience(Duration::from_millis(CLUSTER_CHANGE_MS_MAX))
        .expecting(&[("change", Shape::Text), ("index", Shape::Number)]);
    let answer = global.client()?.send(request).await?;
    global.output().fields(&answer.body, CHANGED);
    Ok(Exit::Done)
}

async fn token(global: &Global, valid: u64) -> Outcome {
    let body = json!({ "valid_seconds": valid });
    let request = Request::post(&["v1", "cluster", "join-token"], &body)
        .expecting(&[("token", Shape::Text), ("expires_at", Shape::Text)]);
    let answer = global.client()?.send(request).await?;
    if global.output().is_json() {
        global.output().fields(&answer.body, &[]);
        return Ok(Exit::Done);
    }
    line(answer.text("token").unwrap_or_default());
    note(&format!(
        "it counts until {}; name its file as cluster.join.token_file of the new node",
        answer.text("expires_at").unwrap_or_default()
    ));
    Ok(Exit::Done)
}
