//! What the log carries: one envelope per request, encoded once by the node that took it.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use minicbor::{Decode, Encode};
use policy::{Facts, PolicySet};
use types::ids::ExecutionId;
use types::{
    AgentId, AgentStatus, Digest, Effect, IntentId, KeyId, NamespaceId, Proposal, Role, Salt,
};

use crate::cluster::{ChangeCluster, NewNode};
pub use crate::command_freeze::{Freeze, SettleFreezes, Unfreeze};
pub use crate::command_outward::{
    ApplyChannels, ApplyDestinations, AttemptEnd, Claim, RegisterWebhook, ReportAttempt,
    ReportDelivery, TakeOver,
};
use crate::guard::ReplayGuard;
use crate::link::{DecideByLink, IssueLink};

/// A command with who sends it and how a repeat is recognised.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct Envelope {
    /// Drawn by the node that took the request; its reply is kept ten minutes under it.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub request: [u8; 16],
    /// The API key that authorises it; `None` for the cluster itself (ticks, bootstrap).
    #[n(1)]
    pub credential: Option<KeyId>,
    /// The namespace it acts in.
    #[n(2)]
    pub namespace: NamespaceId,
    /// The `Idempotency-Key` header, if one was sent.
    #[n(3)]
    pub request_key: Option<RequestKey>,
    /// What to do.
    #[n(4)]
    pub command: Command,
}

/// An `Idempotency-Key` header: per credential and route; same body means same canonical JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct RequestKey {
    /// Digest over credential, route and the header's value.
    #[n(0)]
    pub digest: Digest,
    /// Digest of the canonical body.
    #[n(1)]
    pub body: Digest,
}

