//! A new node asks to be taken in, and the leader takes it in.
//!
//! Promise: asked twice it is taken in once; a node that lost its data is never taken for the one
//! that it was. Invariant: a new node learns first and votes for nothing that it does not have.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use gate::join_token;
use gate::log::{ProposeError, Reach};
use ledger::{ChangeCluster, Command, Envelope, NewNode, query};
use openraft::ChangeMembers;
use openraft::async_runtime::watch::WatchReceiver as _;
use tonic::{Code, Status};
use types::codec::encode;
use types::{NamespaceId, NodeId};
use wire::peer::join_reply::Reply;
use wire::peer::{JoinReply, JoinRequest, Joined, Leader};

use crate::members;
use crate::node::Core;
use crate::peers::{At, Purpose};
use crate::raft::NodeAddress;
use crate::route::Route;

/// The rest between two requests.
const REST: Duration = Duration::from_millis(200);
/// A node that was taken in hears of it within this time, unless the leader was lost meanwhile or
/// it needs a snapshot first; then it asks again, which changes nothing if it is in.
const HEARD_WITHIN: Duration = Duration::from_secs(5);
/// The rest before the others are told again of what changed.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// How long one request may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// What the log says once.
const TAKEN_IN: &str = "taken in; catching up";

/// How a node comes into a cluster that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinPlan {
    /// Which one.
    pub cluster_id: String,
    /// Nodes that may be asked, by id, with their addresses for peers.
    pub ask: BTreeMap<u64, String>,
    /// Signed by the cluster.
    pub token: String,
}

/// Asks until this node belongs to the cluster. Stops the node if it is refused. One that was part
/// of a cluster before asks only if it does not find itself there.
pub(crate) async fn run(core: Arc<Core>, plan: JoinPlan, was_there: bool) {
    let mut told = String::new();
    let mut first = None;
    if was_there && core.is_member_within(HEARD_WITHIN).await {
        return;
    }
    loop {
        let own = core.config.node.0;
        let hint: Option<(u64, String)> = first.take();
        let listed = plan.ask.iter().map(|(node, peer)| (*node, peer.clone()));
        for (node, peer) in hint.into_iter().chain(listed).filter(|(node, _)| *node != own) {
            match ask(&core, node, &peer, &plan.token).await {
                Ok(Reply::Joined(Joined {})) => {
                    if told != TAKEN_IN {
                        tracing::info!(asked = node, "{TAKEN_IN}");
                        TAKEN_IN.clone_into(&mut told);
                    }
                    // Only what is committed says so: what a leader took in may be lost with it.
                    if core.is_member_within(HEARD_WITHIN).await {
                        return;
                    }
                    break;
                }
                Ok(Reply::Ask(Leader { node, peer })) => {
                    first = Some((node, peer));
                    break;
                }
                Err(status) if is_final(status.code()) => {
                    let why = format!("the cluster does not take it in: {}", status.message());
                    return core.fail(why);
                }
                Err(status) => {
                    let text = format!("node {node} at {peer}: {}", status.message());
                    if told != text {
                        tracing::warn!(why = text, "not taken in yet; asking on");
                        told = text;
                    }
                }
            }
        }
        if core.is_member_within(REST).await {
            return;
        }
    }
}

/// Where the configuration of a member says otherwise than the others know, of how it is reached,
/// where it is and whether it should lead, tells them, until they know.
pub(crate) async fn keep_known(core: Arc<Core>) {
    let own = core.config.node.0;
    let mut told = false;
    loop {
        let known = core.address_of(own);
        if known.as_ref().is_some_and(|known| is_as_known(known, &core.config.address)) {
            return;
        }
        // Before it is a member it joins, with all that it says.
        if known.is_some() && !tell(&core).await && !told {
            tracing::warn!("the others do not know the new address, region or priority yet");
            told = true;
        }
        tokio::time::sleep(TELL_EVERY).await;
    }
}

/// What a change of configuration may change. A node with other data is none of ours to tell of.
fn is_as_known(known: &NodeAddress, own: &NodeAddress) -> bool {
    let same = NodeAddress { shall_vote: known.shall_vote, ..own.clone() };
    known.incarnation != own.incarnation || *known == same
}

/// Tells the leader, whoever that is: those who dial an old address are not heard. Says whether it
/// took it in.
async fn tell(core: &Core) -> bool {
    if core.route.now().is_some_and(Route::is_here) {
        return take_in(core, core.config.node.0, request(core, "")).await.is_ok();
    }
    for (node, peer) in core.others() {
        if matches!(ask(core, node, &peer, "").await, Ok(Reply::Joined(Joined {}))) {
            return true;
        }
    }
    false
}

/// Another answer will not come.
fn is_final(code: Code) -> bool {
    matches!(code, Code::PermissionDenied | Code::AlreadyExists | Code::InvalidArgument)
}

async fn ask(core: &Core, node: u64, peer: &str, token: &str) -> Result<Reply, Status> {
    let at = At { node, address: peer, data: None };
    let mut client = core.peers.client(at, Purpose::Urgent)?;
    let asking = client.join(request(core, token));
    let late = |_| Status::deadline_exceeded("no answer in time");
    let reply = tokio::time::timeout(ANSWER_WITHIN, asking).await.map_err(late)??;
    reply.into_inner().reply.ok_or_else(|| Status::internal("an empty answer"))
}

