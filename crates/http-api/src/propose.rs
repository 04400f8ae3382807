//! Proposing: a body in the spelling of existing clients, or in ours, becomes a submit.
//!
//! Invariant: what cannot be read exactly is a 400 that names the field; it is never guessed at.

use axum::extract::State;
use gate::SubmitRequest;
use ledger::Reply;
use policy::Payload;
use serde_json::Value;
use types::limits::{EXPIRES_IN_MS_DEFAULT, METADATA_BYTES_MAX, RECORD_COUNT_CLAIM_MAX};
use types::{KeyId, PayloadKind, Proposal, Role};

use crate::answer::Answer;
use crate::approval_asks::refuse_unmet;
use crate::body::JsonBody;
use crate::call::Authed;
use crate::fields::Fields;
use crate::money::micros;
use crate::problem::{Problem, uncovered};
use crate::propose_answer::{Place, accepted, duplicate};
use crate::refusals::{refused, unexpected};
use crate::request_key::{check, submit_key};
use crate::spans::expires_in_ms;
use crate::spellings::{refuse_misspelled, respell};
use crate::state::App;

/// Who may submit, for those who may not.
pub(crate) const NEEDS: &str = "submitting needs a key of role agent or admin";

/// Which of the two routes was called: only the newer one knows the aliases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spelling {
    /// `POST /v1/intents`.
    Intents,
    /// `POST /v1/propose`.
    Propose,
}

impl Spelling {
    /// The route, as it stands in what an `Idempotency-Key` is remembered by.
    pub(crate) fn route(self) -> &'static str {
        match self {
            Self::Intents => "/v1/intents",
            Self::Propose => "/v1/propose",
        }
    }
}

/// `POST /v1/intents`.
pub(crate) async fn intents(
    State(app): State<App>,
    call: Authed,
    body: JsonBody,
) -> Result<Answer, Problem> {
    submit(app, call, body, Spelling::Intents).await
}

/// `POST /v1/propose`.
pub(crate) async fn propose(
    State(app): State<App>,
    call: Authed,
    body: JsonBody,
) -> Result<Answer, Problem> {
    submit(app, call, body, Spelling::Propose).await
}

async fn submit(
    app: App,
    mut call: Authed,
    body: JsonBody,
    spelling: Spelling,
) -> Result<Answer, Problem> {
    let bytes = body.bytes;
    call.need(Role::may_submit, NEEDS).await?;
    let (key, header) = (call.caller.key, call.idempotency_key.clone());
    if let Some(header) = &header {
        check(header.as_bytes(), "Idempotency-Key")?;
    }
    let header = header.map(|header| header.as_bytes().to_vec());
    let reading = move || read_named(key, header.as_deref(), body, spelling);
    let request = app.gate.beside().run(bytes, reading).await??;
    let answer = app.gate.submit(&call.caller, request).await?;
    told(&answer, Place::Body)
}

/// The ledger's answer to a submit.
///
/// # Errors
/// What it refused.
pub(crate) fn told(answer: &gate::Answer, place: Place) -> Result<Answer, Problem> {
    let (reply, replayed) = answer.unwrapped();
    match reply {
        Reply::Submitted(head, content) => {
            Ok(accepted(head, content, place).committed(answer).replayed(replayed))
        }
        Reply::Duplicate(found) => Ok(duplicate(found, place).committed(answer).replayed(replayed)),
        Reply::Refused(refusal) => Err(refused(refusal).committed(answer)),
        other => Err(unexpected(other)),
    }
}

/// Reads a proposal and what its request is remembered by.
///
/// # Errors
/// As [`read`], and 400 for a key of the request that is not usable.
pub(crate) fn read_named(
    key: KeyId,
    header: Option<&[u8]>,
    mut body: JsonBody,
    spelling: Spelling,
) -> Result<SubmitRequest, Problem> {
    let request_key = submit_key(key, spelling.route(), header, &mut body)?;
    Ok(SubmitRequest { request_key, ..read(body, spelling)? })
}

