//! Templates: minijinja, kept within limits, and with secrets outside of its reach.
//!
//! A template sees `payload`, `intent` and `metadata`, loads nothing and calls nothing. Its secrets
//! are marks (`marks.rs`) while it is rendered.
//! Invariant: rendering ends, within a number of steps and of bytes, with text or with an error
//! that names a line.

use std::fmt::Write as _;
use std::io;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Value, ValueKind};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, Output, State, UndefinedBehavior};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use types::limits;

use crate::material::{VARIABLES, float, write_json};

/// What RFC 3986 leaves as it is in any part of a URL.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Where a template stands, which decides how its values are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Values are percent-encoded, so that each stays within its segment or parameter.
    Url,
    /// Values stand as they are; the client refuses control characters.
    Header,
    /// Values stand as they are, objects and lists as JSON.
    Body,
}

impl Place {
    fn bytes_max(self) -> usize {
        match self {
            Self::Url => limits::URL_BYTES_MAX,
            Self::Header => limits::HEADER_BYTES_MAX,
            Self::Body => limits::OUTBOUND_BYTES_MAX,
        }
    }
}

/// Compiles a template and looks at what it asks for.
///
/// # Errors
/// What is wrong, and in which line.
pub(crate) fn check(template: &str, place: Place) -> Result<(), String> {
    let environment = environment(place);
    let compiled = environment.template_from_str(template).map_err(|error| shown(&error))?;
    let mut names: Vec<_> = compiled.undeclared_variables(false).into_iter().collect();
    names.sort();
    for name in names {
        let known = VARIABLES.contains(&name.as_str())
            || environment.globals().any(|(global, _)| global == name);
        if !known {
            return Err(format!(
                "there is no variable `{name}`; there are {}",
                VARIABLES.map(|name| format!("`{name}`")).join(", ")
            ));
        }
    }
    Ok(())
}

/// Renders a template that holds marks in place of secrets.
///
/// # Errors
/// What is wrong, and in which line.
pub(crate) fn render(template: &str, place: Place, context: &Value) -> Result<String, String> {
    let environment = environment(place);
    let compiled = environment.template_from_str(template).map_err(|error| shown(&error))?;
    let mut output = Bounded { bytes: Vec::new(), most: place.bytes_max(), crossed: false };
    let rendered = compiled.render_captured_to(context.clone(), &mut output).map(|_| ());
    if output.crossed {
        return Err(format!("it becomes longer than {} bytes", output.most));
    }
    rendered.map_err(|error| shown(&error))?;
    String::from_utf8(output.bytes).map_err(|_| "it does not become text".to_owned())
}

fn environment(place: Place) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(limits::TEMPLATE_STEPS_MAX));
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    let syntax = SyntaxConfig::builder().keep_trailing_newline(true).build();
    environment.set_syntax(syntax.expect("the delimiters are the default ones"));
    // It would print whatever the template can reach.
    environment.remove_global("debug");
    environment.add_filter("tojson", |value: Value| json(&value));
    environment.add_filter("float", |value: Value, default: Option<Value>| float(&value, default));
    match place {
        Place::Url => environment.set_formatter(write_encoded),
        Place::Header | Place::Body => environment.set_formatter(write_plain),
    }
    environment
}

fn write_plain(output: &mut Output<'_>, _: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    match value.kind() {
        ValueKind::String | ValueKind::Number | ValueKind::Plain | ValueKind::Undefined => {
            Ok(write!(output, "{value}")?)
        }
        _ => write_json(output, value),
    }
}

fn write_encoded(
    output: &mut Output<'_>,
    _: &mut State<'_, '_>,
    value: &Value,
) -> Result<(), Error> {
    let text = match value.kind() {
        ValueKind::String | ValueKind::Number | ValueKind::Plain | ValueKind::Undefined => {
            value.to_string()
        }
        _ => json(value)?,
    };
    Ok(write!(output, "{}", utf8_percent_encode(&text, UNRESERVED))?)
}

fn json(value: &Value) -> Result<String, Error> {
    let mut text = String::new();
    write_json(&mut text, value)?;
    Ok(text)
}

/// An error with its line, without the name of the template: its place is named by the caller.
fn shown(error: &Error) -> String {
    let mut text = String::new();
    if let Some(line) = error.line() {
        let _ = write!(text, "line {line}: ");
    }
    if error.kind() == ErrorKind::OutOfFuel {
        let _ = write!(text, "it takes more than {} steps", limits::TEMPLATE_STEPS_MAX);
        return text;
    }
    let _ = write!(text, "{}", error.kind());
    if let Some(detail) = error.detail() {
        let _ = write!(text, ": {detail}");
    }
    text
}

