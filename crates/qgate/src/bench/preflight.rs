//! Before the load: who answers, and what becomes of such an intent.
//!
//! A bench writes real intents into a real log. Promise: what the gate would do with them besides
//! is asked first, while nothing is stored yet.

use client::{Client, Endpoint, Error, Request, Shape, Verdict};
use serde_json::{Value, json};

use crate::bench::load::Load;
use crate::bench::tally::Tally;
use crate::cli::Global;
use crate::failure::Failure;

/// A node as it answered, or that it did not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) endpoint: String,
    /// Nothing if it did not answer.
    pub(crate) version: Option<String>,
    /// Nothing if this key may not read the cluster.
    pub(crate) id: Option<u64>,
}

/// What this key may see of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cluster {
    pub(crate) id: String,
    pub(crate) leader: Option<u64>,
    pub(crate) term: u64,
    pub(crate) voters: usize,
    pub(crate) learners: usize,
}

/// Asks each endpoint who it is, and the first that tells about the cluster.
///
/// # Errors
/// If none answers, or something answers that is no gate.
pub(crate) async fn look(
    global: &Global,
    endpoints: &[Endpoint],
) -> Result<(Vec<Node>, Option<Cluster>), Failure> {
    let (mut nodes, mut cluster, mut silent) = (Vec::new(), None, None);
    for endpoint in endpoints {
        let client = global.client_of(vec![endpoint.clone()])?;
        let health = Request::get(&["health"]).anonymous();
        let mut node = Node { endpoint: endpoint.to_string(), version: None, id: None };
        match client.send(health.expecting(&[("version", Shape::Text)])).await {
            Ok(answer) => {
                node.version = answer.text("version").map(str::to_owned);
                let seen = cluster_of(&client).await?;
                node.id = seen.as_ref().and_then(|body| body["node_id"].as_u64());
                cluster = cluster.or_else(|| seen.as_ref().and_then(Cluster::of));
            }
            Err(error @ (Error::Unreachable(_) | Error::NoQuorum(_))) => silent = Some(error),
            Err(error) => return Err(error.into()),
        }
        nodes.push(node);
    }
    match silent {
        Some(error) if nodes.iter().all(|node| node.version.is_none()) => Err(error.into()),
        _ => Ok((nodes, cluster)),
    }
}

/// The cluster as a node knows it, if this key may read it.
async fn cluster_of(client: &Client) -> Result<Option<Value>, Failure> {
    match client.send(Request::get(&["v1", "cluster"])).await {
        Ok(answer) => Ok(Some(answer.body)),
        // Whether the key is good at all shows when it asks about an intent.
        Err(Error::Refused(refusal)) if matches!(refusal.status, 401 | 403) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

impl Cluster {
    fn of(body: &Value) -> Option<Self> {
        let nodes = body["nodes"].as_array()?;
        let with = |role: &str| nodes.iter().filter(|node| node["role"] == role).count();
        Some(Self {
            id: body["cluster_id"].as_str()?.to_owned(),
            leader: body["leader_id"].as_u64(),
            term: body["term"].as_u64()?,
            voters: with("voter"),
            learners: with("learner"),
        })
    }

    /// For programs.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "cluster_id": self.id,
            "leader_id": self.leader,
            "term": self.term,
            "voters": self.voters,
            "learners": self.learners,
        })
    }
}

/// What speaks against a load of such intents, by policies and destinations; nothing is stored.
///
/// # Errors
/// If the gate refuses such an intent.
pub(crate) async fn concerns(client: &Client, intent: &str) -> Result<Vec<String>, Failure> {
    let request = Request::new(client::Method::Post, &["v1", "policies", "simulate"]);
    let request = request
        .json_text(intent.to_owned())
        .expecting(&[("status", Shape::Text), ("carried_out", Shape::Any)]);
    let body = client.send(request).await?.body;
    let verdict = body["status"].as_str().and_then(Verdict::of_status);
    let mut found: Vec<String> = objection(verdict).map(str::to_owned).into_iter().collect();
    found.extend(effect(&body["carried_out"]));
    Ok(found)
}

/// What a decision means for a load of such intents.
fn objection(verdict: Option<Verdict>) -> Option<&'static str> {
    match verdict {
        Some(Verdict::Allowed) => None,
        Some(Verdict::Held) => Some("the policies hold it: each would wait for people"),
        Some(Verdict::Blocked) => Some("the policies block it: only refusals would be measured"),
        Some(Verdict::Duplicate) => Some("it is a duplicate: only refusals would be measured"),
        None => Some("the gate answers with a decision that this build does not know"),
    }
}

/// What a destination means for it; one that waits to be asked does nothing.
fn effect(carried_out: &Value) -> Option<String> {
    let kind = carried_out["kind"].as_str()?;
    if carried_out["execute"] == "on_request" {
        return None;
    }
    Some(match kind {
        "worker" => "its destination is worked by workers: each would be an order".to_owned(),
        kind => format!("its destination ({kind}) carries out what is allowed: each is a call"),
    })
}

/// Sends the first intents, one after the other: one that is a repeat by intention, else two, since
/// the second shows whether they differ where the policies look. Gives how many were sent, and
/// what speaks against going on.
///
/// # Errors
/// If one is refused.
pub(crate) async fn probe(
    load: &Load,
    tally: &mut Tally,
    repeats: bool,
) -> Result<(u64, Option<&'static str>), Failure> {
    let probes = if repeats { 1 } else { 2 };
    let Some(client) = load.clients.first() else { return Ok((0, None)) };
    for number in 0..probes {
        let answer = load.send(client, number).await;
        tally.add(&answer, None);
        let verdict = answer?.verdict;
        let concern = match (verdict, number) {
            (Verdict::Duplicate, _) if repeats => None,
            (Verdict::Duplicate, 1) => Some(
                "the second is a duplicate of the first: they do not differ where the policies \
                 look",
            ),
            (verdict, _) => objection(Some(verdict)),
        };
        if let Some(concern) = concern {
            return Ok((number + 1, Some(concern)));
        }
    }
    Ok((probes, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[rustfmt::skip]
    fn destinations_that_act_by_themselves_speak_against_a_load() {
        let cases = [
            (json!(null),                                          None),
            (json!({"kind": "http", "execute": "on_request"}),     None),
            (json!({"kind": "http", "execute": "on_approval"}),    Some("each is a call")),
            (json!({"kind": "worker", "execute": null}),           Some("each would be an order")),
            (json!({"kind": "smtp"}),                              Some("(smtp)")),
        ];
        for (carried_out, expected) in cases {
            let said = effect(&carried_out);
            assert_eq!(said.is_some(), expected.is_some(), "{carried_out}: {said:?}");
            let said = said.unwrap_or_default();
            assert!(said.contains(expected.unwrap_or_default()), "{carried_out}: {said}");
        }
    }

    #[test]
    fn the_cluster_is_read_as_far_as_it_is_told() {
        let body = json!({
            "cluster_id": "c1", "node_id": 2, "leader_id": null, "term": 7,
            "nodes": [{"role": "voter"}, {"role": "voter"}, {"role": "learner"}],
        });
        let found = Cluster::of(&body).unwrap();
        assert_eq!((found.voters, found.learners, found.leader, found.term), (2, 1, None, 7));
        assert_eq!(Cluster::of(&json!({"ok": true})), None);
    }
}
