//! The document of a destination: how an allowed intent is carried out at one target.
//!
//! Invariant: no status means both done and not done.

use types::limits::{
    CONNECTOR_TIMEOUT_MS_DEFAULT, CONNECTOR_TIMEOUT_MS_MAX, DESTINATION_CONCURRENCY_DEFAULT,
    DESTINATION_CONCURRENCY_MAX, ENVIRONMENT_CHARS_MAX, LIST_ITEMS_MAX,
};
use types::{Connector, ExecuteWhen, HttpTarget, StatusRange};

use super::{is_word, key_node, secret, url};
use crate::compile::{Fields, Node, Report};

const KEYS: [&str; 8] = [
    "kind",
    "execute",
    "environment",
    "request",
    "idempotency",
    "success",
    "failed_without_effect",
    "concurrency",
];
/// Keys that say how the gate itself calls.
const OF_CONNECTORS: [&str; 6] =
    ["execute", "request", "idempotency", "success", "failed_without_effect", "concurrency"];
const LATER_KINDS: [&str; 3] = ["rest", "postgres", "smtp"];
/// Headers that the gate, or the protocol, sets.
const OWN_HEADERS: [&str; 8] = [
    "idempotency-key",
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "upgrade",
    "te",
    "trailer",
];
const PAYLOAD: &str = "{{ payload }}";
const SUCCESS_DEFAULT: StatusRange = StatusRange { first: 200, last: 299 };

/// What a document says.
pub(super) struct Parts {
    pub(super) environment: Option<String>,
    pub(super) connector: Connector,
    pub(super) execute: ExecuteWhen,
    pub(super) concurrency: u16,
}

/// Reads a document from its tree; all its problems are reported.
pub(super) fn read(root: &Node, report: &mut Report<'_>) -> Option<Parts> {
    let fields = report.fields(root, &KEYS)?;
    let environment = fields.get("environment").and_then(|node| read_environment(node, report));
    let kind = report.required(root, &fields, "kind").and_then(|node| read_kind(node, report));
    if kind? == "worker" {
        refuse_call(root, report);
        return Some(Parts {
            environment,
            connector: Connector::Worker,
            execute: ExecuteWhen::OnRequest,
            concurrency: DESTINATION_CONCURRENCY_DEFAULT,
        });
    }
    let execute = fields.get("execute").and_then(|node| read_execute(node, report));
    let concurrency = fields.get("concurrency").and_then(|node| read_concurrency(node, report));
    let target = read_target(root, &fields, report);
    Some(Parts {
        environment,
        connector: Connector::Http(Box::new(target?)),
        execute: execute.unwrap_or(ExecuteWhen::OnApproval),
        concurrency: concurrency.unwrap_or(DESTINATION_CONCURRENCY_DEFAULT),
    })
}

