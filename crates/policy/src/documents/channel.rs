//! The document of a channel: who is told of what, and where.
//!
//! Invariant: what signs a notice is a reference, so that no document shows a secret.

use types::limits::LIST_ITEMS_MAX;
use types::{ChannelKind, Notice};

use super::{key_node, resource_fault, secret, url};
use crate::compile::{Node, Report};

const KEYS: [&str; 5] = ["kind", "url", "secret", "events", "resources"];

/// What a document says.
pub(super) struct Parts {
    pub(super) kind: ChannelKind,
    pub(super) url: String,
    pub(super) secret: Option<String>,
    pub(super) events: Vec<Notice>,
    pub(super) resources: Vec<String>,
}

/// Reads a document from its tree; all its problems are reported.
pub(super) fn read(root: &Node, report: &mut Report<'_>) -> Option<Parts> {
    let fields = report.fields(root, &KEYS)?;
    let kind = report.required(root, &fields, "kind").and_then(|node| read_kind(node, report));
    let url = report.required(root, &fields, "url").and_then(|node| read_url(node, report));
    let secret = fields.get("secret").and_then(|node| read_secret(node, report));
    if let (Some(ChannelKind::Slack), Some(key)) = (kind, key_node(root, "secret")) {
        report.error(key, "a slack channel has no `secret`: its url is the secret");
    }
    let events = report.required(root, &fields, "events");
    let events = events.and_then(|node| read_events(node, report));
    let resources = fields.get("resources").and_then(|node| read_resources(node, report));
    Some(Parts {
        kind: kind?,
        url: url?,
        secret,
        events: events?,
        resources: resources.unwrap_or_default(),
    })
}

fn read_kind(node: &Node, report: &mut Report<'_>) -> Option<ChannelKind> {
    let kinds = [ChannelKind::Webhook, ChannelKind::Slack];
    let word = report.word(node, "kind", &kinds.map(ChannelKind::name))?;
    kinds.into_iter().find(|kind| kind.name() == word)
}

fn read_url(node: &Node, report: &mut Report<'_>) -> Option<String> {
    let text = report.text(node)?;
    if secret::is_reference(&text) {
        return Some(text);
    }
    let template = || {
        let message = "a channel's url is no template; it may hold `${secret:NAME}`";
        url::has_template(&text).then(|| message.to_owned())
    };
    if let Some(fault) = secret::fault(&text).or_else(template).or_else(|| url::fault(&text)) {
        report.error(node, &fault);
        return None;
    }
    Some(text)
}

fn read_secret(node: &Node, report: &mut Report<'_>) -> Option<String> {
    let text = report.text(node)?;
    if !secret::is_reference(&text) {
        let fault = secret::fault(&text).unwrap_or_else(|| {
            "documents hold no secrets; write `${secret:NAME}` and declare NAME on each node".into()
        });
        report.error(node, &fault);
        return None;
    }
    Some(text)
}

fn read_events(node: &Node, report: &mut Report<'_>) -> Option<Vec<Notice>> {
    let Some(items) = node.list() else {
        let message = format!("expected a list of events, found {}", node.kind());
        report.error(node, &message);
        return None;
    };
    if items.is_empty() {
        report.error(node, "a channel that is told of nothing is of no use; name an event");
        return None;
    }
    // Repeats are refused, so a longer list has problems enough.
    let mut events = Vec::new();
    for item in items.iter().take(LIST_ITEMS_MAX) {
        let Some(word) = report.word(item, "events", &Notice::ALL.map(Notice::name)) else {
            continue;
        };
        let found = Notice::ALL.into_iter().find(|notice| notice.name() == word);
        match found {
            Some(notice) if !events.contains(&notice) => events.push(notice),
            _ => report.error(item, &format!("`{word}` stands here twice")),
        }
    }
    Some(events)
}

fn read_resources(node: &Node, report: &mut Report<'_>) -> Option<Vec<String>> {
    let patterns = report.text_list(node)?;
    for (pattern, item) in patterns.iter().zip(node.list().unwrap_or_default()) {
        if let Some(fault) = resource_fault(pattern) {
            report.error(item, &fault);
        }
    }
    Some(patterns)
}
