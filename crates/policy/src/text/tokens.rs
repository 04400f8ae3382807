//! Tokens of templates that were not filled in.
//!
//! A pattern is a glob: literal text with `*` for any characters. A hit lies within one string,
//! starts with the first literal and ends with the nearest last literal, which `*` never crosses;
//! hits do not overlap. Every scan is linear in the text for each pattern.
//!
//! The default patterns: `{{x}}`, `{%x%}`, `${x}`, `<%x%>` and `[[x]]` (a letter first, after
//! spaces and the `=` or `-` of `<%=`), `%NAME%`, and failed renderings: `undefined`, `null`, `NaN`
//! or `[object Object]` as the whole trimmed string, after a greeting word or before `,` or `!`,
//! and `[object Object]` anywhere.

/// One glob, cut at its stars. Stars at its ends say nothing and are dropped.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    literals: Vec<String>,
    /// A letter must come first after the opening literal.
    letter_first: bool,
}

impl Pattern {
    /// `None` if there is no literal text.
    pub(crate) fn parse(glob: &str) -> Option<Self> {
        let literals: Vec<String> =
            glob.split('*').filter(|literal| !literal.is_empty()).map(Into::into).collect();
        if literals.is_empty() { None } else { Some(Self { literals, letter_first: false }) }
    }

    fn default_of(open: &str, close: &str, letter_first: bool) -> Self {
        Self { literals: vec![open.into(), close.into()], letter_first }
    }

    fn opening(&self) -> &str {
        self.literals.first().map_or("", String::as_str)
    }

    /// Where the hit that starts with the opening literal at `start` ends.
    fn end_of(&self, text: &str, start: usize) -> Result<usize, DeadUntil> {
        let inner = start + self.opening().len();
        if self.letter_first && !starts_with_letter(&text[inner..]) {
            return Err(DeadUntil(start + 1));
        }
        let Some((closing, middles)) = self.literals[1..].split_last() else {
            return Ok(inner);
        };
        let Some(close) = text[inner..].find(closing.as_str()).map(|at| inner + at) else {
            return Err(DeadUntil(text.len()));
        };
        let mut rest = &text[inner..close];
        for middle in middles {
            match rest.find(middle.as_str()) {
                Some(at) => rest = &rest[at + middle.len()..],
                // Openings before this closing have the same closing and less text before it.
                None => return Err(DeadUntil(close)),
            }
        }
        Ok(close + closing.len())
    }
}

/// So many patterns need no memory of their own while a text is scanned.
const PATTERNS_USUAL: usize = 8;

/// No hit of this pattern starts before this position.
struct DeadUntil(usize);

fn starts_with_letter(inner: &str) -> bool {
    inner.trim_start_matches(['=', '-', ' ', '\t', '\n', '\r']).starts_with(char::is_alphabetic)
}

/// All patterns of one rule.
pub(crate) struct Scanner {
    patterns: Vec<Pattern>,
    defaults: bool,
    /// Bytes with which a hit can start.
    first_bytes: [bool; 256],
}

impl Scanner {
    pub(crate) fn of(patterns: Vec<Pattern>) -> Self {
        Self::build(patterns, false)
    }

    pub(crate) fn with_defaults() -> Self {
        let patterns = vec![
            Pattern::default_of("{{", "}}", false),
            Pattern::default_of("{%", "%}", false),
            Pattern::default_of("${", "}", false),
            Pattern::default_of("<%", "%>", true),
            Pattern::default_of("[[", "]]", true),
        ];
        Self::build(patterns, true)
    }

    fn build(patterns: Vec<Pattern>, defaults: bool) -> Self {
        let mut first_bytes = [false; 256];
        for pattern in &patterns {
            if let Some(byte) = pattern.opening().bytes().next() {
                first_bytes[usize::from(byte)] = true;
            }
        }
        if defaults {
            for byte in *b"%[unN" {
                first_bytes[usize::from(byte)] = true;
            }
        }
        Self { patterns, defaults, first_bytes }
    }

