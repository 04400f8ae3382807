//! Nonces for decisions: issued without a trace, remembered only once they have served.
//!
//! `non_` and 32 hex digits: expiry (5 bytes, milliseconds of the id clock), randomness (5 bytes),
//! and the beginning of a MAC (6 bytes) under a key that all nodes derive from the data key. So any
//! node knows the cluster's own; whether one was used only the ledger knows.

use ledger::NonceClaim;
use types::LogTime;
use types::ids::ID_EPOCH_MS;
use types::limits::NONCE_MS;

use crate::errors::GateError;
use crate::handle::Gate;
use crate::ids::{random, unix_ms};
use crate::keys;
use crate::seal::{DataKey, has_mac, mac};

const PREFIX: &str = "non_";
const PURPOSE: &str = "nonce v1";
const EXPIRY_BYTES: usize = 5;
const SAID_BYTES: usize = 10;
const BYTES: usize = 16;

/// A nonce and its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nonce {
    /// What is sent along.
    pub text: String,
    /// From then on it is refused.
    pub expires_at: LogTime,
}

impl Gate {
    /// Issues a nonce. Nothing is stored: it is remembered once it was used.
    ///
    /// # Errors
    /// [`GateError::Fault`] if state on this node cannot be read.
    pub fn issue_nonce(&self) -> Result<Nonce, GateError> {
        let ((), progress) = self.look(|_, _| Ok(()))?;
        let now = LogTime(progress.time.0.max(unix_ms()));
        Ok(issue(&self.settings().data_key, now.plus_ms(NONCE_MS), random()))
    }

    /// What a text is worth as a nonce, use aside.
    #[must_use]
    pub fn nonce_claim(&self, text: &str) -> NonceClaim {
        claim(&self.settings().data_key, text)
    }
}

fn issue(key: &DataKey, expires_at: LogTime, drawn: [u8; SAID_BYTES - EXPIRY_BYTES]) -> Nonce {
    let clock = expires_at.0.saturating_sub(ID_EPOCH_MS).to_be_bytes();
    let mut bytes = [0; BYTES];
    bytes[..EXPIRY_BYTES].copy_from_slice(&clock[clock.len() - EXPIRY_BYTES..]);
    bytes[EXPIRY_BYTES..SAID_BYTES].copy_from_slice(&drawn);
    let mac = mac(&key.derived(PURPOSE), &[&bytes[..SAID_BYTES]]);
    bytes[SAID_BYTES..].copy_from_slice(&mac[..BYTES - SAID_BYTES]);
    let hex = types::hex(&bytes);
    Nonce { text: format!("{PREFIX}{hex}"), expires_at }
}

fn claim(key: &DataKey, text: &str) -> NonceClaim {
    if text.is_empty() {
        return NonceClaim::Missing;
    }
    let Some(bytes) = parse(text) else { return NonceClaim::Unknown };
    let (said, mac) = bytes.split_at(SAID_BYTES);
    if !has_mac(&key.derived(PURPOSE), &[said], mac) {
        return NonceClaim::Unknown;
    }
    let clock = said[..EXPIRY_BYTES].iter().fold(0, |ms, byte| (ms << 8) | u64::from(*byte));
    NonceClaim::Genuine { digest: keys::hash(text), expires_at: LogTime(ID_EPOCH_MS + clock) }
}

fn parse(text: &str) -> Option<[u8; BYTES]> {
    let hex = text.strip_prefix(PREFIX)?;
    let digits = hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if hex.len() != 2 * BYTES || !digits {
        return None;
    }
    let mut bytes = [0; BYTES];
    for (byte, at) in bytes.iter_mut().zip((0..2 * BYTES).step_by(2)) {
        *byte = u8::from_str_radix(hex.get(at..at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_known_to_whoever_has_the_key_and_says_when_it_ends() {
        let (key, other) = (DataKey::draw(), DataKey::draw());
        let ends = LogTime(1_800_000_300_123);
        let nonce = issue(&key, ends, random());
        assert_eq!((nonce.text.len(), nonce.expires_at), (36, ends));
        let digest = keys::hash(&nonce.text);
        assert_eq!(claim(&key, &nonce.text), NonceClaim::Genuine { digest, expires_at: ends });
        assert_eq!(claim(&other, &nonce.text), NonceClaim::Unknown);
        assert_ne!(issue(&key, ends, random()).text, nonce.text);
    }

    #[test]
    fn a_bent_nonce_is_nobodys() {
        let key = DataKey::draw();
        let text = issue(&key, LogTime(1_800_000_300_123), random()).text;
        for at in 4..text.len() {
            let mut bent = text.clone().into_bytes();
            bent[at] = if bent[at] == b'0' { b'1' } else { b'0' };
            let bent = String::from_utf8(bent).expect("digits are text");
            assert_eq!(claim(&key, &bent), NonceClaim::Unknown, "{at}");
        }
        for bad in ["non_", "x", &text[4..], &text.to_uppercase(), &format!("{text}0")] {
            assert_eq!(claim(&key, bad), NonceClaim::Unknown, "{bad}");
        }
        assert_eq!(claim(&key, ""), NonceClaim::Missing);
    }
}
