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
    use crate::compile::{Node, Report};
    use crate::facts::Finding;
    use crate::payload::View;
    use crate::text::path;

    impl Threshold {
        /// Reads `100` or `{<limit_key>: 100, count: path}`.
        pub(in crate::rules) fn parse(
            node: &Node,
            limit_key: &str,
            report: &mut Report<'_>,
        ) -> Option<Self> {
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
