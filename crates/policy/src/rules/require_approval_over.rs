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
            let threshold = Threshold::parse(node, "over", site, report)?;
            Some(RuleKind::RequireApprovalOver(Self { threshold }))
        }
    }
}

#[cfg(all(test, feature = "parse"))]
mod tests {
    use types::Outcome::{Allow, Hold};

    use crate::common::{gate, named, refused, says_of_counts, warnings};

    const TWO: &str = "{\"a\":[{},{}]}";
    const THREE: &str = "{\"a\":[{},{},{}]}";
    const EXCEEDS: &str = "Record count 3 exceeds auto-approve threshold (2)";
    const UNKNOWN: &str = "Record count is unknown: nothing to count and no count was sent";

    #[test]
    #[rustfmt::skip]
    fn its_limit_is_a_whole_number() {
        refused(&[
            ("require_approval_over: many\n", "1:24: expected a whole number, found text"),
            ("require_approval_over: -1\n", "1:24: expected a whole number from 0, found -1"),
            ("require_approval_over: 1.5\n", "1:24: expected a whole number from 0, found 1.5"),
            ("require_approval_over: {count: n}\n", "1:24: `over` is missing"),
        ]);
    }

    #[test]
    fn in_a_gate_zero_is_a_threshold_and_an_unknown_count_holds() {
        let over = gate("require_approval_over: 2");
        says_of_counts(
            &over,
            &[
                (TWO, None, Allow, ""),
                (THREE, None, Hold, EXCEEDS),
                ("leads.csv", None, Hold, UNKNOWN),
                ("leads.csv", Some(2), Allow, ""),
                ("leads.csv", Some(3), Hold, EXCEEDS),
            ],
        );
        let exceeds = "Record count 1 exceeds auto-approve threshold (0)";
        says_of_counts(&gate("require_approval_over: 0"), &[("plain", None, Hold, exceeds)]);
        let document = "gates: [{name: g, resource: r, policies: [{require_approval_over: 0}]}]";
        assert_eq!(warnings("g.yaml", document), Vec::<String>::new());
    }

    #[test]
    fn in_a_named_policy_zero_is_off_and_later_steps_hear_the_rest() {
        let waits = "Awaiting review";
        says_of_counts(
            &named("require_approval_over: 2"),
            &[
                (TWO, None, Hold, waits),
                (THREE, None, Hold, EXCEEDS),
                ("leads.csv", None, Hold, waits),
                ("leads.csv", Some(2), Hold, waits),
                ("leads.csv", Some(3), Hold, EXCEEDS),
            ],
        );
        let within = "Record count 9 is within auto-approve threshold (9)";
        let off = named("require_approval_over: 0");
        says_of_counts(&off, &[("x", Some(9), Hold, waits)]);
        let off = named("require_approval_over: 0\nauto_approve_under: 9");
        says_of_counts(&off, &[("x", Some(9), Allow, within)]);
        assert_eq!(
            warnings("p.yaml", "require_approval_over: 0"),
            ["p.yaml:1:24: 0 switches this rule off in a named policy"]
        );
    }
}
