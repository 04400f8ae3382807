//! Administration of destinations and channels: one document put or deleted, or a whole set.
//!
//! Invariant: no document comes into force that refers to a secret which this node's configuration
//! does not declare for the namespace, or that its connector could not fill in.

use std::fmt;
use std::sync::Arc;

use ledger::{
    ApplyChannels, ApplyDestinations, Command, Fault, Read, Refusal, Reply, SetHead, query,
};
use policy::{Problem, documents};
use types::limits::POLICY_PROBLEMS_MAX;
use types::{Channel, Destination, NamespaceId, Role, destination};

use crate::errors::GateError;
use crate::handle::{Answer, Caller, Gate};
use crate::read::Freshness;

/// How often a change of one document is tried on a newer version.
const TRIES_MAX: usize = 8;

/// Whether the configuration declares a secret for a namespace: names of both.
pub type SecretDeclared = Arc<dyn Fn(&str, &str) -> bool + Send + Sync>;

/// What a connector says of a destination, such as a template that cannot be read; it begins with
/// the field, as in `request.body: …`.
pub type CheckDestination = Arc<dyn Fn(&Destination) -> Result<(), String> + Send + Sync>;

/// What this node says of a channel, such as a secret that may not go to its host.
pub type CheckChannel = Arc<dyn Fn(&Channel) -> Result<(), String> + Send + Sync>;

/// What this node says of the url of a webhook, such as an address that agents may not reach.
pub type CheckWebhook = Arc<dyn Fn(&str) -> Result<(), String> + Send + Sync>;

/// What documents, and urls of webhooks, must pass on this node, beside their own grammar.
#[derive(Clone)]
pub struct DocumentChecks {
    /// Which secrets a document may refer to.
    pub secret_declared: SecretDeclared,
    /// Whether a connector could use a destination.
    pub check_destination: Option<CheckDestination>,
    /// Whether a channel could be told.
    pub check_channel: Option<CheckChannel>,
    /// Whether a webhook could be told.
    pub check_webhook: Option<CheckWebhook>,
}

impl Default for DocumentChecks {
    /// No secret is declared, and nobody is asked.
    fn default() -> Self {
        Self {
            secret_declared: Arc::new(|_, _| false),
            check_destination: None,
            check_channel: None,
            check_webhook: None,
        }
    }
}

impl fmt::Debug for DocumentChecks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DocumentChecks").finish_non_exhaustive()
    }
}

/// One document put or deleted.
#[derive(Debug, Clone)]
pub struct SettingChange {
    /// The name of the destination or channel.
    pub name: String,
    /// Its YAML; `None` deletes it.
    pub yaml: Option<Vec<u8>>,
    /// Refused unless this version of the set is in force.
    pub if_version: Option<u64>,
}

/// One document that came into force or left.
#[derive(Debug, Clone)]
pub struct NewSetting<T> {
    /// The ledger's answer, about the set.
    pub answer: Answer,
    /// As compiled; `None` if it was deleted.
    pub document: Option<T>,
    /// There was no such document before.
    pub created: bool,
}

/// A set that came into force.
#[derive(Debug, Clone)]
pub struct NewSettings {
    /// The ledger's answer.
    pub answer: Answer,
    /// The names of its documents, sorted.
    pub names: Vec<String>,
}

impl Gate {
    /// Puts or deletes one destination.
    ///
    /// # Errors
    /// [`GateError::InvalidDestination`] with every problem found, [`GateError::NotFound`] when
    /// there is nothing to delete; refusals are answers.
    pub async fn change_destination(
        &self,
        caller: &Caller,
        change: SettingChange,
    ) -> Result<NewSetting<Destination>, GateError> {
        self.change_setting(caller, change).await
    }

    /// Puts or deletes one channel.
    ///
    /// # Errors
    /// As [`Gate::change_destination`], with [`GateError::InvalidChannel`].
    pub async fn change_channel(
        &self,
        caller: &Caller,
        change: SettingChange,
    ) -> Result<NewSetting<Channel>, GateError> {
        self.change_setting(caller, change).await
    }

