//! Recording: an event becomes row writes and one audit leaf, in the same batch.
//!
//! Invariant: rows follow from events alone; what an event does not say is not written.

use alloc::string::String;
use alloc::vec::Vec;

use tlog::Edge;
use types::codec::{decode, encode};
use types::{AgentId, Digest, IntentId, LogIndex, NamespaceId, Phase, Stamp};

use crate::audit::{LEAF_VERSION, Leaf, LeafBody, LeafDetail};
use crate::due::Schedule;
use crate::event::Event;
use crate::query;
use crate::read::{Fault, Overlay, Read};
use crate::reply::Effect;
use crate::rows::{AgentRow, ClusterRow, Decided, Head, KeyRow, NamespaceRow, PolicySourceRow};
use crate::table::{self, DueKind, Meta};

/// Writes events into an overlay and the audit tree.
pub(crate) struct Recorder<R> {
    pub(crate) ledger: Overlay<R>,
    /// Of the running entry.
    pub(crate) schedule: Schedule,
    edge: Edge,
    last_leaf: Option<u64>,
    /// Hints that follow from rows that were written.
    pub(crate) effects: Vec<Effect>,
    /// Notifications made for the event with this leaf.
    pub(crate) deliveries: (u64, u64),
}

impl<R: Read> Recorder<R> {
    pub(crate) fn new(ledger: Overlay<R>, edge: Edge) -> Self {
        let (schedule, effects) = (Schedule::default(), Vec::new());
        Self { ledger, schedule, edge, last_leaf: None, effects, deliveries: (0, 0) }
    }

    pub(crate) fn into_parts(self) -> (Overlay<R>, Edge) {
        (self.ledger, self.edge)
    }

    /// Sequence of the newest leaf of this session.
    pub(crate) fn last_leaf(&self) -> Option<u64> {
        self.last_leaf
    }

    /// Sequence that the next leaf will get.
    pub(crate) fn next_leaf(&self) -> u64 {
        self.edge.size()
    }

    /// Writes one event of a namespace.
    pub(crate) fn record(
        &mut self,
        stamp: Stamp,
        namespace: NamespaceId,
        event: &Event,
    ) -> Result<(), Fault> {
        match event {
            Event::Elsewhere { event, .. } => self.record(stamp, namespace, event),
            Event::Swept { due, rows, left } => self.sweep(due, rows, left),
            Event::SweptTo { time } => {
                self.ledger.put(table::meta(Meta::SweptTo), encode(time));
                Ok(())
            }
            Event::NonceUsed { digest, until } => {
                self.ledger.put(table::used_nonce(digest), encode(until));
                self.schedule.add(*until, NamespaceId::CLUSTER, DueKind::NonceEnd, &digest.0);
                Ok(())
            }
            Event::Submitted { .. }
            | Event::DuplicateRefused { .. }
            | Event::Approved { .. }
            | Event::Allowed { .. }
            | Event::Ended { .. }
            | Event::PolicyChanged { .. } => self.record_intent(stamp, namespace, event),
            Event::LinkIssued { .. } | Event::LinkUsed { .. } => {
                self.record_link(stamp, namespace, event)
            }
            Event::OrderIssued { .. }
            | Event::OrderBegun { .. }
            | Event::Reported { .. }
            | Event::DoubtBegan { .. }
            | Event::GivenBack { .. }
            | Event::Resolved { .. } => self.record_order(stamp, namespace, event),
            Event::DestinationsApplied { .. }
            | Event::ChannelsApplied { .. }
            | Event::ExecutorTookOver { .. }
            | Event::LeftToPeople { .. }
            | Event::WebhookRegistered { .. }
            | Event::DeliveryReported { .. } => self.record_outward(stamp, namespace, event),
            Event::NodeAdmitted { .. }
            | Event::NodeRemoved { .. }
            | Event::ClusterChangeRequested { .. }
            | Event::JoinTokenIssued { .. } => self.record_cluster(stamp, namespace, event),
            Event::Frozen { .. }
            | Event::FreezeSettled { .. }
            | Event::UnfreezeVoted { .. }
            | Event::Unfrozen { .. } => {
                self.record_freeze(stamp, namespace, event);
                Ok(())
            }
            _ => self.record_settings(stamp, namespace, event),
        }
    }

