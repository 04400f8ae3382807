//! `field_checks: [{path, required, min, max, max_length, pattern}]`: fields must be there and
//! within bounds. A payload that is not JSON holds instead of being let off.
//!
//! Bounds are inclusive; a pattern need only match somewhere. In a named policy bounds apply to
//! numbers and patterns to strings only, as existing clients know it; in a gate a number written as
//! a string is a number, and what can be neither measured nor matched is blocked.

use alloc::string::String;
use alloc::vec::Vec;

use minicbor::{Decode, Encode};

/// The rule.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct FieldChecks {
    /// In the document's order; the first that fails speaks.
    #[n(0)]
    pub checks: Vec<FieldCheck>,
}

/// One field and its bounds.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct FieldCheck {
    /// Dot path into the payload.
    #[n(0)]
    pub path: String,
    /// Absent, null and "" fail.
    #[n(1)]
    pub required: bool,
    /// Smallest number, as a decimal.
    #[n(2)]
    pub min: Option<String>,
    /// Largest number, as a decimal.
    #[n(3)]
    pub max: Option<String>,
    /// Most characters of a string or items of a list.
    #[n(4)]
    pub max_length: Option<u64>,
    /// A regular expression, unanchored.
    #[n(5)]
    pub pattern: Option<String>,
}

impl FieldChecks {
    pub(super) const KEY: &'static str = "field_checks";
}

#[cfg(feature = "parse")]
mod parse {
    use regex::{Regex, RegexBuilder};
    use serde_json::Value;
    use types::limits::PATTERN_BYTES_MAX;

    use super::{FieldCheck, FieldChecks};
    use crate::compile::{Node, Report};
    use crate::facts::{Finding, Found};
    use crate::payload::{Content, View};
    use crate::rules::RuleKind;
    use crate::text::decimal::Decimal;
    use crate::text::{excerpt, path};

    /// The compiled patterns, one slot per check.
    pub(in crate::rules) type Patterns = Vec<Option<Regex>>;

    impl FieldChecks {
        pub(in crate::rules) fn parse(node: &Node, report: &mut Report<'_>) -> Option<RuleKind> {
            let Some(list) = node.list() else {
                report.error(node, "`field_checks` needs a list of checks");
                return None;
            };
            let mut checks = Vec::with_capacity(list.len());
            for check in list {
                checks.push(parse_check(check, report)?);
            }
            if checks.is_empty() {
                report.error(node, "`field_checks` has no checks");
                return None;
            }
            Some(RuleKind::FieldChecks(Self { checks }))
        }

        /// `None` if a pattern does not compile here.
        pub(in crate::rules) fn prepare(&self) -> Option<Patterns> {
            let compile = |check: &FieldCheck| match &check.pattern {
                None => Some(None),
                Some(pattern) => compile_pattern(pattern).ok().map(Some),
            };
            self.checks.iter().map(compile).collect()
        }

        pub(in crate::rules) fn facts(
            &self,
            patterns: &Patterns,
            view: &View<'_>,
            named: bool,
        ) -> Finding {
            let Content::Json(payload) = &view.content else {
                let message = "the payload is not JSON, so its fields cannot be checked";
                return Finding::Failed(message.into());
            };
            let failed =
                self.checks.iter().zip(patterns).find_map(|(check, pattern)| {
                    objection(check, pattern.as_ref(), payload, named)
                });
            match failed {
                None => Finding::Silent,
                Some(message) => Finding::Found(Found::saying(message)),
            }
        }
    }

    fn compile_pattern(pattern: &str) -> Result<Regex, regex::Error> {
        RegexBuilder::new(pattern).size_limit(PATTERN_BYTES_MAX).build()
    }

