//! Questions about the ledger: pure functions over one consistent view.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::ControlFlow;

use tlog::Edge;
use types::codec::{CodecError, decode, encode};
use types::{AgentId, Digest, ExecutionId, IntentId, KeyId, LogTime, NamespaceId, Phase};

pub use crate::query_audit::{LeafEntry, LeafPage, TrailPage, leaf, leaves, trail};
pub use crate::query_freezes::{
    freeze, freeze_marks, freezes, frozen_by, running_under, unsettled_freezes,
};
pub use crate::query_intents::{IntentFilter, IntentPage, intents};
pub(crate) use crate::query_intents::{agent_submit, submits};
pub use crate::query_links::{link, link_objection, link_of};
pub(crate) use crate::query_windows::{window_holder, windows, windows_of};
use crate::read::{Direction, Fault, Read};
use crate::reply::Reply;
use crate::rows::{
    AgentRow, ApprovalWaits, ClusterRow, Content, ContentRow, Head, KeyRow, NamespaceRow, OrderRow,
    PayloadRow, PolicyHead, PolicySourceRow,
};
use crate::rows_outward::SettingsHead;
use crate::submit::missing;
use crate::table::{self, Meta, Table};

pub use crate::query_outward::{
    channel_deliveries, delivery, executor, executor_claims, node, pending_deliveries, runnable,
    serving, waiting_orders, webhook,
};

pub(crate) fn row<T>(
    ledger: &(impl Read + ?Sized),
    key: &[u8],
    read: impl Fn(&[u8]) -> Result<T, CodecError>,
) -> Result<Option<T>, Fault> {
    match ledger.get(key)? {
        Some(bytes) => Ok(Some(read(&bytes)?)),
        None => Ok(None),
    }
}

/// The cluster's own row, once it is initialised.
///
/// # Errors
/// [`Fault`] if state cannot be read; so for every function here.
pub fn cluster(ledger: &(impl Read + ?Sized)) -> Result<Option<ClusterRow>, Fault> {
    row(ledger, &table::meta(Meta::Cluster), |bytes| decode(bytes, "cluster"))
}

/// Feature level in force.
///
/// # Errors
/// See [`cluster`].
pub fn feature_level(ledger: &(impl Read + ?Sized)) -> Result<u32, Fault> {
    let level = row(ledger, &table::meta(Meta::FeatureLevel), |b| decode(b, "feature level"))?;
    Ok(level.unwrap_or(crate::FIRST_FEATURE_LEVEL))
}

/// Size and root of the audit tree.
///
/// # Errors
/// See [`cluster`].
pub fn tree(ledger: &(impl Read + ?Sized)) -> Result<(u64, Digest), Fault> {
    let edge = match ledger.get(&table::meta(Meta::TreeEdge))? {
        Some(bytes) => Edge::decode(&bytes).map_err(|e| Fault(alloc::format!("tree edge: {e}")))?,
        None => Edge::new(),
    };
    Ok((edge.size(), Digest(edge.root())))
}

/// A namespace by name.
///
/// # Errors
/// See [`cluster`].
pub fn namespace_by_name(
    ledger: &(impl Read + ?Sized),
    name: &str,
) -> Result<Option<NamespaceId>, Fault> {
    row(ledger, &table::namespace_name(name), |bytes| decode(bytes, "namespace name"))
}

/// Every namespace, by number.
///
/// # Errors
/// See [`cluster`].
pub fn namespaces(ledger: &(impl Read + ?Sized)) -> Result<Vec<NamespaceRow>, Fault> {
    let prefix = table::prefix(NamespaceId::CLUSTER, Table::Namespaces);
    collect(ledger, &prefix, |bytes| decode(bytes, "namespace"))
}

/// A namespace by its number.
///
/// # Errors
/// See [`cluster`].
pub fn namespace(
    ledger: &(impl Read + ?Sized),
    id: NamespaceId,
) -> Result<Option<NamespaceRow>, Fault> {
    row(ledger, &table::namespace(id), |bytes| decode(bytes, "namespace"))
}

/// A key by the SHA-256 of its text.
///
/// # Errors
/// See [`cluster`].
pub fn key_by_hash(ledger: &(impl Read + ?Sized), hash: &Digest) -> Result<Option<KeyRow>, Fault> {
    let id: Option<KeyId> = row(ledger, &table::key_hash(hash), |b| decode(b, "key hash"))?;
    match id {
        Some(id) => row(ledger, &table::key(id), |bytes| decode(bytes, "key")),
        None => Ok(None),
    }
}

/// A principal.
///
/// # Errors
/// See [`cluster`].
pub fn agent(
    ledger: &(impl Read + ?Sized),
    namespace: NamespaceId,
    id: AgentId,
) -> Result<Option<AgentRow>, Fault> {
    row(ledger, &table::agent(namespace, id), |bytes| decode(bytes, "agent"))
}

