//! What templates are filled from: the payload, the intent and its metadata, as template values.
//!
//! Numbers keep the digits they were written with: whole numbers of up to 128 bits are numbers of
//! the template language, all others print as written and are calculated with only after `| float`.
//! A payload that is written out alone is the text that was approved, byte for byte.
//! Invariant: no value passes through a binary float unless a template asks for that.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use minijinja::value::{DynObject, Enumerator, Object, ObjectRepr, Value, ValueKind};
use minijinja::{Error, ErrorKind};
use serde_json::Value as Json;
use serde_json::value::RawValue;

/// What one intent gives its templates.
#[derive(Debug, Clone)]
pub struct Material {
    /// `payload`.
    pub payload: Payload,
    /// `metadata`.
    pub metadata: Json,
    /// `intent`: what there is to know of the intent, as an object.
    pub intent: Json,
}

/// A payload as it was approved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// None was sent: `payload` is undefined.
    Absent,
    /// Text, written out as it is. If it is a JSON object or list its fields can be reached.
    Text(String),
    /// The text of a JSON value.
    Json(String),
}

/// The variables that templates know.
pub(crate) const VARIABLES: [&str; 3] = ["payload", "intent", "metadata"];

/// The variables of one call.
pub(crate) fn context(material: &Material) -> Value {
    let payload = match &material.payload {
        Payload::Absent => None,
        Payload::Text(text) => Some(of_text(text).unwrap_or_else(|| Value::from(text.as_str()))),
        Payload::Json(text) => Some(of_text(text).unwrap_or_else(|| scalar(text))),
    };
    let mut variables = BTreeMap::new();
    variables.extend(payload.map(|payload| ("payload", payload)));
    variables.insert("intent", of_json(&material.intent));
    variables.insert("metadata", of_json(&material.metadata));
    Value::from(variables)
}

/// A value as compact JSON.
pub(crate) fn write_json(to: &mut dyn fmt::Write, value: &Value) -> Result<(), Error> {
    if let Some(document) = value.downcast_object_ref::<Document>() {
        return Ok(to.write_str(&document.text)?);
    }
    if let Some(number) = value.downcast_object_ref::<Digits>() {
        return Ok(to.write_str(&number.0)?);
    }
    match value.kind() {
        ValueKind::None => Ok(to.write_str("null")?),
        // The template language itself would print them as Python does.
        ValueKind::Bool => Ok(to.write_str(if value.is_true() { "true" } else { "false" })?),
        ValueKind::String => {
            let text = Json::from(value.as_str().unwrap_or_default());
            Ok(write!(to, "{text}")?)
        }
        ValueKind::Number => {
            let text = value.to_string();
            if text.bytes().any(|byte| byte.is_ascii_alphabetic() && byte != b'e') {
                return Err(no_json("a number that is infinite or none"));
            }
            Ok(to.write_str(&text)?)
        }
        ValueKind::Seq | ValueKind::Iterable => {
            to.write_str("[")?;
            for (index, item) in value.try_iter()?.enumerate() {
                to.write_str(if index > 0 { "," } else { "" })?;
                write_json(to, &item)?;
            }
            Ok(to.write_str("]")?)
        }
        ValueKind::Map => {
            to.write_str("{")?;
            for (index, key) in value.try_iter()?.enumerate() {
                to.write_str(if index > 0 { "," } else { "" })?;
                write!(to, "{}:", Json::from(key.to_string()))?;
                write_json(to, &value.get_item(&key)?)?;
            }
            Ok(to.write_str("}")?)
        }
        ValueKind::Undefined => Err(Error::from(ErrorKind::UndefinedError)),
        _ => Err(no_json("a value of another kind")),
    }
}

/// The filter `float`, also for numbers that are kept as digits.
pub(crate) fn float(value: &Value, default: Option<Value>) -> Result<Value, Error> {
    if let Some(number) = value.downcast_object_ref::<Digits>() {
        return Ok(Value::from(number.as_float()));
    }
    let text = value.to_string();
    match (text.trim().parse::<f64>(), default) {
        (Ok(number), _) => Ok(Value::from(number)),
        (Err(_), Some(default)) => Ok(default),
        (Err(_), None) => Err(Error::new(
            ErrorKind::InvalidOperation,
            "only a number, or text that is one, has a float",
        )),
    }
}

