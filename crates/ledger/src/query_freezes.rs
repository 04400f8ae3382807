//! Questions about freezes.

use alloc::vec::Vec;

use types::codec::decode;
use types::{FreezeId, IntentId, LogIndex, LogTime, NamespaceId, Phase};

use crate::command_freeze::Settled;
use crate::freeze;
use crate::query;
use crate::query_intents::IntentFilter;
use crate::read::{Direction, Fault, Read};
use crate::rows_freeze::{FreezeRow, Running};
use crate::table::{self, Table};

/// The freezes that a namespace's people can see, oldest first: those of the whole cluster, then
/// its own.
///
/// # Errors
/// See [`crate::query::cluster`]; so for every function here.
pub fn freezes(
    ledger: &(impl Read + ?Sized),
    namespace: NamespaceId,
    now: LogTime,
) -> Result<Vec<FreezeRow>, Fault> {
    let mut rows = freeze::in_force(ledger, NamespaceId::CLUSTER)?;
    rows.extend(freeze::in_force(ledger, namespace)?);
    rows.retain(|row| row.stands(now));
    Ok(rows)
}

/// A freeze of a namespace or of the whole cluster, also one whose time is over.
///
/// # Errors
/// See [`freezes`].
pub fn freeze(
    ledger: &(impl Read + ?Sized),
    namespace: NamespaceId,
    id: FreezeId,
) -> Result<Option<FreezeRow>, Fault> {
    match freeze::find(ledger, namespace, id)? {
        Some(row) => Ok(Some(row)),
        None => freeze::find(ledger, NamespaceId::CLUSTER, id),
    }
}

/// The freeze that keeps an intent from being claimed now.
///
/// # Errors
/// See [`freezes`].
pub fn frozen_by(
    ledger: &(impl Read + ?Sized),
    namespace: NamespaceId,
    intent: IntentId,
    now: LogTime,
) -> Result<Option<FreezeRow>, Fault> {
    match query::head(ledger, namespace, intent)? {
        Some(head) => freeze::covering(ledger, now, namespace, &head),
        None => Ok(None),
    }
}

/// Every freeze of every namespace with the namespace that holds it, and whether it is settled.
///
/// # Errors
/// See [`freezes`].
pub fn freeze_marks(
    ledger: &(impl Read + ?Sized),
) -> Result<Vec<(NamespaceId, FreezeId, bool)>, Fault> {
    let prefix = table::prefix(NamespaceId::CLUSTER, Table::FreezeMarks);
    let (mut marks, mut broken) = (Vec::new(), None);
    ledger.scan(&prefix, &table::end_of(&prefix), Direction::Ascending, &mut |key, bytes| {
        match (table::last_in_namespace(key), decode::<bool>(bytes, "freeze mark")) {
            (Some((home, id)), Ok(settled)) => marks.push((home, FreezeId(id), settled)),
            (None, _) => {}
            (_, Err(error)) => broken = Some(error),
        }
        query::go_on(broken.is_none())
    })?;
    broken.map_or(Ok(marks), |error| Err(error.into()))
}

/// What is to be settled, with the executor's claims of this epoch that each freeze covers.
///
/// # Errors
/// See [`freezes`].
pub fn unsettled_freezes(
    ledger: &(impl Read + ?Sized),
    epoch: LogIndex,
) -> Result<Vec<Settled>, Fault> {
    let mut unsettled = Vec::new();
    for (home, id, settled) in freeze_marks(ledger)? {
        let row = freeze::find(ledger, home, id)?.filter(|_| !settled);
        unsettled.extend(row.map(|row| (row, Vec::new())));
    }
    if unsettled.is_empty() {
        return Ok(Vec::new());
    }
    for execution in query::executor_claims(ledger, usize::MAX)? {
        let Some((namespace, order)) = query::find_order(ledger, execution)? else { continue };
        if order.executor.is_none_or(|claim| claim.epoch != epoch) {
            continue;
        }
        let head = query::expect_head(ledger, namespace, order.intent)?;
        for (row, running) in &mut unsettled {
            if freeze::covers(ledger, row, namespace, &head)? {
                running.push(Running { execution, intent: order.intent });
            }
        }
    }
    let settled = unsettled.into_iter();
    Ok(settled
        .map(|(row, running)| Settled { home: row.home(), freeze: row.id, running })
        .collect())
}

/// What a freeze came too late for and is not over: the executor's calls that were on their way,
/// orders that workers hold, and what is in doubt, each with the newest order of its intent. At
/// most `limit` of them out of as many as `looks` intents; the last word says whether there may be
/// more.
///
/// # Errors
/// See [`freezes`].
pub fn running_under(
    ledger: &(impl Read + ?Sized),
    row: &FreezeRow,
    limit: usize,
    looks: usize,
) -> Result<(Vec<Running>, bool), Fault> {
    let mut namespaces = alloc::vec![row.namespace];
    if row.home() == NamespaceId::CLUSTER {
        namespaces = query::namespaces(ledger)?.into_iter().map(|row| row.id).collect();
    }
    let (mut found, mut left, mut more) = (Vec::new(), looks, false);
    for namespace in namespaces {
        for phases in [&[Phase::Claimed], &[Phase::InDoubt]] {
            let filter = IntentFilter { phases, limit: left, ..IntentFilter::default() };
            let page = query::intents(ledger, namespace, filter)?;
            left = left.saturating_sub(page.heads.len());
            more |= page.next.is_some() || left == 0;
            for head in page.heads {
                let (intent, phase) = (head.id, head.phase);
                let Some(execution) = head.execution else { continue };
                let Some(order) = query::order(ledger, namespace, execution)? else { continue };
                let one = Running { execution, intent };
                // A claim of the executor's that it has not begun to carry out is given back. An
                // earlier attempt that is in doubt may be on its way all the same.
                let runs = phase == Phase::InDoubt
                    || order.follows_a_doubt()
                    || order.executor.is_none()
                    || row.running.contains(&one);
                if !runs || order.waits() || !freeze::covers(ledger, row, namespace, &head)? {
                    continue;
                }
                if found.len() >= limit {
                    return Ok((found, true));
                }
                found.push(one);
            }
        }
    }
    Ok((found, more))
}
