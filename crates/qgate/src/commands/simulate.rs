//! `qgate policy simulate`: what policy would say about an intent, and why. Nothing is kept.
//!
//! With `--policies` it works offline, with the reader and the engine of the gate and an empty
//! world: no window is open and no rate is used up.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use client::{Request, Shape, Verdict};
use gate::SubmitRequest;
use http_api::read_intent;
use ledger::Refusal;
use policy::{Context, Engine, OpenWindow, Subject, World};
use serde_json::{Map, Value, json};
use types::{AgentId, Digest, LogTime, NamespaceId, Outcome as Said, Reason, RuleSource};

use crate::cli::Global;
use crate::commands::policy::checked;
use crate::commands::{read_json, reasons};
use crate::failure::{Exit, Failure, Outcome};
use crate::output::{Column, Output, harmless, note};
use crate::policy_files::Sources;

const NOTE: &str = "simulated offline: nothing was stored; dedup windows, rate limits, the agent's \
                    own scope and the environment of a destination were not consulted";

const DECISION: &[Column] = &[
    ("decision", &["outcome"]),
    ("status", &["status"]),
    ("approvals", &["required_approvals"]),
    ("records", &["record_count"]),
];

/// Show what policy would say about an intent; nothing is kept.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    qgate policy simulate intent.json --policies policies     offline\n  \
    qgate policy simulate intent.json                         with the policies in force")]
pub(crate) struct SimulateArgs {
    /// JSON file with the intent, or - for standard input, e.g. intent.json
    #[arg(value_name = "INTENT.json")]
    intent: PathBuf,
    /// Judge with this directory, offline, instead of the policies in force, e.g. policies
    #[arg(long, value_name = "DIR")]
    policies: Option<PathBuf>,
    /// Exit with 10 if it would be held, 11 if blocked; duplicates are not looked for
    #[arg(long)]
    exit_decision: bool,
}

/// Runs `qgate policy simulate`.
pub(crate) async fn run(global: &Global, args: SimulateArgs) -> Outcome {
    let Value::Object(intent) = read_json(&args.intent)? else {
        return Err(Failure::usage(format!("{}: no JSON object", args.intent.display()))
            .next("write it as `qgate intent submit` takes it"));
    };
    let body = match &args.policies {
        Some(directory) => judge(&Sources::of_directory(directory)?, intent)?,
        None => {
            let request = Request::post(&["v1", "policies", "simulate"], &Value::Object(intent));
            let request = request.expecting(&[("outcome", Shape::Text), ("status", Shape::Text)]);
            global.client()?.send(request).await?.body
        }
    };
    print(global.output(), &body);
    let said = body.get("outcome").and_then(Value::as_str).unwrap_or_default();
    exit_of(said, args.exit_decision)
}

fn exit_of(said: &str, exit_decision: bool) -> Outcome {
    let verdict = match said {
        "allow" => Verdict::Allowed,
        "hold" => Verdict::Held,
        "block" => Verdict::Blocked,
        "duplicate" => Verdict::Duplicate,
        other => {
            let what = format!("the gate answered with an outcome that is not known: {other:?}");
            return Err(Failure::refused(what).next("use the qgate of the gate's own version"));
        }
    };
    Ok(Exit::of_verdict(verdict, exit_decision))
}

fn print(output: Output, body: &Value) {
    output.fields(body, DECISION);
    reasons(output, body);
    if let Some(text) = body.get("note").and_then(Value::as_str).filter(|_| !output.is_json()) {
        note(&harmless(text));
    }
}

/// Judges an intent with policies from disk.
fn judge(sources: &Sources, intent: Map<String, Value>) -> Result<Value, Failure> {
    let request = read_intent(intent)
        .map_err(|what| Failure::usage(what).next("write it as `qgate intent submit` takes it"))?;
    let engine = Engine::new(Arc::new(checked(sources)?.set), 1);
    let SubmitRequest { mut proposal, payload, metadata, .. } = request;
    proposal.payload_kind = payload.kind();
    proposal.payload_digest = payload.digest();
    proposal.payload_type = payload.payload_type();
    proposal.metadata = metadata.as_ref().map(::policy::json::canonical);
    let facts = engine.facts(&Subject {
        namespace: NamespaceId::DEFAULT,
        proposal: &proposal,
        payload: &payload,
        metadata: metadata.as_ref(),
    });
    if let Some(fault) = facts.profile_fault {
        return Err(Failure::refused(Refusal::Profile(fault).to_string()));
    }
    let context = Context { now: LogTime(0), agent: AgentId(0) };
    let Ok(judgement) = ::policy::judge(&facts, engine.set(), &context, &EmptyWorld);
    let status = match judgement.outcome {
        Said::Allow => "approved",
        Said::Hold => "pending_approval",
        Said::Duplicate => "duplicate_blocked",
        Said::Block => "blocked",
    };
    Ok(json!({
        "outcome": judgement.outcome.name(),
        "status": status,
        "required_approvals":
            if judgement.outcome == Said::Hold { judgement.approvals.count } else { 0 },
        "record_count": facts.count(),
        "covered": facts.covered,
        "reasons": judgement.reasons.iter().map(reason).collect::<Vec<_>>(),
        "not_consulted": ["windows", "rates", "agent_scope", "destinations"],
        "note": NOTE,
    }))
}

/// Nothing was ever submitted.
struct EmptyWorld;

impl World for EmptyWorld {
    type Error = Infallible;

    fn nth_last_submit(&self, _: u64) -> Result<Option<LogTime>, Infallible> {
        Ok(None)
    }

    fn window(&self, _: &Digest) -> Result<Option<OpenWindow>, Infallible> {
        Ok(None)
    }
}

