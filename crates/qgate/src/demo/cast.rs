//! Who takes part: agents that ask, a reviewer who decides, an admin who sets the stage.

use std::time::Duration;

use client::{Answer, Client, Decision, Endpoint, Error, Method, Request, Settings};
use serde_json::Value;
use types::Role;

use crate::demo::targets::Targets;
use crate::dev_keys;
use crate::dev_state::DevFile;
use crate::failure::Failure;

/// How long one long poll waits.
const WAIT: &str = "30s";
/// The same for the client.
const PATIENCE: Duration = Duration::from_secs(30);

/// One agent: its name and its own key.
pub(crate) struct Agent {
    pub(crate) name: &'static str,
    pub(crate) client: Client,
}

/// Everybody.
pub(crate) struct Cast {
    pub(crate) admin: Client,
    pub(crate) reviewer: Client,
    /// Enriches CRM records.
    pub(crate) enrichment: Agent,
    /// Calls leads.
    pub(crate) caller: Agent,
    /// Takes over when the first one gets no answer.
    pub(crate) retry: Agent,
    /// Sends mails.
    pub(crate) mailer: Agent,
}

impl Cast {
    /// Registers the agents, each with a key of its own.
    ///
    /// # Errors
    /// What the gate says.
    pub(crate) async fn of(file: &DevFile) -> Result<Self, Failure> {
        let keys = &file.keys;
        let endpoints = file.nodes.iter().map(|node| node.http.parse::<Endpoint>());
        let endpoints = endpoints.collect::<Result<Vec<_>, _>>().map_err(Error::from)?;
        let client = |key: &str| {
            let settings = Settings::new(endpoints.clone()).with_key(key);
            Client::new(settings).map_err(Failure::from)
        };
        let admin = client(&keys.admin_key)?;
        let agent = async |name: &'static str| {
            let key = dev_keys::register(&admin, name, Role::Agent).await?;
            Ok::<_, Failure>(Agent { name, client: client(&key)? })
        };
        Ok(Self {
            enrichment: agent("enrichment-agent").await?,
            caller: agent("calling-agent").await?,
            retry: agent("calling-agent-retry").await?,
            mailer: agent("mail-agent").await?,
            reviewer: client(&keys.reviewer_keys[0])?,
            admin,
        })
    }

    /// Tells the gate how the targets are reached and whom it tells of what is held.
    ///
    /// # Errors
    /// What the gate says.
    pub(crate) async fn set_stage(&self, targets: &Targets) -> Result<(), Failure> {
        for (name, document) in targets.destinations() {
            self.put("destinations", name, document).await?;
        }
        let (name, document) = targets.channel();
        self.put("channels", name, document).await
    }

    /// Which node leads, as the cluster says.
    ///
    /// # Errors
    /// What the gate says.
    pub(crate) async fn leader(&self) -> Result<u64, Failure> {
        let status = self.admin.get(&["v1", "cluster"]).await?;
        status.body["leader_id"].as_u64().ok_or_else(|| Failure::refused("no node leads"))
    }

    async fn put(&self, route: &str, name: &str, document: String) -> Result<(), Failure> {
        let request = Request::new(Method::Put, &["v1", route, name]).yaml(document.into_bytes());
        self.admin.send(request).await?;
        Ok(())
    }

    /// A person looks at an intent and says no to exactly what was shown.
    ///
    /// # Errors
    /// What the gate says.
    pub(crate) async fn reject(&self, intent: &str, reason: &str) -> Result<Answer, Failure> {
        let shown = self.reviewer.intent(intent).await?;
        let digest = shown.text("approval_digest").map(str::to_owned);
        let decision = Decision { digest, reason: Some(reason.to_owned()) };
        Ok(self.reviewer.reject(intent, &decision).await?)
    }
}

impl Agent {
    /// Waits until nothing more happens to an intent without a person, and reads it.
    ///
    /// # Errors
    /// What the gate says.
    pub(crate) async fn outcome(&self, intent: &str) -> Result<Value, Failure> {
        let request = Request::get(&["v1", "intents", intent])
            .query("wait", WAIT)
            .query("until", "done")
            .patience(PATIENCE);
        Ok(self.client.send(request).await?.body)
    }
}