/// Takes bytes up to a limit.
struct Bounded {
    bytes: Vec<u8>,
    most: usize,
    crossed: bool,
}

impl io::Write for Bounded {
    fn write(&mut self, more: &[u8]) -> io::Result<usize> {
        if more.len() > self.most - self.bytes.len() {
            self.crossed = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(more);
        Ok(more.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::marks::Marks;
    use crate::material::{Material, Payload, context};

    const HUGE: &str = "123456789012345678901234567890123456789012";
    const BIG: &str = concat!(
        r#"{"id":12345678901234567890,"huge":123456789012345678901234567890123456789012,"#,
        r#""price":0.10,"exp":1e+5,"zero":-0,"list":[1.50,"a/b",null,true],"#,
        r#""name":"A&B ?x=1/../é"}"#,
    );

    fn material(payload: Payload) -> Material {
        Material {
            payload,
            metadata: json!({ "lead": { "id": 7 } }),
            intent: json!({ "id": "int_2c2846cac3071a90", "action": "call" }),
        }
    }

    fn rendered(template: &str, place: Place, payload: Payload) -> Result<String, String> {
        render(template, place, &context(&material(payload)))
    }

    #[test]
    #[rustfmt::skip]
    fn a_payload_is_written_as_it_was_approved() {
        let cases = [
            // template, of the big payload
            ("{{ payload }}",                                BIG),
            ("{{ payload | tojson }}",                       BIG),
            ("{{ payload.id }}",                             "12345678901234567890"),
            ("{{ payload.id + 1 }}",                         "12345678901234567891"),
            ("{{ payload.huge }}",                           HUGE),
            ("{{ payload.price }} {{ payload['price'] }}",   "0.10 0.10"),
            ("{{ payload.exp }} {{ payload.zero }}",         "1e+5 -0"),
            ("{{ payload.price | float * 2 }}",              "0.2"),
            ("{% if payload.price | float < 1 %}y{% endif %}", "y"),
            ("{{ payload.list }}",                           "[1.50,\"a/b\",null,true]"),
            ("{{ payload.list | length }}",                  "4"),
            ("{{ payload.list[0] }} {{ payload.list[2] }}",  "1.50 null"),
            ("{{ payload.list | first }}",                   "1.50"),
            ("{% for x in payload.list %}<{{ x }}>{% endfor %}", "<1.50><a/b><null><true>"),
            ("{{ {'p': payload.price, 'l': payload.list} }}",
             "{\"l\":[1.50,\"a/b\",null,true],\"p\":0.10}"),
            ("{{ payload.list | list }}",                    "[1.50,\"a/b\",null,true]"),
            ("{% for k in payload %}{{ k }} {% endfor %}",   "id huge price exp zero list name "),
            ("{% for k, v in payload | items %}{{ k }}{% endfor %}", "idhugepriceexpzerolistname"),
            ("{{ payload.name }}",                           "A&B ?x=1/../é"),
            ("{{ payload.name | tojson }}",                  "\"A&B ?x=1/../é\""),
            ("{{ metadata.lead.id }} {{ intent.id }}",       "7 int_2c2846cac3071a90"),
            ("{{ metadata }}",                               "{\"lead\":{\"id\":7}}"),
            ("{{ payload.none | default('x') }}",            "x"),
            ("{{ payload is mapping }} {{ payload.list is sequence }}", "true true"),
            ("line\n",                                       "line\n"),
            ("{{ '<' }}",                                    "<"),
        ];
        for (template, expected) in cases {
            for payload in [Payload::Json(BIG.into()), Payload::Text(BIG.into())] {
                let text = rendered(template, Place::Body, payload);
                assert_eq!(text.as_deref(), Ok(expected), "{template}");
            }
        }
    }

    #[test]
    #[rustfmt::skip]
    fn text_stays_text_and_scalars_stay_scalars() {
        let text = |text: &str| Payload::Text(text.into());
        let json = |text: &str| Payload::Json(text.into());
        let cases = [
            (text("Hi {{ payload.x }} <b>"), "{{ payload }}",           "Hi {{ payload.x }} <b>"),
            (text(" { \"a\" : 1.0 }"),  "{{ payload }}|{{ payload.a }}", " { \"a\" : 1.0 }|1.0"),
            (text("{\"a\":1"),              "{{ payload }}",          "{\"a\":1"),
            (text("12"),                    "{{ payload | tojson }}",        "\"12\""),
            (text(""),                      "<{{ payload }}>",               "<>"),
            (json("1.50"),                  "{{ payload }}",          "1.50"),
            (json("\"a\""),                 "{{ payload }}",          "a"),
            (json("null"),                  "{{ payload }}",          "null"),
            (json("[]"),                    "{{ payload | length }}",        "0"),
            (Payload::Absent,               "{{ payload is defined }}",      "false"),
        ];
        for (payload, template, expected) in cases {
            let text = rendered(template, Place::Body, payload.clone());
            assert_eq!(text.as_deref(), Ok(expected), "{payload:?} {template}");
        }
    }

    #[test]
    #[rustfmt::skip]
    fn templates_end_with_text_or_with_a_line() {
        let cases = [
            ("{{ payload.nothing }}",                      "line 1: undefined value"),
            ("a\n{{ payload.nothing.more }}",              "line 2: undefined value"),
            ("{{ nothing }}",                              "line 1: undefined value"),
            ("{{ payload.id",                              "line 1: syntax error"),
            ("{{ payload | nofilter }}",                   "line 1: unknown filter"),
            ("{{ payload.price * 2 }}",                    "line 1: "),
            ("{{ payload.name | float }}",                 "line 1: "),
            ("{{ debug() }}",                              "line 1: unknown function"),
            ("{% include 'x' %}",                          "line 1: syntax error"),
            ("{% for a in range(10000) %}{% for b in range(10000) %}{% endfor %}{% endfor %}",
                                                           "line 1: it takes more than"),
            ("{% for a in range(100000) %}{{ 'x' * 1000 }}{% endfor %}", "becomes longer than"),
            ("{{ 'x' * 1000000000000 }}",                  "line 1: "),
        ];
        for (template, expected) in cases {
            let why = rendered(template, Place::Body, Payload::Json(BIG.into())).unwrap_err();
            assert!(why.contains(expected), "{template}: {why}");
        }
        let long = "x".repeat(limits::HEADER_BYTES_MAX + 1);
        for place in [Place::Url, Place::Header] {
            let why = rendered("{{ payload }}", place, Payload::Text(long.clone())).unwrap_err();
            assert!(why.contains("longer than 8192 bytes"), "{place:?}: {why}");
        }
    }

    #[test]
    #[rustfmt::skip]
    fn templates_are_checked_without_an_intent() {
        let cases = [
            ("{{ payload }}",                                 None),
            ("{% for x in payload.a %}{{ loop.index }}{% endfor %}", None),
            ("{% set y = intent.id %}{{ y }}{{ range(3) }}",  None),
            ("{{ payload",                                    Some("line 1: syntax error")),
            ("\n{% if %}",                                    Some("line 2: syntax error")),
            ("{{ paylaod.id }}",                              Some("no variable `paylaod`; there")),
            ("{{ debug() }}",                                 Some("no variable `debug`")),
        ];
        for (template, expected) in cases {
            match (check(template, Place::Body), expected) {
                (Ok(()), None) => {}
                (Err(why), Some(expected)) => assert!(why.contains(expected), "{template}: {why}"),
                (other, _) => panic!("{template}: {other:?}"),
            }
        }
    }

    proptest! {
        /// Whatever a value is, in a URL it adds no separator of any kind.
        #[test]
        fn values_in_urls_separate_nothing(value: String) {
            let payload = Payload::Json(json!({ "v": value }).to_string());
            let text = rendered("{{ payload.v }}", Place::Url, payload);
            if let Ok(text) = text {
                let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%".contains(&byte);
                prop_assert!(text.bytes().all(plain), "{}", text);
                let back = percent_encoding::percent_decode_str(&text).decode_utf8();
                prop_assert_eq!(back.as_deref(), Ok(value.as_str()));
            }
        }

        /// Rendering any template of any payload ends without a panic.
        #[test]
        fn no_template_panics(
            template in "[ {}%#|.a-z'\"()\\[\\]\n$:]{0,40}",
            payload in ".{0,20}",
        ) {
            let _ = check(&template, Place::Body);
            if let Ok(hidden) = Marks::draw().unwrap().hide(&template) {
                let _ = rendered(&hidden, Place::Url, Payload::Text(payload));
            }
        }
    }
}
