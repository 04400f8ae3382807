//! The connector for HTTP: one request for one intent.
//!
//! The request is rendered first and its secrets are filled in last, for the host that stands in
//! the document. Only what proves that nothing happened makes a call failed: it could not be made,
//! no connection came to stand, or the target answered with a status that its document lists. All
//! else that is no success is a doubt.
//! Invariant: a request is written at most once in one call; what is tried again was never written.

use std::time::Duration;

use outbound::{
    Client, OutboundAnswer, OutboundRequest, Redactor, SecretError, Secrets, SendError,
};
use percent_encoding::utf8_percent_encode;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use types::{Effect, HttpTarget, IntentId, LogIndex, StatusRange, destination, limits};

use crate::connectors::Outcome;
use crate::connectors::url::{Origin, encoding_after};
use crate::marks::{Marks, Piece};
use crate::material::{Material, context};
use crate::template::{self, Place};

/// What every request says of who sends it, unless its document says otherwise.
const USER_AGENT: &str = concat!("quorum-gate/", env!("CARGO_PKG_VERSION"));
/// Headers that are the gate's own, beside all that begin with `gate-`.
const OWN_HEADERS: [&str; 5] =
    ["idempotency-key", "host", "content-length", "transfer-encoding", "connection"];

/// One call: what to send where, and in whose name.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// The destination's request.
    pub target: &'a HttpTarget,
    /// Whose secrets may be used.
    pub namespace: &'a str,
    /// The intent that is carried out.
    pub intent: IntentId,
    /// The log index of the claim: the fencing token.
    pub fence: LogIndex,
    /// Which claim of the intent this is, from 1.
    pub attempt: u32,
    /// What the templates are filled from.
    pub material: &'a Material,
}

/// How long connections are tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Tries after the first one.
    pub tries_max: u32,
    /// No try begins later than this after the first.
    pub within: Duration,
    /// The first pause; each is twice as long as the one before.
    pub first_pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            tries_max: limits::CONNECT_TRIES_MAX,
            within: Duration::from_millis(limits::CONNECT_WITHIN_MS),
            first_pause: Duration::from_millis(500),
        }
    }
}

/// Whether a call is to be made. A closure is asked the same at both places.
pub trait Wanted: Send + Sync {
    /// Whether it still is; nothing of it was written.
    fn still(&self) -> bool;

    /// The same, right before it is written: it counts as begun if so.
    fn starts(&self) -> bool {
        self.still()
    }
}

impl<F: Fn() -> bool + Send + Sync> Wanted for F {
    fn still(&self) -> bool {
        self()
    }
}

/// Makes one call and says what it came to.
pub async fn call(client: &Client, secrets: &Secrets, call: &Call<'_>) -> Outcome {
    call_if(client, secrets, call, Patience::default(), &|| true).await
}

/// Makes one call if it is still wanted when its connection stands, right before it is written; if
/// not, it ends as [`Outcome::NotReady`]. Connections are tried again with patience.
pub async fn call_if(
    client: &Client,
    secrets: &Secrets,
    call: &Call<'_>,
    patience: Patience,
    wanted: &dyn Wanted,
) -> Outcome {
    let rendered = match Rendered::of(call) {
        Ok(rendered) => rendered,
        Err(why) => return failed(why),
    };
    let mut redactor = Redactor::new();
    let request = match rendered.reveal(call, secrets, &mut redactor).await {
        Ok(Ok(request)) => request,
        Ok(Err(why)) => return failed(redactor.text(&why)),
        Err(error) => {
            tracing::warn!(intent = %call.intent, %error, "a secret is not to be had");
            return Outcome::NotReady { why: error.code().into() };
        }
    };
    let result = send(client, &request, patience, wanted).await;
    if let Err(error) = &result {
        // Hosts and addresses are for this log alone: what is kept is shown to agents.
        let error = redactor.text(&error.to_string());
        tracing::info!(intent = %call.intent, attempt = call.attempt, error, "no answer");
    }
    outcome(call.target, result, &redactor)
}

/// Whether every secret of a target is to be had on this node now; nothing is sent.
///
/// # Errors
/// Which one is not, and why.
pub async fn ready(
    target: &HttpTarget,
    namespace: &str,
    secrets: &Secrets,
) -> Result<(), SecretError> {
    // What cannot be read fails when it is called.
    let Ok(origin) = Origin::of(&target.url) else { return Ok(()) };
    for name in texts(target).flat_map(destination::secret_names) {
        secrets.reveal(name, namespace, origin.host()).await?;
    }
    Ok(())
}

