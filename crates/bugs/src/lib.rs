//! Bugs that a node of a test build can be told to have, to see that the tests see them.
//!
//! Promise: without the feature `planted` no node has one, and asking costs nothing. The pure core
//! asks too, so that what is asked here follows from how the process was started and nothing else.
#![cfg_attr(not(feature = "planted"), no_std)]
#![forbid(unsafe_code)]

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// A node answers fresh reads from its own state, without asking the leader.
    ReadsOwnState,
    /// A leader answers fresh reads without asking whether it still leads.
    ReadsWithoutRound,
    /// A node answers fresh reads without waiting until it has applied what they must see.
    ReadsUnapplied,
    /// A follower asks a leader that refuses it again and again without a rest.
    NoRest,
    /// Entries count as durable before they are synced.
    EarlyCallback,
    /// A vote is answered before it is synced.
    UnsyncedVote,
    /// A sync that failed counts as one that did not.
    SyncErrorIgnored,
    /// A sync that failed is tried again, and the second one believed.
    SyncTriedAgain,
    /// The mark says that entries are durable before they are synced.
    MarkTooHigh,
    /// Files of purged entries go before the purge is synced.
    FilesBeforePurge,
    /// The log gives up entries that the state has applied and not made durable.
    PurgeAheadOfState,
    /// A snapshot leaves the dedup windows out.
    SnapshotWithoutWindows,
    /// An `Idempotency-Key` does not reach the log.
    RequestKeyDropped,
    /// What an entry does hangs on the clock of the node that applies it.
    ClockInApply,
    /// A node votes at once after it has started, whatever it promised before.
    LeaseWithoutWait,
    /// A leader's time follows its clock when that jumps ahead.
    LeaderTimeJumps,
    /// A node that starts applies its last entry once more.
    AppliedOneBehind,
    /// The replies of one entry go out in another order than its commands.
    RepliesSwapped,
    /// A fresh read is answered by a round to the majority that began before it.
    ReadsReuseRound,
    /// Answers to forwarded commands go out in another order than these.
    ForwardedAnswersSwapped,
    /// Copies of rows in memory are kept when the rows are written.
    HotRowsStale,
    /// A snapshot leaves the answers to `Idempotency-Key`s out.
    SnapshotWithoutRequestKeys,
    /// The membership is not kept with the state.
    SnapshotWithoutMembership,
    /// A node loses one audit leaf of twenty.
    LeafDropped,
    /// The rows of a snapshot do not take the place of the state, and its mark does.
    SnapshotMarkAlone,
    /// A window is over once its intent is carried out.
    WindowReleasedEarly,
    /// A yes counts though the intent has expired.
    ApproveAfterExpiry,
    /// A yes counts each time that it is said.
    ApproverCountsTwice,
    /// A target is called while its claim is on its way to the log.
    ExecuteBeforeClaim,
    /// All claims of one executor have the same fence.
    FenceReused,
    /// The reply to a request of Raft counts for those that were made after it too.
    ReplyCountsForLater,
    /// What is in doubt is tried again at a target that would do it twice.
    DoubtTriedAgain,
    /// A freeze stands and nobody asks for it: claims go on, and calls start.
    FreezeIgnored,
    /// A freeze is answered while calls that it covers may still start, and they do.
    FreezeAnsweredEarly,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 34] = [
        Self::ReadsOwnState,
        Self::ReadsWithoutRound,
        Self::ReadsUnapplied,
        Self::NoRest,
        Self::EarlyCallback,
        Self::UnsyncedVote,
        Self::SyncErrorIgnored,
        Self::SyncTriedAgain,
        Self::MarkTooHigh,
        Self::FilesBeforePurge,
        Self::PurgeAheadOfState,
        Self::SnapshotWithoutWindows,
        Self::RequestKeyDropped,
        Self::ClockInApply,
        Self::LeaseWithoutWait,
        Self::LeaderTimeJumps,
        Self::AppliedOneBehind,
        Self::RepliesSwapped,
        Self::ReadsReuseRound,
        Self::ForwardedAnswersSwapped,
        Self::HotRowsStale,
        Self::SnapshotWithoutRequestKeys,
        Self::SnapshotWithoutMembership,
        Self::LeafDropped,
        Self::SnapshotMarkAlone,
        Self::WindowReleasedEarly,
        Self::ApproveAfterExpiry,
        Self::ApproverCountsTwice,
        Self::ExecuteBeforeClaim,
        Self::FenceReused,
        Self::ReplyCountsForLater,
        Self::DoubtTriedAgain,
        Self::FreezeIgnored,
        Self::FreezeAnsweredEarly,
    ];

    /// As it is named on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ReadsOwnState => "reads-own-state",
            Self::ReadsWithoutRound => "reads-without-round",
            Self::ReadsUnapplied => "reads-unapplied",
            Self::NoRest => "no-rest",
            Self::EarlyCallback => "early-callback",
            Self::UnsyncedVote => "unsynced-vote",
            Self::SyncErrorIgnored => "sync-error-ignored",
            Self::SyncTriedAgain => "sync-tried-again",
            Self::MarkTooHigh => "mark-too-high",
            Self::FilesBeforePurge => "files-before-purge",
            Self::PurgeAheadOfState => "purge-ahead-of-state",
            Self::SnapshotWithoutWindows => "snapshot-without-windows",
            Self::RequestKeyDropped => "request-key-dropped",
            Self::ClockInApply => "clock-in-apply",
            Self::LeaseWithoutWait => "lease-without-wait",
            Self::LeaderTimeJumps => "leader-time-jumps",
            Self::AppliedOneBehind => "applied-one-behind",
            Self::RepliesSwapped => "replies-swapped",
            Self::ReadsReuseRound => "reads-reuse-round",
            Self::ForwardedAnswersSwapped => "forwarded-answers-swapped",
            Self::HotRowsStale => "hot-rows-stale",
            Self::SnapshotWithoutRequestKeys => "snapshot-without-request-keys",
            Self::SnapshotWithoutMembership => "snapshot-without-membership",
            Self::LeafDropped => "leaf-dropped",
            Self::SnapshotMarkAlone => "snapshot-mark-alone",
            Self::WindowReleasedEarly => "window-released-early",
            Self::ApproveAfterExpiry => "approve-after-expiry",
            Self::ApproverCountsTwice => "approver-counts-twice",
            Self::ExecuteBeforeClaim => "execute-before-claim",
            Self::FenceReused => "fence-reused",
            Self::ReplyCountsForLater => "reply-counts-for-later",
            Self::DoubtTriedAgain => "doubt-tried-again",
            Self::FreezeIgnored => "freeze-ignored",
            Self::FreezeAnsweredEarly => "freeze-answered-early",
        }
    }

    /// Nodes have it from now on.
    #[cfg(feature = "planted")]
    pub fn plant(self) {
        planted::PLANTED.store(1 << self as u64, std::sync::atomic::Ordering::Relaxed);
    }

    /// This node has it.
    #[cfg(feature = "planted")]
    #[must_use]
    pub fn is_planted(self) -> bool {
        let planted = planted::PLANTED.load(std::sync::atomic::Ordering::Relaxed);
        planted & (1 << self as u64) != 0
    }

    /// No node of this build has it.
    #[cfg(not(feature = "planted"))]
    #[inline]
    #[must_use]
    pub const fn is_planted(self) -> bool {
        false
    }
}

#[cfg(feature = "planted")]
mod planted {
    use std::sync::LazyLock;
    use std::sync::atomic::AtomicU64;

    pub(super) static PLANTED: LazyLock<AtomicU64> = LazyLock::new(|| AtomicU64::new(at_first()));

    #[cfg(not(feature = "by-environment"))]
    fn at_first() -> u64 {
        0
    }

    /// What the process was started with: `QGATE_BUG=early-callback`.
    #[cfg(feature = "by-environment")]
    fn at_first() -> u64 {
        let Ok(name) = std::env::var("QGATE_BUG") else { return 0 };
        let found = super::Bug::ALL.into_iter().find(|bug| bug.name() == name);
        1 << found.unwrap_or_else(|| panic!("no bug is called {name}")) as u64
    }
}
