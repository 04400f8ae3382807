//! Compiling: files in, one set out, or every problem with file, line, column and nearest word.
//!
//! The order in which files are given makes no difference. Invariant: a document that asks for
//! something this build cannot do is refused, unless leaving it out allows nothing more.

mod document;
mod node;
mod problem;
mod report;
mod rules;

use std::collections::BTreeMap;

use types::Digest;
use types::limits::{
    POLICY_BYTES_MAX, POLICY_DOCUMENTS_MAX, POLICY_ID_CHARS_MAX, POLICY_PROBLEMS_MAX,
    POLICY_SET_COMPILED_BYTES_MAX, POLICY_SET_PATTERNS_MAX,
};

pub(crate) use node::{Node, position, read as read_tree};
pub use problem::{Problem, distance, nearest};
pub(crate) use report::{Fields, Report, Site};

use crate::set::{Document, PolicySet, RuleList};
use document::Contents;

/// One policy file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Name inside the set, such as `gates.yaml`.
    pub name: String,
    /// Its bytes as they are.
    pub bytes: Vec<u8>,
}

/// A set that may be applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compiled {
    /// The compiled form.
    pub set: PolicySet,
    /// What loads but does not do what its author may think.
    pub warnings: Vec<Problem>,
}

/// True for `*.yaml` and `*.yml` that are no tests (`*.test.yaml`).
#[must_use]
pub fn is_policy_file(name: &str) -> bool {
    stem(name).is_some_and(|stem| !stem.is_empty() && !stem.ends_with(".test"))
}

fn stem(name: &str) -> Option<&str> {
    name.strip_suffix(".yaml").or_else(|| name.strip_suffix(".yml"))
}

/// Compiles files into a set.
///
/// # Errors
/// The problems found, in order of files and lines, at most
/// [`types::limits::POLICY_PROBLEMS_MAX`]; of a file that is no YAML only the first.
pub fn compile(files: &[SourceFile]) -> Result<Compiled, Vec<Problem>> {
    let mut sorted: Vec<&SourceFile> = files.iter().collect();
    sorted.sort_by(|one, other| one.name.cmp(&other.name));
    let mut building = Building::default();
    if let Some(excess) = sorted.get(POLICY_DOCUMENTS_MAX) {
        let message = format!("more than {POLICY_DOCUMENTS_MAX} documents in one set");
        building.problem_at_top(&excess.name, message);
        return Err(building.problems);
    }
    for file in &sorted {
        building.add(file);
    }
    building.finish(&sorted)
}

#[derive(Default)]
struct Building {
    documents: Vec<Document>,
    contents: Vec<Contents>,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
    compiled_bytes: usize,
    patterns: usize,
}

impl Building {
    fn problem_at_top(&mut self, file: &str, message: String) {
        let file = file.to_owned();
        self.problems.push(Problem { file, line: 1, column: 1, message, nearest: None });
    }

    fn add(&mut self, file: &SourceFile) {
        let name = file.name.as_str();
        if self.problems.len() >= POLICY_PROBLEMS_MAX {
            return;
        }
        let Some(id) = stem(name).filter(|id| is_policy_file(name) && is_policy_id(id)) else {
            let message = "a policy file is called <id>.yaml, and its id has letters, digits, \
                           `.`, `_` and `-`";
            self.problem_at_top(name, message.into());
            return;
        };
        if let Some(other) = self.documents.iter().find(|document| document.id == id) {
            let message = format!("the id `{id}` is also that of {}", other.file);
            self.problem_at_top(name, message);
        }
        let root = match node::read(name, &file.bytes, POLICY_BYTES_MAX) {
            Ok(root) => root,
            Err(problem) => {
                self.problems.push(problem);
                return;
            }
        };
        let mut report = Report::new(name);
        let index = u32::try_from(self.documents.len()).unwrap_or(u32::MAX);
        let contents = document::read(&root, id, index, &mut report);
        self.problems.append(&mut report.problems);
        self.warnings.append(&mut report.warnings);
        self.warnings.truncate(POLICY_PROBLEMS_MAX);
        self.compiled_bytes += report.compiled_bytes;
        self.patterns += report.patterns;
        if self.patterns > POLICY_SET_PATTERNS_MAX {
            let message = format!("more than {POLICY_SET_PATTERNS_MAX} patterns in the set");
            self.problem_at_top(name, message);
            return;
        }
        if self.compiled_bytes > POLICY_SET_COMPILED_BYTES_MAX {
            let message = format!(
                "the compiled form of the set is longer than {POLICY_SET_COMPILED_BYTES_MAX} \
                 bytes from this document on"
            );
            self.problem_at_top(name, message);
            return;
        }
        self.documents.push(Document {
            id: id.to_owned(),
            file: name.to_owned(),
            kind: contents.kind(),
            digest: Digest::of(&file.bytes),
        });
        self.contents.push(contents);
    }

