//! Lists of rules: which key is a rule, which comes later, and how much they may compile to.
//!
//! Every key of the vocabulary is known. One whose feature comes later loads with a warning if
//! leaving it out allows nothing more than was asked; otherwise the document is refused.

use types::limits::STRING_BYTES_MAX;

use super::node::Node;
use super::report::{Report, Site};
use crate::rules::environments::{self, Overlay};
use crate::rules::{RULE_KEYS, options_of, parse_rule};
use crate::set::{Rule, RuleList};

/// Keys that are known and not rules: what becomes of each.
#[rustfmt::skip]
const OTHER_KEYS: [(&str, Other); 21] = [
    (environments::KEY, Other::Environments),
    // Leaving these out would allow more than was asked.
    ("budgets", Other::Refuse("budgets come later")),
    ("hold_during", Other::Refuse("freeze windows come later")),
    ("require_approval_when", Other::Refuse("expressions come later")),
    ("block_when", Other::Refuse("expressions come later")),
    ("require_approval_if_changes_over", Other::Refuse("comparing with the target comes later")),
    ("expires_after", Other::Refuse("expiry set by policy comes later; agents send `expiresIn`")),
    ("assurance", Other::Refuse("approval factors come later")),
    ("allowed_recipients", Other::Refuse("nothing checks recipients; use `field_checks`")),
    ("block_if_pii", Other::UnlessFalse("nothing detects personal data; use `block_if_terms`")),
    // Leaving these out allows nothing more.
    ("mode", Other::OneOf(&["enforce"], &["shadow"])),
    ("on_expiry", Other::OneOf(&["expire"], &["escalate"])),
    ("on_no_response", Other::OneOf(&["reject"], &["defer"])),
    ("approval_channel", Other::Warn("no channel is chosen by policy; every channel is told")),
    ("delivery", Other::Warn("`delivery` has no effect")),
    ("expiry_minutes", Other::Warn("`expiry_minutes` has no effect; agents send `expiresIn`")),
    ("id", Other::Warn("`id` has no effect; the file's stem is the id")),
    ("notes", Other::Warn("`notes` has no effect")),
    // Options that stand beside their rule; alone they say nothing.
    ("count", Other::Option),
    ("over", Other::Option),
    ("under", Other::Option),
];

enum Other {
    Environments,
    Refuse(&'static str),
    UnlessFalse(&'static str),
    Warn(&'static str),
    /// Values that mean what happens anyway, and values whose feature comes later.
    OneOf(&'static [&'static str], &'static [&'static str]),
    Option,
}

const THRESHOLDS: [(&str, &str); 2] =
    [("require_approval_over", "over"), ("auto_approve_under", "under")];

/// Reads rules from a list, a mapping or a bare name.
pub(super) fn read_list(
    node: &Node,
    document: u32,
    place: &Node,
    site: Site,
    report: &mut Report<'_>,
) -> RuleList {
    let mut draft = Draft::default();
    draft.read_all(node, site, report);
    let mut list =
        RuleList { document, line: place.line, rules: draft.read.rules, environments: vec![] };
    let sizes: Vec<usize> = list.rules.iter().map(size).collect();
    if report.compiles(place, sizes.iter().sum()).is_none() {
        return list;
    }
    for overlay in draft.overlays {
        // Counted before they are copied.
        let laid_over: usize = overlay.rules().iter().map(size).sum();
        let both = list.rules.iter().zip(&sizes);
        let kept: usize = both.filter(|(rule, _)| overlay.keeps(rule)).map(|(_, size)| size).sum();
        if report.compiles(&overlay.place, laid_over + kept).is_none() {
            break;
        }
        let mut environment = overlay.over(&list.rules);
        sort_steps(&mut environment.rules, site);
        list.environments.push(environment);
    }
    sort_steps(&mut list.rules, site);
    list
}

/// Bytes of a rule in the compiled form, its line aside.
fn size(rule: &Rule) -> usize {
    types::codec::encode(&rule.kind).len()
}

/// A named policy is heard step by step, whatever the order of its keys.
fn sort_steps(rules: &mut [Rule], site: Site) {
    if site.named {
        rules.sort_by_key(|rule| rule.kind.step().unwrap_or(u8::MAX));
    }
}

#[derive(Default)]
struct Draft {
    read: environments::Draft,
    overlays: Vec<Overlay>,
    inside_overlay: bool,
}

impl Draft {
    fn read_all(&mut self, node: &Node, site: Site, report: &mut Report<'_>) {
        if let Some(items) = node.list() {
            for item in items {
                self.read_item(item, site, report);
            }
        } else {
            self.read_item(node, site, report);
        }
    }

