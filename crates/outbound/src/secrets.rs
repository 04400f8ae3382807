//! Secrets by reference: `${secret:NAME}` in a document, the value only here and only when used.
//!
//! The node's own configuration declares each name: where its value comes from, which namespaces
//! may use it and which hosts may receive it. Documents travel through the log and are shown to
//! people; values do neither. A name without hosts can be sent nowhere.
//! Invariant: no error, debug form or printed form holds a value; only [`Revealed::expose`] does,
//! and its memory is overwritten when it is dropped.

use std::collections::BTreeMap;
use std::fmt;

use types::destination::secret_names;
use types::glob;
use types::limits::SECRET_NAME_CHARS_MAX;
use zeroize::Zeroizing;

use crate::redact::MASK;
use crate::source::{self, SecretSource};
use crate::target::Target;

/// How a reference begins.
const OPENING: &str = "${secret:";

/// One secret, as the node's configuration declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretDeclaration {
    /// What documents call it: letters, digits, `_`, `-` and `.`.
    pub name: String,
    /// Where its value comes from.
    pub source: SecretSource,
    /// Namespaces that may use it; empty means all.
    pub namespaces: Vec<String>,
    /// Hosts that may receive it, `*` stands for any characters; empty means none.
    pub hosts: Vec<String>,
}

/// A declaration that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("secret `{name}`: {why}")]
pub struct BadDeclaration {
    /// As declared.
    pub name: String,
    /// What is wrong, and what to write instead.
    pub why: &'static str,
}

/// Why a reference was not filled in. Nothing has been sent then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// The node does not know the name.
    #[error("secret `{name}` is not declared in this node's configuration")]
    Undeclared {
        /// What was referred to.
        name: String,
    },
    /// The declaration names other namespaces.
    #[error(
        "secret `{name}` is not for namespace `{namespace}`; the node's configuration says who"
    )]
    NotForNamespace {
        /// What was referred to.
        name: String,
        /// Who referred to it.
        namespace: String,
    },
    /// The declaration names other hosts, or none.
    #[error("secret `{name}` may not be sent to `{host}`; the node's configuration says where to")]
    NotForHost {
        /// What was referred to.
        name: String,
        /// Where it would have been sent.
        host: String,
    },
    /// The source gave no value.
    #[error("secret `{name}` is not available on this node: {reason}")]
    Unavailable {
        /// What was referred to.
        name: String,
        /// What is wrong with the source; never the value.
        reason: String,
    },
}

impl SecretError {
    /// What everybody may know of it: neither the secret's name, nor where it comes from, nor where
    /// it would have gone. The whole is for this node's log.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Undeclared { .. } => "secret_undeclared",
            Self::NotForNamespace { .. } | Self::NotForHost { .. } => "secret_not_permitted",
            Self::Unavailable { .. } => "secret_unavailable",
        }
    }
}

/// The secrets that a node knows of.
#[derive(Debug, Clone, Default)]
pub struct Secrets {
    declared: BTreeMap<String, SecretDeclaration>,
}

impl Secrets {
    /// The secrets declared.
    ///
    /// # Errors
    /// A name that is malformed or declared twice, or a source without content.
    pub fn new(declarations: Vec<SecretDeclaration>) -> Result<Self, BadDeclaration> {
        let mut declared = BTreeMap::new();
        for mut declaration in declarations {
            let name = declaration.name.clone();
            let bad = |why| BadDeclaration { name: name.clone(), why };
            if !is_name(&name) {
                return Err(bad("a name has 1 to 64 letters, digits, `_`, `-` and `.`"));
            }
            if !declaration.source.is_complete() {
                return Err(bad("its source is empty; name a variable, a file or a program"));
            }
            // Hosts are compared in lower case, as URLs are read.
            declaration.hosts.iter_mut().for_each(|host| host.make_ascii_lowercase());
            if declared.insert(name.clone(), declaration).is_some() {
                return Err(bad("it is declared twice; keep one"));
            }
        }
        Ok(Self { declared })
    }

    /// Whether a document of a namespace may refer to a name.
    #[must_use]
    pub fn declares(&self, name: &str, namespace: &str) -> bool {
        self.declared.get(name).is_some_and(|found| found.serves(namespace))
    }

    /// Whether every secret that a text refers to may go to a host, as far as it is declared here.
    ///
    /// # Errors
    /// The first that may not.
    pub fn check_host(&self, text: &str, host: &str) -> Result<(), SecretError> {
        for name in secret_names(text) {
            if self.declared.get(name).is_some_and(|found| !found.may_go_to(host)) {
                return Err(SecretError::NotForHost { name: name.into(), host: host.into() });
            }
        }
        Ok(())
    }

    /// A text with every `${secret:NAME}` filled in, for a request to one host. What a value holds
    /// is not looked through again.
    ///
    /// # Errors
    /// The first reference that cannot be filled in.
    pub async fn resolve(
        &self,
        text: &str,
        namespace: &str,
        host: &str,
    ) -> Result<Revealed, SecretError> {
        for name in secret_names(text) {
            self.permitted(name, namespace, host)?;
        }
        self.fill(text, namespace).await
    }

