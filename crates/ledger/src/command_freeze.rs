//! Commands of freezes. The rules for numbers are those of [`crate::command`].

use alloc::string::String;
use alloc::vec::Vec;

use minicbor::{Decode, Encode};
use types::{FreezeId, FreezeScope, LogIndex, LogTime, NamespaceId, Salt};

use crate::rows_freeze::Running;

/// See [`crate::Command::Freeze`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Freeze {
    /// What it covers.
    #[n(0)]
    pub scope: FreezeScope,
    /// In the person's words.
    #[n(1)]
    pub reason: String,
    /// When it ends by itself.
    #[n(2)]
    pub until: Option<LogTime>,
    /// For the commitment to the reason in the audit tree.
    #[n(3)]
    pub salt: Salt,
}

/// See [`crate::Command::Unfreeze`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Unfreeze {
    /// Which.
    #[n(0)]
    pub freeze: FreezeId,
    /// In the person's words.
    #[n(1)]
    pub reason: Option<String>,
    /// For the commitment to the reason in the audit tree.
    #[n(2)]
    pub salt: Salt,
}

/// See [`crate::Command::SettleFreezes`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct SettleFreezes {
    /// The executor's own epoch; refused once another one began.
    #[n(0)]
    pub epoch: LogIndex,
    /// Each freeze with what it came too late for.
    #[n(1)]
    pub settled: Vec<Settled>,
}

/// A freeze of which the executor starts nothing any more.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Settled {
    /// The namespace whose rows hold it.
    #[n(0)]
    pub home: NamespaceId,
    /// Which.
    #[n(1)]
    pub freeze: FreezeId,
    /// Calls that are on their way.
    #[n(2)]
    pub running: Vec<Running>,
}
