//! Webhooks of existing clients: whoever asked, or decides, is told how one intent is decided.
//!
//! Invariant: url and secret are the caller's own words; nothing in them refers to a secret of the
//! gate. An address in the url is checked here, and what a name stands for when something is sent.

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use gate::WebhookRequest;
use ledger::{Refusal, Reply};
use serde_json::json;
use types::IntentId;

use crate::answer::Answer;
use crate::body::JsonBody;
use crate::call::Authed;
use crate::fields::{Fields, path};
use crate::problem::Problem;
use crate::refusals::{refused, unexpected};
use crate::request_key::request_key;
use crate::state::App;

const UNKNOWN: &str = "Intent not found";

/// `POST /v1/webhooks/register`.
pub(crate) async fn register(
    State(app): State<App>,
    call: Authed,
    body: JsonBody,
) -> Result<Answer, Problem> {
    let request_key = request_key(&call, &body)?;
    let mut fields = Fields::of(body.value);
    for other in ["proposalId", "intent_id", "proposal_id"] {
        fields.respell("intentId", other)?;
    }
    let named = fields.words("intentId")?;
    let (url, secret) = (fields.words("url")?, fields.words("secret")?);
    // Without its secret every notification would go unsigned.
    fields.nothing_else(&[])?;
    let (Some(named), Some(url)) = (named, url) else {
        let message = "name the intent in `intentId` and the receiver in `url`";
        return Err(Problem::new(StatusCode::BAD_REQUEST, "invalid_request", message)
            .says("intentId and url are required"));
    };
    if !can_be_sent_to(&url) {
        let message = "expected an http or https URL with a host and without a user";
        return Err(Problem::field(path("url"), message));
    }
    if let Some(check) = &app.gate.settings().documents.check_webhook {
        check(&url).map_err(|why| Problem::field(path("url"), why))?;
    }
    let intent: IntentId = named.parse().map_err(|_| unknown())?;
    let request = WebhookRequest { intent, url: url.clone(), secret, request_key };
    let answer = app.gate.register_webhook(&call.caller, request).await?;
    let (reply, replayed) = answer.unwrapped();
    let webhook = match reply {
        Reply::Webhook(webhook) => webhook,
        Reply::Refused(Refusal::UnknownIntent { .. }) => return Err(unknown()),
        Reply::Refused(refusal) => return Err(refused(refusal).committed(&answer)),
        reply => return Err(unexpected(reply)),
    };
    let body = json!({
        "registered": true,
        "webhookId": webhook.to_string(),
        "intentId": intent.to_string(),
        "url": url,
    });
    Ok(Answer::ok(&body).committed(&answer).replayed(replayed))
}

fn unknown() -> Problem {
    Problem::not_found(UNKNOWN, "no such intent here")
}

fn can_be_sent_to(url: &str) -> bool {
    let Ok(uri) = url.parse::<Uri>() else { return false };
    let scheme = matches!(uri.scheme_str(), Some("http" | "https"));
    let authority = uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
    scheme && authority && uri.host().is_some_and(|host| !host.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_urls_that_can_be_sent_to_are_taken() {
        for good in ["http://127.0.0.1:9/hook", "https://a.example", "http://[::1]:9/x?y=1"] {
            assert!(can_be_sent_to(good), "{good}");
        }
        for bad in ["", "a.example/x", "ftp://a/", "http://", "http://u:p@a/", "http://a b/"] {
            assert!(!can_be_sent_to(bad), "{bad}");
        }
    }
}