    fn record_settings(
        &mut self,
        stamp: Stamp,
        namespace: NamespaceId,
        event: &Event,
    ) -> Result<(), Fault> {
        match event {
            Event::Bootstrapped { .. } => self.bootstrapped(stamp, event)?,
            Event::AgentRegistered { agent, key, by } => {
                self.put_agent(namespace, agent)?;
                self.put_key(key);
                let body =
                    LeafBody::AgentRegistered { agent: agent.id, role: agent.role, key: key.id };
                self.leaf(stamp, namespace, *by, None, body, &LeafDetail::default());
            }
            Event::AgentStatusChanged { agent, status, by } => {
                self.agent_changed(namespace, *agent, |row| row.status = *status)?;
                let body = LeafBody::AgentStatusChanged { agent: *agent, status: *status };
                self.leaf(stamp, namespace, Some(*by), None, body, &LeafDetail::default());
            }
            Event::RoleChanged { agent, role, by } => {
                self.agent_changed(namespace, *agent, |row| row.role = *role)?;
                let body = LeafBody::RoleChanged { agent: *agent, role: *role };
                self.leaf(stamp, namespace, Some(*by), None, body, &LeafDetail::default());
            }
            Event::KeyRotated { .. } => self.key_rotated(stamp, namespace, event)?,
            Event::NamespaceCreated { row, admin, key, by } => {
                self.put_namespace(row);
                self.put_agent(row.id, admin)?;
                self.put_key(key);
                let body = LeafBody::NamespaceCreated { name: row.name.clone(), admin: admin.id };
                self.leaf(stamp, row.id, Some(*by), None, body, &LeafDetail::default());
            }
            Event::PoliciesApplied { head, files, compiled } => {
                let source = PolicySourceRow { head: head.clone(), files: files.clone() };
                let version = head.version;
                self.ledger.put(table::policy_source(namespace, version), encode(&source));
                self.ledger
                    .put(table::policy_compiled(namespace, version), encode(compiled.as_ref()));
                self.ledger.put(table::policy_head(namespace), encode(head));
                let body = LeafBody::PoliciesApplied { version, digest: head.digest };
                self.leaf(stamp, namespace, Some(head.by), None, body, &LeafDetail::default());
            }
            Event::FeatureLevelRaised { level, by } => {
                self.ledger.put(table::meta(Meta::FeatureLevel), encode(level));
                let body = LeafBody::FeatureLevelRaised { level: *level };
                self.leaf(stamp, namespace, Some(*by), None, body, &LeafDetail::default());
            }
            _ => {}
        }
        Ok(())
    }

    fn bootstrapped(&mut self, stamp: Stamp, event: &Event) -> Result<(), Fault> {
        let Event::Bootstrapped { cluster_id, admin, key, node } = event else { return Ok(()) };
        let cluster = ClusterRow { id: cluster_id.clone(), created_at: stamp.time };
        self.ledger.put(table::meta(Meta::Cluster), encode(&cluster));
        self.ledger.put(table::meta(Meta::FeatureLevel), encode(&crate::FIRST_FEATURE_LEVEL));
        self.put_namespace(&NamespaceRow {
            id: NamespaceId::DEFAULT,
            name: String::from("default"),
            created_at: stamp.time,
        });
        self.put_agent(NamespaceId::DEFAULT, admin)?;
        self.put_key(key);
        if let Some(node) = node {
            self.put_new_node(stamp, node)?;
        }
        let body = LeafBody::Bootstrapped {
            cluster_id: cluster_id.clone(),
            admin: admin.id,
            key: key.id,
            node: node.as_ref().map(|node| node.id),
        };
        self.leaf(stamp, NamespaceId::DEFAULT, None, None, body, &LeafDetail::default());
        Ok(())
    }

    fn key_rotated(
        &mut self,
        stamp: Stamp,
        namespace: NamespaceId,
        event: &Event,
    ) -> Result<(), Fault> {
        let Event::KeyRotated { key, ending, ends_at, by } = event else { return Ok(()) };
        let mut live = Vec::new();
        for id in ending {
            let Some(bytes) = self.ledger.get(&table::key(*id))? else { continue };
            let mut row: KeyRow = decode(&bytes, "key")?;
            let ends = row.expires_at.map_or(*ends_at, |ends| ends.min(*ends_at));
            if stamp.time < ends {
                row.expires_at = Some(ends);
                self.ledger.put(table::key(*id), encode(&row));
                live.push(*id);
            } else {
                self.ledger.delete(table::key(*id));
                self.ledger.delete(table::key_hash(&row.hash));
            }
        }
        live.push(key.id);
        self.put_key(key);
        self.agent_changed(namespace, key.agent, |row| row.keys.clone_from(&live))?;
        let body = LeafBody::KeyRotated { agent: key.agent, key: key.id, ends_at: *ends_at };
        self.leaf(stamp, namespace, Some(*by), None, body, &LeafDetail::default());
        Ok(())
    }

    fn put_namespace(&mut self, row: &NamespaceRow) {
        self.ledger.put(table::namespace(row.id), encode(row));
        self.ledger.put(table::namespace_name(&row.name), encode(&row.id));
        self.ledger.put(table::meta(Meta::NamespaceCount), encode(&row.id.0));
    }

