//! Fresh reads on any node: one round to the majority serves every read that waited before it
//! began, on the leader for its own reads and for those of the other nodes.
//!
//! Invariant: a round answers only reads that arrived before it started; a later one waits for
//! the next.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bugs::Bug;
use gate::log::{Consistency, ProposeError, ReadPoint};
use openraft::ReadPolicy;
use openraft::errors::RaftError;
use tokio::sync::{mpsc, oneshot};
use types::LogIndex;
use types::limits::READS_WAITING_MAX;
use wire::peer::ReadIndexRequest;

use crate::node::Core;
use crate::peers::{At, Purpose};
use crate::route::Route;

/// Asks for the index up to which state must be applied.
pub(crate) type Ask = oneshot::Sender<Result<u64, ProposeError>>;

/// The rest before a leader is asked again that did not answer.
const REST: Duration = Duration::from_millis(10);
/// How long the leader may take for one round.
const ROUND_WITHIN: Duration = Duration::from_secs(1);

/// The queue of waiting reads.
pub(crate) fn queue() -> (mpsc::Sender<Ask>, mpsc::Receiver<Ask>) {
    mpsc::channel(READS_WAITING_MAX)
}

/// Forgets reads that nobody waits for, and takes others into the round in their place.
fn gather(waiting: &mut Vec<Ask>, asks: &mut mpsc::Receiver<Ask>) {
    waiting.retain(|ask| !ask.is_closed());
    while waiting.len() < READS_WAITING_MAX
        && let Ok(ask) = asks.try_recv()
    {
        if !ask.is_closed() {
            waiting.push(ask);
        }
    }
}

/// Runs until every sender has gone.
pub(crate) async fn run(core: Arc<Core>, mut asks: mpsc::Receiver<Ask>) {
    let mut waiting = Vec::new();
    let mut last: Option<(Instant, u64)> = None;
    while asks.recv_many(&mut waiting, READS_WAITING_MAX).await > 0 {
        let began = Instant::now();
        let index = loop {
            if let Some((at, index)) = last
                && Bug::ReadsReuseRound.is_planted()
                && at.elapsed() < Duration::from_millis(100)
            {
                break Ok(index);
            }
            match read_index(&core, ReadPolicy::ReadIndex).await {
                // A change of leaders takes less than the patience of who waits.
                Err(ProposeError::NoLeader) if began.elapsed() < core.config.leader_wait => {
                    tokio::time::sleep(REST).await;
                    gather(&mut waiting, &mut asks);
                    if waiting.is_empty() {
                        break Err(ProposeError::NoLeader);
                    }
                }
                other => break other,
            }
        };
        last = index.as_ref().ok().map(|index| (began, *index)).or(last);
        core.meters.read_round(waiting.len(), began.elapsed());
        for ask in waiting.drain(..) {
            _ = ask.send(index);
        }
    }
}

/// One round, here or at the leader.
async fn read_index(core: &Core, policy: ReadPolicy) -> Result<u64, ProposeError> {
    if Bug::ReadsOwnState.is_planted() {
        return Ok(core.listeners.progress.borrow().index.0);
    }
    match core.route.now() {
        None => Err(ProposeError::NoLeader),
        Some(route) if route.is_here() => own_index(core, policy).await,
        Some(route) => leaders_index(core, route, policy).await,
    }
}

async fn own_index(core: &Core, policy: ReadPolicy) -> Result<u64, ProposeError> {
    if Bug::ReadsWithoutRound.is_planted() {
        return Ok(core.listeners.progress.borrow().index.0);
    }
    // Votes for the node to which the lead is handed over do not wait for the end of the lease.
    let lease_holds = || core.handing_over.lock().is_none() && !core.strain.is_stuck();
    let by_lease = matches!(policy, ReadPolicy::LeaseRead) && lease_holds();
    let policy = if by_lease { ReadPolicy::LeaseRead } else { ReadPolicy::ReadIndex };
    let mut found = core.raft.get_read_linearizer(policy).await;
    if by_lease && !lease_holds() {
        found = core.raft.get_read_linearizer(ReadPolicy::ReadIndex).await;
    }
    match found {
        Ok(linearizer) => Ok(linearizer.read_log_id().index()),
        Err(RaftError::Fatal(_)) => Err(ProposeError::Stopping),
        Err(RaftError::APIError(_)) => Err(ProposeError::NoLeader),
    }
}

