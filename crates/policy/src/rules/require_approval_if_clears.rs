//! `require_approval_if_clears: {over: N, fields: […]}`: a person decides where more than N values
//! would be cleared; without `over` one is enough.
//!
//! A value is cleared if its record's `set` makes it null or "" and the record's own `before`, if
//! it has one, does not say that it was empty. Every object with a `set` counts, at any depth; a
//! payload without one counts the fields of its records, so that another shape is no way around.
//! The count is the agent's word: `claimed`.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use minicbor::{Decode, Encode};
use types::Outcome;

use super::Saying;
use crate::facts::Found;

/// The rule.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct RequireApprovalIfClears {
    /// The most that may be cleared.
    #[n(0)]
    pub over: u64,
    /// Names of the fields that count; absent means all.
    #[n(1)]
    pub fields: Option<Vec<String>>,
}

impl RequireApprovalIfClears {
    pub(super) const KEY: &'static str = "require_approval_if_clears";

    pub(super) fn judge(&self, found: &Found) -> Option<Saying> {
        if found.total <= self.over {
            return None;
        }
        let mut saying = Saying::found(Outcome::Hold, found);
        let (total, over) = (found.total, self.over);
        saying.message = format!("{total} values would be cleared (claimed), more than {over}");
        Some(saying)
    }
}

#[cfg(feature = "parse")]
mod parse {
    use serde_json::{Map, Value};

    use super::RequireApprovalIfClears;
    use crate::compile::{Node, Report};
    use crate::facts::Finding;
    use crate::payload::{Content, View};
    use crate::rules::RuleKind;
    use crate::text::path::Path;
    use crate::text::walk::{self, Hits};

    impl RequireApprovalIfClears {
        pub(in crate::rules) fn parse(node: &Node, report: &mut Report<'_>) -> Option<RuleKind> {
            let mut rule = Self { over: 0, fields: None };
            if node.is_null() {
                return Some(RuleKind::RequireApprovalIfClears(rule));
            }
            let fields = report.fields(node, &["over", "fields"])?;
            if let Some(over) = fields.get("over") {
                rule.over = report.whole_number(over, u64::MAX)?;
            }
            if let Some(names) = fields.get("fields") {
                rule.fields = Some(report.text_list(names)?);
            }
            Some(RuleKind::RequireApprovalIfClears(rule))
        }

        pub(in crate::rules) fn facts(&self, view: &View<'_>) -> Finding {
            let value = match &view.content {
                Content::Absent => return Finding::Silent,
                Content::Json(value) => value.as_ref(),
                Content::Text(_) | Content::Opaque(_) => {
                    let message = "the payload is not JSON, so nobody can say what it clears";
                    return Finding::Failed(message.into());
                }
            };
            let mut hits = Hits::default();
            if !self.count_sets(value, &Path::Root, &mut hits) {
                self.count_flat(value, &mut hits);
            }
            if hits.total == 0 {
                return Finding::Silent;
            }
            Finding::Cleared(hits.found(String::new()))
        }

        /// Counts below every `set` at any depth; true if there is one.
        fn count_sets(&self, value: &Value, path: &Path<'_>, hits: &mut Hits) -> bool {
            let mut seen = false;
            if let Value::Object(record) = value
                && let Some(Value::Object(set)) = record.get("set")
            {
                seen = true;
                let path = path.key("set");
                self.count_fields(set, record.get("before"), &path, hits);
            }
            walk::children(value, path, &mut |child, path| {
                seen |= self.count_sets(child, path, hits);
            });
            seen
        }

        fn count_flat(&self, value: &Value, hits: &mut Hits) {
            walk::records(value, &mut |record, path| {
                self.count_fields(record, record.get("before"), path, hits);
            });
        }

        fn count_fields(
            &self,
            set: &Map<String, Value>,
            before: Option<&Value>,
            path: &Path<'_>,
            hits: &mut Hits,
        ) {
            for (name, after) in set {
                let counts = self.fields.as_ref().is_none_or(|names| names.contains(name));
                let was_empty = before.and_then(|before| before.get(name)).is_some_and(is_empty);
                if counts && is_empty(after) && !was_empty {
                    hits.add(&path.key(name), if after.is_null() { "null" } else { "\"\"" });
                }
            }
        }
    }

