//! References to secrets: `${secret:NAME}` stands for a value that only a node's own configuration
//! knows.

use types::limits::SECRET_NAME_CHARS_MAX;

use super::is_word;

/// Why a text that is meant to refer to secrets does not. Every other `${…}` is plain text.
pub(super) fn fault(text: &str) -> Option<String> {
    let misses = |(at, _): &(usize, &str)| {
        let inside = &text[at + 2..];
        meant(inside) && name_at(inside).is_none()
    };
    text.match_indices("${").find(misses).map(|_| {
        format!(
            "a secret is referred to as `${{secret:NAME}}`, NAME of letters, digits, `.`, `_` and \
             `-`, at most {SECRET_NAME_CHARS_MAX}"
        )
    })
}

/// True if the whole text is one reference.
pub(super) fn is_reference(text: &str) -> bool {
    let inside = text.strip_prefix("${").unwrap_or_default();
    name_at(inside).is_some_and(|name| inside.len() == "secret:".len() + name.len() + "}".len())
}

/// The name of the reference whose inside begins here.
fn name_at(inside: &str) -> Option<&str> {
    let (name, _) = inside.strip_prefix("secret:")?.split_once('}')?;
    is_word(name, SECRET_NAME_CHARS_MAX).then_some(name)
}

/// Whether the first word after `${` is `secret`, however it is written.
fn meant(inside: &str) -> bool {
    let inside = inside.trim_start();
    let end = inside.find(|letter: char| !letter.is_alphanumeric() && letter != '_');
    inside[..end.unwrap_or(inside.len())].eq_ignore_ascii_case("secret")
}