    /// Calls `hit` with every token of the text, left to right.
    pub(crate) fn scan(&self, text: &str, hit: &mut dyn FnMut(&str)) {
        if !text.bytes().any(|byte| self.first_bytes[usize::from(byte)]) {
            return;
        }
        let (mut few, mut many) = ([0; PATTERNS_USUAL], Vec::new());
        let dead_until = if self.patterns.len() <= PATTERNS_USUAL {
            &mut few[..self.patterns.len()]
        } else {
            many.resize(self.patterns.len(), 0);
            many.as_mut_slice()
        };
        let whole = text.trim();
        let mut at = 0;
        while let Some(step) =
            text.as_bytes()[at..].iter().position(|byte| self.first_bytes[usize::from(*byte)])
        {
            at += step;
            if let Some(end) = self.token_at(text, whole, at, dead_until) {
                hit(&text[at..end]);
                at = end;
            } else {
                at += 1;
            }
        }
    }

    /// `at` need not be a character's start: then nothing starts there.
    fn token_at(
        &self,
        text: &str,
        whole: &str,
        at: usize,
        dead_until: &mut [usize],
    ) -> Option<usize> {
        let rest = text.get(at..)?;
        for (pattern, dead) in self.patterns.iter().zip(dead_until) {
            if at < *dead || !rest.starts_with(pattern.opening()) {
                continue;
            }
            match pattern.end_of(text, at) {
                Ok(end) => return Some(end),
                Err(DeadUntil(position)) => *dead = position,
            }
        }
        if !self.defaults {
            return None;
        }
        merge_tag(rest).or_else(|| failed_rendering(text, whole, at)).map(|length| at + length)
    }
}

/// The length of `%[A-Z][A-Z0-9_]*%` at the start.
fn merge_tag(rest: &str) -> Option<usize> {
    let name = rest.strip_prefix('%')?;
    if !name.starts_with(|first: char| first.is_ascii_uppercase()) {
        return None;
    }
    let word = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    let length = name.bytes().position(|byte| !word(byte))?;
    name[length..].starts_with('%').then_some(length + 2)
}

const GREETINGS: [&str; 10] = [
    "hello",
    "hi",
    "hey",
    "dear",
    "greetings",
    "welcome",
    "morning",
    "afternoon",
    "evening",
    "thanks",
];

/// The length of a failed rendering at `at`; `whole` is the trimmed text.
fn failed_rendering(text: &str, whole: &str, at: usize) -> Option<usize> {
    let rest = &text[at..];
    let object = "[object Object]";
    if rest.starts_with(object) {
        return Some(object.len());
    }
    let word = ["undefined", "null", "NaN"].into_iter().find(|word| rest.starts_with(word))?;
    let (before, after) = (&text[..at], &rest[word.len()..]);
    let joins = |character: char| character.is_alphanumeric() || character == '_';
    if before.ends_with(joins) || after.starts_with(joins) {
        return None;
    }
    let addressed = after.starts_with([',', '!']) || follows_greeting(before);
    (whole == word || addressed).then_some(word.len())
}

