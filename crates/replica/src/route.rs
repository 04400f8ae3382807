//! Which node leads, as far as this one knows: where commands and reads go.

use openraft::Raft;
use openraft::alias::WatchReceiverOf;
use openraft::async_runtime::watch::WatchReceiver as _;
use openraft::metrics::RaftServerMetrics;

use crate::raft::TypeConfig;
use crate::state_machine::StateMachine;

/// A leader in its term. Another term is another route, also with the same leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Route {
    own: u64,
    pub(crate) leader: u64,
    term: u64,
}

impl Route {
    /// This node leads.
    pub(crate) fn is_here(self) -> bool {
        self.leader == self.own
    }
}

/// Knows the route. What it watches moves with votes and leaders, not with every entry.
pub(crate) struct Routes(WatchReceiverOf<TypeConfig, RaftServerMetrics<TypeConfig>>);

impl Routes {
    pub(crate) fn new(raft: &Raft<TypeConfig, StateMachine>) -> Self {
        Self(raft.server_metrics())
    }

    /// The route now, if a leader is known.
    pub(crate) fn now(&self) -> Option<Route> {
        let seen = self.0.borrow_watched();
        let leader = seen.current_leader?;
        Some(Route { own: seen.id, leader, term: seen.vote.leader_id.term })
    }

    /// Waits until a leader is known; `None` once Raft has ended.
    pub(crate) async fn known(&self) -> Option<Route> {
        if let Some(route) = self.now() {
            return Some(route);
        }
        let mut watch = self.0.clone();
        loop {
            // Looked at after the watch began, so that no change falls between.
            if let Some(route) = self.now() {
                return Some(route);
            }
            watch.changed().await.ok()?;
        }
    }
}
