//! The report of one document: problems and warnings as they are found, and the readers of values
//! that write them.

use types::limits::{
    LIST_ITEMS_MAX, POLICY_COMPILED_BYTES_MAX, POLICY_PATTERNS_MAX, STRING_BYTES_MAX,
};

use super::node::Node;
use super::problem::{Problem, nearest};
use crate::text::decimal::Decimal;
use crate::text::excerpt;

/// Collects what is wrong with one document.
pub(crate) struct Report<'a> {
    file: &'a str,
    pub(crate) problems: Vec<Problem>,
    pub(crate) warnings: Vec<Problem>,
    /// Of the rules read so far.
    pub(crate) compiled_bytes: usize,
    pub(crate) patterns: usize,
}

/// Where a rule is written.
#[derive(Clone, Copy)]
pub(crate) struct Site {
    /// In a policy that requests name, so the rules of existing clients hold.
    pub(crate) named: bool,
}

/// The members of a mapping whose keys are all known.
pub(crate) struct Fields<'n> {
    members: Vec<(&'n str, &'n Node)>,
}

impl<'n> Fields<'n> {
    pub(crate) fn get(&self, key: &str) -> Option<&'n Node> {
        self.members.iter().find(|(name, _)| *name == key).map(|(_, value)| *value)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }
}

impl<'a> Report<'a> {
    pub(crate) fn new(file: &'a str) -> Self {
        let (problems, warnings) = (Vec::new(), Vec::new());
        Self { file, problems, warnings, compiled_bytes: 0, patterns: 0 }
    }

    fn problem(&self, node: &Node, message: &str, nearest: Option<&str>) -> Problem {
        Problem {
            file: self.file.to_owned(),
            line: node.line,
            column: node.column,
            message: message.to_owned(),
            nearest: nearest.map(Into::into),
        }
    }

    pub(crate) fn error(&mut self, node: &Node, message: &str) {
        self.problems.push(self.problem(node, message, None));
    }

    pub(crate) fn error_near(&mut self, node: &Node, message: &str, word: &str) {
        self.problems.push(self.problem(node, message, Some(word)));
    }

    pub(crate) fn warn(&mut self, node: &Node, message: &str) {
        self.warnings.push(self.problem(node, message, None));
    }

    /// Counts rules about to be compiled; nothing if they would be too many.
    pub(crate) fn compiles(&mut self, node: &Node, bytes: usize) -> Option<()> {
        self.compiled_bytes = self.compiled_bytes.saturating_add(bytes);
        if self.compiled_bytes <= POLICY_COMPILED_BYTES_MAX {
            return Some(());
        }
        let message = format!(
            "the compiled form is longer than {POLICY_COMPILED_BYTES_MAX} bytes from here on; \
             every environment is a whole list of rules"
        );
        self.error(node, &message);
        None
    }

    /// Counts a regular expression about to be compiled; nothing if there are too many.
    pub(crate) fn has_pattern(&mut self, node: &Node) -> Option<()> {
        self.patterns += 1;
        if self.patterns > POLICY_PATTERNS_MAX {
            let message = format!("more than {POLICY_PATTERNS_MAX} patterns in one document");
            self.error(node, &message);
            return None;
        }
        Some(())
    }

    /// A word that is none of the valid ones.
    pub(crate) fn unknown_word(&mut self, node: &Node, what: &str, word: &str, valid: &[&str]) {
        let shown = excerpt(word);
        let message = format!("no such {what}: `{shown}`; known are {}", valid.join(", "));
        match nearest(word, valid) {
            Some(near) => self.error_near(node, &message, near),
            None => self.error(node, &message),
        }
    }

    pub(crate) fn unknown_key(&mut self, key: &Node, name: &str, valid: &[&str]) {
        let message = format!("unknown key `{}`", excerpt(name));
        match nearest(name, valid) {
            Some(word) => self.error_near(key, &message, word),
            None => {
                let list: Vec<String> = valid.iter().map(|word| format!("`{word}`")).collect();
                self.error(key, &format!("{message}; known are {}", list.join(", ")));
            }
        }
    }

