//! `environments`: rules laid over the rules beside them, where an intent belongs to the named
//! environment.
//!
//! Promise: an overlay replaces every rule whose key it names and keeps the rest; it never works in
//! silence.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::Saying;
use crate::set::Environment;
use types::Outcome;

/// The key in a document.
pub(crate) const KEY: &str = "environments";

/// What is said wherever an overlay is in force: it may loosen, and an agent may have picked it.
pub(crate) fn judge(environment: &Environment) -> Saying {
    let message = format!("Environment '{}' is laid over these rules", environment.name);
    Saying::new(Outcome::Allow, message)
}

#[cfg(feature = "parse")]
mod parse {
    use super::{Environment, KEY, String, Vec, format};
    use crate::compile::{Node, Report};
    use crate::set::Rule;
    use types::limits::ENVIRONMENTS_MAX;

    /// Keys whose meaning does not depend on where an intent belongs.
    const REFUSED: [&str; 3] = ["destinations", "allowed_types", "require_profile"];

    /// Rules of one list as they were read.
    #[derive(Default)]
    pub(crate) struct Draft {
        pub(crate) rules: Vec<Rule>,
        /// Every rule key seen, also those that switched their rule off.
        pub(crate) keys: Vec<String>,
    }

    /// What one environment lays over.
    pub(crate) struct Overlay {
        name: String,
        pub(crate) place: Node,
        draft: Draft,
    }

    /// Whether this rule stands in the base alone; told if so.
    pub(crate) fn refuses(key: &Node, name: &str, report: &mut Report<'_>) -> bool {
        let refused = REFUSED.contains(&name);
        if refused {
            let message = format!("an environment cannot change `{name}`; write it in the base");
            report.error(key, &message);
        }
        refused
    }

    /// Tells that environments stand inside an environment.
    pub(crate) fn refuse_nested(key: &Node, report: &mut Report<'_>) {
        report.error(key, &format!("an environment cannot contain {KEY}"));
    }

    /// Adds what `value` lays over to `overlays`; `read` reads the rules of one of them.
    pub(crate) fn parse(
        value: &Node,
        overlays: &mut Vec<Overlay>,
        report: &mut Report<'_>,
        mut read: impl FnMut(&Node, &mut Report<'_>) -> Draft,
    ) {
        let Some(members) = value.map() else {
            let kind = value.kind();
            report.error(value, &format!("expected a mapping of {KEY}, found {kind}"));
            return;
        };
        for (name, rules) in members {
            let Some(text) = report.key(name) else {
                continue;
            };
            let draft = read(rules, report);
            if overlays.iter().any(|other| other.name == text) {
                report.error(name, &format!("environment `{text}` stands here twice"));
            }
            if overlays.len() == ENVIRONMENTS_MAX {
                report.error(name, &format!("more than {ENVIRONMENTS_MAX} {KEY}"));
                return;
            }
            overlays.push(Overlay { name: text.into(), place: Node::null_at(name), draft });
        }
    }

    impl Overlay {
        /// Whether a rule of the base stays in force.
        pub(crate) fn keeps(&self, rule: &Rule) -> bool {
            !self.draft.keys.iter().any(|key| key == rule.kind.key())
        }

        /// The rules it lays over.
        pub(crate) fn rules(&self) -> &[Rule] {
            &self.draft.rules
        }

        /// The whole list of its environment.
        pub(crate) fn over(self, base: &[Rule]) -> Environment {
            let kept: Vec<Rule> = base.iter().filter(|rule| self.keeps(rule)).cloned().collect();
            let rules = kept.into_iter().chain(self.draft.rules).collect();
            Environment { name: self.name, line: self.place.line, rules }
        }
    }
}

#[cfg(feature = "parse")]
pub(crate) use parse::{Draft, Overlay, parse, refuse_nested, refuses};

#[cfg(all(test, feature = "parse"))]
mod tests {
    use types::Outcome::{Allow, Hold};

    use crate::common::{Ask, MapWorld, compiled, gate, judged, refused};

    #[test]
    fn it_is_a_mapping_of_rules_one_level_deep() {
        refused(&[
            ("environments: [prod]\n", "1:15: expected a mapping of environments, found a list"),
            (
                "environments: {prod: {destinations: [a]}}\n",
                "1:23: an environment cannot change `destinations`; write it in the base",
            ),
            (
                "environments: {prod: {environments: {dev: {}}}}\n",
                "1:23: an environment cannot contain environments",
            ),
            ("environments: {prod: {}, prod: {}}\n", "1:26: the key `prod` stands here twice"),
        ]);
    }

    #[test]
    fn it_replaces_the_rules_it_names_and_keeps_the_rest() {
        let text = "require_approval_over: 5\nblock_if_terms: [a]\nenvironments:\n  \
                    dev: {require_approval_over: 9, require_approvals: 2}\n  prod: {}\n";
        let list = &compiled(&[("p.yaml", text)]).set.named[0].rules;
        let found = list.environments.iter().map(|environment| {
            let keys = environment.rules.iter().map(|rule| (rule.kind.key(), rule.line)).collect();
            (environment.name.as_str(), environment.line, keys)
        });
        let base = vec![("block_if_terms", 2), ("require_approval_over", 1)];
        let laid_over =
            vec![("block_if_terms", 2), ("require_approval_over", 4), ("require_approvals", 4)];
        assert_eq!(found.collect::<Vec<_>>(), [("dev", 4, laid_over), ("prod", 5, base)]);
    }

    #[test]
    fn environments_lie_over_the_base_and_never_in_silence() {
        let engine = gate(
            "require_approval_over: 1, {environments: {prod: {require_approval_over: 0}, \
             dev: [{require_approval_over: 9}, {block_if_terms: [secret]}]}}",
        );
        let two = "{\"a\":[{},{}]}";
        let cases = [
            (None, None, Hold),
            (Some("prod"), None, Hold),
            (Some("dev"), None, Allow),
            (Some("unknown"), None, Hold),
            (Some("dev"), Some("prod"), Hold),
            (None, Some("dev"), Allow),
        ];
        for (sent, declared, expected) in cases {
            let mut ask = Ask::to("r").text(two);
            if let Some(sent) = sent {
                ask = ask.metadata(&format!("{{\"environment\":\"{sent}\"}}"));
            }
            let facts = engine.facts_in(&ask.subject(), declared);
            let judgement = judged(&facts, &engine, &MapWorld::default());
            assert_eq!(judgement.outcome, expected, "{sent:?} {declared:?}");
            let overlay = declared.or(sent).filter(|name| *name != "unknown");
            let named = judgement.reasons.iter().any(|reason| reason.rule == "environments");
            assert_eq!(named, overlay.is_some(), "{sent:?} {declared:?}");
        }
    }
}
