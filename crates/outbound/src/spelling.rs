//! Spellings: the ways in which others may write a text that they were given.
//!
//! A text is compared character by character, and each may stand as it is, percent-encoded with
//! digits of either case, escaped in JSON or as an entity of HTML, once or again and again. So no
//! list of whole spellings has to foresee which characters somebody escapes.
//! Invariant: whatever mixture of these a text is written in, it is found.

use zeroize::Zeroizing;

/// A text that is looked for in every spelling.
pub(crate) struct Spelled(Vec<Letter>);

/// What a text begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// The text does not stand here.
    No,
    /// It stands here, in so many bytes.
    Whole(usize),
    /// It may stand here: all that there is could be its beginning.
    Cut,
}

/// One character and its forms.
struct Letter {
    /// In UTF-8.
    bytes: Zeroizing<Vec<u8>>,
    character: Zeroizing<char>,
}

impl Spelled {
    pub(crate) fn new(text: &str) -> Self {
        let letter = |character: char| Letter {
            bytes: Zeroizing::new(character.to_string().into_bytes()),
            character: Zeroizing::new(character),
        };
        Self(text.chars().map(letter).collect())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a text begins with this one.
    pub(crate) fn at(&self, text: &[u8]) -> Found {
        let (mut ends, mut cut) = (vec![0], false);
        for letter in &self.0 {
            let mut next = Vec::new();
            for end in ends {
                let rest = &text[end..];
                cut |= rest.is_empty();
                letter.ends(rest, &mut |length| next.push(end + length), &mut cut);
            }
            next.sort_unstable();
            next.dedup();
            ends = next;
            if ends.is_empty() {
                return if cut { Found::Cut } else { Found::No };
            }
        }
        ends.last().map_or(Found::No, |end| Found::Whole(*end))
    }
}

impl Letter {
    /// Every length in which the character may stand at the beginning of a text; says too whether
    /// the text ends within one of its forms.
    fn ends(&self, rest: &[u8], found: &mut dyn FnMut(usize), cut: &mut bool) {
        self.byte_by_byte(rest, found, cut);
        let slashes = rest.iter().take_while(|byte| **byte == b'\\').count();
        match *self.character {
            // Each level of JSON doubles it.
            '\\' => (1..=slashes).for_each(&mut *found),
            character if slashes > 0 => {
                let after = &rest[slashes..];
                *cut |= after.is_empty();
                if short_escape(character).is_some_and(|short| after.first() == Some(&short)) {
                    found(slashes + 1);
                }
            }
            _ => {}
        }
        if slashes > 0 {
            let mut units = [0; 2];
            self.by_units(rest, self.character.encode_utf16(&mut units), found, cut);
        }
        if rest.first() == Some(&b'&') {
            self.as_entity(rest, found, cut);
        }
    }

    /// As it is, percent-encoded, or taken for Latin-1 by somebody on the way.
    fn byte_by_byte(&self, rest: &[u8], found: &mut dyn FnMut(usize), cut: &mut bool) {
        let mut ends = vec![0];
        for byte in self.bytes.iter() {
            let mut next = Vec::new();
            for end in ends {
                let rest = &rest[end..];
                *cut |= rest.is_empty();
                if rest.first() == Some(byte) || (*byte == b' ' && rest.first() == Some(&b'+')) {
                    next.push(end + 1);
                }
                let mut latin = [0; 2];
                let latin = char::from(*byte).encode_utf8(&mut latin).as_bytes();
                if !byte.is_ascii() && rest.starts_with(latin) {
                    next.push(end + latin.len());
                }
                percent_encoded(rest, *byte, &mut |length| next.push(end + length), cut);
            }
            ends = next;
        }
        ends.into_iter().for_each(found);
    }

    /// As `\u` escapes of its UTF-16 units, each behind any number of backslashes.
    fn by_units(&self, rest: &[u8], units: &[u16], found: &mut dyn FnMut(usize), cut: &mut bool) {
        let mut end = 0;
        for unit in units {
            let slashes = rest[end..].iter().take_while(|byte| **byte == b'\\').count();
            let escape = &rest[end + slashes..];
            let wanted = format!("u{unit:04x}");
            if slashes == 0 && end > 0 && escape.is_empty() {
                *cut = true;
            }
            if slashes == 0 || !begins(escape, wanted.as_bytes(), cut) {
                return;
            }
            end += slashes + wanted.len();
        }
        found(end);
    }

