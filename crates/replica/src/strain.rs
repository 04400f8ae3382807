//! Nodes under stress: a disk that is slow, hangs or is full, and ways that are too long for the
//! profile. Who leads with such a disk lets another node lead.
//!
//! Promise: the lead is given away for it at most once in five minutes, and to a voter whose disk
//! is better. A disk that hangs is another thing: its node falls silent until it does not.
//! Invariant: nothing here waits for the own disk.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use gate::log::{Change, HandOver, Seen, Warning};
use parking_lot::Mutex;
use tokio::task::JoinSet;
use types::NodeId;

use crate::config::Profile;
use crate::distance::{self, Distances};
use crate::hand_over::ask_to_lead;
use crate::members;
use crate::meters::StrainMeters;
use crate::node::Core;
use crate::route::Route;
use crate::syncs::{self, Syncs, is_better};

/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// After the lead was given away, or not taken, for a disk's sake, so long nothing is tried again.
const REST: Duration = Duration::from_secs(300);
/// How long a node that stops for want of room waits for another to lead.
const HAND_OVER_WAIT: Duration = Duration::from_secs(3);
/// A sync that has not ended by then never will: the process ends.
const HANGS_FOR_EVER: Duration = Duration::from_secs(60);

/// Why a node gives the lead away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// Syncs take long here, and not elsewhere.
    SlowDisk,
    /// A sync does not end.
    StuckDisk,
    /// It has no room for new things, and another node has.
    FullDisk,
    /// It stops for want of room.
    DiskEnd,
}

impl Why {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::SlowDisk => "slow_disk",
            Self::StuckDisk => "stuck_disk",
            Self::FullDisk => "full_disk",
            Self::DiskEnd => "disk_end",
        }
    }
}

/// What is known of this node's troubles.
#[derive(Default)]
pub(crate) struct Strain {
    syncs: Mutex<Syncs>,
    /// How long a sync usually takes; 0 while that is not known.
    usual_us: AtomicU64,
    is_slow: AtomicBool,
    is_stuck: AtomicBool,
    /// So many voters have no room that those which have are no majority.
    majority_is_full: AtomicBool,
    distances: Mutex<Distances>,
    last: Mutex<Option<(Instant, HandOver)>>,
    meters: StrainMeters,
}

impl Strain {
    /// How long a sync usually takes here, in microseconds, if that is known.
    pub(crate) fn usual_us(&self) -> Option<u64> {
        Some(self.usual_us.load(Ordering::Relaxed)).filter(|us| *us > 0)
    }

    pub(crate) fn is_slow(&self) -> bool {
        self.is_slow.load(Ordering::Relaxed)
    }

    /// A sync does not end.
    pub(crate) fn is_stuck(&self) -> bool {
        self.is_stuck.load(Ordering::Relaxed)
    }

    pub(crate) fn majority_is_full(&self) -> bool {
        self.majority_is_full.load(Ordering::Relaxed)
    }

    /// When and why this node gave the lead away last.
    pub(crate) fn last(&self) -> Option<HandOver> {
        let last = self.last.lock();
        last.as_ref().map(|(at, over)| HandOver { ago: at.elapsed(), ..over.clone() })
    }

    fn gives_away(&self, why: Why, to: Option<u64>) {
        let over = HandOver { why: why.name(), to: to.map(NodeId), ago: Duration::ZERO };
        *self.last.lock() = Some((Instant::now(), over));
        self.meters.given_away(why);
    }

    fn is_resting(&self) -> bool {
        self.last.lock().as_ref().is_some_and(|(at, _)| at.elapsed() < REST)
    }
}

/// Another voter, as this node sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Voter {
    node: u64,
    priority: u32,
    has_caught_up: bool,
    seen: Option<Seen>,
}

/// Who should lead instead: one that has caught up, has room, and whose disk is better.
fn instead(why: Why, own_us: Option<u64>, voters: &[Voter]) -> Option<u64> {
    let fit = voters.iter().filter_map(|voter| {
        let seen = voter.seen.as_ref()?;
        let is_fit = voter.has_caught_up && seen.may_lead && seen.has_room && !seen.slow_disk;
        let is_better = match why {
            Why::SlowDisk => is_better(seen.sync_us?, own_us?),
            Why::StuckDisk | Why::FullDisk | Why::DiskEnd => true,
        };
        (is_fit && is_better).then_some((voter, seen))
    });
    let best = fit.max_by_key(|(voter, seen)| (voter.priority, seen.applied));
    best.map(|(voter, _)| voter.node)
}

