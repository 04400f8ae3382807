//! `qgate serve`: one node, from its data to its front door.
//!
//! Starts the replica, the gate and the door in this order and stops them in the other one, so
//! that a request that was taken is answered; metrics are served from before a leader is known
//! until all else has stopped. Promise: the process ends with 0 when it was asked to stop, and
//! with 1 and the reason when the node cannot go on.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use gate::log::Log as _;
use gate::seal::DataKey;
use gate::{Freshness, Gate, Settings, join_token};
use http_api::HttpConfig;
use ledger::query;
use replica::raft::NodeAddress;
use replica::{Begin, JoinPlan, Replica};
use tls::{Files, Identity};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use types::{LogTime, NodeId};

use crate::config::{Config, Join, PeerTls, Profile};
use crate::data_key;
use crate::disk_limits;
use crate::failure::{Exit, Failure, Outcome};
use crate::files::{self, Readable};
use crate::first_key::FirstKeyFile;
use crate::logging;
use crate::metrics_door::MetricsDoor;
use crate::output::{line, note};
use crate::outward::{Outward, unusable};
use crate::service_manager;
use crate::signals::StopSignals;

/// How long a node waits for a leader before it says that there is none.
const LEAD_WITHIN: Duration = Duration::from_secs(30);

/// Run one node; SIGINT, SIGTERM or SIGHUP stops it.
#[derive(Debug, Args)]
#[command(after_help = "Example: qgate serve --config node.yaml\n\n\
    node.yaml:\n  \
    node: {id: 1}\n  \
    data_dir: data\n  \
    http: {listen: \"127.0.0.1:4000\"}\n  \
    metrics: {listen: \"127.0.0.1:4003\"}\n  \
    peer: {listen: \"127.0.0.1:4002\"}\n  \
    cluster: {profile: lan, initialise: true}\n\n\
    A further node has, instead of initialise, the token of `qgate cluster token` and whom to\n\
    ask:\n  \
    cluster: {profile: lan, join: {ask: {1: \"127.0.0.1:4002\"}, token_file: join.token}}\n\
    and the same data_key_file. Nodes on several machines need `advertise` in `http` and `peer`,\n\
    how the others reach this one, and `tls` in `peer`: ca, certificate and key, in PEM, read\n\
    again while the node runs.\n\n\
    A new cluster's first admin key is printed once, and lies in data_dir/admin.key, or where\n\
    admin_key_file says, until you take it away. `grpc` is kept for releases to come.\n\n\
    disk_reserve_bytes, disk_quota_bytes, disk_stop_bytes and disk_ballast_bytes say what a node\n\
    may take of its disk (docs/operations.md).")]
pub(crate) struct ServeArgs {
    /// Its configuration in YAML, e.g. node.yaml
    #[arg(long, value_name = "FILE")]
    config: PathBuf,

    /// Read the configuration, say what is wrong with it, and start nothing
    #[arg(long)]
    check: bool,

    /// Threads that serve requests, without those of the disk; without it one on up to two cores,
    /// half of the cores on more, e.g. 2
    #[arg(long, env = "QGATE_THREADS", value_name = "NUMBER",
        value_parser = clap::value_parser!(u16).range(1..=THREADS_MAX))]
    threads: Option<u16>,
}

/// How long a node that failed may take to let its data go.
const STOP_WITHIN: Duration = Duration::from_secs(30);
/// How often certificates and keys of files are looked at again.
const RELOAD_EVERY: Duration = Duration::from_secs(1);
/// Bytes of the file with a join token.
const TOKEN_BYTES_MAX: usize = 1_024;
/// What is to be done with the first admin's key.
const TAKE_AWAY: &str = "keep it somewhere safe and delete that file";

/// More than any machine needs.
const THREADS_MAX: i64 = 256;

impl ServeArgs {
    /// How many threads serve requests.
    pub(crate) fn threads(&self) -> usize {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        self.threads.map_or_else(|| (cores / 2).max(1), usize::from)
    }
}

