//! What may leave a node, as its configuration says: networks beyond the public ones, secrets and
//! where they come from. Documents refer to secrets by name and to nothing else of this.
//!
//! Invariant: nothing replicated decides what a node reads or where its secrets go.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use executor::connectors::http;
use gate::{DocumentChecks, Gate};
use outbound::{AddressRule, Client, Roots, SecretDeclaration, SecretSource, Secrets};
use serde::Deserialize;
use serde_json::json;
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
    /// Networks that are not public and that destinations and channels, which admins write, may
    /// connect to all the same, such as `10.1.0.0/16`.
    pub(crate) allow: Vec<String>,
    /// The same for webhooks, whose urls agents choose.
    pub(crate) webhooks_allow: Vec<String>,
    /// Certificates to believe besides the operating system's, PEM. Relative to the configuration.
    pub(crate) ca_file: Option<PathBuf>,
}

impl Outbound {
    /// What a gate for development may reach: targets on the same machine.
    pub(crate) fn of_loopback() -> Self {
        let loopback = || vec!["127.0.0.0/8".to_owned(), "::1/128".to_owned()];
        Self { allow: loopback(), webhooks_allow: loopback(), ca_file: None }
    }

    /// As the configuration writes it; without certificates.
    pub(crate) fn to_yaml(&self) -> String {
        let Self { allow, webhooks_allow, ca_file: _ } = self;
        json!({ "allow": allow, "webhooks_allow": webhooks_allow }).to_string()
    }
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
    /// One that comes from `env:VARIABLE` or `file:PATH`, for these hosts.
    ///
    /// # Errors
    /// A source in other words.
    pub(crate) fn parse(source: &str, hosts: &[String]) -> Result<Self, String> {
        let (env, file) = match source.split_once(':') {
            Some(("env", name)) if !name.is_empty() => (Some(name.to_owned()), None),
            Some(("file", path)) if !path.is_empty() => {
                // Relative to where the command runs, not to the configuration that is written.
                let path = std::path::absolute(path).map_err(|error| error.to_string())?;
                (None, Some(path))
            }
            _ => return Err(format!("`{source}` is none of env:VARIABLE and file:PATH")),
        };
        Ok(Self { env, file, command: None, namespaces: Vec::new(), hosts: hosts.to_vec() })
    }

