//! Keys of what concerns others: nodes, freezes, webhooks and notifications. The rules are those of
//! [`crate::table`].

use alloc::vec::Vec;

use types::{DeliveryId, FreezeId, IntentId, LogTime, NamespaceId, NodeId};

use crate::table::{Table, prefix, with_u64};

/// Key of a node.
#[must_use]
pub fn node(id: NodeId) -> Vec<u8> {
    with_u64(NamespaceId::CLUSTER, Table::Nodes, id.0)
}

/// Key of a freeze.
#[must_use]
pub fn freeze(home: NamespaceId, id: FreezeId) -> Vec<u8> {
    with_u64(home, Table::Freezes, id.0)
}

/// Key of a freeze in the list of all there are.
#[must_use]
pub fn freeze_mark(home: NamespaceId, id: FreezeId) -> Vec<u8> {
    let mut key = prefix(NamespaceId::CLUSTER, Table::FreezeMarks);
    key.extend_from_slice(&home.0.to_be_bytes());
    key.extend_from_slice(&id.0.to_be_bytes());
    key
}

/// Key of an intent's webhook.
#[must_use]
pub fn webhook(namespace: NamespaceId, id: IntentId) -> Vec<u8> {
    with_u64(namespace, Table::Webhooks, id.0)
}

/// Key of a notification.
#[must_use]
pub fn delivery(namespace: NamespaceId, id: DeliveryId) -> Vec<u8> {
    with_u64(namespace, Table::Deliveries, id.0)
}

/// Key of a notification that will be tried at a time.
#[must_use]
pub fn pending_delivery(at: LogTime, namespace: NamespaceId, id: DeliveryId) -> Vec<u8> {
    let mut key = with_u64(NamespaceId::CLUSTER, Table::PendingDeliveries, at.0);
    key.extend_from_slice(&namespace.0.to_be_bytes());
    key.extend_from_slice(&id.0.to_be_bytes());
    key
}

/// Key of a notification in its channel's list. No name holds the separating zero.
#[must_use]
pub fn channel_delivery(namespace: NamespaceId, channel: &str, id: DeliveryId) -> Vec<u8> {
    let mut key = channel_deliveries(namespace, channel);
    key.extend_from_slice(&id.0.to_be_bytes());
    key
}

/// Prefix of a channel's list.
#[must_use]
pub fn channel_deliveries(namespace: NamespaceId, channel: &str) -> Vec<u8> {
    let mut key = prefix(namespace, Table::ChannelDeliveries);
    key.extend_from_slice(channel.as_bytes());
    key.push(0);
    key
}
