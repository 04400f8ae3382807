//! Places in a JSON value as people read them, such as `$.messages[0].body`.
//!
//! Keys are the caller's, and one value may be named many times: so every step and every path has a
//! limit, a cut shows as `…`, and both ends stay, because they say where and what.

use std::borrow::Cow;

use super::write_string;

/// Bytes of one step; a longer key is cut in its middle.
const STEP_BYTES_MAX: usize = 64;
/// Stands for what was left out.
const CUT: &str = "…";

/// One step of a path.
#[derive(Clone, Copy)]
pub(crate) enum Step<'a> {
    Key(&'a str),
    Item(usize),
}

impl Step<'_> {
    /// `.name`, `["odd name"]` or `[3]`.
    fn append_to(self, text: &mut String) {
        let name = match self {
            Self::Item(index) => {
                text.push('[');
                text.push_str(itoa::Buffer::new().format(index));
                text.push(']');
                return;
            }
            // Brackets and quotes come on top.
            Self::Key(name) => cut(name, STEP_BYTES_MAX - 4),
        };
        let plain = |character: char| character.is_alphanumeric() || matches!(character, '_' | '-');
        let plain_byte = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        let is_plain = name.bytes().all(plain_byte) || name.chars().all(plain);
        if !name.is_empty() && is_plain {
            text.push('.');
            text.push_str(&name);
            return;
        }
        let mut quoted = String::from("[");
        write_string(&mut quoted, &name);
        quoted.push(']');
        // Escapes make a name up to six times as long.
        text.push_str(&cut(&quoted, STEP_BYTES_MAX));
    }

    fn text(self) -> String {
        let mut text = String::new();
        self.append_to(&mut text);
        text
    }
}

/// The path of these steps in at most this many bytes; where it is cut, steps are left out in the
/// middle.
pub(crate) fn text(steps: &[Step<'_>], bytes_max: usize) -> String {
    let mut whole = String::with_capacity(STEP_BYTES_MAX);
    whole.push('$');
    let mut head = whole.len();
    for step in steps {
        step.append_to(&mut whole);
        if whole.len() > bytes_max {
            return both_ends(&whole[..head], steps, bytes_max);
        }
        if whole.len() <= bytes_max / 2 {
            head = whole.len();
        }
    }
    whole
}

/// The head, and as many of the last steps as there is room for.
fn both_ends(head: &str, steps: &[Step<'_>], bytes_max: usize) -> String {
    let mut room = bytes_max.saturating_sub(head.len() + CUT.len());
    let mut tail = Vec::new();
    for step in steps.iter().rev() {
        let text = step.text();
        if text.len() > room {
            break;
        }
        room -= text.len();
        tail.push(text);
    }
    tail.reverse();
    [head, CUT, &tail.concat()].concat()
}

/// The text in at most this many bytes: what is too much is left out in the middle.
fn cut(text: &str, bytes_max: usize) -> Cow<'_, str> {
    if text.len() <= bytes_max {
        return Cow::Borrowed(text);
    }
    let half = (bytes_max - CUT.len()) / 2;
    let (mut head, mut tail) = (half, text.len() - half);
    while !text.is_char_boundary(head) {
        head -= 1;
    }
    while !text.is_char_boundary(tail) {
        tail += 1;
    }
    Cow::Owned([&text[..head], CUT, &text[tail..]].concat())
}

#[cfg(test)]
mod tests {
    use types::limits::PATH_BYTES_MAX;

    use super::*;

    fn path(steps: &[Step<'_>]) -> String {
        text(steps, PATH_BYTES_MAX)
    }

    #[test]
    fn short_paths_are_whole() {
        let cases: [(&[Step<'_>], &str); 5] = [
            (&[], "$"),
            (&[Step::Key("messages"), Step::Item(0), Step::Key("body")], "$.messages[0].body"),
            (&[Step::Key("a b")], "$[\"a b\"]"),
            (&[Step::Key("")], "$[\"\"]"),
            (&[Step::Key("a\"\n")], "$[\"a\\\"\\n\"]"),
        ];
        for (steps, expected) in cases {
            assert_eq!(path(steps), expected);
        }
    }

    /// Both ends stay, the cut shows, and no character is split.
    #[test]
    fn long_keys_and_deep_places_are_cut_in_the_middle() {
        let long = format!("start{}end", "k".repeat(10_000_000));
        let shown = path(&[Step::Key(&long), Step::Item(7)]);
        assert!(shown.starts_with("$[\"startkk") && shown.ends_with("kend\"][7]"), "{shown}");
        assert!(shown.contains('…') && shown.len() <= 80, "{shown}");
        let wide = "é😀".repeat(1_000);
        assert!(path(&[Step::Key(&wide)]).len() <= STEP_BYTES_MAX + 1);
        let control = "\u{1}".repeat(60);
        assert!(path(&[Step::Key(&control)]).len() <= STEP_BYTES_MAX + 1);

        let deep: Vec<Step<'_>> = (0..64).map(|at| Step::Item(1_000 + at)).collect();
        let shown = path(&deep);
        assert!(shown.starts_with("$[1000][1001]") && shown.ends_with("[1062][1063]"), "{shown}");
        assert!(shown.contains("]…[") && shown.len() <= PATH_BYTES_MAX, "{shown}");
        let shown = path(&[Step::Key(&wide); 64]);
        assert!(shown.len() <= PATH_BYTES_MAX, "{shown}");
    }
}
