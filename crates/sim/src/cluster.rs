//! The cluster as the simulation knows it: where nodes are, what they share, what befalls them.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use checker::effects::Heard;
use checker::freezes::Freeze;
use checker::history::History;
use faulty_target::Target;
use gate::join_token;
use gate::keys::ApiKey;
use gate::seal::DataKey;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use replica::raft::NodeAddress;
use replica::{Begin, Config, JoinPlan};
use store::log::SyncTakes;
use tokio::sync::watch;
use types::{LogTime, NodeId};

use crate::clock::{Clock, Drift};
use crate::workload::now;

/// The ids of the nodes.
pub(crate) const NODES: RangeInclusive<u64> = 1..=3;
pub(crate) const PEER_PORT: u16 = 4002;
pub(crate) const HTTP_PORT: u16 = 4000;
/// Where the executor calls.
pub(crate) const TARGET: &str = "target";
pub(crate) const TARGET_PORT: u16 = 80;

pub(crate) struct Cluster {
    pub(crate) data_key: DataKey,
    pub(crate) admin_key: ApiKey,
    id: watch::Sender<Option<String>>,
    seed: Cell<u64>,
    is_over: Cell<bool>,
    verdict: RefCell<Option<Result<(), String>>>,
    /// What clients asked and were told.
    pub(crate) history: RefCell<History>,
    /// What people were told of their words.
    pub(crate) heard: RefCell<Vec<Heard>>,
    /// What who froze something was told.
    pub(crate) freezes: RefCell<Vec<Freeze>>,
    /// An intent that a client was just told of.
    pub(crate) newest: RefCell<Option<String>>,
    pub(crate) target: Target,
    counts: RefCell<Counts>,
    /// Nodes whose disks fail them.
    may_end: RefCell<BTreeSet<u64>>,
    /// The node on whose disk a bit is wrong, and whether it cannot go on for that.
    damaged: Cell<Option<(u64, bool)>>,
    /// By how many microseconds the clock of each node is ahead.
    clocks: BTreeMap<u64, Clock>,
    /// One of them runs at another rate.
    drifts: bool,
    /// A bit of a disk is to become another one.
    pub(crate) is_to_be_damaged: bool,
}

/// The keys of everybody.
#[derive(Clone, Default)]
pub(crate) struct Keys {
    pub(crate) agent: String,
    /// Id and key of each.
    pub(crate) people: Vec<(String, String)>,
}

/// What was asked, and what befell the nodes meanwhile.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counts {
    pub(crate) answers: u64,
    /// Answers that tell of an intent of one's own.
    pub(crate) accepted: u64,
    pub(crate) reads: u64,
    /// All that befell the nodes, one by one.
    pub(crate) faults: u64,
    pub(crate) kills: u64,
    pub(crate) cuts: u64,
    /// Nodes whose messages waited.
    pub(crate) delays: u64,
    /// Nodes that lost their power, and those of them whose disks lost something.
    pub(crate) power_losses: u64,
    pub(crate) torn: u64,
    /// Nodes that a full disk or a failed sync has ended.
    pub(crate) full_disks: u64,
    pub(crate) failed_syncs: u64,
    /// Snapshots that took the place of a node's state.
    pub(crate) installs: u64,
    pub(crate) clock_jumps: u64,
    /// Disks with a wrong bit, and those whose nodes saw it.
    pub(crate) flipped_bits: u64,
    pub(crate) damage_found: u64,
    /// Words of people that count.
    pub(crate) votes: u64,
    /// Intents that were carried out, whose outcome nobody knows, and that never ran.
    pub(crate) effects: u64,
    pub(crate) in_doubt: u64,
    pub(crate) rejected: u64,
    pub(crate) expired: u64,
    /// Times that somebody let nothing more begin.
    pub(crate) freezes: u64,
    /// Terms in which something was answered.
    pub(crate) terms: BTreeSet<u64>,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { answers, accepted, reads, faults, kills, cuts, power_losses, torn, .. } = self;
        write!(f, "{answers} answers, {accepted} accepted, {reads} reads, {faults} faults, ")?;
        write!(f, "{kills} kills, ")?;
        write!(f, "{cuts} cuts, {power_losses} power-losses, {torn} torn, ")?;
        let Self { delays, full_disks, failed_syncs, installs, clock_jumps, .. } = self;
        write!(f, "{delays} delays, {full_disks} full-disks, {failed_syncs} failed-syncs, ")?;
        write!(f, "{installs} installs, ")?;
        let Self { flipped_bits, damage_found, votes, effects, in_doubt, terms, .. } = self;
        write!(f, "{clock_jumps} clock-jumps, {flipped_bits} flipped-bits, ")?;
        write!(f, "{damage_found} damage-found, {votes} votes, {effects} effects, ")?;
        let Self { rejected, expired, freezes, .. } = self;
        write!(f, "{in_doubt} in-doubt, {rejected} rejected, {expired} expired, ")?;
        write!(f, "{freezes} freezes, ")?;
        write!(f, "{} terms", terms.len())
    }
}

