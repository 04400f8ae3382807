//! Fields of a JSON body, taken out one by one; null counts as absent.
//!
//! Invariant: a field of the wrong type, or beyond its limit, is a 400 that names it by its path.

use serde_json::{Map, Value};
use types::limits::{LIST_ITEMS_MAX, STRING_BYTES_MAX};

use crate::problem::Problem;

/// The members of an object that nobody has taken yet.
pub(crate) struct Fields {
    members: Map<String, Value>,
    /// Fields that were sent in another spelling, and which.
    respelled: Vec<(&'static str, &'static str)>,
    /// Names that the route has asked for, there or not.
    asked: Vec<&'static str>,
    /// Other names that the route has taken for those.
    others: Vec<&'static str>,
}

/// Shorter names differ by less from words of their own.
const LONG_CHARS_MIN: usize = 9;

impl Fields {
    /// The members of a body; [`crate::body::JsonBody`] lets only objects in.
    pub(crate) fn of(body: Value) -> Self {
        let members = match body {
            Value::Object(members) => members,
            _ => Map::new(),
        };
        Self { members, respelled: Vec::new(), asked: Vec::new(), others: Vec::new() }
    }

    /// Takes a field in another spelling for the one that is known here.
    ///
    /// # Errors
    /// 400 where both were sent and say different things.
    pub(crate) fn respell(
        &mut self,
        known: &'static str,
        other: &'static str,
    ) -> Result<(), Problem> {
        self.others.push(other);
        let value = self.members.swap_remove(other).filter(|value| !value.is_null());
        let Some(value) = value else { return Ok(()) };
        match self.members.get(known) {
            None | Some(Value::Null) => {
                self.members.insert(known.to_owned(), value);
                self.respelled.push((known, other));
                Ok(())
            }
            Some(first) if same(first, &value) => Ok(()),
            Some(_) => {
                let known = self.path(known);
                let message = format!("says something else than {known}; send one of them");
                Err(Problem::field(path(other), message))
            }
        }
    }

    /// The path of a field as it was sent.
    pub(crate) fn path(&self, name: &str) -> String {
        let sent = self.respelled.iter().find(|(known, _)| *known == name);
        path(sent.map_or(name, |(_, sent)| sent))
    }

    /// Names of the members that nobody has taken and that are not null.
    pub(crate) fn left(&self) -> impl Iterator<Item = &str> {
        self.members.iter().filter(|(_, value)| !value.is_null()).map(|(name, _)| name.as_str())
    }

    /// Any value but null.
    pub(crate) fn value(&mut self, name: &'static str) -> Option<Value> {
        self.asked.push(name);
        self.members.swap_remove(name).filter(|value| !value.is_null())
    }

    /// Any value, null too; `None` only if the member is not there.
    pub(crate) fn sent(&mut self, name: &'static str) -> Option<Value> {
        self.asked.push(name);
        self.members.swap_remove(name)
    }

