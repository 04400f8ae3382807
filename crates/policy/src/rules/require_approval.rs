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

#[cfg(all(test, feature = "parse"))]
mod tests {
    use types::Outcome::Hold;

    use crate::common::{Ask, gate, named, refused, says};
    use crate::facts::Finding;

    const MESSAGE: &str = "Policy requires human approval";

    #[test]
    fn only_always_is_a_value() {
        let message = "the only value of `require_approval` is `always`; leave the rule out where \
                       nobody must decide (did you mean `always`?)";
        refused(&[
            ("require_approval: never\n", &format!("1:19: {message}")),
            ("require_approval: true\n", &format!("1:19: {message}")),
            ("notes: a\nrequire_approval:\n", &format!("2:17: {message}")),
        ]);
    }

    #[test]
    fn a_person_decides_whatever_was_sent() {
        for engine in [
            gate("require_approval: always"),
            gate("require_approval: always, {auto_approve_under: 9}"),
            named("require_approval: always"),
            named("auto_approve_under: 9\nrequire_approval: always"),
        ] {
            let ask = Ask::under(&engine).claim(1);
            assert_eq!(ask.finding(&engine), Finding::Silent);
            assert_eq!(ask.judged(&engine).outcome, Hold);
            says(&engine, &[("x", Hold, MESSAGE), ("{}", Hold, MESSAGE), ("a.csv", Hold, MESSAGE)]);
        }
    }
}
