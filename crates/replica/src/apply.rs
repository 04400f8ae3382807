//! Committed entries become state: one session of the ledger and one write per chunk.
//!
//! Promise: replies and hints leave only after the write with their rows.
//! Invariant: what is applied is a function of the entries alone, however they are cut into
//! chunks; an entry that this build does not know stops the node.

use bugs::Bug;
use ledger::table::{self, Meta};
use ledger::{Effect, Fault, Read, Reply, Session, WriteHash, Writes};
use store::StoreError;
use store::state::{AppliedMeta, StateStore};
use types::codec::{decode, encode};
use types::limits::{APPLY_BYTES_MAX, APPLY_ENTRIES_MAX};
use types::{LogIndex, LogTime};

use crate::codec;
use crate::raft::{Entry, LogId, Membership, Payload};

/// Why entries could not be applied. The node stops.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum ApplyError {
    /// The ledger cannot go on.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The disk cannot.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Commands must follow what is applied.
    #[error("the commands of entry {found} cannot be applied after entry {applied}")]
    Hole {
        /// Last applied entry.
        applied: u64,
        /// The entry that came.
        found: u64,
    },
}

/// How far the state is, in Raft's words.
#[derive(Debug, Clone, Default)]
pub(crate) struct Applied {
    pub(crate) log_id: Option<LogId>,
    pub(crate) membership: Membership,
    pub(crate) time: LogTime,
}

impl Applied {
    /// Reads it back from the state.
    pub(crate) fn of(state: &StateStore) -> Result<Self, ApplyError> {
        let Some(stored) = state.applied() else { return Ok(Self::default()) };
        let damaged = |error| Fault::from(error);
        let time = state.with_live(Self::time_of)?;
        let mut log_id = codec::decode_log_id(&stored.applied).map_err(damaged)?;
        if Bug::AppliedOneBehind.is_planted() {
            log_id.index = log_id.index.saturating_sub(1);
        }
        Ok(Self {
            log_id: Some(log_id),
            membership: codec::decode_membership(&stored.membership).map_err(damaged)?,
            time,
        })
    }

    /// Log time of a state.
    pub(crate) fn time_of(state: &dyn Read) -> Result<LogTime, Fault> {
        match state.get(&table::meta(Meta::LogTime))? {
            Some(bytes) => Ok(decode(&bytes, "log time")?),
            None => Ok(LogTime::default()),
        }
    }

    /// The running hash of writes of a state.
    pub(crate) fn hash_of(state: &dyn Read) -> Result<Option<WriteHash>, Fault> {
        let stored = state.get(&table::meta(Meta::WriteHash))?;
        Ok(stored.map(|bytes| decode(&bytes, "write hash")).transpose()?)
    }

    /// Index of the last applied entry, 0 before the first.
    pub(crate) fn index(&self) -> LogIndex {
        LogIndex(self.log_id.map_or(0, |id| id.index))
    }
}

/// Entries of more bytes than this are worked on by a thread of their own.
const INLINE_BYTES_MAX: usize = 4 * 1024;

/// Entries that go into one write.
#[derive(Default)]
pub(crate) struct Chunk {
    entries: Vec<Entry>,
    bytes: usize,
    /// Some command may be more work than its bytes say.
    is_more_than_submits: bool,
}

impl Chunk {
    /// Adds an entry and says whether the chunk is full.
    pub(crate) fn push(&mut self, entry: Entry) -> bool {
        if let Payload::Normal(batch) = &entry.payload {
            let work = ledger::batch_work(&batch.0);
            self.bytes += work.bytes;
            self.is_more_than_submits |= !work.is_only_submits;
        }
        self.entries.push(entry);
        self.entries.len() >= APPLY_ENTRIES_MAX || self.bytes >= APPLY_BYTES_MAX
    }

    /// It is so little work that the thread of consensus may do it.
    pub(crate) fn is_small(&self) -> bool {
        machine::IS_SIMULATED || self.bytes <= INLINE_BYTES_MAX && !self.is_more_than_submits
    }

    /// Who they are: entries with the same id are the same.
    pub(crate) fn ids(&self) -> Vec<LogId> {
        self.entries.iter().map(|entry| entry.log_id).collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// What a chunk caused: replies for each of its entries, and hints.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) replies: Vec<Vec<Reply>>,
    pub(crate) effects: Vec<Effect>,
    pub(crate) hashes: Vec<(LogIndex, WriteHash)>,
}

/// What a chunk will do to the state on which it was worked out. Nothing of it is written yet.
pub(crate) struct Prepared {
    next: Applied,
    outcome: Outcome,
    writes: Writes,
}

/// Works out what a chunk does to the state, which is applied up to `applied`.
pub(crate) fn prepare(
    state: &StateStore,
    applied: &Applied,
    chunk: Chunk,
) -> Result<Prepared, ApplyError> {
    let (mut next, mut outcome) = (applied.clone(), Outcome::default());
    let writes = state.with_live(|base| run(base, chunk, &mut next, &mut outcome))?;
    Ok(Prepared { next, outcome, writes })
}

impl Prepared {
    /// Applies it with one write. After an error nothing of it is applied.
    pub(crate) fn write(
        self,
        state: &StateStore,
        applied: &mut Applied,
    ) -> Result<Outcome, ApplyError> {
        let Self { next, outcome, writes } = self;
        let Some(log_id) = &next.log_id else { return Ok(outcome) };
        let meta = AppliedMeta {
            index: log_id.index,
            applied: codec::encode_log_id(log_id),
            membership: codec::encode_membership(&next.membership),
        };
        state.write(&writes, &meta)?;
        *applied = next;
        Ok(outcome)
    }
}

/// Works a chunk out and applies it.
pub(crate) fn apply(
    state: &StateStore,
    applied: &mut Applied,
    chunk: Chunk,
) -> Result<Outcome, ApplyError> {
    prepare(state, applied, chunk)?.write(state, applied)
}

fn run(
    base: &dyn Read,
    chunk: Chunk,
    next: &mut Applied,
    outcome: &mut Outcome,
) -> Result<Writes, ApplyError> {
    // Opened by the first batch: a chunk without one writes no rows, so that cutting the same
    // entries differently gives the same rows.
    let mut session: Option<Session<&dyn Read>> = None;
    for entry in chunk.entries {
        let found = entry.log_id.index;
        let replies = match entry.payload {
            Payload::Blank => Vec::new(),
            Payload::Membership(membership) => {
                next.membership = Membership::new(Some(entry.log_id), membership);
                Vec::new()
            }
            Payload::Normal(batch) => {
                if let Some(applied) = next.log_id.map(|id| id.index)
                    && found != applied + 1
                {
                    return Err(ApplyError::Hole { applied, found });
                }
                let open = match session.take() {
                    Some(open) => open,
                    None => Session::open(base)?,
                };
                let mut replies = session.insert(open).apply(LogIndex(found), &batch.0)?;
                if Bug::RepliesSwapped.is_planted() {
                    replies.reverse();
                }
                replies
            }
        };
        outcome.replies.push(replies);
        next.log_id = Some(entry.log_id);
    }
    let Some(mut session) = session else { return Ok(Writes::new()) };
    next.time = session.time();
    outcome.effects = session.take_effects();
    outcome.hashes = session.take_hashes();
    let mut writes = session.finish()?;
    if Bug::ClockInApply.is_planted() {
        let odd = std::time::UNIX_EPOCH.elapsed().unwrap_or_default().as_millis() % 7;
        let now = LogTime(next.time.0 + odd as u64);
        writes.insert(&table::meta(Meta::LogTime), Some(&encode(&now)));
    }
    Ok(writes)
}
