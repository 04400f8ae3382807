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

#[cfg(all(test, feature = "parse"))]
mod tests {
    use types::Outcome::{Allow, Hold};

    use crate::common::{Ask, gate, named, refused, verdict};
    use crate::facts::{Finding, Found};

    const MESSAGE: &str = "Org-wide publish requires approval";

    #[test]
    fn only_org_wide_is_a_value() {
        let message = "the only value of `require_approval_for` is `org_wide` (did you mean \
                       `org_wide`?)";
        refused(&[
            ("require_approval_for: team\n", &format!("1:23: {message}")),
            ("require_approval_for: [org_wide]\n", &format!("1:23: {message}")),
        ]);
    }

    #[test]
    fn the_scope_of_metadata_is_compared_as_it_is() {
        let in_gate = gate("require_approval_for: org_wide");
        let in_policy = named("require_approval_for: org_wide");
        let cases = [
            ("{\"scope\":\"org_wide\"}", true),
            ("{\"scope\":\"ORG_WIDE\"}", false),
            ("{\"scope\":\"org_wide_2\"}", false),
            ("{\"scope\":[\"org_wide\"]}", false),
            ("{\"a\":{\"scope\":\"org_wide\"}}", false),
            ("{}", false),
        ];
        for (metadata, holds) in cases {
            let [in_gate, in_policy] = [&in_gate, &in_policy].map(|engine| {
                let ask = Ask::under(engine).json("{}").metadata(metadata);
                (ask.finding(engine), ask.judged(engine))
            });
            let found = Finding::Found(Found::saying(MESSAGE.into()));
            let finding = if holds { found } else { Finding::Silent };
            assert_eq!([in_gate.0, in_policy.0], [finding.clone(), finding], "{metadata}");
            let expected = if holds { (Hold, MESSAGE) } else { (Allow, "") };
            assert_eq!(verdict(&in_gate.1), expected, "{metadata}");
            let expected = (Hold, if holds { MESSAGE } else { "Awaiting review" });
            assert_eq!(verdict(&in_policy.1), expected, "{metadata}");
        }
        let payload = Ask::under(&in_gate).json("{\"scope\":\"org_wide\"}");
        assert_eq!(payload.judged(&in_gate).outcome, Allow, "the payload's scope is another");
    }

    /// In a named policy it is the last step; in a gate nothing ends it.
    #[test]
    fn an_approving_step_comes_before_it_in_a_named_policy_alone() {
        let cases = [
            (gate("require_approval_for: org_wide, {auto_approve_under: 2}"), 2, Hold),
            (named("require_approval_for: org_wide\nauto_approve_under: 2"), 2, Allow),
            (named("require_approval_for: org_wide\nauto_approve_under: 2"), 3, Hold),
        ];
        for (engine, claim, expected) in cases {
            let ask = Ask::under(&engine).claim(claim).metadata("{\"scope\":\"org_wide\"}");
            assert_eq!(ask.judged(&engine).outcome, expected, "{claim}");
        }
    }
}
