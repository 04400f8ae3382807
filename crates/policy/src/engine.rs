//! The engine: a set made ready once, and facts taken from intents with it.
//!
//! Facts are a pure function of payload, proposal, metadata, set and version. Patterns and regular
//! expressions are compiled when the engine is made, never per intent.

use std::sync::Arc;

use serde_json::Value;
use types::limits::ENVIRONMENT_CHARS_MAX;
use types::{Digest, NamespaceId, Proposal, codec};

use crate::coverage::{Coverage, coverage};
use crate::facts::{Facts, ScopeFacts, ScopeRef};
use crate::payload::{Payload, View};
use crate::profiles;
use crate::risk;
use crate::rules::{Place, Prepared, RuleKind};
use crate::set::{PolicySet, Rule, RuleList};

/// An intent as the edge knows it.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// Where it is judged.
    pub namespace: NamespaceId,
    /// What the agent proposes.
    pub proposal: &'a Proposal,
    /// What it sent along.
    pub payload: &'a Payload,
    /// The agent's metadata.
    pub metadata: Option<&'a Value>,
}

/// A policy set, ready to take facts.
pub struct Engine {
    set: Arc<PolicySet>,
    version: u64,
    gates: Vec<PreparedList>,
    resources: Vec<PreparedList>,
    default_policy: Option<PreparedList>,
    named: Vec<PreparedList>,
}

struct PreparedList {
    base: PreparedRules,
    environments: Vec<PreparedRules>,
}

struct PreparedRules {
    /// Over the scope's name and its rules, in no order.
    digest: Digest,
    /// Environments share what they leave as it is.
    rules: Vec<Arc<Prepared>>,
}

impl Engine {
    /// Makes a set ready.
    #[must_use]
    pub fn new(set: Arc<PolicySet>, version: u64) -> Self {
        let list = |rules: &RuleList, kind: &str, name: &str| PreparedList::of(rules, kind, name);
        let gates = set.gates.iter().map(|gate| list(&gate.rules, "gate", &gate.name)).collect();
        let resources = set
            .resources
            .iter()
            .map(|entry| list(&entry.rules, "resource", &entry.resource))
            .collect();
        let default_policy =
            set.default_policy.as_ref().map(|rules| list(rules, "default", "default_policy"));
        let named =
            set.named.iter().map(|policy| list(&policy.rules, "policy", &policy.id)).collect();
        Self { version, gates, resources, default_policy, named, set }
    }

    /// The set.
    #[must_use]
    pub fn set(&self) -> &Arc<PolicySet> {
        &self.set
    }

    /// The version that facts are stamped with.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// What gates, entries and policies apply to a proposal.
    #[must_use]
    pub fn coverage(&self, proposal: &Proposal) -> Coverage {
        let (trigger, policy) = (proposal.trigger.as_deref(), proposal.policy.as_deref());
        coverage(&self.set, &proposal.destination, trigger, policy)
    }

    /// Takes the facts; the environment is the one in the agent's metadata.
    #[must_use]
    pub fn facts(&self, subject: &Subject<'_>) -> Facts {
        self.facts_in(subject, None)
    }

    /// Takes the facts in the environment that the destination declares, which overrules the
    /// agent's.
    #[must_use]
    pub fn facts_in(&self, subject: &Subject<'_>, declared: Option<&str>) -> Facts {
        let view = View::of(subject);
        let proposal = subject.proposal;
        let coverage = self.coverage(proposal);
        let sent = subject.metadata.and_then(|metadata| metadata.get("environment"));
        let sent = sent.and_then(Value::as_str);
        let environment = declared.or(sent);
        let mut findings = Vec::with_capacity(coverage.scopes.len());
        let mut digests = Vec::with_capacity(coverage.scopes.len());
        for scope in &coverage.scopes {
            if let Some((facts, digest)) = self.scope_facts(*scope, environment, &view) {
                findings.push(facts);
                digests.push(digest);
            }
        }
        let required = self.required_profiles(&findings);
        let policy_missing = proposal.policy.clone().filter(|_| coverage.policy_missing);
        let is_covered = coverage.is_covered();
        Facts {
            policy_version: self.version,
            set_digest: self.set.digest,
            rules_digest: rules_digest(digests, &coverage),
            record_count: view.count,
            claimed_count: proposal.record_count_claim,
            covered: is_covered,
            peer_uncovered: proposal.peer_spelling && proposal.policy.is_none() && !is_covered,
            trigger_unmatched: coverage.trigger_unmatched,
            policy_missing,
            risk: risk::score(proposal, &view),
            payload_fault: view.fault,
            profile_fault: profiles::fault(proposal, subject.metadata, &required),
            findings,
            destinations_version: None,
            environment: sent.filter(|name| name.len() <= ENVIRONMENT_CHARS_MAX).map(Into::into),
        }
    }

