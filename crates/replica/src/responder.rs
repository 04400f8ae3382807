//! Raft's answer to a proposal, taken where the proposal was applied.
//!
//! Promise: a proposer is told by the task that applied the proposal, with no other in between.

use std::fmt;

use openraft::OptionalSend;
use openraft::raft::responder::Responder;

use crate::raft::TypeConfig;

/// What is called with the result. Dropped without it if Raft ends first.
pub struct Call<T>(Box<dyn FnOnce(T) + Send>);

impl<T> Call<T> {
    /// Runs on one of Raft's own tasks, so it must not wait.
    pub(crate) fn new(call: impl FnOnce(T) + Send + 'static) -> Self {
        Self(Box::new(call))
    }
}

impl<T> fmt::Debug for Call<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a call with the result")
    }
}

impl<T: OptionalSend + 'static> Responder<TypeConfig, T> for Call<T> {
    fn on_complete(self, result: T) {
        (self.0)(result);
    }
}
