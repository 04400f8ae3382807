//! `qgate bench`: load with real intents, and what it measured.
//!
//! Promise: in the open loop no waiting is hidden; latency runs from when an intent was due.
//! Invariant: what is held in memory is bounded by the connections, however long a run is.

pub(crate) mod load;
pub(crate) mod preflight;
pub(crate) mod report;
pub(crate) mod schedule;
pub(crate) mod tally;
pub(crate) mod varied;
pub(crate) mod wal;
