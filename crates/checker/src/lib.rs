//! The judge of runs under faults, simulated and real: what clients asked, were told and saw, and
//! what targets were made to do, held against what the gate promises.
//!
//! Written from the promises alone. Invariant: it uses nothing of the gate but the digest of the
//! types, so that it shares no mistake with what it judges.
#![forbid(unsafe_code)]

pub mod audit;
pub mod effects;
pub mod entries;
pub mod freezes;
pub mod history;
pub mod life;
pub mod questions;
