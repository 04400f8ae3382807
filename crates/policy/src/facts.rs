//! Facts: everything that judgement needs to know about an intent, taken from it once.
//!
//! The node that takes the request makes them; they travel in the command, so that apply parses no
//! text and matches no pattern. They name the set they were made for; by another set they are held.
//! Invariant: one finding per rule in force, in the rules' order.

use alloc::string::String;
use alloc::vec::Vec;

use minicbor::{Decode, Encode};
use types::{Digest, Hit, Risk};

/// What the rules asked of one intent.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Facts {
    /// Version of the set that these facts were made for.
    #[n(0)]
    pub policy_version: u64,
    /// [`crate::PolicySet::digest`] of that set.
    #[n(1)]
    pub set_digest: Digest,
    /// Over the names and rules that matched, no lines, no files: moving a rule changes nothing.
    #[n(2)]
    pub rules_digest: Digest,
    /// Records counted in the payload; `None` where there is nothing to count.
    #[n(3)]
    pub record_count: Option<u64>,
    /// The agent's own count.
    #[n(4)]
    pub claimed_count: Option<u64>,
    /// Something in the set judges this intent.
    #[n(5)]
    pub covered: bool,
    /// Nothing covers it, it names no policy and is spelled as existing clients spell it.
    #[n(6)]
    pub peer_uncovered: bool,
    /// Gates name the resource, but none of them this trigger.
    #[n(7)]
    pub trigger_unmatched: bool,
    /// The policy that was named and does not exist.
    #[n(8)]
    pub policy_missing: Option<String>,
    /// Why the payload cannot be read safely, such as a duplicate key in a JSON text.
    #[n(9)]
    pub payload_fault: Option<String>,
    /// What matched, and what its rules found.
    #[n(10)]
    pub findings: Vec<ScopeFacts>,
    /// What existing clients are told; it decides nothing.
    #[n(11)]
    pub risk: Risk,
    /// Version of the destinations that these facts were made for: one of them may declare the
    /// environment. `None` if there were none.
    #[n(12)]
    pub destinations_version: Option<u64>,
    /// Why the request is refused before it is judged.
    #[n(13)]
    pub profile_fault: Option<ProfileFault>,
    /// The environment that the agent says it is in, as far as it is a word.
    #[n(14)]
    pub environment: Option<String>,
}

/// What is wrong with an intent's typed profile.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum ProfileFault {
    /// A rule asks for a profile and none was sent.
    #[n(0)]
    Required {
        /// The one asked for.
        #[n(0)]
        required: String,
    },
    /// A rule asks for another profile.
    #[n(1)]
    Mismatch {
        /// The one asked for.
        #[n(0)]
        required: String,
        /// The one sent.
        #[n(1)]
        sent: String,
    },
    /// Metadata is not what the profile asks for.
    #[n(2)]
    Invalid {
        /// The profile sent.
        #[n(0)]
        profile: String,
        /// Field by field.
        #[n(1)]
        messages: Vec<String>,
    },
}

impl Facts {
    /// The count that thresholds see: the larger of the agent's and ours.
    #[must_use]
    pub fn count(&self) -> Option<u64> {
        self.record_count.max(self.claimed_count)
    }
}

/// A place in the set where rules stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub enum ScopeRef {
    /// Index into [`crate::PolicySet::gates`].
    #[n(0)]
    Gate(#[n(0)] u32),
    /// Index into [`crate::PolicySet::resources`].
    #[n(1)]
    Resource(#[n(0)] u32),
    /// The `default_policy`.
    #[n(2)]
    Default,
    /// Index into [`crate::PolicySet::named`].
    #[n(3)]
    Named(#[n(0)] u32),
}

/// One scope that matched.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ScopeFacts {
    /// Which.
    #[n(0)]
    pub scope: ScopeRef,
    /// Index of the overlay in force.
    #[n(1)]
    pub environment: Option<u32>,
    /// One per rule in force.
    #[n(2)]
    pub findings: Vec<Finding>,
}

/// What one rule found in the intent.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Finding {
    /// Nothing to object to, or nothing to look for.
    #[n(0)]
    Silent,
    /// The rule could not be evaluated; judgement holds with this message.
    #[n(1)]
    Failed(#[n(0)] String),
    /// The rule objects.
    #[n(2)]
    Found(#[n(0)] Found),
    /// The count at the rule's own path.
    #[n(3)]
    Count(#[n(0)] u64),
    /// Keys of dedup windows, and why there is no key for some record.
    #[n(4)]
    Keys(#[n(0)] Vec<KeyFact>, #[n(1)] Option<String>),
    /// Fields that would be cleared.
    #[n(5)]
    Cleared(#[n(0)] Found),
}

/// An objection and where it applies.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Found {
    /// For people; empty where judgement words it.
    #[n(0)]
    pub message: String,
    /// The first hits, at most [`types::limits::HITS_MAX`].
    #[n(1)]
    pub hits: Vec<Hit>,
    /// All hits.
    #[n(2)]
    pub total: u64,
}

/// One key of a dedup window.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct KeyFact {
    /// Identifies the window.
    #[n(0)]
    pub fingerprint: Digest,
    /// Path of the record, or `$`.
    #[n(1)]
    pub path: String,
    /// The values, cut to [`types::limits::HIT_EXCERPT_CHARS_MAX`] characters.
    #[n(2)]
    pub shown: String,
}
