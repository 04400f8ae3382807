//! Raft's state machine on [`store::state`].
//!
//! Promise: progress is published after the write, and replies leave after that.
//! Invariant: a snapshot is a directory; its own files say where it ends.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use futures::{Stream, TryStreamExt as _};
use gate::log::Progress;
use ledger::{Effect, WriteHash};
use openraft::alias::{LogIdOf, SnapshotMetaOf, SnapshotOf, StoredMembershipOf};
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::{OptionalSend, RaftSnapshotBuilder, SnapshotMeta};
use parking_lot::Mutex;
use store::state::{Snapshot, StateStore};
use tokio::sync::{broadcast, watch};
use types::LogIndex;
use types::limits::EFFECTS_KEPT_MAX;

use crate::ahead::{Ahead, Begun};
use crate::apply::{self, Applied, ApplyError, Chunk, Outcome};
use crate::codec;
use crate::meters::ApplyMeters;
use crate::raft::{Replies, TypeConfig};

/// Entries whose hashes are kept: two nodes compare at one that both have applied.
const HASHES_KEPT: usize = 8_192;

/// A snapshot as it travels: the directory with its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotDir(pub PathBuf);

/// Where progress and hints of the state machine can be heard.
#[derive(Clone)]
pub struct Listeners {
    /// How far this node has applied.
    pub progress: watch::Sender<Progress>,
    /// What applied entries caused.
    pub effects: broadcast::Sender<Arc<Vec<Effect>>>,
    /// The last applied entry that changed keys, principals or policies, or a later one.
    pub changed: Arc<AtomicU64>,
    /// The running hash of writes after the newest entries, oldest first.
    pub hashes: Arc<Mutex<VecDeque<(LogIndex, WriteHash)>>>,
}

impl Default for Listeners {
    fn default() -> Self {
        Self {
            progress: watch::Sender::new(Progress::default()),
            effects: broadcast::Sender::new(EFFECTS_KEPT_MAX),
            changed: Arc::default(),
            hashes: Arc::default(),
        }
    }
}

/// The one writer of the state.
pub struct StateMachine {
    state: Arc<StateStore>,
    applied: Applied,
    ahead: Ahead,
    listeners: Listeners,
    meters: ApplyMeters,
}

impl StateMachine {
    /// Goes on where the state is. The log shares `ahead`.
    ///
    /// # Errors
    /// If the state cannot be read.
    pub fn open(state: Arc<StateStore>, ahead: Ahead, listeners: Listeners) -> io::Result<Self> {
        let applied = Applied::of(&state).map_err(io::Error::other)?;
        let machine = Self { state, applied, ahead, listeners, meters: ApplyMeters::default() };
        machine.ahead.rest(&machine.applied);
        machine.publish(true);
        machine.note_hash()?;
        Ok(machine)
    }

    /// Where the state stands, so that it is compared with others before more is applied. Where
    /// the last entry wrote nothing nobody else has a hash, and the next one tells.
    fn note_hash(&self) -> io::Result<()> {
        let hash = self.state.with_live(Applied::hash_of).map_err(io::Error::other)?;
        if let Some(hash) = hash {
            self.listeners.hashes.lock().push_back((self.applied.index(), hash));
        }
        Ok(())
    }

    /// Says how far the state is, and whether copies of what hardly ever changes are stale.
    fn publish(&self, changed: bool) {
        if changed {
            self.listeners.changed.store(self.applied.index().0, Ordering::Release);
        }
        let progress = Progress { index: self.applied.index(), time: self.applied.time };
        self.listeners.progress.send_replace(progress);
    }

    /// One write, of what was worked out ahead if that is there. A large chunk is applied beside
    /// the runtime, which serves on.
    async fn apply_now(&mut self, chunk: Chunk) -> io::Result<Result<Outcome, ApplyError>> {
        let beside = match self.ahead.take(&self.applied, &chunk) {
            Some(Begun::Done(prepared)) => {
                return Ok(prepared.write(&self.state, &mut self.applied));
            }
            Some(Begun::Beside(beside)) => beside,
            None if chunk.is_small() => {
                return Ok(apply::apply(&self.state, &mut self.applied, chunk));
            }
            None => self.ahead.beside(&self.state, &self.applied, chunk)?,
        };
        let written = beside.write().await?;
        Ok(written.map(|(outcome, applied)| {
            self.applied = applied;
            outcome
        }))
    }