fn read_kind(node: &Node, report: &mut Report<'_>) -> Option<&'static str> {
    let later = node.text().filter(|kind| LATER_KINDS.contains(kind));
    if let Some(kind) = later {
        let message = format!("kind `{kind}` is not built in yet; use http or worker");
        report.error(node, &message);
        return None;
    }
    report.word(node, "kind", &["http", "worker"])
}

fn refuse_call(root: &Node, report: &mut Report<'_>) {
    for name in OF_CONNECTORS {
        if let Some(key) = key_node(root, name) {
            report.error(key, &format!("a worker's destination has no `{name}`"));
        }
    }
}

fn read_environment(node: &Node, report: &mut Report<'_>) -> Option<String> {
    let text = report.text(node)?;
    if !is_word(&text, ENVIRONMENT_CHARS_MAX) {
        let message = format!(
            "an environment is one word of letters, digits, `.`, `_` and `-`, at most \
             {ENVIRONMENT_CHARS_MAX}"
        );
        report.error(node, &message);
        return None;
    }
    Some(text)
}

fn read_execute(node: &Node, report: &mut Report<'_>) -> Option<ExecuteWhen> {
    let choices = [ExecuteWhen::OnApproval, ExecuteWhen::OnRequest];
    let word = report.word(node, "execute", &choices.map(ExecuteWhen::name))?;
    choices.into_iter().find(|choice| choice.name() == word)
}

fn read_concurrency(node: &Node, report: &mut Report<'_>) -> Option<u16> {
    let max = u64::from(DESTINATION_CONCURRENCY_MAX);
    let number = report.whole_number(node, max)?;
    if number == 0 {
        let message = format!("expected a whole number from 1 up to {max}, found 0");
        report.error(node, &message);
        return None;
    }
    u16::try_from(number).ok()
}

/// All of the target's keys are looked at, so that every problem is reported at once.
fn read_target(root: &Node, fields: &Fields<'_>, report: &mut Report<'_>) -> Option<HttpTarget> {
    let idempotency = fields.get("idempotency");
    let words = ["header", "none"];
    let repeats = idempotency.and_then(|node| report.word(node, "idempotency", &words));
    let success = fields.get("success").and_then(|node| read_success(node, report));
    let failed = fields.get("failed_without_effect").and_then(|node| read_statuses(node, report));
    let (success, failed) = (success.unwrap_or_default(), failed.unwrap_or_default());
    if fields.get("success").is_none() || !success.is_empty() {
        refuse_overlap(&success, &failed, report);
    }
    let request = report.required(root, fields, "request")?;
    let request_fields =
        report.fields(request, &["method", "url", "headers", "body", "timeout"])?;
    let method = match request_fields.get("method") {
        Some(node) => read_method(node, report),
        None => Some("POST".into()),
    };
    let url = report.required(request, &request_fields, "url");
    let url = url.and_then(|node| read_url(node, report));
    let headers = request_fields.get("headers").map(|node| read_headers(node, report));
    let timeout_ms = request_fields.get("timeout").and_then(|node| read_timeout(node, report));
    let body = request_fields.get("body").map(|node| read_body(node, report));
    let method = method?;
    let sends_payload = matches!(method.as_str(), "POST" | "PUT" | "PATCH");
    let plain = |listed: Vec<(StatusRange, &Node)>| -> Vec<StatusRange> {
        listed.into_iter().map(|(range, _)| range).collect()
    };
    let success = plain(success);
    Some(HttpTarget {
        method,
        url: url?,
        headers: headers.unwrap_or_default(),
        body: body.unwrap_or_else(|| sends_payload.then(|| PAYLOAD.into())),
        timeout_ms: timeout_ms.unwrap_or(CONNECTOR_TIMEOUT_MS_DEFAULT),
        honours_idempotency_key: repeats == Some("header"),
        success: if success.is_empty() { vec![SUCCESS_DEFAULT] } else { success },
        failed_without_effect: plain(failed),
    })
}

/// What a header's name and a method are made of.
fn is_token(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(allowed)
}

fn read_method(node: &Node, report: &mut Report<'_>) -> Option<String> {
    let text = report.text(node)?;
    if !is_token(&text) {
        report.error(node, "a method is one word such as `POST`");
        return None;
    }
    Some(text.to_ascii_uppercase())
}

fn read_url(node: &Node, report: &mut Report<'_>) -> Option<String> {
    let text = report.text(node)?;
    if let Some(fault) = secret::fault(&text).or_else(|| url::fault(&text)) {
        report.error(node, &fault);
        return None;
    }
    Some(text)
}

fn read_headers(node: &Node, report: &mut Report<'_>) -> Vec<(String, String)> {
    let mut headers: Vec<(String, String)> = Vec::new();
    let Some(members) = node.map() else {
        let message = format!("expected a mapping of headers, found {}", node.kind());
        report.error(node, &message);
        return headers;
    };
    if members.len() > LIST_ITEMS_MAX {
        report.error(node, &format!("more than {LIST_ITEMS_MAX} headers"));
        return headers;
    }
    for (key, value) in members {
        let Some(name) = report.key(key) else {
            continue;
        };
        let twice = headers.iter().any(|(earlier, _)| earlier.eq_ignore_ascii_case(name));
        if let Some(fault) = header_fault(name, twice) {
            report.error(key, &fault);
            continue;
        }
        let Some(text) = report.text(value) else {
            continue;
        };
        if let Some(fault) = header_value_fault(&text) {
            report.error(value, &fault);
        }
        headers.push((name.to_owned(), text));
    }
    headers
}

fn header_fault(name: &str, twice: bool) -> Option<String> {
    if !is_token(name) {
        return Some("a header's name has letters, digits and `-`, no blanks".into());
    }
    let lower = name.to_ascii_lowercase();
    if lower.starts_with("gate-") || OWN_HEADERS.contains(&lower.as_str()) {
        return Some(format!("`{name}` is set by the gate itself; leave it out"));
    }
    twice.then(|| format!("the header `{name}` stands here twice"))
}

fn header_value_fault(value: &str) -> Option<String> {
    if !value.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return Some("a header's value is one line of printable ASCII".into());
    }
    secret::fault(value)
}

