//! Freezes: asked for and ended by people, settled by the executor.
//!
//! Invariant: who asked for a freeze gets the answer only once nothing that it covers can start any
//! more: it is committed, so no later claim stands, and the executor has said which earlier ones
//! were on their way.

use std::time::Duration;

use ledger::{
    Command, Effect, Freeze, FreezeRow, Refusal, Reply, RequestKey, SettleFreezes, Settled,
    Unfreeze, query,
};
use tokio::time::Instant;
use types::limits::FREEZE_WAIT_MS_MAX;
use types::{FreezeId, FreezeScope, IntentId, LogIndex, LogTime, NamespaceId};

use crate::errors::GateError;
use crate::handle::{Answer, Caller, Gate};
use crate::ids::salt;
use crate::run::woken;

/// How often a freeze is looked at without a hint: hints may be lost.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A freeze as a door has parsed it.
#[derive(Debug, Clone)]
pub struct FreezeRequest {
    /// What it covers.
    pub scope: FreezeScope,
    /// In the person's words.
    pub reason: String,
    /// When it ends by itself.
    pub until: Option<LogTime>,
}

/// A freeze that was asked for.
#[derive(Debug, Clone)]
pub struct NewFreeze {
    /// The ledger's answer.
    pub answer: Answer,
    /// As it was when it was settled; `None` if the ledger refused it.
    pub row: Option<Box<FreezeRow>>,
}

impl Gate {
    /// Stops what is allowed from being carried out.
    ///
    /// # Errors
    /// [`GateError`]; refusals are answers. [`GateError::Unsettled`] where the freeze stands and no
    /// executor said in time what it came too late for.
    pub async fn freeze(
        &self,
        caller: &Caller,
        request: FreezeRequest,
        request_key: Option<RequestKey>,
    ) -> Result<NewFreeze, GateError> {
        let FreezeRequest { scope, reason, until } = request;
        let command = Command::Freeze(Box::new(Freeze { scope, reason, until, salt: salt() }));
        let answer = self.command(caller, request_key, command).await?;
        let row = match answer.unwrapped().0 {
            Reply::Freeze(row) => row.clone(),
            _ => return Ok(NewFreeze { answer, row: None }),
        };
        let row = Some(self.settled(row, answer.index).await?);
        Ok(NewFreeze { answer, row })
    }

    /// Waits until a freeze is settled; one that has ended meanwhile counts.
    async fn settled(
        &self,
        row: Box<FreezeRow>,
        index: LogIndex,
    ) -> Result<Box<FreezeRow>, GateError> {
        let mut row = row;
        let mut effects = self.effects();
        let ends = Instant::now() + Duration::from_millis(FREEZE_WAIT_MS_MAX);
        while row.settled_at.is_none() {
            let (now, progress) =
                self.look(|state, _| Ok(query::freeze(state, row.home(), row.id)?))?;
            match now {
                Some(now) => row = Box::new(now),
                None if progress.index >= index => break,
                // This node has not applied it yet.
                None => {}
            }
            if row.settled_at.is_some() {
                break;
            }
            if Instant::now() >= ends {
                return Err(GateError::Unsettled(row.id));
            }
            tokio::select! {
                () = woken(&mut effects, &[Effect::FreezesChanged]) => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
        Ok(row)
    }

    /// Lets it go on, once enough people want that.
    ///
    /// # Errors
    /// [`GateError`]; refusals are answers.
    pub async fn unfreeze(
        &self,
        caller: &Caller,
        freeze: FreezeId,
        reason: Option<String>,
        request_key: Option<RequestKey>,
    ) -> Result<Answer, GateError> {
        let command = Command::Unfreeze(Unfreeze { freeze, reason, salt: salt() });
        self.command(caller, request_key, command).await
    }

    /// Which freezes stand, in all namespaces, and whether each is settled.
    ///
    /// # Errors
    /// [`GateError::Fault`].
    pub fn freeze_marks(&self) -> Result<Vec<(NamespaceId, FreezeId, bool)>, GateError> {
        Ok(self.look(|state, _| Ok(query::freeze_marks(state)?))?.0)
    }

    /// The freeze that keeps an intent from being claimed now.
    ///
    /// # Errors
    /// [`GateError::Fault`].
    pub fn frozen_by(
        &self,
        namespace: NamespaceId,
        intent: IntentId,
    ) -> Result<Option<FreezeId>, GateError> {
        let (row, _) = self.look(|state, progress| {
            Ok(query::frozen_by(state, namespace, intent, progress.time)?)
        })?;
        Ok(row.map(|row| row.id))
    }

    /// What is to be settled, with the claims of an epoch that each freeze covers.
    ///
    /// # Errors
    /// [`GateError::Fault`].
    pub fn unsettled_freezes(&self, epoch: LogIndex) -> Result<Vec<Settled>, GateError> {
        Ok(self.look(|state, _| Ok(query::unsettled_freezes(state, epoch)?))?.0)
    }

    /// Says what freezes came too late for; false if another executor has begun.
    ///
    /// # Errors
    /// [`GateError`]: it must be said again.
    pub async fn settle_freezes(
        &self,
        epoch: LogIndex,
        settled: Vec<Settled>,
    ) -> Result<bool, GateError> {
        let command = Command::SettleFreezes(Box::new(SettleFreezes { epoch, settled }));
        let answer = self.without_key(NamespaceId::CLUSTER, command).await?;
        Ok(answer.reply != Reply::Refused(Refusal::EpochOver))
    }
}
