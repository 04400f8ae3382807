//! Recording approval links: issued, and used up.

use alloc::string::String;

use types::codec::encode;
use types::{NamespaceId, Stamp};

use crate::audit::{LeafBody, LeafDetail};
use crate::event::Event;
use crate::link_rows::{LINK_NAME, LinkMark, LinkRow};
use crate::query;
use crate::read::{Fault, Read};
use crate::record::{Recorder, mark};
use crate::table;

impl<R: Read> Recorder<R> {
    pub(crate) fn record_link(
        &mut self,
        stamp: Stamp,
        namespace: NamespaceId,
        event: &Event,
    ) -> Result<(), Fault> {
        match event {
            Event::LinkIssued { row, name } => {
                let key = table::intent_link(namespace, row.intent, row.reviewer);
                self.ledger.put(key, encode(&row.token_hash));
                let body = LeafBody::LinkIssued { expires_at: row.expires_at };
                self.put_link(stamp, row, false, body, name)
            }
            Event::LinkUsed { row, rejected } => {
                let body = LeafBody::LinkUsed { credential: row.credential };
                self.put_link(stamp, row, *rejected, body, LINK_NAME)
            }
            _ => Ok(()),
        }
    }

    fn put_link(
        &mut self,
        stamp: Stamp,
        row: &LinkRow,
        rejected: bool,
        body: LeafBody,
        name: &str,
    ) -> Result<(), Fault> {
        let namespace = row.namespace;
        self.ledger.put(table::link(&row.token_hash), encode(row));
        let mut head = query::expect_head(&self.ledger, namespace, row.intent)?;
        let used_before = head.link.and_then(|mark| mark.used_at);
        head.link = Some(LinkMark { used_at: row.used_at.or(used_before), rejected });
        let phase = head.phase;
        mark(&mut head, stamp, phase);
        self.ledger.put(table::intent(namespace, head.id), encode(&head));
        let detail = LeafDetail { actor_name: Some(String::from(name)), ..LeafDetail::default() };
        self.leaf(stamp, namespace, Some(row.reviewer), Some(row.intent), body, &detail);
        Ok(())
    }
}
