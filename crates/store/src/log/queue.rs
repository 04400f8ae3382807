//! The one thread that syncs: it takes everything that waits, syncs once, and calls back in order.
//!
//! Promise: a callback says `Ok` only after the bytes it stands for are on the disk.
//! Invariant: votes, appends, truncates and purges pass through one queue in the order of their
//! writes; the first failed sync is final and is never tried again, since the system may have
//! dropped what it could not write.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bugs::Bug;
use parking_lot::{Condvar, Mutex};

use crate::engine::{self, DB};
use crate::error::StoreError;
use crate::failpoint;

use super::mark::{Mark, MarkFile};
use super::stats::Counters;
use super::{Done, LogOptions};

/// A dirty mark is written after this many syncs …
const MARK_SYNCS: u32 = 64;
/// … or after this long, whatever comes first.
const MARK_DELAY: Duration = Duration::from_millis(100);

/// What becomes durable with an operation.
pub(crate) enum Durable {
    /// Entries up to this one, and their bytes.
    Appended { last: u64, bytes: u64 },
    /// One more vote.
    Voted,
    /// Nothing after this.
    Truncated { next: u64 },
    /// Nothing up to this; files that hold only such entries may go.
    Purged { through: u64 },
    /// Something that has no mark.
    Other,
}

pub(crate) struct Operation {
    pub(crate) durable: Durable,
    pub(crate) done: Done,
}

struct Waiting {
    operations: Vec<Operation>,
    closed: bool,
}

/// The mark on disk, what is durable, and the truncates that are still on their way.
pub(crate) struct Marks {
    file: MarkFile,
    durable: Mark,
    ceilings: VecDeque<u64>,
}

impl Marks {
    pub(crate) fn new(file: MarkFile, durable: Mark) -> Self {
        Self { file, durable, ceilings: VecDeque::new() }
    }

    #[cfg(all(test, not(feature = "simulated")))]
    pub(crate) fn file_next(&self) -> u64 {
        self.file.stored().next
    }

    fn wanted(&self) -> Mark {
        let ceiling = self.ceilings.iter().min().copied().unwrap_or(u64::MAX);
        Mark { next: self.durable.next.min(ceiling), votes: self.durable.votes }
    }

    /// Lowers the mark on disk before entries from `next` on are deleted.
    pub(crate) fn lower(&mut self, next: u64) -> Result<(), StoreError> {
        self.ceilings.push_back(next);
        if self.file.stored().next > next {
            let mark = self.wanted();
            self.file.store(mark)?;
        }
        Ok(())
    }

    /// Takes in what is durable now, and says how many entries that are.
    fn advance(&mut self, durable: &Durable) -> u64 {
        let before = self.durable.next;
        match *durable {
            Durable::Appended { last, .. } => {
                self.durable.next = last + 1;
                return self.durable.next.saturating_sub(before);
            }
            Durable::Voted => self.durable.votes += 1,
            Durable::Truncated { next } => {
                self.ceilings.pop_front();
                self.durable.next = self.durable.next.min(next);
            }
            Durable::Purged { through } => {
                self.durable.next = self.durable.next.max(through + 1);
            }
            Durable::Other => {}
        }
        0
    }

    /// Brings the file up to what is durable. Says whether it had to write.
    fn store(&mut self) -> Result<bool, StoreError> {
        let mark = self.wanted();
        if mark == self.file.stored() {
            return Ok(false);
        }
        self.file.store(mark).map(|()| true)
    }
}

/// Called by the log's thread before each sync, as a part of it. For disks that tests make slow.
#[derive(Clone)]
pub struct BeforeSync(pub Arc<dyn Fn() + Send + Sync>);

impl fmt::Debug for BeforeSync {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BeforeSync")
    }
}

/// Asked before each sync of a simulated disk how long that takes.
#[cfg(feature = "simulated")]
#[derive(Clone)]
pub struct SyncTakes(pub Arc<dyn Fn() -> Duration + Send + Sync>);

#[cfg(feature = "simulated")]
impl fmt::Debug for SyncTakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SyncTakes")
    }
}

/// Shared by the store and its thread.
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    woken: Condvar,
    poison: Mutex<Option<Arc<str>>>,
    pub(crate) marks: Mutex<Marks>,
    pub(crate) counters: Counters,
    before_sync: Option<BeforeSync>,
    #[cfg(feature = "simulated")]
    sync_takes: Option<SyncTakes>,
    #[cfg(feature = "simulated")]
    news: tokio::sync::Notify,
    #[cfg(test)]
    pub(crate) fail_syncs: std::sync::atomic::AtomicBool,
}

impl Queue {
    pub(crate) fn new(marks: Marks, options: &LogOptions) -> Self {
        Self {
            waiting: Mutex::new(Waiting { operations: Vec::new(), closed: false }),
            woken: Condvar::new(),
            poison: Mutex::new(None),
            marks: Mutex::new(marks),
            counters: Counters::default(),
            before_sync: options.before_sync.clone(),
            #[cfg(feature = "simulated")]
            sync_takes: options.sync_takes.clone(),
            #[cfg(feature = "simulated")]
            news: tokio::sync::Notify::new(),
            #[cfg(test)]
            fail_syncs: std::sync::atomic::AtomicBool::new(false),
        }
    }

    /// Adds an operation whose write is already in the database.
    pub(crate) fn push(&self, mut operation: Operation) {
        let is_early = match &operation.durable {
            Durable::Appended { .. } => Bug::EarlyCallback.is_planted(),
            Durable::Voted => Bug::UnsyncedVote.is_planted(),
            _ => false,
        };
        if is_early {
            std::mem::replace(&mut operation.done, Box::new(|_| {}))(Ok(()));
        }
        if let Durable::Appended { last, .. } = operation.durable
            && Bug::MarkTooHigh.is_planted()
        {
            let mut marks = self.marks.lock();
            marks.durable.next = last + 1;
            _ = marks.store();
        }
        self.waiting.lock().operations.push(operation);
        self.woken.notify_one();
        #[cfg(feature = "simulated")]
        self.news.notify_one();
    }