async fn leaders_index(core: &Core, route: Route, policy: ReadPolicy) -> Result<u64, ProposeError> {
    let Some(address) = core.address_of(route.leader) else { return Err(ProposeError::NoLeader) };
    let client = core.peers.client(At::member(route.leader, &address), Purpose::Urgent);
    let Ok(mut client) = client else { return Err(ProposeError::NoLeader) };
    let by_lease = matches!(policy, ReadPolicy::LeaseRead);
    let asked = client.read_index(ReadIndexRequest { by_lease });
    match tokio::time::timeout(ROUND_WITHIN, asked).await {
        Ok(Ok(reply)) => Ok(reply.into_inner().index),
        Ok(Err(_)) | Err(_) => Err(ProposeError::NoLeader),
    }
}

/// The index for another node, if this one leads.
pub(crate) async fn index_here(core: &Core, by_lease: bool) -> Result<u64, ProposeError> {
    if !core.route.now().is_some_and(Route::is_here) {
        return Err(ProposeError::NoLeader);
    }
    if by_lease {
        return own_index(core, ReadPolicy::LeaseRead).await;
    }
    next_round(core).await
}

/// Waits for a round that begins after now.
async fn next_round(core: &Core) -> Result<u64, ProposeError> {
    let (ask, index) = oneshot::channel();
    core.reads.try_send(ask).map_err(|error| match error {
        mpsc::error::TrySendError::Full(_) => ProposeError::QueueFull,
        mpsc::error::TrySendError::Closed(_) => ProposeError::Stopping,
    })?;
    index.await.map_err(|_| ProposeError::Stopping)?
}

/// Waits until state here is as fresh as asked.
pub(crate) async fn read_point(
    core: &Core,
    consistency: Consistency,
    min_index: LogIndex,
) -> Result<ReadPoint, ProposeError> {
    let ends = tokio::time::Instant::now() + core.config.read_wait;
    let fresh = async {
        match consistency {
            Consistency::Stale => Ok(0),
            Consistency::Lease => read_index(core, ReadPolicy::LeaseRead).await,
            Consistency::Linearizable => next_round(core).await,
        }
    };
    let fresh =
        tokio::time::timeout_at(ends, fresh).await.unwrap_or(Err(ProposeError::NoLeader))?;
    let mut wanted = fresh.max(min_index.0);
    if Bug::ReadsUnapplied.is_planted() {
        wanted = 0;
    }
    let mut progress = core.listeners.progress.subscribe();
    let applied = progress.wait_for(|progress| progress.index.0 >= wanted);
    let index = match tokio::time::timeout_at(ends, applied).await {
        Ok(Ok(progress)) => progress.index,
        Ok(Err(_)) => return Err(ProposeError::Stopping),
        Err(_) => return Err(ProposeError::Behind),
    };
    Ok(ReadPoint { index, term: core.term() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_round_holds_no_more_reads_than_may_wait() {
        let (sender, mut asks) = queue();
        let mut answers = Vec::new();
        let mut ask = || {
            let (ask, answer) = oneshot::channel();
            answers.push(answer);
            ask
        };
        let mut waiting: Vec<Ask> = (0..READS_WAITING_MAX).map(|_| ask()).collect();
        for _ in 0..3 {
            sender.try_send(ask()).expect("room");
        }
        gather(&mut waiting, &mut asks);
        assert_eq!((waiting.len(), asks.len()), (READS_WAITING_MAX, 3));
        // One of the round and one behind it go away.
        answers.swap_remove(7);
        answers.swap_remove(READS_WAITING_MAX);
        gather(&mut waiting, &mut asks);
        assert_eq!(waiting.len(), READS_WAITING_MAX);
        assert!(waiting.iter().all(|ask| !ask.is_closed()));
    }
}
