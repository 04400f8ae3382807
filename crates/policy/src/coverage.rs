//! Coverage: which gates, entries and policies of a set judge an intent.
//!
//! Names are case-sensitive; in a pattern `*` stands for any characters, dots included.
//! Invariant: the agent does not choose what judges it. A trigger that no gate of the resource
//! knows is reported, and judgement holds.

use alloc::vec::Vec;

use types::glob;

use crate::facts::ScopeRef;
use crate::set::PolicySet;

/// The trigger of a rollback; it matches every gate of the resource.
pub const ROLLBACK_TRIGGER: &str = "rollback";

/// What applies to an intent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Coverage {
    /// Named policy, gates, entries and default that apply, in the order of judgement.
    pub scopes: Vec<ScopeRef>,
    /// Gates name the resource, but none of them the trigger.
    pub trigger_unmatched: bool,
    /// A policy was named and is not in the set.
    pub policy_missing: bool,
}

impl Coverage {
    /// Something speaks for or against the intent.
    #[must_use]
    pub fn is_covered(&self) -> bool {
        !self.scopes.is_empty() || self.policy_missing
    }
}

/// Finds what applies to a resource, a trigger and a named policy.
#[must_use]
pub fn coverage(
    set: &PolicySet,
    resource: &str,
    trigger: Option<&str>,
    policy: Option<&str>,
) -> Coverage {
    let mut found = Coverage::default();
    if let Some(id) = policy {
        match set.named.binary_search_by(|named| named.id.as_str().cmp(id)) {
            Ok(index) => found.scopes.push(ScopeRef::Named(narrow(index))),
            Err(_) => found.policy_missing = true,
        }
    }
    let before_gates = found.scopes.len();
    let mut resource_named = false;
    for (index, gate) in set.gates.iter().enumerate() {
        if glob::matches(&gate.resource, resource) {
            resource_named = true;
            if trigger_matches(gate.trigger.as_deref(), trigger) {
                found.scopes.push(ScopeRef::Gate(narrow(index)));
            }
        }
    }
    found.trigger_unmatched = resource_named && found.scopes.len() == before_gates;
    for (index, entry) in set.resources.iter().enumerate() {
        if glob::matches(&entry.resource, resource) {
            found.scopes.push(ScopeRef::Resource(narrow(index)));
        }
    }
    let nothing = found.scopes.is_empty() && !found.policy_missing;
    if nothing && set.default_policy.is_some() {
        found.scopes.push(ScopeRef::Default);
    }
    found
}

fn trigger_matches(watched: Option<&str>, sent: Option<&str>) -> bool {
    match (watched, sent) {
        (None, _) | (_, None | Some(ROLLBACK_TRIGGER)) => true,
        (Some(watched), Some(sent)) => watched == sent,
    }
}

/// Indices are small: a set has at most [`types::limits::POLICY_DOCUMENTS_MAX`] documents of at
/// most [`types::limits::POLICY_NODES_MAX`] nodes.
fn narrow(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}
