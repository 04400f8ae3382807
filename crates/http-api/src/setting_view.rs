//! Destinations and channels as JSON: in a row of a list, or whole as compiled.
//!
//! Texts are shown as written: a secret stands in them by its name alone.

use serde_json::{Map, Value, json};
use types::{Channel, Connector, Destination, HttpTarget, Notice, StatusRange};

/// What the gate promises about calls to a target.
pub(crate) fn promise(destination: &Destination) -> &'static str {
    match &destination.connector {
        Connector::Worker => {
            "worker orders: single use, 15 minutes; an order that nobody reports is in doubt"
        }
        Connector::Http(target) if target.honours_idempotency_key => {
            "at least once, with `Idempotency-Key: <intent id>`, the same on every attempt"
        }
        Connector::Http(_) => "at most once; doubt is shown",
    }
}

/// The word of the document; a worker's destination has none.
fn idempotency(destination: &Destination) -> Option<&'static str> {
    match &destination.connector {
        Connector::Worker => None,
        Connector::Http(target) if target.honours_idempotency_key => Some("header"),
        Connector::Http(_) => Some("none"),
    }
}

/// A destination in a list.
pub(crate) fn destination_row(destination: &Destination, version: u64) -> Value {
    let execute = destination.has_connector().then(|| destination.execute.name());
    json!({
        "name": destination.name,
        "kind": destination.connector.kind(),
        "execute": execute,
        "environment": destination.environment,
        "idempotency": idempotency(destination),
        "promise": promise(destination),
        "digest": destination.digest.to_string(),
        "version": version,
    })
}

/// What an approval sets off: who carries an intent out, when, and with what promise. The URL is
/// shown as written, with templates and the names of secrets.
pub(crate) fn carried_out_by(destination: &Destination) -> Value {
    let target = match &destination.connector {
        Connector::Http(target) => Some(target),
        Connector::Worker => None,
    };
    json!({
        "name": destination.name,
        "kind": destination.connector.kind(),
        "execute": target.map(|_| destination.execute.name()),
        "method": target.map(|target| target.method.as_str()),
        "url": target.map(|target| target.url.as_str()),
        "promise": promise(destination),
    })
}

/// A destination as compiled, every default filled in.
pub(crate) fn destination_compiled(destination: &Destination) -> Value {
    let mut shown = Map::new();
    shown.insert("kind".into(), json!(destination.connector.kind()));
    shown.insert("environment".into(), json!(destination.environment));
    if let Connector::Http(target) = &destination.connector {
        shown.insert("execute".into(), json!(destination.execute.name()));
        shown.insert("request".into(), request(target));
        shown.insert("idempotency".into(), json!(idempotency(destination)));
        shown.insert("success".into(), ranges(&target.success));
        shown.insert("failed_without_effect".into(), ranges(&target.failed_without_effect));
        shown.insert("concurrency".into(), json!(destination.concurrency));
    }
    Value::Object(shown)
}

fn request(target: &HttpTarget) -> Value {
    let headers: Map<String, Value> =
        target.headers.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    json!({
        "method": target.method,
        "url": target.url,
        "headers": headers,
        "body": target.body,
        "timeout_ms": target.timeout_ms,
    })
}

fn ranges(ranges: &[StatusRange]) -> Value {
    let shown = |range: &StatusRange| match range.first == range.last {
        true => json!(range.first),
        false => json!(format!("{}-{}", range.first, range.last)),
    };
    ranges.iter().map(shown).collect()
}

/// A channel in a list.
pub(crate) fn channel_row(channel: &Channel, version: u64) -> Value {
    let mut row = channel_compiled(channel);
    row["name"] = json!(channel.name);
    row["digest"] = json!(channel.digest.to_string());
    row["version"] = json!(version);
    row
}

/// A channel as compiled.
pub(crate) fn channel_compiled(channel: &Channel) -> Value {
    let events: Vec<&str> = channel.events.iter().copied().map(Notice::name).collect();
    json!({
        "kind": channel.kind.name(),
        "url": channel.url,
        "signed": channel.secret.is_some(),
        "events": events,
        "resources": channel.resources,
    })
}
