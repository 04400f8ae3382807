//! Bodies that differ: at each named place of an intent stands what the file has there, with the
//! run and a number behind it, so that no two are the same.
//!
//! Invariant: bodies of one run differ in nothing else, and all are as long as the first.

use std::fmt::Write as _;

use client::fresh_key;
use serde_json::Value;

use crate::failure::Failure;

/// Members of an object that an error names.
const MEMBERS_SHOWN: usize = 8;

/// The text of an intent, cut where a value of its own goes in.
pub(crate) struct Varied {
    pieces: Vec<String>,
    run: String,
}

impl Varied {
    /// Cuts an intent at the places that JSON pointers name; at each stands a text.
    ///
    /// # Errors
    /// A usage failure that names the pointer that leads to no text.
    pub(crate) fn of(intent: &Value, pointers: &[String], run: &str) -> Result<Self, Failure> {
        let mut intent = intent.clone();
        // Random, so that no text of the caller has it; escapes do not change it.
        let mark = fresh_key();
        for pointer in pointers {
            let missing = unfit(&intent, pointer);
            match intent.pointer_mut(pointer) {
                // The same place named twice is one place.
                Some(Value::String(text)) if text.ends_with(&mark) => {}
                Some(Value::String(text)) => text.push_str(&mark),
                _ => return Err(missing),
            }
        }
        let text = intent.to_string();
        Ok(Self { pieces: text.split(&mark).map(str::to_owned).collect(), run: run.to_owned() })
    }

    /// The body of this number.
    pub(crate) fn body(&self, number: u64) -> String {
        let mut body = String::new();
        for (place, piece) in self.pieces.iter().enumerate() {
            if place > 0 {
                // Writing into a text does not fail.
                let _ = write!(body, "-{}-{number:010}", self.run);
            }
            body.push_str(piece);
        }
        body
    }

    /// The `Idempotency-Key` of this number.
    pub(crate) fn request_key(&self, number: u64) -> String {
        format!("bench-{}-{number}", self.run)
    }
}

/// Why a pointer leads to no text, with what stands on the way.
fn unfit(intent: &Value, pointer: &str) -> Failure {
    let like = "name the place of a text as a JSON pointer, like --vary /payload/lead_id";
    if !pointer.starts_with('/') {
        let what = format!("--vary {pointer}: a JSON pointer begins with a slash");
        return Failure::usage(what).next(like);
    }
    if let Some(found) = intent.pointer(pointer) {
        let kind = match found {
            Value::Object(_) => "an object",
            Value::Array(_) => "a list",
            Value::Number(_) => "a number",
            Value::Bool(_) => "true or false",
            Value::Null => "null",
            Value::String(_) => "a text",
        };
        return Failure::usage(format!("--vary {pointer}: {kind} stands there, not a text"))
            .next(like);
    }
    let mut reached = pointer;
    while intent.pointer(reached).is_none() {
        reached = reached.rsplit_once('/').map_or("", |(before, _)| before);
    }
    let there = match intent.pointer(reached) {
        Some(Value::Object(members)) => {
            let shown: Vec<&str> = members.keys().take(MEMBERS_SHOWN).map(String::as_str).collect();
            format!("has {}", shown.join(", "))
        }
        Some(Value::Array(items)) => format!("is a list of {}", items.len()),
        _ => "has nothing inside".to_owned(),
    };
    let place = if reached.is_empty() { "the intent" } else { reached };
    Failure::usage(format!("--vary {pointer}: nothing stands there; {place} {there}")).next(like)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pointers(list: &[&str]) -> Vec<String> {
        list.iter().map(|&pointer| pointer.to_owned()).collect()
    }

    #[test]
    fn each_body_has_a_value_of_its_own_at_every_place_and_nowhere_else() {
        let intent: Value = serde_json::from_str(
            r#"{"resource":"r","n":1.50,"payload":{"lead_id":"a\"ä","list":[{"x/y":""},"z"]}}"#,
        )
        .unwrap();
        let named = pointers(&["/payload/lead_id", "/payload/list/0/x~1y", "/payload/lead_id"]);
        let varied = Varied::of(&intent, &named, "run").unwrap();
        for (number, suffix) in [(0, "-run-0000000000"), (17, "-run-0000000017")] {
            let expected = format!(
                "{{\"resource\":\"r\",\"n\":1.50,\"payload\":{{\"lead_id\":\"a\\\"ä{suffix}\",\
                 \"list\":[{{\"x/y\":\"{suffix}\"}},\"z\"]}}}}"
            );
            assert_eq!(varied.body(number), expected);
            serde_json::from_str::<Value>(&varied.body(number)).expect("it is JSON still");
        }
        assert_ne!(varied.request_key(1), varied.request_key(2));
        assert_eq!(varied.body(1).len(), varied.body(u64::from(u32::MAX)).len());
    }

    #[test]
    fn without_a_place_all_are_as_the_file_has_them() {
        let intent = json!({"resource": "r", "payload": {"b": 1, "a": 2}});
        let same = Varied::of(&intent, &[], "run").unwrap();
        assert_eq!((same.body(0), same.body(7)), (intent.to_string(), intent.to_string()));
    }

    #[test]
    fn a_place_without_a_text_is_named() {
        let intent = json!({"resource": "r", "payload": {"lead": {"id": 7}, "list": [1]}});
        let cases = [
            ("payload", "--vary payload: a JSON pointer begins with a slash"),
            ("", "--vary : a JSON pointer begins with a slash"),
            ("/payload/lead/id", "--vary /payload/lead/id: a number stands there, not a text"),
            ("/payload", "--vary /payload: an object stands there, not a text"),
            (
                "/payload/lead_id",
                "--vary /payload/lead_id: nothing stands there; /payload has lead, list",
            ),
            (
                "/payload/list/3/x",
                "--vary /payload/list/3/x: nothing stands there; /payload/list is a list of 1",
            ),
            ("/x/y", "--vary /x/y: nothing stands there; the intent has resource, payload"),
            (
                "/resource/y",
                "--vary /resource/y: nothing stands there; /resource has nothing inside",
            ),
        ];
        for (pointer, expected) in cases {
            let Err(failure) = Varied::of(&intent, &pointers(&[pointer]), "run") else {
                panic!("{pointer}");
            };
            assert_eq!(failure.what, expected);
            assert!(failure.next.is_some(), "{pointer}");
        }
    }
}
