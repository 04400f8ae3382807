//! The schedule: what is due at a log time, so that a tick is one bounded scan.
//!
//! Submits of one entry nearly all end at the same time, so what one entry puts on the schedule for
//! the same time, namespace and kind goes into the same row, up to [`SUBJECTS_MAX`].

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use types::{LogIndex, LogTime, NamespaceId};

use crate::table::{Table, end_of, prefix};

/// Subjects of one row at most: a tick works off whole rows.
const SUBJECTS_MAX: usize = 64;

/// What is due at a time. The kind's byte and the form of its subjects never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum DueKind {
    /// An intent's `expires_at`; subject: intent id.
    IntentExpiry = 1,
    /// A dedup window's end; subject: fingerprint.
    WindowEnd = 2,
    /// A kept reply; subject: request id.
    Reply = 3,
    /// A remembered header; subject: digest.
    RequestKey = 4,
    /// A bound body key; subject: digest.
    IdempotencyKey = 5,
    /// An order's `expires_at`; subject: execution id.
    OrderEnd = 6,
    /// A notification that has ended; subject: delivery id.
    DeliveryEnd = 7,
    /// The end of a nonce that has served; subject: digest.
    NonceEnd = 10,
    /// A freeze's end; subject: freeze id.
    FreezeEnd = 11,
}

impl DueKind {
    /// The kind with this byte.
    #[must_use]
    pub fn of(byte: u8) -> Option<Self> {
        [
            Self::IntentExpiry,
            Self::WindowEnd,
            Self::Reply,
            Self::RequestKey,
            Self::IdempotencyKey,
            Self::OrderEnd,
            Self::DeliveryEnd,
            Self::NonceEnd,
            Self::FreezeEnd,
        ]
        .into_iter()
        .find(|kind| *kind as u8 == byte)
    }

    /// Bytes of each of its subjects: a number, a request id, or a digest.
    #[must_use]
    pub fn subject_bytes(self) -> usize {
        match self {
            Self::IntentExpiry | Self::OrderEnd | Self::DeliveryEnd | Self::FreezeEnd => 8,
            Self::Reply => 16,
            Self::WindowEnd | Self::RequestKey | Self::IdempotencyKey | Self::NonceEnd => 32,
        }
    }
}

/// What one entry puts on the schedule.
#[derive(Default)]
pub(crate) struct Schedule(BTreeMap<(LogTime, NamespaceId, DueKind), Vec<u8>>);

impl Schedule {
    /// Something is due at a time; its subject has the bytes of its kind.
    pub(crate) fn add(
        &mut self,
        at: LogTime,
        namespace: NamespaceId,
        kind: DueKind,
        subject: &[u8],
    ) {
        debug_assert_eq!(subject.len(), kind.subject_bytes(), "the form of a subject is fixed");
        self.0.entry((at, namespace, kind)).or_default().extend_from_slice(subject);
    }

    /// The rows of the entry, which ends with them.
    pub(crate) fn end(&mut self, entry: LogIndex, mut put: impl FnMut(Vec<u8>, &[u8])) {
        for ((at, namespace, kind), subjects) in core::mem::take(&mut self.0) {
            let rows = subjects.chunks(kind.subject_bytes() * SUBJECTS_MAX);
            for (part, row) in (0_u32..).zip(rows) {
                put(due(at, namespace, kind, entry, part), row);
            }
        }
    }
}

/// Key of what an entry put on the schedule for a time; one of several if it was much.
#[must_use]
pub fn due(
    at: LogTime,
    namespace: NamespaceId,
    kind: DueKind,
    entry: LogIndex,
    part: u32,
) -> Vec<u8> {
    let mut key = prefix(NamespaceId::CLUSTER, Table::Due);
    key.extend_from_slice(&at.0.to_be_bytes());
    key.extend_from_slice(&namespace.0.to_be_bytes());
    key.push(kind as u8);
    key.extend_from_slice(&entry.0.to_be_bytes());
    key.extend_from_slice(&part.to_be_bytes());
    key
}

/// Everything due from `since` up to and including `now`: `from <= key < to`. Beginning behind what
/// was swept spares the scan the tombstones of everything that ever was due.
#[must_use]
pub fn due_range(since: LogTime, now: LogTime) -> (Vec<u8>, Vec<u8>) {
    let prefix = prefix(NamespaceId::CLUSTER, Table::Due);
    let mut from = prefix.clone();
    from.extend_from_slice(&since.0.to_be_bytes());
    let to = match now.0.checked_add(1) {
        Some(after) => {
            let mut to = prefix;
            to.extend_from_slice(&after.to_be_bytes());
            to
        }
        None => end_of(&prefix),
    };
    (from, to)
}

/// Takes a due key apart: time, namespace, kind. `None` if it is no due key.
#[must_use]
pub fn parse_due(key: &[u8]) -> Option<(LogTime, NamespaceId, DueKind)> {
    let at = u64::from_be_bytes(key.get(5..13)?.try_into().ok()?);
    let namespace = u32::from_be_bytes(key.get(13..17)?.try_into().ok()?);
    let kind = DueKind::of(*key.get(17)?)?;
    Some((LogTime(at), NamespaceId(namespace), kind))
}