    /// The profiles that rules in force ask for.
    fn required_profiles(&self, scopes: &[ScopeFacts]) -> Vec<&str> {
        let lists = scopes.iter().filter_map(|scope| {
            self.set.list(scope.scope).and_then(|list| list.in_force(scope.environment))
        });
        let required = lists.flatten().filter_map(|rule| match &rule.kind {
            RuleKind::RequireProfile(rule) => Some(rule.profile.as_str()),
            _ => None,
        });
        required.collect()
    }

    fn scope_facts(
        &self,
        scope: ScopeRef,
        environment: Option<&str>,
        view: &View<'_>,
    ) -> Option<(ScopeFacts, Digest)> {
        let list = self.set.list(scope)?;
        let prepared = match scope {
            ScopeRef::Gate(index) => self.gates.get(index as usize)?,
            ScopeRef::Resource(index) => self.resources.get(index as usize)?,
            ScopeRef::Default => self.default_policy.as_ref()?,
            ScopeRef::Named(index) => self.named.get(index as usize)?,
        };
        let overlay = environment.and_then(|name| {
            list.environments.iter().position(|environment| environment.name == name)
        });
        let (rules, ready) = match overlay {
            None => (&list.rules, &prepared.base),
            Some(index) => (&list.environments[index].rules, &prepared.environments[index]),
        };
        let place = Place { scope, name: self.set.name(scope)? };
        let findings = rules
            .iter()
            .zip(&ready.rules)
            .map(|(rule, prepared)| prepared.facts(&rule.kind, view, place))
            .collect();
        let environment = overlay.and_then(|index| u32::try_from(index).ok());
        Some((ScopeFacts { scope, environment, findings }, ready.digest))
    }
}

impl PreparedList {
    fn of(list: &RuleList, kind: &str, name: &str) -> Self {
        let ready = list.rules.iter().map(|rule| Arc::new(Prepared::of(&rule.kind))).collect();
        let base = PreparedRules::of(&list.rules, ready, kind, name, None);
        let environments = list.environments.iter().map(|environment| {
            let of_base = |rule: &Rule| {
                let at = list.rules.iter().position(|base| base == rule)?;
                base.rules.get(at).cloned()
            };
            let prepare =
                |rule| of_base(rule).unwrap_or_else(|| Arc::new(Prepared::of(&rule.kind)));
            let ready = environment.rules.iter().map(prepare).collect();
            PreparedRules::of(&environment.rules, ready, kind, name, Some(&environment.name))
        });
        Self { environments: environments.collect(), base }
    }
}

impl PreparedRules {
    fn of(
        rules: &[Rule],
        ready: Vec<Arc<Prepared>>,
        kind: &str,
        name: &str,
        environment: Option<&str>,
    ) -> Self {
        let mut encoded: Vec<Vec<u8>> =
            rules.iter().map(|rule| codec::encode(&rule.kind)).collect();
        encoded.sort();
        let mut parts = vec![kind.as_bytes(), name.as_bytes()];
        parts.push(if environment.is_some() { b"overlay" } else { b"base" });
        parts.push(environment.unwrap_or_default().as_bytes());
        parts.extend(encoded.iter().map(Vec::as_slice));
        Self { digest: Digest::of_parts(&parts), rules: ready }
    }
}

/// Neither lines nor the order of files and scopes are in it: moving a rule changes nothing.
fn rules_digest(mut digests: Vec<Digest>, coverage: &Coverage) -> Digest {
    digests.sort_unstable();
    let flags = [u8::from(coverage.trigger_unmatched), u8::from(coverage.policy_missing)];
    let mut parts: Vec<&[u8]> = vec![&flags];
    parts.extend(digests.iter().map(|digest| digest.0.as_slice()));
    Digest::of_parts(&parts)
}

#[cfg(test)]
pub(crate) mod tests {
    use types::PayloadKind;

    use super::*;

    /// Hands a proposal and the view of a text payload to a test.
    pub(crate) fn view_of<T>(
        destination: &str,
        text: &str,
        test: impl FnOnce(&mut Proposal, &View<'_>) -> T,
    ) -> T {
        let payload = Payload::of_text(text.into());
        let proposal = proposal(destination);
        let subject = Subject {
            namespace: NamespaceId::DEFAULT,
            proposal: &proposal,
            payload: &payload,
            metadata: None,
        };
        let view = View::of(&subject);
        test(&mut proposal.clone(), &view)
    }

    fn proposal(destination: &str) -> Proposal {
        Proposal {
            destination: destination.into(),
            action: destination.into(),
            trigger: None,
            policy: None,
            payload_kind: PayloadKind::Text,
            payload_digest: None,
            payload_type: None,
            record_count_claim: None,
            value_usd_micros: None,
            sensitivity_tags: Vec::new(),
            idempotency_key: None,
            on_behalf_of: None,
            expires_in_ms: 0,
            metadata: None,
            profile: None,
            peer_spelling: false,
        }
    }
}