    fn parse_check(node: &Node, report: &mut Report<'_>) -> Option<FieldCheck> {
        let known = ["path", "required", "min", "max", "max_length", "pattern"];
        let fields = report.fields(node, &known)?;
        let path = report.required(node, &fields, "path")?;
        let mut check = FieldCheck {
            path: report.path(path)?,
            required: false,
            min: None,
            max: None,
            max_length: None,
            pattern: None,
        };
        if let Some(flag) = fields.get("required") {
            check.required = report.flag(flag)?;
        }
        for (slot, key) in [(&mut check.min, "min"), (&mut check.max, "max")] {
            if let Some(bound) = fields.get(key) {
                *slot = Some(report.number(bound)?);
            }
        }
        if let (Some(min), Some(max)) = (&check.min, &check.max)
            && Decimal::parse(min) > Decimal::parse(max)
        {
            let message = format!("`min` {min} is more than `max` {max}: nothing passes");
            report.error(node, &message);
            return None;
        }
        if let Some(length) = fields.get("max_length") {
            check.max_length = Some(report.whole_number(length, u64::MAX)?);
        }
        if let Some(pattern) = fields.get("pattern") {
            let text = report.text(pattern)?;
            report.has_pattern(pattern)?;
            if let Err(error) = compile_pattern(&text) {
                report.error(pattern, &pattern_message(&error));
                return None;
            }
            check.pattern = Some(text);
        }
        Some(check)
    }

    /// The last line of a regex error says what; the lines before draw a picture.
    fn pattern_message(error: &regex::Error) -> String {
        let text = error.to_string();
        let what = text.lines().last().unwrap_or_default();
        format!("not a regular expression: {}", what.trim_start_matches("error: "))
    }

    fn objection(
        check: &FieldCheck,
        pattern: Option<&Regex>,
        payload: &Value,
        named: bool,
    ) -> Option<String> {
        let name = &check.path;
        let value = path::lookup(payload, name);
        if check.required && value.is_none_or(path::is_missing) {
            return Some(format!("Field '{name}' is required but missing/empty"));
        }
        let value = value.filter(|value| !value.is_null())?;
        bounds_objection(check, value, named)
            .or_else(|| length_objection(check, value, named))
            .or_else(|| pattern_objection(check, pattern, value, named))
    }

    fn bounds_objection(check: &FieldCheck, value: &Value, named: bool) -> Option<String> {
        if check.min.is_none() && check.max.is_none() {
            return None;
        }
        let name = &check.path;
        let written = match value {
            Value::Number(number) => number.to_string(),
            Value::String(text) if !named => text.trim().to_owned(),
            _ if named => return None,
            _ => return Some(format!("Field '{name}' is not a number")),
        };
        let Some(number) = Decimal::parse(&written) else {
            return (!named).then(|| format!("Field '{name}' is not a number"));
        };
        let shown = excerpt(&written);
        if let Some(max) = &check.max
            && Decimal::parse(max).is_none_or(|max| number > max)
        {
            return Some(format!("Field '{name}' value {shown} exceeds max {max}"));
        }
        if let Some(min) = &check.min
            && Decimal::parse(min).is_none_or(|min| number < min)
        {
            return Some(format!("Field '{name}' value {shown} is below min {min}"));
        }
        None
    }

    fn length_objection(check: &FieldCheck, value: &Value, named: bool) -> Option<String> {
        let (name, max) = (&check.path, check.max_length?);
        let length = match value {
            Value::String(text) => text.chars().count(),
            Value::Array(items) => items.len(),
            Value::Number(number) if !named => number.to_string().len(),
            Value::Object(_) if !named => {
                return Some(format!("Field '{name}' has no length"));
            }
            _ => return None,
        };
        let too_long = u64::try_from(length).is_ok_and(|length| length > max);
        too_long.then(|| format!("Field '{name}' length {length} exceeds max {max}"))
    }

    fn pattern_objection(
        check: &FieldCheck,
        pattern: Option<&Regex>,
        value: &Value,
        named: bool,
    ) -> Option<String> {
        let (name, pattern) = (&check.path, pattern?);
        let matches = match value {
            Value::String(text) => pattern.is_match(text),
            _ if named => return None,
            Value::Number(number) => pattern.is_match(&number.to_string()),
            Value::Bool(flag) => pattern.is_match(if *flag { "true" } else { "false" }),
            _ => false,
        };
        (!matches).then(|| format!("Field '{name}' format invalid"))
    }
}

#[cfg(feature = "parse")]
pub(super) use parse::Patterns;

#[cfg(all(test, feature = "parse"))]
mod tests {
    use types::Outcome::{Allow, Block, Hold};

    use crate::common::{gate, named, refused, says, says_of_counts};

    const NOT_JSON: &str = "the payload is not JSON, so its fields cannot be checked";