/// A reason in the shape of the API.
fn reason(reason: &Reason) -> Value {
    let mut body = Map::new();
    match &reason.source {
        RuleSource::Gate(name) => body.insert("gate".into(), name.as_str().into()),
        RuleSource::Policy(id) => body.insert("policy".into(), id.as_str().into()),
        RuleSource::Default => body.insert("policy".into(), "default_policy".into()),
        RuleSource::System => None,
    };
    body.insert("rule".into(), reason.rule.as_str().into());
    body.insert("outcome".into(), reason.outcome.name().into());
    body.insert("message".into(), reason.message.as_str().into());
    if reason.place.line > 0 {
        body.insert("file".into(), reason.place.file.as_str().into());
        body.insert("line".into(), reason.place.line.into());
    }
    let hits = reason.hits.iter().map(|hit| json!({"path": hit.path, "excerpt": hit.excerpt}));
    body.insert("hits".into(), hits.collect());
    body.insert("hits_total".into(), reason.hits_total.into());
    Value::Object(body)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/incident").join(name)
    }

    fn judged(intent: &str) -> Value {
        let sources = Sources::of_paths(&[fixture("gates.yaml")]).unwrap();
        let Value::Object(intent) = read_json(&fixture(intent)).unwrap() else { panic!() };
        judge(&sources[0], intent).unwrap()
    }

    #[test]
    fn the_incidents_are_judged_offline() {
        let cases = [
            ("bulk-overwrite.json", "hold", 847, "crm-enrichment-guard require_approval_over"),
            ("duplicate-call.json", "allow", 1, "- -"),
            (
                "broken-template.json",
                "hold",
                312,
                "email-template-guard require_approval_if_template_error",
            ),
        ];
        for (file, outcome, records, by) in cases {
            let body = judged(file);
            assert_eq!(body["outcome"], outcome, "{file}: {body}");
            assert_eq!(body["record_count"], records, "{file}");
            let first = |name: &str| body["reasons"][0][name].as_str().unwrap_or("-");
            assert_eq!(format!("{} {}", first("gate"), first("rule")), by, "{file}");
        }
    }

    #[test]
    fn an_uncovered_resource_is_held_and_no_resource_is_a_usage_error() {
        let sources = Sources::of_paths(&[fixture("gates.yaml")]).unwrap();
        let intent = |value: Value| value.as_object().cloned().unwrap();
        let body = judge(&sources[0], intent(json!({"resource": "unknown"}))).unwrap();
        assert_eq!((&body["outcome"], &body["covered"]), (&json!("hold"), &json!(false)));
        let failure = judge(&sources[0], intent(json!({"payload": 1}))).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        for name in ["recordCount", "record_count", "estimated_records"] {
            let ask = json!({"resource": "crm.contacts", "trigger": "write", name: 847});
            let body = judge(&sources[0], intent(ask)).unwrap();
            assert_eq!((&body["outcome"], &body["record_count"]), (&json!("hold"), &json!(847)));
            assert!(body["note"].as_str().unwrap().contains("dedup windows"));
        }
    }

    #[test]
    #[rustfmt::skip]
    fn what_the_gate_refuses_is_refused_offline_by_its_field() {
        let sources = Sources::of_paths(&[fixture("gates.yaml")]).unwrap();
        let cases = [
            (json!({"recordCount": 1, "record_count": 2}),   "$.record_count: says something else"),
            (json!({"record_count": -1}),                    "$.record_count: expected a whole"),
            (json!({"recordCout": 900}),                     "did you mean `recordCount`?"),
            (json!({"metadata": "none"}),                    "$.metadata: expected an object"),
            (json!({"trigger": 7}),                          "$.trigger: expected a string"),
            (json!({"approval_provider": "sms"}),            "$.approval_provider: no provider"),
            (json!({"assurance": {"required_factors": ["otp"]}}), "$.assurance.required_factors"),
            (json!({"sensitivity_tags": "pii"}),             "$.sensitivity_tags: expected a list"),
        ];
        for (more, expected) in cases {
            let mut ask = json!({"resource": "crm.contacts"}).as_object().cloned().unwrap();
            ask.extend(more.as_object().cloned().unwrap());
            let failure = judge(&sources[0], ask).unwrap_err();
            assert_eq!(failure.exit, Exit::Usage, "{more}");
            assert!(failure.what.contains(expected), "{more}: {}", failure.what);
        }
    }

    #[test]
    fn a_profile_is_checked_as_the_gate_checks_it() {
        let sources = Sources::of_paths(&[fixture("gates.yaml")]).unwrap();
        let intent = |metadata: Value| {
            let body = json!({
                "resource": "crm.contacts", "trigger": "write", "profile": "crm.import.v1",
                "payload": {"id": 1}, "metadata": metadata,
            });
            body.as_object().cloned().unwrap()
        };
        let failure = judge(&sources[0], intent(json!({"object_type": "lead"}))).unwrap_err();
        assert_eq!(failure.exit, Exit::Refused);
        assert!(failure.what.contains("metadata.record_count"), "{}", failure.what);
        let fits = intent(json!({"object_type": "lead", "record_count": 1}));
        assert_eq!(judge(&sources[0], fits).unwrap()["outcome"], "allow");
    }

    #[test]
    fn decisions_become_exit_codes_only_when_asked() {
        for (said, code) in [("allow", 0), ("hold", 10), ("block", 11), ("duplicate", 12)] {
            assert_eq!(exit_of(said, true).unwrap() as u8, code);
            assert_eq!(exit_of(said, false).unwrap() as u8, 0);
        }
        assert!(exit_of("maybe", false).is_err());
    }
}
