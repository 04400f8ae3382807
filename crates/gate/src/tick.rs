//! The tick: when something is due, the leader commits a command that works it off.

use std::sync::Arc;
use std::time::Duration;

use ledger::{Command, Reply, query};
use types::NamespaceId;

use crate::handle::Gate;

/// How often the leader looks. A deadline is worked off at most twice this later.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Looks for what is due and ticks while this node leads, until `stop` resolves.
pub async fn run_tick(gate: Arc<Gate>, stop: impl Future<Output = ()>) {
    tokio::pin!(stop);
    let mut clock = tokio::time::interval(LOOK_EVERY);
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = &mut stop => return,
            _ = clock.tick() => {}
        }
        while due(&gate) {
            match tick(&gate).await {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    tracing::debug!(%error, "a tick got no answer; the next one tries again");
                    break;
                }
            }
        }
    }
}

fn due(gate: &Gate) -> bool {
    let Some(now) = gate.log.leader_time() else { return false };
    match gate.look(|state, _| Ok(query::next_due(state)?)) {
        Ok((next, _)) => next.is_some_and(|at| at <= now),
        Err(error) => {
            tracing::warn!(%error, "the schedule cannot be read");
            false
        }
    }
}

async fn tick(gate: &Gate) -> Result<bool, crate::GateError> {
    let answer = gate.without_key(NamespaceId::CLUSTER, Command::Tick).await?;
    Ok(matches!(answer.reply, Reply::Ticked { more: true }))
}
