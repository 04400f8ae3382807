//! `require_approval_over: N`: a person decides above N records.
//!
//! In a gate 0 is a real threshold and an unknown count holds; in a named policy 0 switches the
//! line off and an unknown count leaves it to the later steps, as existing clients know it.

use minicbor::{Decode, Encode};

use super::{Saying, Threshold};
use crate::facts::{Facts, Finding};

/// The rule.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct RequireApprovalOver {
    /// Holds above it.
    #[n(0)]
    pub threshold: Threshold,
}

impl RequireApprovalOver {
    pub(super) const KEY: &'static str = "require_approval_over";

    pub(super) fn judge(&self, facts: &Facts, named: bool, finding: &Finding) -> Option<Saying> {
        match self.threshold.counted(facts, finding) {
            Err(saying) => Some(saying),
            Ok(Some(count)) if count > self.threshold.limit => Some(self.threshold.exceeded(count)),
            Ok(None) if !named => Some(Threshold::unknown()),
            Ok(_) => None,
        }
    }
}

#[cfg(feature = "parse")]
mod parse {
    use super::{RequireApprovalOver, Threshold};
    use crate::compile::{Node, Report, Site};
    use crate::rules::RuleKind;

    impl RequireApprovalOver {
        pub(in crate::rules) fn parse(
            node: &Node,
            site: Site,
            report: &mut Report<'_>,
        ) -> Option<RuleKind> {
            let threshold = Threshold::parse(node, "over", report)?;
            if site.named && threshold.limit == 0 {
                report.warn(node, "0 switches this rule off in a named policy");
                return None;
            }
            Some(RuleKind::RequireApprovalOver(Self { threshold }))
        }
    }
}
