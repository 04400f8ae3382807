//! `qgate intent …`: submit, read, decide, have carried out, and end a doubt.
//!
//! Invariant: an approval names the digest of what a person was shown and said yes to, or one that
//! the caller named; only `--yes` approves what nobody looked at.

use std::io::{BufRead, IsTerminal};
use std::time::Duration;

use clap::{Args, Subcommand};
use client::{Decision, Refusal, Request, Resolution, Shape, Verdict};
use serde_json::json;
use types::limits::{PAGE_ROWS_DEFAULT, WAIT_MS_MAX};

use crate::cli::{Global, IntentRef};
use crate::commands::intent_submit;
use crate::commands::intent_view::print_whole;
use crate::failure::{Exit, Failure, Outcome};
use crate::output::{Column, harmless, note};

const LIST: &[Column] = &[
    ("intent", &["intentId", "id"]),
    ("status", &["status"]),
    ("phase", &["phase"]),
    ("resource", &["destination"]),
    ("agent", &["agent_name"]),
    ("records", &["estimated_records", "record_count"]),
    ("created", &["created_at"]),
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
    Submit(Box<intent_submit::SubmitArgs>),
    List(ListArgs),
    Show(ShowArgs),
    Approve(ApproveArgs),
    Reject(RejectArgs),
    Cancel(CancelArgs),
    Execute(ExecuteArgs),
    Resolve(ResolveArgs),
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

/// Approve a held intent. At a terminal it is shown and you are asked; elsewhere name the digest of
/// what was looked at.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    qgate intent approve int_2c2846cac3071a90 --reason 'checked'\n  \
    qgate intent approve int_2c2846cac3071a90 --digest \
    5041bf1f713df204784353e82f6a4a535931cb64f1f4b4a5aeaffcb720918b22")]
pub(crate) struct ApproveArgs {
    #[command(flatten)]
    intent: IntentRef,
    /// Approve only what has this digest (`qgate intent show` prints it), unasked,
    /// e.g. 5041bf1f713df204784353e82f6a4a535931cb64f1f4b4a5aeaffcb720918b22
    #[arg(long, value_name = "DIGEST")]
    digest: Option<String>,
    /// Approve whatever stands there when this runs, unseen and unasked: it may be something else
    /// than what was looked at before
    #[arg(long, conflicts_with = "digest")]
    yes: bool,
    /// Why, for the audit trail, e.g. 'checked with sales'
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// Reject a held intent; one rejection ends it.
#[derive(Debug, Args)]
#[command(after_help = "Example: qgate intent reject int_2c2846cac3071a90 --reason 'wrong list'")]
pub(crate) struct RejectArgs {
    #[command(flatten)]
    intent: IntentRef,
    /// Reject only what has this digest; needed where it has changed since it was held,
    /// e.g. 5041bf1f713df204784353e82f6a4a535931cb64f1f4b4a5aeaffcb720918b22
    #[arg(long, value_name = "DIGEST")]
    digest: Option<String>,
    /// Why, for the audit trail, e.g. 'would blank good values'
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// Withdraw an intent that is held, or allowed and not begun; its own agent may.
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
        IntentCommand::Submit(args) => intent_submit::run(global, *args).await,
        IntentCommand::List(args) => list(global, args).await,
        IntentCommand::Show(args) => show(global, args).await,
        IntentCommand::Approve(args) => approve(global, args).await,
        IntentCommand::Reject(args) => {
            let decision = Decision { digest: args.digest, reason: args.reason };
            let answer = global.client()?.reject(&args.intent.id, &decision).await;
            let answer = answer.map_err(|error| decided_by_another(&args.intent.id, error))?;
            global.output().fields(&answer.body, DECIDED);
            Ok(Exit::Done)
        }
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

async fn list(global: &Global, args: ListArgs) -> Outcome {
    let (client, output) = (global.client()?, global.output());
    let wanted = args.limit.unwrap_or(PAGE_ROWS_DEFAULT);
    let (mut rows, mut before) = (Vec::new(), args.before.clone());
    // A page may be short, or empty, where the filter leaves few rows: go on until there are as
    // many as were asked for, or no more.
    let next = loop {
        let left = wanted.saturating_sub(rows.len() as u64);
        let request = Request::get(&["v1", "intents"])
            .query_if("status", args.status.as_deref())
            .query("limit", left.to_string())
            .query_if("phase", args.phase.as_deref())
            .query_if("agent", args.agent.as_deref())
            .query_if("before", before.as_deref())
            .expecting(&[("intents", Shape::List), ("next", Shape::Any)]);
        let mut answer = client.send(request).await?;
        let page = answer.body["intents"].as_array_mut().map(std::mem::take).unwrap_or_default();
        rows.extend(page);
        let next = answer.text("next").map(str::to_owned);
        if next.is_none() || next == before || rows.len() as u64 >= wanted {
            break next;
        }
        before = next;
    };
    output.rows(&json!({ "intents": rows, "count": rows.len(), "next": next }), "intents", LIST);
    if let Some(next) = next {
        let given = [("status", &args.status), ("phase", &args.phase), ("agent", &args.agent)];
        let given = given.iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
        let filters: String =
            given.map(|(name, value)| format!(" --{name} {}", harmless(value))).collect();
        output.say(&format!("\nmore: qgate intent list{filters} --before {next}"));
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
    let (client, output) = (global.client()?, global.output());
    let answer = client.whole(request).await?;
    print_whole(&client, output, &answer.body).await?;
    // The client passes known ones on and no others.
    let verdict = answer.text("status").and_then(Verdict::of_intent).unwrap_or(Verdict::Blocked);
    Ok(Exit::of_verdict(verdict, args.exit_decision))
}

async fn approve(global: &Global, args: ApproveArgs) -> Outcome {
    let (client, output) = (global.client()?, global.output());
    let id = &args.intent.id;
    let digest = match args.digest {
        Some(digest) => digest,
        None => {
            let asks = !output.is_json() && std::io::stdin().is_terminal();
            if !args.yes && !asks {
                let what = "nobody can be asked here, and no digest is named: nothing was decided";
                return Err(Failure::usage(what).next(format!(
                    "look at it with `qgate intent show {id}`, then approve it with --digest \
                     DIGEST; --yes approves whatever stands there, unseen"
                )));
            }
            let intent = client.intent(id).await?;
            if !output.is_json() {
                print_whole(&client, output, &intent.body).await?;
                output.say("");
            }
            if !args.yes && !agreed(&mut std::io::stdin().lock()) {
                return Err(Failure::refused("nothing was decided")
                    .next(format!("say y to approve it, or qgate intent reject {id}")));
            }
            // Every intent has one; the client has seen to that.
            intent.text("approval_digest").unwrap_or_default().to_owned()
        }
    };
    let decision = Decision { digest: Some(digest), reason: args.reason };
    let answer = client.approve(id, &decision).await;
    output.fields(&answer.map_err(|error| decided_by_another(id, error))?.body, DECIDED);
    Ok(Exit::Done)
}

/// Asks the person at the terminal; only a plain yes is one.
fn agreed(input: &mut impl BufRead) -> bool {
    note("Approve exactly this? [y/N]");
    let mut line = String::new();
    // Who closes the input has not said yes.
    let read = input.read_line(&mut line).unwrap_or(0);
    read > 0 && matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes")
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
    use super::*;

    #[test]
    fn only_a_plain_yes_approves() {
        let cases = [
            ("y\n", true),
            (" YES \n", true),
            ("\n", false),
            ("n\n", false),
            ("", false),
            ("yes please\n", false),
        ];
        for (said, expected) in cases {
            assert_eq!(agreed(&mut said.as_bytes()), expected, "{said:?}");
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
