//! `auto_approve_under: N`: nobody needs to decide up to N records.
//!
//! In a gate it holds above N and says nothing below. In a named policy it is the only rule that
//! allows, and only where the agent sent a count or the rule names its own path; 0 switches it off.

use alloc::format;

use minicbor::{Decode, Encode};
use types::Outcome;

use super::{Saying, Threshold};
use crate::facts::{Facts, Finding};

/// The rule.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct AutoApproveUnder {
    /// The largest count that passes.
    #[n(0)]
    pub threshold: Threshold,
}

impl AutoApproveUnder {
    pub(super) const KEY: &'static str = "auto_approve_under";

    pub(super) fn judge(&self, facts: &Facts, named: bool, finding: &Finding) -> Option<Saying> {
        let limit = self.threshold.limit;
        let counted = match self.threshold.counted(facts, finding) {
            Err(saying) => return Some(saying),
            Ok(counted) => counted,
        };
        if !named {
            return match counted {
                None => Some(Threshold::unknown()),
                Some(count) if count > limit => Some(self.threshold.exceeded(count)),
                Some(_) => None,
            };
        }
        let given = facts.claimed_count.is_some() || matches!(finding, Finding::Count(_));
        counted.filter(|count| given && *count <= limit).map(|count| {
            let message =
                format!("Record count {count} is within auto-approve threshold ({limit})");
            Saying::new(Outcome::Allow, message)
        })
    }
}

#[cfg(feature = "parse")]
mod parse {
    use super::{AutoApproveUnder, Threshold};
    use crate::compile::{Node, Report, Site};
    use crate::rules::RuleKind;

    impl AutoApproveUnder {
        pub(in crate::rules) fn parse(
            node: &Node,
            site: Site,
            report: &mut Report<'_>,
        ) -> Option<RuleKind> {
            let threshold = Threshold::parse(node, "under", report)?;
            if site.named && threshold.limit == 0 {
                report.warn(node, "0 switches this rule off in a named policy");
                return None;
            }
            Some(RuleKind::AutoApproveUnder(Self { threshold }))
        }
    }
}
