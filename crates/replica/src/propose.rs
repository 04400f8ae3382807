//! From the queue into the log: one task takes what waits, stamps it, and proposes it.
//!
//! Batching needs no timer: while one batch is on its way the next gathers.
//! Promise: `NoLeader` only for what was never appended; everything doubtful is `Unknown`.

use std::sync::Arc;

use gate::log::{Committed, ProposeError};
use ledger::{BatchHeader, encode_batch};
use openraft::errors::ClientWriteError;
use openraft::impls::ProgressResponder;
use openraft::raft::ClientWriteResult;
use tokio::sync::Semaphore;
use types::LogIndex;

use crate::node::Core;
use crate::queue::{Answer, Batch, fail};
use crate::raft::{BatchBytes, TypeConfig};

/// The feature level that today's commands need. It grows only with new kinds of commands, and
/// those are proposed only after the cluster was raised to it.
const COMMANDS_LEVEL: u32 = 1;

/// Runs until the queue is closed.
pub(crate) async fn run(core: Arc<Core>) {
    let in_flight = Arc::new(Semaphore::new(core.config.in_flight_max.max(1)));
    while let Ok(permit) = in_flight.clone().acquire_owned().await {
        let Some(batch) = core.queue.take().await else { break };
        let Some(time) = core.leader_time() else {
            batch.fail(ProposeError::NoLeader);
            continue;
        };
        let header = BatchHeader { level: COMMANDS_LEVEL, time, proposer: core.config.node };
        let Batch { commands, answers } = batch;
        let bytes = BatchBytes(encode_batch(&header, &commands).into());
        core.meters.proposed(commands.len(), bytes.0.len());
        let (responder, reply) = ProgressResponder::complete_only();
        if core.raft.client_write_ff(bytes, Some(responder)).await.is_err() {
            fail(answers, ProposeError::Unknown);
            continue;
        }
        let wait = core.config.propose_wait;
        tokio::spawn(async move {
            match tokio::time::timeout(wait, reply).await {
                Ok(Ok(result)) => distribute(answers, result),
                _ => fail(answers, ProposeError::Unknown),
            }
            drop(permit);
        });
    }
}

/// Gives each proposer its reply, by position.
fn distribute(answers: Vec<Answer>, result: ClientWriteResult<TypeConfig>) {
    let written = match result {
        Ok(written) => written,
        Err(ClientWriteError::ForwardToLeader(_)) => {
            return fail(answers, ProposeError::NoLeader);
        }
        Err(_) => return fail(answers, ProposeError::Unknown),
    };
    let (index, term) = (LogIndex(written.log_id.index), written.log_id.leader_id.term);
    let replies = written.data.0;
    assert_eq!(replies.len(), answers.len(), "one reply per command");
    for (answer, reply) in answers.into_iter().zip(replies) {
        _ = answer.send(Ok(Committed { index, term, reply }));
    }
}