    /// The thread ends after it has worked off what waits.
    pub(crate) fn close(&self) {
        self.waiting.lock().closed = true;
        self.woken.notify_one();
    }

    /// The first failure, if there was one.
    pub(crate) fn poisoned(&self) -> Option<Arc<str>> {
        self.poison.lock().clone()
    }

    /// Latches a failure: nothing succeeds after it.
    pub(crate) fn poison(&self, error: &StoreError) {
        self.poison.lock().get_or_insert_with(|| error.to_string().into());
    }

    /// Refuses everything after a failure.
    pub(crate) fn healthy(&self) -> Result<(), StoreError> {
        self.poisoned().map_or(Ok(()), |reason| Err(StoreError::Poisoned(reason)))
    }

    /// The body of the thread.
    #[cfg(not(feature = "simulated"))]
    pub(crate) fn run(&self, db: &DB) {
        let mut unmarked = 0;
        let mut marked_at = Instant::now();
        loop {
            let Some(operations) = self.take(unmarked > 0) else { break };
            if !operations.is_empty() {
                self.work(db, operations);
                unmarked += 1;
            }
            let due = unmarked >= MARK_SYNCS || marked_at.elapsed() >= MARK_DELAY;
            if unmarked > 0 && due {
                self.store_mark();
                (unmarked, marked_at) = (0, Instant::now());
            }
        }
        self.store_mark();
    }

    /// The body of the task that stands for the thread in a simulation.
    #[cfg(feature = "simulated")]
    pub(crate) async fn run_simulated(&self, db: &DB) {
        let mut unmarked = 0;
        let mut marked_at = tokio::time::Instant::now();
        loop {
            if unmarked > 0 {
                _ = tokio::time::timeout(MARK_DELAY, self.news.notified()).await;
            } else {
                self.news.notified().await;
            }
            if let Some(SyncTakes(takes)) = &self.sync_takes {
                tokio::time::sleep(takes()).await;
            }
            if self.work_now(db) {
                unmarked += 1;
            }
            let due = unmarked >= MARK_SYNCS || marked_at.elapsed() >= MARK_DELAY;
            if unmarked > 0 && due {
                self.store_mark();
                (unmarked, marked_at) = (0, tokio::time::Instant::now());
            }
        }
    }

    /// Works off what waits. Says whether that was anything.
    #[cfg(feature = "simulated")]
    pub(crate) fn work_now(&self, db: &DB) -> bool {
        let operations = std::mem::take(&mut self.waiting.lock().operations);
        let is_work = !operations.is_empty();
        if is_work {
            self.work(db, operations);
        }
        is_work
    }

    /// Everything that waits; nothing once a dirty mark is due; `None` at the end.
    #[cfg(not(feature = "simulated"))]
    fn take(&self, dirty: bool) -> Option<Vec<Operation>> {
        let mut waiting = self.waiting.lock();
        while waiting.operations.is_empty() && !waiting.closed {
            if !dirty {
                self.woken.wait(&mut waiting);
            } else if self.woken.wait_for(&mut waiting, MARK_DELAY).timed_out() {
                break;
            }
        }
        if waiting.operations.is_empty() && waiting.closed {
            return None;
        }
        Some(std::mem::take(&mut waiting.operations))
    }

    fn work(&self, db: &DB, operations: Vec<Operation>) {
        let began = Instant::now();
        self.counters.syncing(Some(began));
        let result = self.healthy().and_then(|()| {
            failpoint::hit("log.sync.before");
            if let Some(BeforeSync(wait)) = &self.before_sync {
                wait();
            }
            let synced = self.sync(db);
            if synced.is_err() && Bug::SyncErrorIgnored.is_planted() {
                return Ok(());
            }
            if synced.is_err() && Bug::SyncTriedAgain.is_planted() {
                return self.sync(db);
            }
            synced
        });
        self.counters.syncing(None);
        if let Err(error) = &result {
            self.poison(error);
        } else {
            failpoint::hit("log.sync.after");
            let took = began.elapsed();
            self.counters.synced(operations.len(), took);
            let mut marks = self.marks.lock();
            let (mut entries, mut appended_bytes) = (0, 0);
            for Operation { durable, .. } in &operations {
                entries += marks.advance(durable);
                if let Durable::Appended { bytes, .. } = durable {
                    appended_bytes += bytes;
                }
            }
            self.counters.made_durable(entries, appended_bytes, took);
        }
        for operation in operations {
            (operation.done)(result.clone().map_err(io::Error::from));
            if let (Ok(()), Durable::Purged { through }) = (&result, operation.durable)
                && let Err(error) = super::drop_files(db, through)
            {
                self.poison(&error);
            }
        }
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "the test build looks at a field")]
    fn sync(&self, db: &DB) -> Result<(), StoreError> {
        engine::sync_wal(db)
    }

    #[cfg(test)]
    fn sync(&self, db: &DB) -> Result<(), StoreError> {
        if self.fail_syncs.load(std::sync::atomic::Ordering::SeqCst) {
            return Err(StoreError::damaged("the disk said no"));
        }
        engine::sync_wal(db)
    }

    /// The mark is written only while all is well: a failed sync leaves it where it was.
    pub(crate) fn store_mark(&self) {
        if self.poisoned().is_some() {
            return;
        }
        match self.marks.lock().store() {
            Ok(true) => self.counters.marked(),
            Ok(false) => {}
            Err(error) => self.poison(&error),
        }
    }
}
