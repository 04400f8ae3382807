//! The keys of a development cluster: made once, over the API, by its first admin.
//!
//! Nobody owns them, and the three reviewers are three people, so that approvals of two count.

use std::path::Path;

use client::{Client, Endpoint, Error, Settings};
use serde_json::json;
use types::Role;

use crate::dev_state::DevKeys;
use crate::failure::Failure;
use crate::files;

/// Bytes of the file with the first admin key.
const KEY_BYTES_MAX: usize = 256;

/// Makes all keys of a new cluster.
///
/// # Errors
/// If the first admin key is not where the node writes it, and what the gate says.
pub(crate) async fn make(endpoint: &Endpoint, admin_key_file: &Path) -> Result<DevKeys, Failure> {
    let bytes = files::read(admin_key_file, KEY_BYTES_MAX).map_err(|error| {
        Failure::refused(format!("the cluster has an admin, but its key is lost: {error}"))
            .next("start with an empty directory: name another one with --data")
    })?;
    let admin_key = String::from_utf8_lossy(&bytes).trim().to_owned();
    let admin = client(endpoint, &admin_key)?;
    let mut reviewer_keys = Vec::new();
    for number in 1..=3 {
        let name = format!("dev-reviewer-{number}");
        reviewer_keys.push(register(&admin, &name, Role::Reviewer).await?);
    }
    let reviewer_keys =
        reviewer_keys.try_into().map_err(|_| Failure::refused("three reviewers were not three"))?;
    let agent_key = register(&admin, "dev-agent", Role::Agent).await?;
    let auditor_key = register(&admin, "dev-auditor", Role::Auditor).await?;
    Ok(DevKeys { admin_key, reviewer_keys, agent_key, auditor_key })
}

/// Finds out whether keys of an earlier start are those of this cluster.
///
/// # Errors
/// If they are not.
pub(crate) async fn check(endpoint: &Endpoint, keys: &DevKeys) -> Result<(), Failure> {
    match client(endpoint, &keys.admin_key)?.get(&["v1", "policies"]).await {
        Err(Error::Refused(refusal)) if refusal.status == 401 => {
            let what = "the keys of this directory are of another cluster than its data";
            Err(Failure::refused(what).next("start with an empty directory: name one with --data"))
        }
        other => Ok(other.map(drop)?),
    }
}

/// Registers one principal and gives its key.
///
/// # Errors
/// What the gate says.
pub(crate) async fn register(admin: &Client, name: &str, role: Role) -> Result<String, Failure> {
    let body = json!({"name": name, "framework": "qgate dev", "role": role.name()});
    let answer = admin.post(&["v1", "agents", "register"], &body).await?;
    if answer.text("role") != Some(role.name()) {
        return Err(Failure::refused(format!("the gate did not make {name} a {role}")));
    }
    let key = answer.text("apiKey").map(str::to_owned);
    key.ok_or_else(|| Failure::refused(format!("the key of {name} was lost; run this again")))
}

fn client(endpoint: &Endpoint, key: &str) -> Result<Client, Failure> {
    Ok(Client::new(Settings::new(vec![endpoint.clone()]).with_key(key))?)
}
