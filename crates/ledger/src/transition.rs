//! One command against the ledger: what is answered, what happened, what is to be done outside.
//!
//! Pure: reads through [`Read`], takes time from [`Stamp`], writes nothing.

use alloc::vec::Vec;

use types::Stamp;

use crate::command::{Command, Envelope};
use crate::event::Event;
use crate::read::{Fault, Read};
use crate::reply::{Effect, Refusal, Reply};
use crate::{
    agents, approve, bootstrap, claim, cluster, deliveries, end, execute, expire, freeze, link,
    policies, settings, submit,
};

/// Everything that one command causes.
#[derive(Debug, Clone, PartialEq)]
pub struct Transition {
    /// To the caller, after the batch is written.
    pub reply: Reply,
    /// To be recorded, in this order.
    pub events: Vec<Event>,
    /// Hints for the node that applies it.
    pub effects: Vec<Effect>,
}

impl Transition {
    /// A reply that changes nothing.
    pub(crate) fn reply(reply: Reply) -> Self {
        Self { reply, events: Vec::new(), effects: Vec::new() }
    }
}

/// Why a command stopped early.
pub(crate) enum Stop {
    /// A value: the caller asked for what may not be.
    Refused(Refusal),
    /// State cannot be read: the node stops.
    Fault(Fault),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<types::codec::CodecError> for Stop {
    fn from(error: types::codec::CodecError) -> Self {
        Self::Fault(error.into())
    }
}

/// Runs one command.
///
/// # Errors
/// [`Fault`] if state cannot be read; refusals are replies.
pub fn transition(
    ledger: &impl Read,
    stamp: Stamp,
    envelope: &Envelope,
) -> Result<Transition, Fault> {
    let done = match &envelope.command {
        Command::Bootstrap(command) => bootstrap::bootstrap(ledger, stamp, command),
        Command::Tick => expire::tick(ledger, stamp),
        Command::Submit(command) => submit::submit(ledger, stamp, envelope, command),
        Command::Approve(command) => approve::approve(ledger, stamp, envelope, command),
        Command::Reject(command) => end::reject(ledger, stamp, envelope, command),
        Command::Cancel(command) => end::cancel(ledger, stamp, envelope, command),
        Command::RegisterAgent(command) => agents::register(ledger, stamp, envelope, command),
        Command::SetAgentStatus(command) => agents::set_status(ledger, stamp, envelope, command),
        Command::RotateKey(command) => agents::rotate_key(ledger, stamp, envelope, command),
        Command::SetRole(command) => agents::set_role(ledger, stamp, envelope, command),
        Command::CreateNamespace(command) => {
            bootstrap::create_namespace(ledger, stamp, envelope, command)
        }
        Command::IssueOrder(command) => execute::issue_order(ledger, stamp, envelope, command),
        Command::ReportOrder(command) => execute::report(ledger, stamp, envelope, command),
        Command::IssueLink(command) => link::issue(ledger, stamp, envelope, command),
        Command::DecideByLink(command) => link::decide(ledger, stamp, envelope, command),
        Command::Resolve(command) => execute::resolve(ledger, stamp, envelope, command),
        Command::ApplyDestinations(command) => {
            settings::apply_destinations(ledger, stamp, envelope, command)
        }
        Command::ApplyChannels(command) => {
            settings::apply_channels(ledger, stamp, envelope, command)
        }
        Command::TakeOver(command) => claim::take_over(ledger, stamp, command),
        Command::Claim(command) => claim::claim(ledger, stamp, envelope, command),
        Command::ReportAttempt(command) => claim::report_attempt(ledger, stamp, command),
        Command::RegisterWebhook(command) => {
            deliveries::register_webhook(ledger, stamp, envelope, command)
        }
        Command::ReportDelivery(command) => {
            deliveries::report_delivery(ledger, stamp, envelope, command)
        }
        Command::ApplyPolicies(command) => policies::apply(ledger, stamp, envelope, command),
        Command::ChangeCluster(command) => cluster::change(ledger, stamp, envelope, command),
        Command::Freeze(command) => freeze::freeze(ledger, stamp, envelope, command),
        Command::Unfreeze(command) => freeze::unfreeze(ledger, stamp, envelope, command),
        Command::SettleFreezes(command) => freeze::settle(ledger, stamp, command),
        Command::RaiseFeatureLevel(level) => {
            bootstrap::raise_feature_level(ledger, stamp, envelope, *level)
        }
    };
    match done {
        Ok(transition) => Ok(transition),
        Err(Stop::Refused(refusal)) => Ok(Transition::reply(Reply::Refused(refusal))),
        Err(Stop::Fault(fault)) => Err(fault),
    }
}
