//! Execution orders: issued with a token that is shown, stored sealed, and good for one report.

use ledger::{Command, IssueOrder, OrderRow, Reply, ReportOrder, RequestKey, Resolve};
use types::{Digest, Effect, ExecutionId, IntentId, NamespaceId};

use crate::errors::GateError;
use crate::handle::{Answer, Caller, Gate};
use crate::keys;
use crate::submit::TRIES_MAX;

/// How every execution token begins.
pub const TOKEN_PREFIX: &str = "gex_";

/// An order with its token in clear text.
#[derive(Debug, Clone)]
pub struct IssuedOrder {
    /// The ledger's answer.
    pub answer: Answer,
    /// The token, if an order was issued; opened again for a replayed answer.
    pub token: Option<String>,
}

/// A worker's report as a door has parsed it.
#[derive(Debug, Clone)]
pub struct ReportRequest {
    /// Which order.
    pub execution: ExecutionId,
    /// Done, or not.
    pub succeeded: bool,
    /// What a failure is known to have done.
    pub effect: Option<Effect>,
    /// Canonical JSON text.
    pub result: Option<String>,
    /// When the worker did it, Unix milliseconds by its own clock.
    pub executed_at: Option<u64>,
}

impl Gate {
    /// Hands an allowed intent out.
    ///
    /// # Errors
    /// [`GateError`]; refusals are answers.
    pub async fn issue_order(
        &self,
        caller: &Caller,
        intent: IntentId,
        mode: String,
        request_key: Option<RequestKey>,
    ) -> Result<IssuedOrder, GateError> {
        let mut facts = None;
        for _ in 0..TRIES_MAX {
            let execution = ExecutionId(self.ids.next());
            let token = keys::draw::<20>(TOKEN_PREFIX);
            let command = Command::IssueOrder(Box::new(IssueOrder {
                intent,
                execution,
                mode: mode.clone(),
                token_hash: keys::hash(&token),
                token_sealed: self.settings().data_key.seal(&execution.to_string(), &token),
                facts: facts.take(),
            }));
            let answer = self.command(caller, request_key, command).await?;
            match answer.unwrapped().0 {
                Reply::IdTaken => {}
                Reply::FactsNeeded { .. } => {
                    facts = self.facts_again(caller.namespace, intent).await?;
                }
                reply => {
                    let token = match reply {
                        // What the gate runs itself has no token.
                        Reply::Order(order) if order.executor.is_none() => self.token_of(order),
                        _ => None,
                    };
                    return Ok(IssuedOrder { answer, token });
                }
            }
        }
        Err(GateError::PolicyMoving)
    }

    /// The token of an order, for those who may see it. `None` if this node cannot open it.
    #[must_use]
    pub fn token_of(&self, order: &OrderRow) -> Option<String> {
        let opened = self.settings().data_key.unseal(&order.id.to_string(), &order.token_sealed);
        match opened {
            Ok(token) => Some(token),
            Err(error) => {
                tracing::warn!(execution = %order.id, %error, "a token cannot be opened");
                None
            }
        }
    }

    /// Takes a report under the order's token.
    ///
    /// # Errors
    /// [`GateError`]; refusals are answers.
    pub async fn report_by_token(
        &self,
        token: &str,
        report: ReportRequest,
    ) -> Result<Answer, GateError> {
        let command = report_command(report, Some(keys::hash(token)));
        self.without_key(NamespaceId::CLUSTER, command).await
    }

    /// Takes a report under an API key.
    ///
    /// # Errors
    /// [`GateError`]; refusals are answers.
    pub async fn report_by_key(
        &self,
        caller: &Caller,
        report: ReportRequest,
        request_key: Option<RequestKey>,
    ) -> Result<Answer, GateError> {
        self.command(caller, request_key, report_command(report, None)).await
    }

    /// Ends a doubt by a person's word.
    ///
    /// # Errors
    /// [`GateError`]; refusals are answers.
    pub async fn resolve(
        &self,
        caller: &Caller,
        resolve: Resolve,
        request_key: Option<RequestKey>,
    ) -> Result<Answer, GateError> {
        self.command(caller, request_key, Command::Resolve(resolve)).await
    }
}

fn report_command(report: ReportRequest, token: Option<Digest>) -> Command {
    Command::ReportOrder(Box::new(ReportOrder {
        execution: report.execution,
        token,
        succeeded: report.succeeded,
        effect: report.effect,
        result: report.result,
        executed_at: report.executed_at,
    }))
}
