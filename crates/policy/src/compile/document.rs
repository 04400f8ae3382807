//! Documents: the two shapes, told apart by a top-level `gates` or `gate`.

use types::limits::APPROVALS_MAX;

use super::node::Node;
use super::report::{Report, Site};
use super::rules::read_list;
use crate::set::{DocumentKind, Gate, NamedPolicy, ResourceEntry, RuleList};

/// What one document holds, with the places of its names.
#[derive(Default)]
pub(super) struct Contents {
    pub(super) gates: Vec<(Gate, Node)>,
    pub(super) resources: Vec<(ResourceEntry, Node)>,
    pub(super) default_policy: Option<(RuleList, Node)>,
    pub(super) named: Option<NamedPolicy>,
    /// With the index of the document.
    pub(super) unfreeze_persons: Option<(u32, u32, Node)>,
}

impl Contents {
    pub(super) fn kind(&self) -> DocumentKind {
        if self.named.is_some() { DocumentKind::Policy } else { DocumentKind::Gates }
    }
}

const IN_GATE: Site = Site { named: false };
const IN_POLICY: Site = Site { named: true };

/// Reads a document from its tree.
pub(super) fn read(root: &Node, id: &str, document: u32, report: &mut Report<'_>) -> Contents {
    let mut contents = Contents::default();
    let Some(members) = root.map() else {
        let message = if root.is_null() {
            "the document is empty".to_owned()
        } else {
            format!("expected a mapping at the top, found {}", root.kind())
        };
        report.error(root, &message);
        return contents;
    };
    let is_gates = |(key, _): &(Node, Node)| matches!(key.text(), Some("gates" | "gate"));
    if !members.iter().any(is_gates) {
        let rules = read_list(root, document, root, IN_POLICY, report);
        contents.named = Some(NamedPolicy { id: id.to_owned(), rules });
        return contents;
    }
    if let Some(fields) = report.fields(root, &["gates", "gate"]) {
        if let Some(gates) = fields.get("gates") {
            read_gates(gates, document, &mut contents, report);
        }
        if let Some(gate) = fields.get("gate") {
            read_configuration(gate, document, &mut contents, report);
        }
    }
    contents
}

fn read_gates(node: &Node, document: u32, contents: &mut Contents, report: &mut Report<'_>) {
    let Some(items) = node.list() else {
        report.error(node, &format!("expected a list of gates, found {}", node.kind()));
        return;
    };
    if items.is_empty() {
        report.warn(node, "no gates: nothing is covered here");
    }
    for item in items {
        if let Some(gate) = read_gate(item, document, report) {
            contents.gates.push(gate);
        }
    }
}

fn read_gate(node: &Node, document: u32, report: &mut Report<'_>) -> Option<(Gate, Node)> {
    let fields = report.fields(node, &["name", "trigger", "resource", "policies"])?;
    let name_node = report.required(node, &fields, "name")?;
    let name = report.text(name_node)?;
    let trigger = match fields.get("trigger") {
        Some(trigger) => Some(report.text(trigger)?),
        None => None,
    };
    let resource = match fields.get("resource") {
        Some(resource) => report.text(resource)?,
        None => {
            report.error(node, "`resource` is missing; `\"*\"` means any");
            return None;
        }
    };
    let policies = report.required(node, &fields, "policies")?;
    let rules = read_rules(policies, document, node, report);
    Some((Gate { name, trigger, resource, rules }, name_node.clone()))
}

fn read_rules(policies: &Node, document: u32, place: &Node, report: &mut Report<'_>) -> RuleList {
    let empty_list = policies.list().is_some_and(<[Node]>::is_empty);
    if empty_list || policies.map().is_some_and(<[(Node, Node)]>::is_empty) {
        let message = "no rules: everything that matches would be allowed; where that is meant, \
                       say up to what size, such as `require_approval_over: 100000`";
        report.error(policies, message);
    }
    let before = report.problems.len();
    let rules = read_list(policies, document, place, IN_GATE, report);
    if rules.rules.is_empty() && report.problems.len() == before {
        report.warn(place, "no rule is in force: everything that matches is allowed");
    }
    rules
}

/// The `gate:` form. Endpoint and key are the client's: checked for shape, never kept.
fn read_configuration(
    node: &Node,
    document: u32,
    contents: &mut Contents,
    report: &mut Report<'_>,
) {
    let known = ["endpoint", "api_key", "default_policy", "freeze", "resources"];
    let Some(fields) = report.fields(node, &known) else {
        return;
    };
    for client_side in ["endpoint", "api_key"] {
        if let Some(value) = fields.get(client_side) {
            let _ = report.text(value);
        }
    }
    if let Some(value) = fields.get("default_policy") {
        let rules = read_entry(value, document, value, report);
        contents.default_policy = Some((rules, value.clone()));
    }
    if let Some(value) = fields.get("freeze") {
        contents.unfreeze_persons =
            read_freeze(value, report).map(|persons| (persons, document, value.clone()));
    }
    let Some(resources) = fields.get("resources") else {
        return;
    };
    let Some(members) = resources.map() else {
        let kind = resources.kind();
        report.error(resources, &format!("expected a mapping of resources, found {kind}"));
        return;
    };
    for (key, value) in members {
        let Some(name) = report.key(key) else {
            continue;
        };
        let rules = read_entry(value, document, key, report);
        let entry = ResourceEntry { resource: name.to_owned(), rules };
        contents.resources.push((entry, key.clone()));
    }
}

/// What freezes of the namespace are held to.
fn read_freeze(node: &Node, report: &mut Report<'_>) -> Option<u32> {
    let fields = report.fields(node, &["persons_to_unfreeze"])?;
    let value = report.required(node, &fields, "persons_to_unfreeze")?;
    let persons = report.whole_number(value, u64::from(APPROVALS_MAX))?;
    if persons == 0 {
        let message = format!("expected a whole number from 1 up to {APPROVALS_MAX}, found 0");
        report.error(value, &message);
        return None;
    }
    u32::try_from(persons).ok()
}

/// Rules below `policies:`, or written without it.
fn read_entry(value: &Node, document: u32, place: &Node, report: &mut Report<'_>) -> RuleList {
    let is_policies = |(key, _): &(Node, Node)| key.text() == Some("policies");
    let nested = value.map().is_some_and(|members| members.iter().any(is_policies));
    if !nested {
        return read_rules(value, document, place, report);
    }
    match report.fields(value, &["policies"]).and_then(|fields| fields.get("policies")) {
        Some(policies) => read_rules(policies, document, place, report),
        None => RuleList { document, line: place.line, rules: vec![], environments: vec![] },
    }
}