    fn as_entity(&self, rest: &[u8], found: &mut dyn FnMut(usize), cut: &mut bool) {
        let code = u32::from(*self.character);
        let named = match *self.character {
            '&' => "&amp;",
            '<' => "&lt;",
            '>' => "&gt;",
            '"' => "&quot;",
            '\'' => "&apos;",
            _ => "",
        };
        let forms = [
            named.to_owned(),
            format!("&#{code};"),
            format!("&#0{code};"),
            format!("&#x{code:x};"),
            format!("&#x{code:02x};"),
        ];
        for form in forms.iter().filter(|form| !form.is_empty()) {
            if begins(rest, form.as_bytes(), cut) {
                found(form.len());
            }
        }
    }
}

/// What follows the backslash where JSON need not write the character's number.
fn short_escape(character: char) -> Option<u8> {
    Some(match character {
        '"' => b'"',
        '/' => b'/',
        '\u{8}' => b'b',
        '\u{c}' => b'f',
        '\n' => b'n',
        '\r' => b'r',
        '\t' => b't',
        '\'' => b'\'',
        _ => return None,
    })
}

/// The lengths of a byte's percent-encoding: its `%` may have been encoded again, as `%25`.
fn percent_encoded(rest: &[u8], byte: u8, found: &mut dyn FnMut(usize), cut: &mut bool) {
    if rest.first() != Some(&b'%') {
        return;
    }
    let (mut end, digits) = (1, format!("{byte:02x}"));
    loop {
        if begins(&rest[end..], digits.as_bytes(), cut) {
            found(end + digits.len());
        }
        if !begins(&rest[end..], b"25", cut) {
            return;
        }
        end += 2;
    }
}

/// Whether a text begins with a form, letters of either case.
fn begins(text: &[u8], form: &[u8], cut: &mut bool) -> bool {
    let length = text.len().min(form.len());
    if !text[..length].eq_ignore_ascii_case(&form[..length]) {
        return false;
    }
    *cut |= length < form.len();
    length == form.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[rustfmt::skip]
    fn each_character_may_stand_in_any_of_its_forms() {
        let secret = "a/b+c \"ü\\%😀";
        let whole = [
            "a/b+c \"ü\\%😀",
            "a%2Fb%2Bc%20%22%C3%BC%5C%25%F0%9F%98%80",
            "a%2fb%2bc+%22%c3%bc%5c%25%f0%9f%98%80",
            "a/b%2Bc%20%22%C3%BC%5C%25%F0%9F%98%80",
            "%61/b%2Bc%20%22ü%5c%25😀",
            "a%252Fb%252Bc%2520%2522%25C3%25BC%255C%2525%25F0%259F%2598%2580",
            r#"a/b+c \"ü\\%😀"#,
            r#"a\/b+c \"\u00fc\\%\ud83d\ude00"#,
            r#"a\/b\u002Bc \u0022\u00FC\u005c%\uD83D\uDE00"#,
            r#"a\\/b+c \\\"\\u00fc\\\\%\\ud83d\\ude00"#,
            "a/b&#43;c &quot;ü\\%😀",
            "a&#x2F;b+c &#34;&#xfc;&#092;%😀",
            "a/b+c \"Ã¼\\%ð\u{9f}\u{98}\u{80}",
        ];
        let spelled = Spelled::new(secret);
        for text in whole {
            assert_eq!(spelled.at(text.as_bytes()), Found::Whole(text.len()), "{text}");
            for end in (1..text.len()).filter(|end| text.is_char_boundary(*end)) {
                assert_eq!(spelled.at(&text.as_bytes()[..end]), Found::Cut, "{}", &text[..end]);
            }
        }
        for other in ["", "b", "a/b-c", "A/b+c", "a%2Gb", "a\\b+c", "a&amp;b", "a%"] {
            assert_ne!(spelled.at(other.as_bytes()), Found::Whole(other.len()), "{other}");
        }
        for no in ["b", "a/b-c", "A/b+c", "a%2Gb", "a\\b+c", "a&amp;b"] {
            assert_eq!(spelled.at(no.as_bytes()), Found::No, "{no}");
        }
    }

    #[test]
    fn what_reads_in_two_ways_is_found_in_both() {
        let spelled = Spelled::new("%25x");
        for text in ["%25x", "%2525x", "%25%32%35x"] {
            assert_eq!(spelled.at(text.as_bytes()), Found::Whole(text.len()), "{text}");
        }
        let slashes = Spelled::new("\\\\x");
        for text in ["\\\\x", "\\\\\\\\x", "%5C\\x"] {
            assert_eq!(slashes.at(text.as_bytes()), Found::Whole(text.len()), "{text}");
        }
    }
}
