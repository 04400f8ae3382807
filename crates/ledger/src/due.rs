//! The schedule: keys of what is due at a log time, so that a tick is one bounded scan.

use alloc::vec::Vec;

use types::{LogTime, NamespaceId};

use crate::table::{Table, end_of, prefix};

/// What is due at a time. The kind's byte and the form of `subject` never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
        ]
        .into_iter()
        .find(|kind| *kind as u8 == byte)
    }
}

/// Key of something due.
#[must_use]
pub fn due(at: LogTime, namespace: NamespaceId, kind: DueKind, subject: &[u8]) -> Vec<u8> {
    let mut key = prefix(NamespaceId::CLUSTER, Table::Due);
    key.extend_from_slice(&at.0.to_be_bytes());
    key.extend_from_slice(&namespace.0.to_be_bytes());
    key.push(kind as u8);
    key.extend_from_slice(subject);
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

/// Takes a due key apart: time, namespace, kind, subject. `None` if it is no due key.
#[must_use]
pub fn parse_due(key: &[u8]) -> Option<(LogTime, NamespaceId, DueKind, &[u8])> {
    let (head, subject) = key.split_at_checked(5 + 8 + 4 + 1)?;
    let at = u64::from_be_bytes(head.get(5..13)?.try_into().ok()?);
    let namespace = u32::from_be_bytes(head.get(13..17)?.try_into().ok()?);
    let kind = DueKind::of(*head.get(17)?)?;
    Some((LogTime(at), NamespaceId(namespace), kind, subject))
}
