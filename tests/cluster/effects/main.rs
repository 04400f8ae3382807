//! What the gate does outside, with real processes, real targets on loopback and real faults.
//!
//! Each test has a node and targets of its own. Tests wait for what targets are asked and for what
//! the gate answers, each with a deadline.
#![cfg(test)]

mod calls;
mod commands;
mod disk;
mod faults;
mod freezes;
mod notices;
mod secrets;
#[path = "../../support/mod.rs"]
mod support;
