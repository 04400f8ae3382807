//! Nodes look at each other: round trips, clocks, disks, and whether their states are the same.
//!
//! Promise: a node whose state differs from that of a majority takes itself out of service and says
//! so; one whose clock is off does not lead. Invariant: what is decided here rests on voters alone.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use bugs::Bug;
use futures::future::join_all;
use gate::log::Seen;
use ledger::WriteHash;
use openraft::async_runtime::watch::WatchReceiver as _;
use parking_lot::Mutex;
use store::log::MetaKind;
use types::LogIndex;
use wire::peer::{ProbeReply, ProbeRequest};

use crate::clock::{Agreed, Reading};
use crate::config::Profile;
use crate::members;
use crate::node::Core;
use crate::peers::{At, Purpose};
use crate::raft::NodeAddress;
use crate::route::Route;
use crate::verdict::{self, Clocks, Verdict};

/// How often every other node is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long a look may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
/// The same until the clocks were compared: until then this node does not lead.
const LOOK_SOON: Duration = Duration::from_millis(100);
/// So long after its start a node stands for election though it could not compare its clock: who
/// would say which one is right may be gone.
const CLOCKS_WITHIN: Duration = Duration::from_secs(3);
/// What was seen longer ago says nothing of now.
const SEEN_FOR: Duration = Duration::from_secs(5);

/// What a node knows of the others, and of itself through them.
#[derive(Default)]
pub(crate) struct Look {
    contacts: Mutex<BTreeMap<u64, Contact>>,
    /// How far the middle of all clocks is ahead of the own one, in microseconds.
    offset_us: AtomicI64,
    agreed: Mutex<Agreed>,
    bars: Mutex<Bars>,
}

/// When a node last answered, and what.
struct Contact {
    /// If it never did, when this node began to ask.
    at: Instant,
    seen: Option<Seen>,
    /// What its clock showed, and this node's steady one at that moment.
    clock: Agreed,
}

/// Why this node does not stand for election.
#[derive(Debug, Default)]
pub(crate) struct Bars {
    has_just_started: bool,
    /// Its clock is off, or not compared yet.
    clocks: Clocks,
    /// Its state is not that of the majority.
    is_out_of_service: bool,
    /// A sync of its log does not end.
    pub(crate) disk_is_stuck: bool,
}

impl Bars {
    fn any(&self) -> bool {
        self.why().is_some()
    }

    fn why(&self) -> Option<&'static str> {
        if self.is_out_of_service {
            Some("its state is not that of the majority")
        } else if self.disk_is_stuck {
            Some("a sync of its log does not end")
        } else if self.has_just_started {
            Some("it has just started")
        } else if self.clocks.is_off {
            Some("its clock is off")
        } else if self.clocks.is_ahead {
            Some("its clock is ahead of the only other one that answers")
        } else if self.clocks.is_unknown {
            Some("its clock was not compared with others yet")
        } else {
            None
        }
    }
}

impl Look {
    pub(crate) fn offset_us(&self) -> i64 {
        self.offset_us.load(Ordering::Relaxed)
    }

    /// What the clock shows, or should show by all that is known.
    pub(crate) fn corrected(&self, now: Reading) -> Reading {
        if Bug::LeaderTimeJumps.is_planted() {
            return now;
        }
        let wall_us = now.wall_us.saturating_add_signed(self.offset_us());
        self.agreed.lock().corrected(Reading { wall_us, ..now })
    }

    /// What was last seen of a node.
    pub(crate) fn of(&self, node: u64) -> Option<Seen> {
        let contacts = self.contacts.lock();
        let contact = contacts.get(&node)?;
        contact.seen.clone().filter(|_| contact.at.elapsed() < SEEN_FOR)
    }

