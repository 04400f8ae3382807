//! Questions of the executor and the notifier, and of who wants to see what they did.

use alloc::vec::Vec;

use types::codec::decode;
use types::{DeliveryId, ExecutionId, IntentId, LogTime, NamespaceId, NodeId};

use crate::cluster::NodeRow;
use crate::query::{go_on, row};
use crate::read::{Direction, Fault, Read};
use crate::rows_outward::{DeliveryRow, ExecutorRow, WebhookRow};
use crate::settings::{self, Serving};
use crate::submit::missing;
use crate::table::{self, Table};

/// The executor that runs now, if one ever began.
///
/// # Errors
/// See [`crate::query::cluster`]; so for every function here.
pub fn executor(ledger: &(impl Read + ?Sized)) -> Result<Option<ExecutorRow>, Fault> {
    crate::claim::executor(ledger)
}

/// What is kept of a node of the cluster, also of one that left.
///
/// # Errors
/// See [`executor`].
pub fn node(ledger: &(impl Read + ?Sized), node: NodeId) -> Result<Option<NodeRow>, Fault> {
    crate::cluster::row(ledger, node)
}

/// The destination that serves a resource now.
///
/// # Errors
/// See [`executor`].
pub fn serving(
    ledger: &(impl Read + ?Sized),
    namespace: NamespaceId,
    resource: &str,
) -> Result<Option<Serving>, Fault> {
    settings::serving(ledger, namespace, resource)
}

/// Intents that the executor is to claim, behind `after` if that is given, at most `limit`.
///
/// # Errors
/// See [`executor`].
pub fn runnable(
    ledger: &(impl Read + ?Sized),
    after: Option<(NamespaceId, IntentId)>,
    limit: usize,
) -> Result<Vec<(NamespaceId, IntentId)>, Fault> {
    let prefix = table::prefix(NamespaceId::CLUSTER, Table::Runnable);
    let from = after.map_or_else(
        || prefix.clone(),
        |(namespace, intent)| {
            let mut key = table::runnable(namespace, intent);
            key.push(0);
            key
        },
    );
    let keys = keys(ledger, &from, &table::end_of(&prefix), limit)?;
    let parts = keys.iter().filter_map(|key| table::last_in_namespace(key));
    Ok(parts.map(|(namespace, id)| (namespace, IntentId(id))).collect())
}

/// Orders that the executor began, without an outcome, at most `limit`.
///
/// # Errors
/// See [`executor`].
pub fn executor_claims(
    ledger: &(impl Read + ?Sized),
    limit: usize,
) -> Result<Vec<ExecutionId>, Fault> {
    let prefix = table::prefix(NamespaceId::CLUSTER, Table::ExecutorClaims);
    let keys = keys(ledger, &prefix, &table::end_of(&prefix), limit)?;
    Ok(keys.iter().filter_map(|key| table::last_u64(key)).map(ExecutionId).collect())
}

/// Orders that somebody asked for and the executor has not begun, behind `after` if that is given,
/// at most `limit`.
///
/// # Errors
/// See [`executor`].
pub fn waiting_orders(
    ledger: &(impl Read + ?Sized),
    after: Option<ExecutionId>,
    limit: usize,
) -> Result<Vec<(ExecutionId, NamespaceId, IntentId)>, Fault> {
    let prefix = table::prefix(NamespaceId::CLUSTER, Table::WaitingOrders);
    let from = match after {
        Some(id) => table::waiting_order(ExecutionId(id.0.saturating_add(1))),
        None => prefix.clone(),
    };
    let mut found = Vec::new();
    let mut broken = None;
    if limit > 0 {
        ledger.scan(&from, &table::end_of(&prefix), Direction::Ascending, &mut |key, value| {
            match decode::<(NamespaceId, IntentId)>(value, "waiting order") {
                Ok((namespace, intent)) => {
                    let id = ExecutionId(table::last_u64(key).unwrap_or_default());
                    found.push((id, namespace, intent));
                }
                Err(error) => broken = Some(error),
            }
            go_on(broken.is_none() && found.len() < limit)
        })?;
    }
    broken.map_or(Ok(found), |error| Err(error.into()))
}

/// The webhook of an intent.
///
/// # Errors
/// See [`executor`].
pub fn webhook(
    ledger: &(impl Read + ?Sized),
    namespace: NamespaceId,
    id: IntentId,
) -> Result<Option<WebhookRow>, Fault> {
    row(ledger, &table::webhook(namespace, id), |bytes| decode(bytes, "webhook"))
}

/// A notification.
///
/// # Errors
/// See [`executor`].
pub fn delivery(
    ledger: &(impl Read + ?Sized),
    namespace: NamespaceId,
    id: DeliveryId,
) -> Result<Option<DeliveryRow>, Fault> {
    row(ledger, &table::delivery(namespace, id), |bytes| decode(bytes, "delivery"))
}

/// Notifications that will be tried, with when, in order of time from `since` on, at most `limit`.
///
/// # Errors
/// See [`executor`].
pub fn pending_deliveries(
    ledger: &(impl Read + ?Sized),
    since: LogTime,
    limit: usize,
) -> Result<Vec<(LogTime, NamespaceId, DeliveryId)>, Fault> {
    let prefix = table::prefix(NamespaceId::CLUSTER, Table::PendingDeliveries);
    let mut from = prefix.clone();
    from.extend_from_slice(&since.0.to_be_bytes());
    let mut found = Vec::new();
    ledger.scan(&from, &table::end_of(&prefix), Direction::Ascending, &mut |key, _| {
        let at = key.get(prefix.len()..prefix.len() + 8).and_then(table::last_u64);
        if let (Some(at), Some((namespace, id))) = (at, table::last_in_namespace(key)) {
            found.push((LogTime(at), namespace, DeliveryId(id)));
        }
        go_on(found.len() < limit)
    })?;
    Ok(found)
}

/// Notifications of a channel, newest first, only older than `before`, at most `limit`.
///
/// # Errors
/// See [`executor`].
pub fn channel_deliveries(
    ledger: &(impl Read + ?Sized),
    namespace: NamespaceId,
    channel: &str,
    before: Option<DeliveryId>,
    limit: usize,
) -> Result<Vec<DeliveryRow>, Fault> {
    let from = table::channel_deliveries(namespace, channel);
    let to = match before {
        Some(id) => table::channel_delivery(namespace, channel, id),
        None => table::end_of(&from),
    };
    let mut ids = Vec::new();
    if limit > 0 {
        ledger.scan(&from, &to, Direction::Descending, &mut |key, _| {
            ids.push(DeliveryId(table::last_u64(key).unwrap_or_default()));
            go_on(ids.len() < limit)
        })?;
    }
    let listed = |id| delivery(ledger, namespace, id)?.ok_or_else(|| missing("a notification"));
    ids.into_iter().map(listed).collect()
}

fn keys(
    ledger: &(impl Read + ?Sized),
    from: &[u8],
    end: &[u8],
    limit: usize,
) -> Result<Vec<Vec<u8>>, Fault> {
    let mut keys = Vec::new();
    if limit > 0 {
        ledger.scan(from, end, Direction::Ascending, &mut |key, _| {
            keys.push(key.to_vec());
            go_on(keys.len() < limit)
        })?;
    }
    Ok(keys)
}