    /// A URL with every `${secret:NAME}` filled in, where the host itself may come from a secret:
    /// each that is used must be allowed to go to the host that the URL then has.
    ///
    /// # Errors
    /// The first reference that cannot be filled in, or that makes the text no URL.
    pub async fn resolve_url(&self, text: &str, namespace: &str) -> Result<Revealed, SecretError> {
        let revealed = self.fill(text, namespace).await?;
        for name in secret_names(text) {
            match Target::parse(revealed.expose()) {
                Ok(target) => self.permitted(name, namespace, &target.host)?,
                Err(reason) => return Err(SecretError::Unavailable { name: name.into(), reason }),
            };
        }
        Ok(revealed)
    }

    /// One secret by its name, for a request to one host.
    ///
    /// # Errors
    /// Why it cannot be had.
    pub async fn reveal(
        &self,
        name: &str,
        namespace: &str,
        host: &str,
    ) -> Result<Revealed, SecretError> {
        let found = self.permitted(name, namespace, host)?;
        value_of(found).await
    }

    /// The text filled in; where it may go is the caller's to check.
    async fn fill(&self, text: &str, namespace: &str) -> Result<Revealed, SecretError> {
        let mut revealed = Revealed::default();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once(OPENING) {
            let Some((name, after)) = after.split_once('}') else { break };
            let one = value_of(self.served(name, namespace)?).await?;
            revealed.push(before);
            revealed.push(one.expose());
            revealed.secrets.extend(one.secrets);
            rest = after;
        }
        revealed.push(rest);
        Ok(revealed)
    }

    fn permitted(
        &self,
        name: &str,
        namespace: &str,
        host: &str,
    ) -> Result<&SecretDeclaration, SecretError> {
        let found = self.served(name, namespace)?;
        if !found.may_go_to(host) {
            return Err(SecretError::NotForHost { name: name.into(), host: host.into() });
        }
        Ok(found)
    }

    fn served(&self, name: &str, namespace: &str) -> Result<&SecretDeclaration, SecretError> {
        let Some(found) = self.declared.get(name) else {
            return Err(SecretError::Undeclared { name: name.into() });
        };
        if !found.serves(namespace) {
            return Err(SecretError::NotForNamespace {
                name: name.into(),
                namespace: namespace.into(),
            });
        }
        Ok(found)
    }
}

async fn value_of(declaration: &SecretDeclaration) -> Result<Revealed, SecretError> {
    match source::read(&declaration.source).await {
        Ok(value) => Ok(Revealed::whole(value)),
        Err(reason) => Err(SecretError::Unavailable { name: declaration.name.clone(), reason }),
    }
}

impl SecretDeclaration {
    fn serves(&self, namespace: &str) -> bool {
        self.namespaces.is_empty() || self.namespaces.iter().any(|name| name == namespace)
    }

    fn may_go_to(&self, host: &str) -> bool {
        let lower = host.to_ascii_lowercase();
        self.hosts.iter().any(|pattern| glob::matches(pattern, &lower))
    }
}

/// A text with secrets in it. It prints as `[secret]` and is overwritten when it is dropped.
#[derive(Default)]
pub struct Revealed {
    text: Zeroizing<String>,
    secrets: Vec<Zeroizing<String>>,
}

impl Revealed {
    /// The text itself. Hand it to the request and to nothing else.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// The values that were filled in.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = &str> {
        self.secrets.iter().map(|secret| secret.as_str())
    }

    fn whole(value: Zeroizing<String>) -> Self {
        Self { text: value.clone(), secrets: vec![value] }
    }

    #[cfg(test)]
    pub(crate) fn of(value: String) -> Self {
        Self::whole(Zeroizing::new(value))
    }

    /// Appends without leaving a copy behind where the text had to move.
    fn push(&mut self, piece: &str) {
        let room = self.text.capacity() - self.text.len();
        if room < piece.len() {
            let mut larger = Zeroizing::new(String::with_capacity(
                (self.text.len() + piece.len()).saturating_mul(2),
            ));
            larger.push_str(&self.text);
            self.text = larger;
        }
        self.text.push_str(piece);
    }
}

impl fmt::Debug for Revealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl fmt::Display for Revealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