    /// How far the clock of a node is ahead of the own one now, in microseconds. The own one may
    /// have jumped since that node answered.
    fn clock_offset_of(&self, node: u64, now: Reading) -> Option<i64> {
        let contacts = self.contacts.lock();
        let contact = contacts.get(&node).filter(|contact| contact.at.elapsed() < SEEN_FOR)?;
        let there_us = contact.clock.expected_us(now)?;
        Some(there_us.cast_signed().saturating_sub(now.wall_us.cast_signed()))
    }

    /// How long ago a node last answered, or since when it is asked in vain.
    pub(crate) fn contact_age(&self, node: u64) -> Option<Duration> {
        Some(self.contacts.lock().get(&node)?.at.elapsed())
    }

    /// From now on these nodes are looked at.
    fn expect(&self, nodes: &BTreeSet<u64>) {
        let mut contacts = self.contacts.lock();
        contacts.retain(|node, _| nodes.contains(node));
        for node in nodes {
            contacts.entry(*node).or_insert(Contact {
                at: Instant::now(),
                seen: None,
                clock: Agreed::default(),
            });
        }
    }

    /// Why this node must not lead.
    pub(crate) fn barred(&self) -> Option<&'static str> {
        self.bars.lock().why()
    }

    /// Before it stopped this node may have promised a leader to vote for nobody else, and does
    /// not remember.
    pub(crate) fn has_just_started(&self) -> bool {
        self.bars.lock().has_just_started
    }

    /// This node's state is not that of the majority.
    pub(crate) fn is_out_of_service(&self) -> bool {
        self.bars.lock().is_out_of_service
    }
}

impl Core {
    /// Changes what keeps this node from standing for election.
    pub(crate) fn bar(&self, change: impl FnOnce(&mut Bars)) {
        let mut bars = self.look.bars.lock();
        change(&mut bars);
        // Raft asks this for its own elections only; see `server` for what is handed over.
        self.raft.runtime_config().elect(!bars.any());
    }

    /// Keeps this node from standing for election for so long, and then until its clock was
    /// compared with those of the others, or nobody was there to do so.
    pub(crate) fn stay_silent(self: &Arc<Self>, lease: Duration) {
        self.bar(|bars| {
            bars.has_just_started = true;
            bars.clocks.is_unknown = true;
        });
        let core = Arc::downgrade(self);
        tokio::spawn(async move {
            tokio::time::sleep(lease).await;
            if let Some(core) = core.upgrade() {
                core.bar(|bars| bars.has_just_started = false);
            }
            tokio::time::sleep(CLOCKS_WITHIN.saturating_sub(lease)).await;
            if let Some(core) = core.upgrade() {
                core.bar(|bars| bars.clocks.is_unknown = false);
            }
        });
    }

    /// Nothing is answered from this node's state any more.
    pub(crate) fn take_out_of_service(&self, why: &str) {
        tracing::error!(why, "out of service");
        self.meters.state_differs();
        self.bar(|bars| bars.is_out_of_service = true);
        self.queue.close();
    }

    /// What another node is told of this one.
    pub(crate) fn probed(&self, request: &ProbeRequest) -> ProbeReply {
        let found = {
            let hashes = self.listeners.hashes.lock();
            request.indexes.iter().find_map(|index| hash_after(&hashes, LogIndex(*index)))
        };
        let (hashed, hash) =
            found.map_or((0, Vec::new()), |(index, hash)| (index.0, hash.0.into()));
        let disk = self.disk.space();
        ProbeReply {
            wall_us: self.config.time.read().wall_us,
            applied: self.listeners.progress.borrow().index.0,
            hashed,
            hash: hash.into(),
            disk_free_bytes: disk.map_or(0, |disk| disk.free_bytes),
            disk_size_bytes: disk.map_or(0, |disk| disk.size_bytes),
            feature_level: ledger::FEATURE_LEVEL,
            healthy: self.is_healthy(),
            has_room: self.disk.has_room(),
            sync_us: self.strain.usual_us().unwrap_or(0),
            slow_disk: self.strain.is_slow(),
            profile: self.config.profile.name().to_owned(),
            may_lead: self.is_healthy() && self.look.barred().is_none(),
        }
    }
}

