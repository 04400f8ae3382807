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

#[cfg(all(test, feature = "parse"))]
mod tests {
    use types::Outcome::{Allow, Block, Hold};

    use super::RequireApprovals;
    use crate::common::{Ask, compiled, engine, gate, named, refused};
    use crate::facts::Finding;
    use crate::rules::RuleKind;

    #[test]
    fn it_is_a_number_of_people_within_its_limit() {
        refused(&[
            (
                "require_approvals: {all_of: [{group: a, count: 1}]}\n",
                "1:20: approvals per group come later; write a number of people",
            ),
            (
                "require_approvals: {all_off: []}\n",
                "1:21: unknown key `all_off` (did you mean `all_of`?)",
            ),
            ("require_approvals: two\n", "1:20: expected a whole number, found text"),
            ("require_approvals: 0\n", "1:20: at least one person must approve"),
            ("require_approvals: 33\n", "1:20: expected a whole number from 0 up to 32, found 33"),
        ]);
        for (text, count) in [("require_approvals: 1", 1), ("require_approvals: 32", 32)] {
            let rules = &compiled(&[("p.yaml", text)]).set.named[0].rules.rules;
            let expected = RuleKind::RequireApprovals(RequireApprovals { count });
            assert_eq!(rules[0].kind, expected, "{text}");
        }
    }

    #[test]
    fn it_counts_and_never_holds_by_itself() {
        let hold = "{require_approval: always}";
        let cases = [
            (gate("require_approvals: 2"), Allow, 2),
            (gate(hold), Hold, 1),
            (gate(&format!("require_approvals: 2, {hold}")), Hold, 2),
            (gate(&format!("require_approvals: 2, {hold}, {{require_approvals: 3}}")), Hold, 3),
            (gate(&format!("require_approvals: 3, {hold}, {{require_approvals: 2}}")), Hold, 3),
            (gate("require_approvals: 2, {block_if_terms: [x]}"), Block, 2),
            (named("require_approvals: 2"), Hold, 2),
            (named("require_approvals: 2\nauto_approve_under: 1"), Allow, 2),
            (named("require_approvals: 2\nblock_if_terms: [x]"), Block, 2),
        ];
        for (row, (engine, outcome, count)) in cases.iter().enumerate() {
            let judgement = Ask::under(engine).claim(1).text("x").judged(engine);
            assert_eq!((judgement.outcome, judgement.approvals.count), (*outcome, *count), "{row}");
            assert!(judgement.approvals.all_of.is_empty(), "{row}");
            assert!(judgement.reasons.iter().all(|reason| reason.rule != "require_approvals"));
        }
        assert_eq!(Ask::under(&cases[0].0).finding(&cases[0].0), Finding::Silent);
    }

    #[test]
    fn the_largest_number_of_all_that_matched_counts() {
        let gates = "gates: [{name: a, resource: r, policies: [{require_approvals: 2}]}, \
                     {name: b, resource: other, policies: [{require_approvals: 9}]}]";
        let engine = engine(&[("g.yaml", gates), ("p.yaml", "require_approvals: 4")]);
        assert_eq!(Ask::to("r").judged(&engine).approvals.count, 2);
        assert_eq!(Ask::to("r").policy("p").judged(&engine).approvals.count, 4);
        assert_eq!(Ask::to("other").policy("p").judged(&engine).approvals.count, 9);
    }
}
