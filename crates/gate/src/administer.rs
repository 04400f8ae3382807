//! Administration: principals, keys, namespaces, policies.

use std::time::Duration;

use ledger::{
    ApplyPolicies, Bootstrap, Command, CreateNamespace, FirstKey, PolicySourceRow, RegisterAgent,
    Reply, RequestKey, RotateKey, SetAgentStatus, SetRole, SourceFile, query,
};
use policy::Problem;
use types::{AgentId, AgentStatus, KeyId, NamespaceId, Role};

use crate::errors::GateError;
use crate::handle::{Answer, Caller, Gate};
use crate::keys::ApiKey;

/// How often a change of one policy is tried on a newer version, or an id drawn again.
const TRIES_MAX: usize = 8;

/// A principal to register.
#[derive(Debug, Clone)]
pub struct NewPrincipal {
    /// Its name.
    pub name: String,
    /// Who answers for it.
    pub owner: Option<String>,
    /// What it runs on.
    pub framework: Option<String>,
    /// Any word.
    pub risk_tier: String,
    /// Its role.
    pub role: Role,
    /// Empty means all.
    pub allowed_policies: Vec<String>,
    /// Empty means all.
    pub allowed_destinations: Vec<String>,
    /// Canonical JSON text.
    pub metadata: Option<String>,
    /// The `Idempotency-Key` header.
    pub request_key: Option<RequestKey>,
}

/// A key that is shown once, and the answer that made it.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// Show it once, keep it nowhere.
    pub key: ApiKey,
    /// The ledger's answer.
    pub answer: Answer,
}

/// A namespace with its first admin's key.
#[derive(Debug, Clone)]
pub struct NewNamespace {
    /// Show it once, keep it nowhere.
    pub key: ApiKey,
    /// The admin.
    pub admin: AgentId,
    /// The ledger's answer.
    pub answer: Answer,
}

/// Policies that came into force.
#[derive(Debug, Clone)]
pub struct NewPolicies {
    /// The ledger's answer.
    pub answer: Answer,
    /// What was understood and is without effect yet, or likely a mistake.
    pub warnings: Vec<Problem>,
    /// Names of the gates in force.
    pub gates: Vec<String>,
    /// There was no such document before.
    pub created: bool,
}

/// One policy document put or deleted.
#[derive(Debug, Clone)]
pub struct PolicyChange {
    /// The document's id: its file name without the ending.
    pub id: String,
    /// Its YAML; `None` deletes it.
    pub yaml: Option<Vec<u8>>,
    /// Refused unless this version is in force.
    pub if_version: Option<u64>,
}

impl Gate {
    /// Makes the cluster's first admin, with a key that the caller has drawn and kept already, so
    /// that no crash loses it. False if there is an admin already.
    ///
    /// # Errors
    /// [`GateError::Log`].
    pub async fn bootstrap(&self, cluster_id: &str, key: &ApiKey) -> Result<bool, GateError> {
        let admin = self.first_of("admin", key);
        let node = self.own_node();
        let cluster_id = cluster_id.to_owned();
        let command = Command::Bootstrap(Bootstrap { cluster_id, admin, node });
        let answer = self.without_key(NamespaceId::DEFAULT, command).await?;
        Ok(answer.reply == Reply::Done)
    }

    /// Registers a principal. Without a caller only where registration is open, and only agents.
    ///
    /// # Errors
    /// [`GateError::NoKey`] if registration is not open; refusals are answers.
    pub async fn register(
        &self,
        caller: Option<&Caller>,
        principal: &NewPrincipal,
    ) -> Result<NewKey, GateError> {
        let open = caller.is_none() && self.settings().open_registration;
        if caller.is_none() && !open {
            return Err(GateError::NoKey);
        }
        for _ in 0..TRIES_MAX {
            let (key, first) = self.first_key(&principal.name);
            let principal = principal.clone();
            let sent = Command::RegisterAgent(Box::new(RegisterAgent {
                first,
                owner: principal.owner,
                framework: principal.framework,
                risk_tier: principal.risk_tier,
                role: principal.role,
                allowed_policies: principal.allowed_policies,
                allowed_destinations: principal.allowed_destinations,
                metadata: principal.metadata,
                open,
            }));
            let answer = match caller {
                Some(caller) => self.command(caller, principal.request_key, sent).await?,
                None => self.without_key(NamespaceId::DEFAULT, sent).await?,
            };
            if answer.reply != Reply::IdTaken {
                return Ok(NewKey { key, answer });
            }
        }
        Err(GateError::NoFreeId)
    }

    /// Suspends, resumes or revokes a principal.
    ///
    /// # Errors
    /// [`GateError`]; refusals are answers.
    pub async fn set_status(
        &self,
        caller: &Caller,
        agent: AgentId,
        status: AgentStatus,
        request_key: Option<RequestKey>,
    ) -> Result<Answer, GateError> {
        let command = Command::SetAgentStatus(SetAgentStatus { agent, status });
        self.command(caller, request_key, command).await
    }

    /// Gives a principal another role.
    ///
    /// # Errors
    /// [`GateError`]; refusals are answers.
    pub async fn set_role(
        &self,
        caller: &Caller,
        agent: AgentId,
        role: Role,
        request_key: Option<RequestKey>,
    ) -> Result<Answer, GateError> {
        self.command(caller, request_key, Command::SetRole(SetRole { agent, role })).await
    }