/// The text ends with a greeting word, spaces and perhaps a comma.
fn follows_greeting(before: &str) -> bool {
    let spaced = before.trim_end();
    if spaced.len() == before.len() {
        return false;
    }
    let spoken = spaced.strip_suffix(',').unwrap_or(spaced);
    let start = spoken.rfind(|character: char| !character.is_alphanumeric());
    let start = start.map_or(0, |at| at + spoken[at..].chars().next().map_or(0, char::len_utf8));
    GREETINGS.iter().any(|greeting| spoken[start..].eq_ignore_ascii_case(greeting))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hits(scanner: &Scanner, text: &str) -> Vec<String> {
        let mut found = Vec::new();
        scanner.scan(text, &mut |token| found.push(token.to_owned()));
        found
    }

    #[test]
    #[rustfmt::skip]
    fn default_patterns_hit_what_was_not_filled_in() {
        let cases: [(&str, &[&str]); 40] = [
            ("Hello {{customer_name}}, welcome", &["{{customer_name}}"]),
            ("{{a}} and {{b}}", &["{{a}}", "{{b}}"]),
            ("{{{a}}}", &["{{{a}}"]),
            ("{{ open only", &[]),
            ("close only }}", &[]),
            ("a } {{ b } c }}", &["{{ b } c }}"]),
            ("{% if x %}yes{% endif %}", &["{% if x %}", "{% endif %}"]),
            ("cost ${amount}", &["${amount}"]),
            ("cost $5 {x}", &[]),
            ("<% name %>", &["<% name %>"]),
            ("<%= name %>", &["<%= name %>"]),
            ("a <% 5 %> b", &[]),
            ("[[FIRST_NAME]]", &["[[FIRST_NAME]]"]),
            ("[[1,2],[3,4]]", &[]),
            ("[[]]", &[]),
            ("Dear %FIRST_NAME%", &["%FIRST_NAME%"]),
            ("100% of 5% off", &[]),
            ("%name%", &[]),
            ("%9A%", &[]),
            ("%A%", &["%A%"]),
            ("%A", &[]),
            ("undefined", &["undefined"]),
            ("  null \n", &["null"]),
            ("NaN", &["NaN"]),
            ("Hello undefined", &["undefined"]),
            ("HI null and all", &["null"]),
            ("Hello, undefined", &["undefined"]),
            ("Good morning undefined.", &["undefined"]),
            ("dear undefined, dear null!", &["undefined", "null"]),
            ("the value is undefined here", &[]),
            ("nullable, undefinedness!", &[]),
            ("annull, x", &[]),
            ("not_null, x", &[]),
            ("Thank you [object Object] for", &["[object Object]"]),
            ("Phi null and", &[]),
            ("{{a}{{b}}", &["{{a}{{b}}"]),
            ("", &[]),
            ("ünïcödé {{é}} – ok", &["{{é}}"]),
            ("hello null", &["null"]),
            ("[[-f x]]", &["[[-f x]]"]),
        ];
        let scanner = Scanner::with_defaults();
        for (text, expected) in cases {
            assert_eq!(hits(&scanner, text), expected, "{text:?}");
        }
    }

    #[test]
    fn own_patterns_replace_the_defaults() {
        let cases: [(&str, &str, &[&str]); 9] = [
            ("{{*}}", "{{a}} ${b} undefined", &["{{a}}"]),
            ("<<*>>", "x <<name>> y", &["<<name>>"]),
            ("{*|*}", "{a|b} {c} {d|e}", &["{a|b}", "{d|e}"]),
            ("{*|*}", "{a} |}", &[]),
            ("TODO", "a TODO b TODO", &["TODO", "TODO"]),
            ("*TODO*", "a TODO b", &["TODO"]),
            ("a**b", "a-b", &["a-b"]),
            ("é*é", "é1é 2é", &["é1é"]),
            ("{{*}}", "{{}}", &["{{}}"]),
        ];
        for (glob, text, expected) in cases {
            let scanner = Scanner::of(vec![Pattern::parse(glob).unwrap()]);
            assert_eq!(hits(&scanner, text), expected, "{glob:?} in {text:?}");
        }
        assert!(Pattern::parse("").is_none() && Pattern::parse("**").is_none());
    }

    /// A text made to hurt: openings without closings, and closings without middles.
    #[test]
    fn hostile_text_is_scanned_in_linear_time() {
        let scanner =
            Scanner::of(vec![Pattern::parse("{{*}}").unwrap(), Pattern::parse("{*|*;*]").unwrap()]);
        assert_eq!(hits(&scanner, &"{".repeat(2_000_000)), Vec::<String>::new());
        let far = format!("{}]", "{a|".repeat(500_000));
        assert_eq!(hits(&scanner, &far), Vec::<String>::new());
        let defaults = Scanner::with_defaults();
        let nested = format!("{}]]", "[[".repeat(500_000));
        assert_eq!(hits(&defaults, &nested), Vec::<String>::new());
        let spaced = format!("{}{}", " ".repeat(500_000), "null ".repeat(200_000));
        assert_eq!(hits(&defaults, &spaced), Vec::<String>::new());
    }
}
