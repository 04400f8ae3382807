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