    /// Writes a principal, and keeps count of who administers.
    fn put_agent(&mut self, namespace: NamespaceId, row: &AgentRow) -> Result<(), Fault> {
        let before = query::agent(&self.ledger, namespace, row.id)?;
        let was = before.is_some_and(|before| before.is_active_admin());
        let is = row.is_active_admin();
        if was != is {
            let count = query::active_admins(&self.ledger, namespace)?;
            let count = if is { count.saturating_add(1) } else { count.saturating_sub(1) };
            self.ledger.put(table::admin_count(namespace), encode(&count));
        }
        self.ledger.put(table::agent(namespace, row.id), encode(row));
        Ok(())
    }

    fn put_key(&mut self, key: &KeyRow) {
        self.ledger.put(table::key(key.id), encode(key));
        self.ledger.put(table::key_hash(&key.hash), encode(&key.id));
    }

    fn agent_changed(
        &mut self,
        namespace: NamespaceId,
        id: AgentId,
        change: impl FnOnce(&mut AgentRow),
    ) -> Result<(), Fault> {
        let mut row = query::agent(&self.ledger, namespace, id)?
            .ok_or_else(|| crate::submit::missing("an agent"))?;
        change(&mut row);
        self.put_agent(namespace, &row)
    }

    fn sweep(&mut self, due: &[u8], rows: &[Vec<u8>], left: &[u8]) -> Result<(), Fault> {
        if left.is_empty() {
            self.ledger.delete(due);
        } else {
            self.ledger.put(due, left);
        }
        let parsed = table::parse_due(due);
        for row in rows {
            if self.ledger.get(row)?.is_none() {
                // It was due twice, and the other one came first.
                continue;
            }
            match parsed {
                Some((.., DueKind::RequestKey)) => self.forget_request_key()?,
                Some((_, namespace, DueKind::DeliveryEnd)) => {
                    self.unlist_delivery(namespace, row)?;
                }
                _ => {}
            }
            self.ledger.delete(row);
        }
        Ok(())
    }

    fn forget_request_key(&mut self) -> Result<(), Fault> {
        let key = table::meta(Meta::RequestKeyCount);
        if let Some(bytes) = self.ledger.get(&key)? {
            let count: u64 = decode(&bytes, "request key count")?;
            self.ledger.put(key, encode(&count.saturating_sub(1)));
        }
        Ok(())
    }

    /// An entry has ended: what it put on the schedule becomes rows.
    pub(crate) fn end_entry(&mut self, entry: LogIndex) {
        let Self { schedule, ledger, .. } = self;
        schedule.end(entry, |key, row| ledger.put(key, row));
        if let Some(hashing) = &mut ledger.hashing {
            hashing.end(entry);
        }
    }

    /// Appends a leaf, its tree nodes, its place on the intent's trail and its readable side.
    pub(crate) fn leaf(
        &mut self,
        stamp: Stamp,
        namespace: NamespaceId,
        actor: Option<AgentId>,
        intent: Option<IntentId>,
        body: LeafBody,
        detail: &LeafDetail,
    ) {
        let sequence = self.edge.size();
        // An intent's head names its first leaf.
        let is_first = matches!(body, LeafBody::Submitted { .. });
        let leaf = Leaf {
            version: LEAF_VERSION,
            sequence,
            index: stamp.index,
            position: stamp.position,
            time: stamp.time,
            namespace,
            actor,
            intent,
            body,
        };
        let bytes = encode(&leaf);
        let hash = tlog::leaf_hash(&bytes);
        let ledger = &mut self.ledger;
        self.edge.append(hash, &mut |node, hash| {
            // Between these levels a node is eight hashes away from stored ones. Those of level 0
            // follow from the leaves, which stay.
            if node.level > 0 && node.is_stored() {
                ledger.put(table::tree_node(node.level, node.index), hash);
            }
        });
        ledger.put(table::leaf(sequence), bytes);
        if let Some(intent) = intent.filter(|_| !is_first) {
            ledger.put(table::intent_leaf(namespace, intent, sequence), []);
        }
        if *detail != LeafDetail::default() {
            ledger.put(table::leaf_detail(namespace, sequence), encode(detail));
        }
        self.last_leaf = Some(sequence);
    }
}

/// The readable side of a decision.
pub(crate) fn detail_of(decided: &Decided) -> LeafDetail {
    LeafDetail {
        actor_name: Some(decided.name.clone()),
        reason: decided.reason.clone(),
        ..LeafDetail::default()
    }
}

/// A commitment to a reason under the intent's salt.
pub(crate) fn commit_reason(salt: &types::Salt, reason: Option<&String>) -> Option<Digest> {
    reason.map(|reason| salt.commit(reason.as_bytes()))
}

/// Marks the change on a head.
pub(crate) fn mark(head: &mut Head, stamp: Stamp, phase: Phase) {
    head.phase = phase;
    head.changed_index = stamp.index;
    head.changed_at = stamp.time;
}
