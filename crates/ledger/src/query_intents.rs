//! Lists of intents.
//!
//! Invariant: one page looks at a bounded number of rows, whatever its filter leaves of them; where
//! it stopped looking is its cursor.

use alloc::vec::Vec;

use types::codec::decode;
use types::limits::PAGE_LOOKS_MAX;
use types::{AgentId, IntentId, NamespaceId, Phase};

use crate::query::{go_on, head, phase_byte, row};
use crate::read::{Direction, Fault, Read};
use crate::rows::{AgentSubmit, Head};
use crate::submit::missing;
use crate::table::{self, Table};

/// Which intents a list shows, newest first.
#[derive(Debug, Clone, Copy, Default)]
pub struct IntentFilter {
    /// Only this agent's.
    pub agent: Option<AgentId>,
    /// Only in these phases; empty means all.
    pub phases: &'static [Phase],
    /// Only older than this one.
    pub before: Option<IntentId>,
    /// At most so many.
    pub limit: usize,
}

/// One page of a list of intents.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IntentPage {
    /// Newest first; may be fewer than the limit, even none, while there is a `next`.
    pub heads: Vec<Head>,
    /// What the next page comes before; `None` at the end of the list.
    pub next: Option<IntentId>,
}

/// Heads of intents, newest first.
///
/// # Errors
/// [`Fault`] if state cannot be read.
pub fn intents(
    ledger: &(impl Read + ?Sized),
    namespace: NamespaceId,
    filter: IntentFilter,
) -> Result<IntentPage, Fault> {
    if filter.limit == 0 {
        return Ok(IntentPage::default());
    }
    // So that the scan of one phase never stops with fewer than a page and its cursor needs.
    let limit = filter.limit.min(PAGE_LOOKS_MAX.saturating_sub(1));
    let filter = IntentFilter { limit, ..filter };
    let mut found = Found::default();
    match filter.agent {
        // Rows by phase are all of the list, so no row is looked at in vain.
        None if !filter.phases.is_empty() => {
            for phase in filter.phases {
                let mut prefix = table::prefix(namespace, Table::IntentsByPhase);
                prefix.push(phase_byte(*phase));
                found.add(ledger, namespace, &prefix, filter)?;
            }
        }
        None => {
            let prefix = table::prefix(namespace, Table::Intents);
            found.add(ledger, namespace, &prefix, filter)?;
        }
        Some(agent) => {
            found.add_of(ledger, namespace, agent, filter)?;
        }
    }
    let Found { mut heads, stopped_at } = found;
    if filter.agent.is_none() {
        heads.sort_by_key(|head| core::cmp::Reverse(head.id));
    }
    if heads.len() <= filter.limit {
        return Ok(IntentPage { heads, next: stopped_at });
    }
    heads.truncate(filter.limit);
    let next = heads.last().map(|head| head.id);
    Ok(IntentPage { heads, next })
}

/// How many intents an agent ever submitted, blocked ones among them.
pub(crate) fn submits(
    ledger: &(impl Read + ?Sized),
    namespace: NamespaceId,
    agent: AgentId,
) -> Result<u64, Fault> {
    let key = table::submit_counter(namespace, agent);
    Ok(row(ledger, &key, |bytes| decode(bytes, "submit counter"))?.unwrap_or_default())
}

/// The one of an agent's submits with this number, counted from 0.
pub(crate) fn agent_submit(
    ledger: &(impl Read + ?Sized),
    namespace: NamespaceId,
    agent: AgentId,
    number: u64,
) -> Result<Option<AgentSubmit>, Fault> {
    let key = table::intent_by_agent(namespace, agent, number);
    row(ledger, &key, |bytes| decode(bytes, "submit"))
}

/// The number of an agent's first submit that is not older than an intent. One of another's has its
/// place by its id; ids follow the log but for those that different nodes gave in one moment.
fn first_not_older(
    ledger: &(impl Read + ?Sized),
    namespace: NamespaceId,
    agent: AgentId,
    id: IntentId,
) -> Result<u64, Fault> {
    if let Some(own) = head(ledger, namespace, id)?.filter(|head| head.agent == agent) {
        return Ok(own.number);
    }
    let (mut low, mut high) = (0, submits(ledger, namespace, agent)?);
    while low < high {
        let middle = low.midpoint(high);
        let found = agent_submit(ledger, namespace, agent, middle)?;
        if found.ok_or_else(|| missing("a submit"))?.intent < id {
            low = middle.saturating_add(1);
        } else {
            high = middle;
        }
    }
    Ok(low)
}

/// What scans found so far.
#[derive(Default)]
struct Found {
    heads: Vec<Head>,
    /// The row at which the last scan gave up, with nothing before it left out.
    stopped_at: Option<IntentId>,
}

impl Found {
    /// Adds up to one more than the limit, to see whether there is a next page.
    fn add(
        &mut self,
        ledger: &(impl Read + ?Sized),
        namespace: NamespaceId,
        prefix: &[u8],
        filter: IntentFilter,
    ) -> Result<(), Fault> {
        let to = match filter.before {
            Some(id) => {
                let mut to = prefix.to_vec();
                to.extend_from_slice(&id.0.to_be_bytes());
                to
            }
            None => table::end_of(prefix),
        };
        let id_of = |key: &[u8], _: &[u8]| Ok(IntentId(table::last_u64(key).unwrap_or_default()));
        self.scan(ledger, namespace, (prefix, &to), id_of, filter)
    }

    /// The same of one agent's, in the order in which they were accepted.
    fn add_of(
        &mut self,
        ledger: &(impl Read + ?Sized),
        namespace: NamespaceId,
        agent: AgentId,
        filter: IntentFilter,
    ) -> Result<(), Fault> {
        let end = match filter.before {
            Some(id) => first_not_older(ledger, namespace, agent, id)?,
            None => u64::MAX,
        };
        let from = table::intent_by_agent(namespace, agent, 0);
        let to = table::intent_by_agent(namespace, agent, end);
        let id_of = |_: &[u8], row: &[u8]| Ok(decode::<AgentSubmit>(row, "submit")?.intent);
        self.scan(ledger, namespace, (&from, &to), id_of, filter)
    }

    fn scan(
        &mut self,
        ledger: &(impl Read + ?Sized),
        namespace: NamespaceId,
        (from, to): (&[u8], &[u8]),
        id_of: impl Fn(&[u8], &[u8]) -> Result<IntentId, Fault>,
        filter: IntentFilter,
    ) -> Result<(), Fault> {
        let (mut looks, mut matches) = (0_usize, 0_usize);
        let mut broken = None;
        ledger.scan(from, to, Direction::Descending, &mut |key, row| {
            looks += 1;
            let found = id_of(key, row).and_then(|id| {
                let head = head(ledger, namespace, id)?.ok_or_else(|| missing("an intent"))?;
                Ok((id, head))
            });
            match found {
                Ok((id, head)) => {
                    if filter.phases.is_empty() || filter.phases.contains(&head.phase) {
                        matches += 1;
                        self.heads.push(head);
                    }
                    if looks >= PAGE_LOOKS_MAX {
                        self.stopped_at = Some(id);
                    }
                }
                Err(fault) => broken = Some(fault),
            }
            go_on(broken.is_none() && matches <= filter.limit && looks < PAGE_LOOKS_MAX)
        })?;
        broken.map_or(Ok(()), Err)
    }
}
