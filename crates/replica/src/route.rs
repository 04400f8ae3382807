//! Which node leads, as far as this one knows: where commands and reads go.

use openraft::RaftMetrics;
use openraft::alias::WatchReceiverOf;
use openraft::async_runtime::watch::WatchReceiver as _;

use crate::raft::TypeConfig;

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

    /// The term is that of the vote which names the leader. The vote of the metrics is the one on
    /// the disk: it follows later, and a reign would begin twice.
    fn of(metrics: &RaftMetrics<TypeConfig>) -> Option<Self> {
        let leader = metrics.current_leader?;
        Some(Self { own: metrics.id, leader, term: metrics.current_term })
    }
}

/// Knows the route.
pub(crate) struct Routes(WatchReceiverOf<TypeConfig, RaftMetrics<TypeConfig>>);

impl Routes {
    pub(crate) fn new(metrics: WatchReceiverOf<TypeConfig, RaftMetrics<TypeConfig>>) -> Self {
        Self(metrics)
    }

    /// The route now, if a leader is known.
    pub(crate) fn now(&self) -> Option<Route> {
        Route::of(&self.0.borrow_watched())
    }

    /// Waits until a leader is known; `None` once Raft has ended. Metrics move with every entry,
    /// and there are none while no leader is known.
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

#[cfg(test)]
mod tests {
    use openraft::impls::leader_id_adv::LeaderId;

    use super::*;
    use crate::raft::Vote;

    #[test]
    fn a_reign_is_one_route_before_its_vote_is_on_the_disk_and_after() {
        let vote = |term, node_id| Vote { leader_id: LeaderId { term, node_id }, committed: true };
        let mut metrics = RaftMetrics::new_initial(1);
        assert_eq!(Route::of(&metrics), None);
        metrics.vote = vote(3, 1);
        metrics.current_term = 4;
        metrics.current_leader = Some(2);
        let first = Route::of(&metrics);
        metrics.vote = vote(4, 2);
        assert_eq!(first, Some(Route { own: 1, leader: 2, term: 4 }));
        assert_eq!(Route::of(&metrics), first);
        metrics.current_term = 5;
        assert_ne!(Route::of(&metrics), first, "the same leader, in another reign");
    }
}
