//! `rate_limits: {per_agent_per_hour, per_agent_per_day}`: how many intents an agent may submit.
//!
//! A sliding window over the agent's stored intents, whatever became of them, on all nodes.
//! In a gate 0 lets nothing pass; in a named policy 0 means no limit.

use alloc::format;

use minicbor::{Decode, Encode};
use types::Outcome;

use super::Saying;
use crate::judge::{Bench, World};

const HOUR_MS: u64 = 60 * 60 * 1_000;
const DAY_MS: u64 = 24 * HOUR_MS;

/// The rule.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct RateLimits {
    /// Intents in any 60 minutes.
    #[n(0)]
    pub per_agent_per_hour: Option<u64>,
    /// Intents in any 24 hours.
    #[n(1)]
    pub per_agent_per_day: Option<u64>,
}

impl RateLimits {
    pub(super) const KEY: &'static str = "rate_limits";

    pub(super) fn judge<W: World>(
        &self,
        bench: &Bench<'_, W>,
        named: bool,
    ) -> Result<Option<Saying>, W::Error> {
        let limits =
            [(self.per_agent_per_hour, HOUR_MS, "hour"), (self.per_agent_per_day, DAY_MS, "day")];
        for (limit, span_ms, span) in limits {
            let Some(limit) = limit.filter(|limit| *limit > 0 || !named) else {
                continue;
            };
            if limit == 0 || Self::is_reached(bench, limit, span_ms)? {
                let agent = bench.context.agent;
                let message = format!("Rate limit exceeded: {limit}/{span} for agent {agent}");
                return Ok(Some(Saying::new(Outcome::Block, message)));
            }
        }
        Ok(None)
    }

    /// The n-th last intent lies inside the span, so n of them do.
    fn is_reached<W: World>(
        bench: &Bench<'_, W>,
        limit: u64,
        span_ms: u64,
    ) -> Result<bool, W::Error> {
        let time = bench.world.nth_last_submit(limit)?;
        Ok(time.is_some_and(|time| bench.context.now.since_ms(time) <= span_ms))
    }
}

#[cfg(feature = "parse")]
mod parse {
    use types::limits::RATE_LIMIT_MAX;

    use super::RateLimits;
    use crate::compile::{Node, Report};
    use crate::rules::RuleKind;

    impl RateLimits {
        pub(in crate::rules) fn parse(node: &Node, report: &mut Report<'_>) -> Option<RuleKind> {
            let fields = report.fields(node, &["per_agent_per_hour", "per_agent_per_day"])?;
            if fields.is_empty() {
                report
                    .error(node, "`rate_limits` needs `per_agent_per_hour` or `per_agent_per_day`");
                return None;
            }
            let mut limits = [None, None];
            for (slot, key) in limits.iter_mut().zip(["per_agent_per_hour", "per_agent_per_day"]) {
                if let Some(value) = fields.get(key) {
                    *slot = Some(report.whole_number(value, RATE_LIMIT_MAX)?);
                }
            }
            let [per_agent_per_hour, per_agent_per_day] = limits;
            Some(RuleKind::RateLimits(Self { per_agent_per_hour, per_agent_per_day }))
        }
    }
}

#[cfg(all(test, feature = "parse"))]
mod tests {
    use types::LogTime;
    use types::Outcome::{Allow, Block, Hold};

    use super::{DAY_MS, HOUR_MS};
    use crate::common::{AGENT, Ask, MapWorld, NOW, gate, named, refused, says_of_counts, verdict};
    use crate::facts::Finding;

    #[test]
    #[rustfmt::skip]
    fn limits_are_whole_numbers_per_hour_or_day() {
        refused(&[
            ("rate_limits: {}\n",
             "1:14: `rate_limits` needs `per_agent_per_hour` or `per_agent_per_day`"),
            ("rate_limits: {per_agent_per_week: 1}\n",
             "1:15: unknown key `per_agent_per_week` (did you mean `per_agent_per_day`?)"),
            ("rate_limits: {per_agent_per_hour: 1.5}\n",
             "1:35: expected a whole number from 0 up to 1000000, found 1.5"),
            ("rate_limits: {per_agent_per_hour: 1000001}\n",
             "1:35: expected a whole number from 0 up to 1000000, found 1000001"),
            ("rate_limits: 5\n",
             "1:14: expected a mapping with `per_agent_per_hour`, `per_agent_per_day`, found a \
              number"),
        ]);
    }

    #[test]
    fn limits_slide() {
        let limits = "rate_limits: {per_agent_per_hour: 2, per_agent_per_day: 3}";
        let (in_gate, in_policy) = (gate(limits), named(limits));
        let cases: [(&[u64], Option<&str>); 6] = [
            (&[0], None),
            (&[0, 5], Some("2/hour")),
            (&[0, HOUR_MS], Some("2/hour")),
            (&[0, HOUR_MS + 1], None),
            (&[0, HOUR_MS + 1, DAY_MS], Some("3/day")),
            (&[0, HOUR_MS + 1, DAY_MS + 1], None),
        ];
        for (ago, reached) in cases {
            let submits = ago.iter().map(|ago_ms| LogTime(NOW.0 - ago_ms)).collect();
            let world = MapWorld { submits, ..MapWorld::default() };
            let message =
                reached.map(|limit| format!("Rate limit exceeded: {limit} for agent {AGENT}"));
            let blocked = message.as_deref().map(|message| (Block, message));
            let judgement = Ask::under(&in_gate).judged_in(&in_gate, &world);
            assert_eq!(verdict(&judgement), blocked.unwrap_or((Allow, "")), "{ago:?}");
            let judgement = Ask::under(&in_policy).judged_in(&in_policy, &world);
            let expected = blocked.unwrap_or((Hold, "Awaiting review"));
            assert_eq!(verdict(&judgement), expected, "{ago:?}");
        }
        assert_eq!(Ask::under(&in_gate).finding(&in_gate), Finding::Silent);
    }

    #[test]
    fn zero_is_real_in_a_gate_and_no_limit_in_a_named_policy() {
        let zero = gate("rate_limits: {per_agent_per_day: 0}");
        assert_eq!(Ask::to("r").judged(&zero).outcome, Block);
        let off = named("rate_limits: {per_agent_per_day: 0}\nauto_approve_under: 1");
        let within = "Record count 1 is within auto-approve threshold (1)";
        says_of_counts(&off, &[("x", Some(1), Allow, within)]);
    }
}
