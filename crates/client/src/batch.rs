//! Many intents in one request, a line each.
//!
//! Promise: each line has a `request_key` from the moment the batch is made, so that a batch whose
//! answer was lost is sent again as it was, and nothing is submitted twice.

use std::time::Duration;

use serde_json::Value;

use crate::answer::Answer;
use crate::error::{Error, Refusal};
use crate::intents::Verdict;
use crate::request::{Method, Request, fresh_key};
use crate::send::Client;

/// A batch is more work than another request.
const PATIENCE: Duration = Duration::from_secs(30);
/// Where the key of a line stands.
const KEY: &str = "request_key";
const KEY_SPELLINGS: [&str; 2] = [KEY, "requestKey"];

/// What one line was answered.
#[derive(Debug, Clone)]
pub struct BatchLine {
    /// What was decided; nothing if the line was refused.
    pub verdict: Option<Verdict>,
    /// The answer to it, its `status` and what else stands beside it.
    pub answer: Value,
}

impl BatchLine {
    /// The HTTP status that the line would have alone.
    #[must_use]
    pub fn status(&self) -> u16 {
        let status = self.answer["status"].as_u64();
        status.and_then(|status| status.try_into().ok()).unwrap_or(0)
    }

    fn of(answer: Value) -> Option<Self> {
        let verdict = answer["answer_status"].as_str().and_then(Verdict::of_status);
        let status = answer["status"].as_u64()?;
        let is_decided = matches!(status, 200 | 409) && answer["error"].is_null();
        let named = answer["intentId"].is_string();
        match (is_decided, verdict) {
            (true, Some(_)) if named => Some(Self { verdict, answer }),
            (false, _) if status >= 400 => Some(Self { verdict: None, answer }),
            _ => None,
        }
    }
}

impl Client {
    /// Submits intents, one JSON object a line. A line without a `request_key` gets one, which is
    /// the same in each try; what is no JSON object is sent as it stands, and refused.
    ///
    /// # Errors
    /// As [`Client::send`], where the batch is refused as a whole; lines are answers.
    pub async fn submit_batch(&self, lines: &str) -> Result<Vec<BatchLine>, Error> {
        let text: Vec<String> = lines.trim_end().split('\n').map(keyed).collect();
        let sent = text.len();
        let request = Request::new(Method::Post, &["v1", "intents", "batch"]);
        let request = request.lines(text.join("\n").into_bytes()).patience(PATIENCE);
        let answer: Answer = self.send_raw(request).await?;
        if !answer.is_success() {
            return Err(Error::Refused(Box::new(Refusal::of(&answer))));
        }
        let not_a_gate = |what| Error::NotAGate { endpoint: answer.endpoint.clone(), what };
        let Value::Array(found) = answer.body else {
            return Err(not_a_gate("an answer that has no lines".to_owned()));
        };
        if found.len() != sent {
            return Err(not_a_gate(format!("{} lines for {sent}", found.len())));
        }
        let lines = found.into_iter().map(BatchLine::of).collect::<Option<_>>();
        lines.ok_or_else(|| not_a_gate("a line without an intent and a known status".to_owned()))
    }
}

/// The line with a key of its own. It goes in as text: what else stands there stays as written.
fn keyed(line: &str) -> String {
    let Ok(Value::Object(mut members)) = serde_json::from_str(line) else {
        return line.to_owned();
    };
    if KEY_SPELLINGS.iter().any(|name| members.get(*name).is_some_and(|key| !key.is_null())) {
        return line.to_owned();
    }
    if KEY_SPELLINGS.iter().any(|name| members.remove(*name).is_some()) {
        // Said to be none, and a name must not come twice.
        members.insert(KEY.to_owned(), fresh_key().into());
        return Value::Object(members).to_string();
    }
    let Some((before, rest)) = line.split_once('{') else { return line.to_owned() };
    let comma = if members.is_empty() { "" } else { "," };
    format!("{before}{{\"{KEY}\":\"{}\"{comma}{rest}", fresh_key())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_gets_a_key_if_it_has_none_and_stays_as_it_was_otherwise() {
        for (line, rest) in [
            (r#"{"a":1e2,"a":"{"}"#, r#","a":1e2,"a":"{"}"#),
            (r#"  {"a":1}"#, r#","a":1}"#),
            ("{ }\r", " }\r"),
        ] {
            let sent = keyed(line);
            let (before, after) = sent.split_once("{\"request_key\":\"").expect("a key");
            assert!(before.trim().is_empty() && after[32..] == format!("\"{rest}"), "{sent}");
            assert_ne!(keyed(line), sent, "each its own");
        }
        let null = keyed(r#"{"a":1,"request_key":null}"#);
        assert!(null.matches("request_key").count() == 1 && !null.contains("null"), "{null}");
        for line in [r#"{"request_key":"k"}"#, r#"{"requestKey":"k","a":1}"#, "[1]", "{,}", "", "x"]
        {
            assert_eq!(keyed(line), line);
        }
    }

    #[test]
    fn a_line_of_an_answer_is_a_decision_or_a_refusal() {
        let cases = [
            (json!({"status": 200, "answer_status": "approved", "intentId": "i"}), Some("allowed")),
            (
                json!({"status": 409, "answer_status": "duplicate_blocked", "intentId": "i"}),
                Some("duplicate"),
            ),
            (json!({"status": 403, "answer_status": "suspended", "error": "agent_inactive"}), None),
            (json!({"status": 409, "error": "x"}), None),
            (json!({"status": 503, "error": "overloaded"}), None),
        ];
        for (line, verdict) in cases {
            let found = BatchLine::of(line.clone()).expect("a line");
            assert_eq!(found.verdict.map(Verdict::name), verdict, "{line}");
            assert_eq!(Some(u64::from(found.status())), line["status"].as_u64());
        }
        for line in [
            json!({"status": 200, "answer_status": "new", "intentId": "i"}),
            json!({"status": 200, "answer_status": "approved"}),
            json!({"answer_status": "approved", "intentId": "i"}),
            json!([]),
        ] {
            assert!(BatchLine::of(line.clone()).is_none(), "{line}");
        }
    }
}
