//! Fresh reads: one round to the majority serves every read that waited before it began.
//!
//! Invariant: a round answers only reads that arrived before it started; a later one waits for
//! the next.

use std::sync::Arc;
use std::time::Instant;

use gate::log::{Consistency, ProposeError, ReadPoint};
use openraft::ReadPolicy;
use openraft::errors::RaftError;
use tokio::sync::{mpsc, oneshot};
use types::LogIndex;
use types::limits::READS_WAITING_MAX;

use crate::node::Core;

/// Asks for the index up to which state must be applied.
pub(crate) type Ask = oneshot::Sender<Result<u64, ProposeError>>;

/// The queue of waiting reads.
pub(crate) fn queue() -> (mpsc::Sender<Ask>, mpsc::Receiver<Ask>) {
    mpsc::channel(READS_WAITING_MAX)
}

/// Runs until every sender has gone.
pub(crate) async fn run(core: Arc<Core>, mut asks: mpsc::Receiver<Ask>) {
    let mut waiting = Vec::new();
    while asks.recv_many(&mut waiting, READS_WAITING_MAX).await > 0 {
        let began = Instant::now();
        let index = read_index(&core, ReadPolicy::ReadIndex).await;
        core.meters.read_round(waiting.len(), began.elapsed());
        for ask in waiting.drain(..) {
            _ = ask.send(index);
        }
    }
}

async fn read_index(core: &Core, policy: ReadPolicy) -> Result<u64, ProposeError> {
    match core.raft.get_read_linearizer(policy).await {
        Ok(linearizer) => Ok(linearizer.read_log_id().index()),
        Err(RaftError::Fatal(_)) => Err(ProposeError::Stopping),
        Err(RaftError::APIError(_)) => Err(ProposeError::NoLeader),
    }
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
            Consistency::Linearizable => {
                let (ask, index) = oneshot::channel();
                core.reads.try_send(ask).map_err(|error| match error {
                    mpsc::error::TrySendError::Full(_) => ProposeError::QueueFull,
                    mpsc::error::TrySendError::Closed(_) => ProposeError::Stopping,
                })?;
                index.await.map_err(|_| ProposeError::Stopping)?
            }
        }
    };
    let fresh =
        tokio::time::timeout_at(ends, fresh).await.unwrap_or(Err(ProposeError::NoLeader))?;
    let wanted = fresh.max(min_index.0);
    let mut progress = core.listeners.progress.subscribe();
    let applied = progress.wait_for(|progress| progress.index.0 >= wanted);
    let index = match tokio::time::timeout_at(ends, applied).await {
        Ok(Ok(progress)) => progress.index,
        Ok(Err(_)) => return Err(ProposeError::Stopping),
        Err(_) => return Err(ProposeError::Behind),
    };
    Ok(ReadPoint { index, term: core.term() })
}
