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
            let threshold = Threshold::parse(node, "under", site, report)?;
            Some(RuleKind::AutoApproveUnder(Self { threshold }))
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
    const WAITS: &str = "Awaiting review";

    #[test]
    #[rustfmt::skip]
    fn its_limit_is_a_whole_number_called_under() {
        refused(&[
            ("auto_approve_under: many\n", "1:21: expected a whole number, found text"),
            ("auto_approve_under: {unter: 1}\n",
             "1:22: unknown key `unter` (did you mean `under`?)"),
            ("auto_approve_under: {count: n}\n", "1:21: `under` is missing"),
        ]);
    }

    #[test]
    fn in_a_gate_it_holds_above_and_is_silent_below() {
        says_of_counts(
            &gate("auto_approve_under: 2"),
            &[
                (TWO, None, Allow, ""),
                (THREE, None, Hold, EXCEEDS),
                ("leads.csv", None, Hold, UNKNOWN),
            ],
        );
        let exceeds = "Record count 1 exceeds auto-approve threshold (0)";
        says_of_counts(&gate("auto_approve_under: 0"), &[("plain", None, Hold, exceeds)]);
        let document = "gates: [{name: g, resource: r, policies: [{auto_approve_under: 0}]}]";
        assert_eq!(warnings("g.yaml", document), Vec::<String>::new());
    }

    #[test]
    fn in_a_named_policy_it_allows_a_count_that_was_sent() {
        let within = "Record count 1 is within auto-approve threshold (1)";
        says_of_counts(
            &named("auto_approve_under: 1"),
            &[
                ("x", Some(1), Allow, within),
                ("x", Some(2), Hold, WAITS),
                ("x", None, Hold, WAITS),
                ("{}", None, Hold, WAITS),
                ("leads.csv", Some(1), Allow, within),
                ("leads.csv", None, Hold, WAITS),
            ],
        );
        says_of_counts(&named("auto_approve_under: 0"), &[("x", Some(1), Hold, WAITS)]);
        assert_eq!(
            warnings("p.yaml", "auto_approve_under: 0"),
            ["p.yaml:1:21: 0 switches this rule off in a named policy"]
        );
    }

    #[test]
    fn in_a_named_policy_a_path_of_its_own_needs_no_count_sent() {
        let within = "Record count 3 is within auto-approve threshold (3)";
        says_of_counts(
            &named("auto_approve_under: {under: 3, count: n}"),
            &[
                ("{\"n\":3}", None, Allow, within),
                ("{\"n\":4}", None, Hold, WAITS),
                ("{}", None, Hold, "No record count at 'n'"),
            ],
        );
    }
}
