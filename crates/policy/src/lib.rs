//! Policy: YAML rules compiled, facts taken from payloads, judgement made of facts.
//!
//! Two halves. With the feature `parse` (the edge): documents become a [`PolicySet`], a destination
//! or a channel, an intent becomes [`Facts`]. Always, and `no_std` (the core): [`judge`] makes a
//! decision of facts, without clock, randomness, floats, parsing or patterns.
//! Invariant: a rule that errs never allows.
#![cfg_attr(not(feature = "parse"), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;
// The helpers of `tests/` name the crate; here they mean this one.
#[cfg(all(test, feature = "parse"))]
extern crate self as policy;

pub mod coverage;
pub mod facts;
pub mod judge;
pub mod rules;
pub mod set;

pub use coverage::{Coverage, coverage};
pub use facts::{Facts, Finding, Found, KeyFact, ProfileFault, ScopeFacts, ScopeRef};
pub use judge::{
    ApprovalRule, Context, DuplicateOf, GroupNeed, Judgement, OpenWindow, WindowToOpen, World,
    judge,
};
pub use rules::RuleKind;
pub use set::{
    Document, DocumentKind, Environment, Gate, NamedPolicy, PolicySet, ResourceEntry, Rule,
    RuleList,
};

#[cfg(feature = "parse")]
mod compile;
#[cfg(feature = "parse")]
pub mod documents;
#[cfg(feature = "parse")]
mod engine;
#[cfg(feature = "parse")]
pub mod json;
#[cfg(feature = "parse")]
mod payload;
#[cfg(feature = "parse")]
pub mod profiles;
#[cfg(feature = "parse")]
mod risk;
#[cfg(feature = "parse")]
mod text;

#[cfg(all(test, feature = "parse"))]
#[path = "../tests/common/mod.rs"]
mod common;

#[cfg(feature = "parse")]
pub use compile::{Compiled, Problem, SourceFile, compile, distance, is_policy_file, nearest};
#[cfg(feature = "parse")]
pub use engine::{Engine, Subject};
#[cfg(feature = "parse")]
pub use payload::Payload;