/// So many of the voters have no room that the rest is no majority. Who is not seen may be full
/// too, but alone that says nothing: a cluster may go on without a node. A learner's own room is
/// `None`.
fn is_majority_full(own_has_room: Option<bool>, others: &[Voter]) -> bool {
    let rooms: Vec<Option<bool>> = others
        .iter()
        .map(|voter| voter.seen.as_ref().map(|seen| seen.has_room))
        .chain(own_has_room.map(Some))
        .collect();
    let are = |room| rooms.iter().filter(|found| **found == Some(room)).count();
    are(false) > 0 && are(true) <= rooms.len() / 2
}

/// Runs until the node stops.
pub(crate) async fn run(core: Arc<Core>) {
    let mut stopping = core.stopping.subscribe();
    // One at a time, and none longer than this runs.
    let mut giving = JoinSet::new();
    loop {
        tokio::select! {
            _ = stopping.wait_for(|stopping| *stopping) => break,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        let voters = other_voters(&core);
        let strain = &core.strain;
        look_at_syncs(&core, &voters);
        look_at_ways(&core, &voters);
        let votes = core.voters().contains(&core.config.node.0);
        let majority_is_full = is_majority_full(votes.then(|| core.disk.has_room()), &voters);
        strain.majority_is_full.store(majority_is_full, Ordering::Relaxed);
        let stalled = core.log.stalled();
        if stalled >= HANGS_FOR_EVER {
            let seconds = HANGS_FOR_EVER.as_secs();
            core.fail(format!("a sync of the log has not ended for {seconds} s; see the disk"));
            break;
        }
        if stalled >= syncs::stuck_from(core.config.profile) {
            if !strain.is_stuck() {
                strain.is_stuck.store(true, Ordering::Relaxed);
                giving.shutdown().await;
                giving.spawn(fall_silent(core.clone()));
            }
            continue;
        }
        _ = giving.try_join_next();
        if !giving.is_empty() {
            continue;
        }
        if strain.is_stuck() {
            be_heard_again(&core);
        } else if let Some((why, to)) = should_give_away(&core, &voters) {
            giving.spawn(give_away(core.clone(), why, to));
        }
    }
}

/// Why this node should give the lead away, if it has it, and to whom.
fn should_give_away(core: &Core, voters: &[Voter]) -> Option<(Why, u64)> {
    let strain = &core.strain;
    if !leads(core) || strain.is_resting() {
        return None;
    }
    let why = match (strain.is_slow(), core.disk.has_room()) {
        (true, _) => Why::SlowDisk,
        (false, false) => Why::FullDisk,
        (false, true) => return None,
    };
    Some((why, instead(why, strain.usual_us(), voters)?))
}

fn leads(core: &Core) -> bool {
    core.route.now().is_some_and(Route::is_here)
}

fn other_voters(core: &Core) -> Vec<Voter> {
    let own = core.config.node.0;
    let others = core.voters().into_iter().filter(|node| *node != own);
    let voter = |node| Voter {
        node,
        priority: core.address_of(node).map_or(0, |address| address.priority),
        has_caught_up: core.has_caught_up(node),
        seen: core.look.of(node),
    };
    others.map(voter).collect()
}

fn look_at_syncs(core: &Core, voters: &[Voter]) {
    let strain = &core.strain;
    let usual = strain.syncs.lock().look(&core.log.stats(), core.log.stalled());
    strain.usual_us.store(usual.unwrap_or(0), Ordering::Relaxed);
    let others: Vec<u64> = voters.iter().filter_map(|voter| voter.seen.as_ref()?.sync_us).collect();
    let was_slow = strain.is_slow();
    let is_slow = syncs::is_slow(usual, &others, syncs::slow_from(core.config.profile), was_slow);
    if is_slow != was_slow {
        let (usual_us, others_us) = (usual.unwrap_or(0), others.iter().min().copied());
        if is_slow {
            tracing::warn!(usual_us, others_us, "this node's disk is slow, and another's is not");
        } else {
            tracing::info!(usual_us, "this node's disk is not slow any more");
        }
        strain.is_slow.store(is_slow, Ordering::Relaxed);
    }
    strain.meters.syncs(usual, is_slow, strain.is_stuck());
}

fn look_at_ways(core: &Core, voters: &[Voter]) {
    let profile = core.config.profile;
    let seen: Vec<(u64, Option<Duration>)> = voters
        .iter()
        .map(|voter| (voter.node, voter.seen.as_ref().map(|seen| seen.round_trip)))
        .collect();
    let mut distances = core.strain.distances.lock();
    let before = distances.misfit().clone();
    let now = distances.look(profile, &seen);
    core.strain.meters.too_far(now.too_far.len());
    for (node, round_trip) in &now.too_far {
        if !before.too_far.contains_key(node) {
            let (ms, profile) = (round_trip.as_millis(), profile.name());
            let wanted = now.wanted().map_or("none is patient enough", Profile::name);
            tracing::warn!(node, ms, profile, wanted, "round trips are too long for the profile");
        }
    }
    if let Some(could_be) = now.could_be
        && before.could_be != now.could_be
    {
        let (profile, could_be) = (profile.name(), could_be.name());
        tracing::info!(profile, could_be, "a less patient profile would find a leader sooner");
    }
}

async fn give_away(core: Arc<Core>, why: Why, to: u64) {
    tracing::warn!(to, why = why.name(), "another node shall lead");
    core.strain.gives_away(why, Some(to));
    match members::change(&core, Change::TransferLeader(Some(NodeId(to)))).await {
        Ok(_) => tracing::info!(to, "another node leads now"),
        Err(error) => tracing::warn!(to, %error, "leadership stays here"),
    }
}

/// A sync does not end. Whether another node leads by then cannot be seen from here: to vote for
/// it, Raft would have to write. So this node asks one to lead, and sends no heartbeat any more.
async fn fall_silent(core: Arc<Core>) {
    let seconds = core.log.stalled().as_secs();
    tracing::error!(seconds, "a sync of the log does not end; this node neither votes nor leads");
    core.bar(|bars| bars.disk_is_stuck = true);
    let voters = other_voters(&core);
    if voters.is_empty() || !leads(&core) {
        return;
    }
    let to = instead(Why::StuckDisk, None, &voters);
    core.strain.gives_away(Why::StuckDisk, to);
    if let Some(to) = to {
        _ = tokio::time::timeout(core.config.lease(), ask_to_lead(&core, to)).await;
        tokio::time::sleep(core.config.lease()).await;
    }
    if core.strain.is_stuck() {
        core.raft.runtime_config().heartbeat(false);
    }
}

fn be_heard_again(core: &Core) {
    tracing::info!("the sync has ended; this node takes part again");
    core.strain.is_stuck.store(false, Ordering::Relaxed);
    core.raft.runtime_config().heartbeat(true);
    core.bar(|bars| bars.disk_is_stuck = false);
}

/// New things are taken: where the leader is, and in a majority, the disk has room.
pub(crate) fn has_room(core: &Core) -> bool {
    let leader_has_room = match core.route.now() {
        Some(route) if !route.is_here() => {
            core.look.of(route.leader).is_none_or(|leader| leader.has_room)
        }
        _ => core.disk.has_room(),
    };
    leader_has_room && !core.strain.majority_is_full()
}

/// There is no room to go on: lets another node lead, and stops this one while it still can.
pub(crate) async fn stop_without_room(core: &Core) {
    let reason = core.disk.end_of(&core.config.data_dir);
    tracing::error!(reason, "this node stops");
    let voters = other_voters(core);
    if leads(core) && !voters.is_empty() {
        let to = instead(Why::DiskEnd, None, &voters);
        core.strain.gives_away(Why::DiskEnd, to);
        let given = members::change(core, Change::TransferLeader(to.map(NodeId)));
        match tokio::time::timeout(HAND_OVER_WAIT, given).await {
            Ok(Ok(_)) => tracing::info!("another node leads now"),
            Ok(Err(error)) => tracing::warn!(%error, "stopping as the leader"),
            Err(_) => tracing::warn!("nobody took over in time; stopping as the leader"),
        }
    }
    core.fail(reason);
}

/// What an operator should look at.
pub(crate) fn warnings(core: &Core) -> Vec<Warning> {
    let strain = &core.strain;
    let own = Some(core.config.node);
    let mut all = Vec::new();
    let mut warn = |code, node, message: String| {
        all.push(Warning { code, is_only_advice: false, node, message });
    };
    if core.disk.is_at_end() {
        warn("disk_end", own, core.disk.end_of(&core.config.data_dir));
    } else if !core.disk.has_room() {
        warn("disk_full", own, "this node's disk is full up to its reserve or quota".into());
    }
    if strain.majority_is_full() {
        let message = "so many disks are full that nothing new is taken, whoever leads";
        warn("majority_full", None, message.into());
    }
    if strain.is_stuck() {
        let seconds = core.log.stalled().as_secs();
        let message = format!("a sync of this node's log has not ended for {seconds} s");
        warn("disk_stuck", own, message);
    }
    if strain.is_slow() {
        let ms = strain.usual_us().unwrap_or(0) / 1_000;
        let message = format!("a sync of this node's log takes {ms} ms, much more than elsewhere");
        warn("disk_slow", own, message);
    }
    for voter in other_voters(core) {
        let (node, Some(seen)) = (Some(NodeId(voter.node)), voter.seen) else { continue };
        if !seen.has_room {
            warn("disk_full", node, "its disk is full up to its reserve or quota".into());
        }
        if seen.slow_disk {
            warn("disk_slow", node, "its syncs take much longer than elsewhere".into());
        }
        if let Some(profile) = seen.profile.filter(|name| *name != core.config.profile.name()) {
            let own = core.config.profile.name();
            let message = format!("its profile is {profile}, that of this node {own}");
            warn("profile_differs", node, message);
        }
    }
    let misfit = strain.distances.lock().misfit().clone();
    warn_of_ways(core.config.profile, &misfit, &mut all);
    all
}

fn warn_of_ways(profile: Profile, misfit: &distance::Misfit, all: &mut Vec<Warning>) {
    let longest = distance::longest(profile).as_millis();
    for (node, round_trip) in &misfit.too_far {
        let way = match misfit.wanted() {
            Some(wanted) => format!("set `cluster.profile: {}` on every node", wanted.name()),
            None => "no profile is for so long a way".to_owned(),
        };
        let (ms, profile) = (round_trip.as_millis(), profile.name());
        let message = format!(
            "a round trip takes {ms} ms and profile {profile} is for {longest} at most: {way}"
        );
        let node = Some(NodeId(*node));
        all.push(Warning { code: "round_trip_too_long", is_only_advice: false, node, message });
    }
    if let Some(could_be) = misfit.could_be {
        let message = format!(
            "all voters are near: with `cluster.profile: {}` on every node a new leader is found \
             sooner than with {}",
            could_be.name(),
            profile.name()
        );
        let code = "profile_too_patient";
        all.push(Warning { code, is_only_advice: true, node: None, message });
    }
}

#[cfg(test)]
mod tests {
    use types::LogIndex;

    use super::*;

    fn seen(sync_us: Option<u64>, has_room: bool, slow_disk: bool) -> Option<Seen> {
        Some(Seen {
            round_trip: Duration::from_millis(1),
            clock_offset_us: 0,
            applied: LogIndex(7),
            disk_free_bytes: 0,
            disk_size_bytes: 0,
            feature_level: 1,
            healthy: true,
            has_room,
            sync_us,
            slow_disk,
            profile: Some("lan"),
            may_lead: true,
        })
    }

    fn voter(node: u64, seen: Option<Seen>) -> Voter {
        Voter { node, priority: 0, has_caught_up: true, seen }
    }

    #[test]
    fn the_lead_goes_to_a_disk_that_is_better() {
        let own = Some(200_000);
        let good = voter(3, seen(Some(50_000), true, false));
        let behind = Voter { has_caught_up: false, ..good.clone() };
        let preferred = Voter { node: 4, priority: 1, ..good.clone() };
        let unwell = seen(Some(1), true, false).map(|seen| Seen { may_lead: false, ..seen });
        let cases = [
            (Why::SlowDisk, good.clone(), Some(3)),
            (Why::SlowDisk, voter(3, seen(Some(50_001), true, false)), None),
            (Why::SlowDisk, voter(3, seen(None, true, false)), None),
            (Why::SlowDisk, voter(3, seen(Some(1), false, false)), None),
            (Why::SlowDisk, voter(3, seen(Some(1), true, true)), None),
            (Why::SlowDisk, voter(3, unwell), None),
            (Why::SlowDisk, voter(3, None), None),
            (Why::SlowDisk, behind.clone(), None),
            (Why::FullDisk, voter(3, seen(None, true, false)), Some(3)),
            (Why::FullDisk, voter(3, seen(None, false, false)), None),
            (Why::StuckDisk, behind, None),
        ];
        for (why, voter, expected) in cases {
            let found = instead(why, own, std::slice::from_ref(&voter));
            assert_eq!(found, expected, "{why:?} {voter:?}");
        }
        assert_eq!(instead(Why::SlowDisk, own, &[preferred, good.clone()]), Some(4));
        assert_eq!(instead(Why::SlowDisk, None, &[good]), None, "the own one is not known");
    }

    #[test]
    #[rustfmt::skip]
    fn nothing_new_is_taken_when_those_with_room_are_no_majority() {
        let (room, full, gone) = (seen(None, true, false), seen(None, false, false), None);
        type Case<'c> = (Option<bool>, &'c [&'c Option<Seen>], bool);
        let cases: [Case<'_>; 12] = [
            // own room, the others, a majority is full
            (Some(true),  &[],                           false),
            (Some(false), &[],                           true),
            (Some(true),  &[&room, &room],               false),
            (Some(true),  &[&room, &full],               false),
            (Some(true),  &[&full, &full],               true),
            (Some(false), &[&room, &room],               false),
            (Some(true),  &[&full, &gone],               true),
            (Some(true),  &[&gone, &gone],               false),
            (Some(true),  &[&full],                      true),
            (Some(true),  &[&full, &full, &room, &room], false),
            (None,        &[&full, &room, &room],        false),
            (None,        &[&full],                      true),
        ];
        for (own, others, expected) in cases {
            let others: Vec<_> = others.iter().map(|seen| voter(2, (*seen).clone())).collect();
            assert_eq!(is_majority_full(own, &others), expected, "{own:?} {others:?}");
        }
    }
}