    /// Brings a whole set of destinations into force, documents by name.
    ///
    /// # Errors
    /// [`GateError::InvalidDestination`] with every problem found; refusals are answers.
    pub async fn apply_destinations(
        &self,
        caller: &Caller,
        documents: Vec<(String, Vec<u8>)>,
        if_version: Option<u64>,
    ) -> Result<NewSettings, GateError> {
        self.apply_set::<Destination>(caller, documents, if_version).await
    }

    /// Brings a whole set of channels into force, documents by name.
    ///
    /// # Errors
    /// As [`Gate::apply_destinations`], with [`GateError::InvalidChannel`].
    pub async fn apply_channels(
        &self,
        caller: &Caller,
        documents: Vec<(String, Vec<u8>)>,
        if_version: Option<u64>,
    ) -> Result<NewSettings, GateError> {
        self.apply_set::<Channel>(caller, documents, if_version).await
    }

    async fn apply_set<T: Setting>(
        &self,
        caller: &Caller,
        documents: Vec<(String, Vec<u8>)>,
        if_version: Option<u64>,
    ) -> Result<NewSettings, GateError> {
        caller.need(Role::may_administer, "admin")?;
        let mut set: Vec<T> = self.compiled(caller.namespace, documents).await?;
        set.sort_by(|one, other| one.name().cmp(other.name()));
        let names = set.iter().map(|document| document.name().to_owned()).collect();
        let answer = self.command(caller, None, T::command(if_version, set)).await?;
        Ok(NewSettings { answer, names })
    }

    async fn change_setting<T: Setting>(
        &self,
        caller: &Caller,
        change: SettingChange,
    ) -> Result<NewSetting<T>, GateError> {
        caller.need(Role::may_administer, "admin")?;
        let document = match change.yaml {
            None => None,
            Some(yaml) => {
                let documents = vec![(change.name.clone(), yaml)];
                self.compiled::<T>(caller.namespace, documents).await?.pop()
            }
        };
        for _ in 0..TRIES_MAX {
            let (version, mut set) = self.set_in_force::<T>(caller.namespace).await?;
            let before = set.len();
            set.retain(|other| other.name() != change.name);
            let existed = set.len() < before;
            if document.is_none() && !existed {
                return Err(GateError::NotFound(T::NOT_FOUND));
            }
            set.extend(document.clone());
            set.sort_by(|one, other| one.name().cmp(other.name()));
            let if_version = Some(change.if_version.unwrap_or(version));
            let answer = self.command(caller, None, T::command(if_version, set)).await?;
            let moved = matches!(answer.reply, Reply::Refused(Refusal::VersionMismatch { .. }));
            if !moved || change.if_version.is_some() {
                return Ok(NewSetting { answer, document, created: !existed });
            }
        }
        Err(GateError::SettingsMoving)
    }

    /// The set in force, read freshly: it may have been changed on another node a moment ago, and
    /// whether a document was there before is part of the answer.
    async fn set_in_force<T: Setting>(
        &self,
        namespace: NamespaceId,
    ) -> Result<(u64, Vec<T>), GateError> {
        let read = self.read(Freshness::default(), |state, _| match T::head(state, namespace)? {
            Some(head) => Ok((head.version, T::set(state, namespace, head.version)?.to_vec())),
            None => Ok((0, Vec::new())),
        });
        Ok(read.await?.0)
    }

    /// Reads and checks documents; every problem of all of them is an error.
    async fn compiled<T: Setting>(
        &self,
        namespace: NamespaceId,
        documents: Vec<(String, Vec<u8>)>,
    ) -> Result<Vec<T>, GateError> {
        let namespace = self.namespace_name(namespace)?;
        let checks = self.settings().documents.clone();
        // Reading can take long for a hostile document, so it never runs on a request thread.
        let reading = self.beside().large(move || {
            let (mut set, mut problems) = (Vec::new(), Vec::new());
            for (name, source) in documents {
                match T::read(&name, &source) {
                    Ok(document) => {
                        problems.extend(faults(&document, &checks, &namespace));
                        set.push(document);
                    }
                    Err(mut found) => problems.append(&mut found),
                }
                problems.truncate(POLICY_PROBLEMS_MAX);
            }
            if problems.is_empty() { Ok(set) } else { Err(T::invalid(problems)) }
        });
        reading.await?
    }
}