/// Runs until the node stops.
pub(crate) async fn run(core: Arc<Core>) {
    let mut stopping = core.stopping.subscribe();
    loop {
        let is_unknown = core.look.bars.lock().clocks.is_unknown;
        tokio::select! {
            _ = stopping.wait_for(|stopping| *stopping) => return,
            () = tokio::time::sleep(if is_unknown { LOOK_SOON } else { LOOK_EVERY }) => {}
        }
        let (others, voters) = {
            let metrics = core.metrics.borrow_watched();
            let members = metrics.membership_config.membership();
            let own = core.config.node.0;
            let others = members.nodes().filter(|(node, _)| **node != own);
            let others: Vec<_> = others.map(|(node, at)| (*node, at.clone())).collect();
            (others, members.voter_ids().collect::<Vec<u64>>())
        };
        let ids: BTreeSet<u64> = others.iter().map(|(node, _)| *node).collect();
        core.look.expect(&ids);
        core.peers.tallies.keep(|node| ids.contains(&node));
        let indexes = newest(&core);
        let looks = others.iter().map(|(node, address)| look(&core, *node, address, &indexes));
        let replies: Vec<(u64, ProbeReply)> = join_all(looks).await.into_iter().flatten().collect();
        let is_voter = |node: &u64| voters.contains(node);
        if is_voter(&core.config.node.0) {
            let replies: Vec<_> = replies.iter().filter(|(node, _)| is_voter(node)).collect();
            judge_clock(&core, &voters).await;
            judge_state(&core, &replies, voters.len()).await;
        }
    }
}

/// Entries at which states are compared: the newest, and others further and further back, of which
/// a node that is behind has one.
fn newest(core: &Core) -> Vec<u64> {
    let hashes = core.listeners.hashes.lock();
    let steps = [0, 1, 2, 4, 8, 16, 64, 256, 1_024, 4_096];
    let places = steps.iter().filter_map(|step| hashes.len().checked_sub(step + 1));
    places.filter_map(|place| hashes.get(place).map(|(index, _)| index.0)).collect()
}

async fn look(
    core: &Core,
    node: u64,
    address: &NodeAddress,
    indexes: &[u64],
) -> Option<(u64, ProbeReply)> {
    let mut client = core.peers.client(At::member(node, address), Purpose::Urgent).ok()?;
    let (began, before) = (Instant::now(), core.config.time.read());
    let asked = client.probe(ProbeRequest { indexes: indexes.to_vec() });
    let reply = tokio::time::timeout(ANSWER_WITHIN, asked).await.ok()?.ok()?.into_inner();
    let round_trip = began.elapsed();
    // The other clock was read about half-way.
    let half = u64::try_from(round_trip.as_micros() / 2).unwrap_or_default();
    let own = before.wall_us.saturating_add(half);
    let clock_offset_us = reply.wall_us.cast_signed().saturating_sub(own.cast_signed());
    let seen = Seen {
        round_trip,
        clock_offset_us,
        applied: LogIndex(reply.applied),
        disk_free_bytes: reply.disk_free_bytes,
        disk_size_bytes: reply.disk_size_bytes,
        feature_level: reply.feature_level,
        healthy: reply.healthy,
        has_room: reply.has_room,
        sync_us: Some(reply.sync_us).filter(|us| *us > 0),
        slow_disk: reply.slow_disk,
        profile: Profile::named(&reply.profile).map(Profile::name),
        may_lead: reply.may_lead,
    };
    let mono_us = before.mono_us.saturating_add(half);
    let clock = Agreed::on(Reading { wall_us: reply.wall_us, mono_us });
    let contact = Contact { at: Instant::now(), seen: Some(seen), clock };
    core.look.contacts.lock().insert(node, contact);
    Some((node, reply))
}