/// What this node says of itself.
fn request(core: &Core, token: &str) -> JoinRequest {
    let NodeAddress { http, peer, region, priority, incarnation, .. } = core.config.address.clone();
    let (incarnation, token) = (incarnation.to_vec().into(), token.to_owned());
    JoinRequest { incarnation, http, peer, region, priority, token }
}

/// Takes a node in, if this one leads.
pub(crate) async fn take_in(
    core: &Core,
    node: u64,
    request: JoinRequest,
) -> Result<JoinReply, Status> {
    let route = core.route.now().ok_or_else(|| Status::unavailable("no leader is known"))?;
    if !route.is_here() {
        return Ok(JoinReply { reply: Some(Reply::Ask(leader_of(core, route)?)) });
    }
    let now = core.leader_time().ok_or_else(|| Status::unavailable("no leader is known"))?;
    let incarnation = request.incarnation.as_ref().try_into();
    let incarnation: [u8; 16] =
        incarnation.map_err(|_| Status::invalid_argument("no incarnation"))?;
    // Who is in needs no token any more.
    let is_in = core.address_of(node).is_some_and(|known| known.incarnation == incarnation);
    if !is_in {
        join_token::check(&core.config.data_key, &core.cluster_id, &request.token, now)
            .map_err(|error| Status::permission_denied(error.to_string()))?;
    }
    let JoinRequest { http, peer, region, priority, .. } = request;
    let wanted = NodeAddress { http, peer, region, priority, incarnation, shall_vote: true };
    let _one = core.changing.lock().await;
    match core.address_of(node) {
        Some(known) if known.incarnation != incarnation => {
            return Err(Status::already_exists(format!(
                "node {node} is a member with other data; a node that lost its data is removed \
                 and joins under a new id"
            )));
        }
        Some(known) => {
            let wanted = NodeAddress { shall_vote: known.shall_vote, ..wanted };
            if known != wanted {
                let nodes = BTreeMap::from([(node, wanted)]);
                members::apply(core, ChangeMembers::SetNodes(nodes)).await?;
            }
        }
        None => {
            core.must_be_made()?;
            core.admit(node, incarnation).await?;
            tracing::info!(node, "takes part as a learner now");
            let nodes = BTreeMap::from([(node, wanted)]);
            members::apply(core, ChangeMembers::AddNodes(nodes)).await?;
        }
    }
    Ok(JoinReply { reply: Some(Reply::Joined(Joined {})) })
}

fn leader_of(core: &Core, route: Route) -> Result<Leader, Status> {
    let address = core.address_of(route.leader);
    let NodeAddress { peer, .. } =
        address.ok_or_else(|| Status::unavailable("no leader is known"))?;
    Ok(Leader { node: route.leader, peer })
}

impl Core {
    /// The membership that is in force here, or becomes so.
    pub(crate) fn voters(&self) -> Vec<u64> {
        let metrics = self.metrics.borrow_watched();
        metrics.membership_config.membership().voter_ids().collect()
    }

    /// The other members with their addresses for peers.
    fn others(&self) -> Vec<(u64, String)> {
        let metrics = self.metrics.borrow_watched();
        let all = metrics.membership_config.membership().nodes();
        let others = all.filter(|(node, _)| **node != self.config.node.0);
        others.map(|(node, address)| (*node, address.peer.clone())).collect()
    }
}

impl Core {
    /// Waits so long until the membership has this node and cannot lose it any more.
    async fn is_member_within(&self, wait: Duration) -> bool {
        let own = self.config.node.0;
        let mut metrics = self.raft.metrics();
        let is_in = metrics.wait_until(|metrics| {
            metrics.committed_membership_config.membership().get_node(&own).is_some()
        });
        tokio::time::timeout(wait, is_in).await.is_ok_and(|seen| seen.is_ok())
    }

    /// What made the cluster stands first in the audit trail.
    fn must_be_made(&self) -> Result<(), Status> {
        let failed = |error: &dyn std::fmt::Display| Status::unavailable(error.to_string());
        let made = self.state.with_view(|view, _| query::cluster(view));
        match made.map_err(|error| failed(&error))?.map_err(|error| failed(&error))? {
            Some(_) => Ok(()),
            None => Err(Status::unavailable("the cluster is not made yet; ask again")),
        }
    }

    /// Has the ledger keep who comes: an id is never used twice. Asked twice it keeps it once.
    async fn admit(&self, node: u64, incarnation: [u8; 16]) -> Result<(), Status> {
        let admit = ChangeCluster::Admit(NewNode { id: NodeId(node), incarnation });
        let envelope = Envelope {
            request: gate::ids::random(),
            credential: None,
            namespace: NamespaceId::DEFAULT,
            request_key: None,
            command: Command::ChangeCluster(admit),
        };
        let later = |error: ProposeError| Status::unavailable(error.to_string());
        let answer = self.queue.push(encode(&envelope), Reach::Leader).map_err(later)?;
        let answer = tokio::time::timeout(ANSWER_WITHIN, answer).await;
        let committed = match answer {
            Ok(Ok(committed)) => committed.map_err(later)?,
            Ok(Err(_)) | Err(_) => return Err(later(ProposeError::Unknown)),
        };
        match committed.reply {
            ledger::Reply::Done => Ok(()),
            ledger::Reply::Refused(refusal) => Err(Status::already_exists(refusal.to_string())),
            other => Err(Status::internal(format!("an answer of another command: {other:?}"))),
        }
    }
}