fn no_json(what: &'static str) -> Error {
    Error::new(ErrorKind::InvalidOperation, format!("JSON cannot hold {what}"))
}

/// The value of a text that is a JSON object or list; it is taken apart when a field is asked for.
fn of_text(text: &str) -> Option<Value> {
    let first = text.trim_start_matches([' ', '\t', '\r', '\n']).chars().next()?;
    if !matches!(first, '{' | '[') || serde_json::from_str::<&RawValue>(text).is_err() {
        return None;
    }
    let parts = OnceLock::new();
    Some(Value::from_object(Document { text: text.into(), is_object: first == '{', parts }))
}

/// The value of a JSON text that is neither object nor list.
fn scalar(text: &str) -> Value {
    serde_json::from_str(text).map_or_else(|_| Value::from(text), |json| of_json(&json))
}

fn of_json(json: &Json) -> Value {
    match json {
        Json::Null => Value::from(()),
        Json::Bool(value) => Value::from(*value),
        Json::String(text) => Value::from(text.as_str()),
        Json::Number(number) => of_number(&number.to_string()),
        Json::Array(_) | Json::Object(_) => Value::from_object(Parts::of(json)),
    }
}

fn of_number(text: &str) -> Value {
    let whole = text.parse::<i128>().map(|number| (number.to_string(), Value::from(number)));
    match whole {
        // Not so for -0, which would lose its sign.
        Ok((same, value)) if same == text => value,
        _ => Value::from_object(Digits(text.into())),
    }
}

/// A number that prints as it was written.
#[derive(Debug)]
struct Digits(String);

impl Digits {
    fn as_float(&self) -> f64 {
        // The grammar of JSON numbers is part of that of floats, so this always parses.
        self.0.parse().unwrap_or(f64::NAN)
    }
}

impl Object for Digits {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn custom_cmp(self: &Arc<Self>, other: &DynObject) -> Option<std::cmp::Ordering> {
        let other = other.downcast_ref::<Self>()?;
        Some(self.as_float().total_cmp(&other.as_float()))
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A JSON object or list that prints as the text it came as.
#[derive(Debug)]
struct Document {
    text: Arc<str>,
    is_object: bool,
    parts: OnceLock<Arc<Parts>>,
}

impl Document {
    fn parts(&self) -> &Arc<Parts> {
        self.parts.get_or_init(|| {
            // Only nesting beyond what the gate takes can fail here; it has no fields then.
            let json = serde_json::from_str(&self.text).unwrap_or(Json::Null);
            Arc::new(Parts::of(&json))
        })
    }
}

impl Object for Document {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        if self.is_object { ObjectRepr::Map } else { ObjectRepr::Seq }
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.parts().get_value(key)
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        self.parts().enumerate()
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A JSON object or list, taken apart.
#[derive(Debug)]
enum Parts {
    /// Keys in the order of the document, each with its value.
    Members {
        order: Vec<Value>,
        values: BTreeMap<String, Value>,
    },
    Items(Vec<Value>),
}

impl Parts {
    fn of(json: &Json) -> Self {
        match json {
            Json::Array(items) => Self::Items(items.iter().map(of_json).collect()),
            Json::Object(members) => Self::Members {
                order: members.keys().map(|key| Value::from(key.as_str())).collect(),
                values: members.iter().map(|(key, value)| (key.clone(), of_json(value))).collect(),
            },
            _ => Self::Items(Vec::new()),
        }
    }
}

impl Object for Parts {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        match **self {
            Self::Members { .. } => ObjectRepr::Map,
            Self::Items(_) => ObjectRepr::Seq,
        }
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        match &**self {
            Self::Members { values, .. } => values.get(key.as_str()?).cloned(),
            Self::Items(items) => items.get(key.as_usize()?).cloned(),
        }
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        match &**self {
            Self::Members { order, .. } => Enumerator::Values(order.clone()),
            Self::Items(items) => Enumerator::Seq(items.len()),
        }
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_json(f, &Value::from_dyn_object(self.clone())).map_err(|_| fmt::Error)
    }
}
