//! `require_profile: crm.import.v1`: only intents of this typed profile are taken.
//!
//! A request without it is refused before it is judged; where an intent stands already when the
//! rule comes into force, the rule blocks.

use alloc::string::String;

use minicbor::{Decode, Encode};

/// The rule.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct RequireProfile {
    /// The profile's id.
    #[n(0)]
    pub profile: String,
}

impl RequireProfile {
    pub(super) const KEY: &'static str = "require_profile";
}

#[cfg(feature = "parse")]
mod parse {
    use super::RequireProfile;
    use crate::compile::{Node, Report};
    use crate::facts::{Finding, Found};
    use crate::payload::View;
    use crate::profiles::{IDS, required_fields};
    use crate::rules::RuleKind;

    impl RequireProfile {
        pub(in crate::rules) fn parse(node: &Node, report: &mut Report<'_>) -> Option<RuleKind> {
            let profile = report.text(node)?;
            if required_fields(&profile).is_none() {
                report.unknown_word(node, "profile", &profile, &IDS);
                return None;
            }
            Some(RuleKind::RequireProfile(Self { profile }))
        }

        pub(in crate::rules) fn facts(&self, view: &View<'_>) -> Finding {
            if view.profile == Some(self.profile.as_str()) {
                return Finding::Silent;
            }
            let message = format!("Policy requires profile '{}'", self.profile);
            Finding::Found(Found::saying(message))
        }
    }
}
