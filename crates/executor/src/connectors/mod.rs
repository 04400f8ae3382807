//! Connectors: one file for each kind of destination.

pub mod http;

mod url;

use serde_json::Value;
use types::Effect;

/// What a call came to. No text and no answer in it holds a secret.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The target says it is done.
    Succeeded {
        /// Of the answer.
        status: u16,
        /// What the target answered.
        answer: Value,
    },
    /// It was not done.
    Failed {
        /// What is known to have happened all the same.
        effect: Effect,
        /// What went wrong.
        why: String,
        /// What the target answered, if it did.
        answer: Option<Value>,
    },
    /// Nobody can say whether it was done.
    Doubt {
        /// What is missing to know.
        why: String,
        /// What the target answered, if it did.
        answer: Option<Value>,
    },
    /// This node cannot make the call now: a secret is not to be had, or the call was taken back.
    /// Nothing was sent, so it may be made later or elsewhere.
    NotReady {
        /// What is missing.
        why: String,
    },
}
