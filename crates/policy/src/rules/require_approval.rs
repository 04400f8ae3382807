//! `require_approval: always`: a person decides, whatever the payload says.

use minicbor::{Decode, Encode};
use types::Outcome;

use super::Saying;

/// The rule.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct RequireApproval {}

impl RequireApproval {
    pub(super) const KEY: &'static str = "require_approval";

    pub(super) fn judge(&self) -> Saying {
        Saying::new(Outcome::Hold, "Policy requires human approval".into())
    }
}

#[cfg(feature = "parse")]
mod parse {
    use super::RequireApproval;
    use crate::compile::{Node, Report};
    use crate::rules::RuleKind;

    impl RequireApproval {
        pub(in crate::rules) fn parse(node: &Node, report: &mut Report<'_>) -> Option<RuleKind> {
            if node.text() == Some("always") {
                return Some(RuleKind::RequireApproval(Self {}));
            }
            let message = "the only value of `require_approval` is `always`; leave the rule out \
                           where nobody must decide";
            report.error_near(node, message, "always");
            None
        }
    }
}
