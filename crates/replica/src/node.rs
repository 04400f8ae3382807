//! A node's part in the cluster: it opens the disk, runs Raft, and is the gate's log.
//!
//! Promise: a start on the same data goes on where the node stopped; a start on data that belongs
//! to another node, or that lost what it had acknowledged, fails.
//! Invariant: after a fault nothing is answered any more; [`Replica::failed`] says so.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::future::BoxFuture;
use gate::log::{Consistency, Log, Member, Progress, ProposeError, ReadPoint, Standing, Status};
use ledger::{Effect, Fault, Read};
use openraft::alias::WatchReceiverOf;
use openraft::async_runtime::watch::WatchReceiver as _;
use openraft::{Raft, RaftMetrics, ServerState};
use parking_lot::Mutex;
use store::StoreError;
use store::log::{LogOptions, LogStats, LogStore, MetaKind};
use store::state::StateStore;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::JoinHandle;
use types::{LogIndex, LogTime, NodeId};

use crate::ahead::Ahead;
use crate::apply::Applied;
use crate::clock::LeaderClock;
use crate::codec::{self, Identity};
use crate::config::Config;
use crate::disk::DiskWatch;
use crate::log_store::RaftLog;
use crate::meters::{self, ReplicaMeters};
use crate::network::NoPeers;
use crate::queue::{Queue, Receiver};
use crate::raft::TypeConfig;
use crate::state_machine::{Listeners, StateMachine};
use crate::{propose, reads, upkeep};

/// How long a stop waits for Raft's tasks to let the disk go.
const RELEASE_WAIT: Duration = Duration::from_secs(5);

/// Why a replica did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The disk.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The data is another node's.
    #[error(
        "this data belongs to node {}, not to node {}; point it at its own",
        found.0,
        configured.0
    )]
    OtherNode {
        /// Whose data it is.
        found: NodeId,
        /// Who wanted it.
        configured: NodeId,
    },
    /// The log was purged further than the state goes.
    #[error(
        "the state ends at {applied}, but the log begins after {purged}: state is lost; remove \
         this node and let it join under a new id"
    )]
    StateLost {
        /// Last applied entry.
        applied: u64,
        /// Last purged entry.
        purged: u64,
    },
    /// Raft refused.
    #[error("raft does not start: {0}")]
    Raft(String),
}

impl StartError {
    #[expect(clippy::needless_pass_by_value, reason = "`map_err` gives the error away")]
    fn raft(error: impl ToString) -> Self {
        Self::Raft(error.to_string())
    }
}

/// The leader's clock, while this node leads.
struct Leading {
    term: u64,
    clock: LeaderClock,
}

/// What the replica and its tasks share.
pub(crate) struct Core {
    pub(crate) config: Config,
    pub(crate) cluster_id: String,
    pub(crate) raft: Raft<TypeConfig, StateMachine>,
    pub(crate) metrics: WatchReceiverOf<TypeConfig, RaftMetrics<TypeConfig>>,
    pub(crate) log: Arc<LogStore>,
    pub(crate) state: Arc<StateStore>,
    pub(crate) listeners: Listeners,
    pub(crate) queue: Queue,
    pub(crate) reads: mpsc::Sender<reads::Ask>,
    pub(crate) stopping: watch::Sender<bool>,
    fault: watch::Sender<Option<String>>,
    leading: Mutex<Option<Leading>>,
    pub(crate) meters: ReplicaMeters,
    pub(crate) disk: DiskWatch,
}

impl Core {
    /// The time for a command that is proposed now, if this node leads.
    pub(crate) fn leader_time(&self) -> Option<LogTime> {
        let term = {
            let metrics = self.metrics.borrow_watched();
            (metrics.state == ServerState::Leader).then_some(metrics.current_term)
        };
        let mut leading = self.leading.lock();
        let Some(term) = term else {
            *leading = None;
            return None;
        };
        let now = self.config.time.read();
        let applied = self.listeners.progress.borrow().time;
        if leading.as_ref().is_none_or(|leading| leading.term != term) {
            *leading = Some(Leading { term, clock: LeaderClock::start(applied, now) });
        }
        let leading = leading.as_mut()?;
        // A new leader applies the end of its log only after it began to lead.
        leading.clock.raise_to(applied);
        Some(leading.clock.advance(now))
    }

    pub(crate) fn term(&self) -> u64 {
        self.metrics.borrow_watched().current_term
    }

    /// Index of the last applied entry and of the last snapshot.
    pub(crate) fn applied_and_snapshot(&self) -> (u64, u64) {
        let metrics = self.metrics.borrow_watched();
        let index = |id: &Option<crate::raft::LogId>| id.as_ref().map_or(0, |id| id.index);
        (index(&metrics.last_applied), index(&metrics.snapshot))
    }

