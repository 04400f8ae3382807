//! Submitting and deciding, with the answers that are no errors: a block and a duplicate are
//! decisions too.

use serde_json::{Map, Value};

use crate::answer::Answer;
use crate::error::{Error, Refusal};
use crate::request::{Request, Shape};
use crate::send::Client;

/// What was decided about an intent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It may run.
    Allowed,
    /// People decide.
    Held,
    /// It must not run.
    Blocked,
    /// The same was asked for before.
    Duplicate,
}

/// A submitted intent.
#[derive(Debug, Clone)]
pub struct Submitted {
    /// What was decided.
    pub verdict: Verdict,
    /// The intent; of a duplicate, the first one.
    pub id: String,
    /// The whole answer.
    pub answer: Answer,
}

/// A person's decision.
#[derive(Debug, Clone, Default)]
pub struct Decision {
    /// What the person saw.
    pub digest: Option<String>,
    /// In the person's words.
    pub reason: Option<String>,
}

/// A person's word about an intent in doubt.
#[derive(Debug, Clone)]
pub struct Resolution {
    /// It was done.
    pub succeeded: bool,
    /// What a failure did all the same: `none`, `partial` or `unknown`.
    pub effect: Option<String>,
    /// How it was found out.
    pub reason: String,
}

impl Verdict {
    /// The word for people and scripts.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Held => "held",
            Self::Blocked => "blocked",
            Self::Duplicate => "duplicate",
        }
    }

    /// Reads the `status` of an intent at any time of its life: what became of it later does not
    /// change that it was allowed, and what has expired must not run any more.
    #[must_use]
    pub fn of_intent(status: &str) -> Option<Self> {
        match status {
            "scheduled" | "in_doubt" | "succeeded" | "delivered" | "failed" => Some(Self::Allowed),
            "expired" => Some(Self::Blocked),
            status => Self::of_status(status),
        }
    }

    /// Reads the `status` of the answer to a submit.
    #[must_use]
    pub fn of_status(status: &str) -> Option<Self> {
        match status {
            "approved" => Some(Self::Allowed),
            "pending_approval" => Some(Self::Held),
            "blocked" => Some(Self::Blocked),
            "duplicate_blocked" => Some(Self::Duplicate),
            _ => None,
        }
    }
}

impl Client {
    /// Submits an intent. The same `key` gives the same answer, however often it is sent.
    ///
    /// # Errors
    /// As [`Client::send`]; a block and a duplicate are no errors.
    pub async fn submit(&self, intent: &Value, key: Option<&str>) -> Result<Submitted, Error> {
        let mut request = Request::post(&["v1", "intents"], intent);
        if let Some(key) = key {
            request = request.idempotency_key(key);
        }
        self.submit_request(request).await
    }

    /// Submits an intent that stands in the body of a request to `POST /v1/intents`.
    ///
    /// # Errors
    /// As [`Client::submit`].
    pub async fn submit_request(&self, request: Request) -> Result<Submitted, Error> {
        let answer = self.send_raw(request).await?;
        let verdict = answer.text("status").and_then(Verdict::of_status);
        let id = answer.text("intentId").map(str::to_owned);
        match (verdict, id) {
            (Some(verdict), Some(id)) if answer.status == 200 || answer.status == 409 => {
                Ok(Submitted { verdict, id, answer })
            }
            _ if answer.is_success() => Err(Error::NotAGate {
                endpoint: answer.endpoint,
                what: "an intent without `intentId` and a known `status`".to_owned(),
            }),
            _ => Err(Error::Refused(Box::new(Refusal::of(&answer)))),
        }
    }

