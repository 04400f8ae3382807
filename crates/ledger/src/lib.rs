//! The pure core: commands in; replies, events and effects out; events recorded as rows and audit
//! leaves. All that replicas agree on is the fold of these events.
//!
//! Pure and `no_std`: no clock, randomness, IO, floats or hash-map order. The same log gives the
//! same bytes on every node.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod agents;
mod approve;
mod audit;
mod audit_kinds;
mod bootstrap;
mod claim;
mod cluster;
mod codec;
mod command;
mod command_freeze;
mod command_outward;
mod credential;
mod deliveries;
mod due;
mod end;
mod event;
mod execute;
mod expire;
mod freeze;
mod guard;
mod judge;
mod leaf;
mod link;
mod link_rows;
mod pack;
mod policies;
pub mod query;
mod query_audit;
mod query_freezes;
mod query_intents;
mod query_links;
mod query_outward;
mod query_windows;
mod read;
mod record;
mod record_cluster;
mod record_freeze;
mod record_intent;
mod record_link;
mod record_order;
mod record_outward;
mod refusal;
mod reply;
mod rows;
mod rows_freeze;
mod rows_order;
mod rows_outward;
mod session;
mod settings;
mod submit;
pub mod table;
mod table_outward;
mod transition;
mod windows;
mod words;
mod write_hash;
mod writes;

pub use audit::{Leaf, LeafBody, LeafDetail};
pub use cluster::{ChangeCluster, ClusterChange, NewNode, NodeRow};
pub use codec::{
    BatchHeader, BatchWork, FEATURE_LEVEL, FIRST_FEATURE_LEVEL, batch_work, decode_batch,
    encode_batch,
};
pub use command::{
    ApplyChannels, ApplyDestinations, ApplyPolicies, Approve, AttemptEnd, Bootstrap, Cancel, Claim,
    Command, CreateNamespace, Envelope, FirstKey, Freeze, IssueOrder, RegisterAgent,
    RegisterWebhook, Reject, ReportAttempt, ReportDelivery, ReportOrder, RequestKey, Resolve,
    RotateKey, SetAgentStatus, SetRole, SettleFreezes, SourceFile, Submit, TakeOver, Unfreeze,
};
pub use command_freeze::Settled;
pub use event::{Event, FreezeEnd, RefusedBy};
pub use guard::{ClaimedTime, NonceClaim, ReplayGuard, ReplayReason};
pub use link::{DecideByLink, IssueLink};
pub use link_rows::{Factor, LinkMark, LinkRow};
pub use pack::{encode_command, unpacked_bytes};
pub use policy::PolicySet;
pub use read::{Direction, Fault, MapState, Overlay, Read, Visit};
pub use reply::{Duplicate, Effect, Refusal, Reply};
pub use rows::{
    AgentRow, ApprovalState, ApprovalWaits, ClusterRow, Content, ContentRow, Decided, Decision,
    ExecutorClaim, Head, KeyRow, NamespaceRow, OrderReport, OrderRow, OrderStatus, PayloadRow,
    PolicyHead, PolicySourceRow, Vote, WindowRow,
};
pub use rows_freeze::{FreezeRow, Running};
pub use rows_outward::{
    DeliveryRow, DeliveryStatus, ExecutorRow, Receiver, SetHead, SettingsHead, WebhookRow,
};
pub use session::Session;
pub use settings::Serving;
pub use transition::{Transition, transition};
pub use words::what_next;
pub use write_hash::WriteHash;
pub use writes::Writes;
