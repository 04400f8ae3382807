//! Raft's log on [`store::log`]: entries and votes in, durability told by callbacks.
//!
//! Invariant: the log gives up an entry only when the state cannot be taken back behind it.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, Range, RangeBounds};
use std::sync::Arc;

use futures::{Stream, stream};
use openraft::OptionalSend;
use openraft::RaftLogReader;
use openraft::alias::{LogIdOf, VoteOf};
use openraft::storage::{IOFlushed, LogState, RaftLogStorage};
use store::log::{LogStore, MetaKind};
use store::state::StateStore;
use tokio::sync::oneshot;
use types::codec::CodecError;
use types::limits::REPLICATION_BYTES_MAX;

use crate::ahead::Ahead;
use crate::codec;
use crate::raft::{Entry, LogId, TypeConfig};

/// The log as Raft wants it. Clones share it.
#[derive(Clone)]
pub struct RaftLog {
    log: Arc<LogStore>,
    state: Arc<StateStore>,
    ahead: Ahead,
}

impl RaftLog {
    /// A log, and the state that is applied from it by a state machine that shares `ahead`.
    #[must_use]
    pub fn new(log: Arc<LogStore>, state: Arc<StateStore>, ahead: Ahead) -> Self {
        Self { log, state, ahead }
    }

    fn meta<T>(
        &self,
        kind: MetaKind,
        decode: impl FnOnce(&[u8]) -> Result<T, CodecError>,
    ) -> io::Result<Option<T>> {
        let Some(bytes) = self.log.meta(kind)? else { return Ok(None) };
        decode(&bytes).map(Some).map_err(io::Error::other)
    }

    fn entries(&self, range: Range<u64>, bytes_max: usize) -> io::Result<Vec<Entry>> {
        let stored = self.log.read(range, bytes_max)?;
        stored
            .into_iter()
            .map(|(index, bytes)| codec::decode_entry(index, &bytes).map_err(io::Error::other))
            .collect()
    }
}

fn half_open(range: &impl RangeBounds<u64>) -> Range<u64> {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(start) => start.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(end) => end.saturating_add(1),
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    start..end
}

impl RaftLogReader<TypeConfig> for RaftLog {
    /// Reads on as the consumer goes on, so that a long run never stands in memory as a whole.
    async fn entries_stream<RB>(
        &mut self,
        range: RB,
    ) -> impl Stream<Item = Result<Entry, io::Error>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let start = (self.clone(), half_open(&range), Vec::new().into_iter());
        Box::pin(stream::try_unfold(start, |(log, mut range, mut read)| async move {
            if read.len() == 0 {
                let purged = log.log.purged();
                if !range.is_empty() && purged.is_some_and(|purged| range.start <= purged) {
                    let what = format!("log entry {} is wanted and was purged", range.start);
                    return Err(io::Error::other(what));
                }
                let entries = log.entries(range.clone(), REPLICATION_BYTES_MAX)?;
                read = entries.into_iter();
            }
            let next: Option<Entry> = read.next();
            Ok(next.map(|entry| {
                range.start = entry.log_id.index + 1;
                (entry, (log, range, read))
            }))
        }))
    }

    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, io::Error> {
        self.entries(half_open(&range), usize::MAX)
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry>, io::Error> {
        self.entries(start..end, REPLICATION_BYTES_MAX)
    }

    async fn read_vote(&mut self) -> Result<Option<VoteOf<TypeConfig>>, io::Error> {
        self.meta(MetaKind::Vote, codec::decode_vote)
    }
}

impl RaftLogStorage<TypeConfig> for RaftLog {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        let last_purged_log_id = self.meta(MetaKind::LastPurged, codec::decode_log_id)?;
        let last_log_id = match self.log.last() {
            Some(last) => {
                self.entries(last..last + 1, usize::MAX)?.first().map(|entry| entry.log_id)
            }
            None => last_purged_log_id,
        };
        Ok(LogState { last_purged_log_id, last_log_id })
    }

    async fn get_log_reader(&mut self) -> Self::LogReader {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &VoteOf<TypeConfig>) -> Result<(), io::Error> {
        let (sender, receiver) = oneshot::channel();
        let done = Box::new(move |result| _ = sender.send(result));
        self.log.save_meta(MetaKind::Vote, &codec::encode_vote(vote), done)?;
        receiver.await.map_err(io::Error::other)?
    }

    async fn save_committed(
        &mut self,
        committed: Option<LogIdOf<TypeConfig>>,
    ) -> Result<(), io::Error> {
        let bytes = committed.as_ref().map(codec::encode_log_id).unwrap_or_default();
        Ok(self.log.save_meta_lazy(MetaKind::Committed, &bytes)?)
    }

    async fn read_committed(&mut self) -> Result<Option<LogIdOf<TypeConfig>>, io::Error> {
        let decode = |bytes: &[u8]| match bytes {
            [] => Ok(None),
            _ => codec::decode_log_id(bytes).map(Some),
        };
        Ok(self.meta(MetaKind::Committed, decode)?.flatten())
    }

    async fn append<I>(
        &mut self,
        entries: I,
        callback: IOFlushed<TypeConfig>,
    ) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries = entries.into_iter().collect::<Vec<_>>();
        let encoded =
            entries.iter().map(|entry| (entry.log_id.index, codec::encode_entry(entry))).collect();
        let done = Box::new(move |result| callback.io_completed(result));
        self.log.append(encoded, done)?;
        // The disk works now, and so can this thread.
        self.ahead.work(&self.state, &entries);
        Ok(())
    }

    async fn truncate_after(
        &mut self,
        last_log_id: Option<LogIdOf<TypeConfig>>,
    ) -> Result<(), io::Error> {
        Ok(self.log.truncate_after(last_log_id.map(|id| id.index))?)
    }

    async fn purge(&mut self, log_id: LogIdOf<TypeConfig>) -> Result<(), io::Error> {
        // What is applied but not flushed would need these entries after a power cut.
        if self.state.flushed_index() < Some(log_id.index) {
            self.state.flush()?;
        }
        let last_purged: LogId = log_id;
        Ok(self.log.purge_through(log_id.index, &codec::encode_log_id(&last_purged))?)
    }
}
