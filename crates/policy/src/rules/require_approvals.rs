//! `require_approvals: N`: how many distinct people release a held intent.
//!
//! The largest number among everything that matched counts. It never holds by itself.

use minicbor::{Decode, Encode};

/// The rule.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct RequireApprovals {
    /// Distinct approvers, 1 to [`types::limits::APPROVALS_MAX`].
    #[n(0)]
    pub count: u32,
}

impl RequireApprovals {
    pub(super) const KEY: &'static str = "require_approvals";
}

#[cfg(feature = "parse")]
mod parse {
    use types::limits::APPROVALS_MAX;

    use super::RequireApprovals;
    use crate::compile::{Node, Report};
    use crate::rules::RuleKind;

    impl RequireApprovals {
        pub(in crate::rules) fn parse(node: &Node, report: &mut Report<'_>) -> Option<RuleKind> {
            if node.is_map() {
                report.fields(node, &["all_of"])?;
                report.error(node, "approvals per group come later; write a number of people");
                return None;
            }
            let count = report.whole_number(node, u64::from(APPROVALS_MAX))?;
            if count == 0 {
                report.error(node, "at least one person must approve");
                return None;
            }
            let count = u32::try_from(count).ok()?;
            Some(RuleKind::RequireApprovals(Self { count }))
        }
    }
}
