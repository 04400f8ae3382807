//! The handle itself: who calls, and how a command gets its answer.

use std::sync::Arc;
use std::time::Duration;

use ledger::{AgentRow, Command, Envelope, Reply, RequestKey, encode_command, query};
use tokio::sync::oneshot;
use tokio::time::Instant;
use types::{KeyId, LogIndex, NamespaceId, NodeId, Phase, Role};

use crate::administer_settings::DocumentChecks;
use crate::beside::Beside;
use crate::callers::Callers;
use crate::engines::Engines;
use crate::errors::GateError;
use crate::ids::{IdSource, random};
use crate::log::{Committed, Log, ProposeError, Reach};
use crate::meters::{GateMeters, Sent};
use crate::seal::DataKey;
use crate::watch::Waiters;

/// How long a request waits for the log before its outcome is said to be unknown.
const REPLY_DEADLINE: Duration = Duration::from_secs(10);

/// What the node's configuration says about its doors.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Anybody may register principals of role `agent`; only ever on a loopback address.
    pub open_registration: bool,
    /// Seals tokens that the ledger stores; the same on every node of a cluster.
    pub data_key: DataKey,
    /// What documents of destinations and channels must pass on this node.
    pub documents: DocumentChecks,
}

/// Somebody with a valid key.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Where the key is valid.
    pub namespace: NamespaceId,
    /// Whose it is.
    pub agent: Arc<AgentRow>,
    /// Which.
    pub key: KeyId,
}

impl Caller {
    /// Refuses callers whose role does not pass; `needed` names the roles that would.
    ///
    /// # Errors
    /// [`GateError::Forbidden`].
    pub fn need(&self, allows: impl Fn(Role) -> bool, needed: &str) -> Result<(), GateError> {
        if allows(self.agent.role) {
            return Ok(());
        }
        let role = self.agent.role;
        Err(GateError::Forbidden(format!("role {role} may not do this; it needs {needed}")))
    }
}

/// The ledger's answer and where it stands.
#[derive(Debug, Clone)]
pub struct Answer {
    /// What the ledger said.
    pub reply: Reply,
    /// Log index of the entry.
    pub index: LogIndex,
    /// Term of the entry.
    pub term: u64,
}

impl Answer {
    /// What the ledger said, out of its wrapping if an `Idempotency-Key` replays it, and whether
    /// one does.
    #[must_use]
    pub fn unwrapped(&self) -> (&Reply, bool) {
        match &self.reply {
            Reply::Replayed(first) => (first, true),
            reply => (reply, false),
        }
    }
}

type Receiver = oneshot::Receiver<Result<Committed, ProposeError>>;

/// A command in the queue to the log, or why it is not in it.
pub(crate) struct Queued {
    sent: Sent,
    namespace: NamespaceId,
    receiver: Result<Receiver, ProposeError>,
    /// When its outcome is said to be unknown.
    ends: Instant,
}

/// The handle.
pub struct Gate {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) ids: Arc<IdSource>,
    pub(crate) engines: Engines,
    callers: Callers,
    pub(crate) waiters: Waiters,
    beside: Beside,
    node: NodeId,
    settings: Settings,
    meters: GateMeters,
}

impl Gate {
    /// A handle on this node's log.
    #[must_use]
    pub fn new(log: Arc<dyn Log>, node: NodeId, settings: Settings) -> Arc<Self> {
        Arc::new(Self {
            log,
            ids: Arc::new(IdSource::new(node)),
            engines: Engines::default(),
            callers: Callers::default(),
            waiters: Waiters::default(),
            beside: Beside::default(),
            node,
            settings,
            meters: GateMeters::default(),
        })
    }

    /// This node.
    pub(crate) fn node(&self) -> NodeId {
        self.node
    }

    /// The configuration.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Where work in proportion to large bodies is done.
    #[must_use]
    pub fn beside(&self) -> &Beside {
        &self.beside
    }

    /// The log, for its status.
    #[must_use]
    pub fn log(&self) -> &Arc<dyn Log> {
        &self.log
    }

    /// Finds out who calls. A filter only: the ledger checks again at apply.
    ///
    /// # Errors
    /// [`GateError::UnknownKey`] or [`GateError::Inactive`].
    pub fn authenticate(&self, key: &str) -> Result<Caller, GateError> {
        self.callers.find(self.log.as_ref(), &crate::keys::hash(key))
    }

    /// Sends a command of a caller and waits for its answer.
    pub(crate) async fn command(
        &self,
        caller: &Caller,
        request_key: Option<RequestKey>,
        command: Command,
    ) -> Result<Answer, GateError> {
        self.send(Envelope {
            request: random(),
            credential: Some(caller.key),
            namespace: caller.namespace,
            request_key,
            command,
        })
        .await
    }