    /// Stops answering because of a fault. The first reason stays.
    pub(crate) fn fail(&self, reason: String) {
        self.fault.send_if_modified(|fault| {
            let is_first = fault.is_none();
            fault.get_or_insert(reason);
            is_first
        });
        self.queue.close();
    }

    fn is_healthy(&self) -> bool {
        !*self.stopping.borrow()
            && self.fault.borrow().is_none()
            && self.log.poisoned().is_none()
            && self.metrics.borrow_watched().running_state.is_ok()
    }
}

/// The replicated log of one node.
pub struct Replica {
    core: Arc<Core>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl Replica {
    /// Opens the data, or makes it, and starts to take part.
    ///
    /// # Errors
    /// [`StartError`] says what is wrong with the data or the configuration.
    pub async fn start(config: Config) -> Result<Arc<Self>, StartError> {
        let meters = ReplicaMeters::default();
        let log = Arc::new(LogStore::open(&config.data_dir, &LogOptions::default())?);
        let state = Arc::new(StateStore::open(&config.data_dir)?);
        // Before anything is taken: a node that was full when it stopped is full when it starts.
        let disk = DiskWatch::new(config.disk_reserve_bytes);
        disk.look(&config.data_dir);
        check_state(&log, &state)?;
        let cluster_id = identify(&log, config.node)?;
        let listeners = Listeners::default();
        let ahead = Ahead::default();
        let machine = StateMachine::open(state.clone(), ahead.clone(), listeners.clone());
        let raft = Raft::new(
            config.node.0,
            Arc::new(config.raft(&cluster_id).map_err(StartError::raft)?),
            NoPeers,
            RaftLog::new(log.clone(), state.clone(), ahead),
            machine.map_err(StartError::raft)?,
        )
        .await
        .map_err(StartError::raft)?;
        if !raft.is_initialized().await.map_err(StartError::raft)? {
            let members = BTreeMap::from([(config.node.0, config.address.clone())]);
            raft.initialize(members).await.map_err(StartError::raft)?;
        }
        let (reads, asks) = reads::queue();
        let core = Arc::new(Core {
            config,
            cluster_id,
            metrics: raft.metrics(),
            raft,
            log,
            state,
            listeners,
            queue: Queue::default(),
            reads,
            stopping: watch::Sender::new(false),
            fault: watch::Sender::new(None),
            leading: Mutex::new(None),
            meters,
            disk,
        });
        let tasks = vec![
            tokio::spawn(propose::run(core.clone())),
            tokio::spawn(reads::run(core.clone(), asks)),
            tokio::spawn(upkeep::run(core.clone())),
            tokio::spawn(watch_raft(core.clone())),
            tokio::spawn(meters::count_leaders(core.clone())),
        ];
        Ok(Arc::new(Self { core, tasks: Mutex::new(tasks) }))
    }

    /// Waits until a leader is known, at most so long.
    ///
    /// # Errors
    /// [`ProposeError::NoLeader`] if none is by then.
    pub async fn wait_for_leader(&self, wait: Duration) -> Result<NodeId, ProposeError> {
        let mut metrics = self.core.raft.metrics();
        let known = metrics.wait_until(|metrics| metrics.current_leader.is_some());
        match tokio::time::timeout(wait, known).await {
            Ok(Ok(metrics)) => metrics.current_leader.map(NodeId).ok_or(ProposeError::NoLeader),
            Ok(Err(_)) => Err(ProposeError::Stopping),
            Err(_) => Err(ProposeError::NoLeader),
        }
    }

    /// Ends with the reason when this node cannot go on; the process should exit then.
    pub async fn failed(&self) -> String {
        let mut fault = self.core.fault.subscribe();
        match fault.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            Err(_) => "the replica is gone".to_owned(),
        }
    }