impl Counts {
    /// A run in which nothing failed, or nobody asked, proves nothing.
    pub(crate) fn must_prove_something(&self) -> Result<(), String> {
        if self.accepted < 100 || self.accepted == self.answers || self.reads < 100 {
            return Err(format!("it proves nothing, too little was answered: {self}"));
        }
        let is_decided = self.votes > 0 && self.rejected > 0 && self.expired > 0;
        if !is_decided || self.effects < 100 || self.freezes == 0 {
            return Err(format!("it proves nothing, too little was carried out: {self}"));
        }
        let took_effect = self.kills
            + self.power_losses
            + self.cuts
            + self.delays
            + self.full_disks
            + self.failed_syncs;
        if took_effect < 3 || self.terms.len() < 2 {
            return Err(format!("it proves nothing, too little failed: {self}"));
        }
        Ok(())
    }
}

/// Where a node has its data.
pub(crate) fn data_dir(node: u64) -> PathBuf {
    PathBuf::from(format!("n{node}"))
}

/// How often a snapshot took the place of a node's state: each makes a new generation of it.
pub(crate) fn installs(node: u64) -> u64 {
    let named = std::fs::read_to_string(data_dir(node).join("CURRENT")).unwrap_or_default();
    let number: Option<u64> = named.trim().strip_prefix("gen-").and_then(|text| text.parse().ok());
    number.map_or(0, |number| number.saturating_sub(1))
}

impl Cluster {
    pub(crate) fn new(plan: &mut StdRng, drift: Option<Drift>, is_to_be_damaged: bool) -> Self {
        Self {
            data_key: DataKey::draw(),
            admin_key: ApiKey::draw(),
            id: watch::Sender::new(None),
            seed: Cell::new(plan.random()),
            is_over: Cell::new(false),
            verdict: RefCell::default(),
            history: RefCell::default(),
            heard: RefCell::default(),
            newest: RefCell::default(),
            target: Target::new(now),
            freezes: RefCell::default(),
            counts: RefCell::default(),
            may_end: RefCell::default(),
            damaged: Cell::new(None),
            clocks: NODES.map(|node| (node, Clock::drawn(plan, node, drift))).collect(),
            drifts: drift.is_some(),
            is_to_be_damaged,
        }
    }

    /// Whether no clock may jump in this run.
    pub(crate) fn has_other_fault(&self) -> bool {
        self.drifts || self.is_to_be_damaged
    }

    pub(crate) fn is_known(&self) -> bool {
        self.id.borrow().is_some()
    }

    pub(crate) fn known_as(&self, id: &str) {
        self.id.send_replace(Some(id.to_owned()));
    }

    /// Waits until there is a cluster.
    pub(crate) async fn known(&self) -> String {
        let mut id = self.id.subscribe();
        let id = id.wait_for(Option::is_some).await.expect("its sender is here");
        id.clone().unwrap_or_default()
    }