/// What this node has against a document that is well written.
fn faults<T: Setting>(document: &T, checks: &DocumentChecks, namespace: &str) -> Vec<Problem> {
    let mut problems: Vec<Problem> = Vec::new();
    for text in document.texts() {
        for secret in destination::secret_names(text) {
            if (checks.secret_declared)(secret, namespace) {
                continue;
            }
            let message = format!(
                "the secret `{secret}` is not declared for the namespace `{namespace}`; declare it \
                 in the configuration of every node"
            );
            let reference = format!("${{secret:{secret}}}");
            let place = (document.name(), document.source(), reference.as_str());
            let problem = documents::problem_at(place.0, place.1, place.2, message);
            if !problems.contains(&problem) {
                problems.push(problem);
            }
        }
    }
    if let Err(message) = document.check(checks) {
        // A connector begins with the field that it speaks of.
        let field = message.split_once(": ").map_or("", |(field, _)| field).to_owned();
        let (name, source) = (document.name(), document.source());
        problems.push(documents::problem_in(name, source, &field, message));
    }
    problems
}

/// The two kinds of document, which change alike.
trait Setting: Clone + Send + Sync + Sized + 'static {
    const NOT_FOUND: &'static str;

    fn read(name: &str, source: &[u8]) -> Result<Self, Vec<Problem>>;
    fn invalid(problems: Vec<Problem>) -> GateError;
    fn check(&self, checks: &DocumentChecks) -> Result<(), String>;
    fn name(&self) -> &str;
    fn source(&self) -> &[u8];
    /// Every text in which a secret may stand.
    fn texts(&self) -> Vec<&str>;
    fn head(state: &dyn Read, namespace: NamespaceId) -> Result<Option<SetHead>, Fault>;
    fn set(state: &dyn Read, namespace: NamespaceId, version: u64)
    -> Result<Arc<Vec<Self>>, Fault>;
    fn command(if_version: Option<u64>, set: Vec<Self>) -> Command;
}

impl Setting for Destination {
    const NOT_FOUND: &'static str = "no such destination";

    fn read(name: &str, source: &[u8]) -> Result<Self, Vec<Problem>> {
        documents::destination(name, source)
    }

    fn invalid(problems: Vec<Problem>) -> GateError {
        GateError::InvalidDestination(problems)
    }

    fn check(&self, checks: &DocumentChecks) -> Result<(), String> {
        checks.check_destination.as_ref().map_or(Ok(()), |check| check(self))
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn source(&self) -> &[u8] {
        &self.source
    }

    fn texts(&self) -> Vec<&str> {
        Destination::texts(self).collect()
    }

    fn head(state: &dyn Read, namespace: NamespaceId) -> Result<Option<SetHead>, Fault> {
        Ok(query::settings_head(state, namespace)?.destinations)
    }

    fn set(
        state: &dyn Read,
        namespace: NamespaceId,
        version: u64,
    ) -> Result<Arc<Vec<Self>>, Fault> {
        state.destinations(namespace, version)
    }

    fn command(if_version: Option<u64>, destinations: Vec<Self>) -> Command {
        Command::ApplyDestinations(Box::new(ApplyDestinations { if_version, destinations }))
    }
}

impl Setting for Channel {
    const NOT_FOUND: &'static str = "no such channel";

    fn read(name: &str, source: &[u8]) -> Result<Self, Vec<Problem>> {
        documents::channel(name, source)
    }

    fn invalid(problems: Vec<Problem>) -> GateError {
        GateError::InvalidChannel(problems)
    }

    fn check(&self, checks: &DocumentChecks) -> Result<(), String> {
        checks.check_channel.as_ref().map_or(Ok(()), |check| check(self))
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn source(&self) -> &[u8] {
        &self.source
    }

    fn texts(&self) -> Vec<&str> {
        [self.url.as_str()].into_iter().chain(self.secret.as_deref()).collect()
    }

    fn head(state: &dyn Read, namespace: NamespaceId) -> Result<Option<SetHead>, Fault> {
        Ok(query::settings_head(state, namespace)?.channels)
    }

    fn set(
        state: &dyn Read,
        namespace: NamespaceId,
        version: u64,
    ) -> Result<Arc<Vec<Self>>, Fault> {
        state.channels(namespace, version)
    }

    fn command(if_version: Option<u64>, channels: Vec<Self>) -> Command {
        Command::ApplyChannels(Box::new(ApplyChannels { if_version, channels }))
    }
}
