//! Recording freezes: begun, settled, voted to be ended, ended.

use types::codec::encode;
use types::{Digest, NamespaceId, Stamp};

use crate::audit::{LeafBody, LeafDetail};
use crate::event::{Event, FreezeEnd};
use crate::read::Read;
use crate::record::Recorder;
use crate::rows_freeze::FreezeRow;
use crate::table::{self, DueKind};

impl<R: Read> Recorder<R> {
    pub(crate) fn record_freeze(&mut self, stamp: Stamp, namespace: NamespaceId, event: &Event) {
        let (by, body, detail) = match event {
            Event::Frozen { row, salt } => {
                self.put_freeze(row);
                if let Some(until) = row.until {
                    let subject = row.id.0.to_be_bytes();
                    self.schedule.add(until, row.home(), DueKind::FreezeEnd, &subject);
                }
                let body = LeafBody::Frozen {
                    freeze: row.id,
                    scope: row.scope.clone(),
                    until: row.until,
                    persons: row.persons,
                    reason: salt.commit(row.reason.as_bytes()),
                    settled: row.settled_at.is_some(),
                };
                let detail = LeafDetail {
                    actor_name: Some(row.name.clone()),
                    reason: Some(row.reason.clone()),
                    salt: Some(*salt),
                    ..LeafDetail::default()
                };
                (Some(row.by), body, detail)
            }
            Event::FreezeSettled { row } => {
                self.put_freeze(row);
                let running = row.running.clone();
                let body = LeafBody::FreezeSettled { freeze: row.id, running };
                (None, body, LeafDetail::default())
            }
            Event::UnfreezeVoted { row, by } => {
                self.put_freeze(row);
                let FreezeEnd { votes, needed, .. } = **by;
                let reason = reason(by);
                let body = LeafBody::UnfreezeVoted { freeze: row.id, votes, needed, reason };
                (Some(by.vote.agent), body, detail(by))
            }
            Event::Unfrozen { row, by } => {
                self.ledger.delete(table::freeze(row.home(), row.id));
                self.ledger.delete(table::freeze_mark(row.home(), row.id));
                let (votes, needed) = by.as_ref().map_or((0, 0), |by| (by.votes, by.needed));
                let reason = by.as_deref().and_then(reason);
                let body = LeafBody::Unfrozen { freeze: row.id, votes, needed, reason };
                let said = by.as_deref().map(detail).unwrap_or_default();
                (by.as_ref().map(|by| by.vote.agent), body, said)
            }
            _ => return,
        };
        self.leaf(stamp, namespace, by, None, body, &detail);
    }

    fn put_freeze(&mut self, row: &FreezeRow) {
        self.ledger.put(table::freeze(row.home(), row.id), encode(row));
        let settled = row.settled_at.is_some();
        self.ledger.put(table::freeze_mark(row.home(), row.id), encode(&settled));
    }
}

fn reason(by: &FreezeEnd) -> Option<Digest> {
    by.reason.as_ref().map(|reason| by.salt.commit(reason.as_bytes()))
}

fn detail(by: &FreezeEnd) -> LeafDetail {
    LeafDetail {
        actor_name: Some(by.vote.name.clone()),
        reason: by.reason.clone(),
        salt: by.reason.as_ref().map(|_| by.salt),
        ..LeafDetail::default()
    }
}
