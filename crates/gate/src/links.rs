//! Approval links: a token that carries one decision of one reviewer.
//!
//! The token is random, leaves in the answer to its reviewer, and is stored sealed beside its
//! SHA-256. Invariant: whoever shows a token is worth what its reviewer, and the key that asked for
//! it, are worth at that moment; the ledger looks both up again at apply.

use ledger::{Command, Content, DecideByLink, Head, IssueLink, LinkRow, Refusal, Reply, query};
use types::IntentId;

use crate::errors::GateError;
use crate::handle::{Answer, Caller, Gate};
use crate::keys;
use crate::log::ReadPoint;
use crate::read::Freshness;
use crate::submit::{DecideRequest, TRIES_MAX};

/// How every approval link's token begins.
pub const LINK_PREFIX: &str = "alk_";
/// Characters of a token.
const LINK_CHARS: usize = LINK_PREFIX.len() + 48;

/// A reviewer's link with its token in clear text.
#[derive(Debug, Clone)]
pub struct IssuedLink {
    /// The ledger's answer.
    pub answer: Answer,
    /// The token; `None` if none was issued, or this node cannot open it.
    pub token: Option<String>,
}

/// What a token opens.
#[derive(Debug, Clone)]
pub struct OpenedLink {
    /// The link.
    pub row: LinkRow,
    /// The intent that it decides.
    pub head: Head,
    /// What was asked.
    pub content: Content,
    /// Why it decides nothing now.
    pub refusal: Option<Refusal>,
}

impl Gate {
    /// Gives a reviewer the link to an intent; asking again gives the same one.
    ///
    /// # Errors
    /// [`GateError`]; refusals are answers.
    pub async fn approval_link(
        &self,
        caller: &Caller,
        intent: IntentId,
    ) -> Result<IssuedLink, GateError> {
        let token = keys::draw::<24>(LINK_PREFIX);
        let owner = owner_of(caller.namespace.0, intent, caller.agent.id);
        let command = Command::IssueLink(Box::new(IssueLink {
            intent,
            token_hash: keys::hash(&token),
            token_sealed: self.settings().data_key.seal(&owner, &token),
        }));
        let answer = self.command(caller, None, command).await?;
        let token = match &answer.reply {
            Reply::Link(row) => self.link_token(row),
            _ => None,
        };
        Ok(IssuedLink { answer, token })
    }

    fn link_token(&self, row: &LinkRow) -> Option<String> {
        let owner = owner_of(row.namespace.0, row.intent, row.reviewer);
        match self.settings().data_key.unseal(&owner, &row.token_sealed) {
            Ok(token) => Some(token),
            Err(error) => {
                tracing::warn!(intent = %row.intent, %error, "an approval link cannot be opened");
                None
            }
        }
    }

    /// Looks up what a token opens, as fresh as asked; `None` if it opens nothing.
    ///
    /// # Errors
    /// [`GateError`].
    pub async fn open_link(
        &self,
        token: &str,
        freshness: Freshness,
    ) -> Result<(Option<OpenedLink>, ReadPoint), GateError> {
        let hash = keys::hash(token);
        let could_be_one = token.len() == LINK_CHARS && token.starts_with(LINK_PREFIX);
        self.read(freshness, |state, progress| {
            let found = if could_be_one { query::link(state, &hash)? } else { None };
            let Some(row) = found else { return Ok(None) };
            let Some(head) = query::head(state, row.namespace, row.intent)? else {
                return Ok(None);
            };
            let content = query::content(state, row.namespace, head.id, head.revision)?;
            let refusal = query::link_objection(state, &row, progress.time)?;
            Ok(Some(OpenedLink { row, head, content, refusal }))
        })
        .await
    }

    /// Takes a decision under a link's token.
    ///
    /// # Errors
    /// [`GateError`]; refusals are answers.
    pub async fn decide_by_link(
        &self,
        link: &LinkRow,
        approves: bool,
        request: DecideRequest,
    ) -> Result<Answer, GateError> {
        let mut facts = None;
        for _ in 0..TRIES_MAX {
            let command = Command::DecideByLink(Box::new(DecideByLink {
                token: link.token_hash,
                approves,
                digest: request.digest,
                facts: facts.take(),
                reason: request.reason.clone(),
                guard: request.guard.clone(),
            }));
            let answer = self.without_key(link.namespace, command).await?;
            match answer.reply {
                Reply::FactsNeeded { .. } => {
                    facts = self.facts_again(link.namespace, link.intent).await?;
                }
                _ => return Ok(answer),
            }
        }
        Err(GateError::PolicyMoving)
    }
}

/// What a sealed token is bound to, so that it cannot be moved.
fn owner_of(namespace: u32, intent: IntentId, reviewer: types::AgentId) -> String {
    format!("link {namespace} {intent} {reviewer}")
}
