//! One run of entries against a base state: each command sees the writes of the one before it.
//!
//! Invariant: the writes of a session are a function of the base and the batches alone. The caller
//! puts them into one atomic write with the applied index, and only then lets replies leave.

use alloc::vec::Vec;

use tlog::Edge;
use types::codec::{decode, encode};
use types::limits;
use types::{LogIndex, LogTime, NamespaceId, Stamp};

use crate::codec::decode_batch;
use crate::command::{Command, Envelope, RequestKey};
use crate::credential::principal;
use crate::event::namespace_of;
use crate::read::{Fault, Overlay, Read};
use crate::record::Recorder;
use crate::reply::{Effect, Refusal, Reply};
use crate::rows::{ReplyRow, RequestKeyRow, StoredAnswer};
use crate::table::{self, DueKind, Meta};
use crate::transition::{Stop, Transition, transition};
use crate::write_hash::{Hashing, WriteHash};
use crate::writes::Writes;
use crate::{query, submit};

/// A run of entries.
pub struct Session<R> {
    recorder: Recorder<R>,
    time: LogTime,
    effects: Vec<Effect>,
}

impl<R: Read> Session<R> {
    /// Starts on a base state.
    ///
    /// # Errors
    /// [`Fault`] if the base cannot be read.
    pub fn open(base: R) -> Result<Self, Fault> {
        let time = match base.get(&table::meta(Meta::LogTime))? {
            Some(bytes) => decode(&bytes, "log time")?,
            None => LogTime::default(),
        };
        let edge = match base.get(&table::meta(Meta::TreeEdge))? {
            Some(bytes) => {
                Edge::decode(&bytes).map_err(|error| Fault(alloc::format!("tree edge: {error}")))?
            }
            None => Edge::new(),
        };
        let last = match base.get(&table::meta(Meta::WriteHash))? {
            Some(bytes) => decode(&bytes, "write hash")?,
            None => WriteHash::default(),
        };
        let mut overlay = Overlay::new(base);
        overlay.hashing = Some(Hashing::after(last));
        let recorder = Recorder::new(overlay, edge);
        Ok(Self { recorder, time, effects: Vec::new() })
    }

    /// Applies one entry; one reply per command.
    ///
    /// # Errors
    /// [`Fault`] if state cannot be read or the entry is not known to this build. The session is
    /// of no use then, and the node stops.
    pub fn apply(&mut self, index: LogIndex, batch: &[u8]) -> Result<Vec<Reply>, Fault> {
        let (header, commands) = decode_batch(batch)?;
        self.time = self.time.max(header.time);
        let mut replies = Vec::with_capacity(commands.len());
        for (position, envelope) in commands.iter().enumerate() {
            let position = u32::try_from(position)
                .map_err(|_| Fault("a log entry with more than 2^32 commands".into()))?;
            let stamp = Stamp { index, position, time: self.time, proposer: header.proposer };
            replies.push(self.step(stamp, envelope)?);
        }
        self.recorder.end_entry(index);
        Ok(replies)
    }

    /// Log time after the last applied entry.
    pub fn time(&self) -> LogTime {
        self.time
    }

    /// Hints collected so far; they leave after the writes are on disk.
    pub fn take_effects(&mut self) -> Vec<Effect> {
        core::mem::take(&mut self.effects)
    }

    /// The running hash of row writes after each entry so far.
    pub fn take_hashes(&mut self) -> Vec<(LogIndex, WriteHash)> {
        self.recorder.ledger.hashing.as_mut().map(Hashing::take).unwrap_or_default()
    }

    /// All row writes, with log time, tree edge and their hash.
    ///
    /// # Errors
    /// None today; the signature leaves room for checks.
    pub fn finish(self) -> Result<Writes, Fault> {
        let (mut overlay, edge) = self.recorder.into_parts();
        // What follows says where the log is, and is written once for a whole session.
        if let Some(hashing) = overlay.hashing.take() {
            overlay.put(table::meta(Meta::WriteHash), encode(&hashing.last()));
        }
        overlay.put(table::meta(Meta::LogTime), encode(&self.time));
        overlay.put(table::meta(Meta::TreeEdge), edge.encode());
        Ok(overlay.into_writes())
    }

    fn step(&mut self, stamp: Stamp, envelope: &Envelope) -> Result<Reply, Fault> {
        if let Some(first) = self.remembered(stamp, envelope)? {
            return Ok(first);
        }
        let done = transition(&self.recorder.ledger, stamp, envelope)?;
        let Transition { reply, events, effects } = done;
        for event in &events {
            let namespace = namespace_of(event, envelope.namespace);
            self.recorder.record(stamp, namespace, event)?;
        }
        self.effects.extend(effects);
        self.effects.append(&mut self.recorder.effects);
        let reply = submit::filled_in(reply, stamp, self.recorder.last_leaf());
        self.remember(stamp, envelope, &reply)?;
        Ok(reply)
    }

