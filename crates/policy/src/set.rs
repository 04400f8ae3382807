//! The compiled form of a policy set: what travels through the log beside the source bytes.
//!
//! Durable and canonical: the same documents give the same bytes on every node. Every rule keeps
//! its file and line, so that a reason can name its place without the source.
//! Invariant: fields are added, never renumbered; lists keep the order of files and lines.

use alloc::string::String;
use alloc::vec::Vec;

use minicbor::{Decode, Encode};
use types::{Digest, Place, RuleSource};

use crate::facts::ScopeRef;
use crate::rules::RuleKind;

/// All documents of a namespace, compiled.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct PolicySet {
    /// SHA-256 over file names and source bytes, in order of file names.
    #[n(0)]
    pub digest: Digest,
    /// The documents, in order of file names.
    #[n(1)]
    pub documents: Vec<Document>,
    /// Every gate, in order of files and lines.
    #[n(2)]
    pub gates: Vec<Gate>,
    /// Every `resources` entry, in order of files and lines.
    #[n(3)]
    pub resources: Vec<ResourceEntry>,
    /// What applies where no gate and no entry does.
    #[n(4)]
    pub default_policy: Option<RuleList>,
    /// Policies that requests name, sorted by id.
    #[n(5)]
    pub named: Vec<NamedPolicy>,
    /// How many people it takes to end a freeze, where a document says so.
    #[n(6)]
    pub unfreeze_persons: Option<u32>,
}

/// One source file.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Document {
    /// The file's stem.
    #[n(0)]
    pub id: String,
    /// The file's name inside the set.
    #[n(1)]
    pub file: String,
    /// Which of the two shapes it has.
    #[n(2)]
    pub kind: DocumentKind,
    /// SHA-256 of its bytes.
    #[n(3)]
    pub digest: Digest,
}

/// The two shapes of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum DocumentKind {
    /// Has a top-level `gates` or `gate`; cannot be named by a request.
    #[n(0)]
    Gates,
    /// A policy that requests name by its id.
    #[n(1)]
    Policy,
}

/// A gate: a trigger and a resource, and the rules for both.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Gate {
    /// Unique in the set.
    #[n(0)]
    pub name: String,
    /// The trigger it watches; absent means any.
    #[n(1)]
    pub trigger: Option<String>,
    /// A resource or a glob over resources.
    #[n(2)]
    pub resource: String,
    /// Its rules.
    #[n(3)]
    pub rules: RuleList,
}

/// One entry below `gate.resources`.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ResourceEntry {
    /// A resource or a glob over resources.
    #[n(0)]
    pub resource: String,
    /// Its rules.
    #[n(1)]
    pub rules: RuleList,
}

/// A policy that a request names.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct NamedPolicy {
    /// The file's stem.
    #[n(0)]
    pub id: String,
    /// Its rules: first the steps of existing clients in their order, then the newer vocabulary.
    #[n(1)]
    pub rules: RuleList,
}

/// Rules that stand together, and what environments make of them.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct RuleList {
    /// Index into [`PolicySet::documents`].
    #[n(0)]
    pub document: u32,
    /// Line of the gate, entry or policy, from 1.
    #[n(1)]
    pub line: u32,
    /// The rules where no environment speaks.
    #[n(2)]
    pub rules: Vec<Rule>,
    /// Per environment the whole list of rules, overlay already laid over the base.
    #[n(3)]
    pub environments: Vec<Environment>,
}

/// The rules of one environment.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Environment {
    /// Equal to `metadata.environment` of the intent, or to what its destination declares.
    #[n(0)]
    pub name: String,
    /// Line of the overlay, from 1.
    #[n(1)]
    pub line: u32,
    /// Base and overlay together.
    #[n(2)]
    pub rules: Vec<Rule>,
}

/// One rule and its line.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Rule {
    /// Line, from 1.
    #[n(0)]
    pub line: u32,
    /// What it asks for.
    #[n(1)]
    pub kind: RuleKind,
}

impl RuleList {
    /// The rules in force: of one environment, or the base. `None` if there is no such overlay.
    #[must_use]
    pub fn in_force(&self, environment: Option<u32>) -> Option<&[Rule]> {
        match environment {
            None => Some(&self.rules),
            Some(index) => Some(&self.environments.get(index as usize)?.rules),
        }
    }
}

impl PolicySet {
    /// The set of a namespace before any policy was applied: it covers nothing.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            digest: Digest::of_parts(&[]),
            documents: Vec::new(),
            gates: Vec::new(),
            resources: Vec::new(),
            default_policy: None,
            named: Vec::new(),
            unfreeze_persons: None,
        }
    }

    /// The rules that a reference points to, if it fits this set.
    #[must_use]
    pub fn list(&self, scope: ScopeRef) -> Option<&RuleList> {
        match scope {
            ScopeRef::Gate(index) => Some(&self.gates.get(index as usize)?.rules),
            ScopeRef::Resource(index) => Some(&self.resources.get(index as usize)?.rules),
            ScopeRef::Default => self.default_policy.as_ref(),
            ScopeRef::Named(index) => Some(&self.named.get(index as usize)?.rules),
        }
    }

    /// The name under which people know a scope: a gate, a resource or a policy.
    #[must_use]
    pub fn name(&self, scope: ScopeRef) -> Option<&str> {
        match scope {
            ScopeRef::Gate(index) => Some(&self.gates.get(index as usize)?.name),
            ScopeRef::Resource(index) => Some(&self.resources.get(index as usize)?.resource),
            ScopeRef::Default => Some("default_policy"),
            ScopeRef::Named(index) => Some(&self.named.get(index as usize)?.id),
        }
    }

    /// A scope as reasons name it.
    #[must_use]
    pub fn source(&self, scope: ScopeRef) -> Option<RuleSource> {
        let name = self.name(scope)?;
        Some(match scope {
            ScopeRef::Gate(_) | ScopeRef::Resource(_) => RuleSource::Gate(name.into()),
            ScopeRef::Named(_) => RuleSource::Policy(name.into()),
            ScopeRef::Default => RuleSource::Default,
        })
    }

    /// File and line as reasons name them.
    #[must_use]
    pub fn place(&self, document: u32, line: u32) -> Place {
        let file = self.documents.get(document as usize).map(|document| document.file.clone());
        Place { file: file.unwrap_or_default(), line }
    }
}
