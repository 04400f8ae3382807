//! What the gate needs from the replicated log. `replica` implements it around Raft.
//!
//! Promise to every caller: a reply arrives only after its command is fsynced on a majority and
//! applied here; a lost reply is said to be lost, never guessed.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use ledger::{Effect, Fault, Read, Reply};
use tokio::sync::{broadcast, oneshot, watch};
use types::{LogIndex, LogTime, NodeId};

/// A command was committed and applied.
#[derive(Debug, Clone)]
pub struct Committed {
    /// Where in the log it stands.
    pub index: LogIndex,
    /// The term of the entry.
    pub term: u64,
    /// What the ledger answered.
    pub reply: Reply,
}

/// Why a command got no reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Nothing happened and nothing will: the queue is full.
    #[error("the queue to the log is full; send again after a moment")]
    QueueFull,
    /// Nothing happened: no leader is known.
    #[error("no leader: a majority of the cluster cannot be reached")]
    NoLeader,
    /// Nothing happened and nothing will: this node leads, and did not come to it in time.
    #[error("the log is slow, and this waited too long in its queue; send again after a moment")]
    Slow,
    /// It may or may not be committed; the same request sent again resolves it.
    #[error("the reply was lost; send the same request again to learn its outcome")]
    Unknown,
    /// A read asked for an entry that is not applied here in time; nothing happened.
    #[error("this node has not applied the log up to `min_index`; ask again, or another node")]
    Behind,
    /// The node is stopping, or stopped itself after a fault.
    #[error("this node is stopping")]
    Stopping,
    /// Nothing happened: what would take room is not taken while the disk is full to its reserve.
    #[error(
        "the disk of the node that leads, or of a majority, is full up to its reserve or quota, so \
         nothing new is taken; decisions, reports and reads go on; ask an operator to free space"
    )]
    DiskFull,
}

/// How far a command may travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reach {
    /// To whichever node leads, and to the next one when that changes. It must be one that is
    /// recognised when it comes twice.
    #[default]
    Cluster,
    /// Nowhere: it is the leader's own, and void when this node does not lead.
    Leader,
}

/// What an operator asks of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// A learner shall vote.
    Promote(NodeId),
    /// A voter shall only learn.
    Demote(NodeId),
    /// A node leaves for ever.
    Remove(NodeId),
    /// Another voter shall lead: this one, or the best there is.
    TransferLeader(Option<NodeId>),
}

/// Why a change was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// It cannot be made, for this reason.
    #[error("{0}")]
    Refused(String),
    /// No leader is known.
    #[error("no leader: a majority of the cluster cannot be reached")]
    NoLeader,
    /// It may or may not have been made; the status says.
    #[error("whether the change was made is not known: {0}; look at the cluster's status")]
    Unknown(String),
}

/// How fresh a read must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Consistency {
    /// After everything that was answered before the read began.
    #[default]
    Linearizable,
    /// Like linearizable while clocks keep their rates; no round to the majority.
    Lease,
    /// Whatever this node has applied.
    Stale,
}

/// State on this node includes at least this entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadPoint {
    /// Applied up to here, at least.
    pub index: LogIndex,
    /// Term of this node.
    pub term: u64,
}

/// How far this node has applied. Changes with every applied run of entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Last applied entry.
    pub index: LogIndex,
    /// Log time after it.
    pub time: LogTime,
}

/// What a copy of keys, principals and policies hangs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Standing {
    /// While this stays, so do they.
    pub changed: LogIndex,
    /// Log time after the last applied entry.
    pub time: LogTime,
}

/// What this node knows of the cluster without asking anybody.
#[derive(Debug, Clone)]
pub struct Status {
    /// This node.
    pub node: NodeId,
    /// Minted at initialisation, 32 hex digits.
    pub cluster_id: String,
    /// The leader, if one is known.
    pub leader: Option<NodeId>,
    /// Current term.
    pub term: u64,
    /// Last committed entry known here.
    pub committed: LogIndex,
    /// Last applied entry.
    pub applied: LogIndex,
    /// Every node of the membership.
    pub members: Vec<Member>,
    /// The membership changes: majorities of the old one and of the new one are needed.
    pub changing: bool,
    /// The node serves: not stopping, not poisoned.
    pub healthy: bool,
    /// Its disk has room for new things.
    pub has_room: bool,
    /// What others see of this node; its round trip and clock offset are 0.
    pub own: Option<Seen>,
    /// How far the nodes are from each other, as the configuration says.
    pub profile: &'static str,
    /// When and why this node gave the lead away last for its disk's sake.
    pub given_away: Option<HandOver>,
    /// What an operator should look at, as far as this node knows.
    pub warnings: Vec<Warning>,
}

