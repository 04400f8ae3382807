//! Lists of intents.
//!
//! Invariant: one page looks at a bounded number of rows, whatever its filter leaves of them; where
//! it stopped looking is its cursor.

use alloc::vec::Vec;

use types::limits::PAGE_LOOKS_MAX;
use types::{AgentId, IntentId, NamespaceId, Phase};

use crate::query::{go_on, head, phase_byte};
use crate::read::{Direction, Fault, Read};
use crate::rows::Head;
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
            let mut prefix = table::prefix(namespace, Table::IntentsByAgent);
            prefix.extend_from_slice(&agent.0.to_be_bytes());
            found.add(ledger, namespace, &prefix, filter)?;
        }
    }
    let Found { mut heads, stopped_at } = found;
    heads.sort_by_key(|head| core::cmp::Reverse(head.id));
    if heads.len() <= filter.limit {
        return Ok(IntentPage { heads, next: stopped_at });
    }
    heads.truncate(filter.limit);
    let next = heads.last().map(|head| head.id);
    Ok(IntentPage { heads, next })
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
        let (mut looks, mut matches) = (0_usize, 0_usize);
        let mut broken = None;
        ledger.scan(prefix, &to, Direction::Descending, &mut |key, _| {
            let id = IntentId(table::last_u64(key).unwrap_or_default());
            looks += 1;
            match head(ledger, namespace, id) {
                Ok(Some(head)) => {
                    if filter.phases.is_empty() || filter.phases.contains(&head.phase) {
                        matches += 1;
                        self.heads.push(head);
                    }
                }
                Ok(None) => broken = Some(missing("an intent")),
                Err(fault) => broken = Some(fault),
            }
            if looks >= PAGE_LOOKS_MAX {
                self.stopped_at = Some(id);
            }
            go_on(broken.is_none() && matches <= filter.limit && looks < PAGE_LOOKS_MAX)
        })?;
        broken.map_or(Ok(()), Err)
    }
}
