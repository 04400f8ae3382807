//! `qgate intent submit`: one intent, from a file, from flags or from both.

use std::path::PathBuf;

use clap::Args;
use client::Verdict;
use serde_json::{Map, Value};

use crate::cli::Global;
use crate::commands::{intent_batch, read_json, reasons};
use crate::failure::{Exit, Failure, Outcome};
use crate::output::Column;

const SUBMITTED: &[Column] = &[
    ("intent", &["intentId"]),
    ("status", &["status"]),
    ("phase", &["phase"]),
    ("reason", &["blockReason", "block_reason"]),
    ("first is", &["existingStatus"]),
    ("window ends", &["windowEndsAt"]),
    ("risk", &["riskLevel"]),
    ("expires", &["expiresAt"]),
];

/// Submit an intent; the answer is the decision.
#[derive(Debug, Args)]
#[command(
    override_usage = "qgate intent submit [OPTIONS] <FILE>\n       \
        qgate intent submit [OPTIONS] --resource <RESOURCE>\n       \
        qgate intent submit [OPTIONS] --batch <FILE>",
    after_help = "Examples:\n  \
    qgate intent submit intent.json --exit-decision\n  \
    qgate intent submit --resource crm.contacts --trigger write --payload '{\"records\":[]}'\n  \
    jq .intent report.json | qgate intent submit -\n  \
    qgate intent submit --batch intents.ndjson --output json\n\n\
    Without --exit-decision a held or blocked intent exits with 0 too: to go on only if it may \
    run,\nwrite: qgate intent submit intent.json --exit-decision && do_the_write\n\n\
    A batch exits with 4 if the cluster could not decide a line, else 1 if a line was refused;\n\
    with --exit-decision else 11, 10 or 12, the first that fits a line."
)]
pub(crate) struct SubmitArgs {
    /// JSON file with the request, or - for standard input; flags win over it, e.g. intent.json
    #[arg(value_name = "FILE", required_unless_present_any = ["resource", "batch"])]
    file: Option<PathBuf>,
    /// File with up to 1,000 requests, one a line, or - for standard input; the same `request_key`
    /// in a line gives the same answer, however often it is sent, e.g. intents.ndjson
    #[arg(long, value_name = "FILE", conflicts_with_all = [
        "file", "resource", "trigger", "policy", "payload", "metadata", "record_count",
        "expires_in", "on_behalf_of", "idempotency_key",
    ])]
    batch: Option<PathBuf>,
    /// What it writes to, e.g. crm.contacts
    #[arg(long)]
    resource: Option<String>,
    /// How it writes, e.g. write, webhook or send
    #[arg(long)]
    trigger: Option<String>,
    /// Named policy that judges it too, e.g. crm-basic
    #[arg(long, value_name = "ID")]
    policy: Option<String>,
    /// Payload as JSON, or as text where it is none, e.g. '{"lead_id":"lead-1"}'
    #[arg(long, value_name = "JSON")]
    payload: Option<String>,
    /// Metadata as a JSON object, e.g. '{"environment":"staging"}'
    #[arg(long, value_name = "JSON")]
    metadata: Option<String>,
    /// Your own count of the records, e.g. 847
    #[arg(long, value_name = "N")]
    record_count: Option<u64>,
    /// How long it may wait, e.g. 2h
    #[arg(long, value_name = "TIME")]
    expires_in: Option<String>,
    /// For whom the agent acts, e.g. customer-17
    #[arg(long, value_name = "WHO")]
    on_behalf_of: Option<String>,
    /// The same key gives the same answer, however often it is sent, e.g. import-2026-11-22
    #[arg(long, value_name = "KEY", value_parser = header_text)]
    idempotency_key: Option<String>,
    /// Exit with 10 if it is held, 11 if blocked, 12 if a duplicate
    #[arg(long)]
    exit_decision: bool,
}

