//! The handle that every door uses: submit, decide, administer, query, watch.
//!
//! Doors parse and print; the gate makes the facts, draws ids, salts and keys, and turns requests
//! into commands; the ledger judges. When the policy moved between facts and judgement, the gate
//! makes the facts again and the caller never sees it.
//! Invariant: nothing here decides. What a caller is told was committed first.

pub mod beside;
pub mod ids;
pub mod join_token;
pub mod keys;
pub mod log;

mod administer;
mod administer_settings;
mod batch;
mod callers;
mod candidate;
mod cluster;
mod engines;
mod errors;
mod execute;
mod freezes;
mod handle;
mod links;
mod meters;
mod nonces;
mod notify;
mod read;
mod run;
pub mod seal;
mod submit;
mod tick;
pub mod times;
mod watch;

pub use administer::{NewKey, NewNamespace, NewPolicies, NewPrincipal, PolicyChange};
pub use administer_settings::{
    CheckChannel, CheckDestination, CheckWebhook, DocumentChecks, NewSetting, NewSettings,
    SecretDeclared, SettingChange,
};
pub use batch::{Judged, NotJudged, Piece};
pub use cluster::{ChangedCluster, JoinToken, NewJoinToken};
pub use errors::{CODES, GateError};
pub use execute::{IssuedOrder, ReportRequest, TOKEN_PREFIX};
pub use freezes::{FreezeRequest, NewFreeze};
pub use handle::{Answer, Caller, Gate, Settings};
pub use links::{IssuedLink, LINK_PREFIX, OpenedLink};
pub use nonces::Nonce;
pub use notify::{Dispatch, Target, WebhookRequest};
pub use read::Freshness;
pub use run::{Claimed, Work, woken};
pub use submit::{DecideRequest, SubmitRequest, note_intent};
pub use tick::run_tick;
pub use watch::Until;
