//! The rules, one file each: how a rule is written, what it takes from a payload, what it says.
//!
//! Invariant: a rule's durable number never changes, and a finding that does not belong to a rule
//! holds.

mod allowed_types;
mod auto_approve_under;
mod block_if_terms;
mod destinations;
pub(crate) mod environments;
mod field_checks;
mod idempotency_key;
mod rate_limits;
mod require_approval;
mod require_approval_for;
mod require_approval_if_clears;
mod require_approval_if_template_error;
mod require_approval_over;
mod require_approvals;
mod require_profile;
mod threshold;

#[cfg(feature = "parse")]
mod prepared;

use alloc::string::String;
use alloc::vec::Vec;

use minicbor::{Decode, Encode};
use types::{Hit, Outcome};

pub use allowed_types::AllowedTypes;
pub use auto_approve_under::AutoApproveUnder;
pub use block_if_terms::BlockIfTerms;
pub use destinations::Destinations;
pub use field_checks::{FieldCheck, FieldChecks};
pub use idempotency_key::IdempotencyKey;
pub use rate_limits::RateLimits;
pub use require_approval::RequireApproval;
pub use require_approval_for::RequireApprovalFor;
pub use require_approval_if_clears::RequireApprovalIfClears;
pub use require_approval_if_template_error::RequireApprovalIfTemplateError;
pub use require_approval_over::RequireApprovalOver;
pub use require_approvals::RequireApprovals;
pub use require_profile::RequireProfile;
pub use threshold::Threshold;

#[cfg(feature = "parse")]
pub(crate) use prepared::{Place, Prepared, RULE_KEYS, options_of, parse_rule};

use crate::facts::{Finding, Found};
use crate::judge::{Bench, Seat, World};