    /// A string of ordinary length.
    pub(crate) fn string(&mut self, name: &'static str) -> Result<Option<String>, Problem> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::String(text)) if text.len() <= STRING_BYTES_MAX => Ok(Some(text)),
            Some(Value::String(_)) => {
                let message = format!("longer than {STRING_BYTES_MAX} bytes");
                Err(Problem::field(self.path(name), message))
            }
            Some(other) => Err(self.wrong_type(name, "a string", &other)),
        }
    }

    /// A string that says something.
    pub(crate) fn words(&mut self, name: &'static str) -> Result<Option<String>, Problem> {
        Ok(self.string(name)?.filter(|text| !text.is_empty()))
    }

    /// A list of strings; absent is empty.
    pub(crate) fn strings(&mut self, name: &'static str) -> Result<Vec<String>, Problem> {
        let items = match self.value(name) {
            None => return Ok(Vec::new()),
            Some(Value::Array(items)) => items,
            Some(other) => return Err(self.wrong_type(name, "a list of strings", &other)),
        };
        if items.len() > LIST_ITEMS_MAX {
            let message = format!("more than {LIST_ITEMS_MAX} items");
            return Err(Problem::field(self.path(name), message));
        }
        let item = |(index, item)| match item {
            Value::String(text) if text.len() <= STRING_BYTES_MAX => Ok(text),
            Value::String(_) => {
                let message = format!("longer than {STRING_BYTES_MAX} bytes");
                Err(Problem::field(format!("{}[{index}]", self.path(name)), message))
            }
            other => {
                Err(wrong_type_at(format!("{}[{index}]", self.path(name)), "a string", &other))
            }
        };
        items.into_iter().enumerate().map(item).collect()
    }

    /// An object.
    pub(crate) fn object(
        &mut self,
        name: &'static str,
    ) -> Result<Option<Map<String, Value>>, Problem> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::Object(members)) => Ok(Some(members)),
            Some(other) => Err(self.wrong_type(name, "an object", &other)),
        }
    }

    /// Refuses members that nobody has taken: where a misspelled one would be missing in silence.
    /// `unused` are those that existing clients may send and this route has no use for.
    ///
    /// # Errors
    /// 400 that names the field that was probably meant, or all that the route takes.
    pub(crate) fn nothing_else(&self, unused: &[&str]) -> Result<(), Problem> {
        let found = self.members.keys().find(|name| !unused.contains(&name.as_str()));
        let Some(name) = found else { return Ok(()) };
        let taken = self.taken();
        if let Some(meant) = nearest(name, taken.iter().copied()) {
            return Err(misspelled(name, meant));
        }
        let taken = taken.join(", ");
        Err(Problem::field(path(name), format!("no such field; this request takes {taken}")))
    }

    /// Refuses members that nobody has taken and that are nearly one that was asked for; others
    /// pass, where refusing the whole request would do more harm than what they say could.
    ///
    /// # Errors
    /// 400 that names the field that was probably meant.
    pub(crate) fn nothing_misspelled(&self) -> Result<(), Problem> {
        for name in self.left() {
            if let Some(meant) = nearest(name, self.taken().into_iter()) {
                return Err(misspelled(name, meant));
            }
        }
        Ok(())
    }

    /// What the route takes, without spellings that differ in case and separators alone.
    fn taken(&self) -> Vec<&'static str> {
        let mut taken = self.asked.clone();
        for other in &self.others {
            if !taken.iter().any(|known| bare(known) == bare(other)) {
                taken.push(other);
            }
        }
        taken
    }

    /// 400: another type was expected.
    pub(crate) fn wrong_type(&self, name: &str, expected: &str, found: &Value) -> Problem {
        wrong_type_at(self.path(name), expected, found)
    }

    /// A whole number from 0 on, as a number or a string of digits.
    pub(crate) fn whole(&mut self, name: &'static str, max: u64) -> Result<Option<u64>, Problem> {
        let text = match self.value(name) {
            None => return Ok(None),
            Some(Value::Number(number)) => number.to_string(),
            Some(Value::String(text)) => text,
            Some(other) => return Err(self.wrong_type(name, "a whole number", &other)),
        };
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|number| digits && *number <= max);
        let message = || format!("expected a whole number from 0 to {max}");
        number.map(Some).ok_or_else(|| Problem::field(self.path(name), message()))
    }
}

/// The path of a member of the body.
pub(crate) fn path(name: &str) -> String {
    format!("$.{name}")
}

/// The known name that this one nearly is: a letter or two apart, case and separators aside.
pub(crate) fn nearest<'k>(name: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let edits_max = if name.chars().count() < LONG_CHARS_MIN { 1 } else { 2 };
    let bare = bare(name);
    let (distance, known) = known.map(|known| (edits(&bare, known), known)).min()?;
    (distance <= edits_max).then_some(known)
}

/// 400: the field is nearly another.
pub(crate) fn misspelled(name: &str, meant: &str) -> Problem {
    let message = format!("no such field; did you mean `{meant}`?");
    Problem::field(path(name), message).with("nearest", meant)
}

/// Edits between two names, case and separators aside.
fn edits(bare_name: &str, known: &str) -> usize {
    policy::distance(bare_name, &bare(known))
}

fn bare(name: &str) -> String {
    let letters = name.chars().filter(|character| !matches!(character, '_' | '-' | ' '));
    letters.flat_map(char::to_lowercase).take(64).collect()
}

/// True if two spellings say the same: a number equals the string of its digits.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(number), Value::String(text))
        | (Value::String(text), Value::Number(number)) => *text == number.to_string(),
        _ => one == other,
    }
}

/// 400: another type was expected.
pub(crate) fn wrong_type(name: &str, expected: &str, found: &Value) -> Problem {
    wrong_type_at(path(name), expected, found)
}

fn wrong_type_at(path: String, expected: &str, found: &Value) -> Problem {
    let found = match found {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    Problem::field(path, format!("expected {expected}, found {found}"))
}
