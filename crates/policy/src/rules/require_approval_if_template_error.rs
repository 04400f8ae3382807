//! `require_approval_if_template_error: {patterns, fields}`: a person decides where a template was
//! not filled in. Bare, or without `patterns`, the defaults apply ([`crate::text::tokens`]).
//!
//! Every string of the payload is scanned after JSON decoding, keys are not. A `fields` entry
//! matches strings at or below that field, at any depth; list positions do not count. Text without
//! fields is always scanned, and a payload whose text is not here holds.

use alloc::string::String;
use alloc::vec::Vec;

use minicbor::{Decode, Encode};

/// The rule.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct RequireApprovalIfTemplateError {
    /// Globs; absent means the default patterns.
    #[n(0)]
    pub patterns: Option<Vec<String>>,
    /// Dot paths of fields; absent means all.
    #[n(1)]
    pub fields: Option<Vec<String>>,
}

impl RequireApprovalIfTemplateError {
    pub(super) const KEY: &'static str = "require_approval_if_template_error";
}

#[cfg(feature = "parse")]
mod parse {
    use super::RequireApprovalIfTemplateError;
    use crate::compile::{Node, Report};
    use crate::facts::Finding;
    use crate::payload::{Content, View};
    use crate::rules::RuleKind;
    use crate::text::path::Path;
    use crate::text::tokens::{Pattern, Scanner};
    use crate::text::walk::{self, Hits};

    const OPTIONS: [&str; 2] = ["patterns", "fields"];

    impl RequireApprovalIfTemplateError {
        pub(in crate::rules) const OPTIONS: [&str; 2] = OPTIONS;

        pub(in crate::rules) fn parse(node: &Node, report: &mut Report<'_>) -> Option<RuleKind> {
            let mut rule = Self { patterns: None, fields: None };
            if node.is_null() {
                return Some(RuleKind::RequireApprovalIfTemplateError(rule));
            }
            let fields = report.fields(node, &OPTIONS)?;
            if let Some(list) = fields.get("patterns") {
                let patterns = report.text_list(list)?;
                for (pattern, item) in patterns.iter().zip(list.list().unwrap_or_default()) {
                    if Pattern::parse(pattern).is_none() {
                        report.error(item, "a pattern needs some text beside `*`");
                        return None;
                    }
                }
                rule.patterns = Some(patterns);
            }
            if let Some(names) = fields.get("fields") {
                rule.fields = Some(report.paths(names)?);
            }
            Some(RuleKind::RequireApprovalIfTemplateError(rule))
        }

        /// `None` if a pattern is not one here.
        pub(in crate::rules) fn prepare(&self) -> Option<Scanner> {
            match &self.patterns {
                None => Some(Scanner::with_defaults()),
                Some(patterns) => {
                    let parsed: Option<_> =
                        patterns.iter().map(|pattern| Pattern::parse(pattern)).collect();
                    Some(Scanner::of(parsed?))
                }
            }
        }

        pub(in crate::rules) fn facts(&self, scanner: &Scanner, view: &View<'_>) -> Finding {
            let mut hits = Hits::default();
            match &view.content {
                Content::Absent => return Finding::Silent,
                Content::Opaque(_) => {
                    let message =
                        "the payload's text is not here, so its templates cannot be checked";
                    return Finding::Failed(message.into());
                }
                Content::Text(text) => {
                    scanner.scan(text, &mut |token| hits.add(&Path::Root, token));
                }
                Content::Json(value) => walk::strings(value, &mut |text, path| {
                    if self.wants(path) {
                        scanner.scan(text, &mut |token| hits.add(path, token));
                    }
                }),
            }
            let Some(first) = hits.first_excerpt() else {
                return Finding::Silent;
            };
            let message = match hits.total {
                1 => format!("Template error: {first} was not filled in"),
                total => {
                    format!("Template error: {first} and {} more were not filled in", total - 1)
                }
            };
            Finding::Found(hits.found(message))
        }