    pub(crate) fn judged(&self, verdict: Result<(), String>) {
        self.verdict.replace(Some(verdict));
    }

    /// How it ended.
    pub(crate) fn verdict(&self) -> Result<(), String> {
        let verdict = self.verdict.borrow_mut().take();
        verdict.unwrap_or_else(|| Err("it came to no end".to_owned()))
    }

    pub(crate) fn end_faults(&self) {
        self.is_over.set(true);
    }

    /// Nothing fails any more, and clients come to an end.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over.get()
    }

    /// The disk of a node is about to fail it: it may end.
    pub(crate) fn may_end(&self, node: u64) {
        self.may_end.borrow_mut().insert(node);
    }

    /// Whether a node that cannot go on has every reason.
    pub(crate) fn has_reason(&self, node: u64) -> bool {
        self.may_end.borrow().contains(&node)
    }

    /// A bit of the disk of a node is wrong.
    pub(crate) fn damages(&self, node: u64) {
        self.damaged.set(Some((node, false)));
    }

    pub(crate) fn is_damaged(&self, node: u64) -> bool {
        self.damaged.get().is_some_and(|(damaged, _)| damaged == node)
    }

    /// A node cannot go on for ever.
    pub(crate) fn lost(&self, node: u64) {
        self.damaged.set(Some((node, true)));
        self.count(|counts| counts.damage_found += 1);
    }

    /// Those that run in the end.
    pub(crate) fn nodes(&self) -> Vec<u64> {
        NODES.filter(|node| self.damaged.get() != Some((*node, true))).collect()
    }

    /// A node starts, with a disk that works.
    pub(crate) fn starts(&self, node: u64) {
        self.may_end.borrow_mut().remove(&node);
    }

    /// The clock of a node jumps ahead by so much, or back.
    pub(crate) fn jump(&self, node: u64, by: Duration, is_back: bool) {
        self.clocks[&node].jump(by, is_back);
    }

    /// Counts something that happened.
    pub(crate) fn count(&self, what: impl FnOnce(&mut Counts)) {
        what(&mut self.counts.borrow_mut());
    }

    pub(crate) fn counts(&self) -> Counts {
        self.counts.borrow().clone()
    }

    /// Numbers that follow from the seed, others at each call.
    pub(crate) fn numbers(&self) -> StdRng {
        self.seed.set(self.seed.get().wrapping_add(0x9e37_79b9_7f4a_7c15));
        StdRng::seed_from_u64(self.seed.get())
    }

    pub(crate) async fn config(&self, id: u64) -> Config {
        let at = |node: u64| format!("n{node}:{PEER_PORT}");
        let address = NodeAddress {
            http: format!("n{id}:{HTTP_PORT}"),
            peer: at(id),
            ..NodeAddress::default()
        };
        let mut config = Config::new(data_dir(id), NodeId(id), address, self.data_key.clone());
        config.time = Arc::new(self.clocks[&id].seen_from_now());
        let numbers = parking_lot::Mutex::new(self.numbers());
        config.log.memtable_bytes = 1024 * 1024;
        config.log.sync_takes = Some(SyncTakes(Arc::new(move || {
            let mut numbers = numbers.lock();
            // Now and then it takes its time, so that much is on its way when the power goes.
            let most = if numbers.random_bool(0.1) { 40_000 } else { 3_000 };
            Duration::from_micros(numbers.random_range(50..most))
        })));
        // Few, so that a node that was away needs a snapshot.
        config.snapshot_entries = 100;
        config.log_kept_entries = 50;
        // The machine's disk is not a part of the run.
        config.disk.reserve_bytes = Some(0);
        config.disk.stop_bytes = Some(0);
        if id > 1 {
            let cluster_id = self.known().await;
            let token = join_token::sign(&self.data_key, &cluster_id, LogTime(u64::MAX));
            let ask = NODES.map(|node| (node, at(node))).collect();
            config.begin = Begin::Join(JoinPlan { cluster_id, ask, token });
        }
        config
    }
}
