//! Judgement inside the ledger: the facts came with the command, windows and rates are read here.

use alloc::sync::Arc;
use alloc::vec::Vec;

use policy::{
    ApprovalRule, Context, DuplicateOf, Facts, OpenWindow, PolicySet, WindowToOpen, World,
};
use types::codec::decode;
use types::{AgentId, Digest, LogTime, NamespaceId, Outcome, Reason};

use crate::read::{Fault, Read};
use crate::rows::{AgentRow, PolicyHead, WindowRow};
use crate::windows;
use crate::{query, table};

/// The policies that commands are judged by now.
pub(crate) struct PolicyInForce {
    /// 0 if no set was ever applied.
    pub(crate) version: u64,
    pub(crate) digest: Option<Digest>,
    pub(crate) set: Arc<PolicySet>,
}

/// What policy says of one submit.
pub(crate) struct Judged {
    pub(crate) outcome: Outcome,
    pub(crate) reasons: Vec<Reason>,
    pub(crate) windows: Vec<WindowToOpen>,
    pub(crate) approvals: ApprovalRule,
    pub(crate) duplicate: Option<DuplicateOf>,
    pub(crate) policy_version: u64,
    pub(crate) policy_digest: Option<Digest>,
}

/// The head row of the policies of a namespace.
pub(crate) fn policy_head(
    ledger: &impl Read,
    namespace: NamespaceId,
) -> Result<Option<PolicyHead>, Fault> {
    match ledger.get(&table::policy_head(namespace))? {
        Some(bytes) => Ok(Some(decode(&bytes, "policy head")?)),
        None => Ok(None),
    }
}

/// The policies in force, an empty set under version 0 if there are none.
pub(crate) fn policy_in_force(
    ledger: &impl Read,
    namespace: NamespaceId,
) -> Result<PolicyInForce, Fault> {
    match policy_head(ledger, namespace)? {
        Some(head) => Ok(PolicyInForce {
            version: head.version,
            digest: Some(head.digest),
            set: ledger.compiled(namespace, head.version)?,
        }),
        None => Ok(PolicyInForce { version: 0, digest: None, set: Arc::new(PolicySet::empty()) }),
    }
}

/// Judges a new submit, with windows and rates as they stand.
pub(crate) fn judge(
    ledger: &impl Read,
    namespace: NamespaceId,
    agent: &AgentRow,
    now: LogTime,
    policy: &PolicyInForce,
    facts: &Facts,
) -> Result<Judged, Fault> {
    let world = Standing { ledger, namespace, agent: agent.id, now };
    run(&world, agent.id, now, policy, facts)
}

/// Judges an intent again that already stands in the ledger: its own windows and submits do not
/// count against it.
pub(crate) fn judge_again(
    agent: AgentId,
    now: LogTime,
    policy: &PolicyInForce,
    facts: &Facts,
) -> Result<Judged, Fault> {
    run(&Nothing, agent, now, policy, facts)
}

fn run<W: World<Error = Fault>>(
    world: &W,
    agent: AgentId,
    now: LogTime,
    policy: &PolicyInForce,
    facts: &Facts,
) -> Result<Judged, Fault> {
    let context = Context { now, agent };
    let judgement = policy::judge(facts, &policy.set, &context, world)?;
    Ok(Judged {
        outcome: judgement.outcome,
        reasons: judgement.reasons,
        windows: judgement.windows,
        approvals: judgement.approvals,
        duplicate: judgement.duplicate,
        policy_version: policy.version,
        policy_digest: policy.digest,
    })
}

struct Standing<'l, R> {
    ledger: &'l R,
    namespace: NamespaceId,
    agent: AgentId,
    now: LogTime,
}

impl<R: Read> World for Standing<'_, R> {
    type Error = Fault;

    fn nth_last_submit(&self, n: u64) -> Result<Option<LogTime>, Fault> {
        let submits = query::submits(self.ledger, self.namespace, self.agent)?;
        let Some(number) = submits.checked_sub(n) else { return Ok(None) };
        let row = query::agent_submit(self.ledger, self.namespace, self.agent, number)?;
        Ok(row.map(|row| row.at))
    }

    fn window(&self, fingerprint: &Digest) -> Result<Option<OpenWindow>, Fault> {
        let Some(bytes) = self.ledger.get(&table::window(self.namespace, fingerprint))? else {
            return Ok(None);
        };
        let row: WindowRow = decode(&bytes, "window")?;
        Ok(windows::is_open(&row, self.now)
            .then_some(OpenWindow { first: row.first, ends_at: row.ends_at }))
    }
}

struct Nothing;

impl World for Nothing {
    type Error = Fault;

    fn nth_last_submit(&self, _: u64) -> Result<Option<LogTime>, Fault> {
        Ok(None)
    }

    fn window(&self, _: &Digest) -> Result<Option<OpenWindow>, Fault> {
        Ok(None)
    }
}