    /// Stops taking part, answers what waits, and lets the disk go.
    pub async fn shutdown(&self) {
        self.core.stopping.send_replace(true);
        self.core.queue.close();
        if self.core.raft.shutdown().await.is_err() {
            tracing::warn!("raft had already stopped");
        }
        let tasks = std::mem::take(&mut *self.tasks.lock());
        for task in tasks {
            // The task of the reads waits for its senders, one of which is ours.
            task.abort();
            _ = task.await;
        }
        let state = self.core.state.clone();
        if let Ok(Err(error)) = tokio::task::spawn_blocking(move || state.flush()).await {
            tracing::warn!(%error, "the last flush failed; the next start replays more");
        }
        let released = async {
            while Arc::strong_count(&self.core.log) > 1 || Arc::strong_count(&self.core.state) > 1 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        if tokio::time::timeout(RELEASE_WAIT, released).await.is_err() {
            tracing::warn!("a task still holds the data");
        }
    }

    /// Counters of the log on disk.
    #[must_use]
    pub fn log_stats(&self) -> LogStats {
        self.core.log.stats()
    }

    /// Up to where the log was purged.
    #[must_use]
    pub fn purged(&self) -> Option<u64> {
        self.core.log.purged()
    }

    /// Commands that wait for the log.
    #[must_use]
    pub fn queue_depth(&self) -> usize {
        self.core.queue.len()
    }

    /// Brings the metrics up to date that are read only when somebody asks.
    pub fn sample(&self) {
        self.core.log.sample();
        self.core.state.sample();
        self.core.meters.sample(&self.core);
    }

    /// The state on disk, for backups and checks.
    #[must_use]
    pub fn state(&self) -> &StateStore {
        &self.core.state
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.core.queue.close();
        self.tasks.lock().iter().for_each(JoinHandle::abort);
    }
}

/// Turns the end of Raft into a fault, unless it was asked for.
async fn watch_raft(core: Arc<Core>) {
    let mut metrics = core.raft.metrics();
    let stopped = metrics.wait_until(|metrics| metrics.running_state.is_err()).await;
    let reason = match stopped {
        Ok(metrics) => metrics.running_state.as_ref().err().map(ToString::to_string),
        Err(_) => None,
    };
    if !*core.stopping.borrow() {
        let reason = reason.unwrap_or_else(|| "raft stopped".to_owned());
        tracing::error!(%reason, "this node cannot go on");
        core.fail(reason);
    }
}

/// The state must reach the beginning of the log.
fn check_state(log: &LogStore, state: &StateStore) -> Result<(), StartError> {
    let applied = state.applied().map(|applied| applied.index);
    match log.purged() {
        Some(purged) if applied < Some(purged) => {
            Err(StartError::StateLost { applied: applied.unwrap_or(0), purged })
        }
        _ => Ok(()),
    }
}

/// Whose data it is; fresh data becomes this node's, in a cluster of its own.
fn identify(log: &LogStore, node: NodeId) -> Result<String, StartError> {
    if let Some(bytes) = log.meta(MetaKind::Node)? {
        let identity = codec::decode_identity(&bytes).map_err(StartError::raft)?;
        if identity.node != node {
            return Err(StartError::OtherNode { found: identity.node, configured: node });
        }
        return Ok(identity.cluster_id);
    }
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(StartError::raft)?;
    let cluster_id: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let identity = Identity { node, cluster_id: cluster_id.clone() };
    log.save_meta_wait(MetaKind::Node, &codec::encode_identity(&identity))?;
    Ok(cluster_id)
}

impl Log for Replica {
    fn propose(&self, command: Vec<u8>) -> Result<Receiver, ProposeError> {
        if !self.core.is_healthy() {
            return Err(ProposeError::Stopping);
        }
        let leader = self.core.metrics.borrow_watched().current_leader;
        if leader != Some(self.core.config.node.0) {
            return Err(ProposeError::NoLeader);
        }
        self.core.queue.push(command)
    }

    fn read_point(
        &self,
        consistency: Consistency,
        min_index: LogIndex,
    ) -> BoxFuture<'_, Result<ReadPoint, ProposeError>> {
        Box::pin(reads::read_point(&self.core, consistency, min_index))
    }

    fn with_state(&self, read: &mut dyn FnMut(&dyn Read, Progress)) -> Result<(), Fault> {
        let outcome = self.core.state.with_view(|view, index| {
            let time = Applied::time_of(view)?;
            read(view, Progress { index: LogIndex(index.unwrap_or(0)), time });
            Ok(())
        });
        outcome.map_err(Fault::from)?
    }

    fn standing(&self) -> Standing {
        let Listeners { changed, progress, .. } = &self.core.listeners;
        let changed = LogIndex(changed.load(Ordering::Acquire));
        Standing { changed, time: progress.borrow().time }
    }

    fn effects(&self) -> broadcast::Receiver<Arc<Vec<Effect>>> {
        self.core.listeners.effects.subscribe()
    }

    fn progress(&self) -> watch::Receiver<Progress> {
        self.core.listeners.progress.subscribe()
    }

    fn leader_time(&self) -> Option<LogTime> {
        self.core.leader_time()
    }

    fn status(&self) -> Status {
        let metrics = self.core.metrics.borrow_watched();
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
            matched: matched(*id),
        });
        let index =
            |id: &Option<crate::raft::LogId>| LogIndex(id.as_ref().map_or(0, |id| id.index));
        let status = Status {
            node: NodeId(own),
            cluster_id: self.core.cluster_id.clone(),
            leader: metrics.current_leader.map(NodeId),
            term: metrics.current_term,
            committed: index(&metrics.local_committed),
            applied: index(&metrics.last_applied),
            members: members.collect(),
            healthy: false,
        };
        drop(metrics);
        Status { healthy: self.core.is_healthy(), ..status }
    }

    fn has_room(&self) -> bool {
        self.core.disk.has_room()
    }
}
