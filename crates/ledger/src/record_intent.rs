//! Recording what happens to intents: head, content, payload, lists, windows, schedule, leaf.

use alloc::vec::Vec;

use types::codec::{decode, encode};
use types::limits::IDEMPOTENCY_KEY_KEPT_MS;
use types::{Digest, LogTime, NamespaceId, Outcome, Phase, Stamp};

use crate::audit::{LeafBody, LeafDetail, LeafReason};
use crate::deliveries::Told;
use crate::event::{Event, RefusedBy};
use crate::query::{self, phase_byte};
use crate::read::{Fault, Read};
use crate::record::{Recorder, commit_reason, detail_of, mark};
use crate::rows::{
    AgentSubmit, Content, Head, IdempotencyKeyRow, NewContentRow, PAYLOAD_WITH_CONTENT_MAX,
    PayloadRow, WINDOWS_WITH_CONTENT_MAX, WindowRow,
};
use crate::table::{self, DueKind};
use crate::windows::{self, Change};

impl<R: Read> Recorder<R> {
    pub(crate) fn record_intent(
        &mut self,
        stamp: Stamp,
        namespace: NamespaceId,
        event: &Event,
    ) -> Result<(), Fault> {
        match event {
            Event::Submitted { .. } => self.submitted(stamp, namespace, event),
            Event::DuplicateRefused { .. } => self.duplicate_refused(stamp, namespace, event),
            Event::Approved { .. } => self.approved(stamp, namespace, event),
            Event::Allowed { .. } => self.allowed(stamp, namespace, event),
            Event::Ended { .. } => self.ended(stamp, namespace, event),
            Event::PolicyChanged { .. } => self.policy_changed(stamp, namespace, event),
            _ => Ok(()),
        }
    }

    fn approved(
        &mut self,
        stamp: Stamp,
        namespace: NamespaceId,
        event: &Event,
    ) -> Result<(), Fault> {
        let Event::Approved { intent, vote, digest, votes, required, reason } = event else {
            return Ok(());
        };
        let mut head = query::expect_head(&self.ledger, namespace, *intent)?;
        let content = self.content(namespace, &head)?;
        head.approval.votes.push(vote.clone());
        let phase = head.phase;
        mark(&mut head, stamp, phase);
        self.ledger.put(table::intent(namespace, head.id), encode(&head));
        let body = LeafBody::Approved {
            digest: *digest,
            votes: *votes,
            required: *required,
            credential: vote.credential,
            reason: commit_reason(&content.salt, reason.as_ref()),
        };
        let detail = LeafDetail {
            actor_name: Some(vote.shown_name().into()),
            reason: reason.clone(),
            voters: head.approval.votes.iter().map(|v| v.shown_name().into()).collect(),
            salt: None,
        };
        self.leaf(stamp, namespace, Some(vote.agent), Some(*intent), body, &detail);
        Ok(())
    }

    fn allowed(
        &mut self,
        stamp: Stamp,
        namespace: NamespaceId,
        event: &Event,
    ) -> Result<(), Fault> {
        let Event::Allowed { intent, decided, runs_by } = event else { return Ok(()) };
        let mut head = query::expect_head(&self.ledger, namespace, *intent)?;
        self.add_wait(namespace, decided.at.since_ms(head.submitted_at))?;
        head.was_allowed = true;
        head.allowed_at = Some(decided.at);
        head.decided = Some(decided.clone());
        head.runs_by = *runs_by;
        self.tell(stamp, namespace, &head, Phase::Allowed, &Told::by(decided))?;
        self.change_phase(stamp, namespace, head, Phase::Allowed)?;
        let detail = LeafDetail { reason: None, ..detail_of(decided) };
        self.leaf(stamp, namespace, decided.by, Some(*intent), LeafBody::Allowed, &detail);
        Ok(())
    }

