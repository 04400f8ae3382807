//! Is it alive, is it ready, how much has it done.

use std::time::Duration;

use axum::extract::State;
use axum::http::header::ACCESS_CONTROL_ALLOW_ORIGIN;
use axum::http::{HeaderValue, StatusCode};
use gate::log::Consistency;
use ledger::query;
use serde_json::{Map, Value, json};
use types::limits::READY_WAIT_MS_MAX;
use types::{LogIndex, Phase};

use crate::answer::Answer;
use crate::call::{Authed, Call};
use crate::problem::Problem;
use crate::state::App;

/// `GET /health`, in the shape of existing clients.
pub(crate) async fn health(State(app): State<App>) -> Answer {
    Answer::ok(&json!({
        "status": "ok",
        "service": "quorum-gate",
        "version": app.config.version,
        "proxy": { "enabled": false },
    }))
    .header(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"))
}

/// `GET /livez`: the process answers.
pub(crate) async fn live() -> Answer {
    Answer::ok(&json!({ "status": "ok" }))
}

/// `GET /readyz`: requests sent here will be answered. `?verbose` lists the checks.
pub(crate) async fn ready(call: Call) -> Result<Answer, Problem> {
    let verbose = match call.query("verbose")? {
        None | Some("false" | "0") => false,
        Some(_) => true,
    };
    let log = call.app.gate.log();
    let status = log.status();
    let limit = Duration::from_millis(READY_WAIT_MS_MAX);
    let fresh = log.read_point(Consistency::Linearizable, LogIndex(0));
    let fresh = tokio::time::timeout(limit, fresh).await.is_ok_and(|point| point.is_ok());
    let checks = [
        ("log_healthy", status.healthy, "the replicated log on this node works"),
        ("leader_known", status.leader.is_some(), "a leader is known"),
        ("read_index", fresh, "a majority confirmed a read index in time"),
    ];
    // Of what these say much goes on, and a node that is started again would say the same.
    let takes_new = log.has_room();
    let lesser = [
        ("takes_new", takes_new, "disks have room, so new intents are taken"),
        ("disk_has_room", status.has_room, "this node's disk is not full to its reserve or quota"),
    ];
    let passed = checks.iter().all(|(_, passed, _)| *passed);
    let mut body = json!({ "status": if passed { "ok" } else { "unavailable" } });
    let failed = lesser.iter().filter(|(_, passed, _)| !passed).map(|(name, _, _)| *name);
    let failed: Vec<&str> = failed.collect();
    if !failed.is_empty() {
        body["degraded"] = failed.into();
    }
    if verbose {
        let all = checks.iter().map(|check| (check, true));
        let all = all.chain(lesser.iter().map(|check| (check, false)));
        let listed = all.map(|((name, passed, means), required)| {
            json!({ "name": name, "ok": passed, "means": means, "required": required })
        });
        body["checks"] = listed.collect();
    }
    let status = if passed { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok(Answer::new(status, &body))
}

/// `GET /v1/metrics`: intents of the caller's namespace by what they are now, and how long people
/// took to allow them.
pub(crate) async fn metrics(call: Authed) -> Result<Answer, Problem> {
    let namespace = call.namespace();
    let read = call.read(|state, _, _| {
        let duplicates = query::duplicate_count(state, namespace)?;
        let waits = query::approval_waits(state, namespace)?;
        Ok((query::phase_counts(state, namespace)?, duplicates, waits))
    });
    let ((counts, duplicates, waits), point) = read.await?;
    let with_status = |status: &str| -> u64 {
        let counted = counts.iter().filter(|(phase, _)| phase.status() == status);
        counted.map(|(_, count)| count).sum()
    };
    let in_phase = |wanted: Phase| -> u64 {
        counts.iter().filter(|(phase, _)| *phase == wanted).map(|(_, count)| count).sum()
    };
    let phases: Map<String, Value> =
        counts.iter().map(|(phase, count)| (phase.name().to_owned(), json!(count))).collect();
    let all: u64 = counts.iter().map(|(_, count)| count).sum();
    let body = json!({
        "actions_attempted": all,
        "actions_blocked": with_status("blocked"),
        "actions_pending": with_status("pending_approval"),
        "actions_approved": with_status("approved"),
        "actions_scheduled": with_status("scheduled"),
        "actions_succeeded": with_status("succeeded"),
        "actions_failed": with_status("failed"),
        "actions_expired": with_status("expired"),
        "actions_in_doubt": with_status("in_doubt"),
        "duplicate_actions": duplicates,
        "policy_violations": in_phase(Phase::Blocked),
        "avg_approval_latency_ms": waits.average_ms(),
        "period": "all_time",
        "phases": phases,
    });
    Ok(Answer::ok(&body).at(point))
}