/// Runs `qgate serve`.
pub(crate) async fn run(args: ServeArgs) -> Outcome {
    let config = Config::load(&args.config).map_err(Failure::usage)?;
    if args.check {
        outward(&config)?;
        line(&format!("{}: can be used", args.config.display()));
        return Ok(Exit::Done);
    }
    logging::start(&config.log)?;
    let mut stop = StopSignals::of_a_node()?;
    let listener = listen("http", config.http.listen).await?;
    let peers = match &config.peer {
        Some(door) => Some(listen("peer", door.listen).await?),
        None => None,
    };
    let metrics = match &config.metrics {
        Some(door) => Some(MetricsDoor::new(listen("metrics", door.listen).await?)?),
        None => None,
    };
    let node = Node::start(&config, peers).await?;
    let metrics = metrics.map(|door| door.open(config.node.id, &node.gate, &node.replica));
    let served = match node.open(&config).await {
        Ok(()) => node.serve(listener, &mut stop).await,
        Err(failure) => Err(failure),
    };
    match &served {
        Ok(()) => node.stop().await,
        // What it waits for may never come: a disk that hangs holds threads that nobody can end.
        Err(failure) if tokio::time::timeout(STOP_WITHIN, node.stop()).await.is_err() => {
            tracing::error!("a part of this node does not stop; it ends all the same");
            note(&failure.to_string());
            std::process::exit(failure.exit as i32);
        }
        Err(_) => {}
    }
    if let Some(metrics) = metrics {
        metrics.close().await;
    }
    served?;
    tracing::info!(node = config.node.id, "stopped");
    Ok(Exit::Done)
}

/// Where calls and notifications may go, and with which secrets.
fn outward(config: &Config) -> Result<Outward, Failure> {
    Outward::of(&config.outbound, &config.secrets, &config.base).map_err(unusable)
}

/// Taken first, so that a port in use is said before the disk is touched.
async fn listen(name: &str, address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| {
        Failure::refused(format!("{name} cannot listen on {address}: {error}"))
            .next(format!("stop what listens there, or set another {name}.listen"))
    })
}

