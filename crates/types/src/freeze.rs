//! Freezes: what may not be carried out for now.
//!
//! A freeze never says what may run, only what may not: where it is unclear whether one covers an
//! intent, it does.

use alloc::string::String;

use minicbor::{Decode, Encode};

use crate::glob;
use crate::ids::AgentId;

/// What a freeze covers.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum FreezeScope {
    /// Every intent of every namespace.
    #[n(0)]
    All,
    /// Every intent of one namespace.
    #[n(1)]
    Namespace,
    /// Every intent of one agent.
    #[n(2)]
    Agent(#[n(0)] AgentId),
    /// Intents for one resource, or for those that a glob matches.
    #[n(3)]
    Resource(#[n(0)] String),
    /// Intents that one destination's document serves, or those that a glob over documents matches.
    #[n(4)]
    Destination(#[n(0)] String),
    /// Intents of one environment.
    #[n(5)]
    Environment(#[n(0)] String),
}

/// Every word for a scope, in the order of [`FreezeScope`].
pub const FREEZE_SCOPES: [&str; 6] =
    ["all", "namespace", "agent", "resource", "destination", "environment"];

/// An intent, as far as freezes look at it.
#[derive(Debug, Clone, Copy)]
pub struct Freezable<'a> {
    /// Who asked for it.
    pub agent: AgentId,
    /// What it would write to.
    pub resource: &'a str,
    /// The name of the document that serves it, if one does.
    pub destination: Option<&'a str>,
    /// Where it belongs: what the document declares, or else what the agent said.
    pub environment: Option<&'a str>,
}

impl FreezeScope {
    /// The word used on the wire.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Namespace => "namespace",
            Self::Agent(_) => "agent",
            Self::Resource(_) => "resource",
            Self::Destination(_) => "destination",
            Self::Environment(_) => "environment",
        }
    }

    /// What it matches, as text; `None` where it covers all there is.
    #[must_use]
    pub fn matches(&self) -> Option<String> {
        match self {
            Self::All | Self::Namespace => None,
            Self::Agent(id) => Some(alloc::format!("{id}")),
            Self::Resource(text) | Self::Destination(text) | Self::Environment(text) => {
                Some(text.clone())
            }
        }
    }

    /// Whether it covers an intent of its namespace.
    #[must_use]
    pub fn covers(&self, intent: &Freezable<'_>) -> bool {
        match self {
            Self::All | Self::Namespace => true,
            Self::Agent(agent) => intent.agent == *agent,
            Self::Resource(pattern) => glob::matches(pattern, intent.resource),
            // Agents call what they write to a destination too.
            Self::Destination(pattern) => {
                glob::matches(pattern, intent.resource)
                    || intent.destination.is_some_and(|name| glob::matches(pattern, name))
            }
            Self::Environment(name) => intent.environment == Some(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_scope_covers_what_its_word_says() {
        let intent = Freezable {
            agent: AgentId(7),
            resource: "crm.contacts",
            destination: Some("crm.*"),
            environment: Some("production"),
        };
        let covered = [
            FreezeScope::All,
            FreezeScope::Namespace,
            FreezeScope::Agent(AgentId(7)),
            FreezeScope::Resource("crm.contacts".into()),
            FreezeScope::Resource("crm.*".into()),
            FreezeScope::Resource("*".into()),
            FreezeScope::Destination("crm.*".into()),
            FreezeScope::Destination("crm.contacts".into()),
            FreezeScope::Environment("production".into()),
        ];
        for scope in covered {
            assert!(scope.covers(&intent), "{scope:?}");
            assert!(FREEZE_SCOPES.contains(&scope.name()), "{scope:?}");
        }
        let others = [
            FreezeScope::Agent(AgentId(8)),
            FreezeScope::Resource("crm".into()),
            FreezeScope::Resource("email.*".into()),
            FreezeScope::Destination("email".into()),
            FreezeScope::Environment("prod".into()),
        ];
        for scope in others {
            assert!(!scope.covers(&intent), "{scope:?}");
        }
        let unserved = Freezable { destination: None, environment: None, ..intent };
        assert!(!FreezeScope::Environment("production".into()).covers(&unserved));
        assert!(FreezeScope::Destination("crm.*".into()).covers(&unserved));
    }
}