/// Looks at whether a target's secrets may go to the host that it names.
///
/// # Errors
/// Which one may not.
pub fn check_secrets(target: &HttpTarget, secrets: &Secrets) -> Result<(), String> {
    let origin = Origin::of(&target.url).map_err(|why| format!("request.url: {why}"))?;
    let mut checked = texts(target).map(|text| secrets.check_host(text, origin.host()));
    checked.find_map(Result::err).map_or(Ok(()), |error| Err(error.to_string()))
}

fn texts(target: &HttpTarget) -> impl Iterator<Item = &str> {
    let headers = target.headers.iter().map(|(_, value)| value.as_str());
    [target.url.as_str()].into_iter().chain(headers).chain(target.body.as_deref())
}

/// Looks at a target's templates as far as that goes without an intent.
///
/// # Errors
/// Which part is wrong, with what and in which line.
pub fn check(target: &HttpTarget) -> Result<(), String> {
    let mut marks = Marks::draw()?;
    let mut part = |name: &str, text: &str, place| {
        let hidden = marks.hide(text).and_then(|hidden| template::check(&hidden, place));
        hidden.map_err(|why| format!("{name}: {why}"))
    };
    part("request.url", &target.url, Place::Url)?;
    for (name, value) in &target.headers {
        part(&format!("request.headers.{name}"), value, Place::Header)?;
    }
    if let Some(body) = &target.body {
        part("request.body", body, Place::Body)?;
    }
    Origin::of(&target.url).map(|_| ()).map_err(|why| format!("request.url: {why}"))
}

/// A request with marks in place of its secrets.
struct Rendered {
    marks: Marks,
    origin: Origin,
    url: String,
    headers: Vec<(String, String)>,
    body: String,
}

impl Rendered {
    fn of(call: &Call<'_>) -> Result<Self, String> {
        let target = call.target;
        let context = context(call.material);
        let mut marks = Marks::draw()?;
        let mut part = |name: &str, text: &str, place| {
            let hidden = marks.hide(text);
            let rendered = hidden.and_then(|text| template::render(&text, place, &context));
            rendered.map_err(|why| format!("request.{name}: {why}"))
        };
        let in_url = |why| format!("request.url: {why}");
        let origin = Origin::of(&target.url).map_err(in_url)?;
        let url = part("url", &target.url, Place::Url)?;
        origin.check(&url).map_err(in_url)?;
        let mut headers = Vec::with_capacity(target.headers.len());
        for (name, value) in target.headers.iter().filter(|(name, _)| !is_own(name)) {
            let value = part(&format!("headers.{name}"), value, Place::Header)?;
            headers.push((name.clone(), value));
        }
        let body = part("body", target.body.as_deref().unwrap_or_default(), Place::Body)?;
        Ok(Self { marks, origin, url, headers, body })
    }

    /// The request with its secrets in it. The outer error is a secret that is not to be had, the
    /// inner one a request that its secrets make unfit.
    async fn reveal(
        self,
        call: &Call<'_>,
        secrets: &Secrets,
        redactor: &mut Redactor,
    ) -> Result<Result<OutboundRequest, String>, SecretError> {
        let host = self.origin.host();
        let mut filling =
            Filling { marks: &self.marks, secrets, namespace: call.namespace, host, redactor };
        let url = filling.fill(&self.url, Place::Url).await?;
        let mut headers = own_headers(call);
        if self.headers.iter().all(|(name, _)| !name.eq_ignore_ascii_case("user-agent")) {
            headers.push(("User-Agent".into(), USER_AGENT.into()));
        }
        for (name, value) in &self.headers {
            let value = filling.fill(value, Place::Header).await?;
            headers.push((name.clone(), value));
        }
        let body = filling.fill(&self.body, Place::Body).await?;
        if let Err(why) = self.origin.check(&url) {
            return Ok(Err(format!("request.url: {why}")));
        }
        let typed = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type"));
        if !typed && serde_json::from_str::<&RawValue>(&body).is_ok() {
            headers.push(("Content-Type".into(), "application/json".into()));
        }
        Ok(Ok(OutboundRequest {
            method: call.target.method.clone(),
            url,
            headers,
            body: body.into_bytes().into(),
            timeout: Duration::from_millis(u64::from(call.target.timeout_ms)),
        }))
    }
}

/// Puts secrets where their marks stand.
struct Filling<'a> {
    marks: &'a Marks,
    secrets: &'a Secrets,
    namespace: &'a str,
    host: &'a str,
    redactor: &'a mut Redactor,
}

