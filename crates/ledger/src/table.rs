//! Row keys. Every key is `namespace (4 bytes) ‖ table (1 byte) ‖ parts`, all integers big-endian,
//! so that one namespace is one range and a scan follows time or number.
//!
//! Invariant: a table's byte and its parts never change; a new shape is a new table.

use alloc::vec::Vec;

use types::{AgentId, Digest, ExecutionId, IntentId, KeyId, LogTime, NamespaceId};

/// One kind of row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Table {
    /// Cluster: id, feature level, log time, tree edge. Key: [`Meta`].
    Meta = 1,
    /// Cluster: namespaces by number.
    Namespaces = 2,
    /// Cluster: namespaces by name.
    NamespaceNames = 3,
    /// Cluster: API keys by id.
    Keys = 4,
    /// Cluster: API key ids by SHA-256 of the key.
    KeyHashes = 5,
    /// Cluster: what is due, by log time.
    Due = 6,
    /// Cluster: replies by request id, kept ten minutes.
    Replies = 7,
    /// Cluster: audit leaves by sequence.
    Leaves = 8,
    /// Cluster: completed nodes of the audit tree at every eighth level.
    TreeNodes = 9,
    /// Principals.
    Agents = 20,
    /// Counter of an agent's submits.
    SubmitCounters = 21,
    /// Times of an agent's submits, by number.
    SubmitTimes = 22,
    /// The policy version in force.
    PolicyHead = 23,
    /// Compiled policies by version.
    PolicyCompiled = 24,
    /// Policy source bytes by version.
    PolicySource = 25,
    /// Intents: what changes.
    Intents = 30,
    /// Intents: what was asked and decided, by revision.
    Contents = 31,
    /// Payload bytes by intent and revision.
    Payloads = 32,
    /// Windows that an intent holds open.
    IntentWindows = 33,
    /// Dedup windows by fingerprint.
    Windows = 34,
    /// `Idempotency-Key` headers by digest.
    RequestKeys = 35,
    /// The body's `idempotency_key`s by digest.
    IdempotencyKeys = 36,
    /// Head and content as they were when an intent was submitted, kept once a change of policy
    /// rewrites them.
    FirstAnswers = 37,
    /// Cluster: nonces that have served, by digest, until they expire.
    UsedNonces = 38,
    /// Intents by agent.
    IntentsByAgent = 40,
    /// Intents by phase.
    IntentsByPhase = 41,
    /// Audit leaves by intent.
    IntentLeaves = 42,
    /// Readable text of an audit leaf (reasons), erasable without breaking the tree.
    LeafDetails = 43,
    /// How many intents stand in each phase.
    PhaseCounts = 44,
    /// Cluster: approval links by SHA-256 of the token.
    Links = 45,
    /// The newest approval link by intent and reviewer.
    IntentLinks = 46,
    /// Execution orders.
    Orders = 50,
    /// Cluster: namespaces of execution orders, for reporters that have only a token.
    OrderNamespaces = 51,
}

/// Rows of [`Table::Meta`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Meta {
    /// Cluster id and when it was made.
    Cluster = 1,
    /// Feature level in force.
    FeatureLevel = 2,
    /// Log time of the last applied entry.
    LogTime = 3,
    /// Right edge of the audit tree.
    TreeEdge = 4,
    /// Number of namespaces ever made.
    NamespaceCount = 5,
    /// Number of live rows of [`Table::RequestKeys`].
    RequestKeyCount = 6,
    /// Log time up to which the schedule was worked off.
    SweptTo = 7,
}

/// Starts a key; the caller appends the parts.
#[must_use]
pub fn prefix(namespace: NamespaceId, table: Table) -> Vec<u8> {
    let mut key = Vec::with_capacity(48);
    key.extend_from_slice(&namespace.0.to_be_bytes());
    key.push(table as u8);
    key
}

/// The smallest key larger than every key that starts with `prefix`.
#[must_use]
pub fn end_of(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end;
        }
    }
    alloc::vec![u8::MAX; prefix.len() + 1]
}

fn with_u64(namespace: NamespaceId, table: Table, number: u64) -> Vec<u8> {
    let mut key = prefix(namespace, table);
    key.extend_from_slice(&number.to_be_bytes());
    key
}