    fn finish(mut self, files: &[&SourceFile]) -> Result<Compiled, Vec<Problem>> {
        self.refuse_equal_names();
        if !self.problems.is_empty() {
            self.problems.sort_by(|one, other| {
                (&one.file, one.line, one.column).cmp(&(&other.file, other.line, other.column))
            });
            self.problems.truncate(POLICY_PROBLEMS_MAX);
            return Err(self.problems);
        }
        let parts: Vec<&[u8]> =
            files.iter().flat_map(|file| [file.name.as_bytes(), &file.bytes]).collect();
        let mut set = PolicySet {
            digest: Digest::of_parts(&parts),
            documents: self.documents,
            ..PolicySet::empty()
        };
        for contents in self.contents {
            set.gates.extend(contents.gates.into_iter().map(|(gate, _)| gate));
            set.resources.extend(contents.resources.into_iter().map(|(entry, _)| entry));
            set.default_policy =
                set.default_policy.or(contents.default_policy.map(|(rules, _)| rules));
            set.unfreeze_persons =
                set.unfreeze_persons.or(contents.unfreeze_persons.map(|(persons, ..)| persons));
            set.named.extend(contents.named);
        }
        set.named.sort_by(|one, other| one.id.cmp(&other.id));
        Ok(Compiled { set, warnings: self.warnings })
    }

    /// Two gates, entries or defaults of one name: the later place is reported, the earlier named.
    fn refuse_equal_names(&mut self) {
        let mut seen: BTreeMap<(&'static str, &str), String> = BTreeMap::new();
        let mut found = Vec::new();
        for contents in &self.contents {
            let gates = contents
                .gates
                .iter()
                .map(|(gate, node)| ("gate", gate.name.as_str(), gate.rules.document, node));
            let entries = contents.resources.iter().map(|(entry, node)| {
                ("resource", entry.resource.as_str(), entry.rules.document, node)
            });
            let default = contents.default_policy.iter().map(|(rules, node): &(RuleList, Node)| {
                ("policy", "default_policy", rules.document, node)
            });
            let freeze = contents.unfreeze_persons.iter();
            let freeze =
                freeze.map(|(_, document, node)| ("settings of", "freeze", *document, node));
            for (what, name, document, node) in gates.chain(entries).chain(default).chain(freeze) {
                let file = &self.documents[document as usize].file;
                let place = format!("{file}:{}:{}", node.line, node.column);
                if let Some(earlier) = seen.get(&(what, name)) {
                    found.push(Problem {
                        file: file.clone(),
                        line: node.line,
                        column: node.column,
                        message: format!("the {what} `{name}` stands already at {earlier}"),
                        nearest: None,
                    });
                }
                seen.entry((what, name)).or_insert(place);
            }
        }
        self.problems.append(&mut found);
    }
}

/// `[A-Za-z0-9][A-Za-z0-9._-]{0,127}`.
fn is_policy_id(id: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    id.len() <= POLICY_ID_CHARS_MAX
        && id.bytes().all(inner)
        && id.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
}
