//! Webhooks that agents register, and what the notifier asks of the gate.
//!
//! Invariant: the secret of a webhook is sealed before it is sent to the log, and opened only where
//! something is signed with it.

use ledger::{
    Command, DeliveryRow, Read, Receiver, RegisterWebhook, ReportDelivery, RequestKey, query,
};
use types::{Channel, DeliveryId, IntentId, LogTime, NamespaceId, Reason, WebhookId};

use crate::errors::GateError;
use crate::handle::{Answer, Caller, Gate};

/// A webhook that somebody registers.
#[derive(Debug, Clone)]
pub struct WebhookRequest {
    /// For which intent.
    pub intent: IntentId,
    /// Where to send.
    pub url: String,
    /// Signs what is sent.
    pub secret: Option<String>,
    /// The `Idempotency-Key` header.
    pub request_key: Option<RequestKey>,
}

/// A notification with all that sending it needs.
#[derive(Debug, Clone)]
pub struct Dispatch {
    /// The notification.
    pub row: DeliveryRow,
    /// Where its intent is.
    pub namespace: NamespaceId,
    /// The namespace's name.
    pub namespace_name: String,
    /// To whom; `None` if the channel is gone.
    pub to: Option<Target>,
    /// The resource.
    pub destination: String,
    /// In the agent's word.
    pub trigger: Option<String>,
    /// Records counted in the payload.
    pub record_count: Option<u64>,
    /// What policy said, most severe first.
    pub reasons: Vec<Reason>,
    /// The name of the agent that asked.
    pub agent: String,
}

/// To whom a notification goes.
#[derive(Debug, Clone)]
pub enum Target {
    /// A channel.
    Channel(Box<Channel>),
    /// A webhook, with its secret in clear text.
    Webhook {
        /// Where to send.
        url: String,
        /// Signs what is sent.
        secret: Option<String>,
    },
    /// A webhook whose secret this node's data key does not open. Unsigned, it would not be what
    /// was asked for, so it cannot be told.
    SealedWebhook,
}

impl Gate {
    /// Registers who is told how an intent is decided.
    ///
    /// # Errors
    /// [`GateError`]; refusals are answers.
    pub async fn register_webhook(
        &self,
        caller: &Caller,
        request: WebhookRequest,
    ) -> Result<Answer, GateError> {
        let standing = self.look(|state, _| {
            Ok(query::webhook(state, caller.namespace, request.intent)?.map(|row| row.id))
        })?;
        let webhook = standing.0.unwrap_or_else(|| WebhookId(self.ids.next()));
        let owner = sealed_for(request.intent);
        let seal = |secret: String| self.settings().data_key.seal(&owner, &secret);
        let secret_sealed = request.secret.map(seal).unwrap_or_default();
        let (intent, url) = (request.intent, request.url);
        let command =
            Command::RegisterWebhook(RegisterWebhook { intent, webhook, url, secret_sealed });
        self.command(caller, request.request_key, command).await
    }

    /// Notifications that are due, with when, from `since` on, at most `limit`.
    ///
    /// # Errors
    /// [`GateError::Fault`].
    pub fn deliveries_due(
        &self,
        since: LogTime,
        limit: usize,
    ) -> Result<Vec<(LogTime, NamespaceId, DeliveryId)>, GateError> {
        let (pending, _) =
            self.look(|state, _| Ok(query::pending_deliveries(state, since, limit)?))?;
        Ok(pending)
    }

    /// The time by which what is due is measured; `None` if this node does not lead.
    #[must_use]
    pub fn leader_time(&self) -> Option<LogTime> {
        self.log().leader_time()
    }

    /// A notification with all that sending it needs; `None` if it is not known here.
    ///
    /// # Errors
    /// [`GateError::Fault`].
    pub fn dispatch(
        &self,
        namespace: NamespaceId,
        delivery: DeliveryId,
    ) -> Result<Option<Dispatch>, GateError> {
        let (found, _) = self.look(|state, _| {
            let Some(row) = query::delivery(state, namespace, delivery)? else { return Ok(None) };
            let Some(head) = query::head(state, namespace, row.intent)? else { return Ok(None) };
            let content = query::content(state, namespace, head.id, head.revision)?;
            let agent = query::agent(state, namespace, head.agent)?;
            let named = query::namespace(state, namespace)?;
            let to = match &row.to {
                Receiver::Channel(name) => channel(state, namespace, name)?,
                Receiver::Webhook(_) => self.webhook(state, namespace, row.intent)?,
            };
            Ok(Some(Dispatch {
                namespace,
                namespace_name: named.map(|row| row.name).unwrap_or_default(),
                agent: agent.map(|agent| agent.name).unwrap_or_default(),
                row,
                to,
                destination: content.proposal.destination,
                trigger: content.proposal.trigger,
                record_count: content.record_count,
                reasons: content.decision.reasons,
            }))
        })?;
        Ok(found)
    }

    /// Says how an attempt to deliver went. Said twice, it counts once.
    ///
    /// # Errors
    /// [`GateError`]: it must be said again.
    pub async fn report_delivery(
        &self,
        namespace: NamespaceId,
        delivery: DeliveryId,
        attempt: u32,
        error: Option<String>,
    ) -> Result<Answer, GateError> {
        let report = ReportDelivery { delivery, attempt, error };
        self.without_key(namespace, Command::ReportDelivery(report)).await
    }

    fn webhook(
        &self,
        state: &dyn Read,
        namespace: NamespaceId,
        intent: IntentId,
    ) -> Result<Option<Target>, GateError> {
        let Some(row) = query::webhook(state, namespace, intent)? else { return Ok(None) };
        let secret = match row.secret_sealed.as_slice() {
            [] => None,
            sealed => match self.settings().data_key.unseal(&sealed_for(intent), sealed) {
                Ok(secret) => Some(secret),
                Err(error) => {
                    tracing::warn!(%intent, %error, "a webhook's secret cannot be opened");
                    return Ok(Some(Target::SealedWebhook));
                }
            },
        };
        Ok(Some(Target::Webhook { url: row.url, secret }))
    }
}

fn channel(
    state: &dyn Read,
    namespace: NamespaceId,
    name: &str,
) -> Result<Option<Target>, GateError> {
    let Some(set) = query::settings_head(state, namespace)?.channels else { return Ok(None) };
    let channels = state.channels(namespace, set.version)?;
    let found = channels.iter().find(|channel| channel.name == name);
    Ok(found.map(|channel| Target::Channel(Box::new(channel.clone()))))
}

/// What a webhook's sealed secret belongs to.
fn sealed_for(intent: IntentId) -> String {
    format!("webhook {intent}")
}
