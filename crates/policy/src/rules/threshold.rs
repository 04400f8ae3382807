//! The threshold on a record count that two rules share.
//!
//! Inclusive on the approving side: a limit of 100 lets 100 pass. A rule may name the path of its
//! own count: there an array counts its length, a whole number counts itself.
//! Invariant: an agent's count below ours is never believed.

use alloc::format;
use alloc::string::String;

use minicbor::{Decode, Encode};
use types::Outcome;

use super::Saying;
use crate::facts::{Facts, Finding};

/// A limit and what it counts.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Threshold {
    /// The largest count that passes.
    #[n(0)]
    pub limit: u64,
    /// Dot path of the count in the payload, else metadata; absent means the record count.
    #[n(1)]
    pub count: Option<String>,
}

impl Threshold {
    /// The hold for a count above the limit.
    pub(super) fn exceeded(&self, count: u64) -> Saying {
        let limit = self.limit;
        let message = format!("Record count {count} exceeds auto-approve threshold ({limit})");
        Saying::new(Outcome::Hold, message)
    }

    /// The hold for a count that nobody knows.
    pub(super) fn unknown() -> Saying {
        let message = "Record count is unknown: nothing to count and no count was sent";
        Saying::new(Outcome::Hold, message.into())
    }

    /// The count that the limit applies to.
    ///
    /// # Errors
    /// A hold, if the agent claims fewer records than the rule's own path shows.
    pub(super) fn counted(&self, facts: &Facts, finding: &Finding) -> Result<Option<u64>, Saying> {
        let (Some(path), Finding::Count(count)) = (&self.count, finding) else {
            return Ok(facts.count());
        };
        match facts.claimed_count {
            Some(claim) if claim < *count => {
                let message = format!("Record count {claim} is below the {count} at '{path}'");
                Err(Saying::new(Outcome::Hold, message))
            }
            claim => Ok(claim.max(Some(*count))),
        }
    }
}

#[cfg(feature = "parse")]
mod parse {
    use super::Threshold;
    use crate::compile::{Node, Report, Site};
    use crate::facts::Finding;
    use crate::payload::View;
    use crate::text::path;

    impl Threshold {
        /// Reads `100` or `{<limit_key>: 100, count: path}`; nothing, with a warning, for the 0 by
        /// which existing clients switch off a rule of a named policy.
        pub(in crate::rules) fn parse(
            node: &Node,
            limit_key: &str,
            site: Site,
            report: &mut Report<'_>,
        ) -> Option<Self> {
            let threshold = Self::read(node, limit_key, report)?;
            if site.named && threshold.limit == 0 {
                report.warn(node, "0 switches this rule off in a named policy");
                return None;
            }
            Some(threshold)
        }

        fn read(node: &Node, limit_key: &str, report: &mut Report<'_>) -> Option<Self> {
            if !node.is_map() {
                let limit = report.whole_number(node, u64::MAX)?;
                return Some(Self { limit, count: None });
            }
            let fields = report.fields(node, &[limit_key, "count"])?;
            let limit = report.required(node, &fields, limit_key)?;
            let limit = report.whole_number(limit, u64::MAX)?;
            let count = match fields.get("count") {
                Some(path) => Some(report.path(path)?),
                None => None,
            };
            Some(Self { limit, count })
        }

        /// The count at the rule's own path, or nothing to say.
        pub(in crate::rules) fn facts(&self, view: &View<'_>) -> Finding {
            let Some(count_path) = &self.count else {
                return Finding::Silent;
            };
            let value = view.lookup(count_path);
            let count = value.and_then(path::count_of);
            match count {
                Some(count) => Finding::Count(count),
                None => Finding::Failed(format!("No record count at '{count_path}'")),
            }
        }
    }
}

#[cfg(all(test, feature = "parse"))]
mod tests {
    use types::Outcome::{Allow, Hold};

    use crate::common::{Ask, gate, refused, says_of_counts, verdict};
    use crate::facts::Finding;

    const TWO: &str = "{\"a\":{\"items\":[{},{}]},\"b\":[1,2,3,4]}";
    const THREE: &str = "{\"a\":{\"items\":[{},{},{}]},\"b\":[1,2,3,4]}";
    const EXCEEDS: &str = "Record count 3 exceeds auto-approve threshold (2)";
    const UNKNOWN: &str = "Record count is unknown: nothing to count and no count was sent";

    #[test]
    #[rustfmt::skip]
    fn a_path_is_a_dot_path_beside_the_limit() {
        refused(&[
            ("require_approval_over: {over: 1, count: a..b}\n",
             "1:41: expected a dot path such as `customer.id`"),
            ("require_approval_over: {over: 1, conut: a}\n",
             "1:34: unknown key `conut` (did you mean `count`?)"),
            ("auto_approve_under: {under: x, count: a}\n",
             "1:29: expected a whole number, found text"),
        ]);
    }

    #[test]
    #[rustfmt::skip]
    fn records_are_counted_and_claims_below_are_not_believed() {
        let over = gate("require_approval_over: 2");
        says_of_counts(&over, &[
            (TWO, Some(3), Hold, EXCEEDS),
            (TWO, Some(2), Allow, ""),
            (TWO, Some(1), Hold, "Record count 1 is below the 2 records of the payload"),
            ("plain", None, Allow, ""),
            ("data:text/csv,a%0Ab%0Ac", None, Hold, EXCEEDS),
            (&format!("\u{feff} {THREE}"), None, Hold, EXCEEDS),
            ("{\"a\":1}\n{\"a\":2}\n\n{\"a\":3}\n", None, Hold, EXCEEDS),
            ("{\"x\":[{}],\"y\":{\"z\":[{},1,{}]},\"w\":[{},{}]}", None, Hold, EXCEEDS),
            ("[1] first\n[2] second", None, Allow, ""),
            ("data:text/csv;base64,%%%", None, Hold, UNKNOWN),
        ]);
        assert_eq!(Ask::to("r").judged(&over).outcome, Hold, "nothing to count");
        assert_eq!(Ask::to("r").claim(2).judged(&over).outcome, Allow, "only a claim");
    }

    #[test]
    #[rustfmt::skip]
    fn a_path_of_its_own_counts_a_list_or_a_whole_number() {
        let path = gate("{require_approval_over: {over: 2, count: n}}");
        says_of_counts(&path, &[
            ("{\"n\":2,\"x\":[{},{},{}]}", None, Allow, ""),
            ("{\"n\":\"3\"}", None, Hold, EXCEEDS),
            ("{\"n\":[1,2,3]}", None, Hold, EXCEEDS),
            ("{\"n\":2,\"x\":[{},{},{}]}", Some(2), Allow, ""),
            ("{\"n\":2}", Some(1), Hold, "Record count 1 is below the 2 at 'n'"),
            ("{\"n\":2}", Some(3), Hold, EXCEEDS),
            ("{\"n\":-2}", None, Hold, "No record count at 'n'"),
            ("{}", Some(1), Hold, "No record count at 'n'"),
        ]);
        let ask = Ask::to("r").json("{}").metadata("{\"n\":3}");
        assert_eq!(ask.finding(&path), Finding::Count(3), "else metadata");
        assert_eq!(verdict(&ask.judged(&path)), (Hold, EXCEEDS));
        let plain = gate("require_approval_over: 2");
        assert_eq!(ask.finding(&plain), Finding::Silent);
    }
}