/// Every principal of a namespace, oldest first, from `after` on, at most `limit`.
///
/// # Errors
/// See [`cluster`].
pub fn agents(
    ledger: &(impl Read + ?Sized),
    namespace: NamespaceId,
    after: Option<AgentId>,
    limit: usize,
) -> Result<Vec<AgentRow>, Fault> {
    let prefix = table::prefix(namespace, Table::Agents);
    let from = match after {
        Some(id) => table::agent(namespace, AgentId(id.0.saturating_add(1))),
        None => prefix.clone(),
    };
    let mut rows = Vec::new();
    let mut broken = None;
    ledger.scan(&from, &table::end_of(&prefix), Direction::Ascending, &mut |_, value| {
        match decode(value, "agent") {
            Ok(row) => rows.push(row),
            Err(error) => broken = Some(error),
        }
        go_on(broken.is_none() && rows.len() < limit)
    })?;
    broken.map_or(Ok(rows), |error| Err(error.into()))
}

/// How many active admins a namespace has. State from before they were counted is counted here.
pub(crate) fn active_admins(
    ledger: &(impl Read + ?Sized),
    namespace: NamespaceId,
) -> Result<u64, Fault> {
    let key = table::admin_count(namespace);
    if let Some(count) = row(ledger, &key, |bytes| decode(bytes, "admin count"))? {
        return Ok(count);
    }
    let all = agents(ledger, namespace, None, usize::MAX)?;
    Ok(all.iter().filter(|agent| agent.is_active_admin()).count() as u64)
}

/// The head of an intent.
///
/// # Errors
/// See [`cluster`].
pub fn head(
    ledger: &(impl Read + ?Sized),
    namespace: NamespaceId,
    id: IntentId,
) -> Result<Option<Head>, Fault> {
    row(ledger, &table::intent(namespace, id), |bytes| decode(bytes, "intent"))
}

/// The head of an intent that another row names.
pub(crate) fn expect_head(
    ledger: &(impl Read + ?Sized),
    namespace: NamespaceId,
    id: IntentId,
) -> Result<Head, Fault> {
    head(ledger, namespace, id)?.ok_or_else(|| missing("an intent"))
}

/// What was asked in a revision of an intent, and how it was judged.
///
/// # Errors
/// See [`cluster`].
pub fn content(
    ledger: &(impl Read + ?Sized),
    namespace: NamespaceId,
    id: IntentId,
    revision: u32,
) -> Result<Content, Fault> {
    content_row(ledger, namespace, id, revision).map(|row| row.content)
}

pub(crate) fn content_row(
    ledger: &(impl Read + ?Sized),
    namespace: NamespaceId,
    id: IntentId,
    revision: u32,
) -> Result<ContentRow, Fault> {
    row(ledger, &table::content(namespace, id, revision), |bytes| decode(bytes, "content"))?
        .ok_or_else(|| missing("an intent's content"))
}

/// What was asked in a revision of an intent, and its payload, if there is one and it was not
/// erased.
///
/// # Errors
/// See [`cluster`].
pub fn content_and_payload(
    ledger: &(impl Read + ?Sized),
    namespace: NamespaceId,
    id: IntentId,
    revision: u32,
) -> Result<(Content, Option<Vec<u8>>), Fault> {
    let ContentRow { content, payload, .. } = content_row(ledger, namespace, id, revision)?;
    if payload.is_some() || content.proposal.payload_digest.is_none() {
        return Ok((content, payload));
    }
    let key = table::payload(namespace, id, revision);
    let found: Option<PayloadRow> = row(ledger, &key, |b| decode(b, "payload"))?;
    Ok((content, found.map(|row| row.bytes)))
}

/// The payload of a revision, if there is one and it was not erased.
///
/// # Errors
/// See [`cluster`].
pub fn payload(
    ledger: &(impl Read + ?Sized),
    namespace: NamespaceId,
    id: IntentId,
    revision: u32,
) -> Result<Option<Vec<u8>>, Fault> {
    content_and_payload(ledger, namespace, id, revision).map(|(_, payload)| payload)
}

/// The answer to the submit that made an intent, as it was.
///
/// # Errors
/// See [`cluster`].
pub fn submitted(
    ledger: &(impl Read + ?Sized),
    namespace: NamespaceId,
    id: IntentId,
) -> Result<Reply, Fault> {
    let first = row(ledger, &table::first_answer(namespace, id), |b| decode(b, "first answer"))?;
    let (mut head, content): (Head, Content) = match first {
        Some(first) => first,
        None => (expect_head(ledger, namespace, id)?, content(ledger, namespace, id, 1)?),
    };
    head.phase = match content.decision.outcome {
        types::Outcome::Allow => Phase::Allowed,
        types::Outcome::Block => Phase::Blocked,
        types::Outcome::Hold | types::Outcome::Duplicate => Phase::Held,
    };
    Ok(Reply::Submitted(Box::new(head), Box::new(content)))
}

