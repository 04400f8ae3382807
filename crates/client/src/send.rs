//! Sending: fail-over from endpoint to endpoint, within one deadline.
//!
//! A connection error, a broken answer to a read and a 503 go on to the next endpoint; any other
//! answer is final. After a round over all endpoints there is a jittered pause.
//! Invariant: every request ends by its deadline, whatever the endpoints do.

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use serde_json::Value;
use tokio::time::Instant;

use crate::answer::Answer;
use crate::backoff::Backoff;
use crate::endpoint::Endpoint;
use crate::error::{Error, Refusal, Trouble};
use crate::request::{Body, Method, Request, fresh_key, missing};

/// How long a request may take in all, its patience aside.
const DEADLINE: Duration = Duration::from_secs(15);
/// How long one endpoint may take while there are others.
const TRY: Duration = Duration::from_secs(5);
/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(2);
/// Rounds after which endpoints of which none ever answered are given up.
const SILENT_ROUNDS_MAX: u32 = 4;
/// More than this is as good as never: no request is that patient.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Bytes of an answer.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The media type of lines that are JSON each.
const NDJSON: &str = "application/x-ndjson";

/// Where and as whom to ask.
#[derive(Clone)]
pub struct Settings {
    /// In the order in which they are tried.
    pub endpoints: Vec<Endpoint>,
    /// The API key.
    pub key: Option<String>,
    /// How long a request may take in all, its patience aside.
    pub deadline: Duration,
}

/// The client. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    endpoints: Vec<Endpoint>,
    authorization: Option<HeaderValue>,
    deadline: Duration,
}

/// What one try gave.
enum Tried {
    Answered(Answer),
    /// Nobody answered; another endpoint may.
    Silent(Trouble),
}

impl Settings {
    /// These endpoints, without a key, with the usual deadline.
    #[must_use]
    pub fn new(endpoints: Vec<Endpoint>) -> Self {
        Self { endpoints, key: None, deadline: DEADLINE }
    }

    /// With this API key.
    #[must_use]
    pub fn with_key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }
}