/// Runs `qgate intent submit`.
pub(crate) async fn run(global: &Global, args: SubmitArgs) -> Outcome {
    let (key, exit_decision) = (args.idempotency_key.clone(), args.exit_decision);
    if let Some(file) = &args.batch {
        return intent_batch::run(global, file, exit_decision).await;
    }
    let intent = intent_of(args)?;
    let submitted = global.client()?.submit(&intent, key.as_deref()).await?;
    let output = global.output();
    output.fields(&submitted.answer.body, SUBMITTED);
    if submitted.verdict == Verdict::Held {
        output.say(&format!("approvals    {}", submitted.answer.body["requiredApprovals"]));
    }
    reasons(output, &submitted.answer.body);
    Ok(Exit::of_verdict(submitted.verdict, exit_decision))
}

/// The request: the file, with the flags over it.
fn intent_of(args: SubmitArgs) -> Result<Value, Failure> {
    let mut intent = match &args.file {
        None => Map::new(),
        Some(file) => match read_json(file)? {
            Value::Object(fields) => fields,
            _ => {
                let what = format!("{}: no JSON object", file.display());
                return Err(Failure::usage(what)
                    .next("write it like {\"resource\": \"crm.contacts\", \"payload\": {}}"));
            }
        },
    };
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            intent.insert(name.to_owned(), value);
        }
    };
    put("resource", args.resource.map(Value::from));
    put("trigger", args.trigger.map(Value::from));
    put("policy", args.policy.map(Value::from));
    put("payload", args.payload.map(|text| json_or_text(&text)));
    if let Some(text) = args.metadata {
        let metadata = ::policy::json::parse_str(&text).map_err(|error| {
            Failure::usage(format!("--metadata is no JSON: {error}"))
                .next("write it like '{\"environment\": \"staging\"}', in single quotes")
        })?;
        put("metadata", Some(metadata));
    }
    put("recordCount", args.record_count.map(Value::from));
    put("expiresIn", args.expires_in.map(Value::from));
    put("on_behalf_of", args.on_behalf_of.map(Value::from));
    Ok(Value::Object(intent))
}

fn json_or_text(text: &str) -> Value {
    ::policy::json::parse_str(text).unwrap_or_else(|_| Value::from(text))
}

/// What an HTTP header can carry.
fn header_text(text: &str) -> Result<String, String> {
    let visible = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    if visible { Ok(text.to_owned()) } else { Err("write it without spaces, in ASCII".into()) }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: SubmitArgs,
    }

    #[test]
    fn flags_win_over_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("intent.json");
        std::fs::write(&file, r#"{"resource":"a","trigger":"write","extra":15}"#).unwrap();
        let file = file.to_str().unwrap();
        let cases: [(&[&str], Value); 4] = [
            (&[file], json!({"resource": "a", "trigger": "write", "extra": 15})),
            (
                &[file, "--resource", "b", "--payload", "{\"x\":[1]}"],
                json!({"resource": "b", "trigger": "write", "extra": 15, "payload": {"x": [1]}}),
            ),
            (
                &["--resource", "b", "--payload", "plain text"],
                json!({"resource": "b", "payload": "plain text"}),
            ),
            (
                &["--resource", "b", "--metadata", "{\"environment\":\"x\"}"],
                json!({"resource": "b", "metadata": {"environment": "x"}}),
            ),
        ];
        for (words, expected) in cases {
            let line = Line::parse_from(std::iter::once(&"submit").chain(words));
            let intent = intent_of(line.args).unwrap();
            assert_eq!(intent, expected, "{words:?}");
        }
    }

    #[test]
    fn a_file_that_is_no_request_is_named_with_its_line() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("intent.json");
        for (text, expected) in [("{\n \"a\": }", ":2:"), ("[1]", "no JSON object")] {
            std::fs::write(&file, text).unwrap();
            let line = Line::parse_from(["submit", file.to_str().unwrap()]);
            let failure = intent_of(line.args).unwrap_err();
            assert_eq!(failure.exit, Exit::Usage);
            assert!(failure.what.contains(expected), "{failure}");
            assert!(failure.next.is_some(), "{failure}");
        }
        let line = Line::parse_from(["submit", "/nowhere/intent.json"]);
        let failure = intent_of(line.args).unwrap_err();
        assert!(failure.what.contains("/nowhere/intent.json"), "{failure}");
        assert!(failure.next.unwrap_or_default().contains("standard input"));
        let line = Line::parse_from(["submit", "--resource", "r", "--metadata", "{"]);
        assert!(intent_of(line.args).unwrap_err().next.is_some());
    }
}
