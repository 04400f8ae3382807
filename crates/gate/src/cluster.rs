//! Changes of the cluster's membership: recorded in the ledger, then made.
//!
//! Promise: nobody changes the cluster without a leaf in the audit tree that stands before the
//! change. Invariant: a change names what shall be, so that the same request sent again under its
//! `Idempotency-Key` is recorded once and made if it is not so yet.

use std::time::Duration;

use ledger::{ChangeCluster, Command, NewNode, Reply, RequestKey, query};
use types::limits::CLUSTER_CHANGE_MS_MAX;
use types::{LogIndex, LogTime, NodeId};

use crate::errors::GateError;
use crate::handle::{Answer, Caller, Gate};
use crate::join_token;
use crate::log::{Change, ChangeError};

/// A change that was made, or that the ledger refused.
#[derive(Debug, Clone)]
pub struct ChangedCluster {
    /// The ledger's answer.
    pub answer: Answer,
    /// The last entry that the change needed; that of the refusal if it was refused.
    pub index: LogIndex,
}

/// A token with which nodes join.
#[derive(Debug, Clone)]
pub struct JoinToken {
    /// Show it to who sets up the node, keep it nowhere.
    pub token: String,
    /// Until when it counts.
    pub expires_at: LogTime,
    /// The cluster that it is for.
    pub cluster_id: String,
}

/// The ledger's answer, and the token if it allowed one.
#[derive(Debug, Clone)]
pub struct NewJoinToken {
    /// The ledger's answer.
    pub answer: Answer,
    /// `None` if it was refused.
    pub token: Option<JoinToken>,
}

impl Gate {
    /// Records a change of the cluster and makes it.
    ///
    /// # Errors
    /// [`GateError::Change`] if it was not made, or if that is not known; refusals of the ledger
    /// are answers.
    pub async fn change_cluster(
        &self,
        caller: &Caller,
        change: Change,
        request_key: Option<RequestKey>,
    ) -> Result<ChangedCluster, GateError> {
        let mut is_made = false;
        let command = match change {
            Change::Promote(node) => ChangeCluster::Promote(node),
            Change::Demote(node) => ChangeCluster::Demote(node),
            Change::Remove(node) => {
                // An id serves once, so none is used up for a node that cannot leave.
                is_made = self.has_left(node)?;
                ChangeCluster::Remove(node)
            }
            Change::TransferLeader(node) => ChangeCluster::TransferLeader(node),
        };
        let answer = self.command(caller, request_key, Command::ChangeCluster(command)).await?;
        if is_made || answer.unwrapped().0 != &Reply::Done {
            return Ok(ChangedCluster { index: answer.index, answer });
        }
        let log = self.log.clone();
        let limit = Duration::from_millis(CLUSTER_CHANGE_MS_MAX);
        // Apart from the request: whoever asked may go away in the midst of it.
        let made = tokio::spawn(async move {
            let late = |_| Err(ChangeError::Unknown("it takes too long".into()));
            tokio::time::timeout(limit, log.change(change)).await.unwrap_or_else(late)
        });
        let made = made.await.map_err(|error| ChangeError::Unknown(error.to_string()))?;
        let index = made?.max(answer.index);
        Ok(ChangedCluster { answer, index })
    }

    /// Whether a node was removed already; refuses one that cannot be.
    fn has_left(&self, node: NodeId) -> Result<bool, GateError> {
        let members = self.log.status().members;
        let refused = |why: String| Err(ChangeError::Refused(why).into());
        if members.iter().all(|member| member.node != node) {
            let (row, _) = self.look(|state, _| Ok(query::node(state, node)?))?;
            if row.is_some_and(|row| row.removed_at.is_some()) {
                return Ok(true);
            }
            return refused(format!("node {node} is no member"));
        }
        let mut voters = members.iter().filter(|member| member.voter);
        if voters.all(|voter| voter.node == node) {
            return refused(format!("node {node} is the only voter; promote another one first"));
        }
        Ok(false)
    }

    /// Records that a token is issued, and signs it.
    ///
    /// # Errors
    /// [`GateError`]; refusals are answers.
    pub async fn join_token(
        &self,
        caller: &Caller,
        valid_for: Duration,
        request_key: Option<RequestKey>,
    ) -> Result<NewJoinToken, GateError> {
        let valid_ms = u64::try_from(valid_for.as_millis()).unwrap_or(u64::MAX);
        let command = Command::ChangeCluster(ChangeCluster::IssueJoinToken { valid_ms });
        let answer = self.command(caller, request_key, command).await?;
        let token = match *answer.unwrapped().0 {
            Reply::JoinToken { expires_at } => {
                let cluster_id = self.log.status().cluster_id;
                let key = &self.settings().data_key;
                let token = join_token::sign(key, &cluster_id, expires_at);
                Some(JoinToken { token, expires_at, cluster_id })
            }
            _ => None,
        };
        Ok(NewJoinToken { answer, token })
    }

    /// This node with its data, if the membership has it.
    pub(crate) fn own_node(&self) -> Option<NewNode> {
        let members = self.log.status().members;
        let own = members.into_iter().find(|member| member.node == self.node())?;
        Some(NewNode { id: own.node, incarnation: own.incarnation })
    }
}
