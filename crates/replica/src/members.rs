//! Who votes and who leads: what an operator asks for, and what the leader sees to by itself.
//!
//! Promise: a change is answered when it is so; one change at a time. Invariant: a node votes only
//! once it has nearly everything, and leadership goes only to a voter that has.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use gate::log::{Change, ChangeError};
use openraft::ChangeMembers;
use openraft::async_runtime::watch::WatchReceiver as _;
use openraft::errors::{ClientWriteError, RaftError};
use tonic::{Code, Status};
use types::{LogIndex, NodeId};
use wire::peer::ChangeRequest;
use wire::peer::change_request::Change as Wire;

use crate::hand_over::{end_handing_over, hand_over, transfer};
use crate::node::Core;
use crate::peers::{At, Purpose};
use crate::raft::NodeAddress;
use crate::route::Route;

/// How often the leader looks who could vote, or lead better.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// A node that is so many entries behind, or fewer, has caught up.
const BEHIND_MAX: u64 = 256;
/// How long a node may take to catch up when it is to be promoted now, or to lead.
const CATCH_UP_WITHIN: Duration = Duration::from_secs(10);
/// A voter that should lead has to be up to date for so many looks before it does.
const LOOKS_STEADY: u32 = 10;
/// After a transfer the next waits so long, and twice as long after each that came to nothing.
const PLACE_REST_MIN: Duration = Duration::from_secs(10);
const PLACE_REST_MAX: Duration = Duration::from_secs(600);
/// How long the leader may take to answer a change that was passed on.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

type Members = ChangeMembers<u64, NodeAddress>;

pub(crate) fn refused(what: impl Into<String>) -> ChangeError {
    ChangeError::Refused(what.into())
}

/// Makes a change, on this node if it leads, else on the one that does.
pub(crate) async fn change(core: &Core, change: Change) -> Result<LogIndex, ChangeError> {
    let target = match change {
        Change::Demote(node) | Change::Remove(node) => Some(node.0),
        Change::Promote(_) | Change::TransferLeader(_) => None,
    };
    let ends = Instant::now() + core.config.leader_wait;
    loop {
        let Some(route) = core.route.now() else {
            if Instant::now() > ends {
                return Err(ChangeError::NoLeader);
            }
            tokio::time::sleep(LOOK_EVERY).await;
            continue;
        };
        // A leader that is to go makes room first; the next one sees to the rest.
        let makes_room = target == Some(route.leader) && core.voters().len() > 1;
        let step = if makes_room { Change::TransferLeader(None) } else { change };
        match at(core, route, step).await {
            Ok(_) if makes_room => {}
            Ok(index) => return Ok(index),
            Err(NotMade::Because(error)) => return Err(error),
            // It led a moment ago: who leads now is asked.
            Err(NotMade::LeadsNot) if Instant::now() > ends => return Err(ChangeError::NoLeader),
            Err(NotMade::LeadsNot) => tokio::time::sleep(LOOK_EVERY).await,
        }
    }
}

/// Lets another voter lead if this node does.
pub(crate) async fn make_room(core: &Core) -> Result<(), ChangeError> {
    match change_here(core, Change::TransferLeader(None)).await {
        Ok(_) | Err(NotMade::LeadsNot) => Ok(()),
        Err(NotMade::Because(error)) => Err(error),
    }
}

/// Why a change was not made where it was asked for.
enum NotMade {
    /// That node does not lead, and did nothing: another one may be asked.
    LeadsNot,
    /// What is to be said.
    Because(ChangeError),
}

impl From<ChangeError> for NotMade {
    fn from(error: ChangeError) -> Self {
        Self::Because(error)
    }
}

async fn at(core: &Core, route: Route, change: Change) -> Result<LogIndex, NotMade> {
    if route.is_here() {
        return change_here(core, change).await;
    }
    let address = core.address_of(route.leader).ok_or(ChangeError::NoLeader)?;
    let client = core.peers.client(At::member(route.leader, &address), Purpose::Urgent);
    let mut client = client.map_err(|status| refused(status.message()))?;
    let wire = match change {
        Change::Promote(node) => Wire::Promote(node.0),
        Change::Demote(node) => Wire::Demote(node.0),
        Change::Remove(node) => Wire::Remove(node.0),
        Change::TransferLeader(node) => Wire::TransferLeader(node.map_or(0, |node| node.0)),
    };
    let asked = client.change(ChangeRequest { change: Some(wire) });
    match tokio::time::timeout(ANSWER_WITHIN, asked).await {
        Ok(Ok(reply)) => Ok(LogIndex(reply.into_inner().index)),
        Ok(Err(status)) if status.code() == Code::FailedPrecondition => {
            Err(refused(status.message()).into())
        }
        // Nothing of it was begun, or it did not even arrive.
        Ok(Err(status)) if status.code() == Code::Aborted || was_not_sent(&status) => {
            Err(NotMade::LeadsNot)
        }
        Ok(Err(status)) => Err(ChangeError::Unknown(status.message().to_owned()).into()),
        Err(_) => Err(ChangeError::Unknown("the leader did not answer in time".into()).into()),
    }
}

