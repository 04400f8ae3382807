//! Sealed tokens: what the ledger must give back in clear text is stored encrypted, with a key
//! that stands in each node's own configuration and never in the log.
//!
//! XChaCha20-Poly1305. Form: `version ‖ key tag (4 bytes) ‖ nonce (24 bytes) ‖ ciphertext and tag`;
//! what the token belongs to is authenticated beside it, so a sealed token cannot be moved.

use std::fmt;

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use types::Digest;

use crate::ids::random;

const VERSION: u8 = 1;
const TAG_BYTES: usize = 4;
const NONCE_BYTES: usize = 24;

/// The key that seals. Its debug form hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct DataKey([u8; 32]);

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey(…)")
    }
}

/// A sealed token cannot be opened here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnsealError {
    /// Sealed with another key: a node's configuration differs from the others'.
    #[error("it was sealed with another data key; all nodes of a cluster need the same one")]
    OtherKey,
    /// Damaged, or moved from where it belongs.
    #[error("the sealed bytes are damaged")]
    Damaged,
}

impl DataKey {
    /// A key from the operating system's randomness.
    #[must_use]
    pub fn draw() -> Self {
        Self(random())
    }

    /// 64 hex digits; `None` for anything else.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.len() != 64 || !text.is_ascii() {
            return None;
        }
        let mut key = [0; 32];
        for (byte, at) in key.iter_mut().zip((0..64).step_by(2)) {
            *byte = u8::from_str_radix(&text[at..at + 2], 16).ok()?;
        }
        Some(Self(key))
    }

    /// 64 hex digits, for the file that keeps it.
    #[must_use]
    pub fn to_hex(&self) -> String {
        types::hex(&self.0)
    }

    /// Seals a token that belongs to `owner`.
    #[must_use]
    pub fn seal(&self, owner: &str, token: &str) -> Vec<u8> {
        let nonce: [u8; NONCE_BYTES] = random();
        let message = Payload { msg: token.as_bytes(), aad: owner.as_bytes() };
        let sealed = self
            .cipher()
            .encrypt(&XNonce::from(nonce), message)
            .expect("a token is far shorter than the cipher's limit");
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&self.tag());
        bytes.extend_from_slice(&nonce);
        bytes.extend_from_slice(&sealed);
        bytes
    }

    /// Opens what was sealed for `owner`.
    ///
    /// # Errors
    /// [`UnsealError`].
    pub fn unseal(&self, owner: &str, sealed: &[u8]) -> Result<String, UnsealError> {
        let (version, rest) = sealed.split_first().ok_or(UnsealError::Damaged)?;
        let (tag, rest) = rest.split_at_checked(TAG_BYTES).ok_or(UnsealError::Damaged)?;
        if *version != VERSION {
            return Err(UnsealError::Damaged);
        }
        if tag != self.tag() {
            return Err(UnsealError::OtherKey);
        }
        let (nonce, message) = rest.split_at_checked(NONCE_BYTES).ok_or(UnsealError::Damaged)?;
        let nonce: [u8; NONCE_BYTES] = nonce.try_into().map_err(|_| UnsealError::Damaged)?;
        let opened = self
            .cipher()
            .decrypt(&XNonce::from(nonce), Payload { msg: message, aad: owner.as_bytes() })
            .map_err(|_| UnsealError::Damaged)?;
        String::from_utf8(opened).map_err(|_| UnsealError::Damaged)
    }

    /// A key of its own for one purpose; nothing of the data key can be learned from it.
    #[must_use]
    pub fn derived(&self, purpose: &str) -> [u8; 32] {
        mac(&self.0, &[b"quorum-gate ", purpose.as_bytes()])
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(&Key::from(self.0))
    }

    /// Tells keys apart without giving one away.
    fn tag(&self) -> [u8; TAG_BYTES] {
        let digest = Digest::of_parts(&[b"quorum-gate data key tag", &self.0]);
        [digest.0[0], digest.0[1], digest.0[2], digest.0[3]]
    }
}

/// HMAC-SHA-256 over parts, put one behind the other.
#[must_use]
pub fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    keyed(key, parts).finalize().into_bytes().into()
}

/// True if a text has this beginning of its HMAC-SHA-256; takes the same time for every answer.
#[must_use]
pub(crate) fn has_mac(key: &[u8], parts: &[&[u8]], beginning: &[u8]) -> bool {
    keyed(key, parts).verify_truncated_left(beginning).is_ok()
}

fn keyed(key: &[u8], parts: &[&[u8]]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    parts.iter().for_each(|part| mac.update(part));
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_opens_with_its_key_for_its_owner_only() {
        let (key, other) = (DataKey::draw(), DataKey::draw());
        let sealed = key.seal("exe_1", "gex_secret");
        assert_eq!(key.unseal("exe_1", &sealed).as_deref(), Ok("gex_secret"));
        assert_eq!(key.unseal("exe_2", &sealed), Err(UnsealError::Damaged));
        assert_eq!(other.unseal("exe_1", &sealed), Err(UnsealError::OtherKey));
        assert_ne!(key.seal("exe_1", "gex_secret"), sealed, "a nonce is used once");
        for at in 0..sealed.len() {
            let mut bent = sealed.clone();
            bent[at] ^= 1;
            assert!(key.unseal("exe_1", &bent).is_err(), "byte {at}");
            assert!(key.unseal("exe_1", &sealed[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_key_is_64_hex_digits() {
        let key = DataKey::draw();
        assert_eq!(DataKey::from_hex(&format!("{}\n", key.to_hex())), Some(key.clone()));
        for bad in ["", "00", &"g".repeat(64), &"é".repeat(32), &"0".repeat(65)] {
            assert_eq!(DataKey::from_hex(bad), None, "{bad}");
        }
        assert!(!format!("{key:?}").contains(&key.to_hex()));
    }
}