    fn is_empty(value: &Value) -> bool {
        match value {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            _ => false,
        }
    }
}

#[cfg(all(test, feature = "parse"))]
mod tests {
    use types::Outcome::{Allow, Hold};

    use crate::common::{Ask, gate, named, refused, says, says_of_counts};
    use crate::facts::Finding;

    const TWO: &str = "2 values would be cleared (claimed), more than 1";
    const NOT_JSON: &str = "the payload is not JSON, so nobody can say what it clears";

    #[test]
    #[rustfmt::skip]
    fn a_limit_and_names_are_all_it_takes() {
        refused(&[
            ("require_approval_if_clears: {over: few}\n",
             "1:36: expected a whole number, found text"),
            ("require_approval_if_clears: {fields: phone}\n",
             "1:38: expected a list of texts, found text"),
            ("require_approval_if_clears: {field: [phone]}\n",
             "1:30: unknown key `field` (did you mean `fields`?)"),
            ("require_approval_if_clears: 5\n",
             "1:29: expected a mapping with `over`, `fields`, found a number"),
        ]);
    }

    #[test]
    #[rustfmt::skip]
    fn values_that_become_empty_are_counted() {
        let clears = gate("require_approval_if_clears: {over: 1, fields: [phone, mail]}");
        says(&clears, &[
            ("{\"records\":[{\"set\":{\"phone\":null,\"mail\":\"\"}}]}", Hold, TWO),
            ("{\"records\":[{\"set\":{\"phone\":null,\"fax\":\"\"}}]}", Allow, ""),
            ("{\"records\":[{\"set\":{\"phone\":null,\"mail\":\"\"},\"before\":{\"mail\":\"\"}}]}",
             Allow, ""),
            ("{\"x\":{\"set\":{\"phone\":null}},\"y\":[[{\"set\":{\"mail\":null}}]],\
              \"decoy\":[{},{},{}]}", Hold, TWO),
            ("[{\"phone\":\"\",\"mail\":null}]", Hold, TWO),
            ("phone=", Hold, NOT_JSON),
            ("leads.csv", Hold, NOT_JSON),
        ]);
        assert_eq!(Ask::to("r").judged(&clears).outcome, Allow, "nothing was sent");
        says(&gate("require_approval_if_clears"), &[
            ("[{\"fax\":null}]", Hold, "1 values would be cleared (claimed), more than 0"),
            ("[{\"fax\":0,\"phone\":\" \"}]", Allow, ""),
        ]);
    }

    /// Whatever step of the policy ended the others.
    #[test]
    fn a_named_policy_hears_it_besides_its_steps() {
        let engine = named("auto_approve_under: 1\nrequire_approval_if_clears: {over: 1}");
        let within = "Record count 1 is within auto-approve threshold (1)";
        says_of_counts(
            &engine,
            &[
                ("[{\"a\":null,\"b\":null}]", Some(1), Hold, TWO),
                ("[{\"a\":null,\"b\":1}]", Some(1), Allow, within),
                ("leads.csv", Some(1), Hold, NOT_JSON),
            ],
        );
    }

    /// The finding does not know the limit: judgement compares.
    #[test]
    fn fields_are_found_in_their_places() {
        let engine = gate("require_approval_if_clears: {over: 1}");
        let ask = Ask::to("r").json("[{\"set\":{\"a\":null,\"b\":1}},{\"set\":{\"c\":\"\"}}]");
        let Finding::Cleared(found) = ask.finding(&engine) else {
            panic!("{:?}", ask.finding(&engine));
        };
        let hits: Vec<_> =
            found.hits.iter().map(|hit| (hit.path.as_str(), hit.excerpt.as_str())).collect();
        assert_eq!(hits, [("$[0].set.a", "null"), ("$[1].set.c", "\"\"")]);
        assert_eq!((found.total, found.message.as_str()), (2, ""));
        assert_eq!(Ask::to("r").json("[{\"a\":1}]").finding(&engine), Finding::Silent);
    }
}
