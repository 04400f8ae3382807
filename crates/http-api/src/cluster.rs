//! The cluster as this node knows it, without asking anybody: answers without a quorum too.

use gate::log::{HandOver, Member, ReadPoint, Seen, Status, Warning};
use serde_json::{Value, json};
use types::{NamespaceId, NodeId, Role};

use crate::answer::Answer;
use crate::call::Authed;
use crate::problem::Problem;

/// `GET /v1/cluster`.
pub(crate) async fn show(call: Authed) -> Result<Answer, Problem> {
    let role = call.caller.agent.role;
    // No fresh read here: this route is for the times without a quorum.
    let may = matches!(role, Role::Operator | Role::Admin | Role::Auditor);
    if !may || call.namespace() != NamespaceId::DEFAULT {
        let message = "reading the cluster needs a key of role operator, auditor or admin of \
                       namespace default";
        return Err(Problem::forbidden(message));
    }
    let status = call.app.gate.log().status();
    let nodes: Vec<Value> = status.members.iter().map(|member| node(&status, member)).collect();
    Ok(Answer::ok(&json!({
        "cluster_id": status.cluster_id,
        "node_id": status.node.0,
        "leader_id": status.leader.map(|NodeId(leader)| leader),
        "term": status.term,
        "committed_index": status.committed.0,
        "applied_index": status.applied.0,
        "changing": status.changing,
        "profile": status.profile,
        "nodes": nodes,
        "lead_given_away": status.given_away.as_ref().map(given_away),
        "warnings": status.warnings.iter().map(warning).collect::<Vec<_>>(),
    }))
    .at(ReadPoint { index: status.applied, term: status.term }))
}

fn node(status: &Status, member: &Member) -> Value {
    let is_own = member.node == status.node;
    let far = member.seen.as_ref();
    // Of a node that does not answer nothing is known: null says so.
    let seen = if is_own { status.own.as_ref() } else { far };
    let healthy = if is_own { Some(status.healthy) } else { far.map(|seen| seen.healthy) };
    let micros = |seen: &Seen| u64::try_from(seen.round_trip.as_micros()).ok();
    json!({
        "id": member.node.0,
        "role": if member.voter { "voter" } else { "learner" },
        "region": member.region,
        "priority": member.priority,
        "http": member.http,
        "peer": member.peer,
        "matched_index": member.matched.map(|index| index.0),
        "healthy": healthy,
        "applied_index": seen.map(|seen| seen.applied.0),
        // Behind the newest entry that is known here; what was heard is a moment old.
        "lag": seen.map(|seen| newest(status).saturating_sub(seen.applied.0)),
        "round_trip_us": far.and_then(micros),
        "clock_offset_us": far.map(|seen| seen.clock_offset_us),
        "disk_free_bytes": seen.map(|seen| seen.disk_free_bytes),
        "disk_size_bytes": seen.map(|seen| seen.disk_size_bytes),
        "disk_full": seen.map(|seen| !seen.has_room),
        "disk_slow": seen.map(|seen| seen.slow_disk),
        "sync_us": seen.and_then(|seen| seen.sync_us),
        "profile": seen.and_then(|seen| seen.profile),
        "feature_level": seen.map(|seen| seen.feature_level),
    })
}

/// The newest entry that is committed, as far as this node knows, or applied by somebody.
fn newest(status: &Status) -> u64 {
    let seen = status.members.iter().filter_map(|member| member.seen.as_ref());
    let applied = seen.map(|seen| seen.applied.0).max().unwrap_or(0);
    applied.max(status.committed.0).max(status.applied.0)
}

fn given_away(over: &HandOver) -> Value {
    let to = over.to.map(|NodeId(node)| node);
    json!({ "why": over.why, "to": to, "seconds_ago": over.ago.as_secs() })
}

fn warning(warning: &Warning) -> Value {
    json!({
        "code": warning.code,
        "level": if warning.is_only_advice { "info" } else { "warning" },
        "node": warning.node.map(|NodeId(node)| node),
        "message": warning.message,
    })
}