/// What one rule asks for.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum RuleKind {
    /// A person decides, always.
    #[n(0)]
    RequireApproval(#[n(0)] RequireApproval),
    /// A person decides above a number of records.
    #[n(1)]
    RequireApprovalOver(#[n(0)] RequireApprovalOver),
    /// Nobody needs to decide up to a number of records.
    #[n(2)]
    AutoApproveUnder(#[n(0)] AutoApproveUnder),
    /// A person decides what is published to the whole organisation.
    #[n(3)]
    RequireApprovalFor(#[n(0)] RequireApprovalFor),
    /// How many people decide.
    #[n(4)]
    RequireApprovals(#[n(0)] RequireApprovals),
    /// The only destinations allowed.
    #[n(5)]
    Destinations(#[n(0)] Destinations),
    /// The only payload types allowed.
    #[n(6)]
    AllowedTypes(#[n(0)] AllowedTypes),
    /// Fields must be there and within bounds.
    #[n(7)]
    FieldChecks(#[n(0)] FieldChecks),
    /// Words that must not occur.
    #[n(8)]
    BlockIfTerms(#[n(0)] BlockIfTerms),
    /// How many intents an agent may submit.
    #[n(9)]
    RateLimits(#[n(0)] RateLimits),
    /// One intent per key and window.
    #[n(10)]
    IdempotencyKey(#[n(0)] IdempotencyKey),
    /// A person decides where a template was not filled in.
    #[n(11)]
    RequireApprovalIfTemplateError(#[n(0)] RequireApprovalIfTemplateError),
    /// A person decides where values would be cleared.
    #[n(12)]
    RequireApprovalIfClears(#[n(0)] RequireApprovalIfClears),
    /// Only intents of this typed profile.
    #[n(13)]
    RequireProfile(#[n(0)] RequireProfile),
}

/// What a rule says.
pub(crate) struct Saying {
    pub(crate) outcome: Outcome,
    pub(crate) message: String,
    pub(crate) hits: Vec<Hit>,
    pub(crate) total: u64,
}

impl Saying {
    pub(crate) fn new(outcome: Outcome, message: String) -> Self {
        Self { outcome, message, hits: Vec::new(), total: 0 }
    }

    pub(crate) fn found(outcome: Outcome, found: &Found) -> Self {
        Self {
            outcome,
            message: found.message.clone(),
            hits: found.hits.clone(),
            total: found.total,
        }
    }
}

impl RuleKind {
    /// The rule's key in a document.
    #[must_use]
    pub fn key(&self) -> &'static str {
        match self {
            Self::RequireApproval(_) => RequireApproval::KEY,
            Self::RequireApprovalOver(_) => RequireApprovalOver::KEY,
            Self::AutoApproveUnder(_) => AutoApproveUnder::KEY,
            Self::RequireApprovalFor(_) => RequireApprovalFor::KEY,
            Self::RequireApprovals(_) => RequireApprovals::KEY,
            Self::Destinations(_) => Destinations::KEY,
            Self::AllowedTypes(_) => AllowedTypes::KEY,
            Self::FieldChecks(_) => FieldChecks::KEY,
            Self::BlockIfTerms(_) => BlockIfTerms::KEY,
            Self::RateLimits(_) => RateLimits::KEY,
            Self::IdempotencyKey(_) => IdempotencyKey::KEY,
            Self::RequireApprovalIfTemplateError(_) => RequireApprovalIfTemplateError::KEY,
            Self::RequireApprovalIfClears(_) => RequireApprovalIfClears::KEY,
            Self::RequireProfile(_) => RequireProfile::KEY,
        }
    }

    /// Position among the steps of a named policy, of which the first that speaks ends the rest;
    /// `None` for the newer vocabulary, which is heard besides.
    #[must_use]
    pub fn step(&self) -> Option<u8> {
        match self {
            Self::Destinations(_) => Some(2),
            Self::AllowedTypes(_) => Some(3),
            Self::RateLimits(_) => Some(5),
            Self::FieldChecks(_) => Some(6),
            Self::BlockIfTerms(_) => Some(7),
            Self::RequireApproval(_) => Some(8),
            Self::RequireApprovalOver(_) => Some(9),
            Self::AutoApproveUnder(_) => Some(10),
            Self::RequireApprovalFor(_) => Some(11),
            Self::RequireApprovals(_)
            | Self::IdempotencyKey(_)
            | Self::RequireApprovalIfTemplateError(_)
            | Self::RequireApprovalIfClears(_)
            | Self::RequireProfile(_) => None,
        }
    }

    pub(crate) fn is_step(&self) -> bool {
        self.step().is_some()
    }

    /// For a rule about the record count: the path it names, if any.
    pub(crate) fn count_path(&self) -> Option<Option<&str>> {
        match self {
            Self::RequireApprovalOver(rule) => Some(rule.threshold.count.as_deref()),
            Self::AutoApproveUnder(rule) => Some(rule.threshold.count.as_deref()),
            _ => None,
        }
    }

    /// What the rule says of its finding. A finding of another rule's kind holds.
    pub(crate) fn judge<W: World>(
        &self,
        bench: &mut Bench<'_, W>,
        seat: Seat<'_>,
        finding: &Finding,
    ) -> Result<Option<Saying>, W::Error> {
        match (self, finding) {
            (Self::RequireApprovalOver(rule), Finding::Silent | Finding::Count(_)) => {
                Ok(rule.judge(bench.facts, seat.is_named(), finding))
            }
            (Self::AutoApproveUnder(rule), Finding::Silent | Finding::Count(_)) => {
                Ok(rule.judge(bench.facts, seat.is_named(), finding))
            }
            (Self::RequireApproval(rule), Finding::Silent) => Ok(Some(rule.judge())),
            (Self::RateLimits(rule), Finding::Silent) => rule.judge(bench, seat.is_named()),
            (Self::IdempotencyKey(rule), Finding::Keys(keys, missing)) => {
                rule.judge(bench, seat, keys, missing.as_deref())
            }
            (Self::RequireApprovalIfClears(rule), Finding::Cleared(found)) => Ok(rule.judge(found)),
            (
                Self::Destinations(_)
                | Self::AllowedTypes(_)
                | Self::FieldChecks(_)
                | Self::BlockIfTerms(_)
                | Self::RequireProfile(_),
                Finding::Found(found),
            ) => Ok(Some(Saying::found(Outcome::Block, found))),
            (
                Self::RequireApprovalFor(_) | Self::RequireApprovalIfTemplateError(_),
                Finding::Found(found),
            ) => Ok(Some(Saying::found(Outcome::Hold, found))),
            (Self::RequireApprovals(_), Finding::Silent) => Ok(None),
            (
                Self::Destinations(_)
                | Self::AllowedTypes(_)
                | Self::FieldChecks(_)
                | Self::BlockIfTerms(_)
                | Self::RequireApprovalFor(_)
                | Self::RequireApprovalIfTemplateError(_)
                | Self::RequireApprovalIfClears(_)
                | Self::RequireProfile(_),
                Finding::Silent,
            ) => Ok(None),
            _ => {
                bench.misfit();
                Ok(None)
            }
        }
    }
}
