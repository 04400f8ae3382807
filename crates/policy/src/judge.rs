//! Judgement: facts, the set, log time and the windows so far become a decision.
//!
//! Pure and total: runs inside apply on every node and gives the same bytes there.
//! Invariant: a rule that errs never allows; facts that do not fit the set hold; of everything
//! said the most severe wins, block over duplicate over hold over allow.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use minicbor::{Decode, Encode};
use types::{AgentId, Digest, IntentId, LogTime, Outcome, Place, Reason, RuleSource};

use crate::facts::{Facts, Finding, ScopeFacts, ScopeRef};
use crate::rules::{RuleKind, Saying, environments};
use crate::set::{PolicySet, Rule, RuleList};

/// What the ledger knows and rules ask for.
pub trait World {
    /// Why a look-up failed.
    type Error;

    /// Time of this agent's n-th last stored intent (1 is the last), if it has that many inside
    /// the look-back.
    ///
    /// # Errors
    /// Whatever the ledger's store reports.
    fn nth_last_submit(&self, n: u64) -> Result<Option<LogTime>, Self::Error>;

    /// The open dedup window of this fingerprint, if any, already known to be unexpired.
    ///
    /// # Errors
    /// Whatever the ledger's store reports.
    fn window(&self, fingerprint: &Digest) -> Result<Option<OpenWindow>, Self::Error>;
}

/// A dedup window that another intent holds open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenWindow {
    /// The intent that opened it.
    pub first: IntentId,
    /// When it ends; `None` while it is bound to the first intent's phase.
    pub ends_at: Option<LogTime>,
}

/// Who asks, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context {
    /// Log time of the entry.
    pub now: LogTime,
    /// The submitting agent.
    pub agent: AgentId,
}

/// A decision and everything it causes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// The most severe thing said.
    pub outcome: Outcome,
    /// Every rule that spoke: most severe first, then in order of documents and lines, the gate's
    /// own rules last.
    pub reasons: Vec<Reason>,
    /// Windows to open if the intent is stored; empty for block and duplicate.
    pub windows: Vec<WindowToOpen>,
    /// Whose approval releases it if it is held.
    pub approvals: ApprovalRule,
    /// Set exactly if the outcome is [`Outcome::Duplicate`].
    pub duplicate: Option<DuplicateOf>,
}

/// One dedup window that the intent opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowToOpen {
    /// Identifies the window.
    pub fingerprint: Digest,
    /// How long it stays, in milliseconds.
    pub window_ms: u64,
}

/// Whose approval releases a held intent.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ApprovalRule {
    /// Distinct approvers, at least 1.
    #[n(0)]
    pub count: u32,
    /// Needs per group, besides.
    #[n(1)]
    pub all_of: Vec<GroupNeed>,
}

/// Approvers that one group owes.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct GroupNeed {
    /// The group's name.
    #[n(0)]
    pub group: String,
    /// Distinct approvers out of it.
    #[n(1)]
    pub count: u32,
}

/// Which intent came first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DuplicateOf {
    /// The intent that holds the window open.
    pub first: IntentId,
    /// Gate, resource or policy whose rule speaks.
    pub gate: String,
    /// The rule's key in the document.
    pub rule: String,
    /// When the window ends; `None` while it is bound to the first intent's phase.
    pub window_ends_at: Option<LogTime>,
    /// Identifies the window.
    pub fingerprint: Digest,
}

/// Judges an intent.
///
/// # Errors
/// Only what the [`World`] reports; every other trouble is a reason that holds.
pub fn judge<W: World>(
    facts: &Facts,
    set: &PolicySet,
    context: &Context,
    world: &W,
) -> Result<Judgement, W::Error> {
    let mut bench = Bench::new(facts, set, context, world);
    if facts.set_digest == set.digest {
        for scope in &facts.findings {
            bench.hear_scope(scope)?;
        }
        bench.hear_own_rules();
    } else {
        bench.misfit();
    }
    Ok(bench.rule())
}

/// Code of the hold for facts that were made for another set.
const FACTS_MISMATCH: &str = "facts_mismatch";

