//! The durable rows of freezes. The rules are those of [`crate::rows`].

use alloc::string::String;
use alloc::vec::Vec;

use minicbor::{Decode, Encode};
use types::{
    AgentId, ExecutionId, FreezeId, FreezeScope, IntentId, LogIndex, LogTime, NamespaceId,
};

use crate::rows::Vote;

/// A freeze that is in force, or was until now.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct FreezeRow {
    /// Its id.
    #[n(0)]
    pub id: FreezeId,
    /// Where it was asked for; its trail is there, also that of one that covers all namespaces.
    #[n(1)]
    pub namespace: NamespaceId,
    /// What it covers.
    #[n(2)]
    pub scope: FreezeScope,
    /// In the words of who asked for it.
    #[n(3)]
    pub reason: String,
    /// Who asked for it.
    #[n(4)]
    pub by: AgentId,
    /// Under which name.
    #[n(5)]
    pub name: String,
    /// When it began.
    #[n(6)]
    pub since: LogTime,
    /// Log index at which it began: every later claim is refused.
    #[n(7)]
    pub index: LogIndex,
    /// When it ends by itself.
    #[n(8)]
    pub until: Option<LogTime>,
    /// How many people it takes to end it, as policy said when it began.
    #[n(9)]
    pub persons: u32,
    /// Who wants it ended.
    #[n(10)]
    pub votes: Vec<Vote>,
    /// When it was settled: from then on nothing that it covers starts.
    #[n(11)]
    pub settled_at: Option<LogTime>,
    /// Calls of the executor that were on their way when it was settled.
    #[n(12)]
    pub running: Vec<Running>,
}

/// A call that a freeze came too late for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct Running {
    /// Its order.
    #[n(0)]
    pub execution: ExecutionId,
    /// The intent that it carries out.
    #[n(1)]
    pub intent: IntentId,
}

impl FreezeRow {
    /// The namespace whose rows hold it: the cluster's if it covers all of them.
    #[must_use]
    pub fn home(&self) -> NamespaceId {
        match self.scope {
            FreezeScope::All => NamespaceId::CLUSTER,
            _ => self.namespace,
        }
    }

    /// It is in force.
    #[must_use]
    pub fn stands(&self, now: LogTime) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}
