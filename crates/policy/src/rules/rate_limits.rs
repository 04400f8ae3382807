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