    /// Sends a command that no key stands behind: the cluster's own, or one that brings its
    /// authority along.
    pub(crate) async fn without_key(
        &self,
        namespace: NamespaceId,
        command: Command,
    ) -> Result<Answer, GateError> {
        self.send(Envelope {
            request: random(),
            credential: None,
            namespace,
            request_key: None,
            command,
        })
        .await
    }

    /// Sends an envelope and waits for its answer.
    pub(crate) async fn send(&self, envelope: Envelope) -> Result<Answer, GateError> {
        self.answer(self.queue(&envelope, || encode_command(&envelope))).await
    }

    /// Puts an envelope into the queue to the log, in these bytes.
    pub(crate) fn queue(&self, envelope: &Envelope, bytes: impl FnOnce() -> Vec<u8>) -> Queued {
        let sent = self.meters.sent(&envelope.command);
        let receiver = if takes_room(&envelope.command) && !self.log.has_room() {
            Err(ProposeError::DiskFull)
        } else {
            let bytes = bytes();
            self.meters.packed(&bytes);
            self.log.propose(bytes, reach(&envelope.command))
        };
        let ends = Instant::now() + REPLY_DEADLINE;
        Queued { sent, namespace: envelope.namespace, receiver, ends }
    }

    /// Waits for the answer to what was queued.
    pub(crate) async fn answer(&self, queued: Queued) -> Result<Answer, GateError> {
        let Queued { sent, namespace, receiver, ends } = queued;
        let answer = committed(receiver, ends).await;
        self.meters.answered(&sent, &answer);
        if let Ok(Answer { reply, .. }) = &answer {
            self.note_wait(namespace, reply);
        }
        Ok(answer?)
    }

    /// Records how long an intent waited for the people who have decided it now.
    fn note_wait(&self, namespace: NamespaceId, reply: &Reply) {
        let intent = match reply {
            Reply::Approved { intent, already: false, .. }
            | Reply::Ended { intent, phase: Phase::Rejected, .. } => *intent,
            _ => return,
        };
        let head = self.look(|state, _| Ok(query::head(state, namespace, intent)?));
        // A fault is said where the state is needed; this is only a number.
        if let Ok((Some(head), _)) = head
            && let Some(decided) = &head.decided
        {
            self.meters.decided(head.phase, decided.at.since_ms(head.submitted_at));
        }
    }

    /// Brings the metrics up to date that are read only when somebody asks.
    pub fn sample(&self) {
        self.meters.status(&self.log.status());
        let now = self.log.leader_time();
        let counted = self
            .look(|state, progress| Ok(self.meters.state(state, now.unwrap_or(progress.time))?));
        if let Err(error) = counted {
            tracing::warn!(%error, "the state cannot be read for metrics");
            self.meters.state_unknown();
        }
    }
}

async fn committed(
    receiver: Result<Receiver, ProposeError>,
    ends: Instant,
) -> Result<Answer, ProposeError> {
    let committed = match tokio::time::timeout_at(ends, receiver?).await {
        Ok(Ok(committed)) => committed?,
        Ok(Err(_)) | Err(_) => return Err(ProposeError::Unknown),
    };
    Ok(Answer { reply: committed.reply, index: committed.index, term: committed.term })
}

/// What the leader does as the leader must not outlive its reign.
fn reach(command: &Command) -> Reach {
    match command {
        Command::Tick | Command::TakeOver(_) | Command::Claim(_) | Command::SettleFreezes(_) => {
            Reach::Leader
        }
        _ => Reach::Cluster,
    }
}

/// What only adds to the ledger, and can wait. All else ends something, or lets something end, or
/// takes rights away: it goes on while there is any room at all.
fn takes_room(command: &Command) -> bool {
    match command {
        Command::Submit(_)
        | Command::RegisterAgent(_)
        | Command::CreateNamespace(_)
        | Command::ApplyPolicies(_)
        | Command::ApplyDestinations(_)
        | Command::ApplyChannels(_)
        | Command::RegisterWebhook(_)
        | Command::RaiseFeatureLevel(_) => true,
        Command::Bootstrap(_)
        | Command::Tick
        | Command::Approve(_)
        | Command::Reject(_)
        | Command::Cancel(_)
        | Command::SetAgentStatus(_)
        | Command::RotateKey(_)
        | Command::SetRole(_)
        | Command::IssueOrder(_)
        | Command::ReportOrder(_)
        | Command::Resolve(_)
        | Command::TakeOver(_)
        | Command::Claim(_)
        | Command::ReportAttempt(_)
        | Command::ReportDelivery(_)
        | Command::IssueLink(_)
        | Command::DecideByLink(_)
        | Command::ChangeCluster(_)
        | Command::Freeze(_)
        | Command::Unfreeze(_)
        | Command::SettleFreezes(_) => false,
    }
}
