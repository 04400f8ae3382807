//! The targets: a CRM, a phone line, a mail server and a chat channel. Each does what it is asked
//! and counts what that came to.
//!
//! Invariant: they know nothing of the gate; whoever sends to them directly is served as well.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::demo::fixtures;
use crate::demo::server::{Received, Server, Target};
use crate::failure::Failure;

/// Where the CRM takes records.
pub(crate) const CRM_PATH: &str = "/contacts/bulk";
/// Where the phone line takes calls.
pub(crate) const PHONE_PATH: &str = "/calls";
/// Where the mail server takes batches.
pub(crate) const MAIL_PATH: &str = "/batches";
/// Where the chat takes messages.
pub(crate) const CHAT_PATH: &str = "/services/gate";

/// One set of targets.
pub(crate) struct Targets {
    pub(crate) crm: Server<Crm>,
    pub(crate) phone: Server<Phone>,
    pub(crate) mail: Server<Mail>,
    pub(crate) chat: Server<Chat>,
}

impl Targets {
    /// Starts all of them, the CRM with the rows of the fixture.
    ///
    /// # Errors
    /// Whatever the operating system says.
    pub(crate) async fn start() -> Result<Self, Failure> {
        Ok(Self {
            crm: Server::start(Crm::holding(fixtures::crm_rows())).await?,
            phone: Server::start(Phone::default()).await?,
            mail: Server::start(Mail::default()).await?,
            chat: Server::start(Chat::default()).await?,
        })
    }

    /// The destinations that lead to them: name and document.
    pub(crate) fn destinations(&self) -> [(&'static str, String); 3] {
        [
            ("crm.contacts", destination(&self.crm.url(CRM_PATH), "none")),
            ("leads.outbound_call", destination(&self.phone.url(PHONE_PATH), "none")),
            ("email.batch", destination(&self.mail.url(MAIL_PATH), "header")),
        ]
    }

    /// The channel that tells people: name and document.
    pub(crate) fn channel(&self) -> (&'static str, String) {
        let url = self.chat.url(CHAT_PATH);
        let told = "events: [held]\nresources: [\"email.*\", \"crm.*\"]\n";
        ("ops", format!("kind: slack\nurl: {url}\n{told}"))
    }
}

fn destination(url: &str, idempotency: &str) -> String {
    format!(
        "kind: http\n\
         execute: on_approval\n\
         request: {{method: POST, url: \"{url}\", body: \"{{{{ payload }}}}\"}}\n\
         idempotency: {idempotency}\n"
    )
}

/// What of a request shows where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stamped {
    /// `Gate-Intent`.
    pub(crate) intent: Option<String>,
    /// `Idempotency-Key`.
    pub(crate) key: Option<String>,
}

impl Stamped {
    fn of(request: &Received) -> Self {
        Self { intent: request.header("Gate-Intent"), key: request.header("Idempotency-Key") }
    }
}

/// Rows by id, and what was done to them.
#[derive(Debug, Default)]
pub(crate) struct Crm {
    rows: BTreeMap<String, Map<String, Value>>,
    /// Records that were written.
    pub(crate) written: u64,
    /// Values that were there before and are empty now.
    pub(crate) cleared: u64,
}

/// One value that a write would empty.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Cleared {
    pub(crate) record: String,
    pub(crate) field: String,
    pub(crate) before: Value,
    pub(crate) after: Value,
}

impl Crm {
    pub(crate) fn holding(rows: Vec<Map<String, Value>>) -> Self {
        let by_id = rows.into_iter().map(|row| {
            let id = row.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
            (id, row)
        });
        Self { rows: by_id.collect(), ..Self::default() }
    }

    /// How many rows it holds.
    pub(crate) fn rows(&self) -> usize {
        self.rows.len()
    }

    /// The values that a payload would empty, by what the CRM holds now.
    pub(crate) fn would_clear(&self, payload: &Value) -> Vec<Cleared> {
        let mut cleared = Vec::new();
        for (record, set) in records(payload) {
            for (field, after) in set {
                let before = self.rows.get(record).and_then(|row| row.get(field));
                let before = before.unwrap_or(&Value::Null);
                if is_empty(after) && !is_empty(before) {
                    cleared.push(Cleared {
                        record: record.to_owned(),
                        field: field.clone(),
                        before: before.clone(),
                        after: after.clone(),
                    });
                }
            }
        }
        cleared
    }
}

impl Target for Crm {
    fn take(&mut self, request: &Received) -> Value {
        self.cleared += count(self.would_clear(&request.body).len());
        let mut written = 0;
        for (record, set) in records(&request.body) {
            let row = self.rows.entry(record.to_owned()).or_default();
            set.iter().for_each(|(field, value)| {
                row.insert(field.clone(), value.clone());
            });
            written += 1;
        }
        self.written += written;
        json!({ "written": written })
    }
}

/// The records of a payload: id and the fields to set.
fn records(payload: &Value) -> impl Iterator<Item = (&str, &Map<String, Value>)> {
    let list = payload.get("records").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    list.iter()
        .filter_map(|record| Some((record.get("id")?.as_str()?, record.get("set")?.as_object()?)))
}

fn is_empty(value: &Value) -> bool {
    value.is_null() || value.as_str() == Some("")
}