fn with_digest(namespace: NamespaceId, table: Table, digest: &Digest) -> Vec<u8> {
    let mut key = prefix(namespace, table);
    key.extend_from_slice(&digest.0);
    key
}

fn with_revision(namespace: NamespaceId, table: Table, id: IntentId, revision: u32) -> Vec<u8> {
    let mut key = with_u64(namespace, table, id.0);
    key.extend_from_slice(&revision.to_be_bytes());
    key
}

/// Key of a [`Meta`] row.
#[must_use]
pub fn meta(row: Meta) -> Vec<u8> {
    let mut key = prefix(NamespaceId::CLUSTER, Table::Meta);
    key.push(row as u8);
    key
}

/// Key of a namespace.
#[must_use]
pub fn namespace(id: NamespaceId) -> Vec<u8> {
    let mut key = prefix(NamespaceId::CLUSTER, Table::Namespaces);
    key.extend_from_slice(&id.0.to_be_bytes());
    key
}

/// Key of a namespace's name.
#[must_use]
pub fn namespace_name(name: &str) -> Vec<u8> {
    let mut key = prefix(NamespaceId::CLUSTER, Table::NamespaceNames);
    key.extend_from_slice(name.as_bytes());
    key
}

/// Key of an API key's row.
#[must_use]
pub fn key(id: KeyId) -> Vec<u8> {
    with_u64(NamespaceId::CLUSTER, Table::Keys, id.0)
}

/// Key of an API key's hash.
#[must_use]
pub fn key_hash(hash: &Digest) -> Vec<u8> {
    with_digest(NamespaceId::CLUSTER, Table::KeyHashes, hash)
}

/// Key of a reply.
#[must_use]
pub fn reply(request: &[u8; 16]) -> Vec<u8> {
    let mut key = prefix(NamespaceId::CLUSTER, Table::Replies);
    key.extend_from_slice(request);
    key
}

/// Key of an audit leaf.
#[must_use]
pub fn leaf(sequence: u64) -> Vec<u8> {
    with_u64(NamespaceId::CLUSTER, Table::Leaves, sequence)
}

/// Key of a node of the audit tree.
#[must_use]
pub fn tree_node(level: u8, index: u64) -> Vec<u8> {
    let mut key = prefix(NamespaceId::CLUSTER, Table::TreeNodes);
    key.push(level);
    key.extend_from_slice(&index.to_be_bytes());
    key
}

/// Key of a principal.
#[must_use]
pub fn agent(namespace: NamespaceId, id: AgentId) -> Vec<u8> {
    with_u64(namespace, Table::Agents, id.0)
}

/// Key of an agent's submit counter.
#[must_use]
pub fn submit_counter(namespace: NamespaceId, agent: AgentId) -> Vec<u8> {
    with_u64(namespace, Table::SubmitCounters, agent.0)
}

/// Key of the time of an agent's n-th submit.
#[must_use]
pub fn submit_time(namespace: NamespaceId, agent: AgentId, number: u64) -> Vec<u8> {
    let mut key = with_u64(namespace, Table::SubmitTimes, agent.0);
    key.extend_from_slice(&number.to_be_bytes());
    key
}

/// Key of the policy version in force.
#[must_use]
pub fn policy_head(namespace: NamespaceId) -> Vec<u8> {
    prefix(namespace, Table::PolicyHead)
}

/// Key of compiled policies.
#[must_use]
pub fn policy_compiled(namespace: NamespaceId, version: u64) -> Vec<u8> {
    with_u64(namespace, Table::PolicyCompiled, version)
}

/// Key of policy sources.
#[must_use]
pub fn policy_source(namespace: NamespaceId, version: u64) -> Vec<u8> {
    with_u64(namespace, Table::PolicySource, version)
}

/// Key of an intent's head.
#[must_use]
pub fn intent(namespace: NamespaceId, id: IntentId) -> Vec<u8> {
    with_u64(namespace, Table::Intents, id.0)
}

/// Key of an intent's content.
#[must_use]
pub fn content(namespace: NamespaceId, id: IntentId, revision: u32) -> Vec<u8> {
    with_revision(namespace, Table::Contents, id, revision)
}