/// An entry with the hash of writes after it, if that is kept.
fn hash_after(
    hashes: &VecDeque<(LogIndex, WriteHash)>,
    index: LogIndex,
) -> Option<(LogIndex, WriteHash)> {
    let place = hashes.binary_search_by_key(&index, |(index, _)| *index).ok()?;
    hashes.get(place).copied()
}

async fn judge_clock(core: &Core, voters: &[u64]) {
    let now = core.config.time.read();
    let offsets: Vec<i64> =
        voters.iter().filter_map(|node| core.look.clock_offset_of(*node, now)).collect();
    let has_jumped = core.look.agreed.lock().has_jumped(now);
    let log_us = core.listeners.progress.borrow().time.0.saturating_mul(1_000);
    let log_ahead_us = log_us.cast_signed().saturating_sub(now.wall_us.cast_signed());
    let (mut was, mut clocks) = (Clocks::default(), Clocks::default());
    core.bar(|bars| {
        was = bars.clocks;
        bars.clocks = bars.clocks.heard(&offsets, voters.len(), has_jumped, log_ahead_us);
        clocks = bars.clocks;
    });
    let was_off = was.is_off;
    let Clocks { offset_us, is_off, is_ahead, .. } = clocks;
    if is_ahead && !was.is_ahead {
        let ms = offsets.first().map_or(0, |offset| offset / 1_000);
        tracing::warn!(ms, "this node's clock is ahead of the only other one; it does not lead");
    }
    core.look.offset_us.store(offset_us, Ordering::Relaxed);
    if verdict::clock_is_told(&offsets, voters.len()) {
        let wall_us = now.wall_us.saturating_add_signed(offset_us);
        *core.look.agreed.lock() = Agreed::on(Reading { wall_us, ..now });
    }
    if is_off != was_off {
        let ms = offset_us / 1_000;
        if is_off {
            tracing::error!(
                ms,
                "this node's clock is behind the others' by so much; it does not lead"
            );
        } else {
            tracing::info!(ms, "this node's clock is right again");
        }
    }
    if is_off {
        step_aside(core).await;
    }
}

async fn judge_state(core: &Core, replies: &[&(u64, ProbeReply)], voters: usize) {
    if core.look.is_out_of_service() {
        return step_aside(core).await;
    }
    // At the entry that most have, the newest of those.
    let mut at: BTreeMap<u64, Vec<&[u8]>> = BTreeMap::new();
    for (_, reply) in replies {
        if !reply.hash.is_empty() {
            at.entry(reply.hashed).or_default().push(&reply.hash);
        }
    }
    for (index, others) in at.into_iter().rev() {
        let own = hash_after(&core.listeners.hashes.lock(), LogIndex(index));
        let Some((_, WriteHash(own))) = own else { continue };
        let verdict = verdict::of_hashes(&own.as_slice(), &others, voters);
        let (why, next) = match verdict {
            Verdict::Same => continue,
            Verdict::Differs => (
                "its state is not that of the majority",
                "remove this node and let it join under a new id",
            ),
            Verdict::NoMajority => (
                "no majority of the nodes has the same state",
                "stop all nodes, and keep their data for a look at what happened",
            ),
        };
        let why = format!("{why} after entry {index}; {next}");
        core.take_out_of_service(&why);
        let log = core.log.clone();
        // Where nobody is right somebody has to look, and may then start any of them.
        let kept = (verdict == Verdict::Differs).then(|| {
            machine::blocking(move || log.save_meta_wait(MetaKind::OutOfService, why.as_bytes()))
        });
        step_aside(core).await;
        if let Some(kept) = kept
            && let Ok(Err(error)) = kept.await
        {
            // Started again it finds out once more.
            tracing::error!(%error, "that this node is out of service is not on its disk");
        }
        return;
    }
}

/// Lets another node lead if this one does.
async fn step_aside(core: &Core) {
    if core.route.now().is_some_and(Route::is_here)
        && core.voters().len() > 1
        && let Err(error) = members::make_room(core).await
    {
        tracing::warn!(%error, "no other node leads yet");
    }
}
