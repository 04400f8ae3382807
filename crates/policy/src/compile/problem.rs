//! Problems: what is wrong with a document, where, and which word was probably meant.

use core::fmt;

/// One thing wrong in one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// File name as given.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1.
    pub column: u32,
    /// What is wrong.
    pub message: String,
    /// The valid word nearest to the one written.
    pub nearest: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, column, message, nearest } = self;
        write!(f, "{file}:{line}:{column}: {message}")?;
        match nearest {
            Some(word) => write!(f, " (did you mean `{word}`?)"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Problem {}

/// Longer than any valid word, misspelled or not.
const COMPARED_CHARS_MAX: usize = 64;

/// The valid word with the fewest edits, if it is near enough to be meant.
#[must_use]
pub fn nearest<'w>(word: &str, valid: &[&'w str]) -> Option<&'w str> {
    if word.chars().count() > COMPARED_CHARS_MAX {
        return None;
    }
    let best = valid.iter().map(|candidate| (distance(word, candidate), *candidate)).min()?;
    let near_enough = best.0 <= 2.max(word.chars().count() / 2);
    near_enough.then_some(best.1)
}

/// Edits (insert, delete, replace, swap neighbours) from one word to the other. Words longer than
/// any valid one are cut: they are not near anyway.
#[must_use]
pub fn distance(one: &str, other: &str) -> usize {
    let one: Vec<char> = one.chars().take(COMPARED_CHARS_MAX).collect();
    let other: Vec<char> = other.chars().take(COMPARED_CHARS_MAX).collect();
    let mut rows = vec![vec![0; other.len() + 1]; one.len() + 1];
    for i in 0..=one.len() {
        for j in 0..=other.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let replaced = rows[i - 1][j - 1] + usize::from(one[i - 1] != other[j - 1]);
                let mut least = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
                if i > 1 && j > 1 && one[i - 1] == other[j - 2] && one[i - 2] == other[j - 1] {
                    least = least.min(rows[i - 2][j - 2] + 1);
                }
                least
            };
        }
    }
    rows[one.len()][other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_the_one_meant() {
        let valid = ["trigger", "resource", "policies", "require_approval_over"];
        let cases = [
            ("triger", Some("trigger")),
            ("resuorce", Some("resource")),
            ("policy", Some("policies")),
            ("require_aproval_ovre", Some("require_approval_over")),
            ("zebra", None),
            ("", None),
        ];
        for (word, expected) in cases {
            assert_eq!(nearest(word, &valid), expected, "{word}");
        }
    }
}
