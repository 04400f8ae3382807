//! Decisions: what policy said, and why, rule by rule.

use alloc::string::String;
use alloc::vec::Vec;

use minicbor::{Decode, Encode};

/// What one rule, or policy as a whole, says. Ordered by severity: the most severe wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Outcome {
    /// Nothing speaks against it.
    #[n(0)]
    Allow,
    /// A person decides.
    #[n(1)]
    Hold,
    /// The same thing was asked for inside its window.
    #[n(2)]
    Duplicate,
    /// It must not happen.
    #[n(3)]
    Block,
}

impl Outcome {
    /// The word used on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Hold => "hold",
            Self::Duplicate => "duplicate",
            Self::Block => "block",
        }
    }
}

/// Where a rule stands.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum RuleSource {
    /// A named gate, or the `resources` entry of a gate file (then the resource's name).
    #[n(0)]
    Gate(#[n(0)] String),
    /// A named policy.
    #[n(1)]
    Policy(#[n(0)] String),
    /// The `default_policy` of the set.
    #[n(2)]
    Default,
    /// No document: the gate's own rule, such as "no policy covers this resource".
    #[n(3)]
    System,
}

/// File and line (from 1) of a rule; line 0 and no file for the gate's own rules.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct Place {
    /// File name inside the policy set, such as `gates.yaml`.
    #[n(0)]
    pub file: String,
    /// Line, from 1.
    #[n(1)]
    pub line: u32,
}

/// One place in a payload that a rule objects to.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Hit {
    /// JSON path, such as `$.messages[0].body`; `$` for a text payload.
    #[n(0)]
    pub path: String,
    /// What was found, at most [`crate::limits::HIT_EXCERPT_CHARS_MAX`] characters.
    #[n(1)]
    pub excerpt: String,
}

/// What one rule said.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Reason {
    /// Whose rule it is.
    #[n(0)]
    pub source: RuleSource,
    /// The rule's key in the document, or the gate's own code, such as `no_policy`.
    #[n(1)]
    pub rule: String,
    /// What it said.
    #[n(2)]
    pub outcome: Outcome,
    /// For people.
    #[n(3)]
    pub message: String,
    /// Where the rule stands.
    #[n(4)]
    pub place: Place,
    /// The first hits, at most [`crate::limits::HITS_MAX`].
    #[n(5)]
    pub hits: Vec<Hit>,
    /// How many hits there were in all.
    #[n(6)]
    pub hits_total: u64,
}