/// There was no connection on which it could have gone.
fn was_not_sent(status: &Status) -> bool {
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        if error.is::<tonic::ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// A change that another node passes on to this one, which leads.
pub(crate) async fn passed_on(core: &Core, request: ChangeRequest) -> Result<LogIndex, Status> {
    let node = |node: u64| NodeId(node);
    let change = match request.change {
        Some(Wire::Promote(id)) => Change::Promote(node(id)),
        Some(Wire::Demote(id)) => Change::Demote(node(id)),
        Some(Wire::Remove(id)) => Change::Remove(node(id)),
        Some(Wire::TransferLeader(0)) => Change::TransferLeader(None),
        Some(Wire::TransferLeader(id)) => Change::TransferLeader(Some(node(id))),
        None => return Err(Status::invalid_argument("no change")),
    };
    change_here(core, change).await.map_err(|error| match error {
        NotMade::LeadsNot => Status::aborted("this node does not lead"),
        NotMade::Because(ChangeError::Refused(what)) => Status::failed_precondition(what),
        NotMade::Because(other) => Status::unavailable(other.to_string()),
    })
}

async fn change_here(core: &Core, change: Change) -> Result<LogIndex, NotMade> {
    let _one = core.changing.lock().await;
    // The change before it may have been a transfer.
    if !core.route.now().is_some_and(Route::is_here) {
        return Err(NotMade::LeadsNot);
    }
    Ok(make(core, change).await?)
}

async fn make(core: &Core, change: Change) -> Result<LogIndex, ChangeError> {
    let unknown = |status: Status| match status.code() {
        Code::FailedPrecondition => refused(status.message()),
        _ => ChangeError::Unknown(status.message().to_owned()),
    };
    let member = |node: NodeId| {
        core.address_of(node.0).ok_or_else(|| refused(format!("node {node} is no member")))
    };
    match change {
        Change::Promote(node) => {
            let address = member(node)?;
            if core.voters().contains(&node.0) {
                return Ok(core.last_log());
            }
            wait_caught_up(core, node.0).await?;
            promote(core, node.0, address).await.map_err(unknown)
        }
        Change::Demote(node) => {
            let address = member(node)?;
            last_voter(core, node)?;
            demote(core, node, address).await.map_err(unknown)
        }
        Change::Remove(node) => {
            let address = member(node)?;
            last_voter(core, node)?;
            if core.voters().contains(&node.0) {
                demote(core, node, address).await.map_err(unknown)?;
            }
            let ids = BTreeSet::from([node.0]);
            apply(core, ChangeMembers::RemoveNodes(ids)).await.map_err(unknown)
        }
        Change::TransferLeader(to) => transfer(core, to.map(|node| node.0)).await,
    }
}

fn last_voter(core: &Core, node: NodeId) -> Result<(), ChangeError> {
    if core.voters() == [node.0] {
        return Err(refused(format!("node {node} is the only voter; promote another one first")));
    }
    Ok(())
}

async fn promote(core: &Core, node: u64, address: NodeAddress) -> Result<LogIndex, Status> {
    let address = NodeAddress { shall_vote: true, ..address };
    let steps = ChangeMembers::Batch(vec![
        ChangeMembers::SetNodes(BTreeMap::from([(node, address)])),
        ChangeMembers::AddVoterIds(BTreeSet::from([node])),
    ]);
    let index = apply(core, steps).await?;
    tracing::info!(node, "votes now");
    Ok(index)
}

/// In one step, or the leader would promote it again.
async fn demote(core: &Core, node: NodeId, address: NodeAddress) -> Result<LogIndex, Status> {
    let address = NodeAddress { shall_vote: false, ..address };
    let steps = ChangeMembers::Batch(vec![
        ChangeMembers::SetNodes(BTreeMap::from([(node.0, address)])),
        ChangeMembers::RemoveVoters(BTreeSet::from([node.0])),
    ]);
    apply(core, steps).await
}

/// Changes the membership and waits until that is committed.
pub(crate) async fn apply(core: &Core, change: Members) -> Result<LogIndex, Status> {
    match core.raft.change_membership(change, true).await {
        Ok(done) => Ok(LogIndex(done.log_id.index)),
        Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_))) => {
            Err(Status::unavailable("this node does not lead any more"))
        }
        Err(RaftError::APIError(error)) => Err(Status::failed_precondition(error.to_string())),
        Err(RaftError::Fatal(error)) => Err(Status::unavailable(error.to_string())),
    }
}

