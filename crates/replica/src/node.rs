//! A node's part in the cluster: it opens the disk, runs Raft, and is the gate's log.
//!
//! Promise: a start on the same data goes on where the node stopped; a start on data that belongs
//! to another node, or that lost what it had acknowledged, fails.
//! Invariant: after a fault nothing is answered any more; [`Replica::failed`] says so.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bugs::Bug;
use futures::future::BoxFuture;
use gate::log::{
    Change, ChangeError, Consistency, Log, Progress, ProposeError, Reach, ReadPoint, Standing,
    Status,
};
use ledger::{Effect, Fault, Read};
use machine::net::TcpListener;
use openraft::alias::WatchReceiverOf;
use openraft::async_runtime::watch::WatchReceiver as _;
use openraft::{Raft, RaftMetrics, ServerState};
use parking_lot::Mutex;
use store::log::{LogStats, LogStore, MetaKind};
use store::state::StateStore;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::JoinHandle;
use types::{LogIndex, LogTime, NodeId};

use crate::ahead::Ahead;
use crate::apply::Applied;
use crate::begin::{StartError, check_state, identify, must_be_first};
use crate::clock::LeaderClock;
use crate::config::{Begin, Config};
use crate::disk::{self, DiskWatch};
use crate::hand_over::HandingOver;
use crate::held::HeldBytes;
use crate::log_store::RaftLog;
use crate::meters::{self, ReplicaMeters};
use crate::network::Network;
use crate::peers::{Own, Peers};
use crate::probe::Look;
use crate::queue::{Queue, Receiver};
use crate::raft::{NodeAddress, TypeConfig};
use crate::route::{Route, Routes};
use crate::send_snapshot::Pace;
use crate::state_machine::{Listeners, StateMachine};
use crate::strain::{self, Strain};
use crate::{join, members, peer_meters, probe, propose, reads, server, status, upkeep};

/// How long a stop waits for Raft's tasks to let the disk go.
const RELEASE_WAIT: Duration = Duration::from_secs(5);

/// How long a node that stops waits for another to lead.
const HAND_OVER_WAIT: Duration = Duration::from_secs(3);

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
    pub(crate) route: Routes,
    pub(crate) peers: Arc<Peers>,
    /// Held while the membership changes.
    pub(crate) changing: tokio::sync::Mutex<()>,
    pub(crate) handing_over: Mutex<Option<HandingOver>>,
    /// Held while a snapshot is received.
    pub(crate) receiving: tokio::sync::Mutex<()>,
    pub(crate) reads: mpsc::Sender<reads::Ask>,
    pub(crate) stopping: watch::Sender<bool>,
    fault: watch::Sender<Option<String>>,
    leading: Mutex<Option<Leading>>,
    pub(crate) meters: ReplicaMeters,
    pub(crate) disk: DiskWatch,
    pub(crate) look: Look,
    pub(crate) strain: Strain,
    pub(crate) held: HeldBytes,
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
        // Towards the middle of all clocks.
        let now = self.look.corrected(self.config.time.read());
        let applied = self.listeners.progress.borrow().time;
        if leading.as_ref().is_none_or(|leading| leading.term != term) {
            *leading = Some(Leading { term, clock: LeaderClock::start(applied, now) });
        }
        let leading = leading.as_mut()?;
        // A new leader applies the end of its log only after it began to lead.
        leading.clock.raise_to(applied);
        Some(leading.clock.advance(now))
    }

    /// Where a node of the cluster is.
    pub(crate) fn address_of(&self, node: u64) -> Option<NodeAddress> {
        let metrics = self.metrics.borrow_watched();
        metrics.membership_config.membership().get_node(&node).cloned()
    }

    /// Whether votes may be answered yet.
    pub(crate) fn may_vote(&self) -> Result<(), tonic::Status> {
        if self.look.has_just_started() {
            return Err(tonic::Status::unavailable("this node has just started"));
        }
        Ok(())
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

    /// Its state is that of the majority, as far as it knows.
    pub(crate) fn is_in_service(&self) -> bool {
        !self.look.is_out_of_service()
    }

    pub(crate) fn is_healthy(&self) -> bool {
        self.is_in_service()
            && !*self.stopping.borrow()
            && self.fault.borrow().is_none()
            && self.log.poisoned().is_none()
            && !self.strain.is_stuck()
            && self.metrics.borrow_watched().running_state.is_ok()
    }
}