/// `null` sends no body.
fn read_body(node: &Node, report: &mut Report<'_>) -> Option<String> {
    if node.is_null() {
        return None;
    }
    // The document's own limit is the body's: 4 KiB would be short for a template.
    let Some(text) = node.text().or_else(|| node.number()) else {
        let message = format!("expected a template as text, found {}", node.kind());
        report.error(node, &message);
        return None;
    };
    let empty = "expected text, found empty text; `null` sends no body";
    let fault = if text.is_empty() { Some(empty.to_owned()) } else { secret::fault(text) };
    if let Some(fault) = fault {
        report.error(node, &fault);
    }
    Some(text.to_owned())
}

fn read_timeout(node: &Node, report: &mut Report<'_>) -> Option<u32> {
    let text = report.text(node)?;
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let unit_ms = match &text[digits..] {
        "ms" => Some(1),
        "s" => Some(1_000),
        "m" => Some(60_000),
        _ => None,
    };
    let Some(unit_ms) = unit_ms.filter(|_| digits > 0) else {
        let message = "a time is a whole number with its unit: `500ms`, `10s` or `2m`";
        report.error(node, message);
        return None;
    };
    let number = text[..digits].parse::<u32>().ok();
    let timeout_ms = number.and_then(|number| number.checked_mul(unit_ms));
    let timeout_ms = timeout_ms.filter(|found| (1..=CONNECTOR_TIMEOUT_MS_MAX).contains(found));
    if timeout_ms.is_none() {
        let seconds = CONNECTOR_TIMEOUT_MS_MAX / 1_000;
        report.error(node, &format!("a time-out is from 1ms up to {seconds}s, found {text}"));
    }
    timeout_ms
}

fn read_success<'n>(
    node: &'n Node,
    report: &mut Report<'_>,
) -> Option<Vec<(StatusRange, &'n Node)>> {
    if node.list().is_some_and(<[Node]>::is_empty) {
        report.error(node, "no status would mean done; leave `success` out for 200-299");
        return None;
    }
    read_statuses(node, report)
}

/// A list of statuses and ranges of them, with their places.
fn read_statuses<'n>(
    node: &'n Node,
    report: &mut Report<'_>,
) -> Option<Vec<(StatusRange, &'n Node)>> {
    let Some(items) = node.list() else {
        let message = format!("expected a list of statuses, found {}", node.kind());
        report.error(node, &message);
        return None;
    };
    if items.len() > LIST_ITEMS_MAX {
        report.error(node, &format!("more than {LIST_ITEMS_MAX} entries"));
        return None;
    }
    let mut ranges = Vec::with_capacity(items.len());
    for item in items {
        if let Some(range) = read_range(item, report) {
            ranges.push((range, item));
        }
    }
    Some(ranges)
}

fn read_range(node: &Node, report: &mut Report<'_>) -> Option<StatusRange> {
    let text = report.text(node)?;
    let status = |text: &str| {
        let plain = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u16>().ok().filter(|status| plain && (100..=599).contains(status))
    };
    let (first, last) = text.split_once('-').unwrap_or((&text, &text));
    let range = status(first.trim_end()).zip(status(last.trim_start()));
    match range.filter(|(first, last)| first <= last) {
        Some((first, last)) => Some(StatusRange { first, last }),
        None => {
            let message = "expected a status from 100 to 599 or a range such as 200-299, found ";
            report.error(node, &format!("{message}{text}"));
            None
        }
    }
}

fn refuse_overlap(
    success: &[(StatusRange, &Node)],
    failed: &[(StatusRange, &Node)],
    report: &mut Report<'_>,
) {
    let meet =
        |one: StatusRange, other: StatusRange| one.first <= other.last && other.first <= one.last;
    for (range, place) in failed {
        let one = shown(*range);
        if success.is_empty() && meet(*range, SUCCESS_DEFAULT) {
            let default = shown(SUCCESS_DEFAULT);
            let message = format!("{one} cannot mean both: without `success` {default} mean done");
            report.error(place, &message);
        }
        let other = success.iter().find(|(done, _)| meet(*range, *done));
        if let Some((done, Node { line, column, .. })) = other {
            let other = shown(*done);
            let message = format!("{one} cannot mean both: {other} means done at {line}:{column}");
            report.error(place, &message);
        }
    }
}

fn shown(range: StatusRange) -> String {
    if range.first == range.last {
        return range.first.to_string();
    }
    format!("{}-{}", range.first, range.last)
}
