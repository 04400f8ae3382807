//! Row keys. Every key is `namespace (4 bytes) ‖ table (1 byte) ‖ parts`, all integers big-endian,
//! so that one namespace is one range and a scan follows time or number.
//!
//! Invariant: a table's byte and its parts never change; a new shape is a new table.

use alloc::vec::Vec;

use types::{AgentId, Digest, ExecutionId, IntentId, KeyId, NamespaceId};

pub use crate::due::{DueKind, due, due_range, parse_due};
pub use crate::table_outward::{
    channel_deliveries, channel_delivery, delivery, freeze, freeze_mark, node, pending_delivery,
    webhook,
};

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
    /// Cluster: completed nodes of the audit tree at every eighth level above the leaves.
    TreeNodes = 9,
    /// Principals.
    Agents = 20,
    /// Counter of an agent's submits.
    SubmitCounters = 21,
    /// The policy version in force.
    PolicyHead = 23,
    /// Compiled policies by version.
    PolicyCompiled = 24,
    /// Policy source bytes by version.
    PolicySource = 25,
    /// The versions of destinations and channels in force.
    SettingsHead = 26,
    /// Sets of destinations by version.
    Destinations = 27,
    /// Sets of channels by version.
    Channels = 28,
    /// How many active admins the namespace has.
    AdminCount = 29,
    /// Intents: what changes.
    Intents = 30,
    /// Intents: what was asked and decided, by revision.
    Contents = 31,
    /// Payload bytes by intent and revision, where they are too many for the content's row.
    Payloads = 32,
    /// Windows that an intent holds open, where they are too many for the content's row.
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
    /// Intents by agent, each with its number among the agent's and its time.
    IntentsByAgent = 40,
    /// Intents by phase.
    IntentsByPhase = 41,
    /// Audit leaves by intent.
    IntentLeaves = 42,
    /// Readable text of an audit leaf (reasons), erasable without breaking the tree.
    LeafDetails = 43,
    /// How many intents stand in each phase.
    PhaseCounts = 44,
    /// How many submits were refused as duplicates.
    DuplicateCount = 47,
    /// How often people allowed a held intent, and how long that took in sum.
    ApprovalWaits = 48,
    /// Cluster: approval links by SHA-256 of the token.
    Links = 45,
    /// The newest approval link by intent and reviewer.
    IntentLinks = 46,
    /// Execution orders.
    Orders = 50,
    /// Cluster: namespaces of execution orders, for reporters that have only a token.
    OrderNamespaces = 51,
    /// Cluster: intents that the executor is to claim.
    Runnable = 52,
    /// Cluster: orders that the executor began, without an outcome.
    ExecutorClaims = 53,
    /// Webhooks by intent.
    Webhooks = 54,
    /// Notifications.
    Deliveries = 55,
    /// Cluster: notifications that will be tried, by log time.
    PendingDeliveries = 56,
    /// Notifications by channel.
    ChannelDeliveries = 57,
    /// Cluster: orders that somebody asked for and the executor has not begun, with namespace and
    /// intent.
    WaitingOrders = 58,
    /// Cluster: nodes that ever belonged to it, by id.
    Nodes = 59,
    /// Freezes by id: of a namespace, or the cluster's for those that cover all of them.
    Freezes = 60,
    /// Cluster: every freeze with the namespace that holds it, and whether it is settled.
    FreezeMarks = 61,
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
    /// The executor that runs now.
    Executor = 8,
    /// Running hash of the row writes of every entry.
    WriteHash = 10,
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

pub(crate) fn with_u64(namespace: NamespaceId, table: Table, number: u64) -> Vec<u8> {
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

/// Key of the number of active admins.
#[must_use]
pub fn admin_count(namespace: NamespaceId) -> Vec<u8> {
    prefix(namespace, Table::AdminCount)
}

/// Key of an agent's submit counter.
#[must_use]
pub fn submit_counter(namespace: NamespaceId, agent: AgentId) -> Vec<u8> {
    with_u64(namespace, Table::SubmitCounters, agent.0)
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

/// Key of an agent's n-th submit, from 0.
#[must_use]
pub fn intent_by_agent(namespace: NamespaceId, agent: AgentId, number: u64) -> Vec<u8> {
    let mut key = with_u64(namespace, Table::IntentsByAgent, agent.0);
    key.extend_from_slice(&number.to_be_bytes());
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

/// Key of the count of refused duplicates.
#[must_use]
pub fn duplicate_count(namespace: NamespaceId) -> Vec<u8> {
    prefix(namespace, Table::DuplicateCount)
}

/// Key of the sum of the waits for people.
#[must_use]
pub fn approval_waits(namespace: NamespaceId) -> Vec<u8> {
    prefix(namespace, Table::ApprovalWaits)
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

/// Key of the versions of destinations and channels in force.
#[must_use]
pub fn settings_head(namespace: NamespaceId) -> Vec<u8> {
    prefix(namespace, Table::SettingsHead)
}

/// Key of a set of destinations.
#[must_use]
pub fn destinations(namespace: NamespaceId, version: u64) -> Vec<u8> {
    with_u64(namespace, Table::Destinations, version)
}

/// Key of a set of channels.
#[must_use]
pub fn channels(namespace: NamespaceId, version: u64) -> Vec<u8> {
    with_u64(namespace, Table::Channels, version)
}

/// Key of an intent that the executor is to claim.
#[must_use]
pub fn runnable(namespace: NamespaceId, id: IntentId) -> Vec<u8> {
    let mut key = prefix(NamespaceId::CLUSTER, Table::Runnable);
    key.extend_from_slice(&namespace.0.to_be_bytes());
    key.extend_from_slice(&id.0.to_be_bytes());
    key
}

/// Key of an order of the executor's without an outcome.
#[must_use]
pub fn executor_claim(id: ExecutionId) -> Vec<u8> {
    with_u64(NamespaceId::CLUSTER, Table::ExecutorClaims, id.0)
}

/// Key of an order that the executor has not begun.
#[must_use]
pub fn waiting_order(id: ExecutionId) -> Vec<u8> {
    with_u64(NamespaceId::CLUSTER, Table::WaitingOrders, id.0)
}

/// Takes the end of a key apart that ends with a namespace and a number.
#[must_use]
pub fn last_in_namespace(key: &[u8]) -> Option<(NamespaceId, u64)> {
    let tail = key.len().checked_sub(12)?;
    let namespace = u32::from_be_bytes(key.get(tail..tail + 4)?.try_into().ok()?);
    Some((NamespaceId(namespace), last_u64(key)?))
}

/// The last eight bytes of a key as a number.
#[must_use]
pub fn last_u64(key: &[u8]) -> Option<u64> {
    let tail = key.len().checked_sub(8)?;
    Some(u64::from_be_bytes(key.get(tail..)?.try_into().ok()?))
}
