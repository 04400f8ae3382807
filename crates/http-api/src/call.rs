//! Who calls, with what path and query: the head of a request, checked before its body is read.
//!
//! Invariant: the edge's check is a filter. A key, role or status that changed elsewhere is looked
//! up again at a fresh read index before anybody is turned away, and again inside every read.

use std::ops::Deref;
use std::str::FromStr;
use std::time::Duration;

use axum::extract::{FromRequestParts, Query, RawPathParams};
use axum::http::header::{AUTHORIZATION, IF_MATCH};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri};
use gate::log::{Consistency, Progress, ProposeError, ReadPoint};
use gate::{Caller, Freshness, GateError};
use ledger::{AgentRow, Fault, Read, query};
use types::limits::{PAGE_ROWS_MAX, READ_WAIT_MS_MAX};
use types::{AgentStatus, Digest, LogIndex, NamespaceId, ParseIdError, Role};

use crate::problem::Problem;
use crate::query_names::check_names;
use crate::state::{App, InFlight};

/// How every API key looks: the prefix and 48 hex digits.
const KEY_CHARS: usize = 56;
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The head of a request, by anybody.
pub(crate) struct Call {
    pub(crate) app: App,
    pub(crate) uri: Uri,
    authorization: Option<HeaderValue>,
    pub(crate) idempotency_key: Option<HeaderValue>,
    pub(crate) if_match: Option<HeaderValue>,
    path: Vec<(String, String)>,
    query: Vec<(String, String)>,
}

impl FromRequestParts<App> for Call {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let params = RawPathParams::from_request_parts(parts, app).await;
        let params = params.map_err(|_| Problem::field("path", "not percent-encoded UTF-8"))?;
        let path = params.iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        let query = match parts.uri.query() {
            None => Vec::new(),
            Some(_) => {
                let parsed = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri);
                parsed.map_err(|_| Problem::field("query", "not percent-encoded UTF-8"))?.0
            }
        };
        check_names(parts, &query)?;
        Ok(Self {
            app: app.clone(),
            uri: parts.uri.clone(),
            authorization: parts.headers.get(AUTHORIZATION).cloned(),
            idempotency_key: only_one(&parts.headers, &IDEMPOTENCY_KEY)?,
            if_match: parts.headers.get(IF_MATCH).cloned(),
            path: path.collect(),
            query,
        })
    }
}

impl Call {
    /// A part of the path.
    pub(crate) fn path(&self, name: &str) -> &str {
        let found = self.path.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value.as_str())
    }

    /// A parameter of the query; one that comes twice is refused.
    pub(crate) fn query(&self, name: &'static str) -> Result<Option<&str>, Problem> {
        let mut found = self.query.iter().filter(|(known, _)| known == name);
        let value = found.next().map(|(_, value)| value.as_str());
        match found.next() {
            None => Ok(value),
            Some(_) => Err(Problem::field(name, "comes more than once")),
        }
    }

    /// A query parameter that is a whole number.
    pub(crate) fn query_number(&self, name: &'static str) -> Result<Option<u64>, Problem> {
        let Some(text) = self.query(name)? else { return Ok(None) };
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|_| digits);
        number.map(Some).ok_or_else(|| Problem::field(name, "expected a whole number"))
    }

    /// A query parameter that is an id; an empty one is absent.
    pub(crate) fn query_id<T: FromStr<Err = ParseIdError>>(
        &self,
        name: &'static str,
    ) -> Result<Option<T>, Problem> {
        match self.query(name)? {
            None | Some("") => Ok(None),
            Some(text) => {
                let parsed = text.parse().map(Some);
                parsed.map_err(|error: ParseIdError| Problem::field(name, error.to_string()))
            }
        }
    }

    /// `limit`, or what is usual for the list.
    pub(crate) fn limit(&self, usual: u64) -> Result<usize, Problem> {
        let limit = self.query_number("limit")?.unwrap_or(usual);
        if limit > PAGE_ROWS_MAX {
            let message = format!("a page has at most {PAGE_ROWS_MAX} rows");
            return Err(Problem::field("limit", message));
        }
        Ok(usize::try_from(limit).unwrap_or(usize::MAX))
    }

    /// `consistency` and `min_index`.
    pub(crate) fn freshness(&self) -> Result<Freshness, Problem> {
        let consistency = match self.query("consistency")? {
            None | Some("linearizable") => Consistency::Linearizable,
            Some("lease") => Consistency::Lease,
            Some("stale") => Consistency::Stale,
            Some(_) => {
                let message = "expected linearizable, lease or stale";
                return Err(Problem::field("consistency", message));
            }
        };
        let min_index = LogIndex(self.query_number("min_index")?.unwrap_or(0));
        Ok(Freshness { consistency, min_index })
    }

    /// The `Bearer` key, if the header has one.
    fn bearer(&self) -> Option<&str> {
        let text = self.authorization.as_ref()?.to_str().ok()?;
        text.strip_prefix("Bearer ").map(str::trim).filter(|key| !key.is_empty())
    }

    /// The `Bearer` value, its scheme spelled in any case: what workers of existing clients send.
    pub(crate) fn bearer_in_any_case(&self) -> Option<&str> {
        let text = self.authorization.as_ref()?.to_str().ok()?;
        let (scheme, value) = text.split_once(' ')?;
        let value = value.trim();
        (scheme.eq_ignore_ascii_case("bearer") && !value.is_empty()).then_some(value)
    }

    /// True if some `Authorization` header came along.
    pub(crate) fn has_authorization(&self) -> bool {
        self.authorization.is_some()
    }

    /// Finds out who calls.
    pub(crate) async fn authenticate(self) -> Result<Authed, Problem> {
        let key = self.bearer().ok_or_else(Problem::no_key)?.to_owned();
        let caller = match self.app.gate.authenticate(&key) {
            Ok(caller) => caller,
            Err(GateError::UnknownKey | GateError::Inactive(_)) if looks_like_a_key(&key) => {
                catch_up(&self.app).await?;
                self.app.gate.authenticate(&key)?
            }
            Err(error) => return Err(error.into()),
        };
        let place = self.app.enter(caller.key).ok_or_else(too_many_in_flight)?;
        let key_hash = gate::keys::hash(&key);
        Ok(Authed { call: self, key, key_hash, caller, place })
    }
}

