//! The strict reader: `serde_json` does the grammar, this file refuses what is ambiguous.
//!
//! Numbers of arbitrary precision reach a visitor as a map with one reserved key and an *owned*
//! text; a real object with that key hands out borrowed or transient text. That tells them apart,
//! and a test watches that it stays so.

use core::fmt;

use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use types::limits::{JSON_DEPTH_MAX, JSON_KEY_BYTES_MAX, JSON_VALUES_MAX};

use super::{JsonError, place};

/// The prefix of the keys that `serde_json` keeps for itself.
const RESERVED: &str = "$serde_json::private::";
/// Bytes of an error's path: it stands in the message and beside it.
const PATH_BYTES_MAX: usize = 128;

/// Reads one JSON value from bytes.
///
/// # Errors
/// [`JsonError`] names the place.
pub fn parse(bytes: &[u8]) -> Result<Value, JsonError> {
    match core::str::from_utf8(bytes) {
        Ok(text) => parse_str(text),
        Err(error) => {
            let before = &bytes[..error.valid_up_to()];
            let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            Err(JsonError {
                path: "$".into(),
                message: "invalid UTF-8".into(),
                line: 1 + before.iter().filter(|byte| **byte == b'\n').count(),
                column: 1 + before.len() - line_start,
                strictness: true,
            })
        }
    }
}

/// Reads one JSON value from text.
///
/// # Errors
/// [`JsonError`] names the place.
pub fn parse_str(text: &str) -> Result<Value, JsonError> {
    let mut state = State { steps: Vec::new(), values: 0, strictness: false };
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = Strict { state: &mut state }.deserialize(&mut deserializer);
    let value = value.and_then(|value| deserializer.end().map(|()| value));
    value.map_err(|error| JsonError {
        path: state.path(),
        message: plain_message(&error),
        line: error.line().max(1),
        column: error.column().max(1),
        strictness: state.strictness,
    })
}

/// The library's message without its own position.
fn plain_message(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(at) => text[..at].to_owned(),
        None => text,
    }
}

enum Step {
    Key(String),
    Item(usize),
}

/// The way to the value being read; it stays where an error happened.
struct State {
    steps: Vec<Step>,
    /// Values begun so far.
    values: usize,
    strictness: bool,
}

impl State {
    fn path(&self) -> String {
        let shown = |step| match step {
            &Step::Item(index) => place::Step::Item(index),
            Step::Key(name) => place::Step::Key(name),
        };
        place::text(&self.steps.iter().map(shown).collect::<Vec<_>>(), PATH_BYTES_MAX)
    }

    /// Counts a value that begins.
    fn begin<E: de::Error>(&mut self) -> Result<(), E> {
        self.values += 1;
        if self.values > JSON_VALUES_MAX {
            return Err(self.refuse(format!("more than {JSON_VALUES_MAX} values")));
        }
        Ok(())
    }

    fn key<E: de::Error>(&mut self, key: &str) -> Result<(), E> {
        if key.starts_with(RESERVED) {
            return Err(self.refuse("a key is reserved"));
        }
        if key.len() > JSON_KEY_BYTES_MAX {
            return Err(self.refuse(format!("a key is longer than {JSON_KEY_BYTES_MAX} bytes")));
        }
        self.text(key)
    }

    fn refuse<E: de::Error>(&mut self, message: impl fmt::Display) -> E {
        self.strictness = true;
        E::custom(message)
    }

    fn text<E: de::Error>(&mut self, text: &str) -> Result<(), E> {
        if text.contains('\0') {
            return Err(self.refuse("a string contains NUL"));
        }
        Ok(())
    }
}

struct Strict<'a> {
    state: &'a mut State,
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.state.begin()?;
        deserializer.deserialize_any(self)
    }
}

impl Strict<'_> {
    fn enter<E: de::Error>(&mut self) -> Result<(), E> {
        if self.state.steps.len() >= JSON_DEPTH_MAX {
            return Err(self.state.refuse(format!("nested deeper than {JSON_DEPTH_MAX}")));
        }
        Ok(())
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: de::Error>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Bool(flag))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Number(number.into()))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Number(number.into()))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Value, E> {
        self.state.text(text)?;
        Ok(Value::String(text.to_owned()))
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<Value, E> {
        self.state.text(&text)?;
        Ok(Value::String(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<Value, A::Error> {
        self.enter()?;
        let mut list = Vec::new();
        self.state.steps.push(Step::Item(0));
        while let Some(item) = items.next_element_seed(Strict { state: &mut *self.state })? {
            list.push(item);
            if let Some(Step::Item(index)) = self.state.steps.last_mut() {
                *index = list.len();
            }
        }
        self.state.steps.pop();
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        let mut first = true;
        while let Some(key) = members.next_key::<String>()? {
            if first {
                if key == NUMBER_KEY
                    && let Ok(Written(Some(number))) = members.next_value::<Written>()
                {
                    return Ok(Value::Number(number));
                }
                self.enter()?;
                first = false;
            }
            self.state.key(&key)?;
            self.state.steps.push(Step::Key(key));
            let value = members.next_value_seed(Strict { state: &mut *self.state })?;
            let Some(Step::Key(key)) = self.state.steps.pop() else {
                unreachable!("the step pushed above");
            };
            if object.contains_key(&key) {
                self.state.steps.push(Step::Key(key));
                return Err(self.state.refuse("the same key twice in one object"));
            }
            object.insert(key, value);
        }
        if first {
            self.enter()?;
        }
        Ok(Value::Object(object))
    }
}

const NUMBER_KEY: &str = "$serde_json::private::Number";

/// The digits of a number, or nothing where an object only looks like one.
struct Written(Option<Number>);

impl<'de> de::Deserialize<'de> for Written {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WrittenVisitor)
    }
}

struct WrittenVisitor;

impl Visitor<'_> for WrittenVisitor {
    type Value = Written;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the digits of a number")
    }

    fn visit_string<E: de::Error>(self, digits: String) -> Result<Written, E> {
        Ok(Written(Some(digits.parse().map_err(E::custom)?)))
    }

    fn visit_str<E: de::Error>(self, _: &str) -> Result<Written, E> {
        Ok(Written(None))
    }
}
