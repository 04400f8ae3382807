//! Strict JSON: what is refused and where, and the one form of a value.

use policy::json::{canonical, parse, parse_str};
use proptest::prelude::*;
use serde_json::Value;

#[test]
#[rustfmt::skip]
#[allow(clippy::type_complexity)]
fn what_could_be_read_two_ways_is_refused_with_its_place() {
    let cases: [(&[u8], &str, &str, usize, usize, bool); 13] = [
        (b"{\"a\":[1,2,3,{\"b\":1,\n\"b\":2}]}", "$.a[3].b", "the same key twice in one object", 2,
         6, true),
        (b"{\"a\":\"x\\u0000\"}", "$.a", "a string contains NUL", 1, 14, true),
        (b"{\"a\\u0000\":1}", "$", "a string contains NUL", 1, 10, true),
        (b"{\"a\":\xff}", "$", "invalid UTF-8", 1, 6, true),
        (b"{\"a\":[1,]}", "$.a[1]", "trailing comma", 1, 9, false),
        (b"{\"a b\":x}", "$[\"a b\"]", "expected value", 1, 8, false),
        (b"[1] 2", "$", "trailing characters", 1, 5, false),
        (b"", "$", "EOF while parsing a value", 1, 1, false),
        (b"[\"\\ud800\"]", "$[0]", "unexpected end of hex escape", 1, 9, false),
        (b"01", "$", "invalid number", 1, 2, false),
        (b"{\"$serde_json::private::Number\":\"1\"}", "$", "a key is reserved", 1, 36, true),
        (b"{\"$serde_json::private::Number\":\"\\u0031\"}", "$", "a key is reserved", 1, 41, true),
        (b"[{\"$serde_json::private::RawValue\":\"1\"}]", "$[0]", "a key is reserved", 1, 34, true),
    ];
    for (bytes, path, message, line, column, strictness) in cases {
        let error = parse(bytes).unwrap_err();
        let text = String::from_utf8_lossy(bytes);
        assert_eq!((error.path.as_str(), error.message.as_str()), (path, message), "{text}");
        assert_eq!((error.line, error.column), (line, column), "{text}");
        assert_eq!(error.strictness, strictness, "{text}");
    }
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(parse_str(&nested(64)).is_ok());
    assert_eq!(parse_str(&nested(65)).unwrap_err().message, "nested deeper than 64");
    let objects = |depth: usize| format!("{}{{}}{}", "{\"a\":".repeat(depth), "}".repeat(depth));
    assert!(parse_str(&objects(63)).is_ok());
    assert_eq!(parse_str(&objects(64)).unwrap_err().message, "nested deeper than 64");
    assert!(parse_str(&"[".repeat(1_000_000)).is_err());
}

#[test]
fn a_value_has_one_form_and_numbers_keep_their_digits() {
    let cases = [
        ("{ \"b\" : 1 , \"a\" : [ true , null ] }", "{\"a\":[true,null],\"b\":1}"),
        (
            "[1.0, 1E5, -0, 123456789012345678901234567890.10]",
            "[1.0,1e+5,-0,123456789012345678901234567890.10]",
        ),
        ("\"\\u00e9\\n\\u001f\\\"\\/\"", "\"é\\n\\u001f\\\"/\""),
        ("{\"\\ud83d\\ude00\":1,\"\\uff5e\":2,\"z\":3}", "{\"z\":3,\"～\":2,\"😀\":1}"),
        ("{}", "{}"),
        ("5", "5"),
    ];
    for (text, expected) in cases {
        let value = parse_str(text).unwrap();
        assert_eq!(canonical(&value), expected, "{text}");
        assert_eq!(parse_str(expected).unwrap(), value, "{text}");
    }
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::from),
        "[^\\x00]{0,8}".prop_map(Value::String),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
            prop::collection::btree_map("[^\\x00]{0,4}", inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    /// The canonical form reads back as the same value, and has only one spelling.
    #[test]
    fn the_canonical_form_is_the_value(value in any_value()) {
        let text = canonical(&value);
        let again = parse_str(&text).unwrap();
        prop_assert_eq!(&again, &value);
        prop_assert_eq!(canonical(&again), text);
        let spaced = serde_json::to_string_pretty(&value).unwrap();
        prop_assert_eq!(canonical(&parse_str(&spaced).unwrap()), canonical(&value));
    }

    /// No bytes make the reader panic.
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..64),
        text in "[\\[\\]{}:,\"a1\\\\]{0,40}") {
        let _ = parse(&bytes);
        let _ = parse(text.as_bytes());
    }
}