/// A leader let another node lead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandOver {
    /// `slow_disk`, `stuck_disk`, `full_disk` or `disk_end`.
    pub why: &'static str,
    /// Who should lead then; `None` if there was nobody better.
    pub to: Option<NodeId>,
    /// How long ago.
    pub ago: Duration,
}

/// Something is not as it should be, though the node goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// For programs.
    pub code: &'static str,
    /// Nothing is wrong, but it could be better.
    pub is_only_advice: bool,
    /// Which node it is about.
    pub node: Option<NodeId>,
    /// For people: what is so, and what next.
    pub message: String,
}

/// One node of the cluster.
#[derive(Debug, Clone)]
pub struct Member {
    /// Its id.
    pub node: NodeId,
    /// Votes, or only learns.
    pub voter: bool,
    /// Address of its HTTP front door.
    pub http: String,
    /// Address for other nodes.
    pub peer: String,
    /// Where it runs, if configured.
    pub region: String,
    /// Drawn when its data directory was made.
    pub incarnation: [u8; 16],
    /// Of the voters that are up to date the one with the highest should lead.
    pub priority: u32,
    /// What the leader knows to be stored there; own log on a follower.
    pub matched: Option<LogIndex>,
    /// What this node has seen of it; `None` of itself, and of one that does not answer.
    pub seen: Option<Seen>,
}

/// What one node has seen of another, or of itself, not long ago.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// There and back.
    pub round_trip: Duration,
    /// How far its wall clock is ahead of the own one, in microseconds.
    pub clock_offset_us: i64,
    /// Its last applied entry.
    pub applied: LogIndex,
    /// Room on its disk.
    pub disk_free_bytes: u64,
    /// Size of its disk.
    pub disk_size_bytes: u64,
    /// The highest feature level that its build knows.
    pub feature_level: u32,
    /// It serves.
    pub healthy: bool,
    /// Its disk has room for new things.
    pub has_room: bool,
    /// How long a sync of its log usually takes, in microseconds; `None` while that is not known.
    pub sync_us: Option<u64>,
    /// Its syncs take much longer than those of another node.
    pub slow_disk: bool,
    /// Its profile: `lan`, `regional` or `global`.
    pub profile: Option<&'static str>,
    /// It would lead if it were asked to.
    pub may_lead: bool,
}

/// The replicated log with the state it makes.
pub trait Log: Send + Sync + 'static {
    /// Queues one encoded command ([`ledger::Envelope`]) without waiting. The receiver gets the
    /// reply once the command is durable and applied.
    ///
    /// # Errors
    /// [`ProposeError::QueueFull`], [`ProposeError::NoLeader`] or [`ProposeError::Stopping`];
    /// in these cases nothing was queued.
    fn propose(
        &self,
        command: Vec<u8>,
        reach: Reach,
    ) -> Result<oneshot::Receiver<Result<Committed, ProposeError>>, ProposeError>;

    /// Waits until state here is as fresh as asked, and at least at `min_index`.
    fn read_point(
        &self,
        consistency: Consistency,
        min_index: LogIndex,
    ) -> BoxFuture<'_, Result<ReadPoint, ProposeError>>;

    /// Runs `read` on one consistent view of the applied state.
    ///
    /// # Errors
    /// [`Fault`] if the view cannot be made; `read` was not called then.
    fn with_state(&self, read: &mut dyn FnMut(&dyn Read, Progress)) -> Result<(), Fault>;

    /// What copies of keys, principals and policies hang on, at no cost. It has moved before the
    /// reply to a command that changes them leaves, and never before [`Self::with_state`] shows the
    /// change, so a copy read after it is at least as new.
    fn standing(&self) -> Standing;

    /// Hints of what applied entries caused, in order. A receiver that lags looks at the ledger.
    fn effects(&self) -> broadcast::Receiver<Arc<Vec<Effect>>>;

    /// Applied progress, for long polls and the tick.
    fn progress(&self) -> watch::Receiver<Progress>;

    /// The log time that a command proposed now would get, if this node leads.
    fn leader_time(&self) -> Option<LogTime>;

    /// What this node knows of the cluster.
    fn status(&self) -> Status;

    /// Changes who belongs to the cluster, votes or leads, and answers once that is so.
    fn change(&self, change: Change) -> BoxFuture<'_, Result<LogIndex, ChangeError>>;

    /// The disks of the node that leads and of a majority have room for what nobody waits for yet.
    fn has_room(&self) -> bool {
        true
    }
}
