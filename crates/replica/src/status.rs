//! What a node knows of its cluster, without asking anybody.

use std::time::Duration;

use gate::log::{Member, Seen, Status};
use openraft::async_runtime::watch::WatchReceiver as _;
use types::{LogIndex, NodeId};

use crate::node::Core;
use crate::strain;

pub(crate) fn of(core: &Core) -> Status {
    let metrics = core.metrics.borrow_watched();
    let own = metrics.id;
    let membership = metrics.membership_config.membership();
    let voters: Vec<u64> = membership.voter_ids().collect();
    let matched = |id: u64| {
        if id == own {
            return metrics.last_log_index.map(LogIndex);
        }
        let replication = metrics.replication.as_ref()?;
        replication.get(&id)?.as_ref().map(|id| LogIndex(id.index))
    };
    let members = membership.nodes().map(|(id, node)| Member {
        node: NodeId(*id),
        voter: voters.contains(id),
        http: node.http.clone(),
        peer: node.peer.clone(),
        region: node.region.clone(),
        incarnation: node.incarnation,
        priority: node.priority,
        matched: matched(*id),
        seen: core.look.of(*id),
    });
    let index = |id: &Option<crate::raft::LogId>| LogIndex(id.as_ref().map_or(0, |id| id.index));
    let status = Status {
        node: NodeId(own),
        cluster_id: core.cluster_id.clone(),
        leader: metrics.current_leader.map(NodeId),
        term: metrics.current_term,
        committed: index(&metrics.local_committed),
        applied: index(&metrics.last_applied),
        members: members.collect(),
        changing: membership.get_joint_config().len() > 1,
        healthy: false,
        has_room: core.disk.has_room(),
        own: None,
        profile: core.config.profile.name(),
        given_away: core.strain.last(),
        warnings: Vec::new(),
    };
    drop(metrics);
    let own = own_of(core, status.applied);
    let (healthy, warnings) = (core.is_healthy(), strain::warnings(core));
    Status { healthy, own: Some(own), warnings, ..status }
}

/// What another node is told of this one.
fn own_of(core: &Core, applied: LogIndex) -> Seen {
    let disk = core.disk.space();
    Seen {
        round_trip: Duration::ZERO,
        clock_offset_us: 0,
        applied,
        disk_free_bytes: disk.map_or(0, |disk| disk.free_bytes),
        disk_size_bytes: disk.map_or(0, |disk| disk.size_bytes),
        feature_level: ledger::FEATURE_LEVEL,
        healthy: core.is_healthy(),
        has_room: core.disk.has_room(),
        may_lead: core.is_healthy() && core.look.barred().is_none(),
        sync_us: core.strain.usual_us(),
        slow_disk: core.strain.is_slow(),
        profile: Some(core.config.profile.name()),
    }
}