fn is_name(name: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    (1..=SECRET_NAME_CHARS_MAX).contains(&name.len()) && name.bytes().all(good)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    fn declared(name: &str, source: SecretSource) -> SecretDeclaration {
        SecretDeclaration {
            name: name.into(),
            source,
            namespaces: Vec::new(),
            hosts: vec!["*".into()],
        }
    }

    fn in_file(folder: &Path, name: &str, value: &str) -> SecretDeclaration {
        let path = folder.join(name);
        fs::write(&path, value).unwrap();
        declared(name, SecretSource::File(path))
    }

    #[tokio::test]
    async fn references_are_filled_in_once() {
        let folder = tempfile::tempdir().unwrap();
        let one = in_file(folder.path(), "one", "first\n");
        let two = in_file(folder.path(), "two", "${secret:one}");
        let secrets = Secrets::new(vec![one, two]).unwrap();
        for (text, expected) in [
            ("Bearer ${secret:one}", "Bearer first"),
            ("${secret:one}${secret:one}:${secret:two}", "firstfirst:${secret:one}"),
            ("nothing ${HOME}", "nothing ${HOME}"),
            ("open ${secret:one", "open ${secret:one"),
            ("", ""),
        ] {
            let revealed = secrets.resolve(text, "default", "a.example").await.unwrap();
            assert_eq!(revealed.expose(), expected);
            assert_eq!(format!("{revealed} {revealed:?}"), "[secret] [secret]");
        }
        // The next use sees the next value.
        fs::write(folder.path().join("one"), "second\r\n").unwrap();
        let revealed = secrets.resolve("${secret:one}", "default", "a.example").await.unwrap();
        assert_eq!(revealed.expose(), "second");
    }

    #[tokio::test]
    async fn who_may_use_a_secret_and_where_it_may_go() {
        let folder = tempfile::tempdir().unwrap();
        let mut token = in_file(folder.path(), "token", "canary");
        token.namespaces = vec!["crm".into()];
        token.hosts = vec!["*.Phone.example".into(), "10.0.0.1".into()];
        let mut nowhere = in_file(folder.path(), "nowhere", "canary");
        nowhere.hosts.clear();
        let secrets = Secrets::new(vec![token, nowhere]).unwrap();
        assert!(secrets.declares("token", "crm") && secrets.declares("nowhere", "any"));
        assert!(!secrets.declares("token", "default") && !secrets.declares("other", "crm"));
        #[rustfmt::skip]
        let cases = [
            // name, namespace, host, refused with
            ("token",   "crm",     "api.phone.example",      None),
            ("token",   "crm",     "API.phone.EXAMPLE",      None),
            ("token",   "crm",     "10.0.0.1",               None),
            ("token",   "crm",     "phone.example",          Some("sent to `phone.example`")),
            ("token",   "crm",     "a.phone.example.evil",   Some("may not be sent to")),
            ("token",   "default", "api.phone.example",      Some("not for namespace `default`")),
            ("nowhere", "crm",     "api.phone.example",      Some("may not be sent to")),
            ("other",   "crm",     "api.phone.example",      Some("`other` is not declared")),
        ];
        for (name, namespace, host, refused) in cases {
            let text = format!("x ${{secret:{name}}}");
            match (secrets.resolve(&text, namespace, host).await, refused) {
                (Ok(revealed), None) => assert_eq!(revealed.expose(), "x canary"),
                (Err(error), Some(expected)) => {
                    let shown = format!("{error} {error:?}");
                    assert!(shown.contains(expected) && !shown.contains("canary"), "{shown}");
                    let code = if name == "other" { "undeclared" } else { "not_permitted" };
                    assert_eq!(error.code(), format!("secret_{code}"));
                }
                (other, _) => panic!("{name} {namespace} {host}: {other:?}"),
            }
        }
        assert!(!format!("{secrets:?}").contains("canary"));
        let goes = |name: &str, host| secrets.check_host(&format!("${{secret:{name}}}"), host);
        assert!(goes("token", "api.phone.example").is_ok());
        assert!(goes("token", "phone.example").is_err() && goes("nowhere", "a").is_err());
        assert!(goes("other", "anywhere").is_ok(), "what is not declared is another fault");
    }

    #[tokio::test]
    async fn a_url_may_be_secret_as_a_whole() {
        let folder = tempfile::tempdir().unwrap();
        let mut hook = in_file(folder.path(), "hook", "https://hooks.example/canary");
        hook.hosts = vec!["hooks.example".into()];
        let mut stray = in_file(folder.path(), "stray", "https://other.example/canary");
        stray.hosts = vec!["hooks.example".into()];
        let secrets = Secrets::new(vec![hook, stray]).unwrap();
        let whole = secrets.resolve_url("${secret:hook}", "default").await.unwrap();
        assert_eq!(whole.expose(), "https://hooks.example/canary");
        for (text, expected) in [
            ("${secret:stray}", "may not be sent to `other.example`"),
            ("https://other.example/${secret:hook}", "may not be sent to `other.example`"),
            ("x${secret:hook}", "scheme is xhttps"),
            ("${secret:absent}", "not declared"),
        ] {
            let error = secrets.resolve_url(text, "default").await.unwrap_err().to_string();
            assert!(error.contains(expected) && !error.contains("canary"), "{text}: {error}");
        }
        let plain = secrets.resolve_url("not even a URL", "default").await.unwrap();
        assert_eq!(plain.expose(), "not even a URL", "nothing secret, nothing to check");
    }

    #[test]
    fn bad_declarations_are_named() {
        let env = |name: &str| declared(name, SecretSource::Env("VARIABLE".into()));
        for (declarations, expected) in [
            (vec![env("")], "a name has"),
            (vec![env("a}b")], "a name has"),
            (vec![env("a"), env("a")], "declared twice"),
            (vec![declared("a", SecretSource::Command(vec![]))], "source is empty"),
            (vec![declared("a", SecretSource::Env(String::new()))], "source is empty"),
        ] {
            let error = Secrets::new(declarations).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
    }
}