/// Collects what the rules say.
pub(crate) struct Bench<'a, W> {
    pub(crate) facts: &'a Facts,
    pub(crate) context: &'a Context,
    pub(crate) world: &'a W,
    set: &'a PolicySet,
    /// With the document's index, for the order; `u32::MAX` for the gate's own.
    said: Vec<(u32, Reason)>,
    windows: Vec<WindowToOpen>,
    /// With document and line of the rule, for the order.
    duplicates: Vec<(u32, u32, DuplicateOf)>,
    approvals: u32,
}

/// Where a rule stands while it is heard.
#[derive(Clone, Copy)]
pub(crate) struct Seat<'a> {
    pub(crate) scope: ScopeRef,
    list: &'a RuleList,
    line: u32,
}

impl Seat<'_> {
    /// The rule stands in a policy that the request named.
    pub(crate) fn is_named(&self) -> bool {
        matches!(self.scope, ScopeRef::Named(_))
    }
}

impl<'a, W: World> Bench<'a, W> {
    fn new(facts: &'a Facts, set: &'a PolicySet, context: &'a Context, world: &'a W) -> Self {
        Self {
            facts,
            context,
            world,
            set,
            said: Vec::new(),
            windows: Vec::new(),
            duplicates: Vec::new(),
            approvals: 1,
        }
    }

    fn hear_scope(&mut self, scope: &ScopeFacts) -> Result<(), W::Error> {
        let list = self.set.list(scope.scope);
        let rules = list.and_then(|list| list.in_force(scope.environment));
        let (Some(list), Some(rules)) = (list, rules) else {
            self.misfit();
            return Ok(());
        };
        if rules.len() != scope.findings.len() {
            self.misfit();
            return Ok(());
        }
        let seat = Seat { scope: scope.scope, list, line: list.line };
        self.hear_overlay(seat, scope.environment);
        if seat.is_named() {
            return self.hear_named(seat, rules, &scope.findings);
        }
        for (rule, finding) in rules.iter().zip(&scope.findings) {
            self.hear_rule(Seat { line: rule.line, ..seat }, rule, finding)?;
        }
        Ok(())
    }

    fn hear_overlay(&mut self, seat: Seat<'_>, environment: Option<u32>) {
        let overlay = environment.and_then(|index| seat.list.environments.get(index as usize));
        if let Some(overlay) = overlay {
            let seat = Seat { line: overlay.line, ..seat };
            self.say(seat, environments::KEY, environments::judge(overlay));
        }
    }

    /// The first step that speaks ends the steps of existing clients; the newer vocabulary is heard
    /// in any case, and so is a step that could not be evaluated.
    fn hear_named(
        &mut self,
        seat: Seat<'_>,
        rules: &[Rule],
        findings: &[Finding],
    ) -> Result<(), W::Error> {
        let mut ended = false;
        for (rule, finding) in rules.iter().zip(findings) {
            let step = rule.kind.is_step();
            if step && ended && !matches!(finding, Finding::Failed(_)) {
                continue;
            }
            let spoke = self.hear_rule(Seat { line: rule.line, ..seat }, rule, finding)?;
            ended |= step && spoke && !matches!(finding, Finding::Failed(_));
        }
        if !ended {
            let message = String::from("Awaiting review");
            self.say(seat, "awaiting_review", Saying::new(Outcome::Hold, message));
        }
        Ok(())
    }

    /// True if the rule spoke.
    fn hear_rule(
        &mut self,
        seat: Seat<'_>,
        rule: &Rule,
        finding: &Finding,
    ) -> Result<bool, W::Error> {
        if let RuleKind::RequireApprovals(needed) = &rule.kind {
            self.approvals = self.approvals.max(needed.count);
        }
        let saying = match finding {
            Finding::Failed(message) => Some(Saying::new(Outcome::Hold, message.clone())),
            _ => rule.kind.judge(self, seat, finding)?,
        };
        let spoke = saying.is_some();
        if let Some(saying) = saying {
            self.say(seat, rule.kind.key(), saying);
        }
        Ok(spoke)
    }

