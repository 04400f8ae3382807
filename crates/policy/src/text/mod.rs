//! Looking into payloads: paths, walks, tokens, folded text, decimals. The edge's half only.

pub(crate) mod decimal;
pub(crate) mod fold;
pub(crate) mod path;
pub(crate) mod tokens;
pub(crate) mod walk;

use types::limits::HIT_EXCERPT_CHARS_MAX;

/// The text cut to the length of an excerpt; a cut shows as `…`.
pub(crate) fn excerpt(text: &str) -> String {
    if text.len() <= HIT_EXCERPT_CHARS_MAX {
        return text.to_owned();
    }
    let mut characters = text.chars();
    let mut cut: String = characters.by_ref().take(HIT_EXCERPT_CHARS_MAX - 1).collect();
    match (characters.next(), characters.next()) {
        (None, _) => {}
        (Some(last), None) => cut.push(last),
        (Some(_), Some(_)) => cut.push('…'),
    }
    cut
}
