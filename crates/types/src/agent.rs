//! Principals: who may ask, decide, look and operate.

use core::fmt;
use core::str::FromStr;

use minicbor::{Decode, Encode};

/// What a principal may do. One role each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Role {
    /// Submits intents, sees its own.
    #[n(0)]
    Agent,
    /// Claims and reports execution orders.
    #[n(1)]
    Worker,
    /// Sees and decides intents.
    #[n(2)]
    Reviewer,
    /// Reads everything, decides nothing.
    #[n(3)]
    Auditor,
    /// Operates the cluster.
    #[n(4)]
    Operator,
    /// Everything, including keys and policies.
    #[n(5)]
    Admin,
}

impl Role {
    /// Every role, in the order of the documentation.
    pub const ALL: [Self; 6] =
        [Self::Agent, Self::Worker, Self::Reviewer, Self::Auditor, Self::Operator, Self::Admin];

    /// The word used on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Worker => "worker",
            Self::Reviewer => "reviewer",
            Self::Auditor => "auditor",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }

    /// May submit intents.
    #[must_use]
    pub fn may_submit(self) -> bool {
        matches!(self, Self::Agent | Self::Admin)
    }

    /// May approve, reject and cancel.
    #[must_use]
    pub fn may_decide(self) -> bool {
        matches!(self, Self::Reviewer | Self::Admin)
    }

    /// May read every intent and audit entry of its namespace.
    #[must_use]
    pub fn may_read_all(self) -> bool {
        matches!(self, Self::Reviewer | Self::Auditor | Self::Admin)
    }

    /// May stop what is allowed from being carried out, and let it go on.
    #[must_use]
    pub fn may_freeze(self) -> bool {
        matches!(self, Self::Reviewer | Self::Operator | Self::Admin)
    }

    /// May change which nodes belong to the cluster, vote and lead.
    #[must_use]
    pub fn may_operate(self) -> bool {
        matches!(self, Self::Operator | Self::Admin)
    }

    /// May change agents, keys, policies and namespaces.
    #[must_use]
    pub fn may_administer(self) -> bool {
        matches!(self, Self::Admin)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Role {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|role| role.name() == text).ok_or(())
    }
}

/// Whether a principal may act at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum AgentStatus {
    /// May act.
    #[n(0)]
    Active,
    /// Stopped for now; `resume` brings it back.
    #[n(1)]
    Suspended,
    /// Stopped for ever.
    #[n(2)]
    Revoked,
}

impl AgentStatus {
    /// The word used on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Revoked => "revoked",
        }
    }
}