    /// The gate's own rules, which no document can switch off.
    fn hear_own_rules(&mut self) {
        let facts = self.facts;
        if let Some(id) = &facts.policy_missing {
            self.say_own(Outcome::Block, "policy_not_found", format!("Policy '{id}' not found"));
        }
        if facts.trigger_unmatched {
            let message = "gates name this resource, but none of them this trigger";
            self.say_own(Outcome::Hold, "trigger_unmatched", message.into());
        } else if !facts.covered || (facts.findings.is_empty() && facts.policy_missing.is_none()) {
            self.say_own(Outcome::Hold, "no_policy", "no policy covers this resource".into());
        }
        if let Some(fault) = &facts.payload_fault {
            let message = format!("the payload cannot be judged safely: {fault}");
            self.say_own(Outcome::Hold, "payload", message);
        }
        if let (Some(claim), Some(count)) = (facts.claimed_count, facts.record_count)
            && claim < count
            && self.counts_whole_payload()
        {
            let message =
                format!("Record count {claim} is below the {count} records of the payload");
            self.say_own(Outcome::Hold, "record_count", message);
        }
    }

    /// A claim is measured against the whole payload unless every count rule names its own path.
    fn counts_whole_payload(&self) -> bool {
        let mut paths = 0;
        for scope in &self.facts.findings {
            let list = self.set.list(scope.scope);
            let rules = list.and_then(|list| list.in_force(scope.environment)).unwrap_or_default();
            for rule in rules {
                match rule.kind.count_path() {
                    Some(None) => return true,
                    Some(Some(_)) => paths += 1,
                    None => {}
                }
            }
        }
        paths == 0
    }

    pub(crate) fn misfit(&mut self) {
        let message = "the facts do not fit the policy in force; send the request again";
        if !self.said.iter().any(|(_, reason)| reason.rule == FACTS_MISMATCH) {
            self.say_own(Outcome::Hold, FACTS_MISMATCH, message.into());
        }
    }

    pub(crate) fn open(&mut self, window: WindowToOpen) {
        self.windows.push(window);
    }

    pub(crate) fn duplicate(
        &mut self,
        seat: Seat<'_>,
        rule: &str,
        open: OpenWindow,
        fingerprint: Digest,
    ) {
        let gate = self.set.name(seat.scope).unwrap_or_default().into();
        self.duplicates.push((
            seat.list.document,
            seat.line,
            DuplicateOf {
                first: open.first,
                gate,
                rule: rule.into(),
                window_ends_at: open.ends_at,
                fingerprint,
            },
        ));
    }

    fn say(&mut self, seat: Seat<'_>, rule: &str, saying: Saying) {
        let reason = Reason {
            source: self.set.source(seat.scope).unwrap_or(RuleSource::System),
            rule: rule.into(),
            outcome: saying.outcome,
            message: saying.message,
            place: self.set.place(seat.list.document, seat.line),
            hits: saying.hits,
            hits_total: saying.total,
        };
        self.said.push((seat.list.document, reason));
    }

    fn say_own(&mut self, outcome: Outcome, rule: &str, message: String) {
        let reason = Reason {
            source: RuleSource::System,
            rule: rule.into(),
            outcome,
            message,
            place: Place::default(),
            hits: Vec::new(),
            hits_total: 0,
        };
        self.said.push((u32::MAX, reason));
    }

    fn rule(mut self) -> Judgement {
        self.said.sort_by(|(document, reason), (other_document, other)| {
            let place = (*document, reason.place.line);
            let by_place = place.cmp(&(*other_document, other.place.line));
            other.outcome.cmp(&reason.outcome).then(by_place)
        });
        let reasons: Vec<Reason> = self.said.into_iter().map(|(_, reason)| reason).collect();
        let outcome = reasons.first().map_or(Outcome::Allow, |reason| reason.outcome);
        if outcome >= Outcome::Duplicate {
            self.windows.clear();
        }
        self.windows.sort_by(|one, other| {
            let longest_first = other.window_ms.cmp(&one.window_ms);
            one.fingerprint.cmp(&other.fingerprint).then(longest_first)
        });
        self.windows.dedup_by_key(|window| window.fingerprint);
        let first =
            self.duplicates.into_iter().min_by_key(|(document, line, _)| (*document, *line));
        Judgement {
            outcome,
            reasons,
            windows: self.windows,
            approvals: ApprovalRule { count: self.approvals, all_of: Vec::new() },
            duplicate: first
                .map(|(_, _, duplicate)| duplicate)
                .filter(|_| outcome == Outcome::Duplicate),
        }
    }
}
