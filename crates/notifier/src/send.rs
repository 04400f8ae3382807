//! One attempt to deliver one notification.
//!
//! Invariant: what is kept of a failure, and so is read by agents, names no host, no address, no
//! secret and no file of this node; the rest of it is for the node's own log.

use std::time::Duration;

use gate::ids::unix_ms;
use gate::{Dispatch, Target};
use outbound::{OutboundRequest, SecretError, SendError};
use types::limits::DELIVERY_TIMEOUT_MS;
use types::{Channel, ChannelKind};

use crate::run::Means;
use crate::{slack, webhook};

/// Why a notification did not arrive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Undelivered {
    /// What is kept.
    pub(crate) why: String,
    /// What only the log of this node says.
    pub(crate) detail: Option<String>,
    /// A secret was not to be had.
    pub(crate) wants_secret: bool,
}

impl Undelivered {
    fn because(why: impl Into<String>) -> Self {
        Self { why: why.into(), detail: None, wants_secret: false }
    }
}

impl From<SecretError> for Undelivered {
    fn from(error: SecretError) -> Self {
        let detail = Some(error.to_string());
        Self { why: error.code().into(), detail, wants_secret: true }
    }
}

impl From<SendError> for Undelivered {
    fn from(error: SendError) -> Self {
        Self { detail: Some(error.to_string()), ..Self::because(error.public()) }
    }
}

/// Sends once.
pub(crate) async fn attempted(
    means: &Means,
    dispatch: &Dispatch,
    attempt: u32,
) -> Result<(), Undelivered> {
    let (client, request) = match &dispatch.to {
        None => return Err(Undelivered::because("there is no such channel any more")),
        Some(Target::SealedWebhook) => {
            let why = "the webhook's secret cannot be opened; register it again";
            return Err(Undelivered::because(why));
        }
        Some(Target::Webhook { url, secret }) => {
            // An agent's own words: nothing in them refers to a secret of this node.
            let body = webhook::body(dispatch, attempt);
            (&means.webhooks, signed(dispatch, url.clone(), secret.as_deref(), body))
        }
        Some(Target::Channel(channel)) => {
            (&means.client, of_channel(means, dispatch, channel, attempt).await?)
        }
    };
    match client.send(request).await {
        Ok(answer) if (200..300).contains(&answer.status) => Ok(()),
        Ok(answer) => Err(Undelivered::because(format!("the receiver answered {}", answer.status))),
        Err(error) => Err(error.into()),
    }
}

async fn of_channel(
    means: &Means,
    dispatch: &Dispatch,
    channel: &Channel,
    attempt: u32,
) -> Result<OutboundRequest, Undelivered> {
    let namespace = dispatch.namespace_name.as_str();
    let url = means.secrets.resolve_url(&channel.url, namespace).await?;
    match channel.kind {
        ChannelKind::Slack => {
            Ok(json_request(url.expose().to_owned(), vec![], slack::body(dispatch)))
        }
        ChannelKind::Webhook => {
            let host = outbound::host_of(url.expose()).map_err(|detail| Undelivered {
                detail: Some(detail),
                ..Undelivered::because("the channel's url is none that can be sent to")
            })?;
            let body = webhook::body(dispatch, attempt);
            let text = channel.secret.as_deref().unwrap_or_default();
            let secret = means.secrets.resolve(text, namespace, &host).await?;
            let key = channel.secret.is_some().then(|| secret.expose());
            Ok(signed(dispatch, url.expose().to_owned(), key, body))
        }
    }
}

fn signed(
    dispatch: &Dispatch,
    url: String,
    secret: Option<&str>,
    body: Vec<u8>,
) -> OutboundRequest {
    let mut headers = vec![("X-Gate-Delivery-ID".to_owned(), dispatch.row.id.to_string())];
    if let Some(secret) = secret {
        let signature = webhook::signature(secret, unix_ms(), &body);
        headers.push(("X-Gate-Signature".into(), signature));
    }
    json_request(url, headers, body)
}

fn json_request(url: String, mut headers: Vec<(String, String)>, body: Vec<u8>) -> OutboundRequest {
    headers.push(("Content-Type".into(), "application/json".into()));
    OutboundRequest {
        method: "POST".into(),
        url,
        headers,
        body: body.into(),
        timeout: Duration::from_millis(DELIVERY_TIMEOUT_MS),
    }
}

#[cfg(test)]
mod tests {
    use outbound::{AddressRule, Client, Roots, SecretDeclaration, SecretSource, Secrets};
    use types::{Digest, Notice};

    use super::*;
    use crate::message::tests::dispatch;

    /// Means that may connect to this machine for channels, and nowhere private for webhooks.
    fn means(file: &str) -> Means {
        let client = |rule| Client::new(rule, Roots::none());
        let declared = |name: &str, host: &str| SecretDeclaration {
            name: name.into(),
            source: SecretSource::File(file.into()),
            namespaces: Vec::new(),
            hosts: vec![host.into()],
        };
        let secrets = vec![declared("hook_signing", "127.0.0.1"), declared("other", "a.example")];
        Means {
            client: client(AddressRule::new(&["127.0.0.0/8"]).unwrap()),
            webhooks: client(AddressRule::public_only()),
            secrets: Secrets::new(secrets).unwrap(),
        }
    }

    fn channel(url: &str, secret: Option<&str>) -> Option<Target> {
        Some(Target::Channel(Box::new(Channel {
            name: "ops".into(),
            kind: ChannelKind::Webhook,
            url: url.into(),
            secret: secret.map(str::to_owned),
            events: vec![Notice::Held],
            resources: Vec::new(),
            digest: Digest::of(b""),
            source: Vec::new(),
        })))
    }

    #[tokio::test]
    #[rustfmt::skip]
    async fn what_is_kept_names_nothing_of_this_node() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let here = format!("http://127.0.0.1:{port}/hook");
        let webhook = |url: &str| Some(Target::Webhook { url: url.into(), secret: None });
        let cases = [
            (None,                                           "no such channel"),
            (Some(Target::SealedWebhook),                    "secret cannot be opened"),
            (channel(&here, Some("${secret:hook_signing}")), "secret_unavailable"),
            (channel(&here, Some("${secret:other}")),        "secret_not_permitted"),
            (channel(&here, Some("${secret:nobody}")),       "secret_undeclared"),
            (channel("${secret:hook_signing}", None),        "secret_unavailable"),
            (channel("ftp://127.0.0.1/", None),              "none that can be sent to"),
            (channel(&here, None),                           "no connection: connection refused"),
            (channel("http://10.0.0.7/", None),              "does not let it connect"),
            // What channels may reach is closed to webhooks.
            (webhook(&here),                                 "does not let it connect"),
        ];
        let means = means("/etc/qgate/crm.key");
        for (to, expected) in cases {
            let told = Dispatch { to, ..dispatch(Notice::Held) };
            let error = attempted(&means, &told, 1).await.unwrap_err();
            assert!(error.why.contains(expected), "{error:?}");
            assert_eq!(error.wants_secret, error.why.starts_with("secret_"), "{error:?}");
            for private in ["/etc", "crm.key", "hook_signing", "nobody", "127.0.0.1", "10.0.0.7"] {
                assert!(!error.why.contains(private), "{error:?}");
            }
        }
    }
}
