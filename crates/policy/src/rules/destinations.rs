//! `destinations: [a, b]`: the only destinations a policy or gate lets pass. Exact names.

use alloc::string::String;
use alloc::vec::Vec;

use minicbor::{Decode, Encode};

/// The rule.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Destinations {
    /// The names.
    #[n(0)]
    pub allowed: Vec<String>,
}

impl Destinations {
    pub(super) const KEY: &'static str = "destinations";
}

#[cfg(feature = "parse")]
mod parse {
    use super::Destinations;
    use crate::compile::{Node, Report};
    use crate::facts::{Finding, Found};
    use crate::payload::View;
    use crate::rules::RuleKind;

    impl Destinations {
        pub(in crate::rules) fn parse(node: &Node, report: &mut Report<'_>) -> Option<RuleKind> {
            let allowed = report.text_list(node)?;
            Some(RuleKind::Destinations(Self { allowed }))
        }

        pub(in crate::rules) fn facts(&self, view: &View<'_>) -> Finding {
            if self.allowed.iter().any(|name| name == view.destination) {
                return Finding::Silent;
            }
            let allowed = self.allowed.join(", ");
            let message =
                format!("Destination '{}' not in policy allowlist: [{allowed}]", view.destination);
            Finding::Found(Found::saying(message))
        }
    }
}