/// The replicated log of one node.
pub struct Replica {
    core: Arc<Core>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    /// For other nodes.
    door: Mutex<Option<JoinHandle<()>>>,
}

impl Replica {
    /// Opens the data, or makes it, and starts to take part.
    ///
    /// # Errors
    /// [`StartError`] says what is wrong with the data or the configuration.
    pub async fn start(
        mut config: Config,
        listener: Option<TcpListener>,
    ) -> Result<Arc<Self>, StartError> {
        let meters = ReplicaMeters::default();
        // Before anything is written: a node that was full when it stopped is full when it starts.
        let disk = DiskWatch::new(config.disk);
        if config.data_dir.is_dir() {
            disk.look(&config.data_dir);
        }
        if disk.is_at_end() {
            return Err(StartError::DiskFull(disk.end_of(&config.data_dir)));
        }
        let log = Arc::new(LogStore::open(&config.data_dir, &config.log)?);
        let state = Arc::new(StateStore::open(&config.data_dir)?);
        check_state(&log, &state)?;
        if log.last().is_none() && log.purged().is_none() && config.begin == Begin::Cluster {
            must_be_first(&config).await?;
        }
        let identity = identify(&log, &config, state.applied().is_some())?;
        let out_of_service = log.meta(MetaKind::OutOfService)?;
        let cluster_id = identity.cluster_id.clone();
        config.address.incarnation = identity.incarnation;
        config.address.shall_vote = true;
        let listeners = Listeners::default();
        let ahead = Ahead::default();
        let machine = StateMachine::open(state.clone(), ahead.clone(), listeners.clone());
        let peers = Arc::new(Peers::new(
            cluster_id.clone(),
            Own { node: config.node, data: identity.incarnation },
            config.identity.clone(),
            config.connect_wait(),
        ));
        let pace = Pace::new(config.snapshot_bytes_per_second);
        let held = HeldBytes::default();
        let network = Network { peers: peers.clone(), pace, held: held.clone() };
        let raft = Raft::new(
            config.node.0,
            Arc::new(config.raft(&cluster_id).map_err(StartError::raft)?),
            network,
            RaftLog::new(log.clone(), state.clone(), ahead),
            machine.map_err(StartError::raft)?,
        )
        .await
        .map_err(StartError::raft)?;
        let is_known = raft.is_initialized().await.map_err(StartError::raft)?;
        // A voter that votes alone has promised nobody anything.
        let must_wait = is_known && raft.voter_ids().count() > 1;
        let begun = match config.begin {
            _ if is_known => Ok(()),
            Begin::Cluster => {
                let members = BTreeMap::from([(config.node.0, config.address.clone())]);
                raft.initialize(members).await.map_err(StartError::raft)
            }
            Begin::Join(_) => Ok(()),
            Begin::Resume => Err(StartError::NoCluster),
        };
        if let Err(error) = begun {
            _ = raft.shutdown().await;
            drop(raft);
            until_released(&log, &state).await;
            return Err(error);
        }
        let (reads, asks) = reads::queue();
        let leader_wait = config.leader_wait;
        let core = Arc::new(Core {
            config,
            cluster_id,
            metrics: raft.metrics(),
            route: Routes::new(raft.metrics()),
            raft,
            log,
            state,
            listeners,
            queue: Queue::new(leader_wait),
            peers,
            changing: tokio::sync::Mutex::default(),
            handing_over: Mutex::new(None),
            receiving: tokio::sync::Mutex::default(),
            reads,
            stopping: watch::Sender::new(false),
            fault: watch::Sender::new(None),
            leading: Mutex::new(None),
            meters,
            disk,
            look: Look::default(),
            strain: Strain::default(),
            held,
        });
        if must_wait && !Bug::LeaseWithoutWait.is_planted() {
            core.stay_silent(core.config.lease());
        }
        if let Some(why) = out_of_service {
            core.take_out_of_service(&String::from_utf8_lossy(&why));
        }
        let mut tasks = vec![
            tokio::spawn(propose::run(core.clone())),
            tokio::spawn(reads::run(core.clone(), asks)),
            tokio::spawn(upkeep::run(core.clone())),
            tokio::spawn(members::run(core.clone())),
            tokio::spawn(probe::run(core.clone())),
            tokio::spawn(strain::run(core.clone())),
            tokio::spawn(watch_raft(core.clone())),
            tokio::spawn(meters::count_leaders(core.clone())),
        ];
        tasks.push(tokio::spawn(join::keep_known(core.clone())));
        if let Begin::Join(plan) = core.config.begin.clone() {
            tasks.push(tokio::spawn(join::run(core.clone(), plan, is_known)));
        }
        let door = Mutex::new(None);
        if let Some(listener) = listener {
            *door.lock() = Some(server::open(core.clone(), listener));
        }
        Ok(Arc::new(Self { core, tasks: Mutex::new(tasks), door }))
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

    /// It stopped, or has to, for want of room on its disk.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        self.core.disk.is_at_end() || self.core.fault.borrow().as_deref().is_some_and(disk::no_room)
    }