    fn ended(&mut self, stamp: Stamp, namespace: NamespaceId, event: &Event) -> Result<(), Fault> {
        let Event::Ended { intent, phase, decided } = event else { return Ok(()) };
        let mut head = query::expect_head(&self.ledger, namespace, *intent)?;
        let content = self.content(namespace, &head)?;
        head.decided = Some(decided.clone());
        self.tell(stamp, namespace, &head, *phase, &Told::by(decided))?;
        self.change_phase(stamp, namespace, head, *phase)?;
        let reason = commit_reason(&content.salt, decided.reason.as_ref());
        let body = LeafBody::Ended { phase: *phase, reason };
        self.leaf(stamp, namespace, decided.by, Some(*intent), body, &detail_of(decided));
        Ok(())
    }

    fn policy_changed(
        &mut self,
        stamp: Stamp,
        namespace: NamespaceId,
        event: &Event,
    ) -> Result<(), Fault> {
        let Event::PolicyChanged { intent, decision, approval } = event else { return Ok(()) };
        let mut head = query::expect_head(&self.ledger, namespace, *intent)?;
        let mut row = query::content_row(&self.ledger, namespace, *intent, head.revision)?;
        let first = table::first_answer(namespace, head.id);
        if self.ledger.get(&first)?.is_none() {
            self.ledger.put(first, encode(&(&head, &row.content)));
        }
        row.content.decision = decision.as_ref().clone();
        head.approval = approval.clone();
        self.ledger.put(table::content(namespace, head.id, head.revision), encode(&row));
        self.tell(stamp, namespace, &head, Phase::Held, &Told::by_policy(&row.content))?;
        if head.phase == Phase::Held {
            mark(&mut head, stamp, Phase::Held);
            self.ledger.put(table::intent(namespace, head.id), encode(&head));
        } else {
            head.decided = None;
            head.allowed_at = None;
            self.change_phase(stamp, namespace, head, Phase::Held)?;
        }
        let body = LeafBody::PolicyChanged {
            policy_version: decision.policy_version,
            rules_digest: decision.rules_digest,
            outcome: decision.outcome,
            approval_digest: approval.digest,
        };
        self.leaf(stamp, namespace, None, Some(*intent), body, &LeafDetail::default());
        Ok(())
    }

    pub(crate) fn content(&self, namespace: NamespaceId, head: &Head) -> Result<Content, Fault> {
        query::content(&self.ledger, namespace, head.id, head.revision)
    }

    fn submitted(
        &mut self,
        stamp: Stamp,
        namespace: NamespaceId,
        event: &Event,
    ) -> Result<(), Fault> {
        let Event::Submitted { head, content, payload, windows, bound_key } = event else {
            return Ok(());
        };
        let mut head = head.as_ref().clone();
        head.first_leaf = self.next_leaf();
        let id = head.id;
        let opened: Vec<(Digest, u64)> =
            windows.iter().map(|window| (window.fingerprint, window.window_ms)).collect();
        head.number = self.count_submit(stamp.time, namespace, &head)?;
        self.put_content(namespace, &head, content, (payload.as_deref(), &opened));
        self.ledger.put(table::intent_by_phase(namespace, phase_byte(head.phase), id), []);
        self.count_phase(namespace, head.phase, 1)?;
        if head.phase == Phase::Held {
            self.tell(stamp, namespace, &head, Phase::Held, &Told::by_policy(content))?;
        }
        self.list_runnable(namespace, &head, head.phase);
        if !head.phase.is_terminal() {
            let subject = id.0.to_be_bytes();
            self.schedule.add(head.expires_at, namespace, DueKind::IntentExpiry, &subject);
        }
        if let Some(digest) = bound_key {
            let bound_until = stamp.time.plus_ms(IDEMPOTENCY_KEY_KEPT_MS);
            let row = IdempotencyKeyRow { first: id, bound_until };
            self.ledger.put(table::idempotency_key(namespace, digest), encode(&row));
            self.schedule.add(bound_until, namespace, DueKind::IdempotencyKey, &digest.0);
        }
        for window in windows {
            let runs_out = head.phase == Phase::Allowed && head.runs_by.is_none();
            let ends_at = runs_out.then(|| stamp.time.plus_ms(window.window_ms));
            let row =
                WindowRow { first: id, window_ms: window.window_ms, since: stamp.time, ends_at };
            self.put_window(stamp.time, namespace, &window.fingerprint, &row);
        }
        let body = submitted_leaf(&head, content, &opened);
        self.ledger.put(table::intent(namespace, id), encode(&head));
        // The agent's own row has its name.
        let detail = LeafDetail::default();
        self.leaf(stamp, namespace, Some(head.agent), Some(id), body, &detail);
        Ok(())
    }