fn too_many_in_flight() -> Problem {
    let message = "this key has too many requests in flight; wait for some answers";
    Problem::too_many_requests(message)
}

/// A header that must not come twice: two values would leave open which one counts.
fn only_one(headers: &HeaderMap, name: &HeaderName) -> Result<Option<HeaderValue>, Problem> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (found, None) => Ok(found.cloned()),
        _ => Err(Problem::field(name.as_str(), "comes more than once")),
    }
}

/// Before a key is refused: it may have been made on another node a moment ago.
async fn catch_up(app: &App) -> Result<(), Problem> {
    let fresh = app.gate.log().read_point(Consistency::Linearizable, LogIndex(0));
    bounded(async move { Ok(fresh.await?) }).await.map(|_| ())
}

fn looks_like_a_key(text: &str) -> bool {
    text.len() == KEY_CHARS && text.starts_with(gate::keys::PREFIX)
}

/// A read that takes too long is one that a quorum did not confirm.
pub(crate) async fn bounded<T>(
    read: impl Future<Output = Result<T, GateError>>,
) -> Result<T, Problem> {
    match tokio::time::timeout(Duration::from_millis(READ_WAIT_MS_MAX), read).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(read_problem(error)),
        Err(_) => Err(Problem::unconfirmed_read()),
    }
}

/// A lost read is no doubt about anything: nothing happened.
pub(crate) fn read_problem(error: GateError) -> Problem {
    match error {
        GateError::Log(ProposeError::Unknown) => Problem::unconfirmed_read(),
        other => other.into(),
    }
}

/// The head of a request by somebody with a valid key.
pub(crate) struct Authed {
    call: Call,
    key: String,
    key_hash: Digest,
    pub(crate) caller: Caller,
    place: InFlight,
}

impl Deref for Authed {
    type Target = Call;

    fn deref(&self) -> &Call {
        &self.call
    }
}

impl FromRequestParts<App> for Authed {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        Call::from_request_parts(parts, app).await?.authenticate().await
    }
}

impl Authed {
    /// Where the caller lives.
    pub(crate) fn namespace(&self) -> NamespaceId {
        self.caller.namespace
    }

    /// Counts as so many requests in flight from here on.
    pub(crate) fn counts_as(&mut self, requests: usize) -> Result<(), Problem> {
        if self.place.widen(requests) { Ok(()) } else { Err(too_many_in_flight()) }
    }

    /// Passes callers with a role that `allows`. Before one is turned away its role is read again:
    /// it may have been given on another node a moment ago.
    pub(crate) async fn need(
        &mut self,
        allows: impl Fn(Role) -> bool,
        otherwise: &str,
    ) -> Result<(), Problem> {
        if !allows(self.caller.agent.role) {
            catch_up(&self.call.app).await?;
            self.caller = self.call.app.gate.authenticate(&self.key)?;
        }
        if allows(self.caller.agent.role) { Ok(()) } else { Err(Problem::forbidden(otherwise)) }
    }

    /// Reads one consistent view, as fresh as the query asks; the caller's key, status and role
    /// are those of that view.
    pub(crate) async fn read<T>(
        &self,
        read: impl FnOnce(&dyn Read, &AgentRow, Progress) -> Result<T, Problem>,
    ) -> Result<(T, ReadPoint), Problem> {
        self.read_at(self.freshness()?, read).await
    }

    /// As [`Authed::read`], as fresh as named.
    pub(crate) async fn read_at<T>(
        &self,
        freshness: Freshness,
        read: impl FnOnce(&dyn Read, &AgentRow, Progress) -> Result<T, Problem>,
    ) -> Result<(T, ReadPoint), Problem> {
        let gate = &self.call.app.gate;
        let found = gate.read(freshness, |state, progress| {
            let agent = self.agent_at(state, progress)?;
            Ok(read(state, &agent, progress))
        });
        let (value, point) = bounded(found).await?;
        Ok((value.map_err(|problem| problem.at(point))?, point))
    }

    fn agent_at(&self, state: &dyn Read, progress: Progress) -> Result<AgentRow, GateError> {
        let key = query::key_by_hash(state, &self.key_hash)?.ok_or(GateError::UnknownKey)?;
        if key.expires_at.is_some_and(|ends| progress.time >= ends) {
            return Err(GateError::UnknownKey);
        }
        let agent = query::agent(state, key.namespace, key.agent)?;
        let agent = agent.ok_or(GateError::UnknownKey)?;
        match agent.status {
            AgentStatus::Active => Ok(agent),
            stopped => Err(GateError::Inactive(stopped.name())),
        }
    }
}

/// State that cannot be read is not the caller's doing.
impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        GateError::Fault(fault).into()
    }
}
