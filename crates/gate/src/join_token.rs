//! Tokens with which a new node joins the cluster: signed with the data key that all its nodes
//! share, for one cluster, until a time.
//!
//! Invariant: a token gives nothing but a place as a learner, and only under an id that is free.

use types::{LogTime, hex};

use crate::seal::{DataKey, has_mac, mac};

/// How a token begins.
pub const JOIN_PREFIX: &str = "qjt_";
const PURPOSE: &str = "join token";
const MAC_BYTES: usize = 32;

/// Why a token is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JoinTokenError {
    /// It does not look like one.
    #[error("this is no join token; make one with `qgate cluster token`")]
    Malformed,
    /// It was made for another cluster.
    #[error("the join token is for another cluster; make one with `qgate cluster token`")]
    OtherCluster,
    /// It was signed with another data key.
    #[error(
        "the join token was signed with another data key; every node of a cluster has the same \
         `data_key_file`"
    )]
    OtherKey,
    /// Its time has passed.
    #[error("the join token has expired; make another with `qgate cluster token`")]
    Expired,
}

/// Signs a token for a cluster that counts until a log time.
#[must_use]
pub fn sign(key: &DataKey, cluster_id: &str, until: LogTime) -> String {
    let body = format!("{cluster_id}.{}", until.0);
    let mac = mac(&key.derived(PURPOSE), &[body.as_bytes()]);
    let mac = hex(&mac);
    format!("{JOIN_PREFIX}{body}.{mac}")
}

/// Which cluster a token is for. It is not checked.
///
/// # Errors
/// [`JoinTokenError::Malformed`].
pub fn cluster_of(token: &str) -> Result<&str, JoinTokenError> {
    Ok(parts(token)?.0)
}

/// Checks a token.
///
/// # Errors
/// [`JoinTokenError`] says why not.
pub fn check(
    key: &DataKey,
    cluster_id: &str,
    token: &str,
    now: LogTime,
) -> Result<(), JoinTokenError> {
    let (cluster, until, mac) = parts(token)?;
    let body = format!("{cluster}.{until}");
    if !has_mac(&key.derived(PURPOSE), &[body.as_bytes()], &mac) {
        return Err(JoinTokenError::OtherKey);
    }
    if cluster != cluster_id {
        return Err(JoinTokenError::OtherCluster);
    }
    if now.0 > until { Err(JoinTokenError::Expired) } else { Ok(()) }
}

fn parts(token: &str) -> Result<(&str, u64, Vec<u8>), JoinTokenError> {
    let parts = || {
        let mut parts = token.trim().strip_prefix(JOIN_PREFIX)?.split('.');
        let (cluster, until, mac) = (parts.next()?, parts.next()?, parts.next()?);
        let is_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if cluster.len() != 32 || mac.len() != 2 * MAC_BYTES || !is_hex(cluster) || !is_hex(mac) {
            return None;
        }
        let bytes =
            (0..MAC_BYTES).map(|at| u8::from_str_radix(mac.get(2 * at..2 * at + 2)?, 16).ok());
        let mac = bytes.collect::<Option<Vec<u8>>>()?;
        parts.next().is_none().then_some((cluster, until.parse().ok()?, mac))
    };
    parts().ok_or(JoinTokenError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_for_one_cluster_one_key_and_a_time() {
        let (key, other) = (DataKey::draw(), DataKey::draw());
        let (ours, theirs) = ("a".repeat(32), "b".repeat(32));
        let token = sign(&key, &ours, LogTime(50));
        assert_eq!(cluster_of(&token), Ok(ours.as_str()));
        assert_eq!(check(&key, &ours, &token, LogTime(50)), Ok(()));
        assert_eq!(check(&key, &ours, &token, LogTime(51)), Err(JoinTokenError::Expired));
        assert_eq!(check(&key, &theirs, &token, LogTime(1)), Err(JoinTokenError::OtherCluster));
        assert_eq!(check(&other, &ours, &token, LogTime(1)), Err(JoinTokenError::OtherKey));
        let longer = token.replace(".50.", ".500.");
        assert_eq!(check(&key, &ours, &longer, LogTime(51)), Err(JoinTokenError::OtherKey));
        let moved = token.replace(&ours, &theirs);
        assert_eq!(check(&key, &theirs, &moved, LogTime(1)), Err(JoinTokenError::OtherKey));
        for bad in ["", "qjt_", &token[1..], &token[..token.len() - 2], &format!("{token}.x")] {
            assert_eq!(cluster_of(bad), Err(JoinTokenError::Malformed), "{bad}");
        }
    }
}