impl Filling<'_> {
    async fn fill(&mut self, rendered: &str, place: Place) -> Result<String, SecretError> {
        let mut text = String::with_capacity(rendered.len());
        for piece in self.marks.split(rendered) {
            let name = match piece {
                Piece::Text(piece) => {
                    text.push_str(piece);
                    continue;
                }
                Piece::Secret(name) => name,
            };
            let secret = self.secrets.reveal(name, self.namespace, self.host).await?;
            self.redactor.learn(&secret);
            if place == Place::Url {
                let encoded = utf8_percent_encode(secret.expose(), encoding_after(&text));
                let encoded = encoded.to_string();
                text.push_str(&encoded);
            } else {
                text.push_str(secret.expose());
            }
        }
        Ok(text)
    }
}

/// Sends a request; tries again only where no connection came to stand.
async fn send(
    client: &Client,
    request: &OutboundRequest,
    patience: Patience,
    wanted: &dyn Wanted,
) -> Result<OutboundAnswer, SendError> {
    let begun = Instant::now();
    let mut tries = 0;
    loop {
        let result = client.send_if(request.clone(), &|| wanted.starts()).await;
        let Err(SendError::NotConnected { .. }) = result else { return result };
        if !wanted.still() {
            // It never was on the wire, so it is taken back rather than failed.
            return Err(outbound::NotSent::TakenBack.into());
        }
        let pause = pause(patience.first_pause, tries);
        if tries >= patience.tries_max || begun.elapsed() + pause > patience.within {
            return result;
        }
        tries += 1;
        sleep(pause).await;
        if !wanted.still() {
            return Err(outbound::NotSent::TakenBack.into());
        }
    }
}

/// Between half of the doubled pause and the whole of it, so that nodes do not come back in step.
fn pause(first: Duration, tries: u32) -> Duration {
    let mut byte = [0_u8; 1];
    // Without randomness the pause is the full one: slower, not wrong.
    let drawn = getrandom::fill(&mut byte).map_or(u8::MAX, |()| byte[0]);
    let whole = first.saturating_mul(1 << tries.min(10));
    whole / 2 + whole / 2 * u32::from(drawn) / u32::from(u8::MAX)
}

fn outcome(
    target: &HttpTarget,
    result: Result<OutboundAnswer, SendError>,
    redactor: &Redactor,
) -> Outcome {
    let answer = match result {
        Ok(answer) => answer,
        Err(SendError::NotSent(outbound::NotSent::TakenBack)) => {
            return Outcome::NotReady { why: "it was taken back before it was sent".into() };
        }
        Err(error @ (SendError::NotSent(_) | SendError::NotConnected { .. })) => {
            return failed(redactor.text(&error.public()));
        }
        Err(error @ SendError::Lost(_)) => {
            return Outcome::Doubt { why: short(redactor.text(&error.public())), answer: None };
        }
    };
    let status = answer.status;
    let listed = |ranges: &[StatusRange]| ranges.iter().any(|range| range.holds(status));
    let answer = shown(&answer, redactor);
    if listed(&target.success) {
        return Outcome::Succeeded { status, answer };
    }
    if listed(&target.failed_without_effect) {
        let why = format!("the target answered {status}, which says that nothing was done");
        return Outcome::Failed { effect: Effect::None, why, answer: Some(answer) };
    }
    let why = format!("the target answered {status}, which proves nothing");
    Outcome::Doubt { why, answer: Some(answer) }
}

/// What is kept of an answer.
fn shown(answer: &OutboundAnswer, redactor: &Redactor) -> Value {
    let text = redactor.body(&answer.body, answer.truncated);
    let whole = if answer.truncated { None } else { serde_json::from_str::<Value>(&text).ok() };
    let body = match whole.filter(|value| depth(value) <= limits::JSON_DEPTH_MAX) {
        // Once more, since escapes may have hidden a secret from the first look.
        Some(value) => redactor.json(value),
        None => Value::from(text),
    };
    json!({ "http_status": answer.status, "body": body, "truncated": answer.truncated })
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// What every request carries, whatever its document says.
fn own_headers(call: &Call<'_>) -> Vec<(String, String)> {
    let mut headers = vec![
        ("Gate-Intent".to_owned(), call.intent.to_string()),
        ("Gate-Fence".to_owned(), call.fence.0.to_string()),
    ];
    if call.target.honours_idempotency_key {
        headers.push(("Idempotency-Key".into(), call.intent.to_string()));
    }
    headers
}

/// Documents are refused if they set one of these; one that does so all the same is not followed.
fn is_own(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    lower.starts_with("gate-") || OWN_HEADERS.contains(&lower.as_str())
}

fn failed(why: String) -> Outcome {
    Outcome::Failed { effect: Effect::None, why: short(why), answer: None }
}

fn short(why: String) -> String {
    match why.char_indices().nth(limits::ERROR_CHARS_MAX) {
        Some((at, _)) => why[..at].to_owned(),
        None => why,
    }
}
