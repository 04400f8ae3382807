//! Questions about the audit tree: the trail of an intent, one leaf, leaves in their order.
//!
//! Invariant: one page looks at a bounded number of leaves; what it did not reach is behind its
//! cursor, so no leaf is out of reach.

use alloc::vec::Vec;

use types::codec::decode;
use types::limits::PAGE_LOOKS_MAX;
use types::{IntentId, NamespaceId};

use crate::audit::{Leaf, LeafBody, LeafDetail};
use crate::query::{agent, go_on, head, row};
use crate::read::{Direction, Fault, Read};
use crate::submit::missing;
use crate::table::{self, Table};

/// One page of an intent's trail: leaves with their readable side, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TrailPage {
    /// At most as many as the limit.
    pub entries: Vec<(Leaf, LeafDetail)>,
    /// The sequence after which the next page begins; `None` if nothing more is there now.
    pub next: Option<u64>,
}

/// A leaf as readers of the whole log get it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeafEntry {
    /// What it says.
    pub leaf: Leaf,
    /// Its readable side.
    pub detail: LeafDetail,
    /// Its bytes, of which the tree's hashes are made.
    pub bytes: Vec<u8>,
}

/// One page of leaves in the order of the tree.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LeafPage {
    /// May be fewer than the limit, even none, while there is a `next`.
    pub entries: Vec<LeafEntry>,
    /// The sequence after which the next page begins; `None` if nothing more is there now.
    pub next: Option<u64>,
}

/// The trail of an intent after a sequence, or from its beginning, at most `limit` leaves.
///
/// # Errors
/// [`Fault`] if state cannot be read; so for every function here.
pub fn trail(
    ledger: &(impl Read + ?Sized),
    namespace: NamespaceId,
    id: IntentId,
    after: Option<u64>,
    limit: usize,
) -> Result<TrailPage, Fault> {
    if limit == 0 {
        return Ok(TrailPage::default());
    }
    let from = after.map_or(0, |after| after.saturating_add(1));
    // The leaf of the submit is named by the head alone.
    let first = head(ledger, namespace, id)?.map(|head| head.first_leaf);
    let mut sequences: Vec<u64> = first.filter(|first| *first >= from).into_iter().collect();
    let rows = table::intent_leaf(namespace, id, from);
    let to = table::intent_leaf(namespace, id, u64::MAX);
    // One more than is shown, to see whether there is a next page.
    ledger.scan(&rows, &to, Direction::Ascending, &mut |key, _| {
        if sequences.len() <= limit {
            sequences.push(table::last_u64(key).unwrap_or_default());
        }
        go_on(sequences.len() <= limit)
    })?;
    let more = sequences.len() > limit;
    sequences.truncate(limit);
    let next = sequences.last().copied().filter(|_| more);
    let entry = |sequence| leaf(ledger, sequence)?.ok_or_else(|| missing("an audit leaf"));
    let entries: Result<_, Fault> = sequences.into_iter().map(entry).collect();
    Ok(TrailPage { entries: entries?, next })
}

/// A leaf of the audit tree with its readable side.
///
/// # Errors
/// See [`trail`].
pub fn leaf(
    ledger: &(impl Read + ?Sized),
    sequence: u64,
) -> Result<Option<(Leaf, LeafDetail)>, Fault> {
    let Some(bytes) = ledger.get(&table::leaf(sequence))? else { return Ok(None) };
    with_detail(ledger, decode(&bytes, "audit leaf")?).map(Some)
}

/// Leaves of these namespaces after a sequence, or from the first, at most `limit`.
///
/// # Errors
/// See [`trail`].
pub fn leaves(
    ledger: &(impl Read + ?Sized),
    namespaces: &[NamespaceId],
    after: Option<u64>,
    limit: usize,
) -> Result<LeafPage, Fault> {
    let from = table::leaf(after.map_or(0, |after| after.saturating_add(1)));
    let to = table::end_of(&table::prefix(NamespaceId::CLUSTER, Table::Leaves));
    let mut found: Vec<(Leaf, Vec<u8>)> = Vec::new();
    let (mut looks, mut stopped_at, mut broken) = (0_usize, None, None);
    // Other namespaces may have any number of leaves in between.
    ledger.scan(&from, &to, Direction::Ascending, &mut |_, value| {
        if found.len() == limit || looks == PAGE_LOOKS_MAX {
            // There is a leaf after the last one that was looked at.
            return go_on(false);
        }
        looks += 1;
        match decode::<Leaf>(value, "audit leaf") {
            Ok(leaf) => {
                stopped_at = Some(leaf.sequence);
                if namespaces.contains(&leaf.namespace) {
                    found.push((leaf, value.to_vec()));
                }
            }
            Err(error) => broken = Some(error),
        }
        go_on(broken.is_none())
    })?;
    if let Some(error) = broken {
        return Err(error.into());
    }
    let size = crate::query::tree(ledger)?.0;
    let next = stopped_at.filter(|last| last.saturating_add(1) < size);
    let entry = |(leaf, bytes)| {
        let (leaf, detail) = with_detail(ledger, leaf)?;
        Ok(LeafEntry { leaf, detail, bytes })
    };
    let entries: Result<_, Fault> = found.into_iter().map(entry).collect();
    Ok(LeafPage { entries: entries?, next })
}

fn with_detail(ledger: &(impl Read + ?Sized), leaf: Leaf) -> Result<(Leaf, LeafDetail), Fault> {
    let key = table::leaf_detail(leaf.namespace, leaf.sequence);
    let detail = row(ledger, &key, |bytes| decode(bytes, "audit detail"))?;
    let mut detail: LeafDetail = detail.unwrap_or_default();
    if let (LeafBody::Submitted { .. }, None, Some(id)) =
        (&leaf.body, &detail.actor_name, leaf.actor)
    {
        // A principal keeps its name.
        detail.actor_name = agent(ledger, leaf.namespace, id)?.map(|agent| agent.name);
    }
    Ok((leaf, detail))
}
