//! The edge's half of every rule behind two doors: reading one and taking its facts.
//!
//! Patterns are compiled once per set, here; a pattern that does not compile on this node makes its
//! rule hold, never silent.

use super::block_if_terms::FoldedTerms;
use super::field_checks::Patterns;
use super::{
    AllowedTypes, AutoApproveUnder, BlockIfTerms, Destinations, FieldChecks, IdempotencyKey,
    RateLimits, RequireApproval, RequireApprovalFor, RequireApprovalIfClears,
    RequireApprovalIfTemplateError, RequireApprovalOver, RequireApprovals, RequireProfile,
    RuleKind,
};
use crate::compile::{Node, Report, Site};
use crate::facts::{Finding, ScopeRef};
use crate::payload::View;
use crate::text::tokens::Scanner;

/// Where a rule stands while its facts are taken.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) scope: ScopeRef,
    pub(crate) name: &'a str,
}

impl Place<'_> {
    fn is_named(self) -> bool {
        matches!(self.scope, ScopeRef::Named(_))
    }
}

/// What a rule needs ready beside its durable form.
pub(crate) enum Prepared {
    /// Nothing.
    Plain,
    Terms(FoldedTerms),
    Fields(Patterns),
    Template(Box<Scanner>),
    /// A pattern of the set does not compile in this build.
    Unusable,
}

impl Prepared {
    pub(crate) fn of(kind: &RuleKind) -> Self {
        match kind {
            RuleKind::BlockIfTerms(rule) => Self::Terms(rule.prepare()),
            RuleKind::FieldChecks(rule) => rule.prepare().map_or(Self::Unusable, Self::Fields),
            RuleKind::RequireApprovalIfTemplateError(rule) => {
                let scanner = rule.prepare().map(Box::new);
                scanner.map_or(Self::Unusable, Self::Template)
            }
            _ => Self::Plain,
        }
    }

    /// What the rule finds in the intent.
    pub(crate) fn facts(&self, kind: &RuleKind, view: &View<'_>, place: Place<'_>) -> Finding {
        match (kind, self) {
            (RuleKind::BlockIfTerms(rule), Self::Terms(terms)) => {
                rule.facts(terms, view, place.is_named())
            }
            (RuleKind::FieldChecks(rule), Self::Fields(patterns)) => {
                rule.facts(patterns, view, place.is_named())
            }
            (RuleKind::RequireApprovalIfTemplateError(rule), Self::Template(scanner)) => {
                rule.facts(scanner, view)
            }
            (RuleKind::RequireApprovalOver(rule), _) => rule.threshold.facts(view),
            (RuleKind::AutoApproveUnder(rule), _) => rule.threshold.facts(view),
            (RuleKind::RequireApprovalFor(_), _) => RequireApprovalFor::facts(view),
            (RuleKind::Destinations(rule), _) => rule.facts(view),
            (RuleKind::AllowedTypes(rule), _) => rule.facts(view),
            (RuleKind::IdempotencyKey(rule), _) => rule.facts(view, place),
            (RuleKind::RequireApprovalIfClears(rule), _) => rule.facts(view),
            (RuleKind::RequireProfile(rule), _) => rule.facts(view),
            (
                RuleKind::RequireApproval(_)
                | RuleKind::RequireApprovals(_)
                | RuleKind::RateLimits(_),
                _,
            ) => Finding::Silent,
            (
                RuleKind::BlockIfTerms(_)
                | RuleKind::FieldChecks(_)
                | RuleKind::RequireApprovalIfTemplateError(_),
                _,
            ) => Finding::Failed("a pattern of this rule does not compile on this node".into()),
        }
    }
}

/// Every rule that documents may use, for error messages too.
pub(crate) const RULE_KEYS: [&str; 14] = [
    RequireApprovalOver::KEY,
    AutoApproveUnder::KEY,
    RequireApproval::KEY,
    RequireApprovalFor::KEY,
    RequireApprovals::KEY,
    IdempotencyKey::KEY,
    RequireApprovalIfTemplateError::KEY,
    RequireApprovalIfClears::KEY,
    BlockIfTerms::KEY,
    Destinations::KEY,
    AllowedTypes::KEY,
    FieldChecks::KEY,
    RateLimits::KEY,
    RequireProfile::KEY,
];

/// Reads one rule. `None` where the report says why, or where the rule is switched off.
pub(crate) fn parse_rule(
    key: &str,
    node: &Node,
    site: Site,
    report: &mut Report<'_>,
) -> Option<RuleKind> {
    match key {
        RequireApprovalOver::KEY => RequireApprovalOver::parse(node, site, report),
        AutoApproveUnder::KEY => AutoApproveUnder::parse(node, site, report),
        RequireApproval::KEY => RequireApproval::parse(node, report),
        RequireApprovalFor::KEY => RequireApprovalFor::parse(node, report),
        RequireApprovals::KEY => RequireApprovals::parse(node, report),
        IdempotencyKey::KEY => IdempotencyKey::parse(node, report),
        RequireApprovalIfTemplateError::KEY => RequireApprovalIfTemplateError::parse(node, report),
        RequireApprovalIfClears::KEY => RequireApprovalIfClears::parse(node, report),
        BlockIfTerms::KEY => BlockIfTerms::parse(node, report),
        Destinations::KEY => Destinations::parse(node, report),
        AllowedTypes::KEY => AllowedTypes::parse(node, report),
        FieldChecks::KEY => FieldChecks::parse(node, report),
        RateLimits::KEY => RateLimits::parse(node, report),
        RequireProfile::KEY => RequireProfile::parse(node, report),
        _ => None,
    }
}

/// The options of a rule, for documents that write them beside the rule instead of below it.
pub(crate) fn options_of(key: &str) -> &'static [&'static str] {
    match key {
        IdempotencyKey::KEY => &IdempotencyKey::OPTIONS,
        RequireApprovalIfTemplateError::KEY => &RequireApprovalIfTemplateError::OPTIONS,
        RequireApprovalIfClears::KEY => &["over", "fields"],
        _ => &[],
    }
}