/// Key of an intent's first answer.
#[must_use]
pub fn first_answer(namespace: NamespaceId, id: IntentId) -> Vec<u8> {
    with_u64(namespace, Table::FirstAnswers, id.0)
}

/// Key of a payload.
#[must_use]
pub fn payload(namespace: NamespaceId, id: IntentId, revision: u32) -> Vec<u8> {
    with_revision(namespace, Table::Payloads, id, revision)
}

/// Key of the list of windows that an intent holds.
#[must_use]
pub fn intent_windows(namespace: NamespaceId, id: IntentId) -> Vec<u8> {
    with_u64(namespace, Table::IntentWindows, id.0)
}

/// Key of a dedup window.
#[must_use]
pub fn window(namespace: NamespaceId, fingerprint: &Digest) -> Vec<u8> {
    with_digest(namespace, Table::Windows, fingerprint)
}

/// Key of a remembered `Idempotency-Key` header.
#[must_use]
pub fn request_key(namespace: NamespaceId, digest: &Digest) -> Vec<u8> {
    with_digest(namespace, Table::RequestKeys, digest)
}

/// Key of a bound `idempotency_key`.
#[must_use]
pub fn idempotency_key(namespace: NamespaceId, digest: &Digest) -> Vec<u8> {
    with_digest(namespace, Table::IdempotencyKeys, digest)
}

/// Key of a nonce that has served.
#[must_use]
pub fn used_nonce(digest: &Digest) -> Vec<u8> {
    with_digest(NamespaceId::CLUSTER, Table::UsedNonces, digest)
}

/// Key of an intent in its agent's list.
#[must_use]
pub fn intent_by_agent(namespace: NamespaceId, agent: AgentId, id: IntentId) -> Vec<u8> {
    let mut key = with_u64(namespace, Table::IntentsByAgent, agent.0);
    key.extend_from_slice(&id.0.to_be_bytes());
    key
}

/// Key of an intent in its phase's list; `phase` is the CBOR number of the phase.
#[must_use]
pub fn intent_by_phase(namespace: NamespaceId, phase: u8, id: IntentId) -> Vec<u8> {
    let mut key = prefix(namespace, Table::IntentsByPhase);
    key.push(phase);
    key.extend_from_slice(&id.0.to_be_bytes());
    key
}

/// Key of the count of a phase.
#[must_use]
pub fn phase_count(namespace: NamespaceId, phase: u8) -> Vec<u8> {
    let mut key = prefix(namespace, Table::PhaseCounts);
    key.push(phase);
    key
}

/// Key of a leaf in its intent's trail.
#[must_use]
pub fn intent_leaf(namespace: NamespaceId, id: IntentId, sequence: u64) -> Vec<u8> {
    let mut key = with_u64(namespace, Table::IntentLeaves, id.0);
    key.extend_from_slice(&sequence.to_be_bytes());
    key
}

/// Key of a leaf's readable text.
#[must_use]
pub fn leaf_detail(namespace: NamespaceId, sequence: u64) -> Vec<u8> {
    with_u64(namespace, Table::LeafDetails, sequence)
}

/// Key of an approval link.
#[must_use]
pub fn link(token: &Digest) -> Vec<u8> {
    with_digest(NamespaceId::CLUSTER, Table::Links, token)
}

/// Key of a reviewer's newest approval link to an intent.
#[must_use]
pub fn intent_link(namespace: NamespaceId, id: IntentId, reviewer: AgentId) -> Vec<u8> {
    let mut key = with_u64(namespace, Table::IntentLinks, id.0);
    key.extend_from_slice(&reviewer.0.to_be_bytes());
    key
}

/// Key of an execution order.
#[must_use]
pub fn order(namespace: NamespaceId, id: ExecutionId) -> Vec<u8> {
    with_u64(namespace, Table::Orders, id.0)
}

/// Key of an execution order's namespace.
#[must_use]
pub fn order_namespace(id: ExecutionId) -> Vec<u8> {
    with_u64(NamespaceId::CLUSTER, Table::OrderNamespaces, id.0)
}

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

/// The last eight bytes of a key as a number.
#[must_use]
pub fn last_u64(key: &[u8]) -> Option<u64> {
    let tail = key.len().checked_sub(8)?;
    Some(u64::from_be_bytes(key.get(tail..)?.try_into().ok()?))
}