/// Reads the fields of a proposal.
///
/// # Errors
/// 400 for a field that is missing, of another type, beyond its limit, or asks for an approval of
/// a kind that there is not.
pub(crate) fn read(body: JsonBody, spelling: Spelling) -> Result<SubmitRequest, Problem> {
    let body_bytes = body.bytes;
    let mut fields = Fields::of(body.value);
    respell(&mut fields, spelling)?;
    let aliases = spelling == Spelling::Intents;
    let target = read_target(&mut fields, aliases)?;
    let policy = fields.words("policy")?;
    let claim = fields.whole("recordCount", RECORD_COUNT_CLAIM_MAX)?;
    let metadata = fields.object("metadata")?.map(Value::Object);
    // The canonical form is never longer than what was sent, so small bodies need no second look.
    if body_bytes > METADATA_BYTES_MAX
        && let Some(value) = &metadata
        && policy::json::canonical(value).len() > METADATA_BYTES_MAX
    {
        let message = format!("longer than {METADATA_BYTES_MAX} bytes");
        return Err(Problem::field("$.metadata", message));
    }
    for name in ["runId", "request_key"] {
        fields.string(name)?;
    }
    refuse_unmet(&mut fields)?;
    let payload = match fields.value("payload") {
        None => Payload::Absent,
        Some(Value::String(text)) => Payload::of_text(text),
        Some(value) => Payload::Json(value),
    };
    let proposal = Proposal {
        destination: target.destination,
        action: target.action,
        trigger: target.trigger,
        policy,
        payload_kind: PayloadKind::Absent,
        payload_digest: None,
        payload_type: None,
        record_count_claim: claim.filter(|count| *count > 0),
        value_usd_micros: read_value(&mut fields)?,
        sensitivity_tags: fields.strings("sensitivity_tags")?,
        idempotency_key: fields.words("idempotency_key")?,
        on_behalf_of: fields.string("on_behalf_of")?,
        expires_in_ms: read_expires_in(&mut fields)?,
        metadata: None,
        profile: fields.words("profile")?,
        peer_spelling: target.peer_spelling,
    };
    refuse_misspelled(&fields)?;
    Ok(SubmitRequest { proposal, payload, metadata, request_key: None, body_bytes })
}

/// Where the intent goes, and in whose words.
struct Target {
    destination: String,
    action: String,
    trigger: Option<String>,
    peer_spelling: bool,
}

fn read_target(fields: &mut Fields, aliases: bool) -> Result<Target, Problem> {
    let named = fields.words("destination")?;
    let resource = fields.words("resource")?;
    let action = fields.words("action")?;
    let trigger = fields.words("trigger")?;
    if trigger.as_deref() == Some(policy::coverage::ROLLBACK_TRIGGER) {
        let message = "this word is kept for rollbacks, which match every gate; use another";
        return Err(Problem::field("$.trigger", message));
    }
    if let (Some(destination), Some(resource)) = (&named, &resource)
        && destination != resource
    {
        let message = "names another thing than $.destination; send one of them";
        return Err(Problem::field("$.resource", message));
    }
    let peer_spelling = resource.is_none() && trigger.is_none();
    let alias = action.as_ref().filter(|_| aliases).cloned();
    let destination = named.or(resource).or(alias);
    let destination = destination.ok_or_else(|| {
        uncovered("name a `destination` (or `resource`): what the agent wants to write to")
    })?;
    let action = action.unwrap_or_else(|| destination.clone());
    Ok(Target { destination, action, trigger, peer_spelling })
}

fn read_value(fields: &mut Fields) -> Result<Option<u64>, Problem> {
    const NAME: &str = "estimated_value_usd";
    match fields.value(NAME) {
        None => Ok(None),
        Some(Value::Number(number)) => {
            let place = fields.path(NAME);
            let problem = || Problem::field(place, "expected an amount of dollars from 0 on");
            micros(&number.to_string()).map(Some).ok_or_else(problem)
        }
        Some(other) => Err(fields.wrong_type(NAME, "a number", &other)),
    }
}

fn read_expires_in(fields: &mut Fields) -> Result<u64, Problem> {
    const NAME: &str = "expiresIn";
    match fields.string(NAME)? {
        None => Ok(EXPIRES_IN_MS_DEFAULT),
        Some(text) => {
            let problem = || Problem::field(fields.path(NAME), "an intent waits at most 30 days");
            expires_in_ms(&text).ok_or_else(problem)
        }
    }
}
