//! `qgate audit …`: what happened to an intent, and how far the audit tree goes.

use clap::Subcommand;

use crate::cli::{Global, IntentRef};
use crate::failure::{Exit, Outcome};
use crate::output::Column;

const EVENTS: &[Column] = &[
    ("time", &["created_at"]),
    ("event", &["event_type"]),
    ("actor", &["actor"]),
    ("leaf", &["sequence"]),
    ("details", &["metadata"]),
];

const CHECKPOINT: &[Column] =
    &[("leaves", &["size"]), ("root", &["root"]), ("log index", &["index"])];

/// The audit trail.
#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Show every event of one intent.
    #[command(after_help = "Example: qgate audit show int_2c2846cac3071a90")]
    Show(IntentRef),
    /// Show size and root of the audit tree.
    #[command(after_help = "Example: qgate audit checkpoint --output json")]
    Checkpoint,
}

/// Runs `qgate audit …`.
pub(crate) async fn run(global: &Global, command: AuditCommand) -> Outcome {
    let (client, output) = (global.client()?, global.output());
    match command {
        AuditCommand::Show(intent) => {
            let answer = client.get(&["v1", "intents", &intent.id, "audit"]).await?;
            output.rows(&answer.body, "events", EVENTS);
        }
        AuditCommand::Checkpoint => {
            let answer = client.get(&["v1", "audit", "checkpoint"]).await?;
            output.fields(&answer.body, CHECKPOINT);
        }
    }
    Ok(Exit::Done)
}
