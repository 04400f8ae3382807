//! Reads: linearizable by default, weaker only by name.

use ledger::{Fault, Read};
use types::LogIndex;

use crate::errors::GateError;
use crate::handle::Gate;
use crate::log::{Consistency, Progress, ReadPoint};

/// How fresh a read must be.
#[derive(Debug, Clone, Copy, Default)]
pub struct Freshness {
    /// Which promise.
    pub consistency: Consistency,
    /// State must include at least this entry.
    pub min_index: LogIndex,
}

impl Gate {
    /// Reads one consistent view that is as fresh as asked.
    ///
    /// # Errors
    /// [`GateError::Log`] without a quorum, [`GateError::Fault`] if state cannot be read, and what
    /// `read` gives.
    pub async fn read<T>(
        &self,
        freshness: Freshness,
        read: impl FnOnce(&dyn Read, Progress) -> Result<T, GateError>,
    ) -> Result<(T, ReadPoint), GateError> {
        let point = self.log.read_point(freshness.consistency, freshness.min_index).await?;
        let (value, progress) = self.look(read)?;
        Ok((value, ReadPoint { index: progress.index.max(point.index), term: point.term }))
    }

    /// Reads what this node has applied.
    pub(crate) fn look<T>(
        &self,
        read: impl FnOnce(&dyn Read, Progress) -> Result<T, GateError>,
    ) -> Result<(T, Progress), GateError> {
        let mut read = Some(read);
        let mut found = None;
        self.log.with_state(&mut |state, progress| {
            if let Some(read) = read.take() {
                found = Some(read(state, progress).map(|value| (value, progress)));
            }
        })?;
        found.ok_or_else(|| Fault("state was not read".into()))?
    }
}
