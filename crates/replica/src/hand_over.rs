//! Handing the lead over: to one voter, or to the best there is.
//!
//! Promise: whatever becomes of a transfer, this node leads and writes, or somebody else may.
//! Invariant: Raft is asked for a transfer only to a node that is up to date and would lead: from
//! then on it writes nothing more, sends no heartbeats, and never takes that back by itself.

use std::time::{Duration, Instant};

use gate::log::ChangeError;
use openraft::raft::VoteRequest;
use types::LogIndex;

use crate::members::{best, refused, wait_caught_up};
use crate::node::Core;
use crate::raft::{LogId, Vote};
use crate::route::Route;

/// How long a node that has caught up may take to be ready to lead: it may have just started.
const READY_WITHIN: Duration = Duration::from_secs(5);

/// Lets another voter lead: that one, or the best there is, the next best if that fails.
pub(crate) async fn transfer(core: &Core, to: Option<u64>) -> Result<LogIndex, ChangeError> {
    let own = core.config.node.0;
    let voters = core.voters();
    if let Some(to) = to {
        if to == own {
            return Ok(core.last_log());
        }
        if !voters.contains(&to) {
            return Err(refused(format!("node {to} does not vote; promote it first")));
        }
    }
    let mut candidates = match to {
        Some(to) => vec![to],
        None => best(core),
    };
    candidates.retain(|node| *node != own);
    // Who is not ready is waited for only where nobody is.
    candidates.sort_by_key(|node| !core.is_ready_to_lead(*node));
    if candidates.is_empty() {
        return Err(refused("no other node votes"));
    }
    let mut last = ChangeError::NoLeader;
    for node in candidates {
        match hand_over(core, node).await {
            Ok(()) => return Ok(core.last_log()),
            Err(error) => {
                tracing::warn!(node, %error, "leadership was not handed over");
                last = error;
            }
        }
        if !core.route.now().is_some_and(Route::is_here) {
            break;
        }
    }
    Err(last)
}

/// Lets a voter lead that is ready to. From the moment that it is asked this node writes nothing
/// more, and Raft does not take that back: if nobody has taken over in time, an election decides.
pub(crate) async fn hand_over(core: &Core, to: u64) -> Result<(), ChangeError> {
    let handed = hand_over_now(core, to).await;
    core.meters.transferred(handed.is_ok());
    handed
}

async fn hand_over_now(core: &Core, to: u64) -> Result<(), ChangeError> {
    wait_ready_to_lead(core, to).await?;
    let began = core.route.now();
    let ends = ask_to_lead(core, to).await?;
    while Instant::now() <= ends {
        let now = core.route.now();
        if now.is_some() && now != began {
            return match now {
                Some(route) if route.leader == to => Ok(()),
                Some(route) => Err(refused(format!("node {} leads instead", route.leader))),
                None => Err(ChangeError::NoLeader),
            };
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    end_handing_over(core).await;
    Err(ChangeError::Unknown(format!(
        "node {to} did not take over in time, and an election decides who leads"
    )))
}

/// Asks Raft for the transfer. Says until when it has to be done: then it is given up.
pub(crate) async fn ask_to_lead(core: &Core, to: u64) -> Result<Instant, ChangeError> {
    let ends = Instant::now() + 4 * core.config.lease() + Duration::from_secs(1);
    // Before it begins: whoever asked for it may go away in the midst of it.
    let route = core.route.now();
    *core.handing_over.lock() = route.map(|route| HandingOver { route, to, ends });
    let asked = core.raft.trigger().transfer_leader(to).await;
    asked.map(|()| ends).map_err(|error| ChangeError::Unknown(error.to_string()))
}

/// A transfer that was asked for.
#[derive(Clone, Copy)]
pub(crate) struct HandingOver {
    /// This node, in the term in which it leads.
    route: Route,
    to: u64,
    ends: Instant,
}

/// Sees to it that a transfer which came to nothing does not leave a leader that writes nothing.
pub(crate) async fn end_handing_over(core: &Core) {
    let failed = {
        let mut open = core.handing_over.lock();
        let is_over = open.is_some_and(|HandingOver { route, ends, .. }| {
            Instant::now() > ends || core.route.now().is_some_and(|now| now != route)
        });
        let over = if is_over { open.take() } else { None };
        over.filter(|over| core.route.now() == Some(over.route))
    };
    if let Some(HandingOver { to, .. }) = failed {
        give_up_place(core, to).await;
    }
}

/// Ends the reign of this leader after a transfer that came to nothing. Its vote of the next term
/// goes to the node that was to lead, as it would have if that had asked for it; so it follows, and
/// stands for election like the others.
async fn give_up_place(core: &Core, to: u64) {
    let Ok(vote) = core.raft.with_raft_state(|state| *state.vote_ref()).await else { return };
    if !vote.committed || vote.leader_id.node_id != core.config.node.0 {
        return;
    }
    // The last entry of a leader is its own.
    let last_log_id = Some(LogId { leader_id: vote.leader_id, index: core.last_log().0 });
    let mut next = Vote { committed: false, ..vote };
    next.leader_id.term += 1;
    next.leader_id.node_id = to;
    let request = VoteRequest { vote: next, last_log_id, leadership_transfer: true };
    match core.raft.vote(request).await {
        Ok(_) => tracing::warn!(to, "nobody took over; this node gave up its place"),
        Err(error) => tracing::warn!(%error, "nobody took over, and raft has ended"),
    }
}

async fn wait_ready_to_lead(core: &Core, node: u64) -> Result<(), ChangeError> {
    wait_caught_up(core, node).await?;
    let ends = Instant::now() + READY_WITHIN;
    while !core.is_ready_to_lead(node) {
        if Instant::now() > ends {
            return Err(refused(format!(
                "node {node} must not lead now: its clock is off or it has just started; see what \
                 its log says"
            )));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

impl Core {
    /// It has caught up and would lead.
    pub(crate) fn is_ready_to_lead(&self, node: u64) -> bool {
        self.look.of(node).is_some_and(|seen| seen.may_lead) && self.has_caught_up(node)
    }
}