/// An execution order.
///
/// # Errors
/// See [`cluster`].
pub fn order(
    ledger: &(impl Read + ?Sized),
    namespace: NamespaceId,
    id: ExecutionId,
) -> Result<Option<OrderRow>, Fault> {
    row(ledger, &table::order(namespace, id), |bytes| decode(bytes, "order"))
}

/// An execution order of whatever namespace, for reporters that have only its token.
///
/// # Errors
/// See [`cluster`].
pub fn find_order(
    ledger: &(impl Read + ?Sized),
    id: ExecutionId,
) -> Result<Option<(NamespaceId, OrderRow)>, Fault> {
    let found: Option<NamespaceId> =
        row(ledger, &table::order_namespace(id), |bytes| decode(bytes, "order namespace"))?;
    let Some(namespace) = found else { return Ok(None) };
    let order = order(ledger, namespace, id)?.ok_or_else(|| missing("an order"))?;
    Ok(Some((namespace, order)))
}

/// The byte of a phase in keys: its number in the durable form.
pub(crate) fn phase_byte(phase: Phase) -> u8 {
    encode(&phase).first().copied().unwrap_or_default()
}

/// How many intents stand in each phase.
///
/// # Errors
/// See [`cluster`].
pub fn phase_counts(
    ledger: &(impl Read + ?Sized),
    namespace: NamespaceId,
) -> Result<Vec<(Phase, u64)>, Fault> {
    let mut counts = Vec::new();
    for phase in Phase::ALL {
        let key = table::phase_count(namespace, phase_byte(phase));
        let count = row(ledger, &key, |bytes| decode(bytes, "count"))?;
        counts.push((phase, count.unwrap_or(0)));
    }
    Ok(counts)
}

/// How many submits were refused as duplicates, ever.
///
/// # Errors
/// See [`cluster`].
pub fn duplicate_count(
    ledger: &(impl Read + ?Sized),
    namespace: NamespaceId,
) -> Result<u64, Fault> {
    let key = table::duplicate_count(namespace);
    Ok(row(ledger, &key, |bytes| decode(bytes, "count"))?.unwrap_or(0))
}

/// How long people took to allow what was held.
///
/// # Errors
/// See [`cluster`].
pub fn approval_waits(
    ledger: &(impl Read + ?Sized),
    namespace: NamespaceId,
) -> Result<ApprovalWaits, Fault> {
    let key = table::approval_waits(namespace);
    Ok(row(ledger, &key, |bytes| decode(bytes, "approval waits"))?.unwrap_or_default())
}

/// The policies in force, as applied; `None` before the first set.
///
/// # Errors
/// See [`cluster`].
pub fn policy_head(
    ledger: &(impl Read + ?Sized),
    namespace: NamespaceId,
) -> Result<Option<PolicyHead>, Fault> {
    row(ledger, &table::policy_head(namespace), |bytes| decode(bytes, "policy head"))
}

/// The documents of a version as written.
///
/// # Errors
/// See [`cluster`].
pub fn policy_source(
    ledger: &(impl Read + ?Sized),
    namespace: NamespaceId,
    version: u64,
) -> Result<Option<PolicySourceRow>, Fault> {
    row(ledger, &table::policy_source(namespace, version), |b| decode(b, "policy source"))
}

/// Everything due before this was worked off, and nothing is put before it any more.
pub(crate) fn swept_to(ledger: &(impl Read + ?Sized)) -> Result<LogTime, Fault> {
    let time = row(ledger, &table::meta(Meta::SweptTo), |bytes| decode(bytes, "swept to"))?;
    Ok(time.unwrap_or_default())
}

/// When the next thing is due.
///
/// # Errors
/// See [`cluster`].
pub fn next_due(ledger: &(impl Read + ?Sized)) -> Result<Option<LogTime>, Fault> {
    let (from, to) = table::due_range(swept_to(ledger)?, LogTime(u64::MAX));
    let mut next = None;
    ledger.scan(&from, &to, Direction::Ascending, &mut |key, _| {
        next = table::parse_due(key).map(|(at, ..)| at);
        ControlFlow::Break(())
    })?;
    Ok(next)
}

/// The versions of destinations and channels in force.
///
/// # Errors
/// See [`cluster`].
pub fn settings_head(
    ledger: &(impl Read + ?Sized),
    namespace: NamespaceId,
) -> Result<SettingsHead, Fault> {
    crate::settings::head(ledger, namespace)
}

fn collect<T>(
    ledger: &(impl Read + ?Sized),
    prefix: &[u8],
    read: impl Fn(&[u8]) -> Result<T, CodecError>,
) -> Result<Vec<T>, Fault> {
    let mut rows = Vec::new();
    let mut broken = None;
    ledger.scan(prefix, &table::end_of(prefix), Direction::Ascending, &mut |_, value| {
        match read(value) {
            Ok(row) => rows.push(row),
            Err(error) => broken = Some(error),
        }
        go_on(broken.is_none())
    })?;
    broken.map_or(Ok(rows), |error| Err(error.into()))
}

pub(crate) fn go_on(more: bool) -> ControlFlow<()> {
    if more { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
}
