//! `qgate intent …`: submit, read, decide, have carried out, and end a doubt.
//!
//! Invariant: an approval names the digest of what was shown here, never of something newer.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use client::{Decision, Refusal, Request, Resolution, Verdict};
use serde_json::{Map, Value};
use types::limits::WAIT_MS_MAX;

use crate::cli::{Global, IntentRef};
use crate::commands::{read_json, reasons};
use crate::failure::{Exit, Failure, Outcome};
use crate::output::{Column, Output};

const SUBMITTED: &[Column] = &[
    ("intent", &["intentId"]),
    ("status", &["status"]),
    ("phase", &["phase"]),
    ("reason", &["blockReason", "block_reason"]),
    ("first is", &["existingStatus"]),
    ("window ends", &["windowEndsAt"]),
    ("approvals", &["requiredApprovals"]),
    ("risk", &["riskLevel"]),
    ("expires", &["expiresAt"]),
];

const LIST: &[Column] = &[
    ("intent", &["intentId", "id"]),
    ("status", &["status"]),
    ("phase", &["phase"]),
    ("resource", &["destination"]),
    ("agent", &["agent_name"]),
    ("records", &["estimated_records", "record_count"]),
    ("created", &["created_at"]),
];

const ONE: &[Column] = &[
    ("intent", &["intentId", "id"]),
    ("status", &["status"]),
    ("phase", &["phase"]),
    ("resource", &["destination"]),
    ("trigger", &["trigger"]),
    ("policy", &["policy_id"]),
    ("agent", &["sender_agent_id"]),
    ("records", &["estimated_records", "record_count"]),
    ("reason", &["block_reason"]),
    ("risk", &["risk_level"]),
    ("payload hash", &["payload_hash"]),
    ("approvals", &["required_approvals"]),
    ("digest", &["approval_digest"]),
    ("created", &["created_at"]),
    ("expires", &["expires_at"]),
];

const DECIDED: &[Column] = &[
    ("intent", &["intentId"]),
    ("status", &["status"]),
    ("phase", &["phase"]),
    ("votes", &["votes"]),
    ("needed", &["requiredApprovals"]),
    ("voted", &["votedBy"]),
    ("reason", &["reason"]),
    ("at", &["approvedAt"]),
];

const ORDER: &[Column] = &[
    ("order", &["executionId"]),
    ("intent", &["intent_id"]),
    ("status", &["status"]),
    ("mode", &["mode"]),
    ("resource", &["destination"]),
    ("attempt", &["attempt"]),
    ("fence", &["fence"]),
    ("token", &["execution_token"]),
    ("expires", &["expires_at"]),
];

const RESOLVED: &[Column] = &[
    ("intent", &["intentId"]),
    ("status", &["status"]),
    ("phase", &["phase"]),
    ("effect", &["effect"]),
    ("reason", &["reason"]),
];

/// Intents.
#[derive(Debug, Subcommand)]
pub(crate) enum IntentCommand {
    Submit(Box<SubmitArgs>),
    List(ListArgs),
    Show(ShowArgs),
    /// Approve a held intent; covers exactly the revision that is shown
    Approve(DecideArgs),
    /// Reject a held intent; one rejection ends it
    Reject(DecideArgs),
    Cancel(CancelArgs),
    Execute(ExecuteArgs),
    Resolve(ResolveArgs),
}

/// Submit an intent; the answer is the decision.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    qgate intent submit intent.json --exit-decision\n  \
    qgate intent submit --resource crm.contacts --trigger write --payload '{\"records\":[]}'\n  \
    jq .intent report.json | qgate intent submit -")]
