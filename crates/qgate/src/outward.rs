//! What may leave a node, as its configuration says: networks beyond the public ones, secrets and
//! where they come from. Documents refer to secrets by name and to nothing else of this.
//!
//! Invariant: nothing replicated decides what a node reads or where its secrets go.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use executor::connectors::http;
use gate::{DocumentChecks, Gate};
use outbound::{AddressRule, Client, Roots, SecretDeclaration, SecretSource, Secrets};
use serde::Deserialize;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use types::Connector;

use crate::failure::Failure;
use crate::files;

/// Bytes of a file of certificates.
const ROOTS_BYTES_MAX: usize = 1024 * 1024;

/// Where requests of the executor and the notifier may go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Outbound {
    /// Networks that are not public and may be connected to all the same, such as `10.1.0.0/16`.
    pub(crate) allow: Vec<String>,
    /// Certificates to believe besides the operating system's, PEM. Relative to the configuration.
    pub(crate) ca_file: Option<PathBuf>,
}

/// One secret.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Secret {
    /// A variable of the node's environment.
    env: Option<String>,
    /// A file. Relative to the configuration.
    file: Option<PathBuf>,
    /// A program and its arguments.
    command: Option<Vec<String>>,
    /// Namespaces that may use it; left out: all.
    #[serde(default)]
    namespaces: Vec<String>,
    /// Hosts that may receive it; `*` stands for any characters.
    hosts: Vec<String>,
}

impl Secret {
    fn source(&self, base: &Path) -> Result<SecretSource, &'static str> {
        match (&self.env, &self.file, &self.command) {
            (Some(name), None, None) => Ok(SecretSource::Env(name.clone())),
            (None, Some(file), None) => Ok(SecretSource::File(base.join(file))),
            (None, None, Some(words)) => Ok(SecretSource::Command(words.clone())),
            _ => Err("say where it comes from with exactly one of `env`, `file` and `command`"),
        }
    }
}

/// What the executor and the notifier send with.
#[derive(Debug, Clone)]
pub(crate) struct Outward {
    addresses: AddressRule,
    roots: Roots,
    secrets: Secrets,
}

impl Outward {
    /// Reads the configuration; files are relative to `base`.
    ///
    /// # Errors
    /// What is wrong, by the name of its key.
    pub(crate) fn of(
        outbound: &Outbound,
        secrets: &BTreeMap<String, Secret>,
        base: &Path,
    ) -> Result<Self, String> {
        let addresses = AddressRule::new(&outbound.allow)
            .map_err(|error| format!("outbound.allow: {error}"))?;
        let mut roots = Roots::of_platform();
        if let Some(file) = &outbound.ca_file {
            let file = base.join(file);
            let bytes = files::read(&file, ROOTS_BYTES_MAX).map_err(|error| error.to_string())?;
            roots
                .add_pem(&bytes)
                .map_err(|why| format!("outbound.ca_file {}: {why}", file.display()))?;
        }
        let mut declared = Vec::with_capacity(secrets.len());
        for (name, secret) in secrets {
            let source = secret.source(base).map_err(|why| format!("secrets.{name}: {why}"))?;
            declared.push(SecretDeclaration {
                name: name.clone(),
                source,
                namespaces: secret.namespaces.clone(),
                hosts: secret.hosts.clone(),
            });
        }
        let secrets = Secrets::new(declared).map_err(|error| error.to_string())?;
        Ok(Self { addresses, roots, secrets })
    }

    /// What documents must pass on this node before they are sent to the log.
    pub(crate) fn checks(&self) -> DocumentChecks {
        let secrets = self.secrets.clone();
        DocumentChecks {
            secret_declared: Arc::new(move |name, namespace| secrets.declares(name, namespace)),
            check_destination: Some(Arc::new(|destination| match &destination.connector {
                Connector::Http(target) => http::check(target),
                Connector::Worker => Ok(()),
            })),
        }
    }

    /// Starts the executor and the notifier; they end when they are told to stop.
    pub(crate) fn start(
        &self,
        gate: &Arc<Gate>,
        stopping: &watch::Sender<bool>,
    ) -> Vec<JoinHandle<()>> {
        let client = || Client::new(self.addresses.clone(), self.roots.clone());
        let calls = executor::Means {
            client: client(),
            secrets: self.secrets.clone(),
            patience: http::Patience::default(),
        };
        let tells = notifier::Means { client: client(), secrets: self.secrets.clone() };
        vec![
            tokio::spawn(executor::run(gate.clone(), Arc::new(calls), stopping.subscribe())),
            tokio::spawn(notifier::run(gate.clone(), Arc::new(tells), stopping.subscribe())),
        ]
    }
}

/// A configuration that cannot be used.
pub(crate) fn unusable(what: String) -> Failure {
    Failure::usage(what).next("see docs/destinations.md for `outbound` and `secrets`")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(yaml: &str) -> Result<Outward, String> {
        #[derive(Deserialize)]
        struct Both {
            #[serde(default)]
            outbound: Outbound,
            #[serde(default)]
            secrets: BTreeMap<String, Secret>,
        }
        let both: Both = serde_yaml::from_str(yaml).map_err(|error| error.to_string())?;
        Outward::of(&both.outbound, &both.secrets, Path::new("/etc/qgate"))
    }

    #[test]
    #[rustfmt::skip]
    fn faults_are_named() {
        let cases = [
            ("{}", ""),
            ("outbound: {allow: [\"127.0.0.0/8\", \"::1/128\"]}", ""),
            ("secrets: {a: {env: A, hosts: [x]}, b: {file: b, hosts: []}}", ""),
            ("secrets: {a: {command: [pass, show], hosts: [x], namespaces: [blue]}}", ""),
            ("outbound: {allow: [nowhere]}", "outbound.allow"),
            ("outbound: {ca_file: none.pem}", "none.pem"),
            ("secrets: {a: {hosts: [x]}}", "secrets.a: say where"),
            ("secrets: {a: {env: A, file: b, hosts: [x]}}", "secrets.a: say where"),
            ("secrets: {a: {env: A}}", "hosts"),
            ("secrets: {\"a b\": {env: A, hosts: [x]}}", "a b"),
            ("secrets: {a: {env: A, hosts: [x], value: s3cret}}", "value"),
        ];
        for (yaml, fault) in cases {
            match read(yaml) {
                Ok(_) => assert_eq!(fault, "", "{yaml}"),
                Err(what) => assert!(!fault.is_empty() && what.contains(fault), "{yaml}: {what}"),
            }
        }
    }
}