    fn read_item(&mut self, item: &Node, site: Site, report: &mut Report<'_>) {
        if let Some(members) = item.map() {
            let mut used = vec![false; members.len()];
            for (index, (key, value)) in members.iter().enumerate() {
                let Some(name) = report.key(key) else {
                    continue;
                };
                if RULE_KEYS.contains(&name) {
                    let value = gather(members, index, name, value, &mut used);
                    self.read_rule(key, name, &value, site, report);
                }
            }
            for (index, (key, value)) in members.iter().enumerate() {
                let name = key.text().or_else(|| key.number());
                // A longer one was told of above.
                let name = name.filter(|name| name.len() <= STRING_BYTES_MAX);
                let name = name.filter(|name| !RULE_KEYS.contains(name));
                if let Some(name) = name.filter(|_| !used[index]) {
                    self.read_other(key, name, value, site, report);
                }
            }
        } else if let Some(name) = item.text() {
            self.read_bare(item, name, site, report);
        } else {
            report.error(item, &format!("expected a rule, found {}", item.kind()));
        }
    }

    fn read_bare(&mut self, item: &Node, name: &str, site: Site, report: &mut Report<'_>) {
        if !RULE_KEYS.contains(&name) {
            report.unknown_key(item, name, &known_keys());
            return;
        }
        let nothing = Node::null_at(item);
        self.read_rule(item, name, &nothing, site, report);
    }

    fn read_rule(
        &mut self,
        key: &Node,
        name: &str,
        value: &Node,
        site: Site,
        report: &mut Report<'_>,
    ) {
        if self.inside_overlay && environments::refuses(key, name, report) {
            return;
        }
        self.read.keys.push(name.to_owned());
        if let Some(kind) = parse_rule(name, value, site, report) {
            self.read.rules.push(Rule { line: key.line, kind });
        }
    }

    fn read_other(
        &mut self,
        key: &Node,
        name: &str,
        value: &Node,
        site: Site,
        report: &mut Report<'_>,
    ) {
        let known = OTHER_KEYS.iter().find(|(known, _)| *known == name);
        match known.map(|(_, other)| other) {
            None | Some(Other::Option) => report.unknown_key(key, name, &known_keys()),
            Some(Other::Environments) => self.read_environments(key, value, site, report),
            Some(Other::Refuse(why)) => report.error(key, &format!("`{name}`: {why}")),
            Some(Other::UnlessFalse(why)) => match value.flag() {
                Some(false) => report.warn(key, &format!("`{name}: false` has no effect")),
                _ => report.error(key, &format!("`{name}`: {why}")),
            },
            Some(Other::Warn(why)) => report.warn(key, why),
            Some(Other::OneOf(meant, later)) => read_word(name, value, meant, later, report),
        }
    }

    fn read_environments(&mut self, key: &Node, value: &Node, site: Site, report: &mut Report<'_>) {
        if self.inside_overlay {
            environments::refuse_nested(key, report);
            return;
        }
        environments::parse(value, &mut self.overlays, report, |overlay, report| {
            let mut draft = Self { inside_overlay: true, ..Self::default() };
            draft.read_all(overlay, site, report);
            draft.read
        });
    }
}

/// The value of a rule together with options that were written beside it: `idempotency_key:` with
/// its options at the same depth, or `count:` beside a threshold.
fn gather(
    members: &[(Node, Node)],
    index: usize,
    name: &str,
    value: &Node,
    used: &mut [bool],
) -> Node {
    let threshold = THRESHOLDS.iter().find(|(rule, _)| *rule == name).map(|(_, limit)| *limit);
    let options: &[&str] = match threshold {
        Some(_) if value.number().is_some() => &["count"],
        None if value.is_null() => options_of(name),
        _ => &[],
    };
    let mut found = Vec::new();
    for (at, (key, option)) in members.iter().enumerate() {
        let wanted = key.text().is_some_and(|key| options.contains(&key));
        // One `count` serves both thresholds of a policy; other options belong to one rule.
        if wanted && at != index && (threshold.is_some() || !used[at]) {
            used[at] = true;
            found.push((key.clone(), option.clone()));
        }
    }
    if found.is_empty() {
        return value.clone();
    }
    if let Some(limit) = threshold {
        found.push((Node::text_at(value, limit), value.clone()));
    }
    Node::mapping_at(value, found)
}

fn read_word(name: &str, value: &Node, meant: &[&str], later: &[&str], report: &mut Report<'_>) {
    let word = value.text().unwrap_or_default();
    if meant.contains(&word) {
        return;
    }
    if later.contains(&word) {
        let message = format!("`{name}: {word}` comes later; it acts as `{}`", meant.join(""));
        report.warn(value, &message);
    } else if word == "auto_approve_if_low_risk" {
        report.error(value, "a time-out never approves; write `reject`");
    } else {
        let valid: Vec<&str> = meant.iter().chain(later).copied().collect();
        let message = format!("`{name}` is {}", valid.join(" or "));
        match super::problem::nearest(word, &valid) {
            Some(near) => report.error_near(value, &message, near),
            None => report.error(value, &message),
        }
    }
}

fn known_keys() -> Vec<&'static str> {
    let others = OTHER_KEYS.iter().filter(|(_, other)| !matches!(other, Other::Option));
    RULE_KEYS.into_iter().chain(others.map(|(key, _)| *key)).chain(["gates", "gate"]).collect()
}