    /// Gives a principal a new key; the older ones go on for `overlap`.
    ///
    /// # Errors
    /// [`GateError`]; refusals are answers.
    pub async fn rotate_key(
        &self,
        caller: &Caller,
        agent: AgentId,
        overlap: Duration,
        request_key: Option<RequestKey>,
    ) -> Result<NewKey, GateError> {
        for _ in 0..TRIES_MAX {
            let key = ApiKey::draw();
            let command = Command::RotateKey(RotateKey {
                agent,
                key: KeyId(self.ids.next()),
                key_hash: key.hash(),
                overlap_ms: u64::try_from(overlap.as_millis()).unwrap_or(u64::MAX),
            });
            let answer = self.command(caller, request_key, command).await?;
            if answer.reply != Reply::IdTaken {
                return Ok(NewKey { key, answer });
            }
        }
        Err(GateError::NoFreeId)
    }

    /// Makes a namespace with its first admin. Where an `Idempotency-Key` replays the first answer,
    /// key and admin are of no use: the first ones stand.
    ///
    /// # Errors
    /// [`GateError`]; refusals are answers.
    pub async fn create_namespace(
        &self,
        caller: &Caller,
        name: String,
        request_key: Option<RequestKey>,
    ) -> Result<NewNamespace, GateError> {
        for _ in 0..TRIES_MAX {
            let (key, admin) = self.first_key("admin");
            let agent = admin.agent;
            let create = CreateNamespace { name: name.clone(), admin };
            let command = Command::CreateNamespace(Box::new(create));
            let answer = self.command(caller, request_key, command).await?;
            if answer.reply != Reply::IdTaken {
                return Ok(NewNamespace { key, admin: agent, answer });
            }
        }
        Err(GateError::NoFreeId)
    }

    /// Brings a whole set of policies into force.
    ///
    /// # Errors
    /// [`GateError::InvalidPolicy`] with every problem found; refusals are answers.
    pub async fn apply_policies(
        &self,
        caller: &Caller,
        files: Vec<SourceFile>,
        if_version: Option<u64>,
        origin: Option<String>,
    ) -> Result<NewPolicies, GateError> {
        caller.need(Role::may_administer, "admin")?;
        let sources: Vec<policy::SourceFile> = files
            .iter()
            .map(|file| policy::SourceFile { name: file.name.clone(), bytes: file.bytes.clone() })
            .collect();
        // Compiling can take long for a hostile document, so it never runs on a request thread.
        let compiled = self.beside().large(move || policy::compile(&sources)).await?;
        let compiled = compiled.map_err(GateError::InvalidPolicy)?;
        let gates = compiled.set.gates.iter().map(|gate| gate.name.clone()).collect();
        let command = Command::ApplyPolicies(Box::new(ApplyPolicies {
            if_version,
            sources: files,
            compiled: compiled.set,
            origin,
        }));
        let answer = self.command(caller, None, command).await?;
        Ok(NewPolicies { answer, warnings: compiled.warnings, gates, created: false })
    }

    /// Puts or deletes one document of the set in force.
    ///
    /// # Errors
    /// As [`Gate::apply_policies`], and [`GateError::NotFound`] when there is nothing to delete.
    pub async fn change_policy(
        &self,
        caller: &Caller,
        change: PolicyChange,
    ) -> Result<NewPolicies, GateError> {
        caller.need(Role::may_administer, "admin")?;
        for _ in 0..TRIES_MAX {
            let (current, _) =
                self.look(|state, _| match query::policy_head(state, caller.namespace)? {
                    Some(head) => Ok(query::policy_source(state, caller.namespace, head.version)?),
                    None => Ok(None),
                })?;
            let version = current.as_ref().map_or(0, |row: &PolicySourceRow| row.head.version);
            let mut files = current.map(|row| row.files).unwrap_or_default();
            let before = files.len();
            files.retain(|file| !is_document(&file.name, &change.id));
            let existed = files.len() < before;
            match &change.yaml {
                Some(bytes) => files
                    .push(SourceFile { name: format!("{}.yaml", change.id), bytes: bytes.clone() }),
                None if !existed => return Err(GateError::NotFound("no such policy")),
                None => {}
            }
            let if_version = Some(change.if_version.unwrap_or(version));
            let mut applied = self.apply_policies(caller, files, if_version, None).await?;
            applied.created = !existed;
            let moved = matches!(
                applied.answer.reply,
                Reply::Refused(ledger::Refusal::VersionMismatch { .. })
            );
            if !moved || change.if_version.is_some() {
                return Ok(applied);
            }
        }
        Err(GateError::PolicyMoving)
    }

    fn first_key(&self, name: &str) -> (ApiKey, FirstKey) {
        let key = ApiKey::draw();
        let first = self.first_of(name, &key);
        (key, first)
    }

    fn first_of(&self, name: &str, key: &ApiKey) -> FirstKey {
        FirstKey {
            agent: AgentId(self.ids.next()),
            name: name.to_owned(),
            key: KeyId(self.ids.next()),
            key_hash: key.hash(),
        }
    }
}

/// Whether a file holds the document of this id.
fn is_document(file_name: &str, id: &str) -> bool {
    file_name.rsplit_once('.').is_some_and(|(stem, _)| stem == id)
}