    fn duplicate_refused(
        &mut self,
        stamp: Stamp,
        namespace: NamespaceId,
        event: &Event,
    ) -> Result<(), Fault> {
        let Event::DuplicateRefused { first, agent, name, payload_commitment, salt, by } = event
        else {
            return Ok(());
        };
        let head = query::expect_head(&self.ledger, namespace, *first)?;
        let content = self.content(namespace, &head)?;
        let (gate, fingerprint) = match by {
            RefusedBy::Window { gate, fingerprint } => (Some(gate.clone()), fingerprint),
            RefusedBy::Key { digest } => (None, digest),
        };
        let body = LeafBody::DuplicateRefused {
            gate,
            fingerprint: content.salt.commit(&fingerprint.0),
            payload: *payload_commitment,
        };
        let detail = LeafDetail {
            actor_name: Some(name.clone()),
            salt: Some(*salt),
            ..LeafDetail::default()
        };
        self.leaf(stamp, namespace, Some(*agent), Some(*first), body, &detail);
        self.count(table::duplicate_count(namespace), 1)
    }

    /// Moves an intent to another phase with its lists, counts and windows.
    pub(crate) fn change_phase(
        &mut self,
        stamp: Stamp,
        namespace: NamespaceId,
        mut head: Head,
        phase: Phase,
    ) -> Result<(), Fault> {
        let id = head.id;
        self.ledger.delete(table::intent_by_phase(namespace, phase_byte(head.phase), id));
        self.ledger.put(table::intent_by_phase(namespace, phase_byte(phase), id), []);
        self.count_phase(namespace, head.phase, -1)?;
        self.count_phase(namespace, phase, 1)?;
        self.list_runnable(namespace, &head, phase);
        let change = windows::change(&head, phase);
        if head.has_windows {
            self.change_windows(stamp.time, namespace, &head, change)?;
            if change == Change::Released {
                head.has_windows = false;
            }
        }
        mark(&mut head, stamp, phase);
        self.ledger.put(table::intent(namespace, id), encode(&head));
        Ok(())
    }

    fn change_windows(
        &mut self,
        now: LogTime,
        namespace: NamespaceId,
        head: &Head,
        change: Change,
    ) -> Result<(), Fault> {
        let held = query::windows(&self.ledger, namespace, head)?;
        if change == Change::Released && held.len() > WINDOWS_WITH_CONTENT_MAX {
            self.ledger.delete(table::intent_windows(namespace, head.id));
        }
        for (fingerprint, window_ms) in held {
            let key = table::window(namespace, &fingerprint);
            let row: Option<WindowRow> = match self.ledger.get(&key)? {
                Some(bytes) => Some(decode(&bytes, "window")?),
                None => None,
            };
            let standing = row.filter(|row| row.first == head.id || windows::is_open(row, now));
            match standing {
                // The window ended and belongs to a later intent by now.
                Some(row) if row.first != head.id => {}
                Some(row) => match windows::changed(&row, change, now) {
                    // Its end is on the schedule already.
                    Some(same) if same.ends_at == row.ends_at => {
                        self.ledger.put(key, encode(&same));
                    }
                    Some(row) => self.put_window(now, namespace, &fingerprint, &row),
                    None => self.ledger.delete(key),
                },
                None => {
                    if let Some(row) = windows::reopened(head.id, window_ms, change, now) {
                        self.put_window(now, namespace, &fingerprint, &row);
                    }
                }
            }
        }
        Ok(())
    }

    fn put_window(
        &mut self,
        now: LogTime,
        namespace: NamespaceId,
        fingerprint: &Digest,
        row: &WindowRow,
    ) {
        self.ledger.put(table::window(namespace, fingerprint), encode(row));
        if let Some(ends_at) = row.ends_at {
            // Never behind what was swept already.
            let at = ends_at.max(now);
            self.schedule.add(at, namespace, DueKind::WindowEnd, &fingerprint.0);
        }
    }