    /// The first answer, if this request was answered before.
    fn remembered(&self, stamp: Stamp, envelope: &Envelope) -> Result<Option<Reply>, Fault> {
        let ledger = &self.recorder.ledger;
        if !matches!(envelope.command, Command::Tick | Command::Bootstrap(_))
            && let Some(bytes) = ledger.get(&table::reply(&envelope.request))?
        {
            let row: ReplyRow = decode(&bytes, "kept reply")?;
            return Ok(Some(decode(&row.reply, "reply")?));
        }
        match &envelope.request_key {
            Some(key) => self.replayed(stamp, envelope, key),
            None => Ok(None),
        }
    }

    /// The first answer under an `Idempotency-Key` header, for a caller who may still ask.
    fn replayed(
        &self,
        stamp: Stamp,
        envelope: &Envelope,
        key: &RequestKey,
    ) -> Result<Option<Reply>, Fault> {
        let ledger = &self.recorder.ledger;
        match principal(ledger, envelope, stamp.time) {
            Ok(_) => {}
            Err(Stop::Refused(refusal)) => return Ok(Some(Reply::Refused(refusal))),
            Err(Stop::Fault(fault)) => return Err(fault),
        }
        let found = ledger.get(&table::request_key(envelope.namespace, &key.digest))?;
        let Some(bytes) = found else {
            let full = self.request_keys()? >= limits::REQUEST_KEYS_MAX;
            return Ok(full.then_some(Reply::Refused(Refusal::RequestKeysFull)));
        };
        let row: RequestKeyRow = decode(&bytes, "request key")?;
        if stamp.time >= row.kept_until {
            return Ok(None);
        }
        if row.body != key.body {
            return Ok(Some(Reply::Refused(Refusal::RequestKeyReused)));
        }
        let first = match row.answer {
            StoredAnswer::Submitted(intent) => {
                let first = query::submitted(ledger, envelope.namespace, intent)?;
                if matches!(&envelope.command, Command::Submit(again) if again.intent == intent) {
                    return Ok(Some(first));
                }
                first
            }
            StoredAnswer::Reply(bytes) => decode(&bytes, "reply")?,
        };
        Ok(Some(Reply::Replayed(first.into())))
    }

    fn request_keys(&self) -> Result<u64, Fault> {
        match self.recorder.ledger.get(&table::meta(Meta::RequestKeyCount))? {
            Some(bytes) => Ok(decode(&bytes, "request key count")?),
            None => Ok(0),
        }
    }

    fn remember(&mut self, stamp: Stamp, envelope: &Envelope, reply: &Reply) -> Result<(), Fault> {
        if is_internal(reply) {
            return Ok(());
        }
        let ledger = &mut self.recorder.ledger;
        if keeps_reply(envelope, reply) {
            let kept_until = stamp.time.plus_ms(limits::REPLY_KEPT_MS);
            let row = ReplyRow { kept_until, reply: encode(reply) };
            ledger.put(table::reply(&envelope.request), encode(&row));
            let (cluster, kind) = (NamespaceId::CLUSTER, DueKind::Reply);
            self.recorder.schedule.add(kept_until, cluster, kind, &envelope.request);
        }
        let Some(key) = envelope.request_key.filter(|_| is_final(reply)) else { return Ok(()) };
        let answer = match reply {
            Reply::Submitted(head, _) => StoredAnswer::Submitted(head.id),
            other => StoredAnswer::Reply(encode(other)),
        };
        let kept_until = stamp.time.plus_ms(limits::REQUEST_KEY_KEPT_MS);
        let row = RequestKeyRow { body: key.body, kept_until, answer };
        let key_row = table::request_key(envelope.namespace, &key.digest);
        if self.recorder.ledger.get(&key_row)?.is_none() {
            let count = self.request_keys()?.saturating_add(1);
            self.recorder.ledger.put(table::meta(Meta::RequestKeyCount), encode(&count));
        }
        self.recorder.ledger.put(key_row, encode(&row));
        let (namespace, kind) = (envelope.namespace, DueKind::RequestKey);
        self.recorder.schedule.add(kept_until, namespace, kind, &key.digest.0);
        Ok(())
    }
}

/// An accepted submit is recognised by its intent's id, a refused repeat by its request id; a tick,
/// a bootstrap and what executor and notifier say need no memory: said again, they change nothing.
fn keeps_reply(envelope: &Envelope, reply: &Reply) -> bool {
    match envelope.command {
        Command::Tick
        | Command::Bootstrap(_)
        | Command::TakeOver(_)
        | Command::Claim(_)
        | Command::ReportAttempt(_)
        | Command::ReportDelivery(_) => false,
        Command::Submit(_) => matches!(reply, Reply::Duplicate(_)),
        _ => true,
    }
}

/// Answers that an `Idempotency-Key` replays. What may be otherwise when it is asked again, such as
/// a refusal or a policy that changed in between, is asked anew.
fn is_final(reply: &Reply) -> bool {
    !matches!(reply, Reply::Refused(_) | Reply::PolicyChanged { .. } | Reply::Replayed(_))
}

/// Replies that only the node sees: nothing was decided.
fn is_internal(reply: &Reply) -> bool {
    matches!(reply, Reply::FactsNeeded { .. } | Reply::IdTaken | Reply::Ticked { .. })
}
