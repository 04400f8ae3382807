//! Recording the cluster's nodes: taken in, gone for ever, and what operators asked for.

use types::codec::encode;
use types::{NamespaceId, Stamp};

use crate::audit::{LeafBody, LeafDetail};
use crate::cluster::{self, NewNode, NodeRow};
use crate::event::Event;
use crate::read::{Fault, Read};
use crate::record::Recorder;
use crate::table;

impl<R: Read> Recorder<R> {
    pub(crate) fn record_cluster(
        &mut self,
        stamp: Stamp,
        namespace: NamespaceId,
        event: &Event,
    ) -> Result<(), Fault> {
        let (by, body) = match event {
            Event::NodeAdmitted { node } => {
                self.put_new_node(stamp, node)?;
                let NewNode { id, incarnation } = *node;
                (None, LeafBody::NodeAdmitted { node: id, incarnation })
            }
            Event::NodeRemoved { node, by } => {
                let kept = cluster::row(&self.ledger, *node)?;
                // Its id has served, whether or not anybody recorded how it came.
                let kept = kept.unwrap_or(NodeRow {
                    incarnation: None,
                    admitted_at: None,
                    removed_at: None,
                });
                let row = NodeRow { removed_at: Some(stamp.time), ..kept };
                self.ledger.put(table::node(*node), encode(&row));
                (Some(*by), LeafBody::NodeRemoved { node: *node })
            }
            Event::ClusterChangeRequested { change, node, by } => {
                (Some(*by), LeafBody::ClusterChangeRequested { change: *change, node: *node })
            }
            Event::JoinTokenIssued { expires_at, by } => {
                (Some(*by), LeafBody::JoinTokenIssued { expires_at: *expires_at })
            }
            _ => return Ok(()),
        };
        self.leaf(stamp, namespace, by, None, body, &LeafDetail::default());
        Ok(())
    }

    /// Keeps a node that has come. One that is kept already stays as it is.
    pub(crate) fn put_new_node(&mut self, stamp: Stamp, node: &NewNode) -> Result<(), Fault> {
        if cluster::row(&self.ledger, node.id)?.is_none() {
            let row = NodeRow {
                incarnation: Some(node.incarnation),
                admitted_at: Some(stamp.time),
                removed_at: None,
            };
            self.ledger.put(table::node(node.id), encode(&row));
        }
        Ok(())
    }
}