    fn count_phase(
        &mut self,
        namespace: NamespaceId,
        phase: Phase,
        change: i64,
    ) -> Result<(), Fault> {
        self.count(table::phase_count(namespace, phase_byte(phase)), change)
    }

    fn count(&mut self, key: Vec<u8>, change: i64) -> Result<(), Fault> {
        let count: u64 = match self.ledger.get(&key)? {
            Some(bytes) => decode(&bytes, "count")?,
            None => 0,
        };
        self.ledger.put(key, encode(&count.saturating_add_signed(change)));
        Ok(())
    }

    fn add_wait(&mut self, namespace: NamespaceId, ms: u64) -> Result<(), Fault> {
        let mut waits = query::approval_waits(&self.ledger, namespace)?;
        waits.count = waits.count.saturating_add(1);
        waits.sum_ms = waits.sum_ms.saturating_add(ms);
        self.ledger.put(table::approval_waits(namespace), encode(&waits));
        Ok(())
    }

    /// Counts the agent's submits, and gives the number of this one.
    fn count_submit(
        &mut self,
        now: LogTime,
        namespace: NamespaceId,
        head: &Head,
    ) -> Result<u64, Fault> {
        let key = table::submit_counter(namespace, head.agent);
        let number = query::submits(&self.ledger, namespace, head.agent)?;
        self.ledger.put(key, encode(&number.saturating_add(1)));
        let row = AgentSubmit { intent: head.id, at: now };
        self.ledger.put(table::intent_by_agent(namespace, head.agent, number), encode(&row));
        Ok(number)
    }

    /// Writes what was asked and decided, with the payload and the windows it opened: in one row
    /// what is small, in rows of their own what is not.
    fn put_content(
        &mut self,
        namespace: NamespaceId,
        head: &Head,
        content: &Content,
        (payload, windows): (Option<&[u8]>, &[(Digest, u64)]),
    ) {
        let (id, revision) = (head.id, head.revision);
        let (small, large) = match payload {
            Some(bytes) if bytes.len() > PAYLOAD_WITH_CONTENT_MAX => (None, Some(bytes)),
            other => (other, None),
        };
        if let Some(bytes) = large {
            let row = PayloadRow { bytes: bytes.to_vec() };
            self.ledger.put(table::payload(namespace, id, revision), encode(&row));
        }
        let few = windows.len() <= WINDOWS_WITH_CONTENT_MAX;
        if !few {
            self.ledger.put(table::intent_windows(namespace, id), encode(&windows));
        }
        let (payload, windows) = (small.map(Into::into), if few { windows } else { &[] });
        let row = NewContentRow { content, payload, windows };
        self.ledger.put(table::content(namespace, id, revision), encode(&row));
    }
}

fn submitted_leaf(head: &Head, content: &Content, windows: &[(Digest, u64)]) -> LeafBody {
    let salt = &content.salt;
    let decision = &content.decision;
    LeafBody::Submitted {
        phase: head.phase,
        destination: content.proposal.destination.clone(),
        policy: content.proposal.policy.clone(),
        payload: content.proposal.payload_digest.map(|digest| salt.commit(&digest.0)),
        proposal: salt.commit(&encode(&content.proposal)),
        policy_version: decision.policy_version,
        policy_digest: decision.policy_digest,
        rules_digest: decision.rules_digest,
        reasons: decision
            .reasons
            .iter()
            .filter(|reason| reason.outcome != Outcome::Allow)
            .map(|reason| LeafReason {
                source: reason.source.clone(),
                rule: reason.rule.clone(),
                outcome: reason.outcome,
                place: reason.place.clone(),
            })
            .collect(),
        approval_digest: salt.commit(&head.approval.digest.0),
        approvals_needed: head.approval.rule.count,
        windows: windows.iter().map(|(fingerprint, _)| salt.commit(&fingerprint.0)).collect(),
        expires_at: head.expires_at,
        credential: head.credential,
    }
}
