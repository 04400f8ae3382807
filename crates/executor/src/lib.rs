//! The executor: carries out what is allowed.
//!
//! A connector speaks to one kind of destination; templates turn an intent into its request. What a
//! call came to is told with what is known of it: an [`Outcome`] that is not sure says so.
//! Invariant: whatever leaves the node goes through the crate `outbound`.
#![forbid(unsafe_code)]

pub mod connectors;

mod attempt;
mod lanes;
mod marks;
mod material;
mod meters;
mod run;
mod tasks;
mod template;
mod waiting;
mod wire;

pub use connectors::Outcome;
pub use material::{Material, Payload};
pub use run::{Means, run};
