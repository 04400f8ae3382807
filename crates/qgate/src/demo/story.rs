//! The story: three incidents, one after the other, each as the gate lets it go.
//!
//! Invariant: what is waited for is an event, a long poll at the gate or a request at a target.

use client::Submitted;
use serde_json::{Value, json};

use crate::commands::dev::Nodes;
use crate::demo::cast::{Agent, Cast};
use crate::demo::fixtures;
use crate::demo::report::Report;
use crate::demo::targets::{Targets, count};
use crate::failure::Failure;

/// Records that the enrichment agent proposes, and rows of the CRM.
pub(crate) const RECORDS: u64 = 847;
/// Clean values that they would empty.
pub(crate) const CLEARED: u64 = 705;
/// Messages of the batch.
pub(crate) const MESSAGES: u64 = 312;
/// Those of them that show a token.
pub(crate) const BROKEN: u64 = 104;
/// Whom the agents call.
pub(crate) const LEAD: &str = "lead-20931";
/// Examples that are shown of many.
const EXAMPLES: usize = 3;

/// An intent, as the table at the end shows it.
pub(crate) struct Told {
    pub(crate) intent: String,
    pub(crate) row: Value,
}

/// What is needed to tell it.
pub(crate) struct Story<'s> {
    pub(crate) cast: &'s Cast,
    pub(crate) targets: &'s Targets,
    pub(crate) report: &'s mut Report,
    pub(crate) told: Vec<Told>,
}

