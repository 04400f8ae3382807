//! Work in the shadow of the disk: while entries are synced, what they will do is worked out.
//!
//! Promise: nothing of it is written, answered or seen before the entries are committed.
//! Invariant: it is used only for the very entries, on the very state, for which it was worked
//! out. For others it is thrown away and worked out again. An error of the thread that works ahead
//! is that of the entries.

use std::sync::{Arc, mpsc};

use parking_lot::Mutex;
use store::state::StateStore;
use tokio::sync::oneshot;

use crate::apply::{self, Applied, ApplyError, Chunk, Outcome, Prepared};
use crate::raft::{Entry, LogId};

/// Shared by the log, which sees entries first, and the state machine, which applies them.
#[derive(Clone, Default)]
pub struct Ahead(Arc<Mutex<Shared>>);

#[derive(Default)]
struct Shared {
    /// What is applied; nothing while entries are being applied.
    applied: Option<Applied>,
    work: Option<Work>,
    /// The thread for what is not small, from the first on.
    jobs: Option<mpsc::Sender<Job>>,
}

/// What entries will do to the state that was applied.
struct Work {
    base: Option<LogId>,
    entries: Vec<LogId>,
    begun: Begun,
}

/// Entries that are worked on ahead, and are committed now.
pub(crate) enum Begun {
    /// They are worked out.
    Done(Box<Prepared>),
    /// The thread works on them.
    Beside(Beside),
}

/// Entries that the node's own thread for them works on. It writes what it worked out when it is
/// told that they are committed, and nothing if this is dropped before.
pub(crate) struct Beside {
    committed: mpsc::SyncSender<()>,
    ended: oneshot::Receiver<Result<(Outcome, Applied), ApplyError>>,
}

/// One piece of work of the thread.
struct Job {
    state: Arc<StateStore>,
    applied: Applied,
    chunk: Chunk,
    committed: mpsc::Receiver<()>,
    ended: oneshot::Sender<Result<(Outcome, Applied), ApplyError>>,
}

/// The thread that works on what is not small. It is always the same one, so that what it needs
/// again and again is still in its core's cache and in its part of the allocator: with threads that
/// took turns, batches went through an eighth slower. It ends with the last sender of jobs.
fn start_thread() -> std::io::Result<mpsc::Sender<Job>> {
    let (jobs, queue) = mpsc::channel::<Job>();
    std::thread::Builder::new().name("apply".into()).spawn(move || {
        for job in queue {
            job.run();
        }
    })?;
    Ok(jobs)
}

impl Job {
    fn run(self) {
        let Self { state, mut applied, chunk, committed, ended } = self;
        let prepared = apply::prepare(&state, &applied, chunk);
        if committed.recv().is_err() {
            return;
        }
        let written = prepared.and_then(|prepared| prepared.write(&state, &mut applied));
        drop(state);
        // Whoever wanted it may be gone; the state says what is applied.
        _ = ended.send(written.map(|outcome| (outcome, applied)));
    }
}

impl Beside {
    /// Has it written; says what came of it, and what is applied then.
    pub(crate) async fn write(self) -> std::io::Result<Result<(Outcome, Applied), ApplyError>> {
        let Self { committed, ended } = self;
        // A thread that is gone tells nothing either.
        _ = committed.send(());
        ended.await.map_err(|_| std::io::Error::other("the thread that applies entries ended"))
    }
}

impl Ahead {
    /// The state stands still at `applied`.
    pub(crate) fn rest(&self, applied: &Applied) {
        self.0.lock().applied = Some(applied.clone());
    }

    /// The state moves, and not by entries.
    pub(crate) fn forget(&self) {
        let mut shared = self.0.lock();
        shared.applied = None;
        shared.work = None;
    }

    /// Works on entries that nobody worked on ahead.
    pub(crate) fn beside(
        &self,
        state: &Arc<StateStore>,
        applied: &Applied,
        chunk: Chunk,
    ) -> std::io::Result<Beside> {
        self.0.lock().beside(state, applied, chunk)
    }

