//! `qgate demo`: three incidents on a real gate, against real targets on this machine.
//!
//! Promise: every number that is shown was counted at a target or answered by the gate in this run;
//! what is expected of it stands in the story. Invariant: nothing here is reached but loopback.

pub(crate) mod cast;
pub(crate) mod contrast;
pub(crate) mod fixtures;
pub(crate) mod report;
pub(crate) mod server;
pub(crate) mod story;
pub(crate) mod targets;
pub(crate) mod trail;