/// Every command. Numbers are never reused; an unknown one stops the node.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub enum Command {
    /// Makes the cluster's first keys. Once.
    #[n(0)]
    Bootstrap(#[n(0)] Bootstrap),
    /// Works off what is due.
    #[n(1)]
    Tick,
    /// An agent asks.
    #[n(2)]
    Submit(#[n(0)] Box<Submit>),
    /// A person says yes.
    #[n(3)]
    Approve(#[n(0)] Box<Approve>),
    /// A person says no.
    #[n(4)]
    Reject(#[n(0)] Reject),
    /// A person withdraws the question, or who may withdraws the intent.
    #[n(5)]
    Cancel(#[n(0)] Cancel),
    /// A new principal with its first key.
    #[n(6)]
    RegisterAgent(#[n(0)] Box<RegisterAgent>),
    /// Suspend, resume, revoke.
    #[n(7)]
    SetAgentStatus(#[n(0)] SetAgentStatus),
    /// A new key; the old ones end after the overlap.
    #[n(8)]
    RotateKey(#[n(0)] RotateKey),
    /// Another role.
    #[n(9)]
    SetRole(#[n(0)] SetRole),
    /// A new namespace with its first admin.
    #[n(10)]
    CreateNamespace(#[n(0)] Box<CreateNamespace>),
    /// A whole set of policies.
    #[n(11)]
    ApplyPolicies(#[n(0)] Box<ApplyPolicies>),
    /// Lets commands of a newer level in.
    #[n(12)]
    RaiseFeatureLevel(#[n(0)] u32),
    /// An allowed intent is handed to a worker.
    #[n(13)]
    IssueOrder(#[n(0)] Box<IssueOrder>),
    /// A worker says how it went.
    #[n(14)]
    ReportOrder(#[n(0)] Box<ReportOrder>),
    /// A person says how an intent in doubt ended.
    #[n(15)]
    Resolve(#[n(0)] Resolve),
    /// A whole set of destinations.
    #[n(16)]
    ApplyDestinations(#[n(0)] Box<ApplyDestinations>),
    /// A whole set of channels.
    #[n(17)]
    ApplyChannels(#[n(0)] Box<ApplyChannels>),
    /// An executor begins, and what another one left open is in doubt.
    #[n(18)]
    TakeOver(#[n(0)] TakeOver),
    /// The executor is about to run an intent.
    #[n(19)]
    Claim(#[n(0)] Box<Claim>),
    /// The executor says how an attempt ended.
    #[n(20)]
    ReportAttempt(#[n(0)] Box<ReportAttempt>),
    /// Somebody wants to be told how an intent is decided.
    #[n(21)]
    RegisterWebhook(#[n(0)] RegisterWebhook),
    /// The notifier says how an attempt to deliver ended.
    #[n(22)]
    ReportDelivery(#[n(0)] ReportDelivery),
    /// A reviewer asks for a link that carries one decision.
    #[n(23)]
    IssueLink(#[n(0)] Box<IssueLink>),
    /// A decision that came through a link.
    #[n(24)]
    DecideByLink(#[n(0)] Box<DecideByLink>),
    /// Who belongs to the cluster, votes or leads.
    #[n(25)]
    ChangeCluster(#[n(0)] ChangeCluster),
    /// Somebody stops what is allowed from being carried out.
    #[n(26)]
    Freeze(#[n(0)] Box<Freeze>),
    /// Somebody lets it go on.
    #[n(27)]
    Unfreeze(#[n(0)] Unfreeze),
    /// The executor starts nothing any more that a freeze covers.
    #[n(28)]
    SettleFreezes(#[n(0)] Box<SettleFreezes>),
}

/// See [`Command::IssueOrder`].
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct IssueOrder {
    /// Which intent.
    #[n(0)]
    pub intent: IntentId,
    /// Drawn by the node.
    #[n(1)]
    pub execution: ExecutionId,
    /// In the caller's words; `runner_exec` if it gave none.
    #[n(2)]
    pub mode: String,
    /// SHA-256 of the token.
    #[n(3)]
    pub token_hash: Digest,
    /// The token, sealed with the data key of the nodes.
    #[cbor(n(4), with = "minicbor::bytes")]
    pub token_sealed: Vec<u8>,
    /// Facts for the version in force, if it is not the one the intent was judged by.
    #[n(5)]
    pub facts: Option<Facts>,
}

/// See [`Command::ReportOrder`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ReportOrder {
    /// Which order.
    #[n(0)]
    pub execution: ExecutionId,
    /// SHA-256 of the order's token; `None` if an API key reports.
    #[n(1)]
    pub token: Option<Digest>,
    /// Done, or not.
    #[n(2)]
    pub succeeded: bool,
    /// What a failure is known to have done.
    #[n(3)]
    pub effect: Option<Effect>,
    /// Canonical JSON text.
    #[n(4)]
    pub result: Option<String>,
    /// When the worker did it, Unix milliseconds by its own clock.
    #[n(5)]
    pub executed_at: Option<u64>,
}

/// See [`Command::Resolve`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Resolve {
    /// Which intent.
    #[n(0)]
    pub intent: IntentId,
    /// Done, or not.
    #[n(1)]
    pub succeeded: bool,
    /// What a failure is known to have done.
    #[n(2)]
    pub effect: Option<Effect>,
    /// In the person's words.
    #[n(3)]
    pub reason: String,
}

/// See [`Command::Bootstrap`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Bootstrap {
    /// Minted at initialisation, 32 hex digits.
    #[n(0)]
    pub cluster_id: String,
    /// The first admin of the `default` namespace.
    #[n(1)]
    pub admin: FirstKey,
    /// The node that made the cluster: nobody admits it.
    #[n(2)]
    pub node: Option<NewNode>,
}

/// A principal that comes with a namespace.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct FirstKey {
    /// Its id.
    #[n(0)]
    pub agent: AgentId,
    /// Its name.
    #[n(1)]
    pub name: String,
    /// Id of its key.
    #[n(2)]
    pub key: KeyId,
    /// SHA-256 of its key.
    #[n(3)]
    pub key_hash: Digest,
}

/// See [`Command::Submit`].
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct Submit {
    /// Drawn by the node.
    #[n(0)]
    pub intent: IntentId,
    /// Digest over credential, proposal and payload: an id that is taken is a re-send only if
    /// this is equal.
    #[n(1)]
    pub request_digest: Digest,
    /// For the commitments in the audit tree.
    #[n(2)]
    pub salt: Salt,
    /// What is asked.
    #[n(3)]
    pub proposal: Proposal,
    /// The payload's bytes as sent.
    #[cbor(n(4), with = "minicbor::bytes")]
    pub payload: Option<Vec<u8>>,
    /// Facts for the policy version that they name.
    #[n(5)]
    pub facts: Facts,
}

/// See [`Command::Approve`].
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct Approve {
    /// Which intent.
    #[n(0)]
    pub intent: IntentId,
    /// What the person saw; absent from clients that know no digest.
    #[n(1)]
    pub digest: Option<Digest>,
    /// Facts for the version in force, if it is not the one the intent was judged by.
    #[n(2)]
    pub facts: Option<Facts>,
    /// In the person's words.
    #[n(3)]
    pub reason: Option<String>,
    /// Against replay.
    #[n(4)]
    pub guard: Option<ReplayGuard>,
    /// The principal for whom the person says to decide; nobody may, unless it was delegated.
    #[n(5)]
    pub on_behalf_of: Option<String>,
}

/// See [`Command::Reject`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Reject {
    /// Which intent.
    #[n(0)]
    pub intent: IntentId,
    /// What the person saw.
    #[n(1)]
    pub digest: Option<Digest>,
    /// In the person's words.
    #[n(2)]
    pub reason: Option<String>,
    /// Against replay.
    #[n(3)]
    pub guard: Option<ReplayGuard>,
}

/// See [`Command::Cancel`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Cancel {
    /// Which intent.
    #[n(0)]
    pub intent: IntentId,
    /// In the person's words.
    #[n(1)]
    pub reason: Option<String>,
    /// Against replay.
    #[n(2)]
    pub guard: Option<ReplayGuard>,
    /// The intent itself is withdrawn, not only the question to people: also if it is allowed
    /// already, and also by the agent that asked for it.
    #[n(3)]
    pub withdraws: Option<bool>,
}

/// See [`Command::RegisterAgent`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct RegisterAgent {
    /// Id, name, key.
    #[n(0)]
    pub first: FirstKey,
    /// Who answers for it.
    #[n(1)]
    pub owner: Option<String>,
    /// What it runs on.
    #[n(2)]
    pub framework: Option<String>,
    /// Any word; `standard` if none was given.
    #[n(3)]
    pub risk_tier: String,
    /// Its role.
    #[n(4)]
    pub role: Role,
    /// Policies it may name; empty means all.
    #[n(5)]
    pub allowed_policies: Vec<String>,
    /// Destinations it may name; empty means all.
    #[n(6)]
    pub allowed_destinations: Vec<String>,
    /// Canonical JSON text.
    #[n(7)]
    pub metadata: Option<String>,
    /// Open registration: no credential, role `agent` only, and only while the cluster's
    /// configuration allows it.
    #[n(8)]
    pub open: bool,
}

/// See [`Command::SetAgentStatus`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct SetAgentStatus {
    /// Whom.
    #[n(0)]
    pub agent: AgentId,
    /// To what.
    #[n(1)]
    pub status: AgentStatus,
}

/// See [`Command::RotateKey`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct RotateKey {
    /// Whose.
    #[n(0)]
    pub agent: AgentId,
    /// Id of the new key.
    #[n(1)]
    pub key: KeyId,
    /// SHA-256 of the new key.
    #[n(2)]
    pub key_hash: Digest,
    /// How long the older keys go on, in milliseconds.
    #[n(3)]
    pub overlap_ms: u64,
}

/// See [`Command::SetRole`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct SetRole {
    /// Whose.
    #[n(0)]
    pub agent: AgentId,
    /// The new role.
    #[n(1)]
    pub role: Role,
}

/// See [`Command::CreateNamespace`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct CreateNamespace {
    /// Its name.
    #[n(0)]
    pub name: String,
    /// Its first admin.
    #[n(1)]
    pub admin: FirstKey,
}

/// See [`Command::ApplyPolicies`].
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct ApplyPolicies {
    /// Refused unless this version is in force (0: none yet).
    #[n(0)]
    pub if_version: Option<u64>,
    /// The documents as written.
    #[n(1)]
    pub sources: Vec<SourceFile>,
    /// The documents compiled; apply never parses text.
    #[n(2)]
    pub compiled: PolicySet,
    /// Where the set came from, such as a directory's label; readers see it in the history.
    #[n(3)]
    pub origin: Option<String>,
}

/// One policy document as written.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct SourceFile {
    /// File name, such as `gates.yaml`.
    #[n(0)]
    pub name: String,
    /// Its bytes.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub bytes: Vec<u8>,
}