    /// The name of a key; a number is its own name.
    pub(crate) fn key<'n>(&mut self, key: &'n Node) -> Option<&'n str> {
        let name = key.text().or_else(|| key.number());
        match name {
            None => self.error(key, &format!("a key must be text, not {}", key.kind())),
            Some(name) if name.len() > STRING_BYTES_MAX => {
                self.error(key, &format!("a key longer than {STRING_BYTES_MAX} bytes"));
                return None;
            }
            Some(_) => {}
        }
        name
    }

    /// The members of a mapping; unknown keys are errors.
    pub(crate) fn fields<'n>(&mut self, node: &'n Node, known: &[&str]) -> Option<Fields<'n>> {
        let Some(members) = node.map() else {
            let list: Vec<String> = known.iter().map(|word| format!("`{word}`")).collect();
            let (kind, keys) = (node.kind(), list.join(", "));
            self.error(node, &format!("expected a mapping with {keys}, found {kind}"));
            return None;
        };
        let before = self.problems.len();
        let mut fields = Fields { members: Vec::with_capacity(members.len()) };
        for (key, value) in members {
            let Some(name) = self.key(key) else {
                continue;
            };
            if known.contains(&name) {
                fields.members.push((name, value));
            } else {
                self.unknown_key(key, name, known);
            }
        }
        (self.problems.len() == before).then_some(fields)
    }

    pub(crate) fn required<'n>(
        &mut self,
        node: &Node,
        fields: &Fields<'n>,
        key: &str,
    ) -> Option<&'n Node> {
        let value = fields.get(key);
        if value.is_none() {
            self.error(node, &format!("`{key}` is missing"));
        }
        value
    }

    fn expected<T>(&mut self, node: &Node, what: &str) -> Option<T> {
        self.error(node, &format!("expected {what}, found {}", node.kind()));
        None
    }

    pub(crate) fn flag(&mut self, node: &Node) -> Option<bool> {
        match node.flag() {
            Some(flag) => Some(flag),
            None => self.expected(node, "true or false"),
        }
    }

    /// Text that is not empty; a number counts as its text.
    pub(crate) fn text(&mut self, node: &Node) -> Option<String> {
        let Some(text) = node.text().or_else(|| node.number()) else {
            return self.expected(node, "text");
        };
        if text.is_empty() {
            self.error(node, "expected text, found empty text");
            return None;
        }
        if text.len() > STRING_BYTES_MAX {
            self.error(node, &format!("text longer than {STRING_BYTES_MAX} bytes"));
            return None;
        }
        Some(text.to_owned())
    }

    /// One of the words that a key may have.
    pub(crate) fn word<'w>(
        &mut self,
        node: &Node,
        key: &str,
        valid: &[&'w str],
    ) -> Option<&'w str> {
        let written = self.text(node)?;
        let found = valid.iter().find(|word| **word == written);
        if found.is_none() {
            let message = match valid {
                [words @ .., last] => format!("`{key}` is {} or {last}", words.join(", ")),
                [] => format!("`{key}` has no valid word"),
            };
            match nearest(&written, valid) {
                Some(near) => self.error_near(node, &message, near),
                None => self.error(node, &message),
            }
        }
        found.copied()
    }

    /// A list of texts with at least one entry.
    pub(crate) fn text_list(&mut self, node: &Node) -> Option<Vec<String>> {
        let Some(items) = node.list() else {
            return self.expected(node, "a list of texts");
        };
        if items.is_empty() || items.len() > LIST_ITEMS_MAX {
            let found = items.len();
            self.error(node, &format!("expected 1 to {LIST_ITEMS_MAX} entries, found {found}"));
            return None;
        }
        items.iter().map(|item| self.text(item)).collect()
    }

    /// A dot path, such as `customer.id`.
    pub(crate) fn path(&mut self, node: &Node) -> Option<String> {
        let path = self.text(node)?;
        if path.split('.').any(str::is_empty) {
            self.error(node, "expected a dot path such as `customer.id`");
            return None;
        }
        Some(path)
    }

    pub(crate) fn paths(&mut self, node: &Node) -> Option<Vec<String>> {
        self.text_list(node)?;
        node.list()?.iter().map(|item| self.path(item)).collect()
    }

    /// A whole number from 0 to `max`.
    pub(crate) fn whole_number(&mut self, node: &Node, max: u64) -> Option<u64> {
        let Some(written) = node.number() else {
            return self.expected(node, "a whole number");
        };
        let number = written.parse::<u64>().ok().filter(|number| *number <= max);
        if number.is_none() {
            let limit = if max == u64::MAX { String::new() } else { format!(" up to {max}") };
            self.error(node, &format!("expected a whole number from 0{limit}, found {written}"));
        }
        number
    }

    /// Any number, as a decimal.
    pub(crate) fn number(&mut self, node: &Node) -> Option<String> {
        let Some(written) = node.number() else {
            return self.expected(node, "a number");
        };
        if Decimal::parse(written).is_none() {
            self.error(node, &format!("expected a decimal number, found {written}"));
            return None;
        }
        Some(written.to_owned())
    }
}