impl Client {
    /// A client of these endpoints.
    ///
    /// # Errors
    /// Without endpoints, and for a key that no header can carry.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        if settings.endpoints.is_empty() {
            return Err(crate::EndpointError::Empty.into());
        }
        let authorization = settings.key.as_deref().map(bearer).transpose()?;
        Ok(Self {
            http: transport()?,
            endpoints: settings.endpoints,
            authorization,
            deadline: settings.deadline,
        })
    }

    /// Reads a path.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn get(&self, segments: &[&str]) -> Result<Answer, Error> {
        self.send(Request::get(segments)).await
    }

    /// Posts a JSON body.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn post(&self, segments: &[&str], body: &Value) -> Result<Answer, Error> {
        self.send(Request::post(segments, body)).await
    }

    /// Puts a JSON body.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn put(&self, segments: &[&str], body: &Value) -> Result<Answer, Error> {
        self.send(Request::put(segments, body)).await
    }

    /// Deletes a path.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn delete(&self, segments: &[&str]) -> Result<Answer, Error> {
        self.send(Request::delete(segments)).await
    }

    /// Sends a request; a 2xx is the answer.
    ///
    /// # Errors
    /// [`Error::Unreachable`] if nobody answered, [`Error::NoQuorum`] if all that answered said
    /// 503, [`Error::Refused`] for every other status that is not 2xx, [`Error::NotAGate`] for a
    /// 2xx without what the request expects.
    pub async fn send(&self, request: Request) -> Result<Answer, Error> {
        let expected = request.expected.clone();
        let answer = self.send_raw(request).await?;
        if !answer.is_success() {
            return Err(Error::Refused(Box::new(Refusal::of(&answer))));
        }
        match missing(&expected, &answer.body) {
            None => Ok(answer),
            Some(name) => {
                let what = format!("status {} without a usable `{name}`", answer.status);
                Err(Error::NotAGate { endpoint: answer.endpoint, what })
            }
        }
    }

    /// Reads what is text and no JSON, from the first endpoint alone, once and without the key:
    /// metrics.
    ///
    /// # Errors
    /// [`Error::Unreachable`] if it did not answer, [`Error::NotAGate`] for a status that is not
    /// 2xx and for a body that is no text.
    pub async fn text(&self, segments: &[&str]) -> Result<String, Error> {
        let Some(endpoint) = self.endpoints.first() else {
            return Err(crate::EndpointError::Empty.into());
        };
        let name = endpoint.to_string();
        let silent = |error: &reqwest::Error| {
            Error::Unreachable(vec![Trouble { endpoint: name.clone(), what: innermost(error) }])
        };
        let request = Request::get(segments).anonymous();
        let built = self.build(endpoint, &request, &fresh_key()).timeout(self.deadline);
        let response = built.send().await.map_err(|error| silent(&error))?;
        let status = response.status();
        let bytes = body_of(response).await.map_err(|error| silent(&error))?;
        let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
        match text {
            Some(text) if status.is_success() => Ok(text),
            _ => {
                let what = format!("status {} where text was asked for", status.as_u16());
                Err(Error::NotAGate { endpoint: name, what })
            }
        }
    }

    /// Sends a request; every status but 503 is the answer.
    ///
    /// # Errors
    /// As [`Client::send`] without [`Error::Refused`].
    pub async fn send_raw(&self, request: Request) -> Result<Answer, Error> {
        let ends = Instant::now() + self.deadline + request.patience;
        let request_id = fresh_key();
        let mut backoff = Backoff::default();
        let mut unavailable: Option<Refusal> = None;
        loop {
            let mut silent = Vec::with_capacity(self.endpoints.len());
            let mut asked_to_wait = Duration::ZERO;
            for endpoint in &self.endpoints {
                let left = ends.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    let what = "not tried: the time was over".to_owned();
                    silent.push(Trouble { endpoint: endpoint.to_string(), what });
                    continue;
                }
                match self.try_one(endpoint, &request, &request_id, left).await? {
                    Tried::Answered(answer) if answer.status == 503 => {
                        asked_to_wait = asked_to_wait.max(retry_after(&answer));
                        unavailable = Some(Refusal::of(&answer));
                    }
                    Tried::Answered(answer) => return Ok(answer),
                    Tried::Silent(trouble) => silent.push(trouble),
                }
            }
            let pause = backoff.pause().max(asked_to_wait);
            let over = Instant::now() + pause >= ends;
            match unavailable {
                Some(refusal) if over => return Err(Error::NoQuorum(Box::new(refusal))),
                None if over || backoff.rounds() >= SILENT_ROUNDS_MAX => {
                    return Err(Error::Unreachable(silent));
                }
                _ => tokio::time::sleep(pause).await,
            }
        }
    }

    async fn try_one(
        &self,
        endpoint: &Endpoint,
        request: &Request,
        request_id: &str,
        left: Duration,
    ) -> Result<Tried, Error> {
        let patience = TRY + request.patience;
        let limit = if self.endpoints.len() > 1 { left.min(patience) } else { left };
        let silent = |what| Tried::Silent(Trouble { endpoint: endpoint.to_string(), what });
        let built = self.build(endpoint, request, request_id).timeout(limit);
        let response = match built.send().await {
            Ok(response) => response,
            Err(error) if error.is_builder() => return Err(Error::Setup(innermost(&error))),
            Err(error) => return Ok(silent(innermost(&error))),
        };
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = match body_of(response).await {
            Ok(Some(bytes)) => bytes,
            Ok(None) => {
                let what = format!("more than {ANSWER_BYTES_MAX} bytes");
                return Err(Error::NotAGate { endpoint: endpoint.to_string(), what });
            }
            // The request may have been carried out; the same request sent again resolves it.
            Err(error) => return Ok(silent(innermost(&error))),
        };
        let endpoint = endpoint.to_string();
        let is_lines = headers.get(CONTENT_TYPE).is_some_and(|kind| kind == NDJSON);
        let Some(body) = parsed(&bytes, is_lines) else {
            let what = format!("status {status} and a body that is not JSON");
            return Err(Error::NotAGate { endpoint, what });
        };
        Ok(Tried::Answered(Answer { status, body, endpoint, headers }))
    }

    fn build(
        &self,
        endpoint: &Endpoint,
        request: &Request,
        request_id: &str,
    ) -> reqwest::RequestBuilder {
        let method = match request.method {
            Method::Get => reqwest::Method::GET,
            Method::Post => reqwest::Method::POST,
            Method::Put => reqwest::Method::PUT,
            Method::Delete => reqwest::Method::DELETE,
        };
        let mut builder = self
            .http
            .request(method, endpoint.url(&request.segments, &request.query))
            .header("X-Request-Id", request_id);
        if let Some(value) = self.authorization.as_ref().filter(|_| !request.anonymous) {
            builder = builder.header(AUTHORIZATION, value);
        }
        if let Some(key) = &request.idempotency_key {
            builder = builder.header(HeaderName::from_static("idempotency-key"), key);
        }
        for (name, value) in &request.headers {
            builder = builder.header(*name, value);
        }
        match &request.body {
            Body::None => builder,
            Body::Json(bytes) => {
                builder.header(CONTENT_TYPE, "application/json").body(bytes.clone())
            }
            Body::Yaml(bytes) => {
                builder.header(CONTENT_TYPE, "application/yaml").body(bytes.clone())
            }
            Body::Lines(bytes) => builder.header(CONTENT_TYPE, NDJSON).body(bytes.clone()),
        }
    }
}

/// The body as JSON; lines become a list. `None` if it is something else.
fn parsed(bytes: &[u8], is_lines: bool) -> Option<Value> {
    if bytes.is_empty() {
        return Some(Value::Null);
    }
    if !is_lines {
        return serde_json::from_slice(bytes).ok();
    }
    let lines = bytes.strip_suffix(b"\n")?.split(|byte| *byte == b'\n');
    let lines: Option<Vec<Value>> = lines.map(|line| serde_json::from_slice(line).ok()).collect();
    lines.map(Value::Array)
}

/// The HTTP library as it is used here. TLS is switched on in this one place and in
/// `Endpoint::from_str`. No proxy of the environment: keys go to the endpoint and nowhere else.
fn transport() -> Result<reqwest::Client, Error> {
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT)
        .user_agent(concat!("qgate/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| Error::Setup(innermost(&error)))
}

fn bearer(key: &str) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::try_from(format!("Bearer {key}")).map_err(|_| Error::BadKey)?;
    value.set_sensitive(true);
    Ok(value)
}

/// The whole body, or `None` if it is larger than any answer of a gate.
async fn body_of(mut response: reqwest::Response) -> Result<Option<Vec<u8>>, reqwest::Error> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if bytes.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Ok(None);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(Some(bytes))
}

fn retry_after(answer: &Answer) -> Duration {
    let seconds = answer.header(RETRY_AFTER.as_str()).and_then(|text| text.parse().ok());
    // Any number may stand there, and times have an end.
    Duration::from_secs(seconds.unwrap_or(0)).min(RETRY_AFTER_MAX)
}

/// What really went wrong, without the address: the caller names the endpoint.
fn innermost(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "timed out".to_owned();
    }
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
