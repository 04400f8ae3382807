//! The cluster as this node knows it, without asking anybody: answers without a quorum too.

use gate::log::{Member, ReadPoint, Status};
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
        "nodes": nodes,
    }))
    .at(ReadPoint { index: status.applied, term: status.term }))
}

fn node(status: &Status, member: &Member) -> Value {
    // How another node fares is not known here: null says so.
    let healthy = (member.node == status.node).then_some(status.healthy);
    json!({
        "id": member.node.0,
        "role": if member.voter { "voter" } else { "learner" },
        "region": member.region,
        "priority": member.priority,
        "http": member.http,
        "peer": member.peer,
        "matched_index": member.matched.map(|index| index.0),
        "healthy": healthy,
    })
}