/// Other voters, the one first that should lead.
pub(crate) fn best(core: &Core) -> Vec<u64> {
    let mut voters = core.voters();
    voters.sort_by_key(|node| {
        let priority = core.address_of(*node).map_or(0, |address| address.priority);
        std::cmp::Reverse((priority, core.matched(*node)))
    });
    voters
}

pub(crate) async fn wait_caught_up(core: &Core, node: u64) -> Result<(), ChangeError> {
    let ends = Instant::now() + CATCH_UP_WITHIN;
    while !core.has_caught_up(node) {
        if Instant::now() > ends {
            let behind = core.last_log().0.saturating_sub(core.matched(node).unwrap_or(0));
            return Err(refused(format!(
                "node {node} is silent or {behind} entries behind; wait until it has caught up"
            )));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

impl Core {
    /// The last entry of the own log.
    pub(crate) fn last_log(&self) -> LogIndex {
        LogIndex(self.metrics.borrow_watched().last_log_index.unwrap_or(0))
    }

    /// Up to where a node's log is known to be that of this leader.
    fn matched(&self, node: u64) -> Option<u64> {
        let metrics = self.metrics.borrow_watched();
        metrics.replication.as_ref()?.get(&node)?.as_ref().map(|id| id.index)
    }

    pub(crate) fn has_caught_up(&self, node: u64) -> bool {
        // What a node had does not say that it is still there.
        let is_there = self.look.of(node).is_some_and(|seen| seen.healthy);
        let matched = self.matched(node).filter(|_| is_there);
        matched.is_some_and(|index| self.last_log().0.saturating_sub(index) <= BEHIND_MAX)
    }

    /// Its disk is fit for a leader's.
    fn has_good_disk(&self, node: u64) -> bool {
        self.look.of(node).is_some_and(|seen| seen.has_room && !seen.slow_disk)
    }
}

/// While this node leads: learners that have caught up vote, and the voter leads that should.
pub(crate) async fn run(core: Arc<Core>) {
    let mut stopping = core.stopping.subscribe();
    let mut place = Place::default();
    loop {
        tokio::select! {
            _ = stopping.wait_for(|stopping| *stopping) => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        end_handing_over(&core).await;
        if !core.route.now().is_some_and(Route::is_here) {
            place.steady = 0;
            continue;
        }
        // An operator's change goes first.
        let Ok(_one) = core.changing.try_lock() else { continue };
        finish_change(&core).await;
        promote_learners(&core).await;
        place.look(&core).await;
    }
}

/// Ends a change of the membership whose leader did not come to that.
async fn finish_change(core: &Core) {
    let is_open = {
        let metrics = core.metrics.borrow_watched();
        metrics.membership_config.membership().get_joint_config().len() > 1
    };
    if is_open && let Err(status) = apply(core, ChangeMembers::AddVoterIds(BTreeSet::new())).await {
        tracing::warn!(why = status.message(), "a change of the membership is not at its end yet");
    }
}

async fn promote_learners(core: &Core) {
    let voters = core.voters();
    let learners: Vec<(u64, NodeAddress)> = {
        let metrics = core.metrics.borrow_watched();
        let members = metrics.membership_config.membership();
        let nodes = members.nodes().map(|(id, node)| (*id, node.clone()));
        nodes.filter(|(id, node)| node.shall_vote && !voters.contains(id)).collect()
    };
    for (node, address) in learners {
        if core.has_caught_up(node)
            && let Err(status) = promote(core, node, address).await
        {
            tracing::warn!(node, why = status.message(), "a learner does not vote yet");
        }
    }
}

/// Sees to it that the voter with the highest priority leads, without going to and fro.
#[derive(Default)]
struct Place {
    steady: u32,
    rest: Option<(Instant, Duration)>,
}

impl Place {
    async fn look(&mut self, core: &Core) {
        let priority = |node: u64| core.address_of(node).map_or(0, |address| address.priority);
        let own = priority(core.config.node.0);
        // It does not go back to a node that gave it away for its disk's sake.
        let is_better = |node: &u64| priority(*node) > own && core.has_good_disk(*node);
        let better = best(core).into_iter().find(is_better);
        let Some(node) = better.filter(|node| core.is_ready_to_lead(*node)) else {
            self.steady = 0;
            return;
        };
        self.steady += 1;
        let is_resting = self.rest.is_some_and(|(from, rest)| from.elapsed() < rest);
        if self.steady < LOOKS_STEADY || is_resting {
            return;
        }
        self.steady = 0;
        let last = self.rest.map_or(PLACE_REST_MIN / 2, |(_, rest)| rest);
        self.rest = Some((Instant::now(), (last * 2).min(PLACE_REST_MAX)));
        tracing::info!(node, "should lead by its priority; handing over");
        match hand_over(core, node).await {
            // Who gets it may not keep it; that is not tried again at once either.
            Ok(()) => {}
            Err(error) => tracing::warn!(node, %error, "leadership stays here"),
        }
    }
}