        fn wants(&self, path: &Path<'_>) -> bool {
            self.fields
                .as_ref()
                .is_none_or(|fields| fields.iter().any(|field| path.is_at_or_below(field)))
        }
    }
}

#[cfg(all(test, feature = "parse"))]
mod tests {
    use types::Outcome::{Allow, Hold};

    use crate::common::{Ask, gate, named, refused, says, says_of_counts};
    use crate::facts::Finding;

    const X: &str = "Template error: {{x}} was not filled in";
    const UNSEEN: &str = "the payload's text is not here, so its templates cannot be checked";

    #[test]
    #[rustfmt::skip]
    fn patterns_and_fields_are_lists_of_what_can_match() {
        refused(&[
            ("require_approval_if_template_error: {patterns: ['**']}\n",
             "1:49: a pattern needs some text beside `*`"),
            ("require_approval_if_template_error: {patterns: '<*>'}\n",
             "1:48: expected a list of texts, found text"),
            ("require_approval_if_template_error: {fields: [a.]}\n",
             "1:47: expected a dot path such as `customer.id`"),
            ("require_approval_if_template_error: {field: [a]}\n",
             "1:38: unknown key `field` (did you mean `fields`?)"),
        ]);
    }

    #[test]
    #[rustfmt::skip]
    fn every_string_is_scanned_and_no_key() {
        let template = gate("require_approval_if_template_error");
        says(&template, &[
            ("Hello {{name}}", Hold, "Template error: {{name}} was not filled in"),
            ("Hello Ada", Allow, ""),
            ("{\"a\":\"\\u007b\\u007bx}}\",\"b\":null}", Hold, X),
            ("{\"{{key}}\":\"fine\"}", Allow, ""),
            ("letter.pdf", Hold, UNSEEN),
        ]);
        assert_eq!(Ask::to("r").judged(&template).outcome, Allow, "nothing was sent");
        let only_body = gate("require_approval_if_template_error: {fields: [body]}");
        says(&only_body, &[
            ("{\"subject\":\"{{x}}\",\"body\":\"ok\"}", Allow, ""),
            ("{\"m\":[{\"body\":{\"html\":\"{{x}}\"}}]}", Hold, X),
            ("{{x}}", Hold, X),
        ]);
        let own = gate("require_approval_if_template_error: {patterns: ['<<*>>']}");
        says(&own, &[
            ("Hello <<name>>", Hold, "Template error: <<name>> was not filled in"),
            ("Hello {{name}}", Allow, ""),
        ]);
    }

    /// Whatever step of the policy ended the others.
    #[test]
    fn a_named_policy_hears_it_besides_its_steps() {
        let engine = named("auto_approve_under: 1\nrequire_approval_if_template_error:");
        let within = "Record count 1 is within auto-approve threshold (1)";
        says_of_counts(
            &engine,
            &[
                ("{{x}}", Some(1), Hold, X),
                ("leads.csv", Some(1), Hold, UNSEEN),
                ("fine", Some(1), Allow, within),
            ],
        );
    }

    #[test]
    fn hits_are_counted_and_shown_in_their_places() {
        let engine = gate("require_approval_if_template_error");
        let ask = Ask::to("r").json("{\"a\":[\"{{x}} {{y}}\"],\"b\":\"{{z}}\"}");
        let Finding::Found(found) = ask.finding(&engine) else {
            panic!("{:?}", ask.finding(&engine));
        };
        assert_eq!(found.message, "Template error: {{x}} and 2 more were not filled in");
        let hits: Vec<_> =
            found.hits.iter().map(|hit| (hit.path.as_str(), hit.excerpt.as_str())).collect();
        assert_eq!(hits, [("$.a[0]", "{{x}}"), ("$.a[0]", "{{y}}"), ("$.b", "{{z}}")]);
        assert_eq!(found.total, 3);
    }
}
