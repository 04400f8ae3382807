//! What the same requests do without a gate: sent directly, to a second set of the same targets.

use std::time::Duration;

use outbound::{AddressRule, Client, OutboundRequest, Roots};
use serde_json::Value;

use crate::demo::fixtures;
use crate::demo::report::Report;
use crate::demo::story::{BROKEN, CLEARED, LEAD, MESSAGES, RECORDS};
use crate::demo::targets::{CRM_PATH, MAIL_PATH, PHONE_PATH, Targets};
use crate::failure::Failure;

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Sends what the agents asked for in the first place to targets of its own, and counts.
///
/// # Errors
/// A target that cannot be started or reached.
pub(crate) async fn tell(report: &mut Report) -> Result<(), Failure> {
    report.scene("4  Without the gate: the same requests, sent directly to second targets");
    let targets = Targets::start().await?;
    let addresses =
        AddressRule::new(&["127.0.0.0/8"]).map_err(|error| Failure::refused(error.to_string()))?;
    let client = Client::new(addresses, Roots::none());
    let call = fixtures::call();
    let requests = [
        (targets.crm.url(CRM_PATH), fixtures::bulk_overwrite()),
        (targets.phone.url(PHONE_PATH), call.clone()),
        (targets.phone.url(PHONE_PATH), call),
        (targets.mail.url(MAIL_PATH), fixtures::broken_batch()),
    ];
    for (url, intent) in requests {
        send(&client, url, &intent["payload"]).await?;
    }
    let (written, cleared) = targets.crm.seen(|crm| (crm.written, crm.cleared));
    report.check("records written at the CRM", RECORDS, written);
    report.check("clean values cleared at the CRM", CLEARED, cleared);
    let calls = targets.phone.seen(|phone| phone.calls_to(LEAD));
    report.check(&format!("calls to {LEAD}"), 2, calls);
    let (sent, broken) = targets.mail.seen(|mail| (mail.sent, mail.broken));
    report.check("mails sent", MESSAGES, sent);
    report.check("mails with a token", BROKEN, broken);
    Ok(())
}

async fn send(client: &Client, url: String, payload: &Value) -> Result<(), Failure> {
    let request = OutboundRequest {
        method: "POST".into(),
        url,
        headers: vec![("Content-Type".into(), "application/json".into())],
        body: payload.to_string().into_bytes().into(),
        timeout: TIMEOUT,
    };
    let failed = |what: String| Failure::refused(format!("a local target failed: {what}"));
    match client.send(request).await {
        Ok(answer) if answer.status == 200 => Ok(()),
        Ok(answer) => Err(failed(format!("it answered {}", answer.status))),
        Err(error) => Err(failed(error.to_string())),
    }
}