    /// Works out what appended entries will do, if they are the next to be applied. An error is
    /// not told here: whoever applies the entries meets it.
    pub(crate) fn work(&self, state: &Arc<StateStore>, entries: &[Entry]) {
        let mut shared = self.0.lock();
        let Some(applied) = &shared.applied else { return };
        let follows =
            entries.first().map(|entry| entry.log_id.index) == Some(applied.index().0 + 1);
        if !follows {
            return;
        }
        let mut chunk = Chunk::default();
        for (position, entry) in entries.iter().enumerate() {
            let is_last = position + 1 == entries.len();
            if chunk.push(entry.clone()) && !is_last {
                return;
            }
        }
        let base = applied.log_id;
        let ids = chunk.ids();
        let begun = if chunk.is_small() {
            match apply::prepare(state, applied, chunk) {
                Ok(prepared) => Begun::Done(Box::new(prepared)),
                Err(_) => return,
            }
        } else {
            let applied = applied.clone();
            match shared.beside(state, &applied, chunk) {
                Ok(beside) => Begun::Beside(beside),
                Err(_) => return,
            }
        };
        shared.work = Some(Work { base, entries: ids, begun });
    }

    /// What was begun for exactly these entries on exactly this state. From now on the state
    /// moves.
    pub(crate) fn take(&self, applied: &Applied, chunk: &Chunk) -> Option<Begun> {
        let mut shared = self.0.lock();
        shared.applied = None;
        let work = shared.work.take()?;
        (work.base == applied.log_id && work.entries == chunk.ids()).then_some(work.begun)
    }
}

impl Shared {
    fn beside(
        &mut self,
        state: &Arc<StateStore>,
        applied: &Applied,
        chunk: Chunk,
    ) -> std::io::Result<Beside> {
        let jobs = match self.jobs.take() {
            Some(jobs) => jobs,
            None => start_thread()?,
        };
        let (committed, told) = mpsc::sync_channel(1);
        let (done, ended) = oneshot::channel();
        let (state, applied) = (state.clone(), applied.clone());
        let job = Job { state, applied, chunk, committed: told, ended: done };
        jobs.send(job).map_err(|_| std::io::Error::other("the thread that applies is gone"))?;
        self.jobs = Some(jobs);
        Ok(Beside { committed, ended })
    }
}

#[cfg(test)]
mod tests {
    use ledger::{BatchHeader, Bootstrap, Command, CreateNamespace, Envelope, FirstKey};
    use openraft::impls::leader_id_adv::LeaderId;
    use types::codec::encode;
    use types::{AgentId, Digest, KeyId, LogTime, NamespaceId, NodeId};

    use super::*;
    use crate::raft::{BatchBytes, Payload};

    /// A batch that makes namespaces, the first of all the first.
    fn entry(term: u64, index: u64, namespaces: u64) -> Entry {
        let first_key = |number: u64| FirstKey {
            agent: AgentId(number),
            name: format!("agent {number}"),
            key: KeyId(number),
            key_hash: Digest::of(&number.to_be_bytes()),
        };
        let commands: Vec<_> = (0..namespaces)
            .map(|at| {
                let number = term * 1_000_000 + index * 10_000 + at;
                let mut request = [0; 16];
                request[..8].copy_from_slice(&number.to_be_bytes());
                let (credential, command) = if index == 1 {
                    let first =
                        Bootstrap { cluster_id: "c".repeat(32), admin: first_key(1), node: None };
                    (None, Command::Bootstrap(first))
                } else {
                    let name = format!("n{number}");
                    let made = CreateNamespace { name, admin: first_key(number) };
                    (Some(KeyId(1)), Command::CreateNamespace(Box::new(made)))
                };
                let namespace = NamespaceId::DEFAULT;
                encode(&Envelope { request, credential, namespace, request_key: None, command })
            })
            .collect();
        let header = BatchHeader { level: 1, time: LogTime(index), proposer: NodeId(1) };
        let batch = BatchBytes(ledger::encode_batch(&header, &commands).into());
        let log_id = LogId { leader_id: LeaderId { term, node_id: 1 }, index };
        Entry { log_id, payload: Payload::Normal(batch) }
    }