pub(crate) struct SubmitArgs {
    /// JSON file with the request, or - for standard input; flags win over it, e.g. intent.json
    #[arg(value_name = "FILE", required_unless_present = "resource")]
    file: Option<PathBuf>,
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

/// List intents, newest first.
#[derive(Debug, Args)]
#[command(after_help = "Example: qgate intent list --status pending_approval --limit 20")]
pub(crate) struct ListArgs {
    /// Only with this status, e.g. pending_approval
    #[arg(long)]
    status: Option<String>,
    /// Rows of a page, e.g. 20
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Only in this phase, e.g. held
    #[arg(long)]
    phase: Option<String>,
    /// Only of this agent, e.g. agt_45c0f6b0910eccd2
    #[arg(long)]
    agent: Option<String>,
    /// Go on before this one, where a page ended, e.g. int_2c2846cac3071a90
    #[arg(long, value_name = "INTENT")]
    before: Option<String>,
}

/// Show an intent with the reasons of its decision.
#[derive(Debug, Args)]
#[command(after_help = "Example: qgate intent show int_2c2846cac3071a90 --wait 30s")]
pub(crate) struct ShowArgs {
    #[command(flatten)]
    intent: IntentRef,
    /// Wait until it is decided, at most so long, e.g. 30s
    #[arg(long, value_name = "TIME", value_parser = wait)]
    wait: Option<Duration>,
    /// With --wait: wait until nothing more will happen
    #[arg(long, requires = "wait")]
    until_done: bool,
    /// Exit with 10 if it is held, 11 if blocked
    #[arg(long)]
    exit_decision: bool,
}

/// Approve or reject a held intent; covers exactly the revision that is shown.
#[derive(Debug, Args)]
#[command(after_help = "Example: qgate intent approve int_2c2846cac3071a90 --reason 'checked'")]
pub(crate) struct DecideArgs {
    #[command(flatten)]
    intent: IntentRef,
    /// Decide only about this revision; without it the present one is shown and decided,
    /// e.g. 5041bf1f713df204784353e82f6a4a535931cb64f1f4b4a5aeaffcb720918b22
    #[arg(long, value_name = "DIGEST")]
    digest: Option<String>,
    /// Why, for the audit trail, e.g. 'checked with sales'
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// Withdraw a held intent.
#[derive(Debug, Args)]
#[command(after_help = "Example: qgate intent cancel int_2c2846cac3071a90 --reason 'not needed'")]
pub(crate) struct CancelArgs {
    #[command(flatten)]
    intent: IntentRef,
    /// Why, for the audit trail, e.g. 'sent twice'
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// Have an allowed intent carried out: an order for a worker, or the gate's own call.
#[derive(Debug, Args)]
#[command(after_help = "Example: qgate intent execute int_2c2846cac3071a90")]
pub(crate) struct ExecuteArgs {
    #[command(flatten)]
    intent: IntentRef,
    /// What the order is called, where a worker carries it out, e.g. external_pull
    #[arg(long)]
    mode: Option<String>,
}

/// Say how an intent in doubt ended, after looking at its target.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    qgate intent resolve int_2c2846cac3071a90 --outcome succeeded --reason 'the call is listed'\n  \
    qgate intent resolve int_2c2846cac3071a90 --outcome failed --effect none \
    --reason 'no such call'")]
pub(crate) struct ResolveArgs {
    #[command(flatten)]
    intent: IntentRef,
    /// What it came to, e.g. failed
    #[arg(long, value_parser = ["succeeded", "failed"])]
    outcome: String,
    /// What a failure did all the same, unknown if left out; only none lets the same be asked for
    /// again at once, e.g. none
    #[arg(long, value_parser = ["none", "partial", "unknown"])]
    effect: Option<String>,
    /// How it was found out, for the audit trail, e.g. 'the provider lists no such call'
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

/// Runs `qgate intent …`.
pub(crate) async fn run(global: &Global, command: IntentCommand) -> Outcome {
    match command {
        IntentCommand::Submit(args) => submit(global, *args).await,
        IntentCommand::List(args) => list(global, args).await,
        IntentCommand::Show(args) => show(global, args).await,
        IntentCommand::Approve(args) => decide(global, args, true).await,
        IntentCommand::Reject(args) => decide(global, args, false).await,
        IntentCommand::Cancel(args) => {
            let decision = Decision { digest: None, reason: args.reason };
            let answer = global.client()?.cancel(&args.intent.id, &decision).await?;
            global.output().fields(&answer.body, DECIDED);
            Ok(Exit::Done)
        }
        IntentCommand::Execute(args) => {
            let answer = global.client()?.execute(&args.intent.id, args.mode.as_deref()).await?;
            global.output().fields(&answer.body, ORDER);
            Ok(Exit::Done)
        }
        IntentCommand::Resolve(args) => resolve(global, args).await,
    }
}

async fn resolve(global: &Global, args: ResolveArgs) -> Outcome {
    let succeeded = args.outcome == "succeeded";
    if succeeded && args.effect.is_some() {
        let what = "--effect says what a failure did; what succeeded did what was asked";
        return Err(Failure::usage(what).next("leave --effect out, or say --outcome failed"));
    }
    let resolution = Resolution { succeeded, effect: args.effect, reason: args.reason };
    let answer = global.client()?.resolve(&args.intent.id, &resolution).await?;
    global.output().fields(&answer.body, RESOLVED);
    Ok(Exit::Done)
}

async fn submit(global: &Global, args: SubmitArgs) -> Outcome {
    let (key, exit_decision) = (args.idempotency_key.clone(), args.exit_decision);
    let intent = intent_of(args)?;
    let submitted = global.client()?.submit(&intent, key.as_deref()).await?;
    let output = global.output();
    output.fields(&submitted.answer.body, SUBMITTED);
    reasons(output, &submitted.answer.body);
    Ok(Exit::of_verdict(submitted.verdict, exit_decision))
}

/// The request: the file, with the flags over it.
fn intent_of(args: SubmitArgs) -> Result<Value, Failure> {
    let mut intent = match &args.file {
        None => Map::new(),
        Some(file) => match read_json(file)? {
            Value::Object(fields) => fields,
            _ => return Err(Failure::usage("the request is no JSON object")),
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
        let metadata = ::policy::json::parse_str(&text)
            .map_err(|error| Failure::usage(format!("--metadata is no JSON: {error}")))?;
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

async fn list(global: &Global, args: ListArgs) -> Outcome {
    let request = Request::get(&["v1", "intents"])
        .query_if("status", args.status)
        .query_if("limit", args.limit.map(|limit| limit.to_string()))
        .query_if("phase", args.phase)
        .query_if("agent", args.agent)
        .query_if("before", args.before);
    let answer = global.client()?.send(request).await?;
    let output = global.output();
    output.rows(&answer.body, "intents", LIST);
    if let Some(next) = answer.text("next") {
        output.say(&format!("\nmore: qgate intent list --before {next}"));
    }
    Ok(Exit::Done)
}

async fn show(global: &Global, args: ShowArgs) -> Outcome {
    let mut request = Request::get(&["v1", "intents", &args.intent.id]);
    if let Some(wait) = args.wait {
        request = request.query("wait", format!("{}s", wait.as_secs())).patience(wait);
    }
    if args.until_done {
        request = request.query("until", "done");
    }
    let answer = global.client()?.send(request).await?;
    let output = global.output();
    print_whole(output, &answer.body);
    let verdict = answer.text("status").and_then(Verdict::of_status);
    Ok(verdict.map_or(Exit::Done, |verdict| Exit::of_verdict(verdict, args.exit_decision)))
}

async fn decide(global: &Global, args: DecideArgs, approve: bool) -> Outcome {
    let (client, output) = (global.client()?, global.output());
    let id = &args.intent.id;
    let digest = match args.digest {
        Some(digest) => Some(digest),
        None => {
            let intent = client.intent(id).await?;
            if !output.is_json() {
                print_whole(output, &intent.body);
                output.say("");
            }
            intent.text("approval_digest").map(str::to_owned)
        }
    };
    let decision = Decision { digest, reason: args.reason };
    let answer = if approve {
        client.approve(id, &decision).await
    } else {
        client.reject(id, &decision).await
    };
    output.fields(&answer.map_err(|error| decided_by_another(id, error))?.body, DECIDED);
    Ok(Exit::Done)
}

/// All that a person needs to decide.
fn print_whole(output: Output, body: &Value) {
    output.fields(body, ONE);
    reasons(output, body);
    output.value("payload", body.get("payload"));
    output.value("metadata", body.get("metadata"));
}

/// Says which command shows what is there now.
fn decided_by_another(id: &str, error: client::Error) -> Failure {
    let is_stale = |refusal: &Refusal| {
        ["approval_digest_mismatch", "digest_required", "policy_changed"]
            .iter()
            .any(|code| refusal.is(code))
    };
    let stale = matches!(&error, client::Error::Refused(refusal) if is_stale(refusal));
    let failure = Failure::from(error);
    if stale {
        return failure.next(format!("look at what it is now: qgate intent show {id}"));
    }
    failure
}

/// What an HTTP header can carry.
fn header_text(text: &str) -> Result<String, String> {
    let visible = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    if visible { Ok(text.to_owned()) } else { Err("write it without spaces, in ASCII".into()) }
}

/// `30s` or `1m`, at most what the server waits.
fn wait(text: &str) -> Result<Duration, String> {
    let parsed = text
        .strip_suffix('s')
        .map(|digits| (digits, 1))
        .or_else(|| text.strip_suffix('m').map(|digits| (digits, 60)))
        .and_then(|(digits, unit)| digits.parse::<u64>().ok()?.checked_mul(unit));
    let seconds = parsed.ok_or("write it like 30s or 1m")?;
    let most = WAIT_MS_MAX / 1_000;
    if seconds > most {
        return Err(format!("the server waits at most {most}s"));
    }
    Ok(Duration::from_secs(seconds))
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
        }
    }

    #[test]
    fn waits_are_bounded() {
        let cases = [("30s", Some(30)), ("1m", Some(60)), ("0s", Some(0)), ("61s", None)];
        for (text, expected) in cases {
            assert_eq!(wait(text).ok().map(|wait| wait.as_secs()), expected, "{text}");
        }
        for bad in ["", "30", "s", "-1s", "1h", "99999999999999999999m"] {
            assert!(wait(bad).is_err(), "{bad}");
        }
    }
}
