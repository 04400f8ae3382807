//! `allowed_types: [csv, json]`: the only payload types that pass.
//!
//! The type is a reference's extension or that of a `data:` URI; plain text and JSON have none and
//! pass. An entry may also be a media type, such as `text/csv`.

use alloc::string::String;
use alloc::vec::Vec;

use minicbor::{Decode, Encode};

/// The rule.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct AllowedTypes {
    /// Lower case, without a leading dot.
    #[n(0)]
    pub allowed: Vec<String>,
}

impl AllowedTypes {
    pub(super) const KEY: &'static str = "allowed_types";
}

#[cfg(feature = "parse")]
mod parse {
    use super::AllowedTypes;
    use crate::compile::{Node, Report};
    use crate::facts::{Finding, Found};
    use crate::payload::View;
    use crate::rules::RuleKind;

    impl AllowedTypes {
        pub(in crate::rules) fn parse(node: &Node, report: &mut Report<'_>) -> Option<RuleKind> {
            let written = report.text_list(node)?;
            let allowed = written
                .iter()
                .map(|name| name.trim_start_matches('.').to_ascii_lowercase())
                .collect();
            Some(RuleKind::AllowedTypes(Self { allowed }))
        }

        pub(in crate::rules) fn facts(&self, view: &View<'_>) -> Finding {
            let Some(name) = &view.payload_type else {
                return Finding::Silent;
            };
            let media = view.media_type.as_deref();
            if self.allowed.iter().any(|one| one == name || Some(one.as_str()) == media) {
                return Finding::Silent;
            }
            let allowed = self.allowed.join(", ");
            let message = format!("Payload type '{name}' not allowed. Allowed: [{allowed}]");
            Finding::Found(Found::saying(message))
        }
    }
}

#[cfg(all(test, feature = "parse"))]
mod tests {
    use types::Outcome::{Allow, Block, Hold};

    use crate::common::{Ask, gate, named, refused, says};
    use crate::facts::Finding;

    const PDF: &str = "Payload type 'pdf' not allowed. Allowed: [csv, json]";

    #[test]
    #[rustfmt::skip]
    fn types_are_a_list_of_texts() {
        refused(&[
            ("allowed_types: csv\n", "1:16: expected a list of texts, found text"),
            ("allowed_types: [csv, '']\n", "1:22: expected text, found empty text"),
        ]);
    }

    #[test]
    fn a_type_is_an_ending_or_that_of_a_data_uri() {
        let types = gate("allowed_types: [.CSV, json]");
        says(
            &types,
            &[
                ("a.csv", Allow, ""),
                ("A.CSV", Allow, ""),
                ("data:application/json,%7B%7D", Allow, ""),
                ("a.pdf", Block, PDF),
                ("text", Allow, ""),
                ("{\"type\":\"pdf\"}", Allow, ""),
            ],
        );
        let media = gate("allowed_types: [text/csv]");
        says(
            &media,
            &[
                ("data:text/csv,a", Allow, ""),
                ("data:text/plain,a", Allow, ""),
                ("data:text/html,a", Block, "Payload type 'html' not allowed. Allowed: [text/csv]"),
            ],
        );
        assert_eq!(Ask::to("r").finding(&types), Finding::Silent, "nothing was sent");
    }

    #[test]
    fn a_named_policy_blocks_alike() {
        let engine = named("allowed_types: [csv, json]");
        let waits = "Awaiting review";
        says(&engine, &[("a.pdf", Block, PDF), ("a.csv", Hold, waits), ("text", Hold, waits)]);
    }
}