/// A running node without its door.
struct Node {
    id: u64,
    replica: Arc<Replica>,
    gate: Arc<Gate>,
    outward: Outward,
    /// Told to stop after the door, so that what a request began still goes out.
    outgoing: watch::Sender<bool>,
    drain: Duration,
    stopping: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Node {
    async fn start(config: &Config, peers: Option<TcpListener>) -> Result<Self, Failure> {
        // First, so that a configuration that cannot be used leaves the disk as it is.
        let outward = outward(config)?;
        let has_data = check_data(config)?;
        let may_make_key = !has_data && config.cluster.join.is_none();
        let data_key = data_key::load(&config.data_key_file, may_make_key)?;
        let id = NodeId(config.node.id);
        let identity = identity(config)?;
        let mut tasks = Vec::new();
        if let Some(identity) = &identity {
            tasks.push(tokio::spawn(identity.watch(RELOAD_EVERY)));
        }
        let settings = replica_config(config, &data_key, identity, has_data)?;
        let replica = Replica::start(settings, peers).await.map_err(|error| {
            let what = format!("node {} cannot start: {error}", config.node.id);
            if error.is_disk_full() { Failure::disk_full(what) } else { Failure::refused(what) }
        })?;
        if config.cluster.initialise {
            let text =
                b"This node has made its cluster. See docs/cluster.md before you delete this.\n";
            files::replace(&mark(&config.data_dir), text, Readable::All)
                .map_err(|error| Failure::refused(error.to_string()))?;
        }
        let settings = Settings {
            open_registration: config.registration.open,
            data_key,
            documents: outward.checks(),
        };
        let gate = Gate::new(replica.clone(), id, settings);
        let stopping = watch::Sender::new(false);
        tasks.push(tokio::spawn(gate::run_tick(gate.clone(), told_to(stopping.subscribe()))));
        tasks.push(tokio::spawn(gate.clone().run_watch()));
        Ok(Self {
            id: config.node.id,
            replica,
            gate,
            outward,
            outgoing: watch::Sender::new(false),
            drain: Duration::from_secs(config.executor_drain_seconds),
            stopping,
            tasks,
        })
    }

    /// Waits for a leader; gives a new cluster its first admin and shows the key once. The key is
    /// on the disk before the cluster hears of it.
    async fn open(&self, config: &Config) -> Result<(), Failure> {
        let cannot = |what: String| Failure::refused(format!("node {} {what}", self.id));
        let found = tokio::select! {
            found = self.replica.wait_for_leader(LEAD_WITHIN) => found,
            reason = self.replica.failed() => return Err(self.failed(&reason)),
        };
        if !config.cluster.initialise {
            // The others may be down: it says so itself, and goes on when they come.
            if let Err(error) = found {
                tracing::warn!(node = self.id, %error, "no leader yet; serving all the same");
            }
            return Ok(());
        }
        if let Err(error) = found {
            if self.replica.status().members.len() > 1 {
                tracing::warn!(node = self.id, %error, "no leader yet; serving all the same");
                return Ok(());
            }
            return Err(cannot(format!("found no leader: {error}")));
        }
        let read = self
            .gate
            .read(Freshness::default(), |state, _| Ok(query::cluster(state)?.is_some()))
            .await;
        let (has_admin, _) =
            read.map_err(|error| cannot(format!("cannot read its state: {error}")))?;
        let file = FirstKeyFile::of(config);
        let shown = file.path().display();
        if has_admin {
            // A start that was cut short printed nothing; where the key lies was asked for by
            // name, somebody knows.
            let lies_here = config.admin_key_file.is_none() && file.path().is_file();
            if lies_here {
                line(&format!("the first admin's key lies in {shown}; {TAKE_AWAY}"));
            }
            return Ok(());
        }
        let failed = |error| cannot(format!("cannot keep the first admin's key: {error}"));
        let key = file.read_or_make().map_err(failed)?;
        let cluster_id = self.gate.log().status().cluster_id;
        let made = self.gate.bootstrap(&cluster_id, &key).await.map_err(|error| {
            cannot(format!("does not know whether it has an admin: {error}"))
                .next(format!("start it again: that finishes it; the admin's key lies in {shown}"))
        })?;
        if made || self.gate.authenticate(key.reveal()).is_ok() {
            line(&format!("admin key, shown once: {}", key.reveal()));
            if config.admin_key_file.is_none() {
                line(&format!("it also lies in {shown}; {TAKE_AWAY}"));
            }
        }
        Ok(())
    }

    /// Serves until a signal or a fault ends it; requests in flight are answered first.
    async fn serve(&self, listener: TcpListener, stop: &mut StopSignals) -> Result<(), Failure> {
        let address = listener.local_addr().map(|address| address.to_string());
        tracing::info!(
            node = self.id,
            http = address.unwrap_or_default(),
            version = env!("CARGO_PKG_VERSION"),
            "serving"
        );
        let config = HttpConfig { version: env!("CARGO_PKG_VERSION") };
        let outgoing = self.outward.start(&self.gate, &self.outgoing, self.drain);
        let told = told_to(self.stopping.subscribe());
        let mut door = tokio::spawn(http_api::serve(listener, self.gate.clone(), config, told));
        service_manager::serving();
        let ended = tokio::select! {
            signal = stop.wait() => {
                tracing::info!(node = self.id, signal, "stopping");
                service_manager::stopping();
                Ok(())
            }
            reason = self.replica.failed() => Err(self.failed(&reason)),
            ended = &mut door => {
                outgoing.iter().for_each(JoinHandle::abort);
                return Err(door_ended(ended));
            }
        };
        if ended.is_ok() {
            self.replica.hand_over().await;
        }
        self.stopping.send_replace(true);
        let door = door.await;
        self.outgoing.send_replace(true);
        if ended.is_err() {
            // The log hears no report any more, so calls on their way are in doubt already: the
            // sooner this process ends, the sooner the next start says so.
            outgoing.iter().for_each(JoinHandle::abort);
        }
        for task in outgoing {
            if let Err(error) = task.await
                && !error.is_cancelled()
            {
                tracing::error!(node = self.id, %error, "a task ended by a fault of its own");
            }
        }
        match door {
            Ok(Ok(())) => ended,
            other => ended.and(Err(door_ended(other))),
        }
    }

    /// Why it cannot go on, and what to do.
    fn failed(&self, reason: &str) -> Failure {
        let what = format!("node {} cannot go on: {reason}", self.id);
        if self.replica.is_disk_full() {
            return Failure::disk_full(what)
                .next("make room on its disk as docs/operations.md says, then start it again");
        }
        Failure::refused(what).next("see what its log says before this line, then start it again")
    }

    async fn stop(self) {
        self.stopping.send_replace(true);
        self.replica.shutdown().await;
        for task in self.tasks {
            // The watch waits for a log that we hold.
            task.abort();
            let _ = task.await;
        }
    }
}

/// True if there is data already. A node that shall not make a cluster needs some.
fn check_data(config: &Config) -> Result<bool, Failure> {
    let data_dir = &config.data_dir;
    // The log: other things may lie there too, such as what a file system makes of its own.
    let has_data = data_dir.join("raft").is_dir();
    if !has_data && !config.cluster.initialise && config.cluster.join.is_none() {
        let what = format!("{} holds no cluster, and none is to be made", data_dir.display());
        return Err(Failure::usage(what).next(
            "point data_dir at the node's data, say `cluster: {initialise: true}`, or have it join \
             one with `cluster: {join: …}`",
        ));
    }
    let mark = mark(data_dir);
    if !has_data && config.cluster.initialise && mark.exists() {
        let what = format!(
            "this node made a cluster before, and {} is empty: what it knew is lost",
            data_dir.display()
        );
        return Err(Failure::refused(what).next(format!(
            "if the cluster's other nodes are there, remove this one and let it join under a new \
             id (docs/cluster.md); to make a new cluster, delete {} first",
            mark.display()
        )));
    }
    files::make_private_dir(data_dir).map_err(|error| Failure::refused(error.to_string()))?;
    Ok(has_data)
}

/// Says beside the data that this node has made its cluster.
fn mark(data_dir: &Path) -> PathBuf {
    let mut name = data_dir.as_os_str().to_owned();
    name.push(".initialised");
    PathBuf::from(name)
}

/// The certificate with which this node speaks to others.
fn identity(config: &Config) -> Result<Option<Arc<Identity>>, Failure> {
    let Some(PeerTls { ca, certificate, key }) = config.peer.as_ref().and_then(|p| p.tls.clone())
    else {
        return Ok(None);
    };
    let loaded = Identity::load(Files { ca, certificate, key });
    loaded.map(Some).map_err(|error| Failure::refused(format!("peer.tls: {error}")))
}

fn replica_config(
    config: &Config,
    data_key: &DataKey,
    identity: Option<Arc<Identity>>,
    has_data: bool,
) -> Result<replica::Config, Failure> {
    let shown = |listen: SocketAddr, advertise: &Option<String>| {
        advertise.clone().unwrap_or_else(|| listen.to_string())
    };
    let peer = config.peer.as_ref().map(|peer| shown(peer.listen, &peer.advertise));
    let address = NodeAddress {
        http: shown(config.http.listen, &config.http.advertise),
        peer: peer.unwrap_or_default(),
        region: config.node.region.clone(),
        priority: config.node.priority,
        ..NodeAddress::default()
    };
    let id = NodeId(config.node.id);
    let data_dir = config.data_dir.clone();
    let mut replica = replica::Config::new(data_dir, id, address, data_key.clone());
    replica.identity = identity;
    replica.disk = disk_limits::of(config);
    replica.ask_first.clone_from(&config.cluster.ask_first);
    if let Some(bytes) = config.cluster.snapshot_bytes_per_second {
        replica.snapshot_bytes_per_second = bytes;
    }
    if let Some(entries) = config.cluster.snapshot_entries {
        replica.snapshot_entries = entries;
    }
    if let Some(entries) = config.cluster.log_kept_entries {
        replica.log_kept_entries = entries;
    }
    replica.profile = match config.cluster.profile {
        Profile::Lan => replica::Profile::Lan,
        Profile::Regional => replica::Profile::Regional,
        Profile::Global => replica::Profile::Global,
    };
    replica.begin = match &config.cluster.join {
        Some(join) => match join_plan(join, data_key) {
            Ok(plan) => Begin::Join(plan),
            // A member needs no token any more.
            Err(_) if has_data => Begin::Resume,
            Err(failure) => return Err(failure),
        },
        None if config.cluster.initialise => Begin::Cluster,
        None => Begin::Resume,
    };
    Ok(replica)
}

/// A token is signed with the data key of its cluster, so it tells a key of another one.
fn join_plan(join: &Join, data_key: &DataKey) -> Result<JoinPlan, Failure> {
    let token = files::read(&join.token_file, TOKEN_BYTES_MAX)
        .map_err(|error| Failure::refused(format!("cluster.join: {error}")))?;
    let token = String::from_utf8_lossy(&token).trim().to_owned();
    let cluster_id = join_token::cluster_of(&token)
        .map_err(|error| Failure::refused(format!("cluster.join: {error}")))?
        .to_owned();
    // When it ends is for the leader to say.
    join_token::check(data_key, &cluster_id, &token, LogTime(0)).map_err(|error| {
        Failure::refused(format!("cluster.join: {error}"))
            .next("copy data_key_file from a node of the cluster; every node has the same")
    })?;
    Ok(JoinPlan { cluster_id, ask: join.ask.clone(), token })
}

/// Resolves when the node is told to stop.
async fn told_to(mut stopping: watch::Receiver<bool>) {
    // An error means that the node is gone, which is the same.
    let _ = stopping.wait_for(|stop| *stop).await;
}

fn door_ended(ended: Result<std::io::Result<()>, tokio::task::JoinError>) -> Failure {
    let why = match ended {
        Ok(Ok(())) => "it ended by itself".to_owned(),
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    Failure::refused(format!("the HTTP door does not serve any more: {why}"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_token_that_another_data_key_signed_is_refused_before_anybody_is_asked() {
        let dir = tempfile::tempdir().unwrap();
        let (key, other) = (DataKey::draw(), DataKey::draw());
        let token_file = dir.path().join("join.token");
        let token = join_token::sign(&key, &"a".repeat(32), LogTime(1));
        std::fs::write(&token_file, token).unwrap();
        let join = Join { ask: BTreeMap::new(), token_file };
        assert!(join_plan(&join, &key).is_ok(), "whether it has ended is for the leader to say");
        let refused = join_plan(&join, &other).unwrap_err();
        assert!(refused.what.contains("data key"), "{refused}");
    }
}