    /// As the configuration writes it.
    pub(crate) fn to_yaml(&self) -> String {
        let Self { env, file, command, namespaces, hosts } = self;
        let mut secret = json!({ "hosts": hosts, "namespaces": namespaces });
        let source = match (env, file, command) {
            (Some(name), ..) => ("env", json!(name)),
            (_, Some(path), _) => ("file", json!(path.to_string_lossy())),
            (.., words) => ("command", json!(words)),
        };
        secret[source.0] = source.1;
        secret.to_string()
    }

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
    webhook_addresses: AddressRule,
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
        let rule = |key: &str, networks: &[String]| {
            AddressRule::new(networks).map_err(|error| format!("outbound.{key}: {error}"))
        };
        let addresses = rule("allow", &outbound.allow)?;
        let webhook_addresses = rule("webhooks_allow", &outbound.webhooks_allow)?;
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
        Ok(Self { addresses, webhook_addresses, roots, secrets })
    }

    /// What documents must pass on this node before they are sent to the log.
    pub(crate) fn checks(&self) -> DocumentChecks {
        let (declared, of_targets, of_channels) =
            (self.secrets.clone(), self.secrets.clone(), self.secrets.clone());
        let webhooks = self.webhook_addresses.clone();
        DocumentChecks {
            secret_declared: Arc::new(move |name, namespace| declared.declares(name, namespace)),
            check_destination: Some(Arc::new(move |destination| match &destination.connector {
                Connector::Http(target) => {
                    http::check(target)?;
                    http::check_secrets(target, &of_targets)
                }
                Connector::Worker => Ok(()),
            })),
            check_channel: Some(Arc::new(move |channel| {
                // A url that is a secret as a whole says its host only when it is used.
                let Ok(host) = outbound::host_of(&channel.url) else { return Ok(()) };
                let texts = [channel.url.as_str()].into_iter().chain(channel.secret.as_deref());
                let mut checked = texts.map(|text| of_channels.check_host(text, &host));
                checked.find_map(Result::err).map_or(Ok(()), |error| Err(error.to_string()))
            })),
            check_webhook: Some(Arc::new(move |url| outbound::check_url(url, &webhooks))),
        }
    }

    /// Starts the executor and the notifier; they end when they are told to stop, the executor's
    /// calls within `drain`.
    pub(crate) fn start(
        &self,
        gate: &Arc<Gate>,
        stopping: &watch::Sender<bool>,
        drain: Duration,
    ) -> Vec<JoinHandle<()>> {
        let client = |rule: &AddressRule| Client::new(rule.clone(), self.roots.clone());
        let calls = executor::Means {
            client: client(&self.addresses),
            secrets: self.secrets.clone(),
            patience: http::Patience::default(),
            drain,
        };
        let tells = notifier::Means {
            client: client(&self.addresses),
            webhooks: client(&self.webhook_addresses),
            secrets: self.secrets.clone(),
        };
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
            ("outbound: {webhooks_allow: [\"10.0.0.0/8\"]}", ""),
            ("outbound: {allow: [nowhere]}", "outbound.allow"),
            ("outbound: {webhooks_allow: [nowhere]}", "outbound.webhooks_allow"),
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

    #[test]
    fn a_secret_that_may_not_go_to_its_host_refuses_the_document() {
        let secrets = "secrets: {t: {env: T, hosts: [\"*.phone.example\"]}}";
        let checks = read(secrets).unwrap().checks();
        let destination = |host: &str| {
            let yaml = format!(
                "kind: http\nrequest:\n  url: \"https://{host}/calls\"\n  \
                 headers: {{Authorization: \"Bearer ${{secret:t}}\"}}\n"
            );
            let document = policy::documents::destination("phone", yaml.as_bytes()).unwrap();
            checks.check_destination.as_ref().unwrap()(&document)
        };
        assert_eq!(destination("api.phone.example"), Ok(()));
        let why = destination("crm.example").unwrap_err();
        assert!(why.contains("`t` may not be sent to `crm.example`"), "{why}");
        let channel = |url: &str| {
            let yaml = format!("kind: webhook\nurl: \"{url}\"\nevents: [held]\n");
            let document = policy::documents::channel("ops", yaml.as_bytes()).unwrap();
            checks.check_channel.as_ref().unwrap()(&document)
        };
        assert_eq!(channel("https://api.phone.example/x?t=${secret:t}"), Ok(()));
        assert_eq!(channel("${secret:t}"), Ok(()), "its host is known only when it is used");
        let why = channel("https://crm.example/${secret:t}").unwrap_err();
        assert!(why.contains("`t` may not be sent to `crm.example`"), "{why}");
    }

    #[test]
    fn agents_reach_less_than_admins() {
        let checks = read("outbound: {allow: [\"10.0.0.0/8\"]}").unwrap().checks();
        let webhook = checks.check_webhook.as_ref().unwrap();
        assert!(webhook("https://a.example/hook").is_ok());
        assert!(webhook("http://10.0.0.7/hook").unwrap_err().contains("10.0.0.7 is a private"));
        let more = "outbound: {webhooks_allow: [\"10.0.0.0/8\"]}";
        let checks = read(more).unwrap().checks();
        assert!(checks.check_webhook.as_ref().unwrap()("http://10.0.0.7/hook").is_ok());
    }

    #[test]
    fn secrets_of_the_command_line_are_those_of_the_configuration() {
        let hosts = ["phone.example".to_owned()];
        for (text, expected) in [("env:TOKEN", "env"), ("file:/run/phone: \"token", "file")] {
            let secret = Secret::parse(text, &hosts).unwrap();
            let again: Secret = serde_yaml::from_str(&secret.to_yaml()).unwrap();
            assert_eq!(again, secret);
            assert!(secret.to_yaml().contains(expected), "{}", secret.to_yaml());
        }
        for bad in ["TOKEN", "env:", "file:", "value:s3cret", ""] {
            assert!(Secret::parse(bad, &hosts).unwrap_err().contains("env:VARIABLE"), "{bad}");
        }
    }
}