impl Story<'_> {
    /// An agent would write 847 records of which many blank good values; a person says no.
    ///
    /// # Errors
    /// What the gate says.
    pub(crate) async fn bulk_overwrite(&mut self) -> Result<(), Failure> {
        self.report.scene("1  Bulk overwrite: half an answer of an upstream, 847 records");
        let (agent, intent) = (&self.cast.enrichment, fixtures::bulk_overwrite());
        let rows = self.targets.crm.seen(|crm| count(crm.rows()));
        self.report.say(&format!("The CRM holds {rows} rows. {} submits its write.", agent.name));
        let submitted = agent.client.submit(&intent, None).await?;
        let (id, body) = (&submitted.id, &submitted.answer.body);
        self.held(&submitted, "crm-enrichment-guard", "require_approval_over", "gates.yaml:7");
        self.report.check("records in the intent", RECORDS, body["record_count"].clone());

        let cleared = self.targets.crm.seen(|crm| crm.would_clear(&intent["payload"]));
        self.report.check("clean values it would clear", CLEARED, count(cleared.len()));
        for value in cleared.iter().take(EXAMPLES) {
            let (before, after) = (&value.before, &value.after);
            let place = format!("{} {}", value.record, value.field);
            self.report.say(&format!("        {place}: {before} would become {after}"));
        }
        self.notified(id).await?;
        self.untouched();
        let reason = format!("half an answer: {} clean values would be cleared", cleared.len());
        self.rejected(agent, id, &reason).await?;
        self.untouched();
        self.remember(&submitted, agent, &intent, "rejected");
        Ok(())
    }

    /// The same lead is called twice; the second is refused and told which one stands.
    ///
    /// # Errors
    /// What the gate says.
    pub(crate) async fn duplicate_call(&mut self, nodes: &mut Nodes) -> Result<(), Failure> {
        self.report.scene("2  Duplicate call: the leader dies, and another agent retries");
        let (agent, retry) = (&self.cast.caller, &self.cast.retry);
        let call = fixtures::call();
        self.report.say(&format!("{} asks for a call to {LEAD}.", agent.name));
        let first = agent.client.submit(&call, None).await?;
        self.report.check("status", "approved", first.answer.body["status"].clone());
        self.report.waiting("for the gate's executor to make the call");
        self.targets.phone.until("the call", |phone| phone.calls_to(LEAD) > 0).await?;
        let outcome = agent.outcome(&first.id).await?;
        self.report.check("phase", "succeeded", outcome["phase"].clone());
        let from = self.targets.phone.seen(|phone| phone.from[0].intent.clone());
        self.report.check("Gate-Intent at the phone line", first.id.clone(), from);

        let leader = self.cast.leader().await?;
        self.report.say(&format!("Node {leader} leads. It is killed, as by a power cut."));
        nodes.kill(leader).await?;
        self.report.say(&format!("{} saw a time-out and asks for the same call.", retry.name));
        let second = retry.client.submit(&call, None).await?;
        let next = self.cast.leader().await?;
        self.report.check("another node leads now", true, next != leader);
        let body = &second.answer.body;
        self.report.check("status", "duplicate_blocked", body["status"].clone());
        self.report.check("it names the first intent", first.id.clone(), body["intentId"].clone());
        self.report.check("which already has status", "succeeded", body["existingStatus"].clone());
        let ends = body["windowEndsAt"].as_str();
        self.report.check("it says when the window ends", true, ends.is_some());
        self.report
            .say(&format!("        the next call to {LEAD} may be at {}", ends.unwrap_or("?")));
        self.called_once();
        self.remember(&first, agent, &call, "succeeded");
        self.remember(&second, retry, &call, "refused");
        Ok(())
    }

    /// A batch with tokens of its template is held and told to people; the mended one goes out.
    ///
    /// # Errors
    /// What the gate says.
    pub(crate) async fn broken_template(&mut self) -> Result<(), Failure> {
        self.report.scene("3  Broken template: \"Hello {{customer_name}}\" to hundreds");
        let agent = &self.cast.mailer;
        self.report.say(&format!("{} submits a batch of mails.", agent.name));
        let batch = fixtures::broken_batch();
        let submitted = agent.client.submit(&batch, None).await?;
        let (id, body) = (&submitted.id, &submitted.answer.body);
        let rule = "require_approval_if_template_error";
        let reason = self.held(&submitted, "email-template-guard", rule, "gates.yaml:19");
        let found = format!("{} of {}", reason["hits_total"], body["record_count"]);
        self.report.check("messages with a token", format!("{BROKEN} of {MESSAGES}"), found);
        let hits = reason["hits"].as_array().map_or(&[][..], Vec::as_slice);
        for hit in hits.iter().take(EXAMPLES) {
            let (path, excerpt) = (text(hit, "path"), text(hit, "excerpt"));
            self.report.say(&format!("        {path}: {excerpt}"));
        }
        self.notified(id).await?;
        self.mailed(0, "mails sent");
        self.rejected(agent, id, "the template was not filled in").await?;
        self.mailed(0, "mails sent");
        self.remember(&submitted, agent, &batch, "rejected");

        self.report.say(&format!("{} fills in the template and submits again.", agent.name));
        let mended = agent.client.submit(&fixtures::mended_batch(), None).await?;
        self.report.check("status", "approved", mended.answer.body["status"].clone());
        self.report.waiting("for the gate's executor to send the batch");
        self.targets.mail.until("the batch", |mail| !mail.from.is_empty()).await?;
        let outcome = agent.outcome(&mended.id).await?;
        self.report.check("phase", "succeeded", outcome["phase"].clone());
        self.mailed(MESSAGES, "mails sent");
        let from = self.targets.mail.seen(|mail| mail.from.clone());
        self.report.check("requests at the mail server", 1, count(from.len()));
        self.report.check("its Gate-Intent", mended.id.clone(), from[0].intent.clone());
        self.report.check("its Idempotency-Key", mended.id.clone(), from[0].key.clone());
        self.remember(&mended, agent, &batch, "succeeded");
        Ok(())
    }

    /// Nothing can come any more: every target got what it should and no more.
    pub(crate) fn last_look(&mut self) {
        self.report.scene("6  The gate has stopped: what every target got in all");
        self.untouched();
        self.called_once();
        self.mailed(MESSAGES, "mails sent");
        let broken = self.targets.mail.seen(|mail| mail.broken);
        self.report.check("mails with a token", 0, broken);
    }

    /// Checks that policy held an intent, and for which reason; gives that reason.
    fn held(&mut self, submitted: &Submitted, gate: &str, rule: &str, place: &str) -> Value {
        let body = &submitted.answer.body;
        self.report.check("status", "pending_approval", body["status"].clone());
        let reasons = body["reasons"].as_array().map_or(&[][..], Vec::as_slice);
        let found = reasons.iter().find(|reason| reason["gate"] == gate);
        let reason = found.cloned().unwrap_or_default();
        let by = |gate: &str, rule: &str, place: &str| format!("gate {gate}, {rule}, {place}");
        let at = format!("{}:{}", text(&reason, "file"), reason["line"]);
        let found = by(text(&reason, "gate"), text(&reason, "rule"), &at);
        self.report.check("held by", by(gate, rule, place), found);
        self.report.say(&format!("        {}", text(&reason, "message")));
        reason
    }

    /// Waits for the message to people and shows it.
    async fn notified(&mut self, id: &str) -> Result<(), Failure> {
        self.report.waiting("for the message to the people's chat");
        let chat = &self.targets.chat;
        chat.until("the message", |chat| chat.about(id).is_some()).await?;
        let message = chat.seen(|chat| chat.about(id)).unwrap_or_default();
        message.lines().for_each(|line| self.report.say(&format!("        | {line}")));
        self.report.check("messages to people about it", 1, chat.seen(|chat| chat.count(id)));
        Ok(())
    }

    /// A person says no, and the agent learns it from its long poll.
    async fn rejected(&mut self, agent: &Agent, id: &str, reason: &str) -> Result<(), Failure> {
        self.report.say(&format!("A reviewer rejects it: \"{reason}\"."));
        let asked = agent.outcome(id);
        let (outcome, decided) = tokio::join!(asked, self.cast.reject(id, reason));
        decided?;
        let outcome = outcome?;
        self.report.check("the agent learns", "rejected", outcome["phase"].clone());
        self.report.check(
            "with the reviewer's words",
            reason,
            outcome["decided"]["reason"].clone(),
        );
        Ok(())
    }

    fn untouched(&mut self) {
        let (written, cleared) = self.targets.crm.seen(|crm| (crm.written, crm.cleared));
        self.report.check("records written at the CRM", 0, written);
        self.report.check("values cleared at the CRM", 0, cleared);
    }

    fn called_once(&mut self) {
        let calls = self.targets.phone.seen(|phone| phone.calls_to(LEAD));
        self.report.check(&format!("calls to {LEAD}"), 1, calls);
    }

    fn mailed(&mut self, expected: u64, what: &str) {
        self.report.check(what, expected, self.targets.mail.seen(|mail| mail.sent));
    }

    /// Keeps a row for the table at the end.
    fn remember(&mut self, submitted: &Submitted, agent: &Agent, intent: &Value, then: &str) {
        let body = &submitted.answer.body;
        let rule = body.pointer("/reasons/0/rule").or_else(|| body.get("rule"));
        let row = json!({
            "intent": submitted.id,
            "resource": intent["resource"],
            "agent": agent.name,
            "decision": submitted.verdict.name(),
            "rule": rule,
            "then": then,
        });
        self.told.push(Told { intent: submitted.id.clone(), row });
    }
}

/// A text field, or nothing.
pub(crate) fn text<'v>(value: &'v Value, field: &str) -> &'v str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}