/// Calls, by lead.
#[derive(Debug, Default)]
pub(crate) struct Phone {
    calls: BTreeMap<String, u64>,
    /// Where each call came from.
    pub(crate) from: Vec<Stamped>,
}

impl Phone {
    /// How often a lead was called.
    pub(crate) fn calls_to(&self, lead: &str) -> u64 {
        self.calls.get(lead).copied().unwrap_or_default()
    }
}

impl Target for Phone {
    fn take(&mut self, request: &Received) -> Value {
        let lead = request.body.get("lead_id").and_then(Value::as_str).unwrap_or_default();
        *self.calls.entry(lead.to_owned()).or_default() += 1;
        self.from.push(Stamped::of(request));
        json!({ "call": self.from.len(), "lead_id": lead })
    }
}

/// Batches of mails. It honours `Idempotency-Key`: a key that it knows sends nothing again.
#[derive(Debug, Default)]
pub(crate) struct Mail {
    keys: BTreeSet<String>,
    /// Mails that were sent.
    pub(crate) sent: u64,
    /// Those of them that show a token of their template.
    pub(crate) broken: u64,
    /// Where each request came from.
    pub(crate) from: Vec<Stamped>,
}

impl Target for Mail {
    fn take(&mut self, request: &Received) -> Value {
        let stamped = Stamped::of(request);
        let known = stamped.key.as_ref().is_some_and(|key| !self.keys.insert(key.clone()));
        self.from.push(stamped);
        if known {
            return json!({ "sent": 0 });
        }
        let messages = request.body.get("messages").and_then(Value::as_array);
        let messages = messages.map_or(&[][..], Vec::as_slice);
        let broken =
            messages.iter().filter(|message| message.to_string().contains(fixtures::TOKEN));
        self.broken += count(broken.count());
        self.sent += count(messages.len());
        json!({ "sent": messages.len() })
    }
}

/// Messages to people, in Slack's format.
#[derive(Debug, Default)]
pub(crate) struct Chat {
    messages: Vec<Value>,
}

impl Chat {
    /// The text of the message about an intent.
    pub(crate) fn about(&self, intent: &str) -> Option<String> {
        let section = |message: &Value| {
            message.pointer("/blocks/0/text/text").and_then(Value::as_str).map(str::to_owned)
        };
        self.messages.iter().filter_map(section).find(|text| text.contains(intent))
    }

    /// How many there are about an intent.
    pub(crate) fn count(&self, intent: &str) -> u64 {
        let about = |message: &&Value| message.to_string().contains(intent);
        count(self.messages.iter().filter(about).count())
    }
}

impl Target for Chat {
    fn take(&mut self, request: &Received) -> Value {
        self.messages.push(request.body.clone());
        json!({ "ok": true })
    }
}

/// Lengths as counts.
pub(crate) fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    fn request(body: Value, headers: &[(&str, &str)]) -> Received {
        let mut request = Request::post("/");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Received::of(request.body(body).unwrap())
    }

    #[test]
    #[rustfmt::skip]
    fn cleared_is_what_was_there_and_is_empty_after() {
        let row = json!({"id": "a", "phone": "1", "mail": "", "score": 0, "none": null});
        let cases = [
            // what is set, values cleared
            (json!({"phone": null}),               1),
            (json!({"phone": ""}),                 1),
            (json!({"phone": "2", "score": null}), 1),
            (json!({"phone": "", "score": ""}),    2),
            (json!({"mail": null, "none": ""}),    0),
            (json!({"unknown": null}),             0),
            (json!({}),                            0),
        ];
        for (set, expected) in cases {
            let mut crm = Crm::holding(vec![row.as_object().unwrap().clone()]);
            let payload = json!({"records": [{"id": "a", "set": set}]});
            assert_eq!(crm.would_clear(&payload).len(), expected, "{payload}");
            crm.take(&request(payload.clone(), &[]));
            assert_eq!((crm.written, crm.cleared), (1, count(expected)), "{payload}");
            assert_eq!(crm.would_clear(&payload), [], "what is empty is not cleared again");
        }
    }

    #[test]
    fn the_incidents_do_to_their_targets_what_they_are_known_for() {
        let mut crm = Crm::holding(fixtures::crm_rows());
        crm.take(&request(fixtures::bulk_overwrite()["payload"].clone(), &[]));
        assert_eq!((crm.rows(), crm.written, crm.cleared), (847, 847, 705));
        let mut mail = Mail::default();
        mail.take(&request(fixtures::broken_batch()["payload"].clone(), &[]));
        assert_eq!((mail.sent, mail.broken), (312, 104));
        mail.take(&request(fixtures::mended_batch()["payload"].clone(), &[]));
        assert_eq!((mail.sent, mail.broken), (624, 104));
    }

    #[test]
    fn a_known_key_sends_nothing_again_and_a_call_is_always_a_call() {
        let (mut mail, mut phone) = (Mail::default(), Phone::default());
        let batch = fixtures::mended_batch()["payload"].clone();
        let call = fixtures::call()["payload"].clone();
        for key in ["one", "one", "two"] {
            mail.take(&request(batch.clone(), &[("Idempotency-Key", key)]));
            phone.take(&request(call.clone(), &[("Idempotency-Key", key)]));
        }
        assert_eq!((mail.sent, mail.from.len()), (624, 3));
        assert_eq!((phone.calls_to("lead-20931"), phone.calls_to("lead-1")), (3, 0));
    }
}
