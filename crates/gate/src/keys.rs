//! API keys: shown once, stored as SHA-256, never logged.

use std::fmt;

use types::Digest;

use crate::ids::random;

/// How every API key begins.
pub const PREFIX: &str = "gate_sk_";

/// An API key in clear text. Its debug form hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(String);

impl ApiKey {
    /// A new key: 24 random bytes in hex behind the prefix.
    #[must_use]
    pub fn draw() -> Self {
        Self(draw::<24>(PREFIX))
    }

    /// The text, for the one answer that shows it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What is stored.
    #[must_use]
    pub fn hash(&self) -> Digest {
        hash(&self.0)
    }
}

impl From<String> for ApiKey {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(…)")
    }
}

/// A fresh secret: so many random bytes in hex behind a prefix.
pub(crate) fn draw<const BYTES: usize>(prefix: &str) -> String {
    let hex = types::hex(&random::<BYTES>());
    format!("{prefix}{hex}")
}

/// The stored form of a key's text.
#[must_use]
pub fn hash(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}
