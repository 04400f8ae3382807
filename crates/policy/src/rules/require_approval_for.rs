//! `require_approval_for: org_wide`: a person decides what `metadata.scope` calls `org_wide`.

use minicbor::{Decode, Encode};

/// The rule.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct RequireApprovalFor {}

impl RequireApprovalFor {
    pub(super) const KEY: &'static str = "require_approval_for";
}

#[cfg(feature = "parse")]
mod parse {
    use serde_json::Value;

    use super::RequireApprovalFor;
    use crate::compile::{Node, Report};
    use crate::facts::{Finding, Found};
    use crate::payload::View;
    use crate::rules::RuleKind;

    impl RequireApprovalFor {
        pub(in crate::rules) fn parse(node: &Node, report: &mut Report<'_>) -> Option<RuleKind> {
            if node.text() == Some("org_wide") {
                return Some(RuleKind::RequireApprovalFor(Self {}));
            }
            let message = "the only value of `require_approval_for` is `org_wide`";
            report.error_near(node, message, "org_wide");
            None
        }

        pub(in crate::rules) fn facts(view: &View<'_>) -> Finding {
            let scope = view.metadata.and_then(|metadata| metadata.get("scope"));
            if scope.and_then(Value::as_str) != Some("org_wide") {
                return Finding::Silent;
            }
            Finding::Found(Found::saying("Org-wide publish requires approval".into()))
        }
    }
}