    /// Applies what waits.
    async fn apply_chunk(&mut self, waiting: &mut Waiting) -> io::Result<()> {
        let Waiting { chunk, responders } = std::mem::take(waiting);
        if chunk.is_empty() {
            return Ok(());
        }
        let (began, entries) = (Instant::now(), responders.len());
        let outcome = self
            .apply_now(chunk)
            .await?
            .inspect_err(|error| tracing::error!(%error, "cannot apply, stopping"))
            .map_err(io::Error::other)?;
        self.ahead.rest(&self.applied);
        self.meters.applied(entries, began.elapsed());
        {
            let mut hashes = self.listeners.hashes.lock();
            hashes.extend(outcome.hashes);
            let over = hashes.len().saturating_sub(HASHES_KEPT);
            hashes.drain(..over);
        }
        self.publish(
            outcome.effects.iter().any(|effect| {
                matches!(effect, Effect::PrincipalsChanged | Effect::SettingsChanged)
            }),
        );
        for (responder, replies) in responders.into_iter().zip(outcome.replies) {
            if let Some(responder) = responder {
                responder.send(Replies(replies));
            }
        }
        if !outcome.effects.is_empty() {
            // Nobody listening is fine: the ledger is the truth.
            _ = self.listeners.effects.send(Arc::new(outcome.effects));
        }
        Ok(())
    }
}

/// Entries of the next write and who waits for their replies.
#[derive(Default)]
struct Waiting {
    chunk: Chunk,
    responders: Vec<Option<openraft::storage::ApplyResponder<TypeConfig>>>,
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = SnapshotDir;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(
        &mut self,
    ) -> Result<(Option<LogIdOf<TypeConfig>>, StoredMembershipOf<TypeConfig>), io::Error> {
        Ok((self.applied.log_id, self.applied.membership.clone()))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        let mut waiting = Waiting::default();
        while let Some((entry, responder)) = entries.try_next().await? {
            waiting.responders.push(responder);
            if waiting.chunk.push(entry) {
                self.apply_chunk(&mut waiting).await?;
            }
        }
        self.apply_chunk(&mut waiting).await
    }

    async fn get_snapshot_builder(&mut self) -> Self::SnapshotBuilder {
        SnapshotBuilder { state: self.state.clone() }
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMetaOf<TypeConfig>,
        snapshot: SnapshotDir,
    ) -> Result<(), io::Error> {
        self.ahead.forget();
        let state = self.state.clone();
        let installed = blocking(move || Ok(state.install(&snapshot.0)?)).await?;
        if with_meta(installed)?.meta != *meta {
            return Err(io::Error::other("the installed snapshot ends at another entry"));
        }
        self.applied = Applied::of(&self.state).map_err(io::Error::other)?;
        self.ahead.rest(&self.applied);
        self.publish(true);
        self.note_hash()
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> Result<Option<SnapshotOf<TypeConfig, SnapshotDir>>, io::Error> {
        self.state.latest_snapshot()?.map(with_meta).transpose()
    }
}

/// Makes a snapshot beside the running state machine.
pub struct SnapshotBuilder {
    state: Arc<StateStore>,
}

impl RaftSnapshotBuilder<TypeConfig> for SnapshotBuilder {
    type SnapshotData = SnapshotDir;

    async fn build_snapshot(&mut self) -> Result<SnapshotOf<TypeConfig, SnapshotDir>, io::Error> {
        if self.state.applied().is_none() {
            // The snapshot of nothing has no files; Raft only asks where it ends.
            let meta = SnapshotMeta::default();
            return Ok(SnapshotOf::<TypeConfig, _> { meta, snapshot: SnapshotDir(PathBuf::new()) });
        }
        let state = self.state.clone();
        with_meta(blocking(move || Ok(state.checkpoint()?)).await?)
    }
}

/// Raft's description of a snapshot, from what the snapshot itself says.
pub(crate) fn with_meta(snapshot: Snapshot) -> io::Result<SnapshotOf<TypeConfig, SnapshotDir>> {
    let manifest = &snapshot.manifest;
    let last_log_id = codec::decode_log_id(&manifest.applied).map_err(io::Error::other)?;
    let last_membership =
        codec::decode_membership(&manifest.membership).map_err(io::Error::other)?;
    Ok(SnapshotOf::<TypeConfig, SnapshotDir> {
        meta: SnapshotMeta { last_log_id: Some(last_log_id), last_membership },
        snapshot: SnapshotDir(snapshot.dir),
    })
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    machine::blocking(work).await.map_err(io::Error::other)?
}