    /// Reads an intent.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn intent(&self, id: &str) -> Result<Answer, Error> {
        self.whole(Request::get(&["v1", "intents", id])).await
    }

    /// Reads an intent with a request of one's own, such as one that waits.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn whole(&self, request: Request) -> Result<Answer, Error> {
        let request = request.expecting(&[
            ("intentId", Shape::Text),
            ("phase", Shape::Text),
            ("approval_digest", Shape::Text),
        ]);
        let answer = self.send(request).await?;
        known_status(answer, |status| Verdict::of_intent(status).is_some())
    }

    /// Votes for an intent.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn approve(&self, id: &str, decision: &Decision) -> Result<Answer, Error> {
        let answer = self.decide(id, "approve", decision).await?;
        known_status(answer, |status| matches!(status, "approved" | "pending_approval"))
    }

    /// Ends an intent.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn reject(&self, id: &str, decision: &Decision) -> Result<Answer, Error> {
        let answer = self.decide(id, "reject", decision).await?;
        known_status(answer, |status| status == "blocked")
    }

    /// Asks for an order to carry an allowed intent out; where a connector does that, it begins.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn execute(&self, id: &str, mode: Option<&str>) -> Result<Answer, Error> {
        let mut body = Map::new();
        body.extend(mode.map(|mode| ("mode".to_owned(), Value::from(mode))));
        let request = Request::post(&["v1", "intents", id, "execute"], &Value::Object(body));
        self.send(request.expecting(&[
            ("executionId", Shape::Text),
            ("status", Shape::Text),
            ("fence", Shape::Number),
        ]))
        .await
    }

    /// Says how an intent in doubt ended.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn resolve(&self, id: &str, resolution: &Resolution) -> Result<Answer, Error> {
        let request = Request::post(&["v1", "intents", id, "resolve"], &resolution.body());
        let answer = self.send(request.expecting(&[("intentId", Shape::Text)])).await?;
        known_status(answer, |status| matches!(status, "succeeded" | "failed"))
    }

    /// Withdraws an intent that is held, or allowed and not begun. Its own agent may, and reviewers
    /// and admins.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn cancel(&self, id: &str, decision: &Decision) -> Result<Answer, Error> {
        let answer = self.decide(id, "cancel", decision).await?;
        known_status(answer, |status| status == "blocked")
    }

    async fn decide(&self, id: &str, verb: &str, decision: &Decision) -> Result<Answer, Error> {
        let request = Request::post(&["v1", "intents", id, verb], &decision.body());
        self.send(request.expecting(&[("intentId", Shape::Text), ("phase", Shape::Text)])).await
    }
}

/// Passes an answer on whose `status` is one that its request can have: what a later gate may say
/// besides is not taken for what it may mean.
fn known_status(answer: Answer, known: impl Fn(&str) -> bool) -> Result<Answer, Error> {
    let what = match answer.text("status") {
        Some(status) if known(status) => return Ok(answer),
        Some(status) => format!("a `status` that is not known: {status:?}"),
        None => "no `status`".to_owned(),
    };
    Err(Error::NotAGate { endpoint: answer.endpoint, what })
}

impl Decision {
    fn body(&self) -> Value {
        let fields = [("digest", &self.digest), ("reason", &self.reason)];
        let given = fields.into_iter().filter_map(|(name, value)| {
            value.as_ref().map(|value| (name.to_owned(), Value::from(value.as_str())))
        });
        Value::Object(given.collect::<Map<_, _>>())
    }
}

impl Resolution {
    fn body(&self) -> Value {
        let mut body = Map::new();
        let outcome = if self.succeeded { "succeeded" } else { "failed" };
        body.insert("outcome".to_owned(), outcome.into());
        body.extend(self.effect.as_deref().map(|word| ("effect".to_owned(), word.into())));
        body.insert("reason".to_owned(), self.reason.as_str().into());
        Value::Object(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[rustfmt::skip]
    fn a_resolution_sends_what_was_said_only() {
        let cases = [
            (true,  None,         r#"{"outcome":"succeeded","reason":"seen"}"#),
            (false, None,         r#"{"outcome":"failed","reason":"seen"}"#),
            (false, Some("none"), r#"{"outcome":"failed","effect":"none","reason":"seen"}"#),
        ];
        for (succeeded, effect, expected) in cases {
            let effect = effect.map(str::to_owned);
            let resolution = Resolution { succeeded, effect, reason: "seen".into() };
            assert_eq!(resolution.body().to_string(), expected);
        }
    }

    #[test]
    fn a_decision_sends_what_was_said_only() {
        let digest = Some("ab".to_owned());
        let cases = [
            (Decision::default(), "{}"),
            (Decision { digest: digest.clone(), reason: None }, r#"{"digest":"ab"}"#),
            (
                Decision { digest, reason: Some("fine".into()) },
                r#"{"digest":"ab","reason":"fine"}"#,
            ),
        ];
        for (decision, expected) in cases {
            assert_eq!(decision.body().to_string(), expected);
        }
    }
}
