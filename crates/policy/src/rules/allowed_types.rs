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