    fn chunk(entries: &[Entry]) -> Chunk {
        let mut chunk = Chunk::default();
        for entry in entries {
            chunk.push(entry.clone());
        }
        chunk
    }

    struct Node {
        _dir: tempfile::TempDir,
        state: Arc<StateStore>,
        applied: Applied,
        ahead: Ahead,
    }

    impl Node {
        /// With the first entry applied.
        fn new() -> Self {
            let dir = tempfile::tempdir().expect("dir");
            let state = Arc::new(StateStore::open(dir.path()).expect("state"));
            let mut applied = Applied::default();
            apply::apply(&state, &mut applied, chunk(&[entry(1, 1, 1)])).expect("applied");
            let ahead = Ahead::default();
            ahead.rest(&applied);
            Self { _dir: dir, state, applied, ahead }
        }

        /// Applies entries only if they were worked on ahead.
        async fn take(&mut self, entries: &[Entry]) -> Option<Outcome> {
            let taken = self.ahead.take(&self.applied, &chunk(entries));
            let outcome = match taken {
                Some(Begun::Done(prepared)) => {
                    Some(prepared.write(&self.state, &mut self.applied).expect("written"))
                }
                Some(Begun::Beside(beside)) => {
                    let (outcome, applied) = beside.write().await.expect("runs").expect("written");
                    self.applied = applied;
                    Some(outcome)
                }
                None => None,
            };
            self.ahead.rest(&self.applied);
            outcome
        }
    }

    #[tokio::test]
    async fn what_is_worked_out_ahead_is_what_is_worked_out_late() {
        // Without a command it is small; making a namespace never is.
        for (entries, namespaces) in [(3, 0), (1, 1), (3, 2), (1, 100), (4, 60)] {
            let (mut early, mut late) = (Node::new(), Node::new());
            let entries: Vec<_> = (2..2 + entries).map(|at| entry(1, at, namespaces)).collect();
            early.ahead.work(&early.state, &entries);
            let (_, before) = early.state.state_hash().expect("hash");
            assert_eq!(early.state.state_hash().expect("hash").1, before, "nothing is written yet");
            let early_outcome = early.take(&entries).await.expect("worked out");
            let late_outcome = apply::apply(&late.state, &mut late.applied, chunk(&entries));
            assert_eq!(early_outcome.replies, late_outcome.expect("applied").replies);
            assert_eq!(early.applied.log_id, late.applied.log_id);
            assert_eq!(
                early.state.state_hash().expect("hash"),
                late.state.state_hash().expect("hash")
            );
        }
    }

    #[tokio::test]
    async fn it_is_used_for_nothing_but_the_entries_and_the_state_it_was_made_for() {
        let mut node = Node::new();
        let (second, other) = (entry(1, 2, 1), entry(2, 2, 1));
        node.ahead.work(&node.state, std::slice::from_ref(&second));
        assert!(node.take(std::slice::from_ref(&other)).await.is_none(), "another leader's entry");
        assert!(node.take(std::slice::from_ref(&second)).await.is_none(), "thrown away for good");

        node.ahead.work(&node.state, &[entry(1, 3, 1)]);
        assert!(node.take(&[entry(1, 3, 1)]).await.is_none(), "it does not follow");

        node.ahead.work(&node.state, &[second.clone(), entry(1, 3, 1)]);
        assert!(node.take(std::slice::from_ref(&second)).await.is_none(), "a part of it");

        node.ahead.work(&node.state, std::slice::from_ref(&second));
        apply::apply(&node.state, &mut node.applied, chunk(&[other])).expect("applied");
        assert!(node.take(&[second]).await.is_none(), "the state has moved");

        let third = [entry(2, 3, 1)];
        assert!(node.ahead.take(&node.applied, &chunk(&third)).is_none());
        node.ahead.work(&node.state, &third);
        assert!(node.take(&third).await.is_none(), "the state was moving");
    }
}