    #[test]
    #[rustfmt::skip]
    fn a_check_that_cannot_be_made_is_refused() {
        refused(&[
            ("field_checks: [{path: a, min: 5, max: 1}]\n",
             "1:16: `min` 5 is more than `max` 1: nothing passes"),
            ("field_checks:\n- path: a\n  pattern: '(x'\n",
             "3:12: not a regular expression: unclosed group"),
            ("field_checks: [{path: a, pattern: '(?=x)y'}]\n",
             "1:35: not a regular expression: look-around, including look-ahead and look-behind, \
              is not supported"),
            ("field_checks: amount\n", "1:15: `field_checks` needs a list of checks"),
            ("field_checks: []\n", "1:15: `field_checks` has no checks"),
            ("field_checks: [{max: 1}]\n", "1:16: `path` is missing"),
            ("field_checks: [{path: a, max: b}]\n", "1:31: expected a number, found text"),
            ("field_checks: [{path: a, max_length: -1}]\n",
             "1:38: expected a whole number from 0, found -1"),
            ("field_checks: [{path: a, requierd: true}]\n",
             "1:26: unknown key `requierd` (did you mean `required`?)"),
        ]);
    }

    #[test]
    #[rustfmt::skip]
    fn a_gate_blocks_what_is_out_of_bounds_or_cannot_be_measured() {
        let fields = gate("field_checks: [{path: amount, required: true, max: 100, min: 0.5}, \
                           {path: to, pattern: '^[a-z]+$', max_length: 5}]");
        says(&fields, &[
            ("{\"amount\":100,\"to\":\"ab\"}", Allow, ""),
            ("{\"amount\":\"\"}", Block, "Field 'amount' is required but missing/empty"),
            ("{\"to\":\"ab\"}", Block, "Field 'amount' is required but missing/empty"),
            ("{\"amount\":100.01}", Block, "Field 'amount' value 100.01 exceeds max 100"),
            ("{\"amount\":\"1e9\"}", Block, "Field 'amount' value 1e9 exceeds max 100"),
            ("{\"amount\":0.5}", Allow, ""),
            ("{\"amount\":0.4}", Block, "Field 'amount' value 0.4 is below min 0.5"),
            ("{\"amount\":[5]}", Block, "Field 'amount' is not a number"),
            ("{\"amount\":5,\"to\":\"abcde\"}", Allow, ""),
            ("{\"amount\":5,\"to\":\"abcdef\"}", Block, "Field 'to' length 6 exceeds max 5"),
            ("{\"amount\":5,\"to\":{}}", Block, "Field 'to' has no length"),
            ("{\"amount\":5,\"to\":\"A\"}", Block, "Field 'to' format invalid"),
            ("{\"amount\":5,\"to\":7}", Block, "Field 'to' format invalid"),
            ("{\"amount\":5,\"to\":null}", Allow, ""),
            ("plain", Hold, NOT_JSON),
            ("", Hold, NOT_JSON),
        ]);
    }

    /// As existing clients know it: bounds are for numbers, patterns for strings.
    #[test]
    #[rustfmt::skip]
    fn a_named_policy_leaves_other_types_alone() {
        let within = "Record count 1 is within auto-approve threshold (1)";
        let both = named("field_checks: [{path: a, max: 1, pattern: b}]\nauto_approve_under: 1");
        says_of_counts(&both, &[
            ("{\"a\":\"9b\"}", Some(1), Allow, within),
            ("{\"a\":\"9\"}", Some(1), Block, "Field 'a' format invalid"),
            ("{\"a\":[9]}", Some(1), Allow, within),
        ]);
        let max = named("field_checks: [{path: a, max: 1}]\nauto_approve_under: 1");
        says_of_counts(&max, &[
            ("{\"a\":1}", Some(1), Allow, within),
            ("{\"a\":9}", Some(1), Block, "Field 'a' value 9 exceeds max 1"),
            ("plain", Some(1), Hold, NOT_JSON),
        ]);
        let length = named("field_checks: [{path: a, max_length: 2}]\nauto_approve_under: 1");
        says_of_counts(&length, &[
            ("{\"a\":[1,2]}", Some(1), Allow, within),
            ("{\"a\":[1,2,3]}", Some(1), Block, "Field 'a' length 3 exceeds max 2"),
            ("{\"a\":123}", Some(1), Allow, within),
            ("{\"a\":{}}", Some(1), Allow, within),
        ]);
    }
}
