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

#[cfg(all(test, feature = "parse"))]
mod tests {
    use types::Outcome::{Allow, Block, Hold};

    use crate::common::{Ask, gate, named, refused, verdict};
    use crate::facts::Finding;

    #[test]
    #[rustfmt::skip]
    fn names_are_a_list_of_texts() {
        refused(&[
            ("destinations: crm.contacts\n", "1:15: expected a list of texts, found text"),
            ("destinations: [a, [b]]\n", "1:19: expected text, found a list"),
        ]);
    }

    #[test]
    fn names_are_exact() {
        let in_gate = gate("destinations: [other, 'thi*']");
        let in_policy = named("destinations: [other, 'thi*']");
        let waits = "Awaiting review";
        let cases = [("r", false), ("other", true), ("Other", false), ("third", false)];
        for (destination, allowed) in cases {
            let message =
                format!("Destination '{destination}' not in policy allowlist: [other, thi*]");
            let ask = Ask::to(destination).text("text");
            let silent = ask.finding(&in_gate) == Finding::Silent;
            assert_eq!(silent, allowed, "{destination}");
            let expected = if allowed { (Allow, "") } else { (Block, message.as_str()) };
            assert_eq!(verdict(&ask.judged(&in_gate)), expected, "{destination}");
            let expected = if allowed { (Hold, waits) } else { (Block, message.as_str()) };
            assert_eq!(verdict(&ask.policy("p").judged(&in_policy)), expected, "{destination}");
        }
        let ask = Ask::to("r").text("text");
        let message = "Destination 'r' not in policy allowlist: [other, third]";
        assert_eq!(verdict(&ask.judged(&gate("destinations: [other, third]"))), (Block, message));
    }
}
