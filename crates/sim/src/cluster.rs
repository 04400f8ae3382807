//! The cluster as the simulation knows it: where nodes are, what they share, what befalls them.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use gate::join_token;
use gate::keys::ApiKey;
use gate::seal::DataKey;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use replica::clock::{Reading, TimeSource};
use replica::raft::NodeAddress;
use replica::{Begin, Config, JoinPlan};
use store::log::SyncTakes;
use tokio::sync::watch;
use types::{LogTime, NodeId};

use crate::history::History;

/// The ids of the nodes.
pub(crate) const NODES: RangeInclusive<u64> = 1..=3;
pub(crate) const PEER_PORT: u16 = 4002;
pub(crate) const HTTP_PORT: u16 = 4000;
/// When the simulation begins, in microseconds since the Unix epoch: 2026-01-01.
const EPOCH_US: u64 = 1_767_225_600_000_000;

pub(crate) struct Cluster {
    pub(crate) data_key: DataKey,
    pub(crate) admin_key: ApiKey,
    id: watch::Sender<Option<String>>,
    seed: Cell<u64>,
    agent_key: watch::Sender<Option<String>>,
    ended: watch::Sender<u64>,
    is_over: Cell<bool>,
    verdict: RefCell<Option<Result<(), String>>>,
    /// What clients asked and were told.
    pub(crate) history: RefCell<History>,
    counts: RefCell<Counts>,
}

/// What was asked, and what befell the nodes meanwhile.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counts {
    pub(crate) answers: u64,
    /// Answers that tell of an intent of one's own.
    pub(crate) accepted: u64,
    pub(crate) reads: u64,
    pub(crate) kills: u64,
    pub(crate) cuts: u64,
    /// Terms in which something was answered.
    pub(crate) terms: BTreeSet<u64>,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { answers, accepted, reads, kills, cuts, terms } = self;
        write!(f, "{answers} answers, {accepted} accepted, {reads} reads, {kills} kills, ")?;
        write!(f, "{cuts} cuts, {} terms", terms.len())
    }
}

impl Counts {
    /// A run in which nothing failed, or nobody asked, proves nothing.
    pub(crate) fn must_prove_something(&self) -> Result<(), String> {
        if self.accepted < 100 || self.accepted == self.answers || self.reads < 100 {
            return Err(format!("it proves nothing, too little was answered: {self}"));
        }
        if self.kills == 0 || self.cuts == 0 || self.terms.len() < 2 {
            return Err(format!("it proves nothing, too little failed: {self}"));
        }
        Ok(())
    }
}

/// Simulated time as one node sees it.
struct SimulatedTime {
    began: tokio::time::Instant,
}

impl TimeSource for SimulatedTime {
    fn read(&self) -> Reading {
        let micros = |span: Duration| u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        Reading {
            wall_us: EPOCH_US + micros(turmoil::sim_elapsed().unwrap_or_default()),
            mono_us: micros(self.began.elapsed()),
        }
    }
}

impl Cluster {
    pub(crate) fn new(plan: &mut StdRng) -> Self {
        Self {
            data_key: DataKey::draw(),
            admin_key: ApiKey::draw(),
            id: watch::Sender::new(None),
            seed: Cell::new(plan.random()),
            agent_key: watch::Sender::new(None),
            ended: watch::Sender::new(0),
            is_over: Cell::new(false),
            verdict: RefCell::default(),
            history: RefCell::default(),
            counts: RefCell::default(),
        }
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

    pub(crate) fn registered(&self, agent_key: &str) {
        self.agent_key.send_replace(Some(agent_key.to_owned()));
    }

    /// Waits until there is an agent.
    pub(crate) async fn agent_key(&self) -> String {
        let mut key = self.agent_key.subscribe();
        let key = key.wait_for(Option::is_some).await.expect("its sender is here");
        key.clone().unwrap_or_default()
    }

    pub(crate) fn client_ended(&self) {
        self.ended.send_modify(|ended| *ended += 1);
    }

    /// Waits until so many clients have their answers.
    pub(crate) async fn clients_ended(&self, count: u64) {
        let mut ended = self.ended.subscribe();
        ended.wait_for(|ended| *ended >= count).await.expect("its sender is here");
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
        let data_dir = PathBuf::from(format!("n{id}"));
        let mut config = Config::new(data_dir, NodeId(id), address, self.data_key.clone());
        config.time = Arc::new(SimulatedTime { began: tokio::time::Instant::now() });
        let numbers = parking_lot::Mutex::new(self.numbers());
        config.log.memtable_bytes = 1024 * 1024;
        config.log.sync_takes = Some(SyncTakes(Arc::new(move || {
            Duration::from_micros(numbers.lock().random_range(50..3_000))
        })));
        config.snapshot_entries = 500;
        // Files of RocksDB are never twice the same, so none may be sent to another node.
        config.log_kept_entries = u64::MAX / 2;
        config.log_kept_bytes = u64::MAX;
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