    /// Stops taking part, answers what waits, and lets the disk go.
    pub async fn shutdown(&self) {
        self.core.stopping.send_replace(true);
        self.core.queue.close();
        if self.core.raft.shutdown().await.is_err() {
            tracing::warn!("raft had already stopped");
        }
        // Its streams have ended with Raft, and so do its connections.
        let door = self.door.lock().take();
        if let Some(door) = door {
            _ = door.await;
        }
        let tasks = std::mem::take(&mut *self.tasks.lock());
        for task in tasks {
            // The task of the reads waits for its senders, one of which is ours.
            task.abort();
            _ = task.await;
        }
        let state = self.core.state.clone();
        if let Ok(Err(error)) = machine::blocking(move || state.flush()).await {
            tracing::warn!(%error, "the last flush failed; the next start replays more");
        }
        until_released(&self.core.log, &self.core.state).await;
    }

    /// Gives the lead to another voter, if this node has it and there is one: what comes meanwhile
    /// goes there. A cluster that has no other goes on without.
    pub async fn hand_over(&self) {
        let leads = self.core.route.now().is_some_and(Route::is_here);
        if leads && self.core.voters().len() > 1 {
            let handed = members::make_room(&self.core);
            match tokio::time::timeout(HAND_OVER_WAIT, handed).await {
                Ok(Ok(())) => tracing::info!("another node leads now"),
                Ok(Err(error)) => tracing::warn!(%error, "stopping as the leader"),
                Err(_) => tracing::warn!("nobody took over in time; stopping as the leader"),
            }
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

    /// Bytes of entries that are sent to other nodes and not confirmed.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.core.held.now()
    }

    /// Brings the metrics up to date that are read only when somebody asks.
    pub fn sample(&self) {
        self.core.log.sample();
        self.core.state.sample();
        self.core.meters.sample(&self.core);
    }

    /// Records one series per other node, on the recorder of one scrape: nodes come and go.
    pub fn sample_peers(&self) {
        peer_meters::sample(&self.core);
    }

    /// The state on disk, for backups and checks.
    #[must_use]
    pub fn state(&self) -> &StateStore {
        &self.core.state
    }
}

/// Waits until nobody but the caller holds the data: tasks of Raft outlive its shutdown.
async fn until_released(log: &Arc<LogStore>, state: &Arc<StateStore>) {
    let released = async {
        while Arc::strong_count(log) > 1 || Arc::strong_count(state) > 1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    if tokio::time::timeout(RELEASE_WAIT, released).await.is_err() {
        tracing::warn!("a task still holds the data");
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.core.queue.close();
        self.tasks.lock().iter().for_each(JoinHandle::abort);
        self.door.lock().iter().for_each(JoinHandle::abort);
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

impl Log for Replica {
    fn propose(&self, command: Vec<u8>, reach: Reach) -> Result<Receiver, ProposeError> {
        if !self.core.is_healthy() {
            return Err(ProposeError::Stopping);
        }
        if reach == Reach::Leader && !self.core.route.now().is_some_and(Route::is_here) {
            return Err(ProposeError::NoLeader);
        }
        self.core.queue.push(command, reach)
    }

    fn read_point(
        &self,
        consistency: Consistency,
        min_index: LogIndex,
    ) -> BoxFuture<'_, Result<ReadPoint, ProposeError>> {
        if !self.core.is_in_service() {
            return Box::pin(async { Err(ProposeError::Stopping) });
        }
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
        status::of(&self.core)
    }

    fn change(&self, change: Change) -> BoxFuture<'_, Result<LogIndex, ChangeError>> {
        Box::pin(members::change(&self.core, change))
    }

    fn has_room(&self) -> bool {
        strain::has_room(&self.core)
    }
}
